"""A node of Citus that is down: 503 for the shops it has, and nothing of it for the others, whose connections are the same.

The errors are those of Citus' sources (`ReportConnectionError`, `ReportResultError`, the adaptive executor), raised by a server
that goes on, as the one does that was asked for a shop of another node.
"""

from __future__ import annotations

from collections.abc import AsyncIterator

import asyncpg
import pytest
from asyncpg.exceptions import PostgresError

from graph.context import Context
from graph.database import Database
from graph.database.failures import Trouble, Unavailable, is_stale, trouble
from graph.database.shops import Databases
from graph.schema import schema
from tests.deployments import deployment
from tests.engines import Postgres
from tests.remote import Remote, payload
from tests.stock import item

SHOP = [item("A", 1, 5)]
pytestmark = pytest.mark.usefixtures("tried_again_at_once")

#: What Citus says, and where: SQLSTATE, MESSAGE, CONTEXT.
LOST = [
    ("08006", "connection to the remote node 10.0.0.2:5432 failed with the following error: Connection refused", None),
    ("08006", "could not establish any connections to the node 10.0.0.2:5432 after 1000 ms", None),
    ("XX000", "connection error: 10.0.0.2:5432", None),
    ("XX000", "failure on connection marked as essential: 10.0.0.2:5432", None),
    ("XX000", "server closed the connection unexpectedly", "while executing command on 10.0.0.2:5432"),
    ("XX000", "could not receive data from server: Connection reset by peer", "while executing command on 10.0.0.2:5432"),
    ("57P01", "terminating connection due to administrator command", "while executing command on 10.0.0.2:5432"),
    ("57P03", "the database system is starting up", "while executing command on 10.0.0.2:5432"),
]


def said(code: str, message: str, context: str | None, severity: str = "ERROR") -> PostgresError:
    found = {"S": severity, "V": severity, "C": code, "M": message}
    made: PostgresError = PostgresError.new(found if context is None else {**found, "W": context})
    return made


@pytest.mark.parametrize(("code", "message", "context"), LOST)
def test_a_lost_node_is_the_servers_trouble_and_not_that_of_the_connection(code: str, message: str, context: str | None) -> None:
    error = said(code, message, context)
    assert trouble(error) is Trouble.LOST
    assert not is_stale(error)


def test_what_ends_the_connection_itself_is_another_thing() -> None:
    assert is_stale(said("57P01", "terminating connection due to administrator command", None, "FATAL"))
    assert is_stale(said("08P01", "server conn crashed?", None, "FATAL"))
    assert is_stale(ConnectionResetError())


@pytest.mark.parametrize(
    ("message", "context"),
    [
        ("cache lookup failed for type 0", None),
        ("cache lookup failed for type 0", "while executing command on 10.0.0.2:5432"),
        ("a connection error: it seems", None),
        ("server closed the connection unexpectedly", 'PL/pgSQL function "f"'),
    ],
)
def test_an_internal_error_is_still_a_bug(message: str, context: str | None) -> None:
    assert trouble(said("XX000", message, context)) is None


#: Has every statement that reads items, or makes one, meet an error of Citus.
DOWN = """
    ALTER TABLE {schema}.item RENAME TO item_of_node;
    CREATE FUNCTION {schema}.rows_of_node() RETURNS SETOF {schema}.item_of_node LANGUAGE plpgsql AS $$ BEGIN
        RAISE EXCEPTION USING ERRCODE = '{code}', MESSAGE = '{message}';
    END $$;
    CREATE FUNCTION {schema}.write_at_node() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
        RAISE EXCEPTION USING ERRCODE = '{code}', MESSAGE = '{message}';
    END $$;
    CREATE VIEW {schema}.item AS SELECT * FROM {schema}.item_of_node UNION ALL SELECT * FROM {schema}.rows_of_node();
    CREATE TRIGGER made INSTEAD OF INSERT ON {schema}.item FOR EACH ROW EXECUTE FUNCTION {schema}.write_at_node();
"""
UP = """
    DROP VIEW {schema}.item; DROP FUNCTION {schema}.rows_of_node, {schema}.write_at_node;
    ALTER TABLE {schema}.item_of_node RENAME TO item
"""
ITEMS = "{ items { totalCount } }"
CREATE = 'mutation { createItem(input: {sku: "N", name: "n", price: "1"}) { item { sku } errors { code } } }'


async def run(url: str, sql: str) -> None:
    connection = await asyncpg.connect(url)
    try:
        await connection.execute(sql)
    finally:
        await connection.close()


@pytest.mark.parametrize(("code", "message"), [(code, message) for code, message, context in LOST if context is None])
async def test_what_needs_the_node_is_503_and_the_connection_is_used_on(remote: Remote, code: str, message: str) -> None:
    before = await remote.database.fetch("SELECT pg_backend_pid()", [])
    await run(remote.url, DOWN.format(schema="public", code=code, message=message))
    for asked in (ITEMS, CREATE):
        assert (await remote.send(asked)).refused
    assert (await remote.send("{ customers { totalCount } }")).body["data"] == {"customers": {"totalCount": 0}}
    assert await remote.database.fetch("SELECT pg_backend_pid()", []) == before
    await run(remote.url, UP.format(schema="public"))
    assert payload(await remote.send(CREATE))["errors"] == []


@pytest.fixture
async def shops(postgres_engines: Postgres) -> AsyncIterator[Databases]:
    """Two shops of one server."""
    url = postgres_engines.new("nothing")
    databases = Databases(await deployment(url, "here", "there", pool_size=1))
    yield databases
    await databases.close()
    postgres_engines.drop(url)


async def serves(database: Database, query: str) -> bool:
    """Whether an operation is answered without an error. One that the database cannot serve says so."""
    context = Context(database)
    try:
        answer = await schema.execute(query, {}, context)
    except Unavailable:
        return False
    finally:
        await context.close()
    for error in answer.errors or ():
        assert isinstance(error.original_error, Unavailable), error
    return not answer.errors


async def test_the_shops_of_other_nodes_go_on_as_before(shops: Databases) -> None:
    """All have one connection: who lost it, or waited on it, would hold up the others."""
    here, there = shops.of("here"), shops.of("there")
    pid = await here.fetch("SELECT pg_backend_pid()", [])
    await run(here.settings.database_url, DOWN.format(schema="shop_there", code=LOST[0][0], message=LOST[0][1]))
    for _ in range(3):
        for query in (ITEMS, CREATE.replace('"N"', '"M"')):
            assert not await serves(there, query)
            assert await serves(here, ITEMS)
    assert await serves(here, CREATE)
    assert await here.fetch("SELECT pg_backend_pid()", []) == pid
    await run(here.settings.database_url, UP.format(schema="shop_there"))
    assert await serves(there, CREATE)

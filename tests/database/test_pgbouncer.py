"""A real PgBouncer in transaction mode before PostgreSQL: every command, reads and writes, and what nobody may leave behind."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Coroutine, Iterator
from contextlib import AsyncExitStack
from functools import partial
from pathlib import Path
from typing import Any

import asyncpg
import httpx2
import pytest
from sqlalchemy import make_url

from graph import migrate
from graph.database import Database
from graph.database.failures import Unavailable
from graph.database.server_limits import bounds, watch
from graph.settings import Settings
from tests.audit import audit_url, rows_of
from tests.conftest import Ask, asking
from tests.engines import Postgres
from tests.pgbouncer import pooler, restart
from tests.remote import Answer, payload, send, until
from tests.servers import Client, serving
from tests.standbys import FIND, Pair, new_item, replicated
from tests.subscribers import socket
from tests.test_commands import command, refused
from tests.unhurried import unhurried

pytestmark = pytest.mark.pgbouncer

ASKED = "set ORDERGRAPH_PGBOUNCER=true"
CREATE = """
mutation ($name: String!, $email: String!) { createCustomer(
  input: {name: $name, email: $email, orders: [{items: [{item: {sku: "NW-1"}, quantity: 1}]}]}
) { customer { name } errors { code } } }"""


CUSTOMER = """mutation ($name: String!, $email: String!) {
  createCustomer(input: {name: $name, email: $email, orders: [{}]}) { errors { code } } }"""
CHANGE, BEGIN = "cursor type entityId version", b'["Change position+",0]'.hex().upper()
LISTENED = f'subscription {{ changes(after: "{BEGIN}") {{ {CHANGE} }} }}'
LISTED = f"{{ changes(first: 100) {{ nodes {{ {CHANGE} }} }} }}"


def create(ask: Ask, name: str) -> Coroutine[Any, Any, Answer]:
    """Make a customer with an order."""
    return send(ask, CREATE, {"name": name, "email": f"{name}@x.example"})


@pytest.fixture
def direct(postgres_engines: Postgres) -> Iterator[str]:
    """A database with Northwind, past the pooler."""
    url = postgres_engines.new("northwind")
    yield url
    asyncio.run(audit_url(url))
    postgres_engines.drop(url)


@pytest.fixture
def pooled(direct: str) -> Iterator[str]:
    """The way to it through the pooler."""
    with pooler(direct) as url:
        yield url


@pytest.fixture
async def ask(pooled: str) -> AsyncIterator[Ask]:
    limits = {"request_timeout_seconds": 90.0, "lock_timeout_seconds": 30.0}
    async with asking(unhurried(pooled, pgbouncer=True, **limits)) as ask:
        yield ask


def test_every_command_obeys_the_setting(postgres_engines: Postgres, tmp_path: Path) -> None:
    direct = postgres_engines.new("nothing")
    with pooler(direct) as url:
        run = partial(command, tmp_path, DATABASE_URL=url, ORDERGRAPH_PGBOUNCER="true")
        for _ in range(2):  # where the first left statements behind the second would meet them
            assert run("migrate").stdout == f"The database is at revision {migrate.head()}.\n"
        assert "Loaded the Northwind sample" in run("sample").stdout
        assert "needs an empty database" in refused(run("sample"))
        assert run("purge-keys").stdout == "Deleted 0 idempotency keys.\n"
        assert run("migrate", "--down-to", "base").stdout == "The database is at revision base.\n"
        assert "run `ordergraph migrate`" in refused(run("serve", "--port", "0"))
    postgres_engines.drop(direct)


async def test_servers_come_up_one_after_the_other_and_together(pooled: str, tmp_path: Path) -> None:
    """They share the sessions of the server, and so whatever one leaves in them."""
    for number in (1, 3):
        async with serving(pooled, tmp_path, number, ORDERGRAPH_PGBOUNCER="true"):
            pass


def test_every_command_tells_of_a_pooler_that_the_settings_do_not_name(pooled: str, tmp_path: Path) -> None:
    for arguments in (["serve", "--port", "0"], ["migrate"], ["sample"], ["purge-keys"]):
        said = refused(command(tmp_path, *arguments, DATABASE_URL=pooled))
        assert said.startswith("cannot use postgresql://")
        assert ASKED in said


#: What lets a pooler take connections that are not made for it.
IGNORING = "ignore_startup_parameters = " + ",".join(sorted({*bounds(Settings()), *watch(Settings())}))


@pytest.mark.parametrize("lines", [[], [IGNORING], ["pool_mode = session", IGNORING], ["default_pool_size = 1", IGNORING]])
async def test_whatever_a_pooler_ignores_it_is_told_from_a_server(direct: str, lines: list[str]) -> None:
    with pooler(direct, *lines) as url:
        database = Database(Settings(database_url=url))
        with pytest.raises(Unavailable, match=ASKED):
            await database.probe()
        await database.close()


async def test_sessions_that_are_shared_are_told_also_where_limits_hold(direct: str) -> None:
    """The role has the limits that the product asks for, so nothing but the sessions tells the pooler from the server."""
    name = make_url(direct).database
    for limit, value in bounds(Settings()).items():
        await rows_of(direct, f"ALTER DATABASE \"{name}\" SET {limit} = '{value}'")
    with pooler(direct, IGNORING) as url:
        database = Database(Settings(database_url=url))
        with pytest.raises(Unavailable, match=f"share sessions.*{ASKED}"):
            await database.probe()
        await database.close()


async def test_a_server_without_a_pooler_is_none(direct: str) -> None:
    for settings in (Settings(database_url=direct), Settings(database_url=direct, pgbouncer=True)):
        database = Database(settings)
        await database.probe()
        await database.close()


async def test_reads_and_writes_at_once(ask: Ask, direct: str) -> None:
    names = [f"c{n}" for n in range(30)]
    answers = await asyncio.gather(
        *(create(ask, name) for name in names),
        *(send(ask, "{ customers(first: 3) { nodes { id } } }") for _ in names),
    )
    assert not any(answer.codes for answer in answers)
    assert all(payload(answer).get("errors", []) == [] for answer in answers)
    assert await rows_of(direct, "SELECT count(*) FROM customer WHERE name LIKE 'c%' AND length(name) < 4") == [[(30,)]]


async def test_subscribers_of_two_servers_are_told_every_change_in_one_order(postgres_engines: Postgres, tmp_path: Path) -> None:
    """Both put changes into their order, over sessions that they share; the end of the pooler cuts no subscription off."""
    direct = postgres_engines.new("empty")
    async with AsyncExitStack() as stack:
        url = stack.enter_context(pooler(direct))
        servers = await stack.enter_async_context(serving(url, tmp_path, 2, ORDERGRAPH_PGBOUNCER="true"))
        https = [await stack.enter_async_context(httpx2.AsyncClient(verify=False, base_url=served.url)) for served in servers]
        asks = [Client(http, served.url) for http, served in zip(https, servers, strict=True)]
        clients = [await stack.enter_async_context(socket(served.port)) for served in servers]
        for client in clients:
            await (await client.init()).subscribe("1", LISTENED)
        heard: list[list[Any]] = [[] for _ in clients]
        for names in ([f"a{n}" for n in range(15)], [f"b{n}" for n in range(15)]):
            sent = ({"name": name, "email": f"{name}@x.example"} for name in names)
            answers = await asyncio.gather(*(send(asks[n % 2], CUSTOMER, each) for n, each in enumerate(sent)))
            assert all(payload(answer)["errors"] == [] for answer in answers)
            for client, events in zip(clients, heard, strict=True):
                events += [await client.hears_any() for _ in range(2 * len(names))]  # and his order
            restart(url)

            async def serves() -> bool:
                return not any(answer.codes for answer in [await send(ask, "{ items { totalCount } }") for ask in asks])

            await until(serves)
        listed = await asks[0].data(LISTED)
        assert listed["changes"]["nodes"] == heard[0] == heard[1]
    postgres_engines.drop(direct)


async def test_a_pooler_that_ends_in_the_middle_of_writes(direct: str) -> None:
    """Whatever each write is told is true, and reads and writes are answered again when the pooler is back."""
    with pooler(direct) as url:
        async with asking(unhurried(url, pgbouncer=True)) as ask:
            await create(ask, "warm")
            asked = [asyncio.ensure_future(create(ask, f"n{n}")) for n in range(30)]
            await asked[0]
            restart(url)
            told = {f"n{n}": await answer for n, answer in enumerate(asked)}
            there = {name for (name,) in (await rows_of(direct, "SELECT name FROM customer"))[0]}
            for name, answer in told.items():
                codes = [error["code"] for error in payload(answer).get("errors", ())]
                if answer.refused or codes == ["TRY_AGAIN"]:
                    assert name not in there
                elif codes != ["COMMIT_UNKNOWN"]:
                    assert (answer.codes, codes) == ([], [])
                    assert name in there

            async def serves() -> bool:
                return not any(
                    answer.codes for answer in await asyncio.gather(*(send(ask, "{ items { totalCount } }") for _ in "abc"))
                )

            await until(serves)
            assert payload(await create(ask, "next"))["errors"] == []


async def test_nothing_is_left_in_a_session(ask: Ask, direct: str) -> None:
    """Limits hold inside a transaction, and for nobody after it; no statement keeps a name."""
    database: Database = ask.app.state.database
    session = database.session()
    limits = ("statement_timeout", "lock_timeout", "idle_in_transaction_session_timeout", "client_connection_check_interval")
    shown = "SELECT " + ", ".join(f"current_setting('{name}')" for name in limits)
    found: list[Any] = []

    async def work() -> None:
        found.extend(tuple(row) for row in await database.rows_within(session, shown, []))

    await database.transaction(session, work)
    assert found == [("1min", "30s", "90s", "1s")]
    stranger = await asyncpg.connect(database.settings.database_url, statement_cache_size=0)
    for _ in range(8):
        assert tuple(await stranger.fetchrow(shown)) == ("0", "0", "0", "0")
        assert await stranger.fetchval("SELECT count(*) FROM pg_prepared_statements WHERE name <> ''") == 0
    await stranger.close()


async def test_a_wait_for_a_lock_ends(pooled: str, direct: str) -> None:
    holder = await asyncpg.connect(direct)
    async with asking(unhurried(pooled, pgbouncer=True, lock_timeout_seconds=0.1)) as ask, holder.transaction():
        await holder.execute("SELECT FROM item FOR UPDATE")
        answer = await send(ask, 'mutation { updateItem(input: {id: "Item:1", name: "x"}) { item { id } errors { code } } }')
        assert payload(answer)["errors"] == [{"code": "TRY_AGAIN"}]
    await holder.close()


async def test_a_read_that_is_given_up_is_cancelled_behind_the_pooler(pooled: str, direct: str) -> None:
    async with asking(unhurried(pooled, pgbouncer=True)) as ask:
        database: Database = ask.app.state.database
        primary: Any = database.primary
        limit, primary._read_seconds = primary._read_seconds, 0.5
        with pytest.raises(Exception, match="TimeoutError"):
            await database.fetch("SELECT pg_sleep(60)", [])
        primary._read_seconds = limit

        async def over() -> bool:
            sleeping = "SELECT count(*) FROM pg_stat_activity WHERE query LIKE 'SELECT pg_sleep%' AND state = 'active'"
            return await rows_of(direct, sleeping) == [[(0,)]]

        await until(over)
        assert await database.fetch("SELECT 1", []) == 1


async def test_a_standby_is_asked_through_a_pooler_where_the_settings_say_so(pair: Pair) -> None:
    with pooler(pair.standby.url, IGNORING) as url:
        database = Database(Settings(database_url=pair.primary.url, replica_urls=(url,)))
        with pytest.raises(Unavailable, match=f"postgresql://postgres@.*{ASKED}"):
            await database.probe()
        await database.close()
        async with replicated(pair, replica_urls=(url,), pgbouncer=True) as (ask, told):
            for _ in range(20):
                sku, mutation = new_item()
                made = await ask.client.post("/graphql", json={"query": mutation})
                token = made.headers["x-ordergraph-read-after"]
                await pair.caught_up()
                asked = {"query": FIND, "variables": {"sku": sku}}
                found = await ask.client.post("/graphql", json=asked, headers={"x-ordergraph-read-after": token})
                assert found.json() == {"data": {"item": {"sku": sku}}}
            assert told == ["answered"] * 20

"""Databases that say no: what the environment refuses is no bug, leaves nothing, and is over when its cause is."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import asyncpg
import orjson
import pytest
from sqlalchemy import event, make_url
from sqlalchemy.util import await_only

from graph import migrate
from graph.database import Database
from graph.database.failures import Unavailable
from graph.database.readers import Readers
from tests import postgres
from tests.audit import rows_of
from tests.conftest import Ask, asking
from tests.engines import Postgres, Sqlite
from tests.faults import Places, places, refusing
from tests.later import WHOLE_REQUEST, end_of_transactions
from tests.remote import send
from tests.sockets import listening
from tests.stock import item
from tests.subscribers import socket
from tests.unhurried import unhurried
from tests.words import ERRORS, done

AskWith = Callable[..., AbstractAsyncContextManager[Ask]]

#: What may be met at a connection that is there, ...
POSTGRESQL = """
    08000 08003 08006 08P01 25006 25P03 25P04 28000 28P01 3D000 42501 53000 53100 53200 53300 53400 57P01 57P02 57P03 57P04 57P05
    58000 58030 58P01 XX001 XX002
""".split()
SQLITE = """
    SQLITE_PERM SQLITE_NOMEM SQLITE_READONLY SQLITE_READONLY_DBMOVED SQLITE_IOERR SQLITE_IOERR_WRITE SQLITE_CORRUPT SQLITE_FULL
    SQLITE_CANTOPEN SQLITE_NOLFS SQLITE_AUTH SQLITE_NOTADB
""".split()


def create(name: str, sku: str) -> str:
    return f'{name}: createItem(input: {{sku: "{sku}", name: "x", price: "1"}}) {{ item {{ sku }} {ERRORS} }}'


STOCK = f'adjustStock(input: {{item: {{sku: "A"}}, delta: -1}}) {{ item {{ stock }} {ERRORS} }}'
MUTATIONS = {
    "a mutation": f"mutation {{ a: {STOCK} }}",
    "a dry run": f"mutation @dryRun {{ a: {STOCK} }}",
    "@atomic": f"mutation @atomic {{ {create('c', 'C')} a: {STOCK} }}",
    "a later field": f"mutation {{ {create('c', 'C')} a: {STOCK} {create('d', 'D')} }}",
}
CREATED = {"item": {"sku": "C"}, "errors": []}


SHOP = [item("A", 1, 5)]
pytestmark = pytest.mark.usefixtures("tried_again_at_once")


def codes(ask: Ask) -> list[str]:
    return SQLITE if ask.app.state.database.dialect.name == "sqlite" else POSTGRESQL


def warnings(caplog: pytest.LogCaptureFixture) -> list[str]:
    """What the log says that is no mere information, but for operations that a busy machine makes slow."""
    return [
        record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING and record.name != "ordergraph.slow"
    ]


async def items(url: str) -> Sequence[Any]:
    (found,) = await rows_of(url, "SELECT sku, stock FROM item ORDER BY sku")
    return found


# Every code, at a statement


async def test_a_query_that_the_environment_refuses_is_503(
    shop: Ask, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    database: Database = shop.app.state.database
    for code in codes(shop):
        error = refusing(database, Places(["SELECT"], straight=True), code)

        def fail(*_: Any, error: Exception = error, **__: Any) -> Any:
            raise error

        async def fail_later(*_: Any, error: Exception = error, **__: Any) -> Any:
            raise error

        with monkeypatch.context() as patch:
            patch.setattr(Readers, "_run", fail)
            patch.setattr(asyncpg.Connection, "fetchval", fail_later)
            caplog.clear()
            answer = await send(shop, "{ items { totalCount } }")
            assert answer.refused, (code, answer)
            assert "data" not in answer.body
            assert len(warnings(caplog)) == 1, code
        assert await shop.data("{ items { totalCount } }") == {"items": {"totalCount": 1}}, code


@pytest.mark.parametrize("name", MUTATIONS)
async def test_a_mutation_that_the_environment_refuses_is_503_unless_something_was_committed(
    shop: Ask, empty_url: str, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    database: Database = shop.app.state.database
    for code in codes(shop):

        def fail(place: Places, code: str = code) -> None:
            if place.seen[-1].startswith("UPDATE item"):
                raise refusing(database, place, code)

        caplog.clear()
        with places(database, fail):
            answer = await send(shop, MUTATIONS[name])
        assert len(warnings(caplog)) == 1, code
        if name == "a later field":
            assert answer.status == 294
            assert answer.body["data"] == {"c": CREATED, "a": None, "d": None}, code
            assert [(error["path"], error["extensions"]["code"]) for error in answer.body["errors"]] == [
                (["a"], "SERVICE_UNAVAILABLE"),
                (["d"], "SERVICE_UNAVAILABLE"),
            ]
            assert await items(empty_url) == [("A", 5), ("C", None)], code
            await done(shop, "deleteItem", {"id": (await shop.data('{ item(by: {sku: "C"}) { id } }'))["item"]["id"]})
        else:
            assert answer.refused, (code, answer)
        assert await items(empty_url) == [("A", 5)], code
    assert (await shop.data(f"mutation {{ {STOCK} }}"))["adjustStock"]["item"] == {"stock": 4}


@pytest.mark.parametrize("name", ["a mutation", "@atomic", "a later field"])
async def test_a_full_disk_is_told_at_every_place_the_commit_too(shop: Ask, empty_url: str, name: str) -> None:
    database: Database = shop.app.state.database
    code = "SQLITE_FULL" if database.dialect.name == "sqlite" else "53100"
    for n in range(1, 100):

        def fail(place: Places, n: int = n) -> None:
            if place.last >= n:
                raise refusing(database, place, code)

        with places(database, fail) as passed:
            answer = await send(shop, MUTATIONS[name])
        if passed.last < n:
            break
        found = await items(empty_url)
        if answer.status == 294:
            assert (name, found) == ("a later field", [("A", 5), ("C", None)]), passed.seen
            assert (answer.body["data"], set(answer.codes)) == ({"c": CREATED, "a": None, "d": None}, {"SERVICE_UNAVAILABLE"})
            break
        assert answer.refused, (passed.seen, answer)
        assert found == [("A", 5)], passed.seen
    assert n > 2
    assert "COMMIT" in passed.seen


AGAIN = {"item": None, "errors": [{"code": "TRY_AGAIN", "path": ["input"], "retryable": True}]}
UNKNOWN = {"item": None, "errors": [{"code": "COMMIT_UNKNOWN", "path": ["input"], "retryable": False}]}


@pytest.mark.parametrize("directive", ["", "@atomic"])
async def test_a_commit_without_an_answer_is_not_told_to_have_failed(shop: Ask, directive: str) -> None:
    """Nobody knows whether it happened: a 503, which says that nothing did, would make clients send it again."""
    database: Database = shop.app.state.database
    code = "SQLITE_IOERR" if database.dialect.name == "sqlite" else "08006"

    def fail(place: Places) -> None:
        if place.seen[-1] == "COMMIT":
            raise refusing(database, place, code)

    with places(database, fail):
        answer = await send(shop, f"mutation {directive} {{ a: {STOCK} }}")
    assert (answer.status, answer.codes) == (200, [])
    assert plain(answer.body["data"]["a"]) == UNKNOWN


def plain(payload: dict[str, Any]) -> dict[str, Any]:
    """A payload, of each error no more than where and what it is."""
    return {**payload, "errors": [{name: error[name] for name in ("code", "path", "retryable")} for error in payload["errors"]]}


async def too_long() -> None:
    """Take the time that is left to the transactions of a request, and more."""
    end_of_transactions()
    await asyncio.sleep(3_600)


@pytest.mark.parametrize("name", ["a mutation", "@atomic", "a later field"])
async def test_a_request_over_its_time_keeps_what_was_committed(ask_with: AskWith, empty_url: str, name: str) -> None:
    """The time is over before a statement: what was committed before is answered, the rest was not run."""
    async with ask_with(**WHOLE_REQUEST) as ask:
        await done(ask, "createItem", {"sku": "A", "name": "A", "price": "1", "stock": 5})

        def wait(place: Places) -> None:
            if place.seen[-1].startswith("UPDATE item"):
                await_only(too_long())

        with places(ask.app.state.database, wait):
            answer = await send(ask, MUTATIONS[name])
        data = {key: payload and plain(payload) for key, payload in answer.body["data"].items()}
        if name == "a later field":
            assert (answer.status, data) == (294, {"c": CREATED, "a": AGAIN, "d": None})
            assert answer.codes == ["SERVICE_UNAVAILABLE"]
            assert await items(empty_url) == [("A", 5), ("C", None)]
        else:
            assert (answer.status, answer.codes) == (200, [])
            assert data == dict.fromkeys(data, AGAIN)
            assert await items(empty_url) == [("A", 5)]


async def test_a_socket_hears_what_was_committed_when_the_time_of_an_operation_is_over(ask_with: AskWith) -> None:
    settings = {**WHOLE_REQUEST, "heartbeat_seconds": 3_600.0}
    async with ask_with(**settings) as ask, listening(ask.app) as server, socket(server.port) as client:
        await done(ask, "createItem", {"sku": "A", "name": "A", "price": "1", "stock": 5})
        await client.init()

        def wait(place: Places) -> None:
            if place.seen[-1].startswith("UPDATE item"):
                await_only(too_long())

        with places(ask.app.state.database, wait):
            await client.subscribe("1", MUTATIONS["a later field"])
            told = orjson.loads(await client.connection.recv())
        data = {key: payload and plain(payload) for key, payload in told["payload"]["data"].items()}
        assert data == {"c": CREATED, "a": AGAIN, "d": None}


async def test_what_was_committed_is_told_though_a_row_that_an_error_names_cannot_be_read(
    ask_with: AskWith, empty_url: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Such rows are read after the transactions: in time, or they are null."""

    async def hang(*_: Any) -> None:
        await too_long()

    async def fail(*_: Any) -> None:
        raise Unavailable("the disk is full")

    async with ask_with(**WHOLE_REQUEST) as ask:
        for sku, fetch in (("C", hang), ("D", fail)):
            caplog.clear()
            existing = create("d", sku).replace("{ item {", "{ errors { ... on UniqueError { existing { id } } } item {")
            with monkeypatch.context() as patch:
                patch.setattr(Database, "fetch", fetch)
                answer = await send(ask, f"mutation {{ {create('c', sku)} {existing} }}")
            assert (answer.status, answer.codes) == (294, ["SERVICE_UNAVAILABLE"])
            assert answer.body["errors"][0]["path"] == ["d", "errors", 0, "existing"]
            (error,) = answer.body["data"]["d"].pop("errors")
            assert (error["code"], error["existing"]) == ("UNIQUE", None)
            assert answer.body["data"] == {"c": {"item": {"sku": sku}, "errors": []}, "d": {"item": None}}
            assert len(warnings(caplog)) == 1
        assert await items(empty_url) == [("C", None), ("D", None)]


@pytest.mark.parametrize("directive", ["", "@atomic"])
async def test_a_commit_that_is_not_waited_for_is_not_told_to_have_failed(ask_with: AskWith, directive: str) -> None:
    async with ask_with(**WHOLE_REQUEST) as ask:

        def wait(place: Places) -> None:
            if place.seen[-1] == "COMMIT":
                await_only(too_long())

        with places(ask.app.state.database, wait):
            answer = await send(ask, f"mutation {directive} {{ {create('c', 'C')} }}")
        assert (answer.status, answer.codes) == (200, [])
        assert plain(answer.body["data"]["c"]) == UNKNOWN


# Real refusals


async def heals(ask: Ask) -> None:
    """Reads and writes are answered again, a few at once, after at most five seconds."""
    for _ in range(50):
        asked = [send(ask, f"mutation {{ a: {STOCK} }}") for _ in range(4)]
        answers = await asyncio.gather(*asked, *(send(ask, "{ items { totalCount } }") for _ in range(4)))
        if not any(answer.codes for answer in answers):
            return
        await asyncio.sleep(0.1)
    raise AssertionError(answers)


async def is_refused(ask: Ask, caplog: pytest.LogCaptureFixture, *, reads: bool = True) -> None:
    """Writes are refused in every form, and reads unless they still work; each in one line of the log."""
    for query in [*(query for name, query in MUTATIONS.items() if name != "a later field"), "{ items { totalCount } }"]:
        caplog.clear()
        answer = await send(ask, query)
        if query.startswith("mutation") or reads:
            assert answer.refused, (query, answer)
            assert len(warnings(caplog)) == 1, warnings(caplog)
        else:
            assert answer.codes == []


@dataclass(frozen=True)
class Limited:
    """A role that owns nothing, and its way to a migrated database whose owner is `owner`."""

    role: str
    owner: str
    url: str

    async def execute(self, *statements: str) -> None:
        """Run statements in the database, as its owner."""
        database = make_url(self.owner).database
        for statement in statements:
            # Also where an owner's sessions are read-only.
            await rows_of(
                self.owner, "SET default_transaction_read_only = off", statement.format(role=self.role, database=database)
            )


GRANTS = (
    'GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO "{role}"',
    'GRANT USAGE ON ALL SEQUENCES IN SCHEMA public TO "{role}"',
)


@pytest.fixture
async def limited(postgres_engines: Postgres, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Limited]:
    monkeypatch.setattr("graph.database.transactions.JITTER_SECONDS", (0, 0))
    owner, role = postgres_engines.new("empty"), postgres.new_name()
    made = Limited(role, owner, make_url(owner).set(username=role).render_as_string(hide_password=False))
    await made.execute('CREATE ROLE "{role}" LOGIN')
    async with asking(unhurried(owner)) as ask:
        await done(ask, "createItem", {"sku": "A", "name": "A", "price": "1", "stock": 500})
    yield made
    await made.execute('DROP OWNED BY "{role}"', 'DROP ROLE "{role}"')
    postgres_engines.drop(owner)


#: What an operator does, and how he takes it back. At a new connection or at every statement, whether reads are refused too.
REFUSALS: dict[str, tuple[list[str], list[str], bool]] = {
    "no privilege": (['REVOKE ALL ON ALL TABLES IN SCHEMA public FROM "{role}"'], list(GRANTS), True),
    "no privilege to write": (['REVOKE UPDATE, INSERT ON item FROM "{role}"'], list(GRANTS), False),
    "no privilege to draw keys": (
        ['REVOKE ALL ON ALL SEQUENCES IN SCHEMA public FROM "{role}"', 'REVOKE UPDATE ON item FROM "{role}"'],
        list(GRANTS),
        False,
    ),
    "read-only": (
        ['ALTER DATABASE "{database}" SET default_transaction_read_only = on'],
        ['ALTER DATABASE "{database}" RESET default_transaction_read_only'],
        False,
    ),
    "no connections": (
        ['ALTER DATABASE "{database}" CONNECTION LIMIT 0'],
        ['ALTER DATABASE "{database}" CONNECTION LIMIT -1'],
        True,
    ),
    "no login": (['ALTER ROLE "{role}" NOLOGIN'], ['ALTER ROLE "{role}" LOGIN'], True),
}
#: Ends every other connection to the database.
KILL = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"


@pytest.mark.parametrize("name", REFUSALS)
async def test_what_an_operator_takes_away_is_refused_until_he_gives_it_back(
    limited: Limited, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    taken, given, reads = REFUSALS[name]
    await limited.execute(*GRANTS)
    async with asking(unhurried(limited.url)) as ask:
        await heals(ask)
        await limited.execute(*taken, KILL)
        await is_refused(ask, caplog, reads=reads)
        before = await items(limited.owner)
        await limited.execute(*given)
        assert [sku for sku, _ in before] == ["A"]
        await heals(ask)


async def test_a_database_that_takes_no_connections_and_one_that_is_not_there(
    postgres_engines: Postgres, caplog: pytest.LogCaptureFixture
) -> None:
    url = postgres_engines.new("empty")
    database, server = make_url(url).database, postgres_engines.server
    async with asking(unhurried(url)) as ask:
        await done(ask, "createItem", {"sku": "A", "name": "A", "price": "1", "stock": 500})
        for taken, given in [
            (f'ALTER DATABASE "{database}" ALLOW_CONNECTIONS false', f'ALTER DATABASE "{database}" ALLOW_CONNECTIONS true'),
            (
                f'ALTER DATABASE "{database}" RENAME TO "{database}_gone"',
                f'ALTER DATABASE "{database}_gone" RENAME TO "{database}"',
            ),
        ]:
            await rows_of(url, KILL)
            await rows_of(server.url, f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{database}'")
            await rows_of(server.url, taken)
            await is_refused(ask, caplog)
            await rows_of(server.url, given)
            await heals(ask)
    postgres_engines.drop(url)


@pytest.fixture
def own_server() -> Iterator[postgres.Own]:
    """A server of this test alone, which may be stopped."""
    with postgres.started(postgres.binaries(), "synchronous_commit=on") as own:  # a stop at once keeps what was committed
        yield own


async def test_a_server_that_goes_and_comes_back(
    own_server: postgres.Own, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("graph.database.transactions.JITTER_SECONDS", (0, 0))
    await migrate.upgrade(own_server.url)
    async with asking(unhurried(own_server.url)) as ask:
        await done(ask, "createItem", {"sku": "A", "name": "A", "price": "1", "stock": 500})
        for mode in ("immediate", "fast"):
            await heals(ask)
            await asyncio.to_thread(own_server.stop, mode)
            await is_refused(ask, caplog)
            await asyncio.to_thread(own_server.start)
            await heals(ask)
    # A password that is another one now. The superuser needs none.
    hba = own_server.folder / "data" / "pg_hba.conf"
    hba.write_text(f"local all clerk scram-sha-256\n{hba.read_text()}")
    grants = (grant.replace('"{role}"', "clerk") for grant in GRANTS)
    await rows_of(own_server.url, "CREATE ROLE clerk LOGIN PASSWORD 'tr1cky'", *grants, "SELECT pg_reload_conf()")
    url = make_url(own_server.url).set(username="clerk", password="tr1cky").render_as_string(hide_password=False)
    async with asking(unhurried(url)) as ask:
        await heals(ask)
        await rows_of(own_server.url, "ALTER ROLE clerk PASSWORD 'an0ther'", KILL)
        await is_refused(ask, caplog)
        assert "InvalidPasswordError 28P01" in caplog.text
        assert "tr1cky" not in caplog.text
        await rows_of(own_server.url, "ALTER ROLE clerk PASSWORD 'tr1cky'")
        await heals(ask)


async def is_not_there(ask: Ask, caplog: pytest.LogCaptureFixture) -> None:
    """Reads and writes of a database that has no tables are refused, each in one line of the log."""
    for query in (
        "{ items { totalCount } }",
        '{ node(id: "Item:1") { id } }',
        f"mutation {{ {create('c', 'C')} }}",
        MUTATIONS["@atomic"],
    ):
        caplog.clear()
        answer = await send(ask, query)
        assert answer.refused, (query, answer)
        assert len(warnings(caplog)) == 1, warnings(caplog)


async def test_a_database_that_is_not_migrated_is_served_when_it_is(bare_url: str, caplog: pytest.LogCaptureFixture) -> None:
    """The application alone migrates nothing: that is for `serve` and whoever deploys."""
    async with asking(unhurried(bare_url)) as ask:
        await is_not_there(ask, caplog)
        await migrate.upgrade(bare_url)
        await done(ask, "createItem", {"sku": "A", "name": "A", "price": "1", "stock": 500})
        await heals(ask)


async def test_the_application_makes_no_file(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "a shop 100%.db"
    async with asking(unhurried(f"sqlite:///{path}")) as ask:
        await is_not_there(ask, caplog)
        assert not await asyncio.to_thread(path.exists)
        await migrate.upgrade(f"sqlite:///{path}")
        await done(ask, "createItem", {"sku": "A", "name": "A", "price": "1", "stock": 500})
        await heals(ask)


@pytest.fixture
async def sqlite_shop(sqlite_engines: Sqlite) -> AsyncIterator[Ask]:
    url = sqlite_engines.new("empty")
    async with asking(unhurried(url)) as ask:
        await done(ask, "createItem", {"sku": "A", "name": "A", "price": "1", "stock": 500})
        yield ask
    sqlite_engines.drop(url)


@pytest.mark.parametrize("pragma", ["query_only = ON", "max_page_count = 1"])
async def test_a_file_that_is_full_or_only_read(sqlite_shop: Ask, pragma: str, caplog: pytest.LogCaptureFixture) -> None:
    database: Database = sqlite_shop.app.state.database
    name, write = "x" * 9_000, f"mutation {{ {create('a', 'N')} }}"

    def limit(connection: Any, record: Any) -> None:
        cursor = connection.cursor()
        cursor.execute(f"PRAGMA {pragma}")
        cursor.close()

    async with database.engine.connect() as connection:
        await connection.invalidate()
    event.listen(database.engine.sync_engine, "connect", limit)
    answers = [await send(sqlite_shop, write.replace('"N"', f'"N{n}"').replace('"x"', f'"{name}"')) for n in range(3)]
    assert answers[-1].refused, answers[-1]
    assert len(warnings(caplog)) == sum(answer.refused for answer in answers)
    event.remove(database.engine.sync_engine, "connect", limit)
    await heals(sqlite_shop)

"""What every test may ask for: a database of its own on each engine, the app before it, a count of statements."""

from __future__ import annotations

import asyncio
import gc
import json
import re
import socket
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, ExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import orjson
import pytest
from httpx2 import ASGITransport, AsyncClient
from sqlalchemy import Connection, Engine, event
from starlette.applications import Starlette

from graph.database import Database
from graph.database.places import unmarked
from graph.feed import purge, sequence
from graph.observations import StatementBegan, listening
from graph.settings import Settings
from tests import examples, postgres, scratch
from tests.audit import checked_out
from tests.engines import TEMPLATES, Engines, Postgres, Sqlite
from tests.snapshots import Snapshots, compare, kept, to_keep
from tests.stock import Making
from tests.unhurried import SELDOM_SECONDS, unhurried

if TYPE_CHECKING:
    from tests.remote import Remote
    from tests.standbys import Pair

#: Opens a shop over a network under some settings.
RemoteWith = Callable[..., AbstractAsyncContextManager["Remote"]]

examples.load_profile()
scratch.in_memory()

purge.INTERVAL_SECONDS = SELDOM_SECONDS

#: What SQLAlchemy asks a server that it has not met.
BY_SQLALCHEMY = ("SELECT PG_CATALOG.VERSION()", "SELECT CURRENT_SCHEMA()", "SHOW STANDARD_CONFORMING_STRINGS")
#: The beginnings of statements that only steer a transaction or a connection.
NOT_COUNTED = ("BEGIN", "COMMIT", "ROLLBACK", "SAVEPOINT", "RELEASE", "SET", "PRAGMA", "SELECT SET_CONFIG", *BY_SQLALCHEMY)
#: What a server on PostgreSQL sends as time passes, whoever asks it what.
BY_ITSELF = {unmarked(sql) for sql in (sequence.WAITING, sequence.HELD, sequence.NUMBERED)}
#: The schema of a shop among others.
OF_A_SHOP = re.compile(r'"shop_[^"]+"\.')


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--update-golden", action="store_true", help="write SQL and answers of the golden cases anew")


def pytest_collection_finish() -> None:
    """What a process has imported is no garbage: pytest looks for what tests have left behind five times at the end."""
    gc.freeze()


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(autouse=True, scope="session")
def patient_probes() -> Iterator[None]:
    """A server that is asked how it is waits for its database; who is about a database that does not answer says how long."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("graph.serve.health.PROBE_SECONDS", 3_600.0)
        yield


@pytest.fixture(scope="session")
def sqlite_engines(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sqlite]:
    engines = Sqlite(tmp_path_factory.mktemp("sqlite"))
    yield engines
    engines.close()


@pytest.fixture(scope="session")
def postgres_engines() -> Iterator[Postgres]:
    with postgres.server() as server:
        engines = Postgres(server)
        yield engines
        engines.close()


@pytest.fixture(params=["sqlite", "postgresql"])
def engines(request: pytest.FixtureRequest) -> Engines:
    """The kind of database this run of the test is about."""
    made: Engines = request.getfixturevalue("sqlite_engines" if request.param == "sqlite" else "postgres_engines")
    return made


@pytest.fixture
def silent() -> Iterator[int]:
    """A port that takes connections and never says anything."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


@pytest.fixture
def tried_again_at_once() -> Iterator[None]:
    """What is run again for a passing reason does not wait before."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("graph.database.transactions.JITTER_SECONDS", (0, 0))
        yield


@pytest.fixture
def missed_soon() -> Iterator[None]:
    """Servers end a transaction of whose client they have heard nothing for a while that no other test waits for."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("graph.database.server_limits.idle_seconds", lambda _: 4.0)
        yield


@pytest.fixture
def by_hand() -> None:
    """The test writes rows past the product, and what it leaves need be no shop."""


@pytest.fixture
def audited(request: pytest.FixtureRequest) -> bool:
    """Whether the test's databases are held against the rules of a shop in the end."""
    return "by_hand" not in request.fixturenames


@contextmanager
def made(engines: Engines, template: str, *, audited: bool = True) -> Iterator[str]:
    """A database of a test's own. Whatever the test did, the shop in it must be whole afterwards."""
    url = engines.lend(template)
    passed = False
    try:
        yield url
        passed = True
    finally:
        engines.take_back(url, template, audited=audited and passed)


@pytest.fixture
def bare_url(engines: Engines, audited: bool) -> Iterator[str]:
    """A database without any table."""
    with made(engines, "nothing", audited=audited) as url:
        yield url


@pytest.fixture
def begins_with(request: pytest.FixtureRequest) -> str:
    """The template of a test's database: without rows; where it asks for the shop in any way, what its module calls SHOP."""
    if not {"shop", "shop_url", "shop_with", "remote", "remote_with"} & set(request.fixturenames):
        return "empty"
    shop: str | list[Making] = request.module.SHOP
    if isinstance(shop, str):
        return shop
    name: str = request.module.__name__
    TEMPLATES[name] = ("empty", partial(fill_with, shop))
    return name


async def fill_with(making: list[Making], url: str) -> None:
    """Make a small shop in an empty database."""
    async with asking(unhurried(url)) as ask:
        for field, input_ in making:
            payload = await ask.data(
                f"mutation ($input: {field[0].upper()}{field[1:]}Input!) {{ {field}(input: $input) {{ errors {{ message }} }} }}",
                {"input": input_},
            )
            assert payload[field]["errors"] == []


@pytest.fixture
def empty_url(engines: Engines, begins_with: str, audited: bool) -> Iterator[str]:
    """A migrated database without rows; with `shop` in the same test it is the shop's."""
    with made(engines, begins_with, audited=audited) as url:
        yield url


@asynccontextmanager
async def opened(url: str) -> AsyncIterator[Database]:
    database = Database(unhurried(url))
    try:
        yield database
        assert checked_out(database) == 0, "a connection was not given back"
    finally:
        await database.close()


@pytest.fixture
async def database(empty_url: str) -> AsyncIterator[Database]:
    """A migrated database without rows."""
    async with opened(empty_url) as database:
        yield database


@dataclass
class Statements:
    """The statements seen so far; an executemany is one."""

    sql: list[str] = field(default_factory=list)

    def add(self, statement: str) -> None:
        if OF_A_SHOP.sub("", statement) not in BY_ITSELF and not statement.lstrip().upper().startswith(NOT_COUNTED):
            self.sql.append(statement)

    def __len__(self) -> int:
        return len(self.sql)

    def clear(self) -> None:
        self.sql.clear()


@pytest.fixture
def statements() -> Iterator[Statements]:
    """Every statement that any engine of this process sends, through SQLAlchemy and straight to the driver."""
    seen = Statements()

    def before_cursor_execute(connection: Connection, _: Any, statement: str, *rest: Any) -> None:
        if "do_execute" not in vars(connection.dialect):  # the others tell of theirs when they are sent (`Watch`)
            seen.add(statement)

    event.listen(Engine, "before_cursor_execute", before_cursor_execute)
    with listening(StatementBegan, lambda statement: seen.add(statement.sql)):
        yield seen
    event.remove(Engine, "before_cursor_execute", before_cursor_execute)


class Ask:
    """Sends one GraphQL operation to the app, in this process, and returns the decoded answer."""

    def __init__(self, app: Starlette, client: AsyncClient) -> None:
        self.app = app
        self.client = client
        self.snapshots = Snapshots(app.state.database.settings.database_url)
        self._running = 0
        self._crossed = 0

    @property
    def database(self) -> Database:
        found: Database = self.app.state.database
        return found

    async def __call__(self, query: str, variables: dict[str, Any] | None = None, **more: Any) -> dict[str, Any]:
        decoded: dict[str, Any] = orjson.loads(await self.raw(query, variables, **more))
        return decoded

    async def raw(self, query: str, variables: dict[str, Any] | None = None, **more: Any) -> bytes:
        """The bytes of the answer. What a mutation wrote must be what listeners to changes hear of it."""
        # Statements are counted as they are when nobody listens; mutations that cross are told apart nowhere.
        if "mutation" not in query or StatementBegan.listeners:
            return await self._send(query, variables, **more)
        self._running += 1
        try:
            if self._running > 1:
                self._crossed += 1
                return await self._send(query, variables, **more)
            return await self._watched(query, variables, **more)
        finally:
            self._running -= 1

    async def _watched(self, query: str, variables: dict[str, Any] | None = None, **more: Any) -> bytes:
        """Send a mutation, and compare the record of changes and the outbox with snapshots of the database."""
        crossed, heard = self._crossed, list[Any]()
        listeners = self.app.state.database.listeners
        before = await self.snapshots.take()
        last = await self.snapshots.outbox()
        listeners.append(heard.append)
        try:
            answer = await self._send(query, variables, **more)
        finally:
            listeners.remove(heard.append)
        if crossed == self._crossed and b"COMMIT_UNKNOWN" not in answer:
            compare(before, await self.snapshots.take(), heard)
            left = await self.snapshots.outbox(last[0]["id"] if last else 0)
            assert kept(left) == to_keep([change for changes in heard for change in changes])
        return answer

    async def _send(self, query: str, variables: dict[str, Any] | None = None, **more: Any) -> bytes:
        # The standard library's JSON writes lone surrogates too.
        body = json.dumps({"query": query, "variables": variables or {}, **more}).encode()
        answer = await self.client.post("/graphql", content=body, headers={"content-type": "application/json"})
        return answer.content

    async def data(self, query: str, variables: dict[str, Any] | None = None, **more: Any) -> dict[str, Any]:
        """The data of an answer that has no errors."""
        answer = await self(query, variables, **more)
        assert "errors" not in answer, answer
        found: dict[str, Any] = answer["data"]
        return found


#: An engine of the default settings for each kind of database, whose documents and plans are kept from test to test.
KNOWING: dict[str, Any] = {}


@pytest.fixture
def knowing(request: pytest.FixtureRequest) -> bool:
    """Whether the app knows the operations of other tests: most of a small test's time went into planning the same ones anew."""
    return "monkeypatch" not in request.fixturenames


@asynccontextmanager
async def asking(settings: Settings, *, knowing: bool = False) -> AsyncIterator[Ask]:
    from graph.serve.app import create_app

    app = create_app(settings)
    if knowing:
        engine = app.state.engine
        known = KNOWING.setdefault(engine.dialect.name, engine)
        engine.documents, engine.plans, engine.mutations = known.documents, known.plans, known.mutations
    app.state.rota.idle_seconds = SELDOM_SECONDS
    # The transport starts no lifespan, and what the app does at its start and end belongs to the test.
    async with app.router.lifespan_context(app), AsyncClient(transport=ASGITransport(app), base_url="http://127.0.0.1") as client:
        asker = Ask(app, client)
        try:
            yield asker
        finally:
            await asker.snapshots.close()
        await given_back(app.state.database)


async def given_back(database: Database) -> None:
    """See that nobody keeps a connection; what the server does by itself has one for a moment, or longer where all is slow."""
    for _ in range(6_000):
        if not checked_out(database):
            return
        await asyncio.sleep(0.01)
    raise AssertionError("a connection was not given back")


@pytest.fixture
async def ask(empty_url: str, knowing: bool) -> AsyncIterator[Ask]:
    """`await ask(query, variables)` before an empty database; with `database` in the same test it is the same one."""
    async with asking(unhurried(empty_url), knowing=knowing) as asker:
        yield asker


@pytest.fixture
async def shop(ask: Ask) -> Ask:
    """`ask` before what the test's module calls SHOP, with a connection that is open, as while a server serves.

    SHOP is a small shop (`tests.stock`), or the name of a large one: "northwind", or "varied" (`tests.shop`).
    """
    async with ask.database.engine.connect():
        return ask


@pytest.fixture
def shop_url(empty_url: str) -> str:
    """The database of `shop`, for what opens it by itself."""
    return empty_url


@pytest.fixture
def shop_with(shop_url: str) -> Callable[..., AbstractAsyncContextManager[Ask]]:
    """`async with shop_with(max_cost=9) as ask:` for `shop` under settings other than the defaults."""
    return lambda **settings: asking(unhurried(shop_url, **settings))


@pytest.fixture
def postgres_url(postgres_engines: Postgres, begins_with: str, audited: bool) -> Iterator[str]:
    """`empty_url` of a test that is about PostgreSQL alone."""
    with made(postgres_engines, begins_with, audited=audited) as url:
        yield url


@pytest.fixture(scope="session")
def pair() -> Iterator[Pair]:
    """A primary and its standby. Who holds its replay lets it go on; who ends one of them makes a pair of his own."""
    from tests.standbys import paired

    with paired() as made:
        yield made


@pytest.fixture(params=["sqlite", "postgresql"])
def shops_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """Where shops may be made: a folder that is not there yet, a database without any table."""
    with ExitStack() as stack:
        if request.param == "sqlite":
            yield f"sqlite:///{tmp_path / 'shops'}"
        else:
            yield stack.enter_context(made(request.getfixturevalue("postgres_engines"), "nothing", audited=False))


@pytest.fixture
def remote_with(postgres_url: str) -> RemoteWith:
    """`async with remote_with(pool_size=14) as remote:` for a `remote` under settings of its own."""
    from tests.remote import remote_at

    return partial(remote_at, postgres_url)


@pytest.fixture
async def remote(remote_with: RemoteWith) -> AsyncIterator[Remote]:
    """The `shop` of a test that is about the network between the product and PostgreSQL."""
    async with remote_with() as made:
        yield made


@pytest.fixture
def ask_with(empty_url: str) -> Callable[..., AbstractAsyncContextManager[Ask]]:
    """`async with ask_with(max_page_size=3) as ask:` for settings other than the defaults."""
    return lambda **settings: asking(unhurried(empty_url, **settings))

"""Shops beside each other behind one server, and each of them alone: before a server and a database of its own.

What goes in: a deployment with the shops of `NAMES`, and a database for each of the first two. What comes out: `Beside`, which
sends what clients ask to both, and sees that every answer is the same to the byte, but for times and the ids of requests. What is
cut off in the middle is asked again, as a client does who was not answered, until it has happened once.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

import asyncpg
import orjson
from httpx2 import ASGITransport, AsyncClient
from sqlalchemy import make_url

from graph.database.shop_names import file_of_shop, schema_of_shop
from graph.observations import StatementBegan, listening, running
from graph.serve.app import create_app
from graph.settings import Settings
from graph.shops.deployment import Deployment
from tests.audit import fetch, rows_of
from tests.conftest import given_back
from tests.engines import Aside
from tests.sockets import listening as served
from tests.sockets import until
from tests.subscribers import Socket, socket
from tests.unhurried import UNHURRIED
from tests.write.machine.play import EVERYTHING

#: Two that are played, and one that nobody writes to.
NAMES = ("acme", "north-wind")
IDLE = "idle"

#: What no two runs have in common.
OF_A_RUN = (
    (re.compile(rb'"\d{4}-\d\d-\d\dT[0-9:.]+(?:Z|\+00:00)"'), b'"TIME"'),
    (re.compile(rb'"requestId":"[0-9a-f]+"'), b'"requestId":"ID"'),
)
#: What is answered where a request is to be sent again.
UNSETTLED = re.compile(rb'"(?:SERVICE_UNAVAILABLE|TRY_AGAIN|COMMIT_UNKNOWN)"')

#: Limits of servers that are asked for all that there is.
WIDE: Mapping[str, Any] = {**UNHURRIED, "max_cost": 10**9, "max_aliases": 1_000, "max_tokens": 10**5}

FEED = "{ changes(first: 100) { totalCount nodes { cursor kind type entityId version fields by } } }"
FOLLOW = "subscription { changes { cursor kind type entityId version fields by } }"
#: Who watches the databases, past all products.
WATCHER = "watcher"
BUSY = f"""SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND application_name <> '{WATCHER}'
    AND backend_type = 'client backend' AND state <> 'idle'"""
KILL = f"""SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity
    WHERE datname = current_database() AND application_name <> '{WATCHER}' AND backend_type = 'client backend'"""
TABLES_OF_POSTGRES = "SELECT tablename FROM pg_tables WHERE schemaname = '{}' ORDER BY 1"
TABLES_OF_SQLITE = "SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY 1"
#: A time as a driver or JSON tells it.
TIME = re.compile(r"datetime\.datetime\([^)]*\)\)?|\d{4}-\d\d-\d\d[T ][0-9:.]+(?:Z|\+00:00)?")


@dataclass(frozen=True)
class Asked:
    """A request. `key` is the idempotency key of the one field that it has, where it is a mutation of one field."""

    query: str
    variables: Mapping[str, Any] = field(default_factory=dict)
    key: str = ""
    more: Mapping[str, Any] = field(default_factory=dict)
    head: Mapping[str, str] = field(default_factory=dict)


@dataclass
class Fault:
    """What happens to a request as its statement of this number goes to the database: it is cancelled there, or from there on all
    connections are killed.
    """

    kind: str
    place: int
    passed: int = 0


class Rows:
    """What a database holds of a shop, past the product. `schema` is nothing where the file, or the database, is the shop's."""

    def __init__(self, url: str, schema: str = "") -> None:
        self.url, self.schema = url, schema or "public"
        self.is_postgres = not url.startswith("sqlite")
        self.place = f'"{self.schema}".' if self.is_postgres else ""
        self.connection: Any = None

    async def open(self, stack: AsyncExitStack) -> None:
        if self.is_postgres:
            self.connection = await asyncpg.connect(self.url, server_settings={"application_name": WATCHER})
            stack.push_async_callback(self.connection.close)

    async def fetch(self, sql: str) -> Sequence[Any]:
        if self.is_postgres:
            return await fetch(self.connection, sql)
        return (await rows_of(self.url, sql))[0]

    async def count(self, table: str, condition: str = "true") -> int:
        found: int = (await self.fetch(f"SELECT count(*) FROM {self.place}{table} WHERE {condition}"))[0][0]
        return found

    async def all(self) -> dict[str, Sequence[str]]:
        """All that the shop has, but for times."""
        found: dict[str, Sequence[str]] = {}
        for (table,) in await self.fetch(TABLES_OF_POSTGRES.format(self.schema) if self.is_postgres else TABLES_OF_SQLITE):
            rows = await self.fetch(f"SELECT * FROM {self.place}{table}")  # our own names
            found[table] = sorted(TIME.sub("TIME", str(row)) for row in rows)
        return found

    async def numbers(self) -> Mapping[str, int | None]:
        """Where its sequences stand, which nothing brings back."""
        sql = f"SELECT sequencename, last_value FROM pg_sequences WHERE schemaname = '{self.schema}'"
        return dict(await self.fetch(sql))

    async def take_numbers(self, of: Rows) -> None:
        """Have its sequences stand where those of another one do."""
        for name, value in (await of.numbers()).items():
            if value is not None:
                await self.fetch(f'SELECT setval(\'"{self.schema}"."{name}"\', {value})')

    async def rest(self) -> None:
        """Wait until nobody does anything there."""
        while self.is_postgres and (await self.fetch(BUSY))[0][0]:  # noqa: ASYNC110  # nothing to be woken by
            await asyncio.sleep(0.005)


class Side:
    """A shop as its clients see it, by one of the servers."""

    def __init__(self, app: Any, client: AsyncClient, rows: Rows, head: Mapping[str, str]) -> None:
        self.app, self.client, self.rows, self.head = app, client, rows, head
        self.events: list[bytes] = []

    async def ask(self, asked: Asked) -> bytes:
        """Status and body of an answer."""
        body = orjson.dumps({"query": asked.query, "variables": asked.variables, **asked.more})
        head = {"content-type": "application/json", **asked.head, **self.head}
        answer = await self.client.post("/graphql", content=body, headers=head)
        return b"%d %b" % (answer.status_code, plain(answer.content))

    async def follow(self, stack: AsyncExitStack, port: int) -> None:
        """Hear of changes from now on."""
        client = await stack.enter_async_context(socket(port, additional_headers=dict(self.head)))
        await client.init()
        await client.subscribe("1", FOLLOW)
        task = asyncio.create_task(self._hear(client))

        async def leave() -> None:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task

        stack.push_async_callback(leave)

    async def _hear(self, client: Socket) -> None:
        async for message in client.connection:
            self.events.append(plain(message if isinstance(message, bytes) else message.encode()))

    async def told(self) -> Sequence[bytes]:
        """What was heard, once that is as much as there is to hear."""
        wanted = await self.rows.count("changes")
        await until(lambda: len(self.events) >= wanted)
        return self.events


class Beside:
    """Two shops and a third one beside each other, and the two of them alone."""

    def __init__(self, shared: Mapping[str, Side], alone: Mapping[str, Side], aside: Aside) -> None:
        self.shared, self.alone, self.aside = shared, alone, aside
        self.faults: dict[str, Fault] = {}
        self.killer: asyncpg.Connection | None = None
        #: Statements for another shop than that of their request, or for several.
        self.wrong: list[tuple[str, str]] = []
        #: What each shop showed when it was last looked, and what the third one had when that began.
        self.seen: dict[str, bytes] = {}
        self.untouched: Any = None

    @property
    def is_postgres(self) -> bool:
        return self.shared[IDLE].rows.is_postgres

    def began(self, statement: StatementBegan) -> None:
        """A statement of any server is about to be sent: it is for one shop, that of the request where there is one."""
        operation = running()
        shop = operation.shop if operation is not None else ""
        named = {name for name in (*NAMES, IDLE) if f'"{schema_of_shop(name)}"' in statement.sql}
        if len(named) > 1 or (shop and named - {shop}):
            self.wrong.append((shop, statement.sql))  # whatever is raised here might be answered
        fault = self.faults.get(shop)
        if fault is None:
            return
        fault.passed += 1
        if fault.kind == "cancel" and fault.passed == fault.place:
            task = asyncio.current_task()
            assert task is not None
            task.cancel()
        elif fault.kind == "kill" and fault.passed >= fault.place:
            self.aside.run(self.kill())

    async def kill(self) -> None:
        """End all connections to the servers' database."""
        if self.killer is None:
            settings = {"application_name": WATCHER}
            self.killer = await asyncpg.connect(self.shared[IDLE].rows.url, server_settings=settings)
        await self.killer.fetch(KILL)

    async def leave_killer(self) -> None:
        if self.killer is not None:
            await self.killer.close()

    async def play(self, asked: Mapping[str, Asked], faults: Mapping[str, Fault] | None = None) -> dict[str, bytes]:
        """Ask shops at the same time, then each of them alone; the answers, which are the same."""
        self.faults = dict(faults or {})
        readers = {name: asyncio.create_task(self.shared[name].ask(Asked(EVERYTHING))) for name in (*NAMES, IDLE)}
        tasks = {name: asyncio.create_task(self.shared[name].ask(each)) for name, each in asked.items()}
        await asyncio.wait([*tasks.values(), *readers.values()])
        faulty, self.faults = self.faults, {}
        answers = {}
        for name, each in asked.items():
            task = tasks[name]
            answer = None if task.cancelled() else task.result()
            if answer is None or UNSETTLED.search(answer):
                assert faulty, answer
                answer, has_happened = await self.again(name, each)
                if has_happened:  # what is answered from a key is read anew, with the changes that it made
                    await self.alone[name].ask(each)
            assert answer == await self.alone[name].ask(each), name
            answers[name] = answer
        before = dict(self.seen)
        await self.look()
        for name, reader in readers.items():
            if not reader.cancelled() and not (faulty and UNSETTLED.search(reader.result())):
                between = name in asked and not asked[name].key  # of several fields each is a transaction
                assert between or reader.result() in (before.get(name), self.seen[name]), name
        assert not self.wrong
        return answers

    async def again(self, name: str, asked: Asked) -> tuple[bytes, bool]:
        """What is answered to who was not, and asks again; and whether it had happened."""
        shared, alone = self.shared[name], self.alone[name]
        await given_back(shared.app.state.database)
        await shared.rows.rest()
        has_happened = bool(asked.key and await shared.rows.count("idempotency_key", f"key = '{asked.key}'"))
        if shared.rows.is_postgres and not has_happened:
            await alone.rows.take_numbers(shared.rows)  # what it has drawn is gone
        for _ in range(5):  # others may have met a connection that is gone, too
            answer = await shared.ask(asked)
            if not UNSETTLED.search(answer):
                return answer, has_happened
        raise AssertionError(answer)

    async def look(self) -> None:
        """Everything that each shop shows is what it shows alone; the third one shows what it did when all began."""
        every = (*NAMES, IDLE)
        found = await asyncio.gather(*(self.shared[name].ask(Asked(EVERYTHING)) for name in every * 2))
        wanted = [await self.alone[name].ask(Asked(EVERYTHING)) for name in NAMES]
        wanted.append(self.seen.get(IDLE, found[2]))
        assert found == wanted * 2
        self.seen = dict(zip(every, found, strict=False))
        await asyncio.gather(*(side.told() for side in [*self.shared.values(), *self.alone.values()]))
        feeds = await asyncio.gather(*(self.shared[name].ask(Asked(FEED)) for name in NAMES * 2))
        assert feeds == [await self.alone[name].ask(Asked(FEED)) for name in NAMES] * 2
        for name in NAMES:
            assert self.shared[name].events == self.alone[name].events

    async def see_rows(self) -> None:
        """The databases hold the same, and the third shop what it did."""
        for name in NAMES:
            shared, alone = self.shared[name].rows, self.alone[name].rows
            assert await shared.all() == await alone.all()
        found = await self.shared[IDLE].rows.all()
        self.untouched = self.untouched or found
        assert found == self.untouched
        assert len(self.shared[IDLE].events) == len(found["changes"])


def plain(body: bytes) -> bytes:
    """An answer without what no two runs have in common."""
    for pattern, instead in OF_A_RUN:
        body = pattern.sub(instead, body)
    return body


@asynccontextmanager
async def beside(settings: Settings, url: str, alone: Mapping[str, str]) -> AsyncIterator[Beside]:
    """Serve a deployment, whose databases are at `url` where the settings lead there by a pooler, and two that have one shop."""
    async with AsyncExitStack() as stack:
        aside = Aside()
        stack.callback(aside.close)
        direct = Settings(database_url=url, shops=True, shop_roles=settings.shop_roles)
        for name in (*NAMES, IDLE):
            await Deployment(direct).create(name)

        async def started(settings: Settings) -> tuple[Any, AsyncClient, int]:
            app = create_app(settings)
            await stack.enter_async_context(app.router.lifespan_context(app))
            client = await stack.enter_async_context(AsyncClient(transport=ASGITransport(app), base_url="http://127.0.0.1"))
            return app, client, (await stack.enter_async_context(served(app))).port

        async def side(server: tuple[Any, AsyncClient, int], rows: Rows, head: Mapping[str, str]) -> Side:
            app, client, port = server
            await rows.open(stack)
            made = Side(app, client, rows, head)
            await made.follow(stack, port)
            return made

        def rows_of_shop(name: str) -> Rows:
            if not url.startswith("sqlite"):
                return Rows(url, schema_of_shop(name))
            return Rows(f"sqlite:///{file_of_shop(str(make_url(url).database), name)}")

        server = await started(settings)
        shared = {name: await side(server, rows_of_shop(name), {settings.shop_header: name}) for name in (*NAMES, IDLE)}
        single = {}
        for name in NAMES:
            lone = await started(Settings(database_url=alone[name], **WIDE))
            single[name] = await side(lone, Rows(alone[name]), {})
        made = Beside(shared, single, aside)
        with listening(StatementBegan, made.began):
            yield made
        aside.run(made.leave_killer())

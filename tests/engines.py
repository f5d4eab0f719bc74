"""Databases for tests: each kind makes a template once a session, when it is first asked for, and lends copies of it.

What goes in: the name of a template (nothing, empty, northwind, varied, or the small shop of a module). What comes out: the URL
of a copy, until it is taken back. What may be refused here: nothing beyond what the database refuses.

A copy that nobody wrote to is lent again as it is; one of a few rows is filled anew, which takes a tenth of the time of making
and dropping a database; others are dropped.
"""

from __future__ import annotations

import asyncio
import filecmp
import shutil
from collections.abc import Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, TypeVar

import asyncpg
from asyncpg.exceptions import InterfaceError, LockNotAvailableError, PostgresError

from graph import migrate, sample
from graph.base import Base
from graph.database import Database
from tests import postgres, shop
from tests.audit import audit_by, audit_url
from tests.unhurried import unhurried

T = TypeVar("T")


async def fill_empty(url: str) -> None:
    await migrate.upgrade(url)


async def fill_northwind(url: str) -> None:
    await sample.load_into(unhurried(url))


async def fill_varied(url: str) -> None:
    database = Database(unhurried(url))
    await shop.vary(database)
    await database.close()


#: The template that each one starts as, and what is done to it then.
TEMPLATES: dict[str, tuple[str, Callable[[str], Coroutine[Any, Any, None]]]] = {
    "empty": ("nothing", fill_empty),
    "northwind": ("empty", fill_northwind),
    "varied": ("northwind", fill_varied),
}
#: Templates whose rows are too many to be written anew, as are those that start as one.
LARGE = ("nothing", "northwind", "varied")


def is_small(template: str) -> bool:
    """Whether a template has so few rows that a database is filled with them anew."""
    return template not in LARGE and TEMPLATES[template][0] not in LARGE[1:]


class Engines(Protocol):
    """One kind of database: `new(template)` makes one and `drop(url)` takes it away, `lend` and `take_back` may keep it.

    What a test wrote is held against the rules of a shop as it is taken back, if the copy is `audited`.
    """

    def new(self, template: str) -> str: ...
    def drop(self, url: str) -> None: ...
    def lend(self, template: str) -> str: ...
    def take_back(self, url: str, template: str, *, audited: bool) -> None: ...


class Aside:
    """A thread with an event loop of its own: the thread of a test may have a loop that runs."""

    def __init__(self) -> None:
        self._thread = ThreadPoolExecutor(1)
        self._runner = self._thread.submit(asyncio.Runner).result()

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        return self._thread.submit(self._runner.run, work).result()

    def close(self) -> None:
        self._thread.submit(self._runner.close).result()
        self._thread.shutdown()


class Sqlite:
    """Files in one folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.aside = Aside()
        self.templates = {"nothing": self.folder / "nothing.db"}
        self.templates["nothing"].touch()
        self.free: dict[str, list[str]] = {}
        self.made = 0

    def _template(self, name: str) -> Path:
        if name not in self.templates:
            before, fill = TEMPLATES[name]
            path = self.folder / f"{name}.db"
            shutil.copyfile(self._template(before), path)
            self.aside.run(fill(f"sqlite:///{path}"))
            self.templates[name] = path
        return self.templates[name]

    def new(self, template: str) -> str:
        self.made += 1
        path = self.folder / f"test{self.made}.db"
        shutil.copyfile(self._template(template), path)
        return f"sqlite:///{path}"

    def _files(self, url: str) -> list[Path]:
        return list(self.folder.glob(Path(url.removeprefix("sqlite:///")).name + "*"))

    def drop(self, url: str) -> None:
        for path in self._files(url):
            path.unlink()

    def lend(self, template: str) -> str:
        free = self.free.get(template)
        return free.pop() if free else self.new(template)

    def take_back(self, url: str, template: str, *, audited: bool) -> None:
        files = self._files(url)
        if len(files) == 1 and filecmp.cmp(files[0], self._template(template), shallow=False):
            self.free.setdefault(template, []).append(url)
            return
        try:
            if audited:
                self.aside.run(audit_url(url))
        finally:
            self.drop(url)

    def close(self) -> None:
        self.aside.close()


#: What a database is, but for its rows: who changed this does not get the database back into use.
SHAPE = """
    SELECT md5(string_agg(part, '|' ORDER BY part)) FROM (
        SELECT c::text AS part FROM pg_class AS c WHERE relnamespace = 'public'::regnamespace
        UNION ALL SELECT c::text FROM pg_constraint AS c WHERE connamespace = 'public'::regnamespace
        UNION ALL SELECT p.oid::text FROM pg_proc AS p WHERE pronamespace = 'public'::regnamespace
        UNION ALL SELECT concat(tgname, tgenabled) FROM pg_trigger WHERE NOT tgisinternal
        UNION ALL SELECT s::text FROM pg_db_role_setting AS s
        UNION ALL SELECT version_num FROM alembic_version
        UNION ALL SELECT concat(datacl, datconnlimit, datallowconn) FROM pg_database WHERE datname = current_database()
    ) AS parts"""
#: How many others are in a transaction.
OTHERS = """SELECT count(*) FROM pg_stat_activity
    WHERE datname = current_database() AND pid <> pg_backend_pid() AND xact_start IS NOT NULL"""


#: How many bytes tables and indexes take. Rows that are gone are not cleared away: who left many is not used again.
SIZE = """SELECT sum(pg_relation_size(oid)) FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'i')"""
GROWN = 4 * 2**20


@dataclass(frozen=True)
class Contents:
    """What a small database holds: its shape, and the statements that make its rows and sequences what they are."""

    shape: str
    statements: str

    @classmethod
    async def of(cls, connection: asyncpg.Connection) -> Contents:
        tables = Base.metadata.sorted_tables
        statements = [f"DELETE FROM {table.name}" for table in reversed(tables)]
        for table in tables:
            columns = [column.name for column in table.columns if column.computed is None]
            row = " || ', ' || ".join(f"quote_nullable({name}::text)" for name in columns)
            rows = await connection.fetchval(f"SELECT string_agg('(' || {row} || ')', ', ') FROM {table.name}")
            if rows:
                statements.append(f"INSERT INTO {table.name} ({', '.join(columns)}) VALUES {rows}")
        return cls(await connection.fetchval(SHAPE), "; ".join([*statements, await sequences(connection)]))

    async def restore(self, connection: asyncpg.Connection) -> bool:
        """Make the rows what they were, if all else is as it was and nobody holds any of them."""
        shape, others, size = await connection.fetchrow(f"SELECT ({SHAPE}), ({OTHERS}), ({SIZE})")
        if shape != self.shape or others or size > GROWN:
            return False
        try:
            await connection.execute(f"SET lock_timeout = 1000; BEGIN; {self.statements}; COMMIT")
        except LockNotAvailableError:  # somebody who is gone has just begun with what he was sent
            return False
        return True


#: Sequences that are found without naming their schema, and those of shops among others.
SEQUENCES = """SELECT oid::regclass::text AS name, start_value, last_value
    FROM pg_sequences JOIN pg_class ON oid = format('%I.%I', schemaname, sequencename)::regclass ORDER BY 1"""


async def sequences(connection: asyncpg.Connection) -> str:
    """What sets all sequences to where they stand. Whoever draws a key then takes a number for his transaction, too."""
    found = await connection.fetch(SEQUENCES)
    return "; ".join(
        f"SELECT setval('{name}', {start if last is None else last}, {'false' if last is None else 'true'})"
        for name, start, last in found
    )


#: How many connections are kept.
KEPT = 8
#: Who lends a database, by its URL.
LENDERS: dict[str, Postgres] = {}


def name_of(url: str) -> str:
    """The name of a database."""
    return url.partition("?")[0].rpartition("/")[2]


async def answers(connection: asyncpg.Connection) -> bool:
    """Whether a connection that was kept still serves: tests end connections of others. One that does not is given up."""
    try:
        await connection.fetchval("SELECT 1")
    except (PostgresError, InterfaceError, OSError):
        connection.terminate()
        return False
    return True


class Postgres:
    """Databases on one server."""

    def __init__(self, server: postgres.Server) -> None:
        self.server = server
        self.aside = Aside()
        self.free: dict[str, list[str]] = {}
        self.lent: dict[str, str] = {}
        self.contents: dict[str, Contents] = {}
        self.templates = {"nothing": "template0"}
        self.connections: dict[str, asyncpg.Connection] = {}

    async def _connected(self, url: str) -> asyncpg.Connection:
        """A connection that is kept from test to test: a new one costs ten times what it is asked. The latest few are."""
        kept = self.connections.pop(url, None)
        if kept is not None and not await answers(kept):
            kept = None
        self.connections[url] = kept = kept or await asyncpg.connect(url)
        if len(self.connections) > KEPT:
            await self._disconnect(next(iter(self.connections)))
        return kept

    async def _disconnect(self, url: str) -> None:
        if url in self.connections:
            await self.connections.pop(url).close()

    async def _fetch(self, query: str) -> Any:
        """A value, asked outside any test database."""
        return await (await self._connected(self.server.url)).fetchval(query)

    async def _state(self) -> str:
        """Which transactions of the server are seen: the same text, the same rows."""
        return str(await self._fetch("SELECT pg_current_snapshot()"))

    async def _template(self, name: str) -> str:
        if name not in self.templates:
            before, fill = TEMPLATES[name]
            made = postgres.new_name()
            url = await self._create(made, await self._template(before))
            await fill(url)
            connection = await self._connected(url)
            await connection.execute(await sequences(connection))
            if name == "empty":
                self.contents[name] = await Contents.of(connection)
            await self._disconnect(url)
            self.templates[name] = made
        return self.templates[name]

    async def _create(self, name: str, template: str) -> str:
        await self._fetch(postgres.CREATE.format(name=name, template=template))
        return self.server.url_of(name)

    async def _new(self, template: str) -> str:
        return await self._create(postgres.new_name(), await self._template(template))

    async def _drop(self, url: str) -> None:
        await self._disconnect(url)
        await self._fetch(postgres.DROP.format(name=name_of(url)))

    async def _small(self, template: str) -> str:
        """A database of few rows: that of another template, filled anew, or else a new one."""
        await self._template("empty")
        for free in (self.free[name] for name in self.free if is_small(name)):
            while free:
                if await self._refill(url := free.pop(), template):
                    return url
                await self._drop(url)
        await self._refill(url := await self._new("empty"), template)
        return url

    async def _refill(self, url: str, template: str) -> bool:
        """Give a database of few rows those of a template, if all else in it is as it was."""
        connection = await self._connected(url)
        if template in self.contents:
            return await self.contents[template].restore(connection)
        if not await self.contents["empty"].restore(connection):
            return False
        await TEMPLATES[template][1](url)
        await connection.execute(await sequences(connection))
        self.contents[template] = await Contents.of(connection)
        return True

    async def _lend(self, template: str) -> str:
        if free := self.free.get(template):
            url = free.pop()
        else:
            url = await (self._small(template) if is_small(template) else self._new(template))
        self.lent[url] = await self._state()
        LENDERS[url] = self
        return url

    async def _begin_again(self, url: str, template: str) -> bool:
        if self.lent[url] != await self._state():
            return False
        before = await self._template(template)
        await self._drop(url)
        await self._create(name_of(url), before)
        self.lent[url] = ""  # a state that is none
        return True

    async def _take_back(self, url: str, template: str, *, audited: bool) -> None:
        del LENDERS[url]
        unchanged = self.lent.pop(url) == await self._state()
        try:
            if not unchanged and audited:
                await audit_by(await self._connected(url))
            again = unchanged or (template in self.contents and await self._refill(url, template))
        except BaseException:
            await self._drop(url)
            raise
        if again:
            self.free.setdefault(template, []).append(url)
        else:
            await self._drop(url)

    def new(self, template: str) -> str:
        return self.aside.run(self._new(template))

    def drop(self, url: str) -> None:
        self.aside.run(self._drop(url))

    def lend(self, template: str) -> str:
        return self.aside.run(self._lend(template))

    def begin_again(self, url: str, template: str) -> bool:
        """Have what is lent begin as a copy of another template, if nobody has written to it; whether it does."""
        return self.aside.run(self._begin_again(url, template))

    def take_back(self, url: str, template: str, *, audited: bool) -> None:
        self.aside.run(self._take_back(url, template, audited=audited))

    async def _close(self) -> None:
        for url in (url for free in self.free.values() for url in free):
            await self._drop(url)
        for name in set(self.templates.values()) - {"template0"}:
            await self._fetch(postgres.DROP.format(name=name))
        for connection in self.connections.values():
            await connection.close()

    def close(self) -> None:
        self.aside.run(self._close())
        self.aside.close()

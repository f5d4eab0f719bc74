"""SQLite: what it can do, and connections to a file: reads in threads beside the one writer.

What goes in: a URL, SQL. What comes out: a `Backend`, as `graph.database.protocol` says. What is refused here: a URL that names
no file, `DatabaseUrlError`; a setting that means a server, `SettingsError`; `Unavailable` when the file cannot be used, told in
a sentence at the start; of a statement what `graph.database.readers` refuses.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Sequence
from contextlib import closing, suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from time import monotonic, sleep
from typing import Any, Self

import sqlalchemy as sa
from sqlalchemy import event
from sqlalchemy.dialects.sqlite import insert
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession, create_async_engine
from sqlalchemy.util import greenlet_spawn

from graph.database.failures import Trouble, Unavailable, sqlite_code, told, trouble
from graph.database.file_limits import STEPS, Identity, Owners, TimeLimit, put_aside
from graph.database.open_files import FileTurns, OpenFiles
from graph.database.pool import Pool, pool_of
from graph.database.protocol import Capabilities, DatabaseUrl
from graph.database.readers import Readers, address
from graph.database.shop_names import REGISTRY_FILE, file_of_shop
from graph.database.stored import STORED
from graph.database.turns import Turns
from graph.settings import DatabaseUrlError, Settings, SettingsError

SCHEMES = ("sqlite",)


def explained(rows: Sequence[Sequence[Any]]) -> list[str]:
    """The steps of a plan, each under the one that it is a part of."""
    depths = {0: -1}
    for step, above, *_ in rows:
        depths[step] = depths.get(above, -1) + 1
    return [f"{'  ' * depths[step]}{told_}" for step, _, _, told_ in rows]


CAPABILITIES = Capabilities(
    system="sqlite",
    title="an SQLite file",
    insert=insert,
    arrays=False,
    typed_values=False,  # a time that is cast becomes a number
    drawn_keys=None,
    writes_in_queries=False,
    parser_room=100,
    bounds_texts=True,
    may_lack=True,
    copies_tables=True,
    one_writer=True,
    schema_lock=None,
    embedded=True,
    explain="EXPLAIN QUERY PLAN",
    explained=explained,
)

#: A file is one shop's.
OF_SHOPS = CAPABILITIES

SLASHES = "sqlite:///FILE has three slashes before a relative path and four before an absolute one"

#: What a file is where SQLite says so when it is opened.
UNUSABLE = {
    sqlite3.SQLITE_NOTADB: "it is no SQLite database",
    sqlite3.SQLITE_READONLY: "it or its folder cannot be written",
    sqlite3.SQLITE_CANTOPEN: "it or its folder cannot be written",
}
#: How long one who starts waits for others that start on the same file.
START_SECONDS = 30.0


def understood(text: str, _: str) -> DatabaseUrl:
    """The file that a URL names. Raises `DatabaseUrlError`."""
    try:
        url = make_url(text)
    except (ArgumentError, ValueError):
        raise DatabaseUrlError(SLASHES) from None
    if url.host or url.username or url.port:
        raise DatabaseUrlError(SLASHES)
    if url.query:
        raise DatabaseUrlError("a file on SQLite takes no parameters")
    if not url.database or url.database == ":memory:":
        raise DatabaseUrlError("an in-memory SQLite database has one connection only; name a file")
    return DatabaseUrl(URL.create("sqlite+aiosqlite", database=url.database), f"sqlite:///{url.database}")


def of_shop(target: DatabaseUrl, shop: str | None) -> DatabaseUrl:
    """A file of the folder that the URL names."""
    folder = target.url.database or ""
    file = str(Path(folder, REGISTRY_FILE) if shop is None else file_of_shop(folder, shop))
    return replace(target, url=target.url.set(database=file), shown=f"sqlite:///{file}")


def check(settings: Settings) -> None:
    """Refuse a setting that means a server. Raises `SettingsError`."""
    if settings.pgbouncer:
        raise SettingsError("ORDERGRAPH_PGBOUNCER is set, but DATABASE_URL is a file on SQLite")
    if settings.shop_roles:
        raise SettingsError("ORDERGRAPH_SHOP_ROLES is set, but DATABASE_URL is a folder of files on SQLite, which know no roles")
    if settings.replica_urls:
        raise SettingsError("ORDERGRAPH_REPLICA_URLS is set, but DATABASE_URL is a file on SQLite, which nobody follows")


def connect(target: DatabaseUrl, settings: Settings) -> File:
    """Connections to a file."""
    return File(target, settings)


async def schema_engine(target: DatabaseUrl, *, make: bool) -> AsyncEngine:
    """An engine for changing the schema, which may `make` the file where there is none. Raises `Unavailable`.

    Foreign keys are off: batch mode drops and rebuilds tables, and the drop would delete the children.
    """
    await asyncio.to_thread(open_file, target.url.database or "", make=make)
    arguments = {"isolation_level": None, "timeout": START_SECONDS}
    engine = create_async_engine(target.url, poolclass=sa.NullPool, hide_parameters=True, connect_args=arguments)
    # The driver's own transaction control commits before DDL; with ours a migration that fails leaves nothing.
    event.listen(engine.sync_engine, "begin", _on_begin)
    return engine


def open_file(path: str, *, make: bool) -> None:
    """Make a file a database whose readers do not wait for its writer, and see that it can be written. Raises `Unavailable`."""
    file = Path(path)
    if file.is_dir():
        raise Unavailable("it is a folder, as many shops have one (ORDERGRAPH_SHOPS)")
    if not file.parent.is_dir():
        raise Unavailable(f"there is no folder {file.parent}")
    if not make and not file.exists():
        raise Unavailable("there is no such file: run `ordergraph migrate`")
    deadline = monotonic() + START_SECONDS
    try:
        with closing(sqlite3.connect(path, isolation_level=None, timeout=START_SECONDS)) as connection:
            (encoding,) = connection.execute("PRAGMA encoding").fetchone()
            if encoding != "UTF-8":
                raise Unavailable(f"its encoding is {encoding}, which sorts texts another way than UTF-8: make it anew")
            _use_wal(connection, deadline)
            connection.execute("BEGIN IMMEDIATE")
            connection.execute("PRAGMA user_version = 0")  # a file that is only read is found out when it is written
            connection.execute("ROLLBACK")
    except sqlite3.Error as error:
        raise Unavailable(UNUSABLE.get(sqlite_code(error)) or told(error)) from error


def _use_wal(connection: sqlite3.Connection, deadline: float) -> None:
    while True:
        try:
            connection.execute("PRAGMA journal_mode=WAL")
        except sqlite3.OperationalError as error:  # the change of the mode does not wait as statements do
            if trouble(error) is not Trouble.PASSING or monotonic() > deadline:
                raise
            sleep(0.05)
        else:
            return


class File:
    """The connections to a file: one for transactions, and those of its readers."""

    def __init__(self, target: DatabaseUrl, settings: Settings) -> None:
        there = URL.create(
            target.url.drivername, database=address(target.url.database or ""), query={"mode": "rw", "uri": "true"}
        )
        self.engine = create_async_engine(
            there,  # which makes no file
            poolclass=Pool,
            pool_size=1,
            max_overflow=0,
            pool_timeout=settings.pool_timeout_seconds,
            hide_parameters=True,
            connect_args={"isolation_level": None, "timeout": settings.lock_timeout_seconds},
        )
        engine = self.engine.sync_engine
        engine.dialect.colspecs = {**engine.dialect.colspecs, **STORED}
        path, owners = target.url.database or "", Owners()
        event.listen(engine, "connect", partial(_on_connect, path, owners, writer_bytes(settings)))
        event.listen(engine, "do_connect", lambda *_: put_aside(path, owners))
        event.listen(engine, "begin", _on_begin)
        event.listen(engine, "before_cursor_execute", self._on_statement)
        event.listen(engine, "invalidate", _on_invalidate)
        # A file has one writer at a time: the others wait for their turn instead of polling its lock.
        self.turns = Turns(1, settings.pool_timeout_seconds)
        self._make_readers = partial(Readers, path, owners, settings)
        self._readers = self._make_readers()
        # Of many shops' files this process has a few open.
        self._files: OpenFiles | None = None
        self.users = 0
        self.resting: asyncio.Task[None] | None = None
        self._seconds = settings.statement_timeout_seconds

    @property
    def _pool(self) -> Pool:
        return pool_of(self.engine)  # another one after the engine was disposed of

    def at(self, schema: str) -> Self:
        """A file has no schemas."""
        raise AssertionError("a shop is a file")

    async def fetch(self, sql: str, arguments: Sequence[Any], max_bytes: int) -> Any:
        """The first value of the first row of a query. Raises `Unavailable`, `TooComplex`."""
        if self._files is None:
            return await self._readers.fetch(sql, arguments, max_bytes)
        await self._files.take(self)
        try:
            return await self._readers.fetch(sql, arguments, max_bytes)
        finally:
            self._files.give_back(self)

    def open_with(self, files: OpenFiles, seconds: float) -> None:
        """Be open while it is used, and as one of so many."""
        self._files, self.turns = files, FileTurns(self, files, seconds)

    async def rest(self) -> None:
        """Close every connection; who comes next opens others."""
        readers, self._readers = self._readers, self._make_readers()
        await self.engine.dispose()
        await asyncio.to_thread(readers.close)

    async def begin(self, session: AsyncSession) -> Any:
        """Begin, which waits for other processes that write."""
        connection = await greenlet_spawn(session.sync_session.connection)
        driver = connection.connection.driver_connection
        self.check(driver)
        return driver

    async def rows(self, driver: Any, sql: str, arguments: Sequence[Any]) -> Sequence[Sequence[Any]]:
        """All rows of a query on the driver's connection."""
        driver.time_limit.begin(self._seconds)
        return await driver.execute_fetchall(sql, arguments)  # type: ignore[no-any-return]  # the driver is untyped

    def check(self, driver: Any) -> None:
        """Raise where the file was deleted or replaced: what is written to it nobody will find again."""
        driver.identity.check()
        driver.identity.check_log()

    def _on_statement(self, connection: sa.Connection, *_: Any) -> None:
        driver: Any = connection.connection.driver_connection
        driver.time_limit.begin(self._seconds)

    async def commit(self, session: AsyncSession) -> None:
        """Commit."""
        await session.commit()

    async def give_up(self, session: AsyncSession) -> None:
        """Drop the connection of a session's transaction, interrupting what runs on it."""
        await session.invalidate()

    async def probe(self) -> None:
        """Nobody stands before a file."""

    def distrust(self) -> None:
        """Use no connection again that was opened before."""
        self._pool.distrust()

    async def close(self) -> None:
        """Close every connection."""
        await self.engine.dispose()
        self._readers.close()


def writer_bytes(settings: Settings) -> int:
    """How long a text of the writer's may get: an answer read back, or what a body holds as the parameter of a statement."""
    return settings.max_answer_bytes + 4 * settings.max_body_bytes


def _on_connect(path: str, owners: Owners, max_bytes: int, connection: Any, record: Any) -> None:
    driver = connection.driver_connection
    driver.time_limit, driver.identity = TimeLimit(), Identity(path, owners)
    sqlite: sqlite3.Connection = driver._conn  # noqa: SLF001  # the driver has no public way to its limits
    sqlite.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, max_bytes)
    sqlite.set_progress_handler(driver.time_limit.over, STEPS)
    cursor = connection.cursor()
    cursor.execute("PRAGMA journal_mode=WAL")
    cursor.execute("PRAGMA synchronous=NORMAL")
    cursor.execute("PRAGMA foreign_keys=ON")
    cursor.close()


def _on_begin(connection: sa.Connection) -> None:
    # A plain BEGIN that reads and then writes fails with "database is locked" whatever the timeout.
    connection.exec_driver_sql("BEGIN IMMEDIATE")


def _on_invalidate(connection: Any, record: Any, error: BaseException | None) -> None:
    # The thread that runs a statement nobody waits for is stopped: by its limit and not by an interrupt, which would hold for the
    # ROLLBACK too while a statement is open. A request cancelled between a RETURNING and its rows leaves such a one, that keeps
    # the closed connection and its lock on the file alive until the cursor is collected. So the driver's thread rolls back before
    # it gets to closing.
    driver = connection.driver_connection
    driver.time_limit.given_up = True
    with suppress(Exception), closing(driver.rollback()) as begun:
        begun.send(None)

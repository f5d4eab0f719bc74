"""Connections to an SQLite file: reads in threads beside the one writer.

What goes in: where the file is, settings, SQL. What comes out: `File`, which is a `Connections` as `graph.database.protocol`
says; `begin_at_once`, how a transaction begins that may write. What is refused here: `Unavailable` when the file cannot be used;
of a statement what `graph.database.readers` refuses.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Sequence
from contextlib import closing, suppress
from functools import partial
from threading import Thread
from typing import Any, Self

import aiosqlite
import sqlalchemy as sa
from sqlalchemy import event
from sqlalchemy.engine import URL
from sqlalchemy.ext.asyncio import AsyncSession, create_async_engine
from sqlalchemy.util import greenlet_spawn

from graph.database.file_limits import STEPS, Identity, Owners, TimeLimit, put_aside
from graph.database.open_files import FileTurns, OpenFiles
from graph.database.pool import Pool, pool_of
from graph.database.protocol import DatabaseUrl
from graph.database.readers import Readers, address
from graph.database.stored import STORED
from graph.database.turns import Turns
from graph.settings import Settings

#: How long is waited at the end for the threads of connections that were given up, or whose opening was.
ENDING_SECONDS = 5.0


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
            connect_args={
                "isolation_level": None,
                "timeout": settings.lock_timeout_seconds,
                "async_creator_fn": self._opening,
            },
        )
        engine = self.engine.sync_engine
        engine.dialect.colspecs = {**engine.dialect.colspecs, **STORED}
        path, owners = target.url.database or "", Owners()
        event.listen(engine, "connect", partial(_on_connect, path, owners, writer_bytes(settings)))
        event.listen(engine, "connect", self._on_opened)
        event.listen(engine, "do_connect", lambda *_: put_aside(path, owners))
        event.listen(engine, "begin", begin_at_once)
        event.listen(engine, "before_cursor_execute", self._on_statement)
        event.listen(engine, "invalidate", self._on_invalidate)
        #: Threads of connections that were given up, or are being opened and may be: nobody else waits for their end.
        self._ending: set[Thread] = set()
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
        # Each tells this loop how its last call ended, and is interrupted at its limit.
        for each in filter(Thread.is_alive, self._ending):
            await asyncio.to_thread(each.join, ENDING_SECONDS)

    def _on_invalidate(self, connection: Any, record: Any, error: BaseException | None) -> None:
        # The thread that runs a statement nobody waits for is stopped: by its limit and not by an interrupt, which would hold for
        # the ROLLBACK too while a statement is open. A request cancelled between a RETURNING and its rows leaves such a one, that
        # keeps the closed connection and its lock on the file alive until the cursor is collected. So the driver's thread rolls
        # back before it gets to closing.
        driver = connection.driver_connection
        driver.time_limit.given_up = True
        with suppress(Exception), closing(driver.rollback()) as begun:
            begun.send(None)
        self._wait_for(thread_of(driver))

    def _opening(self, *arguments: Any, **named: Any) -> aiosqlite.Connection:
        made = aiosqlite.connect(*arguments, **named)
        thread_of(made).daemon = True  # as SQLAlchemy has it
        self._wait_for(thread_of(made))
        return made

    def _wait_for(self, thread: Thread) -> None:
        self._ending = {*filter(Thread.is_alive, self._ending), thread}

    def _on_opened(self, connection: Any, record: Any) -> None:
        self._ending.discard(thread_of(connection.driver_connection))


def thread_of(driver: Any) -> Thread:
    """The thread of a connection."""
    thread: Thread = driver._thread  # noqa: SLF001  # nothing else says when it has ended
    return thread


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


def begin_at_once(connection: sa.Connection) -> None:
    """Begin as one who writes: a plain BEGIN that reads first fails with "database is locked", whatever the timeout."""
    connection.exec_driver_sql("BEGIN IMMEDIATE")

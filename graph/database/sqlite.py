"""SQLite: what every connection to the file is told, and reads in threads beside its one writer.

What goes in: a file's path, SQL. What comes out: the first value of the first row. What is refused here: `Unavailable` when the
file cannot be used, told in a sentence at the start, or a statement ran too long; `TooComplex` when its parser has no room.
"""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path
from time import monotonic, sleep
from typing import Any

import sqlalchemy as sa
from sqlalchemy import event
from sqlalchemy.ext.asyncio import AsyncEngine

from graph.database.failures import TooComplex, Trouble, Unavailable, is_stale, sqlite_code, told, trouble
from graph.settings import Settings

#: What a file is where SQLite says so when it is opened.
UNUSABLE = {
    sqlite3.SQLITE_NOTADB: "it is no SQLite database",
    sqlite3.SQLITE_READONLY: "it or its folder cannot be written",
    sqlite3.SQLITE_CANTOPEN: "it or its folder cannot be written",
}
#: How long one who starts waits for others that start on the same file.
START_SECONDS = 30.0


def open_file(path: str) -> None:
    """Make a file a database whose readers do not wait for its writer, and see that it can be written. Raises `Unavailable`."""
    file = Path(path)
    if file.is_dir():
        raise Unavailable("it is a folder")
    if not file.parent.is_dir():
        raise Unavailable(f"there is no folder {file.parent}")
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


def prepare_sqlite(engine: AsyncEngine) -> None:
    """Tell every connection of a writing engine how to treat the file."""
    event.listen(engine.sync_engine, "connect", _on_connect)
    event.listen(engine.sync_engine, "begin", _on_begin)
    event.listen(engine.sync_engine, "invalidate", _on_invalidate)


def _on_connect(connection: Any, record: Any) -> None:
    cursor = connection.cursor()
    cursor.execute("PRAGMA journal_mode=WAL")
    cursor.execute("PRAGMA synchronous=NORMAL")
    cursor.execute("PRAGMA foreign_keys=ON")
    cursor.close()


def _on_begin(connection: sa.Connection) -> None:
    # A plain BEGIN that reads and then writes fails with "database is locked" whatever the timeout.
    connection.exec_driver_sql("BEGIN IMMEDIATE")


def _on_invalidate(connection: Any, record: Any, error: BaseException | None) -> None:
    # A request cancelled between a RETURNING and its rows leaves a statement that keeps the closed connection and its lock
    # on the file alive until the cursor is collected. The driver's thread rolls back before it gets to closing.
    with suppress(Exception), closing(connection.driver_connection.rollback()) as rollback:
        rollback.send(None)


@dataclass(slots=True)
class _Read:
    """A read on one thread: when it must be over, and whether somebody still waits for it."""

    deadline: float = 0.0
    given_up: bool = False

    def over(self) -> bool:
        return self.given_up or monotonic() > self.deadline


#: Instructions of SQLite's machine between two looks at the clock.
STEPS = 100_000


class SqliteReader:
    """Reads of an SQLite file: the standard library's driver in a few threads, a connection each, unable to write."""

    def __init__(self, path: str, settings: Settings) -> None:
        self._path = path
        self._timeout = settings.statement_timeout_seconds
        self._threads = ThreadPoolExecutor(settings.read_threads, thread_name_prefix="sqlite-read")
        self._local = threading.local()
        self._connections: list[sqlite3.Connection] = []

    def _connection(self) -> sqlite3.Connection:
        connection: sqlite3.Connection | None = getattr(self._local, "connection", None)
        if connection is None:
            connection = sqlite3.connect(self._path, isolation_level=None, check_same_thread=False, timeout=self._timeout)
            connection.execute("PRAGMA query_only=ON")
            local = self._local
            connection.set_progress_handler(lambda: local.read.over(), STEPS)  # noqa: PLW0108  # each read has its own
            self._local.connection = connection
            self._connections.append(connection)
        return connection

    def _run(self, sql: str, arguments: Sequence[Any], read: _Read) -> Any:
        read.deadline = monotonic() + self._timeout
        self._local.read = read
        connection = self._connection()
        try:
            row = connection.execute(sql, arguments).fetchone()
        except sqlite3.Error as error:
            if is_stale(error):
                self._drop(connection)
            raise
        return row[0] if row else None

    def _drop(self, connection: sqlite3.Connection) -> None:
        """Close the connection of this thread; its next read opens another."""
        self._local.connection = None
        self._connections.remove(connection)
        connection.close()

    async def fetch(self, sql: str, arguments: Sequence[Any]) -> Any:
        read = _Read()
        try:
            return await asyncio.get_running_loop().run_in_executor(self._threads, self._run, sql, arguments, read)
        except sqlite3.Error as error:
            found = trouble(error)
            if found is None:
                raise
            if found is Trouble.TOO_COMPLEX:
                raise TooComplex from error
            raise Unavailable(told(error)) from error
        except asyncio.CancelledError:
            read.given_up = True
            raise

    def close(self) -> None:
        self._threads.shutdown(wait=True)
        for connection in self._connections:
            connection.close()

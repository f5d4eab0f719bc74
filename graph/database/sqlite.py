"""SQLite: what every connection to the file is told, and reads in threads beside its one writer.

What goes in: a file's path, SQL. What comes out: the first value of the first row. What is refused here: `Unavailable` when the
file is locked or a statement ran too long, `TooComplex` when its parser has no room.
"""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from dataclasses import dataclass
from time import monotonic
from typing import Any

import sqlalchemy as sa
from sqlalchemy import event
from sqlalchemy.ext.asyncio import AsyncEngine

from graph.database.errors import TooComplex, Unavailable, is_too_complex
from graph.settings import Settings


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
        row = self._connection().execute(sql, arguments).fetchone()
        return row[0] if row else None

    async def fetch(self, sql: str, arguments: Sequence[Any]) -> Any:
        read = _Read()
        try:
            return await asyncio.get_running_loop().run_in_executor(self._threads, self._run, sql, arguments, read)
        except sqlite3.OperationalError as error:
            if any(sign in str(error) for sign in ("interrupted", "locked", "unable to open", "disk I/O")):
                raise Unavailable(str(error)) from error
            if is_too_complex(error):
                raise TooComplex from error
            raise
        except asyncio.CancelledError:
            read.given_up = True
            raise

    def close(self) -> None:
        self._threads.shutdown(wait=True)
        for connection in self._connections:
            connection.close()

"""Reads of an SQLite file: the standard library's driver in a few threads, beside SQLAlchemy and its driver.

What goes in: a file's path, SQL. What comes out: the first value of the first row. What is refused here: `Unavailable` when the
file cannot be read, is damaged or a statement ran too long; `TooComplex` when its parser has no room.

A point read through SQLAlchemy and aiosqlite, which hands each step to a thread, costs 850 us of processor time, and this 62. A
test holds their answers equal.
"""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from time import monotonic
from typing import Any

import orjson

from graph.database.failures import TooComplex, Trouble, Unavailable, is_stale, told, trouble
from graph.settings import Settings


@dataclass(slots=True)
class ReadLimits:
    """What a read on a thread may take: how long its texts get, when it must be over, and whether somebody still waits for it."""

    max_bytes: int
    deadline: float = 0.0
    given_up: bool = False

    def over(self) -> bool:
        return self.given_up or monotonic() > self.deadline


def address(path: str) -> str:
    """A file's path as a URI, to which SQLite's parameters can be added."""
    return Path(path).absolute().as_uri()


class Damaged(sqlite3.DatabaseError):
    """The file does not hold what was written to it. SQLite notices damage to its own structure only, and passes on the rest."""

    sqlite_errorcode = sqlite3.SQLITE_CORRUPT
    sqlite_errorname = "SQLITE_CORRUPT"


#: Bytes up to which the JSON of an answer is quicker looked through here than by SQLite, which does it beside the loop.
SHORT = 2_000

#: Instructions of SQLite's machine between two looks at the clock.
STEPS = 100_000


#: What SQLite's limit must leave above an answer's bytes for the rows that it is made of, whose columns are longer together.
BESIDE_ANSWER = 2**16


def is_json(connection: sqlite3.Connection, text: bytes) -> bool:
    """Whether a text is JSON in UTF-8: where a file is damaged a statement may still write something."""
    try:
        if len(text) > SHORT:
            return bool(connection.execute("SELECT json_valid(?)", (text.decode(),)).fetchone()[0])
        orjson.loads(text)
    except ValueError:
        return False
    return True


class Readers:
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
            arguments: dict[str, Any] = {"isolation_level": None, "check_same_thread": False, "timeout": self._timeout}
            connection = sqlite3.connect(f"{address(self._path)}?mode=rw", uri=True, **arguments)  # which makes no file
            connection.execute("PRAGMA query_only=ON")
            connection.text_factory = bytes
            local = self._local
            connection.set_progress_handler(lambda: local.read.over(), STEPS)  # noqa: PLW0108  # each read has its own
            self._local.connection = connection
            self._connections.append(connection)
        return connection

    def _run(self, sql: str, arguments: Sequence[Any], read: ReadLimits) -> Any:
        read.deadline = monotonic() + self._timeout
        self._local.read = read
        connection = self._connection()
        connection.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, read.max_bytes + BESIDE_ANSWER)
        try:
            row = connection.execute(sql, arguments).fetchone()
            value = row[0] if row else None
            if isinstance(value, bytes) and value.startswith(b"{") and not is_json(connection, value):
                raise Damaged("an answer is no JSON")
        except UnicodeDecodeError:  # of SQLite's message, which names a part of the schema
            self._drop(connection)
            raise Damaged("the schema is not UTF-8") from None
        except sqlite3.Error as error:
            if is_stale(error):
                self._drop(connection)
            raise
        return value

    def _drop(self, connection: sqlite3.Connection) -> None:
        """Close the connection of this thread; its next read opens another."""
        self._local.connection = None
        self._connections.remove(connection)
        connection.close()

    async def fetch(self, sql: str, arguments: Sequence[Any], max_bytes: int) -> Any:
        read = ReadLimits(max_bytes)
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

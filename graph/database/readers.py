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
from collections import OrderedDict
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from time import monotonic, thread_time
from typing import Any

import orjson

from graph.database.failures import TooComplex, Trouble, Unavailable, is_stale, told, trouble
from graph.database.file_limits import STEPS, FileReplaced, Identity, Owners, TimeLimit, put_aside
from graph.database.turns import Turns
from graph.settings import Settings


def address(path: str) -> str:
    """A file's path as a URI, to which SQLite's parameters can be added."""
    return Path(path).absolute().as_uri()


class Damaged(sqlite3.DatabaseError):
    """The file does not hold what was written to it. SQLite notices damage to its own structure only, and passes on the rest."""

    sqlite_errorcode = sqlite3.SQLITE_CORRUPT
    sqlite_errorname = "SQLITE_CORRUPT"


#: Bytes up to which the JSON of an answer is quicker looked through here than by SQLite, which does it beside the loop.
SHORT = 2_000

#: How long any read may compute on a thread, and hold it; what takes longer is run anew where long ones are, which leave others
#: threads enough.
SHORT_SECONDS = 0.1
SHORT_WAIT_SECONDS = 1.0
#: Statements that are known to take longer.
LONG_ONES = 200
#: Seconds between two looks whether the file is the one that is open.
LOOK_SECONDS = 0.1

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
    """Reads of an SQLite file: the standard library's driver in a few threads, a connection each, unable to write.

    Reads that take long have half of the threads at most, so that one client cannot take all of them: a read that is not over
    soon is stopped and run anew when its turn comes, and the next ones of its statement wait for theirs at once, until one is
    short.
    """

    def __init__(self, path: str, owners: Owners, settings: Settings) -> None:
        self._path = path
        self._owners = owners
        self._timeout = settings.statement_timeout_seconds
        threads = max(2, settings.read_threads)
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix="sqlite-read")
        self._turns = Turns(threads // 2, settings.pool_timeout_seconds)
        self._long: OrderedDict[str, None] = OrderedDict()
        self._local = threading.local()
        self._connections: list[sqlite3.Connection] = []

    def _connection(self) -> sqlite3.Connection:
        local = self._local
        connection: sqlite3.Connection | None = getattr(local, "connection", None)
        now = monotonic()
        if connection is not None and now > local.look:
            local.look = now + LOOK_SECONDS
            try:
                local.identity.check()
            except FileReplaced:
                self._drop(connection)
                connection = None
        if connection is None:
            put_aside(self._path, self._owners)
            identity = Identity(self._path, self._owners)
            arguments: dict[str, Any] = {"isolation_level": None, "check_same_thread": False, "timeout": self._timeout}
            connection = sqlite3.connect(f"{address(self._path)}?mode=rw", uri=True, **arguments)  # which makes no file
            connection.execute("PRAGMA query_only=ON")
            connection.text_factory = bytes
            connection.set_progress_handler(lambda: local.limit.over(), STEPS)  # noqa: PLW0108  # each read has its own
            local.connection, local.identity, local.look = connection, identity, now + LOOK_SECONDS
            self._connections.append(connection)
        return connection

    def _run(self, sql: str, arguments: Sequence[Any], max_bytes: int, long: bool, limit: TimeLimit) -> Any:
        if long:
            limit.begin(self._timeout)
        else:
            limit.begin(min(SHORT_WAIT_SECONDS, self._timeout), SHORT_SECONDS)
        started = thread_time()
        self._local.limit = limit
        connection = self._connection()
        try:
            connection.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, max_bytes + BESIDE_ANSWER)
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
        if long and thread_time() - started < SHORT_SECONDS:
            self._long.pop(sql, None)
        return value

    def _drop(self, connection: sqlite3.Connection) -> None:
        """Close the connection of this thread; its next read opens another."""
        self._local.connection = None
        self._connections.remove(connection)
        connection.close()

    async def fetch(self, sql: str, arguments: Sequence[Any], max_bytes: int) -> Any:
        """The first value of the first row of a query. Raises `Unavailable`, `TooComplex`."""
        try:
            if sql not in self._long:
                try:
                    return await self._read(sql, arguments, max_bytes, long=False)
                except sqlite3.Error as error:
                    if trouble(error) is not Trouble.SLOW:
                        raise
            return await self._read_long(sql, arguments, max_bytes)
        except sqlite3.Error as error:
            found = trouble(error)
            if found is None:
                raise
            if found is Trouble.TOO_COMPLEX:
                raise TooComplex from error
            raise Unavailable(told(error)) from error

    async def _read_long(self, sql: str, arguments: Sequence[Any], max_bytes: int) -> Any:
        self._long[sql] = None
        self._long.move_to_end(sql)
        if len(self._long) > LONG_ONES:
            self._long.popitem(last=False)
        async with self._turns:
            return await self._read(sql, arguments, max_bytes, long=True)

    async def _read(self, sql: str, arguments: Sequence[Any], max_bytes: int, *, long: bool) -> Any:
        limit = TimeLimit()
        try:
            loop = asyncio.get_running_loop()
            return await loop.run_in_executor(self._threads, self._run, sql, arguments, max_bytes, long, limit)
        except asyncio.CancelledError:
            limit.given_up = True
            raise

    def close(self) -> None:
        self._threads.shutdown(wait=True)
        for connection in self._connections:
            connection.close()

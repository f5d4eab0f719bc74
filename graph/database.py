"""Engines, SQLite pragmas, sessions, driver reads, and transactions that are tried again.

What goes in: settings and SQL. What comes out: `Database`, which owns the connections of a process. What may be
refused here: `Unavailable` when no connection can be had or a statement ran too long; transient refusals
(serialization, deadlock, busy) are tried again and then raised as `TransientError`.
"""

from __future__ import annotations

import asyncio
import logging
import random
import sqlite3
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, closing, suppress
from dataclasses import dataclass
from time import monotonic
from typing import Any, TypeVar

import sqlalchemy as sa
from asyncpg.exceptions import InterfaceError, InternalClientError, PostgresError
from graphql import GraphQLError
from sqlalchemy import event
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import DBAPIError, MissingGreenlet
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession, create_async_engine
from sqlalchemy.util import greenlet_spawn

from graph.settings import Settings

logger = logging.getLogger("ordergraph.database")

T = TypeVar("T")

#: How often a transaction is run at most, and how long it waits between two tries.
ATTEMPTS = 3
JITTER_SECONDS = (0.02, 0.2)

#: PostgreSQL's SQLSTATEs after which the whole transaction may simply run again: serialization failure, deadlock,
#: lock not available (PostgreSQL 18 documentation, appendix A).
RETRYABLE_SQLSTATES = frozenset({"40001", "40P01", "55P03"})
#: ... and those that say that the server or the connection is gone.
CONNECTION_SQLSTATES = ("08", "57P")
#: A statement ran over `statement_timeout`.
QUERY_CANCELED = "57014"

#: Called with the SQL of every statement that goes to a driver without SQLAlchemy's execution, which SQLAlchemy's own
#: events do not see. Counting, logging and tracing hang here.
driver_listeners: list[Callable[[str], None]] = []


class Unavailable(Exception):
    """The database cannot serve now: no connection within the wait, or a statement over its time."""


class TooComplex(GraphQLError):
    """The database cannot parse a statement of this depth: SQLite's parser has room for a hundred open parts (3.45 and older)."""

    def __init__(self) -> None:
        super().__init__("The operation is nested too deeply for this database.", extensions={"code": "OPERATION_TOO_LARGE"})


class TransientError(Exception):
    """A transaction was refused for a passing reason on every try; nothing is left behind."""


def database_url(text: str) -> URL:
    """A URL as users write it, with the driver this package uses. Raises `ValueError` for other databases."""
    url = make_url(text)
    name = url.get_backend_name()
    if name == "sqlite":
        if not url.database or url.database == ":memory:":
            raise ValueError("an in-memory SQLite database has one connection only; name a file")
        return url.set(drivername="sqlite+aiosqlite")
    if name in ("postgresql", "postgres"):
        return url.set(drivername="postgresql+asyncpg")
    raise ValueError(f"it must be sqlite:///FILE or postgresql://..., not {name}")


#: What asyncpg raises on a connection that is gone, besides PostgreSQL's own errors.
LOST = (InterfaceError, InternalClientError, OSError)
#: What databases and their drivers raise.
DATABASE_ERRORS = (DBAPIError, PostgresError, *LOST, sqlite3.Error)


def is_from_database(error: BaseException) -> bool:
    """Whether a database or its driver raised this."""
    return isinstance(error, DATABASE_ERRORS)


def is_transient(error: BaseException) -> bool:
    """Whether the whole transaction may simply be run again."""
    original = getattr(error, "orig", error)  # a read of a payload goes straight to the driver, and nobody wraps its error
    if getattr(original, "sqlstate", None) in RETRYABLE_SQLSTATES:
        return True
    return isinstance(original, sqlite3.OperationalError) and "locked" in str(original)


def is_disconnect(error: BaseException) -> bool:
    """Whether the server or the connection went away."""
    original = getattr(error, "orig", error)
    state = getattr(original, "sqlstate", None)
    if state is not None and state.startswith(CONNECTION_SQLSTATES):
        return True
    return isinstance(original, LOST) or bool(getattr(error, "connection_invalidated", False))


def is_too_complex(error: BaseException) -> bool:
    """Whether a statement was too much for the parser of SQLite."""
    original = getattr(error, "orig", error)
    return isinstance(original, sqlite3.Error) and any(sign in str(original) for sign in ("parser stack overflow", "too large"))


def is_timeout(error: BaseException) -> bool:
    """Whether a statement took longer than it may."""
    original = getattr(error, "orig", error)
    return getattr(original, "sqlstate", None) == "57014" or isinstance(original, TimeoutError)


class Database:
    """The connections of one process to one database."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.url = database_url(settings.database_url)
        self.dialect_name = self.url.get_backend_name()
        self.engine = self._engine()
        self.dialect = self.engine.dialect
        self._reader = SqliteReader(self.url.database or "", settings) if self.dialect_name == "sqlite" else None
        self._turn = asyncio.Lock()

    def _engine(self) -> AsyncEngine:
        settings = self.settings
        if self.dialect_name == "sqlite":
            # One writer at a time is all SQLite has: writers wait for a pool of one instead of polling the lock.
            engine = create_async_engine(
                self.url,
                pool_size=1,
                max_overflow=0,
                pool_timeout=settings.pool_timeout_seconds,
                connect_args={"isolation_level": None, "timeout": settings.lock_timeout_seconds},
            )
            event.listen(engine.sync_engine, "connect", _on_sqlite_connect)
            event.listen(engine.sync_engine, "begin", _on_sqlite_begin)
            event.listen(engine.sync_engine, "invalidate", _on_sqlite_invalidate)
            return engine
        arguments: dict[str, Any] = {
            "server_settings": {"application_name": "ordergraph", **_limits(settings)},
            "timeout": settings.pool_timeout_seconds,
        }
        if settings.pgbouncer:
            arguments = {"statement_cache_size": 0, "prepared_statement_cache_size": 0, "timeout": settings.pool_timeout_seconds}
        return create_async_engine(
            self.url,
            pool_size=settings.pool_size,
            max_overflow=0,  # an overflow connection is closed on return: under load that is a reconnect a request
            pool_timeout=settings.pool_timeout_seconds,
            pool_use_lifo=True,
            connect_args=arguments,
        )

    def session(self) -> AsyncSession:
        """The session of one request. It takes a connection when first used."""
        return AsyncSession(self.engine, expire_on_commit=False, autoflush=False)

    async def fetch(self, sql: str, arguments: Sequence[Any]) -> Any:
        """The first value of the first row of a query, on a connection of its own. Raises `Unavailable`."""
        for listener in driver_listeners:
            listener(sql)
        if self._reader is not None:
            return await self._reader.fetch(sql, arguments)
        for attempt in (1, 2):
            try:
                connection = await self._checked_out()
            except (PoolTimeoutError, OSError, PostgresError, DBAPIError) as error:
                raise Unavailable(str(error)) from error
            try:
                driver: Any = connection.driver_connection
                return await driver.fetchval(sql, *arguments, timeout=self.settings.statement_timeout_seconds)
            except PostgresError as error:
                if getattr(error, "sqlstate", None) in (*RETRYABLE_SQLSTATES, QUERY_CANCELED):
                    raise Unavailable(str(error)) from error
                if not is_disconnect(error):
                    raise
                _discard(connection)
                if attempt == 2:
                    raise Unavailable("the connection was lost") from error
            except (InterfaceError, InternalClientError, ConnectionError) as error:
                # A read changes nothing, so a connection that died in the pool may be replaced and the read repeated once.
                _discard(connection)
                if attempt == 2:
                    raise Unavailable("the connection was lost") from error
            except TimeoutError as error:
                _discard(connection)
                raise Unavailable("the statement took too long") from error
            except BaseException:
                # Cancelled in the middle of the protocol: the connection is not to be trusted.
                _discard(connection)
                raise
            finally:
                connection.close()
        raise AssertionError("unreachable")

    async def _checked_out(self) -> Any:
        """A connection from SQLAlchemy's pool. One that lies ready is taken without a greenlet, which costs as much again."""
        pool = self.engine.sync_engine.pool
        if isinstance(pool, sa.QueuePool) and pool.checkedin():
            with suppress(MissingGreenlet):  # it was dropped, and another must be opened
                return pool.connect()
        return await greenlet_spawn(pool.connect)

    async def fetch_within(self, session: AsyncSession, sql: str, arguments: Sequence[Any]) -> Any:
        """The first value of the first row of a query, on the connection of a session's transaction."""
        rows = await self.rows_within(session, sql, arguments)
        return rows[0][0] if rows else None

    async def rows_within(self, session: AsyncSession, sql: str, arguments: Sequence[Any]) -> Sequence[Sequence[Any]]:
        """All rows of a query as the driver gives them, on the connection of a session's transaction.

        SQLAlchemy begins with its own first statement: a query before it is not in the transaction yet, and locks nothing.
        """
        for listener in driver_listeners:
            listener(sql)
        driver: Any = session.info["driver"]
        if self._reader is None:
            return await driver.fetch(sql, *arguments)  # type: ignore[no-any-return]  # the driver is untyped
        return await driver.execute_fetchall(sql, arguments)  # type: ignore[no-any-return]

    async def transaction(self, session: AsyncSession, work: Callable[[], Awaitable[T]]) -> T:
        """Run `work` in one transaction of `session` and commit it; run it again after a passing refusal.

        `work` starts each time with an empty session. Raises `TransientError` after `ATTEMPTS`, `Unavailable` when no
        connection can be had, and whatever `work` raises, always after the rollback.
        """
        for attempt in range(1, ATTEMPTS + 1):
            if any(True for _ in session):
                session.expunge_all()
            begun = committing = False
            try:
                async with self._in_turn():
                    try:
                        await self._begin(session)
                        begun = True
                        result = await work()
                        committing = True
                        await session.commit()
                    except BaseException as error:
                        if is_disconnect(error):  # SQLAlchemy has not seen it where the driver was asked directly
                            await session.invalidate()
                        else:
                            await session.rollback()
                        raise
                return result
            except PoolTimeoutError as error:
                raise Unavailable(str(error)) from error
            except DATABASE_ERRORS as error:
                if is_too_complex(error):
                    raise TooComplex from error
                if not is_transient(error):
                    # A commit without an answer may have happened; only what went before it certainly did not.
                    if committing or not (is_disconnect(error) or is_timeout(error)):
                        raise
                    if not begun:
                        raise Unavailable(str(error)) from error
                    if is_timeout(error):
                        raise TransientError(str(error)) from error
                logger.info("transaction refused for a passing reason, try %d: %s", attempt, error)
                if attempt == ATTEMPTS:
                    raise TransientError(str(error)) from error
            await asyncio.sleep(random.uniform(*JITTER_SECONDS))
        raise AssertionError("unreachable")

    @asynccontextmanager
    async def _in_turn(self) -> AsyncIterator[None]:
        """Let writers of an SQLite file through in the order they came: the pool lets new ones pass those who wait."""
        if self._reader is None:
            yield
            return
        async with asyncio.timeout(self.settings.pool_timeout_seconds):
            await self._turn.acquire()
        try:
            yield
        finally:
            self._turn.release()

    async def _begin(self, session: AsyncSession) -> None:
        """Begin, and bound the statements and lock waits of this transaction where its connection does not bound them."""
        connection = await session.run_sync(lambda session: session.connection())
        session.info["driver"] = connection.connection.driver_connection
        if self.settings.pgbouncer and self._reader is None:
            # Behind a pooler a connection is not ours: `SET LOCAL` leaks to nobody.
            for name, value in _limits(self.settings).items():
                await session.execute(sa.text(f"SET LOCAL {name} = {value}"))

    async def close(self) -> None:
        """Close every connection."""
        await self.engine.dispose()
        if self._reader is not None:
            self._reader.close()


def _limits(settings: Settings) -> dict[str, str]:
    """PostgreSQL's own bounds on a statement and on a wait for a lock, in milliseconds."""
    return {
        "statement_timeout": str(int(settings.statement_timeout_seconds * 1000)),
        "lock_timeout": str(int(settings.lock_timeout_seconds * 1000)),
    }


def _on_sqlite_connect(connection: Any, record: Any) -> None:
    cursor = connection.cursor()
    cursor.execute("PRAGMA journal_mode=WAL")
    cursor.execute("PRAGMA synchronous=NORMAL")
    cursor.execute("PRAGMA foreign_keys=ON")
    cursor.close()


def _on_sqlite_begin(connection: sa.Connection) -> None:
    # A plain BEGIN that reads and then writes fails with "database is locked" whatever the timeout.
    connection.exec_driver_sql("BEGIN IMMEDIATE")


def _on_sqlite_invalidate(connection: Any, record: Any, error: BaseException | None) -> None:
    # A request cancelled between a RETURNING and its rows leaves a statement that keeps the closed connection and its lock
    # on the file alive until the cursor is collected. The driver's thread rolls back before it gets to closing.
    with suppress(Exception), closing(connection.driver_connection.rollback()) as rollback:
        rollback.send(None)


def _discard(connection: Any) -> None:
    """Drop a pooled connection; the pool opens another when one is needed."""
    with suppress(Exception):
        connection.invalidate()


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

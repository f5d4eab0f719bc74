"""Engines, sessions, driver reads, and transactions that are tried again.

What goes in: settings and SQL. What comes out: `Database`, which owns the connections of a process. What may be
refused here: `Unavailable` when the database or its machine refuses to serve or a read ran too long; transient refusals
(serialization, deadlock, busy) are tried again and then raised as `TransientError`.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from typing import Any, TypeVar

import sqlalchemy as sa
from asyncpg.exceptions import PostgresError
from sqlalchemy.exc import MissingGreenlet
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession, create_async_engine
from sqlalchemy.util import greenlet_spawn

from graph.database.failures import (
    CommitUnknown,
    Trouble,
    Unavailable,
    driver_error,
    is_from_database,
    is_stale,
    judged,
    told,
    trouble,
)
from graph.database.opening import connect_arguments
from graph.database.pool import Pool
from graph.database.postgres import prepare_postgresql
from graph.database.sqlite import SqliteReader, prepare_sqlite
from graph.database.turns import Turns
from graph.database.url import database_url
from graph.settings import Settings

logger = logging.getLogger("ordergraph.database")

T = TypeVar("T")

#: How often a transaction is run at most, and how long it waits between two tries.
ATTEMPTS = 3
JITTER_SECONDS = (0.02, 0.2)

#: Called with the SQL of every statement that goes to a driver without SQLAlchemy's execution, which SQLAlchemy's own
#: events do not see. Counting, logging and tracing hang here.
driver_listeners: list[Callable[[str], None]] = []


class Database:
    """The connections of one process to one database."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.target = database_url(settings.database_url)
        self.url = self.target.url
        self.dialect_name = self.target.dialect_name
        self.engine = self._engine()
        self.dialect = self.engine.dialect
        self._reader = SqliteReader(self.url.database or "", settings) if self.dialect_name == "sqlite" else None
        # One writer at a time is all SQLite has: writers wait for their turn instead of polling its lock.
        connections = 1 if self._reader is not None else settings.pool_size
        self._turns = Turns(connections, settings.pool_timeout_seconds)

    def _engine(self) -> AsyncEngine:
        settings = self.settings
        if self.dialect_name == "sqlite":
            engine = create_async_engine(
                self.url,
                poolclass=Pool,
                pool_size=1,
                max_overflow=0,
                pool_timeout=settings.pool_timeout_seconds,
                hide_parameters=True,
                connect_args={"isolation_level": None, "timeout": settings.lock_timeout_seconds},
            )
            prepare_sqlite(engine)
            return engine
        if settings.pgbouncer:
            arguments = connect_arguments(
                self.target, settings.pool_timeout_seconds, statement_cache_size=0, prepared_statement_cache_size=0
            )
        else:
            told_server = {"application_name": "ordergraph", **_limits(settings)}
            arguments = connect_arguments(self.target, settings.pool_timeout_seconds, told_server)
        engine = create_async_engine(
            self.url,
            poolclass=Pool,
            pool_size=settings.pool_size,
            max_overflow=0,  # an overflow connection is closed on return: under load that is a reconnect a request
            pool_timeout=settings.pool_timeout_seconds,
            pool_use_lifo=True,
            hide_parameters=True,
            connect_args=arguments,
        )
        prepare_postgresql(engine)
        return engine

    @property
    def _pool(self) -> Pool:
        pool = self.engine.sync_engine.pool
        assert isinstance(pool, Pool)
        return pool

    def session(self) -> AsyncSession:
        """The session of one request. It takes a connection when first used."""
        return AsyncSession(self.engine, expire_on_commit=False, autoflush=False)

    async def fetch(self, sql: str, arguments: Sequence[Any]) -> Any:
        """The first value of the first row of a query, on a connection of its own. Raises `Unavailable`."""
        for listener in driver_listeners:
            listener(sql)
        if self._reader is not None:
            return await self._reader.fetch(sql, arguments)
        async with self._turns:
            return await self._fetch(sql, arguments)

    async def _fetch(self, sql: str, arguments: Sequence[Any]) -> Any:
        """`fetch` on PostgreSQL, whose turn has come."""
        for attempt in (1, 2):
            try:
                connection: Any = await self._connected(self._pool.connect)
            except Exception as error:
                if is_from_database(error):
                    raise Unavailable(told(error)) from error
                raise
            try:
                driver: Any = connection.driver_connection
                return await driver.fetchval(sql, *arguments, timeout=self.settings.statement_timeout_seconds)
            except BaseException as error:
                # What PostgreSQL answered leaves a connection as it was; cut off in the middle it is not to be trusted.
                if not isinstance(driver_error(error), PostgresError):
                    _discard(connection)
                elif is_stale(error):
                    _discard(connection)
                    self._pool.distrust()
                found = trouble(error)
                if found is None:
                    raise
                # A read changes nothing, so it may be repeated once on another connection.
                if found is not Trouble.LOST or attempt == 2:
                    raise Unavailable(told(error)) from error
            finally:
                connection.close()
        raise AssertionError("unreachable")

    async def _connected(self, connect: Callable[[], T]) -> T:
        """Run what takes a connection from SQLAlchemy's pool. A greenlet, which costs as much, is made where none lies ready."""
        if self._reader is None and self._pool.checkedin():
            with suppress(MissingGreenlet):  # it was dropped, and another must be opened
                return connect()
        return await greenlet_spawn(connect)

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

    async def transaction(self, session: AsyncSession, work: Callable[[], Awaitable[T]], deadline: float | None = None) -> T:
        """Run `work` in one transaction of `session` and commit it; run it again after a passing refusal.

        `work` starts each time with an empty session. Raises `TransientError` after `ATTEMPTS`, `Unavailable` when the database
        does not serve or `deadline`, a time of the event loop, has come, `CommitUnknown` where a COMMIT was not answered, and
        whatever `work` raises, always after the rollback.
        """
        committing = False
        try:
            async with asyncio.timeout_at(deadline) as limit:
                for attempt in range(1, ATTEMPTS + 1):
                    if any(True for _ in session):
                        session.expunge_all()
                    begun = False
                    try:
                        async with self._turns:
                            try:
                                await self._begin(session)
                                begun = True
                                result = await work()
                                committing = True
                                await session.commit()
                            except BaseException as error:
                                if is_stale(error):  # SQLAlchemy has not seen it where the driver was asked directly
                                    await session.invalidate()
                                    self._pool.distrust()
                                else:
                                    await session.rollback()
                                raise
                        return result
                    except Exception as error:
                        verdict = judged(error, begun=begun, committing=committing, last=attempt == ATTEMPTS)
                        if verdict is error:
                            raise
                        if verdict is not None:
                            raise verdict from error
                        logger.debug("try %d of a transaction was refused for a passing reason: %s", attempt, told(error))
                    committing = False
                    await asyncio.sleep(random.uniform(*JITTER_SECONDS))
        except TimeoutError as error:
            if not limit.expired():
                raise
            if committing:
                raise CommitUnknown from error
            raise Unavailable("the request took longer than it may") from error
        raise AssertionError("unreachable")

    async def _begin(self, session: AsyncSession) -> None:
        """Begin, and bound the statements and lock waits of this transaction where its connection does not bound them."""
        connection = await self._connected(session.sync_session.connection)
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


def _discard(connection: Any) -> None:
    """Drop a pooled connection; the pool opens another when one is needed."""
    with suppress(Exception):
        connection.invalidate()

"""Connections to a PostgreSQL server: one pool, for reads and transactions, of the one shop or of many.

What goes in: where the server is, settings, SQL. What comes out: `Server`, which is a `Connections` as `graph.database.protocol`
says. A connection that does not answer is not waited for, and not used again: see `graph.database.link`. What is refused here:
what opening a connection refuses, and `Unavailable` for a server that does not serve and for a read that ran too long.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from copy import copy
from typing import Any, Self

from asyncpg.exceptions import PostgresError
from sqlalchemy import event
from sqlalchemy.engine import ExceptionContext
from sqlalchemy.ext.asyncio import AsyncSession, create_async_engine

from graph.database.failures import (
    CommitUnknown,
    Trouble,
    Unavailable,
    driver_error,
    is_from_database,
    is_stale,
    told,
    trouble,
)
from graph.database.link import Link, connect_arguments, of_driver, tell_types
from graph.database.lookout import lookout_of
from graph.database.open_files import OpenFiles
from graph.database.pgbouncer import see_no_pooler
from graph.database.places import PLACE, mark, place_of
from graph.database.pool import Pool, discard, pool_of
from graph.database.protocol import DatabaseUrl
from graph.database.server_limits import bounds, limiting, watch
from graph.database.shop_names import REGISTRY_SCHEMA
from graph.database.shop_pool import ShopPool
from graph.database.turns import Turns
from graph.settings import Settings

#: How many statements the driver keeps for a connection that serves many shops, and how many SQLAlchemy does: of each shop a few
#: that are asked often.
KEPT = {"statement_cache_size": 500, "prepared_statement_cache_size": 200}

#: The role of whoever takes none.
NO_ROLE = "none"

#: How much longer the driver waits for a statement than the server lets it run: who says nothing by then has not heard of it.
SILENCE_SECONDS = 1.0


class Server:
    """The connections to a server: one pool, for reads and transactions."""

    def __init__(self, target: DatabaseUrl, settings: Settings) -> None:
        #: Which shop it is for, and the role that has this shop and no other, which its statements run as.
        self.schema: str | None = None
        self.role: str | None = None
        self._roles = settings.shop_roles
        # Behind a pooler any session serves any connection.
        self._remembers = settings.shops and not target.pooled
        wait_seconds = settings.pool_timeout_seconds
        statement_seconds = settings.statement_timeout_seconds
        limits = bounds(settings)
        server_settings = {} if target.pooled else {"application_name": "ordergraph", **limits, **watch(settings)}
        more: dict[str, Any] = {"command_timeout": statement_seconds + SILENCE_SECONDS, "connection_class": Link}
        if self._remembers:
            server_settings["search_path"] = ""  # a table whose shop is not named is in none
            more |= KEPT
        arguments = connect_arguments(target, wait_seconds, server_settings, **more)
        self.engine = create_async_engine(
            target.url,
            poolclass=ShopPool if self._remembers else Pool,
            pool_size=settings.pool_size,
            max_overflow=0,  # an overflow connection is closed on return: under load that is a reconnect a request
            pool_timeout=wait_seconds,
            pool_use_lifo=True,
            hide_parameters=True,
            connect_args=arguments,
        )
        if settings.shops:
            mark(self.engine.dialect)
        event.listen(self.engine.sync_engine, "connect", self._on_connect)
        event.listen(self.engine.sync_engine, "invalidate", self._on_invalidate)
        event.listen(self.engine.sync_engine, "handle_error", _on_error)
        self.turns = Turns(settings.pool_size, wait_seconds)
        self._lookout = lookout_of(target, of_driver(arguments), self.turns, self.distrust)
        # Behind a pooler nobody but the driver bounds a read, so its silence does not mean that the connection is dead.
        self._read_seconds = statement_seconds if target.pooled else statement_seconds + SILENCE_SECONDS
        self._silence = Trouble.SLOW if target.pooled else Trouble.LOST
        self.transaction_limits = limiting(limits) if target.pooled else None
        self._pooled = target.pooled
        # Who does not answer on one connection of a replica may not on another, and the primary is asked sooner.
        self._tries = 1 if target.replica else 2
        self._arguments, self.limits = arguments, limits
        self._left: set[asyncio.Task[bool]] = set()

    @property
    def _pool(self) -> Pool:
        return pool_of(self.engine)  # another one after the engine was disposed of

    def at(self, schema: str) -> Self:
        """The same connections, for statements that name this schema."""
        found = copy(self)
        found.schema = schema
        if self._roles:
            found.role = NO_ROLE if schema == REGISTRY_SCHEMA else schema  # they are called alike
            if self.transaction_limits is not None:
                found.transaction_limits = limiting({**self.limits, "role": found.role})
        found.engine = self.engine.execution_options(**{PLACE: place_of(schema)})
        return found

    def open_with(self, files: OpenFiles, seconds: float) -> None:
        """A server's shops share its connections."""
        raise AssertionError("a shop is a schema")

    async def fetch(self, sql: str, arguments: Sequence[Any], _: int) -> Any:
        """The first value of the first row of a query, which bounds itself. Raises `Unavailable`.

        The driver is asked directly: through SQLAlchemy's execution a point read costs 490 us of processor time, so 83. A test
        holds the answers equal.
        """
        async with self.turns.first:
            return await self._fetch(sql, arguments)

    async def _fetch(self, sql: str, arguments: Sequence[Any]) -> Any:
        """`fetch`, whose turn has come."""
        pool = self._pool
        for attempt in range(1, self._tries + 1):
            era = pool.era
            try:
                connection: Any = await pool.for_read(self.schema)
            except Exception as error:
                if is_from_database(error):
                    raise Unavailable(told(error)) from error
                raise
            try:
                driver: Any = connection.driver_connection
                if self.schema is not None:
                    await self._serve(driver, "BEGIN READ ONLY; SET LOCAL" if self._pooled else "SET")
                found = await driver.fetchval(sql, *arguments, timeout=self._read_seconds)
                if self.role is not None and self._pooled:
                    await driver.execute("COMMIT")
                pool.hand_on(connection, era)
                return found
            except BaseException as error:
                met = self._silence if isinstance(error, TimeoutError) else trouble(error)
                # What PostgreSQL answered leaves a connection as it was; cut off in the middle it is not to be trusted.
                untrusted = is_stale(error) or not isinstance(driver_error(error), PostgresError)
                if untrusted or (self.role is not None and self._pooled):
                    discard(connection)
                connection.close()
                if is_stale(error) and met is not Trouble.SLOW:
                    self._pool.distrust()
                if met is None:
                    raise
                # A read changes nothing, so it may be repeated once on another connection.
                if met is not Trouble.LOST or attempt == self._tries:
                    raise Unavailable(told(error)) from error
        raise AssertionError("unreachable")

    async def begin(self, session: AsyncSession) -> Any:
        """Begin, and bound the statements and waits of this transaction where its connection does not bound them."""
        connection = await self._pool.taken(session.sync_session.connection, self.schema)
        link: Any = connection.connection.driver_connection
        if self.transaction_limits is not None:
            await session.execute(self.transaction_limits)  # it leaks to nobody who gets the connection next
        elif self.schema is not None:
            await self._serve(link, "SET")
        adapter: Any = connection.connection.dbapi_connection
        link.start = adapter._start_transaction  # noqa: SLF001  # a query of the driver's own would come before the transaction
        return link

    async def _serve(self, link: Link, how: str) -> None:
        """Have a connection, on which nothing is begun, serve this shop."""
        assert self.schema is not None
        if self.schema not in link.served:
            self._pool.note(link, self.schema)
        if self.role is not None and self.role != link.role:
            link.role = None  # nobody knows it until there is an answer
            await link.execute(f'{how} ROLE "{self.role}"')
            if not self._pooled:
                link.role = self.role

    async def rows(self, driver: Any, sql: str, arguments: Sequence[Any]) -> Sequence[Sequence[Any]]:
        """All rows of a query on the driver's connection, in its transaction."""
        if not driver.is_in_transaction():
            await driver.start()
        return await driver.fetch(sql, *arguments)  # type: ignore[no-any-return]  # the driver is untyped

    def check(self, driver: Any) -> None:
        """Raise `ConnectionError` for a connection that is known to be gone, on which no COMMIT will be sent."""
        if driver.is_closed():
            raise ConnectionError("the connection was lost before the COMMIT")

    async def commit(self, session: AsyncSession) -> None:
        """Commit. A COMMIT is never cancelled: one that waits for a standby would then be seen without being there."""
        link: Link = session.info["driver"]
        link.committing, link.doubt = True, None
        try:
            await session.commit()
        finally:
            link.committing = False
        if link.doubt is not None:
            raise CommitUnknown(link.doubt)

    async def give_up(self, session: AsyncSession) -> None:
        """Drop the connection of a session's transaction without waiting for anything: it may never answer again."""
        session.sync_session.invalidate()

    def _on_connect(self, connection: Any, record: Any) -> None:
        connection.run_async(tell_types)
        if self._lookout is not None:
            self._lookout.opened(connection.driver_connection)

    def _on_invalidate(self, connection: Any, record: Any, error: BaseException | None) -> None:
        # Whatever drops a connection passes here first, and SQLAlchemy waits for the end of one that it drops: it is ended, or
        # on its way, when SQLAlchemy gets to it.
        link: Any = connection.driver_connection
        if link.committing:
            self._pool.distrust()
        if link.committing or link.is_closed():
            link.terminate()
            return
        link.leaving = True
        task = asyncio.get_running_loop().create_task(link.leave())
        self._left.add(task)
        task.add_done_callback(self._on_left)

    def _on_left(self, task: asyncio.Task[bool]) -> None:
        self._left.discard(task)
        if not task.cancelled() and not task.result():
            self._pool.distrust()  # who did not answer on one connection may have forgotten the others, too

    async def probe(self) -> None:
        """See that no pooler stands before the server, unless the settings say so. Raises `Unavailable`."""
        if not self._pooled:
            await see_no_pooler(self._arguments, self.limits)

    def distrust(self) -> None:
        """Use no connection again that was opened before."""
        self._pool.distrust()

    async def close(self) -> None:
        """Close every connection."""
        if self._lookout is not None:
            await self._lookout.close()
        await self.engine.dispose()
        if self._left:
            await asyncio.wait(self._left)


def _on_error(met: ExceptionContext) -> None:
    # SQLAlchemy takes a connection for dead by what a server says; where it says nothing the ROLLBACK would wait in vain.
    if isinstance(met.original_exception, TimeoutError):
        met.is_disconnect = True

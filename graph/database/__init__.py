"""The database of a process: what reads and transactions run on.

What goes in: settings and SQL. What comes out: `Database`, and `capabilities`, what the database of a dialect can do. What may
be refused here: settings that name no database, `SettingsError`; what a database refuses is one of `graph.database.failures`.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Any, TypeVar

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession

from graph.database.backends import backend_of, capabilities, configured, once_a_kind
from graph.database.cluster import Cluster
from graph.database.failures import AnswerTooLarge, CommitUnknown, is_too_large
from graph.database.flushes import flush
from graph.database.places import PLACE, place_of, placed, unmarked
from graph.database.protocol import Capabilities, Connections
from graph.database.read_after import ReadAfter
from graph.database.telling import Watch
from graph.database.transactions import transaction
from graph.settings import Settings

__all__ = ["CARRIED", "BeforeCommit", "Capabilities", "Database", "Outbox", "capabilities", "once_a_kind", "rows_within"]

logger = logging.getLogger("ordergraph.database")

T = TypeVar("T")

#: Awaited with a session and the changes of its transaction, before its COMMIT.
BeforeCommit = Callable[[AsyncSession, Sequence[Any]], Awaitable[None]]

#: Makes the INSERT that keeps the changes of a session's transaction, for a statement that has so many parameters before it:
#: SQL and the values of its own parameters.
Outbox = Callable[[AsyncSession, Sequence[Any], int], tuple[str, list[Any]]]

#: Where a session keeps what its next `fetch_within` carries to the database beside its query: a function of SQL and arguments
#: that returns those of both.
CARRIED = "carried"

#: What a session notes of its transaction: whether replicas are to be able to show it, and by what they do (`ReadAfter`).
REPLICATED, WRITTEN = "replicated", "written"


async def rows_within(session: AsyncSession, sql: str, arguments: Sequence[Any]) -> Sequence[Sequence[Any]]:
    """All rows of a statement as the driver gives them, on the connection of a session's transaction."""
    info = session.info
    connections: Connections = info["connections"]
    watch: Watch = info["watch"]
    sql = placed(sql, info[PLACE])
    began = watch.began(sql)
    try:
        found = await connections.rows(info["driver"], sql, arguments)
    except BaseException as error:
        watch.ended(sql, began, error)
        raise
    watch.ended(sql, began)
    return found


class Database:
    """The database of a shop, as one process uses it; of the one that there is, unless settings say otherwise."""

    def __init__(self, settings: Settings, shop: str | None = None, cluster: Cluster | None = None) -> None:
        self.settings = settings
        #: Which shop it is of, where the settings say that there are many; `None` is then the list of them.
        self.shop = shop
        #: Called with the changes of every transaction of this process (`graph.write.record.Change`), as soon as it is committed.
        self.listeners: list[Callable[[Sequence[Any]], None]] = []
        #: Awaited with the session and those changes when the work of a transaction is done, before its COMMIT; once in each try.
        #: What they write is in the transaction; what they raise undoes it.
        self.before_commit: list[BeforeCommit] = []
        #: Makes the INSERT of the changes where a query can carry it; else one of `before_commit` runs it.
        self.outbox: Outbox | None = None
        self.target = configured(settings, shop) if cluster is None else backend_of(cluster.target).of_shop(cluster.target, shop)
        self.cluster = cluster or Cluster(settings, self.target)
        self.line, self.watch, self.replicas = self.cluster.line, self.cluster.watch, self.cluster.replicas
        #: What transactions and the product's own reads run on. Replicas answer what `query` is asked, and nothing else.
        self.primary = self.cluster.primary
        self._schema, self._place = self.target.schema, None
        if self._schema is not None:
            self.primary, self._place = self.primary.at(self._schema), place_of(self._schema)
        self.capabilities = capabilities(self.primary.engine.dialect)

    @property
    def engine(self) -> AsyncEngine:
        """SQLAlchemy's engine for writing."""
        return self.primary.engine

    @property
    def dialect(self) -> sa.Dialect:
        """How SQL is written for this database."""
        return self.engine.dialect

    def text(self, sql: str) -> str:
        """A text that was written by hand, with `graph.database.places.MARK` before its tables, as this database takes it."""
        return unmarked(sql) if self._place is None else sql

    def placed(self, sql: str) -> str:
        """A text as it is sent: with the place of its tables where the mark is."""
        return placed(sql, self._place)

    def session(self) -> AsyncSession:
        """The session of one request. It takes a connection when first used."""
        info = {"connections": self.primary, "watch": self.watch, REPLICATED: self.replicas is not None, PLACE: self._place}
        return AsyncSession(self.engine, expire_on_commit=False, autoflush=False, info=info)

    async def query(
        self, sql: str, arguments: Sequence[Any], max_bytes: int | None = None, after: ReadAfter | None = None
    ) -> Any:
        """The answer of a client's query: by a replica that shows what it must, `after` if that is given, else by the primary.

        Raises as `fetch` does.
        """
        if self.replicas is not None:
            limit = max_bytes or self.settings.max_answer_bytes
            try:
                found = await self.replicas.fetch(sql, arguments, limit, after, self._schema)
            except Exception as error:
                raise self._judged(error) from error
            if found is not None:
                return self._bounded(found, limit)
        return await self.fetch(sql, arguments, max_bytes)

    async def fetch(self, sql: str, arguments: Sequence[Any], max_bytes: int | None = None) -> Any:
        """The answer of a compiled read by the primary, on a connection of its own. Raises `Unavailable`, `AnswerTooLarge`."""
        limit = max_bytes or self.settings.max_answer_bytes
        sql = self.placed(sql)
        began = self.watch.began(sql)
        try:
            found = await self.primary.fetch(sql, arguments, limit)
        except BaseException as error:
            self.watch.ended(sql, began, error)
            if isinstance(error, Exception):
                raise self._judged(error) from error
            raise
        self.watch.ended(sql, began)
        return self._bounded(found, limit)

    async def fetch_within(self, session: AsyncSession, sql: str, arguments: Sequence[Any]) -> Any:
        """The answer of a compiled read, on the connection of a session's transaction. Raises `AnswerTooLarge`."""
        carry = session.info.pop(CARRIED, None)
        if carry is not None:
            sql, arguments = carry(sql, arguments)
        try:
            rows = await self.rows_within(session, sql, arguments)
        except Exception as error:
            raise self._judged(error) from error
        return self._bounded(rows[0][0] if rows else None, self.settings.max_answer_bytes)

    def _judged(self, error: Exception) -> Exception:
        return AnswerTooLarge(self.settings.max_answer_bytes) if is_too_large(error) else error

    def _bounded(self, found: Any, limit: int) -> Any:
        """What a compiled read made, as bytes whatever the driver makes of it."""
        answer = found.encode() if isinstance(found, str) else found
        if isinstance(answer, bytes) and len(answer) > limit:
            raise AnswerTooLarge(self.settings.max_answer_bytes)
        return answer

    async def rows_within(self, session: AsyncSession, sql: str, arguments: Sequence[Any]) -> Sequence[Sequence[Any]]:
        """All rows of a query as the driver gives them, on the connection of a session's transaction."""
        return await rows_within(session, sql, arguments)

    async def flush(self, session: AsyncSession) -> None:
        """Write what is in a session, as `graph.database.flushes` says. Raises what the database refuses."""
        await flush(session, partial(rows_within, session) if self.capabilities.writes_in_queries else None)

    async def transaction(self, session: AsyncSession, work: Callable[[], Awaitable[T]], deadline: float | None = None) -> T:
        """Run `work` in one transaction of `session` and commit it, as `graph.database.transactions` says."""
        try:
            return await transaction(session.info["connections"], session, work, deadline)
        except CommitUnknown as unknown:
            logger.warning("It is not known whether a transaction was committed: %s", unknown)
            raise

    async def beat(self) -> None:
        """Tell replicas the time until cancelled, where there are any: without it none of them is asked."""
        await self.cluster.beat()

    async def probe(self) -> None:
        """See that connections are what the settings say. Raises `Unavailable`, in a sentence for whoever starts the process."""
        await self.cluster.probe()

    async def give_up(self, session: AsyncSession) -> None:
        """Drop the connection of a session, whatever is running on it."""
        connections: Connections = session.info["connections"]
        await connections.give_up(session)

    async def close(self) -> None:
        """Close every connection, also those of others that share them."""
        await self.cluster.close()

"""The pool of connections that many shops share: it remembers which of them each connection has served.

What goes in: what `graph.database.pool.Pool` takes, the schema of the shop that a connection is for. What comes out: one that has
served this shop, where such a one is free. What may be refused here: what opening a connection refuses.

A session of PostgreSQL keeps what it learns of a shop's tables, and a plan of each statement that it runs often. To learn it
anew makes the first read of a shop many times as long, and what is learned is never forgotten: with it the session's memory
grows. So a connection that has served `MOST_SHOPS` is not used for one more: it is closed, and another one opened.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any, TypeVar
from weakref import WeakSet

import sqlalchemy as sa

from graph.database.pool import Pool, discard

T = TypeVar("T")

#: How long one waits for a connection that has served his shop, while others are free; a read is over sooner. Where there were
#: more shops than a connection may serve, who never waited met one that had to learn his, nearly every time.
PATIENCE_SECONDS = 0.03
#: How many shops a connection serves. A session takes some 0.17 megabytes for each, and 36 kilobytes a statement.
MOST_SHOPS = 100


def served(connection: sa.pool.ManagesConnection) -> set[str]:
    """The schemas that a connection has served; none where it must be opened first."""
    link: Any = connection.driver_connection
    return set() if link is None else link.served


class ShopPool(Pool):
    """A free connection that has served the shop; else that which has served the fewest, if it may serve more; else another.

    Where all that have served it are at work, and the others know many shops, one is waited for, but not for long.
    """

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        #: For which shop the connection is that is taken next: nothing is awaited until it is.
        self._wanted: str | None = None
        self._links: WeakSet[Any] = WeakSet()
        #: Who waits for a connection that has served his shop, in the order they came.
        self._waiting: list[tuple[str, asyncio.Future[None]]] = []

    def note(self, link: Any, schema: str) -> None:
        """A connection serves a shop that it has not served."""
        link.served.add(schema)
        self._links.add(link)

    async def for_read(self, schema: str | None) -> sa.PoolProxiedConnection:
        found = self._ready(schema)
        if found is None and schema is not None and self._is_worth_waiting(schema):
            await self._wait(schema)
            found = self._ready(schema)
        return await self._taken(self.connect, schema) if found is None else found

    def _ready(self, schema: str | None) -> sa.PoolProxiedConnection | None:
        """A connection that was handed on and has served this shop, as its role if it can be."""
        ready, known = self._handed_on, -1
        for place in range(len(ready) - 1, -1, -1):
            link: Any = ready[place].driver_connection
            if schema in link.served:
                known = place
                if link.role is None or link.role == schema:
                    break
        return ready.pop(known) if known >= 0 else None

    def _is_worth_waiting(self, schema: str) -> bool:
        """Whether all connections that have served a shop are at work, and there are some; and all others know many shops."""
        if not any(schema in link.served and not link.is_closed() for link in self._links):
            return False
        free = [self._pool.get_nowait() for _ in range(self.checkedin())]
        for record in free:
            self._pool.put_nowait(record)
        known = [served(each) for each in (*self._handed_on, *free)]
        return not any(schema in each or len(each) < MOST_SHOPS // 2 for each in known)

    async def _wait(self, schema: str) -> None:
        """Wait until a connection that has served a shop is free, but not for long."""
        with suppress(TimeoutError):
            async with asyncio.timeout(PATIENCE_SECONDS):
                while self._is_worth_waiting(schema):
                    entry = (schema, asyncio.get_running_loop().create_future())
                    self._waiting.append(entry)
                    try:
                        await entry[1]
                    finally:
                        if entry in self._waiting:
                            self._waiting.remove(entry)

    def _freed(self, link: Any) -> None:
        """A connection is free: the first who waits for one like it may come."""
        for place, (schema, waiting) in enumerate(self._waiting):
            if link is not None and schema in link.served and not waiting.done():
                waiting.set_result(None)
                del self._waiting[place]
                return

    def hand_on(self, connection: sa.PoolProxiedConnection, era: int) -> None:
        super().hand_on(connection, era)
        if self._waiting:
            self._freed(connection.driver_connection)

    def _do_return_conn(self, record: sa.pool.ConnectionPoolEntry) -> None:
        super()._do_return_conn(record)
        if self._waiting:
            self._freed(record.driver_connection)

    async def taken(self, take: Callable[[], T], schema: str | None = None) -> T:
        if schema is not None and self._is_worth_waiting(schema):
            await self._wait(schema)
        return await self._taken(take, schema)

    async def _taken(self, take: Callable[[], T], schema: str | None) -> T:
        def wanting() -> T:
            self._wanted = schema
            return take()

        return await super().taken(wanting)

    def _do_get(self) -> sa.pool.ConnectionPoolEntry:
        wanted, self._wanted = self._wanted, None
        if wanted is None:
            return super()._do_get()
        free = [self._pool.get_nowait() for _ in range(self.checkedin())]
        chosen = self._chosen(wanted, [*free, *self._handed_on])
        for record in free:
            if record is not chosen:
                self._pool.put_nowait(record)
        if chosen is None:
            return self._opened()
        found: sa.pool.ConnectionPoolEntry = chosen
        if chosen in self._handed_on:
            self._handed_on.remove(chosen)
            chosen.close()
            found = self._pool.get_nowait()  # what came back last is taken first
        return found

    def _chosen(self, wanted: str, ready: Sequence[Any]) -> Any:
        """The connection that serves this shop; none where another one is to be opened."""
        knowing = next((each for each in ready if wanted in served(each)), None)
        if knowing is not None or not ready:
            return knowing
        fewest = min(ready, key=lambda each: len(served(each)))
        if len(served(fewest)) < MOST_SHOPS:
            return fewest
        if self.overflow() < 0:
            return None
        discard(ready[0])
        return ready[0]

    def _opened(self) -> sa.pool.ConnectionPoolEntry:
        """One more connection."""
        if not self._inc_overflow():
            return super()._do_get()
        try:
            return self._create_connection()
        except BaseException:
            self._dec_overflow()
            raise

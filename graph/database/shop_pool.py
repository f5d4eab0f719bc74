"""The pool of connections that many shops share: it remembers which of them each connection has served.

What goes in: what `graph.database.pool.Pool` takes, the schema of the shop that a connection is for. What comes out: one that has
served this shop, where such a one is free. What may be refused here: what opening a connection refuses.

A session of PostgreSQL keeps what it learns of a shop's tables, and a plan of each statement that it runs often. To learn it
anew makes the first read of a shop many times as long, and what is learned is never forgotten: with it the session's memory
grows. So a connection that has served `MOST_SHOPS` is not used for one more: it is closed, and another one opened.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import sqlalchemy as sa

from graph.database.pool import Pool, discard

T = TypeVar("T")

#: How many shops a connection serves. A session takes some 0.17 megabytes for each, and 36 kilobytes a statement.
MOST_SHOPS = 100


def served(connection: sa.PoolProxiedConnection | sa.pool.ConnectionPoolEntry) -> set[str]:
    """The schemas that a connection has served; none where it must be opened first."""
    link: Any = connection.driver_connection
    return set() if link is None else link.served


class ShopPool(Pool):
    """A free connection that has served the shop; else that which has served the fewest, if it may serve more; else another.

    Nobody waits for a connection that would suit him better.
    """

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        #: For which shop the connection is that is taken next: nothing is awaited until it is.
        self._wanted: str | None = None

    async def for_read(self, schema: str | None) -> sa.PoolProxiedConnection:
        ready, known = self._handed_on, -1
        for place in range(len(ready) - 1, -1, -1):
            link: Any = ready[place].driver_connection
            if schema in link.served:
                known = place
                if link.role is None or link.role == schema:
                    break
        if known >= 0:
            return ready.pop(known)
        return await self.taken(self.connect, schema)

    async def taken(self, take: Callable[[], T], schema: str | None = None) -> T:
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

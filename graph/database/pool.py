"""The pool of connections.

What goes in: what SQLAlchemy hands to pools. What comes out: connections, none that was opened before all were given up. What
may be refused here: what opening a connection refuses.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from time import time
from typing import Any, TypeVar

import sqlalchemy as sa
from sqlalchemy.exc import MissingGreenlet
from sqlalchemy.ext.asyncio import AsyncEngine
from sqlalchemy.util import greenlet_spawn

T = TypeVar("T")


class Pool(sa.AsyncAdaptedQueuePool):
    """Connections that may be given up together: what one has met, a server that is gone or only to be read, others meet too.

    A read hands its connection to the next one without giving it back, which was a quarter of the processor time of
    `Server.fetch`. Whoever takes a connection of the pool where none is left gets one of these.
    """

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self._handed_on: list[sa.PoolProxiedConnection] = []
        self.era = 0  # each ends with the trust in the connections that were open in it

    def distrust(self) -> None:
        """Use no connection again that was opened before; at most once a second, or a database that refuses is stormed."""
        self._take_back()
        now = time()
        if not self._invalidate_time <= now < self._invalidate_time + 1:
            self._invalidate_time = now

    def dispose(self) -> None:
        self._take_back()
        super().dispose()

    def _take_back(self) -> None:
        self.era += 1
        while self._handed_on:
            self._handed_on.pop().close()

    def _do_get(self) -> sa.pool.ConnectionPoolEntry:
        if self._handed_on and not self.checkedin():
            self._handed_on.pop().close()
        return super()._do_get()

    def checkedout(self) -> int:
        return super().checkedout() - len(self._handed_on)

    async def for_read(self, schema: str | None) -> sa.PoolProxiedConnection:
        """A connection for a statement that leaves it as it was. It is to be handed on, or dropped. `schema` is a shop's."""
        return self._handed_on.pop() if self._handed_on else await self.taken(self.connect)

    def hand_on(self, connection: sa.PoolProxiedConnection, era: int) -> None:
        """The next read may have this connection, if it is still the era in which it was taken."""
        if era == self.era:
            self._handed_on.append(connection)
        else:
            connection.close()

    def note(self, link: Any, schema: str) -> None:
        """A connection serves a shop that it has not served."""
        link.served.add(schema)

    async def taken(self, take: Callable[[], T], schema: str | None = None) -> T:
        """Run what takes a connection of this pool, in a greenlet only where none lies ready. `schema` is a shop's.

        The greenlet is there so that a connection can be opened. Taking one that is open awaits nothing: it costs 23 us of
        processor time in a greenlet and 11 without, of the 83 that a whole point read takes. A test holds the two ways equal.
        """
        if self.checkedin() or self._handed_on:
            with suppress(MissingGreenlet):  # it was dropped, and another must be opened
                return take()
        return await greenlet_spawn(take)


def pool_of(engine: AsyncEngine) -> Pool:
    """The pool of an engine that was made with one of ours."""
    pool: Any = engine.pool
    assert isinstance(pool, Pool)
    return pool


def discard(connection: Any) -> None:
    """Drop a pooled connection; the pool opens another when one is needed."""
    with suppress(Exception):
        connection.invalidate()

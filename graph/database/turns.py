"""Turns at the connections of a process.

What goes in: how many there are, and how long one waits. What comes out: `async with turns:`, a turn. What is refused here:
`Unavailable` when none came in time.

SQLAlchemy's pool has waiting of its own, but lets new ones pass those who wait, and makes a task for each.
"""

from __future__ import annotations

import asyncio

from graph.database.failures import Unavailable


class Turns:
    """Lets as many in at once as there are connections, the others in the order they came."""

    def __init__(self, connections: int, seconds: float) -> None:
        self.connections = connections
        self._free = asyncio.Semaphore(connections)
        self._seconds = seconds

    async def __aenter__(self) -> None:
        if not self._free.locked():
            await self._free.acquire()
            return
        try:
            async with asyncio.timeout(self._seconds):
                await self._free.acquire()
        except TimeoutError:
            raise Unavailable("no connection came free in time") from None

    async def __aexit__(self, *_: object) -> None:
        self._free.release()

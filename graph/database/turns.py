"""Turns at the connections of a process.

What goes in: how many there are, and how long one waits. What comes out: `async with turns:`, a turn. What is refused here:
`Unavailable` when none came in time.

SQLAlchemy's pool has waiting of its own, but lets new ones pass those who wait, and makes a task for each.
"""

from __future__ import annotations

import asyncio
from time import perf_counter

from graph.database.failures import Unavailable
from graph.observations import TurnWaited


class Turns:
    """Lets as many in at once as there are connections, the others in the order they came. `place` is what they are for.

    `waiting` is how many are not let in yet, `taken` how many are.
    """

    def __init__(self, connections: int, seconds: float, place: str = "connection") -> None:
        self.connections = connections
        self.place = place
        self.waiting = self.taken = 0
        self._free = asyncio.Semaphore(connections)
        self._seconds = seconds

    async def __aenter__(self) -> None:
        if not self._free.locked():
            await self._free.acquire()
            self.taken += 1
            return
        began, came = perf_counter(), False
        self.waiting += 1
        try:
            async with asyncio.timeout(self._seconds):
                await self._free.acquire()
            came = True
            self.taken += 1
        except TimeoutError:
            raise Unavailable("no connection came free in time") from None
        finally:
            self.waiting -= 1
            if TurnWaited.listeners:
                TurnWaited(self.place, perf_counter() - began, came).tell()

    async def __aexit__(self, *_: object) -> None:
        self.taken -= 1
        self._free.release()

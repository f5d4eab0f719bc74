"""Turns at the connections of a process.

What goes in: how many there are, and how long one waits. What comes out: `async with turns:`, a turn. What is refused here:
`Unavailable` when none came in time, `Overloaded` where others are refused already and this one has waited for longer than those
who are still let in will: it would be late itself, and make them late.

SQLAlchemy's pool has waiting of its own, but lets new ones pass those who wait, and makes a task for each.
"""

from __future__ import annotations

import asyncio
from time import perf_counter
from typing import ClassVar

from graph.database.failures import Overloaded, Unavailable
from graph.observations import TurnWaited


class Patience:
    """How long one may have waited for the first turn of a request. Whoever lets requests in tells this process until when."""

    seconds: ClassVar[float] = 0.0
    until: ClassVar[float] = 0.0

    @classmethod
    def see(cls, since: float) -> None:
        """Raise `Overloaded` where it was too long."""
        now = perf_counter()
        if now < cls.until and now - since > cls.seconds:
            raise Overloaded("too many requests were before this one")


class Turns:
    """Lets as many in at once as there are connections, the others in the order they came. `place` is what they are for.

    `waiting` is how many are not let in yet, `taken` how many are, `ended` how many were.
    """

    def __init__(self, connections: int, seconds: float, place: str = "connection") -> None:
        self.connections = connections
        self.place = place
        self.waiting = self.taken = self.ended = 0
        self._free = asyncio.Semaphore(connections)
        self._seconds = seconds
        self.first = First(self)

    def free(self) -> bool:
        """Whether there is one that nobody waits for."""
        return self.taken + self.waiting < self.connections

    async def __aenter__(self) -> None:
        if self.free():
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
        self.ended += 1
        self._free.release()


class First:
    """A turn of a request that has done nothing yet: it is given up where it comes late under too much load."""

    def __init__(self, turns: Turns) -> None:
        self._turns = turns

    async def __aenter__(self) -> None:
        if self._turns.free():
            return await self._turns.__aenter__()
        since = perf_counter()
        await self._turns.__aenter__()
        try:
            Patience.see(since)
        except Overloaded:
            await self._turns.__aexit__()
            raise

    async def __aexit__(self, *_: object) -> None:
        await self._turns.__aexit__()

"""The bytes that answers may have together, from when they are made until they are sent.

What goes in: how many bytes an answer may have. What comes out: a `Share` of the budget, free again when its `with` is left. What
is refused here: `Unavailable` where other answers did not leave room in time.

A client that reads slowly holds its share and nothing else: memory does not grow with the number of such clients, and an answer
that is short whatever its rows hold never waits.
"""

from __future__ import annotations

import asyncio
from collections import deque

from graph.database.failures import Unavailable
from graph.operations.aside import aside

#: Answers of the greatest size that may be made and sent at the same time.
GREATEST_AT_ONCE = 2
#: What an answer may have without asking: about what is on its way in the buffers of a connection.
SMALL = 2**16


class Budget:
    """Lets answers in as long as there is room, the others in the order they came."""

    def __init__(self, greatest: int, seconds: float) -> None:
        self.greatest = greatest
        self.used = 0
        self._size = GREATEST_AT_ONCE * greatest
        self._seconds = seconds
        self._waiting: deque[tuple[int, asyncio.Future[None]]] = deque()

    async def take(self, size: int) -> None:
        if not self._waiting and self._fits(size):
            self.used += size
            return
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append((size, turn))
        try:
            async with asyncio.timeout(self._seconds):
                with aside():
                    await turn
        except BaseException as error:
            if turn.done() and not turn.cancelled():  # it came at the moment the wait ended
                self.used -= size
            turn.cancel()
            self.admit()
            if isinstance(error, TimeoutError):
                raise Unavailable("other answers left no room in time") from None
            raise

    def _fits(self, size: int) -> bool:
        return self.used == 0 or self.used + size <= self._size

    def admit(self) -> None:
        """Let those in for whom there is room now."""
        while self._waiting:
            size, turn = self._waiting[0]
            if not turn.done():
                if not self._fits(size):
                    return
                self.used += size
                turn.set_result(None)
            self._waiting.popleft()


class Share:
    """What one answer has of a budget."""

    __slots__ = ("_budget", "_size")

    def __init__(self, budget: Budget) -> None:
        self._budget = budget
        self._size = 0

    def __enter__(self) -> Share:
        return self

    def __exit__(self, *_: object) -> None:
        self.keep(0)

    async def ask(self, size: int) -> int:
        """Wait until there is room for an answer of this size; returns how large it may be. Raises `Unavailable`."""
        size = min(max(size, SMALL), self._budget.greatest)
        if size > SMALL:
            await self._budget.take(size)
            self._size += size
        return size

    def keep(self, size: int) -> None:
        """The answer has this size: what it might have had more is free, and what nobody foresaw is counted."""
        size = size if size > SMALL else 0
        if size != self._size:
            self._budget.used += size - self._size
            self._size = size
            self._budget.admit()

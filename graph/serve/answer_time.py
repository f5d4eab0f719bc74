"""The time in which a request is answered whose transactions were given up, so that what was committed before is told.

What goes in: the limit of the request, when its transactions are given up, for how many seconds it is answered then. What comes
out: a block in which the limit is over so long after that has happened, and not after it was to happen: where the process stood
still meanwhile both would be over at once, and nobody be told what was committed. Nothing is refused here.
"""

from __future__ import annotations

import asyncio


class AnswerTime:
    """`with AnswerTime(limit, given_up, seconds):` within `async with limit`; times are those of the loop."""

    __slots__ = ("_given_up", "_limit", "_seconds", "_timer")

    def __init__(self, limit: asyncio.Timeout, given_up: float, seconds: float) -> None:
        self._limit, self._given_up, self._seconds = limit, given_up, seconds

    def __enter__(self) -> None:
        self._limit.reschedule(None)
        self._timer = asyncio.get_running_loop().call_at(self._given_up, self._begin)

    def _begin(self) -> None:
        self._limit.reschedule(max(self._given_up, asyncio.get_running_loop().time()) + self._seconds)

    def __exit__(self, *_: object) -> None:
        self._timer.cancel()
        if self._limit.when() is None:  # what is to be done after the block has its limit, too
            self._begin()

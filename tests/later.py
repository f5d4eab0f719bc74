"""Time that passes at once: a test is over its limits when it says so, and not when the machine is busy.

What goes in: seconds. What comes out: the clock of the running loop is that much ahead, so that whatever waits there for less is
over. A test gives a limit that nobody meets by chance, waits until what is to meet it has begun, and puts the clock forward.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import Any, TypeVar

T = TypeVar("T")

#: Limits by which of a request the end of its transactions is what comes first.
WHOLE_REQUEST = dict.fromkeys(("request_timeout_seconds", "statement_timeout_seconds", "lock_timeout_seconds"), 200.0)


class Clock:
    """What stands for a clock of the product: its time passes as it is told to, from `now`."""

    def __init__(self, now: float = 0.0) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now


def put_forward(seconds: float) -> None:
    """Put the clock of the running loop forward. Each test has a loop of its own."""
    loop: Any = asyncio.get_running_loop()
    ahead = loop.ahead = getattr(loop, "ahead", 0.0) + seconds
    loop.time = lambda: type(loop).time(loop) + ahead


def end_of_transactions() -> None:
    """The time is over of requests under `WHOLE_REQUEST`, as where the process stood still: their transactions are given up.

    They have the last tenth of their time from now on to be answered in.
    """
    put_forward(WHOLE_REQUEST["request_timeout_seconds"])


async def as_time_flies(work: Awaitable[T]) -> T:
    """What comes of work that waits for nothing but time: every second of it takes a few turns of the loop."""
    task = asyncio.ensure_future(work)
    while not task.done():
        put_forward(1.0)
        for _ in range(50):
            await asyncio.sleep(0)
    return task.result()

"""Time that passes at once: a test is over its limits when it says so, and not when the machine is busy.

What goes in: seconds. What comes out: the clock of the running loop is that much ahead, so that whatever waits there for less is
over. A test gives a limit that nobody meets by chance, waits until what is to meet it has begun, and puts the clock forward.
"""

from __future__ import annotations

import asyncio
from typing import Any

#: Limits by which of a request the end of its transactions is what comes first, which have nine tenths of its time.
WHOLE_REQUEST = dict.fromkeys(("request_timeout_seconds", "statement_timeout_seconds", "lock_timeout_seconds"), 200.0)


def put_forward(seconds: float) -> None:
    """Put the clock of the running loop forward. Each test has a loop of its own."""
    loop: Any = asyncio.get_running_loop()
    now = loop.time
    loop.time = lambda: now() + seconds


def end_of_transactions() -> None:
    """The time is over that the transactions of requests have under `WHOLE_REQUEST`; that of the requests is not."""
    put_forward(190.0)

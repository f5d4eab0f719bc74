"""The WebSockets and event streams that a process has open, which are bounded together.

What goes in: one that opens. What comes out: their number, and the end of all when the server stops. What may be refused here:
one too many (503).
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager

from graph.operations.request_errors import refused


class Streams:
    """What is open. `draining` is set when the server stops: event streams end then, sockets are closed by the server."""

    def __init__(self, most: int) -> None:
        self.most = most
        self.open = 0
        self.draining = asyncio.Event()

    def check(self) -> None:
        """Raises `RequestRefused` where there are too many, or the server stops."""
        if self.open >= self.most or self.draining.is_set():
            raise refused("SERVICE_UNAVAILABLE", "The service has too many open streams, or stops; try again.", 503)

    @contextmanager
    def one(self) -> Iterator[None]:
        """One more while this block runs. Raises as `check` does."""
        self.check()
        self.open += 1
        try:
            yield
        finally:
            self.open -= 1

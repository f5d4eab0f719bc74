"""What requests to one database meet: who is let in there, and what is told there as it happens.

What goes in: a database, and what all of a process share. What comes out: its parts, and who is there at the moment. What may be
refused here: whoever is still there when a shop is served no more.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from graph.access.gatekeeper import Gatekeeper
from graph.database import Database
from graph.feed.hub import POLL_SECONDS
from graph.feed.sequence import Sequencer
from graph.operations.engine import Engine
from graph.operations.request_errors import RequestRefused
from graph.operations.subscriptions import Broadcast


class Shopfront:
    """The one of a database. Without a gatekeeper everybody is let in. `visitors` is how many requests and streams it has now.

    `unasked` is how often it was looked in vain whether somebody asks for it.
    """

    def __init__(
        self,
        engine: Engine,
        database: Database,
        gatekeeper: Gatekeeper | None,
        sequencer: Sequencer,
        pace: Callable[[], float] = lambda: POLL_SECONDS,
    ) -> None:
        self.database = database
        self.gatekeeper = gatekeeper
        self.sequencer = sequencer
        self.subscriptions = Broadcast(engine, database, sequencer, pace)
        self.unasked = 0
        self.visitors = 0
        self._ended: RequestRefused | None = None
        self._watchers: list[Callable[[], None]] = []

    def check(self) -> None:
        """Refuse who is still there when it has ended. Raises `RequestRefused`."""
        if self._ended is not None:
            raise self._ended

    def end(self, reason: RequestRefused) -> None:
        """It is served no more; whoever is there for longer than a request is told."""
        self._ended = reason
        told, self._watchers = self._watchers, []
        for tell in told:
            tell()

    @contextmanager
    def visited(self) -> Iterator[None]:
        """Be there while this block runs."""
        self.visitors += 1
        try:
            yield
        finally:
            self.visitors -= 1

    @contextmanager
    def watched(self, tell: Callable[[], None]) -> Iterator[None]:
        """Call `tell` when it ends while this block runs."""
        self._watchers.append(tell)
        if self._ended is not None:
            self.end(self._ended)
        try:
            yield
        finally:
            if tell in self._watchers:
                self._watchers.remove(tell)

    async def close(self) -> None:
        """Leave nothing that runs."""
        await self.subscriptions.hub.close()

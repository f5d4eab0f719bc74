"""Who is let in: requests that would wait too long behind others are refused while that is cheap, before anything is done.

What goes in: when requests are there as a whole, and when they are answered. What comes out: whether another one is let in, and
the application that answers those that are not: 503 with `Retry-After`.

How long a request is likely to wait is the number of those before it times the time between two answers. A burst may wait; a line
that does not get shorter is not lengthened, since those at its end would wait for nothing but to be refused later.
"""

from __future__ import annotations

import asyncio
import os
from time import perf_counter

from starlette.types import Receive, Scope, Send

from graph.observations import RequestShed
from graph.operations.aside import Aside
from graph.operations.documents import refused
from graph.serve.responses import headers_of, refusal_body

#: Requests that are no crowd, whatever they take: nobody is refused behind fewer.
FEW = 16
#: A wait that nobody minds behind more; or so many times what a request takes alone, where that is longer.
BORNE_SECONDS, TIMES_ALONE = 0.025, 3
#: How long a burst may come in, and how long after a refusal there is none.
BURST_SECONDS, CALM_SECONDS = 0.1, 1.0
#: What a request is taken to need alone before one was seen.
UNKNOWN_SECONDS = 0.1
#: How far back the times between answers count, and how much the newest time of a request that was alone does.
MEMORY_SECONDS, WEIGHT = 1.0, 1 / 16

_OVERLOADED = refused("SERVICE_UNAVAILABLE", "The service is overloaded; try again.", 503)


class Admission:
    """The requests that a process has and has not answered. `most_seconds` is what one may wait in a burst."""

    def __init__(self, most_seconds: float) -> None:
        self.most_seconds = most_seconds
        self.working = 0
        self.each_seconds = 0.0  # between two answers, while there is something to do
        self.alone_seconds = UNKNOWN_SECONDS  # what a request takes that shares the server with no other
        self._is_alone = False
        self._answers = self._seconds = 0.0  # those of late, and how long they took together
        self._last = 0.0
        self._standing_since: float | None = None
        self._refused_at = -CALM_SECONDS

    def admits(self) -> bool:
        """Whether another request is let in."""
        before = self.working - Aside.requests
        wait = before * self.each_seconds
        if before < FEW or wait <= max(BORNE_SECONDS, TIMES_ALONE * self.alone_seconds):
            self._standing_since = None
            return True
        now = perf_counter()
        if self._standing_since is None:
            self._standing_since = now
        is_burst = now - self._standing_since <= BURST_SECONDS and now - self._refused_at > CALM_SECONDS
        if is_burst and wait <= self.most_seconds:
            return True
        self._refused_at = now
        return False

    def began(self) -> None:
        """A request is there as a whole."""
        self._is_alone = not self.working
        if self._is_alone:
            self._last = perf_counter()
        self.working += 1

    def ended(self) -> None:
        """A request was answered, or its client is gone."""
        now = perf_counter()
        took, self._last = now - self._last, now
        self.working -= 1
        kept = max(0.0, 1.0 - took / MEMORY_SECONDS)
        self._answers, self._seconds = self._answers * kept + 1.0, self._seconds * kept + took
        self.each_seconds = self._seconds / self._answers
        if self._is_alone:
            self.alone_seconds += (took - self.alone_seconds) * WEIGHT
            self._is_alone = False


async def overloaded(scope: Scope, receive: Receive, send: Send, after_seconds: float = 0.0) -> None:
    """Answers that the service is overloaded, without looking at the request.

    Who was told to come back after a second and does so at once is kept waiting: a crowd that does nothing else would leave no
    time for those let in.
    """
    if after_seconds:
        await asyncio.sleep(after_seconds)
    request_id = os.urandom(8).hex()
    status, body = refusal_body(_OVERLOADED, request_id)
    if RequestShed.listeners:
        RequestShed("SERVICE_UNAVAILABLE", status).tell()
    await send({"type": "http.response.start", "status": status, "headers": headers_of(status, len(body), request_id)})
    await send({"type": "http.response.body", "body": body})

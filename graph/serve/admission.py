"""Who is let in: requests that would wait too long behind others are refused while that is cheap, before anything is done.

What goes in: when requests are there as a whole, and when they are answered. What comes out: whether another one is let in, and
the application that answers those that are not: 503 with `Retry-After`.

How long a request is likely to wait is the number of those before it times the time between two answers. A burst may wait; a line
that does not get shorter is not lengthened, since those at its end would wait for nothing but to be refused later.
"""

from __future__ import annotations

import os
from time import perf_counter

from starlette.types import Receive, Scope, Send

from graph.operations.documents import refused
from graph.serve.responses import refusal_body

#: Requests that may be there at once, however slow they are: a few for each connection to the database.
FEW = 40
#: A wait that nobody minds, and how long a longer one may last before nobody else is let in.
SHORT_SECONDS, STANDING_SECONDS = 0.025, 0.1
#: How much the newest time between two answers counts: those of many, since many are answered in one turn of the loop.
WEIGHT = 1 / 100

_STATUS, _BODY = refusal_body(refused("SERVICE_UNAVAILABLE", "The service is overloaded; try again.", 503), "%s")


class Admission:
    """The requests that a process has and has not answered. `most_seconds` is what one may wait in a burst."""

    def __init__(self, most_seconds: float) -> None:
        self.most_seconds = most_seconds
        self.working = 0
        self.each_seconds = 0.0  # between two answers, while there is something to do
        self._last = 0.0
        self._standing_since: float | None = None

    def admits(self) -> bool:
        """Whether another request is let in."""
        wait = self.working * self.each_seconds
        if self.working < FEW or wait <= SHORT_SECONDS:
            self._standing_since = None
            return True
        now = perf_counter()
        if self._standing_since is None:
            self._standing_since = now
        return now - self._standing_since <= STANDING_SECONDS and wait <= self.most_seconds

    def began(self) -> None:
        """A request is there as a whole."""
        if not self.working:
            self._last = perf_counter()
        self.working += 1

    def ended(self) -> None:
        """A request was answered, or its client is gone."""
        now = perf_counter()
        self.working -= 1
        self.each_seconds += (now - self._last - self.each_seconds) * WEIGHT
        self._last = now


async def overloaded(scope: Scope, receive: Receive, send: Send) -> None:
    """Answers that the service is overloaded, without looking at the request."""
    request_id = os.urandom(8).hex().encode()
    body = _BODY % request_id
    headers = [
        (b"content-type", b"application/json; charset=utf-8"),
        (b"content-length", b"%d" % len(body)),
        (b"x-request-id", request_id),
        (b"retry-after", b"1"),
    ]
    await send({"type": "http.response.start", "status": _STATUS, "headers": headers})
    await send({"type": "http.response.body", "body": body})

"""Who is let in: requests that would wait too long behind others are refused while that is cheap, before anything is done.

What goes in: when requests are there as a whole, and when they are answered. What comes out: whether another one is let
in, and when those are told who are not. What they are told is in `graph.serve.turned_away`.

How long a request is likely to wait is the number of those before it times the time between two answers. A burst may wait. Once
somebody had to be refused the line is kept as short as keeps the process busy, until nobody was for a while, and who came before
and has waited for too long when his turn comes gives way: who is answered then is so about as soon as on a calm day, and no fewer
are.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from math import ceil
from time import perf_counter

from graph.database.turns import Patience
from graph.operations.aside import Aside

#: A wait that nobody minds; or so many times what a request takes alone, where that is longer. It keeps a process busy: four
#: clients have as many creates answered as sixteen.
BORNE_SECONDS, TIMES_ALONE = 0.006, 2
#: Requests that keep a process busy: nobody is ever refused behind fewer.
BUSY = 4
#: Requests that are no crowd, whatever they take: nobody is refused behind fewer while it is calm.
FEW = 16
#: How much longer than a request that is alone those of its kind may take beside each other.
ALIKE = 1.5
#: How long a burst may come in while it is calm, and how long after the last refusal it is calm.
BURST_SECONDS, CALM_SECONDS = 0.1, 0.5
#: What a request is taken to need alone before one was seen.
UNKNOWN_SECONDS = 0.1
#: How many who came too soon are told so at once, at most, and how long after the last ones.
TOLD_AT_ONCE, PAUSE_SECONDS = 60, 0.01
#: How many are told while one is served; and after what time everybody has been told, whatever that costs.
TOLD_FOR_ONE, TOLD_SECONDS = 6, 5.0
#: Likewise on WebSockets, where it costs more to tell somebody, and nothing to read him later.
TOLD_ON_SOCKETS = 3
#: How far back the times between answers count, and how much the newest time of a request that was alone does.
MEMORY_SECONDS, WEIGHT = 1.0, 1 / 16
#: How seldom all stand still so that it tells nothing of the next ones.
SELDOM_SECONDS = 10.0


class Admission:
    """The requests that a process has and has not answered. `most_seconds` is what one of a burst may wait."""

    def __init__(self, most_seconds: float) -> None:
        self.most_seconds = most_seconds
        self.working = 0
        self.each_seconds = 0.0  # between two answers, while there is something to do
        self.alone_seconds = UNKNOWN_SECONDS  # what a request takes that shares the server with no other
        self._is_alone = False
        self._answers = self._seconds = 0.0  # those of late, and how long they took together
        self._last = 0.0
        self._still_at = -SELDOM_SECONDS  # when all had stood still
        self._standing_since: float | None = None
        self._refused_at = -CALM_SECONDS
        self.early, self.early_on_sockets = Early(TOLD_AT_ONCE, self._told), Early(TOLD_ON_SOCKETS, self._told)

    def admits(self) -> bool:
        """Whether another request is let in."""
        before = self.working - Aside.requests
        wait = before * self.each_seconds
        borne = max(BORNE_SECONDS, TIMES_ALONE * self.alone_seconds)
        if before < BUSY or wait <= borne:
            self._standing_since = None
            return True
        now = perf_counter()
        if self._standing_since is None:
            self._standing_since = now
        is_calm = now - self._refused_at > CALM_SECONDS
        is_burst = is_calm and now - self._standing_since <= BURST_SECONDS and wait <= self.most_seconds
        # Where answers are further apart than one takes alone those before are of another kind, and their number tells little.
        is_crowd = before >= FEW or (not is_calm and self.each_seconds <= ALIKE * self.alone_seconds)
        if is_burst or not is_crowd:
            return True
        self._refused_at = now
        Patience.seconds, Patience.until = 2 * borne, now + CALM_SECONDS
        return False

    def _told(self) -> float:
        """How many may be told in a pause: so many for each that is served in it, any number where nobody would be held up."""
        is_free = self.working < BUSY or not self.each_seconds
        return TOLD_AT_ONCE if is_free else TOLD_FOR_ONE * PAUSE_SECONDS / self.each_seconds

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
        was_alone, self._is_alone = self._is_alone, False
        if took > MEMORY_SECONDS and now - self._still_at > SELDOM_SECONDS:
            self._still_at = now
            return
        kept = max(0.0, 1.0 - took / MEMORY_SECONDS)
        self._answers, self._seconds = self._answers * kept + 1.0, self._seconds * kept + took
        self.each_seconds = self._seconds / self._answers
        if was_alone:
            self.alone_seconds += (took - self.alone_seconds) * WEIGHT


class Early:
    """Those who were told when to come back and came sooner: they are told again, some at once and with a pause behind them.

    A crowd that does nothing but ask again would leave no time for those let in.
    """

    def __init__(self, at_once: int, borne: Callable[[], float]) -> None:
        self.at_once, self._borne = at_once, borne
        self.waiting: deque[Callable[[], None]] = deque()

    def add(self, tell: Callable[[], None]) -> None:
        """Call `tell` when its turn comes."""
        if not self.waiting:
            asyncio.get_running_loop().call_later(PAUSE_SECONDS, self._tell)
        self.waiting.append(tell)

    def _tell(self) -> None:
        least = len(self.waiting) * PAUSE_SECONDS / TOLD_SECONDS
        for _ in range(min(ceil(min(self.at_once, max(least, self._borne()))), len(self.waiting))):
            self.waiting.popleft()()
        if self.waiting:
            asyncio.get_running_loop().call_later(PAUSE_SECONDS, self._tell)

"""When changes are put into their order: one task a process, however many databases it serves.

What goes in: databases, each with who listens there and when this process has written. What comes out: `Sequencer`s that are
visited. What may be refused here: nothing; what goes wrong at one database is told by its sequencer, and stops no other.

Where somebody listens, a database is visited at once when this process has written there, and every few milliseconds for what
others did: the more such databases, the longer. Where nobody does it is visited as time passes: a database that is `steady`
always, others when this process has written there.
"""

from __future__ import annotations

import asyncio
from time import monotonic

from graph.database import Database
from graph.feed.sequence import IDLE_SECONDS, LISTENING_SECONDS, Sequencer

#: Databases that are visited at the same time.
AT_ONCE = 4
#: For each database where somebody listens so long is waited at least until all of them are visited again.
EACH_SECONDS = 0.002


class Rota:
    """Visits the sequencers of a process; where the databases have one writer each there is nothing to be visited for."""

    def __init__(self, *, one_writer: bool = False) -> None:
        self.idle_seconds = IDLE_SECONDS
        self.one_writer = one_writer
        self._known: set[Sequencer] = set()
        self._steady: set[Sequencer] = set()
        self._listening: set[Sequencer] = set()
        #: Since when.
        self._waiting: dict[Sequencer, float] = {}
        self._failing: dict[Sequencer, float] = {}
        self._visits: dict[Sequencer, asyncio.Task[None]] = {}
        self._rung = asyncio.Event()
        self._turns = asyncio.Semaphore(AT_ONCE)

    def sequencer(self, database: Database, *, steady: bool = False) -> Sequencer:
        """The sequencer of a database, visited from now on."""
        made = Sequencer(database, self._ring)
        self._known.add(made)
        if steady:
            self._steady.add(made)
        return made

    def leave(self, sequencer: Sequencer) -> None:
        """Visit a sequencer no more."""
        for some in (self._known, self._steady, self._listening):
            some.discard(sequencer)
        for since in (self._waiting, self._failing):
            since.pop(sequencer, None)

    def pace(self) -> float:
        """How long it takes until what others did is looked for again where somebody listens."""
        return max(LISTENING_SECONDS, EACH_SECONDS * len(self._listening))

    def _ring(self, sequencer: Sequencer) -> None:
        if sequencer not in self._known:
            return
        (self._listening.add if sequencer.listening else self._listening.discard)(sequencer)
        if not self.one_writer:
            self._waiting.setdefault(sequencer, monotonic())
            if sequencer.listening:
                self._rung.set()

    def lag(self) -> float:
        """For how long the oldest change that this process has heard of may wait for its position."""
        now = monotonic()
        return now - min([*self._waiting.values(), *self._failing.values()], default=now)

    async def run(self) -> None:
        """Visit until cancelled."""
        if self.one_writer:
            return
        clock = asyncio.get_running_loop().time
        tick, idle = clock(), clock() + self.idle_seconds
        try:
            while True:
                await self._rest((min(tick, idle) if self._listening else idle) - clock())
                now = clock()
                idle = min(idle, now + self.idle_seconds)
                due = {each for each in self._waiting if each.listening}
                if now >= tick:
                    self._listening = {each for each in self._listening if each.listening}
                    due |= self._listening - self._failing.keys()  # who has written has seen that the database answers
                    tick = now + self.pace()
                if now >= idle:
                    due |= self._steady | self._waiting.keys() | self._failing.keys()
                    idle = now + self.idle_seconds
                for each in due - self._visits.keys():
                    since = self._waiting.pop(each, monotonic())
                    self._visits[each] = asyncio.create_task(self._visit(each, since))
        finally:
            for task in self._visits.values():
                task.cancel()

    async def _rest(self, seconds: float) -> None:
        """Wait, or until there is something to do."""
        try:
            async with asyncio.timeout(seconds):
                await self._rung.wait()
        except TimeoutError:
            pass
        self._rung.clear()

    async def _visit(self, sequencer: Sequencer, since: float) -> None:
        """Number all that waits there. Others get their turn between two batches."""
        try:
            more = True
            while more:
                async with self._turns:
                    more = await sequencer.visit()
        finally:
            del self._visits[sequencer]
            if sequencer.failing and sequencer in self._known:
                self._failing.setdefault(sequencer, since)
            else:
                self._failing.pop(sequencer, None)
            if sequencer in self._waiting and sequencer.listening:
                self._rung.set()  # rung meanwhile

"""The heartbeat: how old what a replica shows may be at most, told without comparing the clocks of two machines.

What goes in: connections to the primary for it alone, a number of seconds. What comes out: the beat that a replica must show.
What may be refused here: nothing; a beat that fails is told once, and the next one follows.

A process writes numbers to a row of its own on the primary, and notes by its own clock when it sent each. Whoever shows a number
shows all that was acknowledged to anybody before that number was sent: its COMMIT is behind all of theirs in the log. Numbers of
a process are never used again, so no server that went another way can show one by chance.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable
from random import SystemRandom
from time import monotonic

import sqlalchemy as sa

from graph.base import Base, UtcDateTime
from graph.database.failures import Unavailable
from graph.database.places import placed
from graph.database.protocol import Connections

logger = logging.getLogger("ordergraph.database")

#: A row for each process that reads from replicas.
HEARTBEATS = sa.Table(
    "heartbeat",
    Base.metadata,
    sa.Column("process", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("beat", sa.BigInteger, nullable=False),
    sa.Column("at", UtcDateTime, nullable=False),
)
BEAT = """
INSERT INTO "[shop]".heartbeat (process, beat, at) VALUES ($1::bigint, $2::bigint, now())
ON CONFLICT (process) DO UPDATE SET beat = excluded.beat, at = excluded.at
"""
#: Rows of processes that are gone, by the primary's own clock alone.
FORGOTTEN = """DELETE FROM "[shop]".heartbeat WHERE at < now() - interval '1 day'"""
#: How often it beats at least, and how many beats there are in the time that a replica may be behind.
LONGEST_SECONDS, PARTS = 1.0, 4


class Heartbeat:
    """The beats of one process, on connections of its own. `process` is its number, drawn when it begins to beat."""

    def __init__(
        self, primary: Connections, max_lag_seconds: float, clock: Callable[[], float] = monotonic, place: str = ""
    ) -> None:
        self.process = 0
        #: What stands before the name of its table, which is none of a shop's.
        self.place = place
        self._primary = primary
        self._max_lag_seconds = max_lag_seconds
        self._clock = clock
        self._beats: deque[tuple[float, int]] = deque()
        self._last = 0

    def required(self) -> int | None:
        """The beat that a replica must show to be asked now; nothing where none was sent of late, and no replica will do."""
        oldest = self._clock() - self._max_lag_seconds
        while self._beats and self._beats[0][0] < oldest:
            self._beats.popleft()
        return self._beats[0][1] if self._beats else None

    async def beat(self) -> None:
        """Beat once. One that fails may be there all the same, and says no more than it shows."""
        self._last += 1
        self._beats.append((self._clock(), self._last))
        await self._primary.fetch(placed(BEAT, self.place), [self.process, self._last], 0)

    async def run(self) -> None:
        """Beat until cancelled."""
        self.process = SystemRandom().randrange(1, 2**63)
        failing = forgotten = False
        while True:
            try:
                await self.beat()
                if not forgotten:
                    await self._primary.fetch(placed(FORGOTTEN, self.place), [], 0)
                    forgotten = True
            except Exception as error:
                if not failing:
                    bug = None if isinstance(error, Unavailable) else error
                    logger.warning("No heartbeat, so the primary alone answers queries before long: %s", error, exc_info=bug)
                failing = True
            else:
                if failing:
                    logger.info("The heartbeat is back")
                failing = False
            await asyncio.sleep(min(LONGEST_SECONDS, self._max_lag_seconds / PARTS))

    async def close(self) -> None:
        """Close its connections."""
        await self._primary.close()

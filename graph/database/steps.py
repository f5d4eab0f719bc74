"""What nobody waits for: done in small steps, in nobody's way, by any number of processes at once.

What goes in: a function that does one step in a transaction of its own and says how much it did, and how much a full step is.
What comes out: how much was done. What may be refused here: what a transaction may be refused for, as
`graph.database.transactions` says; whoever keeps stepping tells of it once, and tries again.
"""

from __future__ import annotations

import asyncio
import logging
import math
import random
from collections.abc import Awaitable, Callable

from graph.database import Database
from graph.database.failures import TransientError, Unavailable

Step = Callable[[Database], Awaitable[int]]

#: How long is rested after a full step, behind which there may be more: so many times what the step took, and no less than this.
SHARE, SHORTEST_REST_SECONDS = 10, 0.1


async def all_steps(database: Database, step: Step, full: int, seconds: float = math.inf) -> int:
    """Step until there is nothing left to do, or for so long; how much was done. Between two steps others get their turn."""
    clock, done = asyncio.get_running_loop().time, 0
    over = clock() + seconds
    while True:
        begun = clock()
        some = await step(database)
        done += some
        if some < full or clock() > over:
            return done
        await asyncio.sleep(clock() - begun)


async def keep_stepping(
    database: Database, step: Step, full: int, interval_seconds: float, what: str, logger: logging.Logger
) -> None:
    """Step as there is something to do, until cancelled. What goes wrong is told when it begins and when it is over."""
    clock = asyncio.get_running_loop().time
    failing, more, took = False, False, 0.0
    while True:
        # Servers that were started together do not come together.
        rest = max(SHORTEST_REST_SECONDS, SHARE * took) if more else interval_seconds * random.uniform(1, 1.5)
        await asyncio.sleep(rest)
        begun = clock()
        try:
            more = await step(database) == full
        except Exception as error:
            more = False
            if not failing:
                bug = None if isinstance(error, (TransientError, Unavailable)) else error
                logger.warning("%s cannot be deleted; tried again as time passes: %s", what, error, exc_info=bug)
            failing = True
        else:
            if failing:
                logger.info("%s are deleted again", what)
            failing = False
        took = clock() - begun

"""What is done at every shop as time passes, one shop after another: a process that was killed leaves nothing undone for ever.

What goes in: the shops that are served. What comes out: changes that get their positions, keys and changes past their time that
are deleted. What may be refused here: nothing; what goes wrong is told when it begins and when it is over, and stops no turn of
another shop.

A turn is one small statement where there is nothing to do. A round of all shops takes a minute, and more where there are more
than 600 of them.
"""

from __future__ import annotations

import asyncio
import logging
import random

from graph.database.failures import TransientError, Unavailable
from graph.database.steps import all_steps
from graph.feed import purge
from graph.feed.leftovers import leftovers
from graph.operations.request_errors import RequestRefused
from graph.serve.kept_shops import KeptShops
from graph.serve.shopfront import Shopfront
from graph.write import expired_keys

logger = logging.getLogger("ordergraph.shops")

#: How long a round of all shops takes at least, and how long it is until the next shop's turn.
ROUND_SECONDS, BETWEEN_SECONDS = 60.0, 0.1
#: How long one shop's turn may delete keys, and changes; the rest waits for its next one.
DELETE_SECONDS = 2.0


async def take_turns(kept: KeptShops) -> None:
    """Give every shop its turn, round after round, until cancelled."""
    failing = False
    while True:
        names = [shop.name for shop in kept.directory.served()]
        random.shuffle(names)  # servers that were started together do not come together
        rest = max(BETWEEN_SECONDS, ROUND_SECONDS / max(1, len(names)))
        for name in names:
            await asyncio.sleep(rest)
            try:
                async with kept.visited(name) as front:
                    await turn(front)
            except RequestRefused:
                continue  # it is served no more
            except Exception as error:
                if not failing:
                    bug = None if isinstance(error, (TransientError, Unavailable)) else error
                    told = "A shop cannot be kept in order; tried again in its next turn: %s"
                    logger.warning(told, error, exc_info=bug, extra={"measured": {"shop": name}})
                failing = True
            else:
                failing = False
        if not names:
            await asyncio.sleep(rest)


async def turn(front: Shopfront) -> None:
    """Do what waits at a shop."""
    database = front.database
    found = await leftovers(database)
    if found.unnumbered:
        front.sequencer.ring()
    if found.keys:
        await all_steps(database, expired_keys.purge_some, expired_keys.STEP, DELETE_SECONDS)
    if found.changes:
        await all_steps(database, purge.purge_some, purge.STEP, DELETE_SECONDS)

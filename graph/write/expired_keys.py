"""Idempotency keys past their time: deleted in small steps, by the server as it runs and by `ordergraph purge-keys`.

What goes in: a `Database`. What comes out: how many keys are gone. What may be refused here: what a transaction may be refused
for, as `graph.database.transactions` says; the server tells of it once, and tries again.

A step takes its turn as every write does, holds few rows, and leaves those that somebody else holds: any number of servers may do
it at once.
"""

from __future__ import annotations

import asyncio
import logging
import random
from datetime import timedelta

import sqlalchemy as sa

from graph.base import utc_now
from graph.database import Database
from graph.write.idempotency import KEYS

logger = logging.getLogger("ordergraph.keys")

#: Keys that one step deletes at most: about 10 ms of a turn, among 100,000 keys on a machine that is busy.
STEP = 100
#: How long is rested after a full step, behind which there may be more: so many times what the step took, and no less than this.
SHARE, SHORTEST_REST_SECONDS = 10, 0.1


async def purge_some(database: Database) -> int:
    """Delete the oldest keys past their time, at most `STEP`; how many there were. What others hold is left to them."""
    settings = database.settings
    oldest = utc_now() - timedelta(seconds=settings.idempotency_seconds)
    expired = sa.select(KEYS.c.client, KEYS.c.key).where(KEYS.c.created_at < oldest).order_by(KEYS.c.created_at).limit(STEP)
    some = expired.with_for_update(skip_locked=True).cte("some")  # SQLite has one writer, and no such clause
    statement = sa.delete(KEYS).where(sa.tuple_(KEYS.c.client, KEYS.c.key).in_(sa.select(some.c.client, some.c.key)))
    counted = statement.returning(KEYS.c.created_at)  # SQLite's driver counts no rows behind a WITH
    async with database.session() as session:

        async def work() -> int:
            return len((await session.execute(counted)).all())

        deadline = asyncio.get_running_loop().time() + settings.request_timeout_seconds
        return await database.transaction(session, work, deadline)


async def purge(database: Database) -> int:
    """Delete all keys past their time; how many there were. Between two steps others get their turn."""
    clock, deleted = asyncio.get_running_loop().time, 0
    while True:
        begun = clock()
        some = await purge_some(database)
        deleted += some
        if some < STEP:
            return deleted
        await asyncio.sleep(clock() - begun)


async def keep_purging(database: Database) -> None:
    """Delete keys past their time as they come, until cancelled. What goes wrong is told when it begins and when it is over."""
    clock = asyncio.get_running_loop().time
    interval, failing, full, took = database.settings.idempotency_purge_seconds, False, False, 0.0
    while True:
        # Servers that were started together do not come together.
        rest = max(SHORTEST_REST_SECONDS, SHARE * took) if full else interval * random.uniform(1, 1.5)
        await asyncio.sleep(rest)
        begun = clock()
        try:
            full = await purge_some(database) == STEP
        except Exception:
            full = False
            if not failing:
                logger.warning("Idempotency keys past their time cannot be deleted; tried again as time passes", exc_info=True)
            failing = True
        else:
            if failing:
                logger.info("Idempotency keys past their time are deleted again")
            failing = False
        took = clock() - begun

"""Idempotency keys past their time: deleted in small steps, by the server as it runs and by `ordergraph purge-keys`.

What goes in: a `Database`. What comes out: how many keys are gone. What may be refused here: what `graph.database.steps` says.

A step takes its turn as every write does, holds few rows, and leaves those that somebody else holds: any number of servers may do
it at once.
"""

from __future__ import annotations

import asyncio
import logging
from datetime import timedelta

import sqlalchemy as sa

from graph.base import utc_now
from graph.database import Database
from graph.database.steps import all_steps, keep_stepping
from graph.write.idempotency import KEYS

logger = logging.getLogger("ordergraph.keys")

#: Keys that one step deletes at most: about 10 ms of a turn, among 100,000 keys on a machine that is busy.
STEP = 100


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
    """Delete all keys past their time; how many there were."""
    return await all_steps(database, purge_some, STEP)


async def keep_purging(database: Database) -> None:
    """Delete keys past their time as they come, until cancelled."""
    interval = database.settings.idempotency_purge_seconds
    await keep_stepping(database, purge_some, STEP, interval, "Idempotency keys past their time", logger)

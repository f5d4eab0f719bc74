"""Changes past their time: deleted in small steps, by the server as it runs and by `ordergraph purge-changes`.

What goes in: a `Database`. What comes out: how many changes are gone. What may be refused here: what `graph.database.steps` says.

What goes are the first ones in their order and none behind one that stays, so the oldest that is left says whose cursor is too
old, and nobody skips a hole. Nothing is passed over that somebody else holds, as it is where keys are deleted: that would leave
one. The last change stays, whatever its age: it says where the feed is.
"""

from __future__ import annotations

import asyncio
import logging
from datetime import timedelta

import sqlalchemy as sa

from graph.base import utc_now
from graph.database import Database
from graph.database.steps import all_steps, keep_stepping
from graph.feed.outbox import ChangeRow

logger = logging.getLogger("ordergraph.feed")

#: Changes that one step deletes at most, and how often a server looks for those past their time.
STEP, INTERVAL_SECONDS = 500, 60.0


async def purge_some(database: Database) -> int:
    """Delete the first changes past their time, at most `STEP`; how many they were."""
    settings = database.settings
    expired = utc_now() - timedelta(seconds=settings.changes_seconds)
    position = ChangeRow.position
    first = sa.select(position, ChangeRow.at).where(position.is_not(None)).order_by(position).limit(STEP).cte("first")
    stays = sa.select(sa.func.min(first.c.position)).where(first.c.at >= expired).scalar_subquery()
    last = sa.select(sa.func.max(position)).scalar_subquery()
    end = sa.select(sa.func.max(first.c.position)).scalar_subquery()
    statement = sa.delete(ChangeRow).where(position <= end, position < sa.func.coalesce(stays, last), position < last)
    async with database.session() as session:

        async def work() -> int:
            gone = await session.execute(statement.returning(ChangeRow.id), execution_options={"synchronize_session": False})
            return len(gone.all())

        deadline = asyncio.get_running_loop().time() + settings.request_timeout_seconds
        return await database.transaction(session, work, deadline)


async def purge(database: Database) -> int:
    """Delete all changes past their time; how many they were."""
    return await all_steps(database, purge_some, STEP)


async def keep_purging(database: Database) -> None:
    """Delete changes past their time as they come, until cancelled."""
    await keep_stepping(database, purge_some, STEP, INTERVAL_SECONDS, "Changes past their time", logger)

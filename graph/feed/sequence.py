"""The order of changes: positions given to what has become visible in the outbox, on PostgreSQL.

What goes in: a `Database`. What comes out: dense positions from 1, in the order of the outbox's ids among what is visible when
they are given. What may be refused here: what a transaction may be refused for; `Sequencer.visit` tells of it once, and goes on.

An id is drawn before its transaction commits, so whoever read by ids would pass those that come late. A position is given after
that, by one sequencer at a time: it locks the head *first*, and looks in a *later* statement, which sees all that its
predecessors did. Two statements in one would number the same rows twice. A row's id is drawn after its root is locked, so the
order is that of a root's versions. Nothing rests on transaction ids: a long transaction of somebody else stalls nobody.

Every process that serves takes part, whether anybody listens there or not. SQLite has one writer at a time: he gives the
positions.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any

from graph.database import Database, rows_within
from graph.database.failures import TransientError, Unavailable

logger = logging.getLogger("ordergraph.feed")

#: How many changes one transaction numbers at most.
BATCH = 1_000
#: How long the outbox is left alone where somebody listens in this process, and where nobody does.
LISTENING_SECONDS, IDLE_SECONDS = 0.02, 1.0

#: In this form the partial index serves it whatever the statistics say; an EXISTS took a scan of the table.
WAITING = 'SELECT id FROM "[shop]".changes WHERE position IS NULL ORDER BY id LIMIT $1::bigint'
#: The oldest has the least id, or where ids are drawn from several ranges, as by the nodes of Citus, one is near the greatest.
SINCE = """
SELECT min(at) FROM ((SELECT at FROM "[shop]".changes WHERE position IS NULL ORDER BY id LIMIT 1)
    UNION ALL (SELECT at FROM "[shop]".changes WHERE position IS NULL ORDER BY id DESC LIMIT 1)) AS ends
"""
#: Who finds it held leaves the work to its holder.
HELD = 'SELECT id FROM "[shop]".changes_head WHERE id = 1 FOR UPDATE SKIP LOCKED'
#: Each part of it sees the head as it was before. By an array rows are looked up one by one, whatever the statistics say of how
#: many wait: joined as rows they had the whole table read each time, where statistics were taken in the midst of an import.
NUMBERED = f"""
WITH waiting AS MATERIALIZED (SELECT array_agg(id ORDER BY id) AS ids FROM ({WAITING}) AS first),
numbered AS (UPDATE "[shop]".changes
    SET position = (SELECT position FROM "[shop]".changes_head WHERE id = 1) + array_position(ids, changes.id)
    FROM waiting WHERE changes.id = ANY (ids))
UPDATE "[shop]".changes_head SET position = position + cardinality(ids) FROM waiting
WHERE changes_head.id = 1 AND ids IS NOT NULL RETURNING cardinality(ids)
"""  # noqa: S608  # no client's text is in it


async def number_some(database: Database) -> int:
    """Number the first changes without a position that are visible, at most `BATCH`; how many they were.

    Only a look costs where there are none, and nothing is done where somebody else numbers at this moment.
    """
    if database.capabilities.one_writer or await database.fetch(database.text(WAITING), [1]) is None:
        return 0
    async with database.session() as session:

        async def work() -> int:
            if not await rows_within(session, database.text(HELD), []):
                return 0
            numbered = await rows_within(session, database.text(NUMBERED), [BATCH])
            return numbered[0][0] if numbered else 0

        deadline = asyncio.get_running_loop().time() + database.settings.request_timeout_seconds
        return await database.transaction(session, work, deadline)


async def waiting_since(database: Database) -> datetime | None:
    """When the oldest change without a position was made, or one soon after it; None where all have one."""
    since: datetime | None = None if database.capabilities.one_writer else await database.fetch(database.text(SINCE), [])
    return since


class Sequencer:
    """Numbers the changes of a database when it is visited (`graph.feed.rota`), which it rings for.

    `listening` is how many listen in this process; `numbered` are called when some have got their positions by this process.
    """

    def __init__(self, database: Database, rung: Callable[[Sequencer], None] = lambda _: None) -> None:
        self.database = database
        self.listening = 0
        self.numbered: list[Callable[[], None]] = []
        self.failing = False
        self._rung = rung
        database.listeners.append(self.ring)

    def ring(self, _: Sequence[Any] = ()) -> None:
        """Something may wait to be numbered: this process has written, or somebody begins to listen."""
        self._rung(self)

    async def visit(self) -> bool:
        """Number some changes; whether there may be more. What goes wrong is told when it begins and when it is over."""
        of_shop = {"measured": {"shop": self.database.shop}}
        try:
            some = await number_some(self.database)
        except Exception as error:
            if not self.failing:
                bug = None if isinstance(error, (TransientError, Unavailable)) else error
                told = "Changes cannot be put into their order; tried again as time passes: %s"
                logger.warning(told, error, exc_info=bug, extra=of_shop)
            self.failing = True
            return False
        if self.failing:
            logger.info("Changes are put into their order again", extra=of_shop)
        self.failing = False
        for each in self.numbered if some else ():
            each()
        return some == BATCH

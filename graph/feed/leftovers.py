"""What waits at a database to be done beside requests: asked by one small statement, so that many can be asked in turn.

What goes in: a `Database`. What comes out: `Leftovers`. What may be refused here: `Unavailable`.
"""

from __future__ import annotations

from datetime import timedelta
from typing import NamedTuple

import orjson

from graph.base import utc_now
from graph.database import Database
from graph.feed.outbox import ChangeRow
from graph.write.columns import stored

#: Whether a change waits for its position; whether the oldest key, and the first change but the last one, are past their time.
POSTGRES = """
SELECT json_build_array(
    (SELECT id FROM "[shop]".changes WHERE position IS NULL ORDER BY id LIMIT 1) IS NOT NULL,
    (SELECT created_at FROM "[shop]".idempotency_key ORDER BY created_at LIMIT 1) < $1::timestamptz,
    (SELECT min(at) FROM (SELECT at FROM "[shop]".changes WHERE position IS NOT NULL ORDER BY position LIMIT 2) AS two
        HAVING count(*) = 2) < $2::timestamptz)::text
"""
SQLITE = """
SELECT json_array(
    0,
    (SELECT created_at FROM idempotency_key ORDER BY created_at LIMIT 1) < ?1,
    (SELECT min(at) FROM (SELECT at FROM changes ORDER BY position LIMIT 2) HAVING count(*) = 2) < ?2)
"""


class Leftovers(NamedTuple):
    """Whether there are changes without a position, and idempotency keys and changes past their time."""

    unnumbered: bool
    keys: bool
    changes: bool


async def leftovers(database: Database) -> Leftovers:
    """What waits at a database. Raises `Unavailable`."""
    settings, now = database.settings, utc_now()
    times = [now - timedelta(seconds=seconds) for seconds in (settings.idempotency_seconds, settings.changes_seconds)]
    at = ChangeRow.__mapper__.columns["at"]
    sql = database.text(POSTGRES) if database.capabilities.arrays else SQLITE
    found = await database.fetch(sql, [stored(at, time, database.dialect) for time in times])
    return Leftovers(*map(bool, orjson.loads(found)))

"""What waits at a database to be done beside requests: asked by one small statement, so that many can be asked in turn.

What goes in: a `Database`. What comes out: `Leftovers`. What may be refused here: `Unavailable`.
"""

from __future__ import annotations

from datetime import timedelta
from typing import NamedTuple

import orjson
import sqlalchemy as sa

from graph.base import utc_now
from graph.database import Database, once_a_kind
from graph.feed.outbox import ChangeRow
from graph.read.planning.arguments import Given
from graph.read.sql.json import encode, joined, json_tuple
from graph.read.sql.statement import Statement
from graph.read.sql.writer import Writer
from graph.scope import SERVER
from graph.write.idempotency import KEYS


class Leftovers(NamedTuple):
    """Whether there are changes without a position, and idempotency keys and changes past their time."""

    unnumbered: bool
    keys: bool
    changes: bool


async def leftovers(database: Database) -> Leftovers:
    """What waits at a database. Raises `Unavailable`."""
    settings, now = database.settings, utc_now()
    times = {"keys": settings.idempotency_seconds, "changes": settings.changes_seconds}
    statement = _statement(database.dialect)
    arguments = statement.arguments({name: now - timedelta(seconds=seconds) for name, seconds in times.items()})
    return Leftovers(*orjson.loads(await database.fetch(statement.sql, arguments)))


@once_a_kind
def _statement(dialect: sa.Dialect) -> Statement:
    """Whether a change waits for its position; whether the oldest key, and the first change but the last one, are too old."""
    writer = Writer(dialect, SERVER)
    one, two = (sa.literal_column(text, sa.Integer()) for text in "12")
    position, at, made = ChangeRow.position, ChangeRow.at, KEYS.c.created_at
    # Not by EXISTS, which takes a scan of the table on stale statistics.
    waiting = sa.select(ChangeRow.id).where(position.is_(None)).order_by(ChangeRow.id).limit(one).scalar_subquery()
    oldest = sa.select(made).order_by(made).limit(one).scalar_subquery()
    first = sa.select(at).where(position.is_not(None)).order_by(position).limit(two).subquery("two")
    change = sa.select(sa.func.min(first.c.at)).having(sa.func.count() == two).scalar_subquery()
    told = (
        waiting.is_not(None),
        oldest < writer.bind(Given(("keys",)), made.type),
        change < writer.bind(Given(("changes",)), at.type),
    )
    return writer.spelled(sa.select(joined(json_tuple(encode("Boolean", each, nullable=False) for each in told))))

"""Unique keys that one input frees and takes: what goes, goes first, and what swaps keys steps aside.

What goes in: a graph and a session's changes, not flushed, after the database has refused them once; so nothing is paid where no
key changes hands. What comes out: rows deleted before the flush inserts, and keys that other rows want put on values nobody has.
What may be refused here: where no such value satisfies the column's constraints, the later row of the two, with UNIQUE.

The unit of work inserts and updates before it deletes, and SQLite cannot defer a unique constraint.
"""

from __future__ import annotations

import uuid
from collections import defaultdict
from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

import sqlalchemy as sa
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Mapper
from sqlalchemy.orm.attributes import flag_modified

from graph.base import Choice
from graph.write.changes import Changes
from graph.write.columns import attribute_name
from graph.write.constraints import unique_error
from graph.write.errors import MutationError
from graph.write.object_graph import Graph
from graph.write.unique_keys import held, wanted


async def delete_first(graph: Graph, changes: Changes) -> None:
    """Delete what the flush would delete in the end; what is below it goes by cascades. The flush finds it gone."""
    if _leaves_deleted(changes):
        return  # a row that leaves a parent that goes would go with it
    keys: dict[Any, list[int]] = defaultdict(list)
    for row in changes.deleted:
        keys[type(row).__mapper__.local_table].append(row.id)
    for table in reversed(next(iter(keys)).metadata.sorted_tables if keys else ()):
        if table in keys:
            await graph.session.execute(sa.delete(table).where(table.c.id.in_(keys[table])))


def _leaves_deleted(changes: Changes) -> bool:
    gone = {(type(row).__mapper__.local_table, row.id) for row in changes.deleted}
    for row in changes.dirty if gone else ():
        mapper = type(row).__mapper__
        for column in mapper.local_table.columns:
            for key in column.foreign_keys:
                if (key.column.table, held(mapper, row, column)) in gone:
                    return True
    return False


async def step_aside(graph: Graph, changes: Changes) -> list[MutationError]:
    """Put every key that another row of the input takes on a value nobody has. The errors are those of rows that cannot."""
    found: list[MutationError] = []
    by_mapper: dict[Mapper[Any], list[Any]] = defaultdict(list)
    for row in (*changes.new, *changes.dirty):
        by_mapper[type(row).__mapper__].append(row)
    for mapper, rows in by_mapper.items():
        table: Any = mapper.local_table
        for constraint in sorted(table.constraints, key=lambda c: str(c.name)):
            if isinstance(constraint, sa.UniqueConstraint):
                takers = {token: row for row in rows if (token := wanted(graph, mapper, constraint, row)) is not None}
                pairs = []
                for row in rows:
                    old = wanted(graph, mapper, constraint, row, before=True)
                    taker = None if old is None else takers.get(old)
                    if taker is not None and taker is not row:
                        pairs.append((row, taker))
                if pairs and not await _park(graph, mapper, constraint, [row for row, _ in pairs]):
                    found += [_refused(graph, mapper, constraint, *pair) for pair in pairs]
    return list({tuple(error.path): error for error in found}.values())


def _refused(graph: Graph, mapper: Mapper[Any], constraint: sa.UniqueConstraint, holder: Any, taker: Any) -> MutationError:
    later = graph.last([holder, taker])
    other = holder if later is taker else taker
    return unique_error(graph, mapper, constraint, later, other.id if sa.inspect(other).persistent else None)


async def _park(graph: Graph, mapper: Mapper[Any], constraint: sa.UniqueConstraint, rows: Sequence[Any]) -> bool:
    """Whether one of the columns of a constraint could be set to other values in these rows. The flush sets it again."""
    table: Any = mapper.local_table
    connection = await graph.session.connection()  # a savepoint of the session's would flush
    for column in constraint.columns:
        if column.computed is not None or column.foreign_keys or column.primary_key:
            continue
        update = sa.update(table).where(table.c.id == sa.bindparam("parked_id")).values({column: sa.bindparam("parked")})
        greatest = (await connection.execute(sa.select(sa.func.min(column), sa.func.max(column)))).one()
        for values in _nobodys(column, *greatest, len(rows)):
            try:
                async with connection.begin_nested():
                    given = [{"parked_id": row.id, "parked": value} for row, value in zip(rows, values, strict=True)]
                    await connection.execute(update, given)
            except DBAPIError:
                continue  # a constraint, or the type, does not allow it
            for row in rows:
                flag_modified(row, attribute_name(mapper, column))
            return True
    return False


def _nobodys(column: Any, least: Any, greatest: Any, count: int) -> Iterator[list[Any]]:
    """Lists of values that no row of a table has, as the column's type allows them."""
    if column.nullable:
        yield [None] * count
    if isinstance(column.type, (Choice, sa.Boolean)):
        return
    if isinstance(greatest, str):
        length = getattr(column.type, "length", None)
        yield [uuid.uuid4().hex[:length] for _ in range(count)]
    elif isinstance(greatest, uuid.UUID):
        yield [uuid.uuid4() for _ in range(count)]
    elif isinstance(greatest, (int, Decimal, datetime)):
        one: Any = timedelta(seconds=1) if isinstance(greatest, datetime) else 1
        for start, step in ((greatest, one), (least, -one)):
            try:
                yield [start + step * (number + 1) for number in range(count)]
            except OverflowError:
                continue

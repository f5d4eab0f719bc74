"""Unique keys that one input frees and takes: what goes, goes first, and what swaps keys steps aside.

What goes in: a graph and a session's changes, not flushed, after the database has refused them once; so nothing is paid where no
key changes hands. What comes out: rows deleted before the flush inserts, and keys that other rows want put on values nobody has.
What may be refused here: where no such value satisfies the column's constraints, the later row of the two, with UNIQUE.

The unit of work inserts and updates before it deletes, and SQLite cannot defer a unique constraint.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import Mapper
from sqlalchemy.orm.attributes import flag_modified

from graph.base import Base
from graph.write import door
from graph.write.columns import attribute_name
from graph.write.constraints import unique_error
from graph.write.errors import MutationError
from graph.write.free_values import Move, move_aside
from graph.write.object_graph import Graph
from graph.write.pending import PendingRows
from graph.write.unique_keys import UniqueKey, held, is_key, unique_keys, value_of, wanted


async def delete_first(graph: Graph, changes: PendingRows) -> None:
    """Delete what the flush would delete in the end; what is below it goes by cascades. The flush finds it gone."""
    if _leaves_deleted(changes):
        return  # a row that leaves a parent that goes would go with it
    keys: dict[type[Base], list[int]] = defaultdict(list)
    for row in changes.deleted:
        keys[type(row)].append(row.id)
    tables = next(iter(keys)).metadata.sorted_tables if keys else []
    for model in sorted(keys, key=lambda model: tables.index(model.__mapper__.local_table), reverse=True):  # type: ignore[arg-type]  # a table
        await door.delete(graph, model, keys[model])


def _leaves_deleted(changes: PendingRows) -> bool:
    gone = {(type(row).__mapper__.local_table, row.id) for row in changes.deleted}
    for row in changes.dirty if gone else ():
        mapper = type(row).__mapper__
        for column in mapper.local_table.columns:
            for key in column.foreign_keys:
                if (key.column.table, held(mapper, row, column)) in gone:
                    return True
    return False


async def step_aside(graph: Graph, changes: PendingRows) -> list[MutationError]:
    """Put every key that another row of the input takes on a value nobody has. The errors are those of rows that cannot."""
    found: list[MutationError] = []
    by_mapper: dict[Mapper[Any], list[Any]] = defaultdict(list)
    for row in (*changes.new, *changes.dirty):
        by_mapper[type(row).__mapper__].append(row)
    for mapper, rows in by_mapper.items():
        for constraint in unique_keys(mapper.local_table):
            takers = {token: row for row in rows if (token := wanted(graph, mapper, constraint, row)) is not None}
            pairs = []
            for row in rows:
                old = wanted(graph, mapper, constraint, row, before=True)
                taker = None if old is None else takers.get(old)
                if taker is not None and taker is not row:
                    pairs.append((row, taker))
            if pairs and not await _park(graph, mapper, constraint, [row for row, _ in pairs], rows):
                found += [_refused(graph, mapper, constraint, *pair) for pair in pairs]
    return list({tuple(error.path): error for error in found}.values())


def _refused(graph: Graph, mapper: Mapper[Any], constraint: UniqueKey, holder: Any, taker: Any) -> MutationError:
    later = graph.last([holder, taker])
    other = holder if later is taker else taker
    return unique_error(graph, mapper, constraint, later, other.id if sa.inspect(other).persistent else None)


async def _park(graph: Graph, mapper: Mapper[Any], key: UniqueKey, rows: Sequence[Any], written: Sequence[Any]) -> bool:
    """Whether one of the columns of a key could be set to other values in `rows`. The flush sets it again.

    `written` are all rows of the input: what one of them is to have is no place to step aside to.
    """
    connection = await graph.session.connection()  # a savepoint of the session's would flush
    for column in key.columns:
        if column.computed is not None or column.primary_key:
            continue
        taken = {value for row in written if is_key(value := value_of(mapper, row, column)) and value is not None}
        moves = [Move(row.id, held(mapper, row, column), value_of(mapper, row, column)) for row in rows]
        if await move_aside(connection, column, moves, taken):
            for row in rows:
                flag_modified(row, attribute_name(mapper, column))
            return True
    return False

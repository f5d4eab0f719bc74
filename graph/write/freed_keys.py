"""Unique keys that one input frees and takes: what goes, goes first, and what swaps keys steps aside.

What goes in: a graph and a session's changes, not flushed, after the database has refused them once; so nothing is paid where no
key changes hands. What comes out: rows deleted before the flush inserts, and keys that other rows want put on values nobody has.
What may be refused here: where no such value satisfies the column's constraints, the later row of the two, with UNIQUE.

The unit of work inserts and updates before it deletes, and SQLite cannot defer a unique constraint.
"""

from __future__ import annotations

import random
import string
import sys
import uuid
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import Any

import sqlalchemy as sa
from sqlalchemy.exc import StatementError
from sqlalchemy.ext.asyncio import AsyncConnection
from sqlalchemy.orm import Mapper
from sqlalchemy.orm.attributes import flag_modified

from graph.base import Base, Choice
from graph.write import door
from graph.write.columns import attribute_name
from graph.write.constraints import unique_error
from graph.write.errors import MutationError
from graph.write.object_graph import Graph
from graph.write.pending import PendingRows
from graph.write.unique_keys import UniqueKey, held, is_key, unique_keys, value_of, wanted

#: How often a value is tried that may be taken, and how many when one is tried after the other.
TRIES = 3
FEW = 50


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
        if await _step(connection, column, moves, taken):
            for row in rows:
                flag_modified(row, attribute_name(mapper, column))
            return True
    return False


@dataclass(frozen=True, slots=True)
class Move:
    """What a column of a row holds, and what it is to hold after the flush."""

    key: int
    old: Any
    new: Any


async def _step(connection: AsyncConnection, column: Any, moves: Sequence[Move], taken: set[Any]) -> bool:
    """Whether a column could be set to values nobody has in some rows: in all at once, or else in one after the other."""
    keys = [move.key for move in moves]
    if column.nullable and await _set(connection, column, [(key, None) for key in keys]):
        return True
    if column.foreign_keys:
        return False
    there = sa.select(column).where(column.is_not(None)).limit(1)
    least = (await connection.execute(there.order_by(column.asc()))).scalar_one()
    greatest = (await connection.execute(there.order_by(column.desc()))).scalar_one()
    for values in _nobodys(column, least, greatest, [move.old for move in moves], taken):
        if not taken.intersection(values) and await _set(connection, column, list(zip(keys, values, strict=True))):
            return True
    few = [value for value in await _few(connection, column, least, greatest) if value not in taken]
    try:
        async with connection.begin_nested():
            await _rotate(connection, column, moves, few)
    except NoRoom:
        return False
    return True


class NoRoom(Exception):
    """A row found no value to step aside to."""


async def _rotate(connection: AsyncConnection, column: Any, moves: Sequence[Move], few: Sequence[Any]) -> None:
    """Set rows to what they are to hold as it becomes free, and one to a value nobody wants when none is. Raises `NoRoom`."""
    waiting = list(moves) if len(moves) <= FEW else []
    if not waiting:
        raise NoRoom
    while waiting:
        left = [move for move in waiting if not (is_key(move.new) and await _set(connection, column, [(move.key, move.new)]))]
        if len(left) == len(waiting):
            for value in few:
                if await _set(connection, column, [(left[0].key, value)]):
                    break
            else:
                raise NoRoom
            del left[0]
        waiting = left


async def _set(connection: AsyncConnection, column: Any, values: Sequence[tuple[int, Any]]) -> bool:
    """Whether the database lets a column have these values, each in the row of its key."""
    table = column.table
    update = sa.update(table).where(table.c.id == sa.bindparam("parked_id")).values({column: sa.bindparam("parked")})
    try:
        async with connection.begin_nested():
            await connection.execute(update, [{"parked_id": key, "parked": value} for key, value in values])
    except (StatementError, OverflowError):
        return False  # a constraint, the type or the driver does not allow it
    return True


def _nobodys(column: Any, least: Any, greatest: Any, olds: Sequence[Any], taken: set[Any]) -> Iterator[list[Any]]:
    """Lists of values that most likely no row has: beyond the ends of those that are there, or any of their kind."""
    count = len(olds)
    if isinstance(greatest, str) and not isinstance(column.type, Choice):
        length = getattr(column.type, "length", None)
        yield [uuid.uuid4().hex[:length] for _ in olds]
        for _ in range(TRIES):
            yield [_alike(old) for old in olds]
    for type_, make in MADE.items():
        if isinstance(greatest, type_):
            yield [make() for _ in olds]
    unit = _unit(column, greatest)
    if unit is None:
        return
    alike = [value for value in taken if type(value) is type(greatest)]
    for start, step in ((max([greatest, *alike]), unit), (min([least, *alike]), -unit)):
        with suppress(OverflowError):
            yield [start + step * (number + 1) for number in range(count)]
    steps = int((greatest - least) / unit)
    if 2 * count < steps <= sys.maxsize:
        yield [least + unit * number for number in random.sample(range(steps), count)]


async def _few(connection: AsyncConnection, column: Any, least: Any, greatest: Any) -> list[Any]:
    """The values of a column that has few, those that lie between others, or those that other rows have beside other values."""
    if isinstance(column.type, Choice):
        members: Any = column.type.choices
        return list(members)
    if isinstance(column.type, sa.Boolean):
        return [False, True]
    unit = _unit(column, greatest)
    steps = 0 if unit is None else int((greatest - least) / unit)
    if 0 < steps <= FEW:
        return [least + unit * number for number in range(steps + 1)]
    return list((await connection.execute(sa.select(column).distinct().limit(FEW))).scalars())


def _unit(column: Any, value: Any) -> Any:
    """The least step from one value of a column to the next, or None where its values are not counted."""
    if isinstance(value, bool):
        return None
    if isinstance(value, Decimal):
        return Decimal(1).scaleb(-(getattr(column.type, "scale", None) or 0))
    return next((unit for type_, unit in UNITS.items() if isinstance(value, type_)), None)


def _alike(text: str) -> str:
    """Another text of the same form: letters for letters, digits for digits."""
    kinds = (string.ascii_uppercase, string.ascii_lowercase, string.digits)
    return "".join(next((random.choice(kind) for kind in kinds if char in kind), char) for char in text)


def _any_time() -> time:
    return time(random.randrange(24), random.randrange(60), random.randrange(60), random.randrange(10**6))


#: What makes a value of a type that is not counted.
MADE = {uuid.UUID: uuid.uuid4, bytes: lambda: uuid.uuid4().bytes, time: _any_time}
#: The step from one value to the next.
UNITS: dict[type[Any], Any] = {
    datetime: timedelta(seconds=1),
    date: timedelta(days=1),
    timedelta: timedelta(seconds=1),
    int: 1,
    float: 1.0,
}

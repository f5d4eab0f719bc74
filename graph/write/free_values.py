"""Values that nobody has: where a row's unique key stays while another row takes what it had.

What goes in: a connection, a column of a unique key, the rows that hold what others of the input are to have, and what the input
gives to anybody. What comes out: the column of these rows set to other values, each of which its constraints allow. Nothing is
refused here: where there is no such value, nothing is changed.
"""

from __future__ import annotations

import itertools
import math
import random
import string
import sys
import uuid
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import Any

import sqlalchemy as sa
from sqlalchemy.exc import StatementError
from sqlalchemy.ext.asyncio import AsyncConnection

from graph.base import Choice
from graph.database.failures import trouble
from graph.write.unique_keys import is_key

#: How often values are tried for all rows that may be taken, and how many are when one is tried after the other.
TRIES = 3
FEW = 50
#: A column of how many possible values is asked which of them are free.
COUNTED = 1_000


@dataclass(frozen=True, slots=True)
class Move:
    """What a column of a row holds, and what it is to hold after the flush."""

    key: int
    old: Any
    new: Any


async def move_aside(connection: AsyncConnection, column: Any, moves: Sequence[Move], taken: set[Any]) -> bool:
    """Whether a column could be set to values nobody has in some rows: in all at once, or else in one after the other."""
    keys = [move.key for move in moves]
    if column.nullable and await _set(connection, column, [(key, None) for key in keys]):
        return True
    if column.foreign_keys:
        return False
    end = sa.select(column).where(column.is_not(None)).limit(1)
    least = (await connection.execute(end.order_by(column.asc()))).scalar_one()
    greatest = (await connection.execute(end.order_by(column.desc()))).scalar_one()
    for values in _nobodys(column, least, greatest, [move.old for move in moves], taken):
        if not taken.intersection(values) and await _set(connection, column, list(zip(keys, values, strict=True))):
            return True
    few = [value for value in await _few(connection, column, least, greatest, moves[0].old) if value not in taken]
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
    except (StatementError, OverflowError) as error:
        if trouble(error) is not None:
            raise
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
    steps = _steps(least, greatest, unit)
    for _ in range(TRIES if 2 * count < steps else 0):
        yield [least + unit * number for number in random.sample(range(1, steps), count)]


async def _few(connection: AsyncConnection, column: Any, least: Any, greatest: Any, old: Any) -> list[Any]:
    """Values that one row may have for a while: free ones, and what rows have, which is free beside other values of a key."""
    if isinstance(column.type, Choice):
        members: Any = column.type.choices
        return list(members)
    if isinstance(column.type, sa.Boolean):
        return [False, True]
    there = list((await connection.execute(sa.select(column).where(column.is_not(None)).distinct().limit(COUNTED))).scalars())
    return [*_free(column, least, greatest, old, set(there))[:FEW], *there[:FEW]]


def _free(column: Any, least: Any, greatest: Any, old: Any, there: set[Any]) -> list[Any]:
    """Values of a column's kind that most likely no row has; `there` are those that rows have, or some of them."""
    unit = _unit(column, greatest)
    steps = 0 if unit is None else _steps(least, greatest, unit)
    if isinstance(greatest, str):
        return _others_alike(old, there)
    if steps > COUNTED:
        return [least + unit * number for number in random.sample(range(1, steps), FEW)]
    return [value for number in range(1, steps) if (value := least + unit * number) not in there]


def _steps(least: Any, greatest: Any, unit: Any) -> int:
    """How many units lie between two values, or none where nobody can tell."""
    try:
        return min(int((greatest - least) / unit), sys.maxsize)
    except (OverflowError, ValueError):  # of floats: the infinite ones, and those far apart
        return 0


def _unit(column: Any, value: Any) -> Any:
    """The least step from one value of a column to the next, or None where its values are not counted."""
    if isinstance(value, bool):
        return None
    if isinstance(value, Decimal):
        return Decimal(1).scaleb(-(getattr(column.type, "scale", None) or 0))
    return next((unit for type_, unit in UNITS.items() if isinstance(value, type_)), None)


def _kinds(text: str) -> list[str]:
    """What may stand at each place of a text of the same form: letters for letters, digits for digits."""
    kinds = (string.ascii_uppercase, string.ascii_lowercase, string.digits)
    return [next((kind for kind in kinds if char in kind), char) for char in text]


def _alike(text: str) -> str:
    """Another text of the same form."""
    return "".join(map(random.choice, _kinds(text)))


def _others_alike(text: str, there: set[str]) -> list[str]:
    """Texts of the same form that are not there, or some that most likely are not, where there are many of that form."""
    kinds = _kinds(text)
    if math.prod(map(len, kinds)) > COUNTED:
        return [_alike(text) for _ in range(FEW)]
    return [found for found in map("".join, itertools.product(*kinds)) if found not in there]


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

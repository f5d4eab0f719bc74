"""Keys of new rows, drawn before they are written where the database can do that: of an order and its lines, say.

What goes in: new rows. What comes out: the same with their keys, all drawn by one statement, mostly the one that looks up what
they point to. What may be refused here: nothing; where no keys are given ahead, the INSERT returns them.

Rows that have their keys are inserted by one prepared statement, however many there are and of however many classes
(`graph.database.flushes`). To have keys back SQLAlchemy puts an INSERT together anew for every number of rows, each number is one
more statement for every connection to prepare and keep, and each class is one more way to the database. Rows of one class that
are parts of nothing bring theirs back: where nothing else is written, drawing would be the longer way.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Dialect

from graph.base import Base
from graph.context import Context
from graph.database import capabilities, once_a_kind
from graph.read.sql.bound_lists import padded
from graph.write.pending import put

#: The names of what a draw is told.
PARAMETERS = ("tables", "attributes", "numbers")


@dataclass(slots=True)
class Draw:
    """Rows that wait for keys, table after table, and the parameters of what draws. Then `keys`, by the `id` of their row."""

    waiting: list[Base]
    parameters: dict[str, list[Any]]
    keys: dict[int, int] = field(default_factory=dict)

    def take(self, drawn: Sequence[int]) -> None:
        """Keep the keys that were drawn. Rows get them when they are written: until then they are new."""
        self.keys = {id(row): key for row, key in zip(self.waiting, drawn, strict=True)}


def draw_for(rows: Iterable[Base], dialect: Dialect) -> Draw | None:
    """What is to be drawn for those of the rows that have no key, if anything."""
    if capabilities(dialect).drawn_keys is None:
        return None
    keyless: dict[type[Base], list[Base]] = defaultdict(list)
    for row in rows:
        model = type(row)
        if _is_drawn(model) and row.__dict__.get(_key(model)) is None:
            keyless[model].append(row)
    if len(keyless) < 2 and all(len(rows) < 2 and not model.__root__ for model, rows in keyless.items()):
        return None
    parameters = _told({model: len(rows) for model, rows in keyless.items()}, dialect)
    return Draw([row for rows in keyless.values() for row in rows], parameters)


def _told(numbers: Mapping[type[Base], int], dialect: Dialect) -> dict[str, list[Any]]:
    """What a draw of so many keys for each class is told."""
    tables, attributes = [_table(model, dialect) for model in numbers], [_key(model) for model in numbers]
    lists = padded(tables, tables[0]), padded(attributes, attributes[0]), padded(list(numbers.values()), 0)
    return dict(zip(PARAMETERS, lists, strict=True))


async def give_keys(context: Context, dialect: Dialect, keys: dict[int, int]) -> None:
    """Give the new rows in a session their keys: those drawn before, by the `id` of their row, or drawn now."""
    new: list[Base] = list(context.session.sync_session.new)
    draw = draw_for((row for row in new if id(row) not in keys), dialect)
    if draw is not None:
        keys = keys | await draw_alone(context, dialect, draw)
    for row in new:
        if id(row) in keys:
            put(row, _key(type(row)), keys[id(row)])


async def draw_alone(context: Context, dialect: Dialect, draw: Draw) -> dict[int, int]:
    """Draw by a statement that does nothing else; the keys by the `id` of their row."""
    draw.take(await _ask(context, dialect, draw.parameters))
    return draw.keys


async def _ask(context: Context, dialect: Dialect, told: Mapping[str, Any]) -> Sequence[int]:
    """The keys that a draw gives, table after table, those of each in ascending order."""
    sql, names = _alone(dialect)
    drawn: Sequence[int] = await context.database.fetch_within(context.session, sql, [told[name] for name in names])
    return drawn


async def next_keys(context: Context, dialect: Dialect, numbers: Mapping[type[Base], int]) -> dict[type[Base], Sequence[int]]:
    """So many keys for new rows of each class, in ascending order. Whoever asks inserts the rows next, in the same transaction.

    Where there is one writer at a time, the next keys are known; they are as gone as drawn ones once the rows are written.
    """
    wanted = {model: number for model, number in numbers.items() if number}
    if not wanted:
        return {}
    if capabilities(dialect).drawn_keys is None:
        last = {str(name): int(key) for name, key in await context.database.rows_within(context.session, _last(dialect), [])}
        begins = {model: last.get(model.__tablename__, 0) + 1 for model in wanted}
        return {model: range(begins[model], begins[model] + number) for model, number in wanted.items()}
    drawn = await _ask(context, dialect, _told(wanted, dialect))
    found, start = dict[type[Base], Sequence[int]](), 0
    for model, number in wanted.items():
        found[model] = drawn[start : start + number]
        start += number
    return found


def drawing(statement: sa.Select[Any], dialect: Dialect) -> sa.CompoundSelect[Any]:
    """A SELECT that draws, too: one more row, which is empty but for its end, the keys."""
    drawn, found = _drawn(dialect).subquery("drawn"), statement.subquery("found")
    return sa.union_all(sa.select(*found.c, sa.null()), sa.select(*[sa.null() for _ in found.c], *drawn.c))


def _drawn(dialect: Dialect) -> sa.TextualSelect:
    drawn = capabilities(dialect).drawn_keys
    assert drawn is not None, "asked by one who has a `Draw`"
    return drawn


@once_a_kind
def _alone(dialect: Dialect) -> tuple[str, tuple[str, ...]]:
    """The statement that draws and does nothing else, and its parameters in their order."""
    compiled = _drawn(dialect).compile(dialect=dialect)
    return str(compiled), tuple(compiled.positiontup or ())


@once_a_kind
def _last(dialect: Dialect) -> str:
    """The statement that tells the last key of each table, where none is drawn."""
    last = capabilities(dialect).last_keys
    assert last is not None, "asked where no key is drawn"
    return str(sa.select(last.c.name, last.c.key).compile(dialect=dialect))


@cache
def _is_drawn(model: type[Base]) -> bool:
    """Whether rows of a class get their key from a sequence."""
    return model.__mapper__.primary_key[0].identity is not None


def _table(model: type[Base], dialect: Dialect) -> str:
    """The name of a class's table as SQL spells it."""
    table: Any = model.__mapper__.local_table
    return dialect.identifier_preparer.format_table(table, use_schema=False)


@cache
def _key(model: type[Base]) -> str:
    return str(model.__mapper__.primary_key[0].key)

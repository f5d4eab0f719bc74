"""Upserts: plain rows inserted, or changed where their key is taken, with a counter that they may add to.

What goes in: rows as `Plain` has them. What comes out: a result for each, which says whether it was made. What may be refused
here: what inserting them refuses, a key twice in one list, and a counter that would get below nothing or above its most.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from graph.read.rows import rows as rows_of
from graph.scope import SERVER, Scope
from graph.write import door
from graph.write.answers import Result
from graph.write.column_rows import insert_of
from graph.write.columns import required, stored, type_name
from graph.write.errors import MutationError, Path, Row
from graph.write.locks import Lock, locked
from graph.write.mutation_inputs import ABSENT, given
from graph.write.plain_rows import Plain, in_text, versioned
from graph.write.sight import hides


@dataclass(frozen=True, slots=True)
class Counter:
    """A column that an upsert adds to: its name, the input's field that holds what to add, and that field's GraphQL name.

    `most` is what it holds. `short` tells a viewer, of what is wanted and what is there, that it is too little; `over` that it
    would be too much.
    """

    column: str
    attribute: str
    name: str
    most: int
    short: Callable[[Scope, int, int, Path], MutationError]
    over: Callable[[Path], MutationError]


async def upsert_rows(plain: Plain, counter: Counter | None = None) -> list[Result]:
    """Insert rows, or change those whose key is taken: a result for each, with `created`."""
    unit, table = plain.unit, plain.table
    values = plain.values()
    identities = plain.identities(values)
    deltas = _deltas(plain, counter)
    suspect = unit.explaining or unit.errors or not plain.fit(values) or len(set(identities)) < len(identities)
    if counter is not None:
        # What is taken must be there; what a column cannot hold the database refuses, and then all is judged.
        taken = [delta if delta is not None and delta < 0 else None for delta in deltas]
        if suspect or await _out_of_range(plain, counter, identities, taken):
            suspect = True
            unit.errors += await _out_of_range(plain, counter, identities, deltas)
    if suspect:
        await plain.explain(taken=False, twice=True)
    if not identities:
        return []
    keyed = plain.keyed(identities)
    if await hides(unit, keyed):
        await plain.explain(taken=False, twice=True)
    insert = insert_of(unit, plain.model)
    sets = {name: insert.excluded[name] for name in values if name != plain.key}
    start = plain.start()
    rows = [{**start, **dict(zip(values, row, strict=True))} for row in zip(*values.values(), strict=True)]
    if counter is not None:
        # A new row's CHECK is held against the row offered, even where the conflict clause takes over.
        for row, delta in zip(rows, deltas, strict=True):
            row.update({counter.column: delta and max(delta, 0), "delta": delta})
        column = table.columns[counter.column]
        added = sa.bindparam("delta", type_=column.type)
        after = sa.func.coalesce(sa.cast(column, sa.BigInteger), in_text(0)) + added
        # More than the column holds is told by its CHECK, as less than nothing is.
        sets[counter.column] = sa.case((added.is_(None), column), (after > in_text(counter.most), in_text(-1)), else_=after)
    in_order = [row for _, row in sorted(zip(identities, rows, strict=True), key=lambda pair: pair[0])]
    await door.merge(unit, keyed, insert, versioned(insert, sets), in_order)
    there = rows_of(plain.model, SERVER)  # they may have left the sight of who wrote them
    key = getattr(there, plain.key)
    found = await unit.rows(sa.select(key, there.id, there.created_at).where(key.in_(identities)))
    made = {stored(table.columns[plain.key], row[0], unit.dialect): row for row in found}
    name = type_name(sa.inspect(plain.model))
    return [
        Result(index, Row(name, made[identity].id), values={"created": made[identity].created_at == unit.now})
        for index, identity in enumerate(identities)
    ]


def _deltas(plain: Plain, counter: Counter | None) -> list[int | None]:
    """What each row adds to the counter, None where it says nothing of it. That it says null is refused."""
    sent = [ABSENT if counter is None else given(input_, counter.attribute) for input_ in plain.inputs]
    for index, delta in enumerate(sent):
        if counter is not None and delta is None:
            plain.unit.refuse(required(None, (*plain.path(index), counter.name)))
    return [None if delta is ABSENT else delta for delta in sent]


async def _out_of_range(
    plain: Plain, counter: Counter, identities: list[Any], deltas: Sequence[int | None]
) -> list[MutationError]:
    """Rows that take more from a counter than is there, or add more than it holds, each by itself. Locks all rows."""
    moving = [(index, identities[index], delta) for index, delta in enumerate(deltas) if delta is not None]
    if not moving:
        return []
    row = plain.unit.seen(plain.model)
    key, column = getattr(row, plain.key), getattr(row, counter.column)
    # All of them, or the others would be locked out of turn.
    found = sa.select(key, column).where(key.in_(sorted(set(identities))))
    stocks = await plain.unit.session.execute(locked(found, row, Lock.CHANGE))
    there = {stored(plain.table.columns[plain.key], each[0], plain.unit.dialect): each[1] or 0 for each in stocks}
    errors: list[MutationError] = []
    for index, identity, delta in moving:
        path, available = (*plain.path(index), counter.name), there.get(identity, 0)
        if available + delta < 0:
            errors.append(counter.short(plain.unit.scope, -delta, available, path))
        elif available + delta > counter.most:
            errors.append(counter.over(path))
    return errors

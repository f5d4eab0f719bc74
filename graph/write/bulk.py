"""Rows by their keys: one statement writes them, whatever their number.

What goes in: keys of rows that are locked. What comes out: the rows set, or deleted, or the keys of what goes with them. What may
be refused here: a check that the new values break for any of the rows, at the value sent.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy import ColumnElement

from graph.base import Base, utc_now
from graph.read.rows import Door
from graph.write import door
from graph.write.bounds import own_maximum
from graph.write.constraints import check_error, check_text
from graph.write.errors import ROOT, Path, Refused
from graph.write.images import among
from graph.write.unit import Unit


async def update_rows(
    unit: Unit, model: type[Base], keys: Sequence[int], values: Mapping[str, Any], sent: Mapping[str, Path]
) -> None:
    """Set columns of these rows in one statement, and raise their versions. `sent` leads from attributes to input paths.

    What is refused already is told with all else that is wrong, and nothing is set.
    """
    table: Any = sa.inspect(model).local_table
    where = among(unit, table.c.id, keys)
    if unit.explaining or unit.errors:
        await _refuse_broken(unit, model, where, values, sent)
    changed = {**values, "version": table.c.version + 1, "updated_at": utc_now()}
    await door.update(unit, model, keys, changed, together(sent.values()))


def together(places: Iterable[Path]) -> Path:
    """The place that holds all of these, or the only one."""
    return tuple(part for part, *others in zip(*places, strict=False) if all(other == part for other in others)) or ROOT


async def seen_below(unit: Unit, foreign_key: Any, keys: Sequence[int]) -> list[int]:
    """The keys of what hangs below these by a foreign key (`OrderItem.order_id`) and goes with them, as far as it is seen."""
    row = unit.seen(foreign_key.class_)
    found = sa.select(row.id).where(among(unit, getattr(row, foreign_key.key), keys)).order_by(row.id)
    return list((await unit.session.scalars(found)).all())


async def delete_rows(unit: Unit, model: type[Base], keys: Sequence[int]) -> None:
    """Delete these rows in one statement; what is below them goes by cascades."""
    await unit.before_delete(model, keys)
    await door.delete(unit, model, keys)


async def delete_rows_where(unit: Unit, model: type[Base], keys: Sequence[int], *allowed: ColumnElement[bool]) -> list[int]:
    """Delete those of these rows that may go, in one statement; their keys."""
    await unit.before_delete(model, keys)
    return await door.delete_where(unit, model, keys, *allowed)


async def _refuse_broken(
    unit: Unit, model: type[Base], where: ColumnElement[bool], values: Mapping[str, Any], sent: Mapping[str, Path]
) -> None:
    """Hold the values the rows would have against the table's checks."""
    mapper = sa.inspect(model)
    table: Any = mapper.local_table
    columns = [
        (sa.type_coerce(values[c.name], c.type) if c.name in values else c).label(c.name)
        for c in table.columns
        if c.computed is None
    ]
    after = sa.select(*columns).where(where).subquery(table.name)
    checks = sorted((c for c in table.constraints if isinstance(c, sa.CheckConstraint)), key=lambda c: str(c.name))
    broken = [sa.func.sum(sa.case((sa.literal_column(f"({check_text(unit, check)})"), 0), else_=1)) for check in checks]
    # Where each row has a maximum of its own, all of them allow the least.
    changed = Door(unit.scope).again(model, after, table.name, by_names=True)
    own = [None if (name := own_maximum(check)) is None else getattr(changed, name) for check in checks]
    least = [sa.null() if maximum is None else sa.func.min(maximum) for maximum in own]
    counts = (await unit.session.execute(sa.select(*broken, *least).select_from(after))).one()
    row = model()
    unit.origin(row).sent.update(sent)
    told = zip(checks, counts[: len(checks)], counts[len(checks) :], strict=True)
    found = [check_error(unit, mapper, check, row, most) for check, number, most in told if number]
    if found or unit.errors:
        raise Refused([*unit.errors, *found])

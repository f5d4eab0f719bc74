"""What a write sees: a row out of its scope's sight is not there for it, and it leaves no row that it would not see.

What goes in: a graph, whose scope says who writes, and the rows of a write by their keys. What comes out: conditions for its
statements, and whether a key is that of a row which is hidden. What may be refused here: a row that whoever writes would not see
afterwards (`graph.read.rows.left`), as FORBIDDEN. Nothing is held against rules where there is none.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from sqlalchemy import ColumnElement

from graph.base import Base
from graph.read.rows import Door, any_rules, left, rows, seen
from graph.scope import SERVER
from graph.write.columns import stored, type_name
from graph.write.errors import Path, Refused, forbidden
from graph.write.images import among
from graph.write.object_graph import Graph
from graph.write.pending import parent_keys


@dataclass(frozen=True, slots=True)
class Keyed:
    """Rows that are written without objects: their class, their natural key, its values as they are stored, and where in the
    input the row with such a value stands."""

    model: type[Base]
    key: str
    values: Collection[Any]
    place: Callable[[Any], Path]


def visible(graph: Graph, model: type[Base], where: ColumnElement[bool]) -> ColumnElement[bool]:
    """A condition, for those of its rows that whoever writes may see: any other is not there."""
    return sa.and_(where, seen(model, graph.scope))


def with_keys(graph: Graph, rows_: Keyed) -> ColumnElement[bool]:
    """A condition: the rows that have one of the keys."""
    return among(graph, rows_.model.__mapper__.columns[rows_.key], sorted(set(rows_.values)))


async def hides(graph: Graph, rows_: Keyed) -> bool:
    """Whether one of the keys is that of a row which the scope does not see. Nothing is asked where no rule keeps any from it."""
    if Door(graph.scope).sees_all(rows_.model):
        return False
    there, mine = rows(rows_.model, SERVER, "there"), rows(rows_.model, graph.scope, "mine")
    taken = among(graph, getattr(there, rows_.key), rows_.values)
    hidden = sa.select(there.id).where(taken, there.id.not_in(sa.select(mine.id))).limit(1)
    return await graph.session.scalar(hidden) is not None


async def keep_in_sight(graph: Graph, model: type[Base], key: str, values: Collection[Any], place: Callable[[Any], Path]) -> None:
    """Refuse rows that were written and that whoever wrote them does not see now; `key` is the attribute that has the values."""
    gone = await out_of_sight(graph, model, key, values)
    if gone:
        raise Refused(forbidden(type_name(model.__mapper__), place(value)) for value in gone)


async def out_of_sight(graph: Graph, model: type[Base], key: str, values: Collection[Any]) -> list[Any]:
    """Those of some values of an attribute whose rows the scope may not have written."""
    allowed = left(model, graph.scope) if values else None
    if allowed is None:
        return []
    attribute = getattr(allowed, key)
    found = await graph.session.scalars(sa.select(attribute).where(among(graph, attribute, values)))
    column = model.__mapper__.columns[key]
    there = {stored(column, value, graph.dialect) for value in found}
    return [value for value in values if value not in there]


def to_flush(graph: Graph) -> dict[type[Base], list[Base]]:
    """The rows that a flush will leave behind, by class, where there are rules; for `keep_flushed`.

    A part that counts but is not seen is none: it was not seen before.
    """
    if not any_rules(graph.scope):
        return {}
    session = graph.session.sync_session
    gone, found = session.deleted, defaultdict[type[Base], list[Base]](list)
    for row in (*session.new, *session.dirty):
        if row not in gone and graph.sees(row):
            found[type(row)].append(row)
    return found


def key_of_row(row: Base) -> int:
    """The primary key of a row that was flushed or loaded."""
    key: int = type(row).__mapper__.primary_key_from_instance(row)[0]
    return key


async def keep_flushed(graph: Graph, written: Mapping[type[Base], Sequence[Base]]) -> None:
    """Refuse what a flush has written, as `to_flush` found it before, that whoever wrote it does not see now."""
    gone_from_sight: dict[tuple[type[Base], int], Base] = {}
    for model, flushed in written.items():
        by_key = {key_of_row(row): row for row in flushed}
        gone_from_sight |= {(model, key): by_key[key] for key in await out_of_sight(graph, model, "id", by_key)}
    # What goes with a parent that does is not told beside it.
    roots = [row for row in gone_from_sight.values() if not any(parent in gone_from_sight for parent in parent_keys(row))]
    if roots:
        raise Refused(forbidden(type_name(type(row).__mapper__), graph.origin(row).path) for row in roots)

"""Images of rows for the record: as they are in the database now, and those that fall with others.

What goes in: a mapped class and a condition on its table. What comes out: `Image`s by key, or writes noted in the record. What
may be refused here: nothing. Nothing here runs unless a record is kept.

Of more rows than are told one by one only the keys are read: their images are None.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from operator import itemgetter
from typing import Any

import sqlalchemy as sa
from sqlalchemy import ColumnElement

from graph.base import Base
from graph.read.sql.bound_lists import member, unchanged
from graph.write.columns import mirror_if_any
from graph.write.errors import Row
from graph.write.locks import Lock, locked
from graph.write.object_graph import Graph
from graph.write.record import MOST_TOLD, Record, Written


@dataclass(frozen=True, slots=True)
class Image:
    """A row as it is: its values by attribute, its root with version, and its owner."""

    values: Mapping[str, Any]
    root: Row
    version: int | None
    owner: Any


@dataclass(frozen=True, slots=True)
class Lineage:
    """How a mirrored class leads to its root: the foreign keys on the way, its class, what names the owner."""

    name: str
    way: tuple[tuple[str, type[Base]], ...]
    root: type[Base]
    root_name: str
    owner: str | None

    @property
    def versioned(self) -> bool:
        return "version" in self.root.__mapper__.column_attrs


@cache
def lineage(model: type[Base]) -> Lineage | None:
    """The way from a class to its root; None where clients see no such rows."""
    mirror = mirror_if_any(model)
    if mirror is None:
        return None
    way, root = [], model
    while root.__root__ is not None:
        relation = root.__mapper__.relationships[root.__root__]
        ((local, _),) = relation.local_remote_pairs or ()
        foreign = str(root.__mapper__.get_property_by_column(local).key)
        root = relation.mapper.class_
        way.append((foreign, root))
    top = mirror_if_any(root)
    assert top is not None, f"{root.__name__} is the root of what clients see"
    return Lineage(mirror.name, tuple(way), root, top.name, top.owner)


def among(graph: Graph, column: Any, keys: Iterable[Any]) -> ColumnElement[bool]:
    """The condition that a column holds one of these keys: one parameter, whatever their number."""
    listed = list(keys)
    return member(
        graph.dialect, column, unchanged, lambda type_, whole: sa.bindparam(None, whole(listed), type_, unique=True), keys=True
    )


@cache
def _attributes(model: type[Base]) -> tuple[tuple[str, Any], ...]:
    """The columns of a class by attribute, but for those that are the mapper's own affair."""
    return tuple((each.key, each.columns[0]) for each in model.__mapper__.column_attrs if not each.key.startswith("_"))


#: Rows of a table by key, before or after a write. Those of a crowd have no image.
Images = dict[int, Image | None]


async def images(
    graph: Graph, model: type[Base], where: ColumnElement[bool], lock: Lock = Lock.CHANGE, *, crowd: bool = False
) -> Images:
    """The rows of a table that match, by key, locked in key order for what is to become of them.

    `crowd` says that they are more than are told one by one, or that they were before.
    """
    line = lineage(model)
    if line is None:
        return {}
    attributes = _attributes(model)
    table: Any = model.__mapper__.local_table
    if crowd:
        keys = await graph.session.scalars(locked(sa.select(table.c.id).where(where), table, lock))
        return dict.fromkeys(keys)
    source, top, foreign = table, table, table.c.id
    for name, parent in line.way:
        foreign = top.c[name]
        above: Any = parent.__mapper__.local_table.alias()
        source, top = source.join(above, foreign == above.c.id), above
    found = sa.select(*(column for _, column in attributes), top.c.id, *_of_root(line, top))
    found = locked(found.select_from(source).where(where), table, lock).limit(MOST_TOLD + 1)
    made = _from_rows(model, await graph.session.execute(found))
    return made if len(made) <= MOST_TOLD else await images(graph, model, where, lock, crowd=True)


def _of_root(line: Lineage, top: Any) -> tuple[Any, Any]:
    """The version and the owner that a root has."""
    version = top.c.version if line.versioned else sa.null()
    owner = sa.null() if line.owner is None else top.c[line.root.__mapper__.columns[line.owner].key]
    return version, owner


def new_columns(model: type[Base]) -> list[Any] | None:
    """What an INSERT returns for `new_images`; None where a row alone does not tell its root."""
    line, table = lineage(model), model.__mapper__.local_table
    if line is None or line.way:
        return None
    return [table.c.id, *_of_root(line, table)]


def new_images(model: type[Base], rows: Iterable[Any]) -> Images:
    """The images of rows that were not there: the keys, the versions and the owners. Their values are not told.

    They are in the order of their keys, which is that in which they were sent, whatever the order in which they were written.
    """
    line = lineage(model)
    assert line is not None
    return {key: Image({}, Row(line.root_name, key), version, owner) for key, version, owner in sorted(rows, key=itemgetter(0))}


def _from_rows(model: type[Base], rows: Iterable[Any]) -> Images:
    """The images of rows: their columns by attribute, then the key, the version and the owner of the root."""
    line, attributes, made = lineage(model), _attributes(model), Images()
    assert line is not None
    for row in rows:
        values = dict(zip((name for name, _ in attributes), row, strict=False))
        made[values["id"]] = Image(values, Row(line.root_name, row[-3]), row[-2], row[-1])
    return made


def is_crowd(rows: Images) -> bool:
    """Whether rows are more than are told one by one."""
    return len(rows) > MOST_TOLD


@cache
def parts(model: type[Base]) -> tuple[tuple[type[Base], Any, bool], ...]:
    """Whose rows the database deletes (True) or changes by itself when rows of a class are deleted, and their foreign keys."""
    return tuple(
        (mapper.class_, key.parent, key.ondelete == "CASCADE")
        for mapper in sorted(model.registry.mappers, key=lambda mapper: mapper.class_.__name__)
        for key in sorted(mapper.local_table.foreign_keys, key=lambda key: str(key.parent))
        if key.column.table is model.__mapper__.local_table and key.ondelete in ("CASCADE", "SET NULL", "SET DEFAULT")
    )


async def falling(graph: Graph, gone: Mapping[type[Base], Collection[int]]) -> dict[type[Base], Images]:
    """The rows that the database will delete or change by itself when these go: one statement for each foreign key and level."""
    found: dict[type[Base], Images] = defaultdict(dict)
    level = {model: set(keys) for model, keys in gone.items() if keys}
    while level:
        below: dict[type[Base], set[int]] = defaultdict(set)
        for model, keys in level.items():
            for part, column, goes in parts(model):
                there = await images(graph, part, among(graph, column, sorted(keys)), Lock.DELETE)
                if goes:
                    below[part] |= there.keys() - found[part].keys() - set(gone.get(part, ()))
                found[part].update(there)
        level = {model: keys for model, keys in below.items() if keys}
    return {model: rows for model, rows in found.items() if rows}


async def note_fallen(graph: Graph, record: Record, fallen: Mapping[type[Base], Images], stay: Collection[type[Base]]) -> None:
    """Note what became of rows that the database may have deleted or changed by itself. Those of classes that may `stay` are
    read again; all others are gone."""
    for model, before in fallen.items():
        table: Any = model.__mapper__.local_table
        after: Images = {}
        if model in stay:
            after = await images(graph, model, among(graph, table.c.id, sorted(before)), crowd=is_crowd(before))
        note(record, model, before, after)


@cache
def with_parts(model: type[Base]) -> frozenset[type[Base]]:
    """A class, and those whose rows the database deletes with its own."""
    return frozenset({model}).union(*(with_parts(part) for part, _, goes in parts(model) if goes and part is not model))


@cache
def kept_parts(model: type[Base]) -> frozenset[type[Base]]:
    """Whose rows may be there still when a row above them of this class is gone, or of a class whose rows go with it."""
    found = {part for part, _, goes in parts(model) if not goes}
    return frozenset(found).union(*(kept_parts(part) for part, _, goes in parts(model) if goes and part is not model))


def note(
    record: Record,
    model: type[Base],
    before: Images,
    after: Images,
    *,
    now: datetime | None = None,
    sets: Collection[str] = (),
    goes: bool = False,
) -> None:
    """Note the difference of two images of a table: of a crowd all, changed or not, or where rows `goes` those that are gone.

    A row that only the second has, and that was not made `now`, was made by somebody else in between: the columns that the
    statement `sets` may have changed.
    """
    line = lineage(model)
    if line is None:
        return
    keys = dict.fromkeys([*before, *after])
    if len(keys) > MOST_TOLD:
        count = len(before.keys() - after.keys()) if goes else len(keys)
        if count:
            record.add_many(line.name, line.root_name, count)
        return
    for key in keys:
        old, new = before.get(key), after.get(key)
        there: Any = new or old
        was = None if old is None else old.values
        became = None if new is None else new.values
        if new is not None and old is None and now is not None and new.values.get("created_at", now) != now:
            was, became = {}, {name: new.values[name] for name in sets}
        first: Any = old or new
        record.add(
            Written(
                Row(line.name, key),
                was,
                became,
                there.root,
                there.version,
                first.owner,
                there.owner,
                former=first.root,
                mutation=record.mutation,
            )
        )


def note_added(record: Record, model: type[Base], counter: str, amounts: Mapping[int, int], held: Mapping[int, Any]) -> None:
    """Note what was added to a counter of rows that are their own roots and nobody's; `held` is how they were."""
    line = lineage(model)
    if line is None:
        return
    assert not line.way, "whoever adds to a part reads its root"
    assert line.owner is None, "whoever adds to what has an owner reads him"
    for key, amount in amounts.items():
        row, was = Row(line.name, key), getattr(held[key], counter)
        record.add(Written(row, {counter: was}, {counter: was + amount}, row, held[key].version, mutation=record.mutation))


@cache
def brought(model: type[Base]) -> Sequence[str]:
    """The attributes that every UPDATE sets, whatever else it does."""
    return tuple(each.key for each in model.__mapper__.column_attrs if each.columns[0].onupdate is not None)

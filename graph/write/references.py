"""References: pointers to rows that are there already, looked up together, one SELECT for each type of target.

What goes in: the references that graphs have collected. What comes out: foreign keys set, and the targets' columns for rules to
look at. What is refused here: a reference that leads nowhere, as REFERENCE_NOT_FOUND at the key as sent.
"""

from __future__ import annotations

from collections import defaultdict, namedtuple
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import sqlalchemy as sa
from sqlalchemy import ColumnElement, Dialect
from sqlalchemy.orm import RelationshipProperty
from sqlalchemy.types import TypeEngine

from graph.base import Base
from graph.database import Capabilities, capabilities
from graph.read.rows import Door
from graph.read.sql.bound_lists import member, unchanged
from graph.read.sql.statement import constant
from graph.scope import Scope
from graph.write.columns import attribute_name, stored, target_attributes
from graph.write.drawn_keys import PARAMETERS, Draw, draw_alone, draw_for, drawing
from graph.write.locks import Lock, locked, rank
from graph.write.object_graph import Graph
from graph.write.origins import Reference


async def look_up(graphs: Sequence[Graph]) -> None:
    """Find what the references of several graphs of one session lead to, one SELECT for each type of target.

    The first of them draws keys for the graphs' new rows, too; they are given when the rows are written. What is found is
    locked, which foreign keys would do later and in the order of the input. Several graphs are written one after the other, and
    what one of them will change must be held before the first is written.
    """
    by_model: dict[type[Base], list[tuple[Graph, Reference]]] = defaultdict(list)
    if not graphs:
        return
    keyless = (origin.row for graph in graphs for origin in graph.origins.values() if id(origin.row) not in graph.keys)
    draw = draw_for(keyless, graphs[0].dialect)
    for graph in graphs:
        for reference in graph.references:
            by_model[reference.relation.mapper.class_].append((graph, reference))
        graph.references = []
    lock = Lock.POINT_TO if len(graphs) == 1 else Lock.CHANGE
    for model, waiting in sorted(by_model.items(), key=lambda each: rank(each[0])):
        found = await _rows(waiting[0][0], model, [reference for _, reference in waiting], draw, lock)
        if draw is not None:
            _give(graphs, draw.keys)
            draw = None
        for graph, reference in waiting:
            row = found.get((reference.attribute, reference.value))
            if row is None:
                graph.refuse(reference.not_found())
                continue
            relation, owner = reference.relation, reference.owner
            for foreign_key, key in _pairs(relation):
                graph.assign(owner, foreign_key, getattr(row, key), reference.path)
            graph.targets[id(owner), relation.key] = row
    if draw is not None and len(graphs) > 1:  # else each would draw for itself
        _give(graphs, await draw_alone(graphs[0].context, graphs[0].dialect, draw))


def _give(graphs: Sequence[Graph], keys: Mapping[int, int]) -> None:
    """Let graphs give their rows keys that were drawn, beside those that they have from before."""
    for graph in graphs:
        graph.keys = {**graph.keys, **keys}


@cache
def _pairs(relation: RelationshipProperty[Any]) -> tuple[tuple[str, str], ...]:
    """The attributes that hold a foreign key, each with the attribute of the target that it repeats."""
    pairs = relation.local_remote_pairs or ()
    return tuple((attribute_name(relation.parent, local), attribute_name(relation.mapper, remote)) for local, remote in pairs)


async def _rows(
    graph: Graph, model: type[Base], references: Iterable[Reference], draw: Draw | None, lock: Lock
) -> dict[tuple[str, Any], Any]:
    """The rows that references of one type lead to, by attribute and stored value."""
    wanted: dict[str, set[Any]] = defaultdict(set)
    for reference in references:
        wanted[reference.attribute].add(reference.value)
    lookup = _prepared(model, tuple(sorted(wanted)), graph.dialect, graph.scope, lock, draws=draw is not None)
    given = {} if draw is None else draw.parameters
    values = {name: sorted(each) for name, each in wanted.items()} | {f"viewer_{n}": v for n, v in graph.scope.values.items()}
    arguments = [given[name] if encode is None else encode(values.get(name)) for name, encode in lookup.parameters]
    rows = await graph.context.database.rows_within(graph.session, lookup.sql, arguments)
    columns = model.__mapper__.columns
    found = {}
    for found_row in rows:
        if draw is not None and found_row[-1] is not None:
            draw.take(found_row[-1])
            continue
        row = lookup.row_of(found_row)
        for attribute in wanted:
            found[attribute, stored(columns[attribute], getattr(row, attribute), graph.dialect)] = row
    return found


@dataclass(frozen=True, slots=True)
class PreparedLookup:
    """A SELECT of rows by some of their attributes, spelled for a driver, and how to read what it gives.

    Made once and sent to the driver it costs 50 us of processor time for a row, built anew and executed by the session 900 to
    1,200. A test holds the rows equal.

    A parameter without a function is one of a `Draw`.
    """

    sql: str
    parameters: tuple[tuple[str, Callable[[Any], Any] | None], ...]
    row_type: Any
    decoders: tuple[tuple[int, Callable[[Any], Any]], ...]

    def row_of(self, values: Sequence[Any]) -> Any:
        """A plain tuple with the attributes of the mapped class."""
        decoded = list(values[: len(self.row_type._fields)])
        for index, decode in self.decoders:
            decoded[index] = decode(decoded[index])
        return self.row_type._make(decoded)


#: Kept by mapped class, attributes looked up by, kind of database and of viewer, lock, and whether it draws: building and hashing
#: a select costs more than running it.
LOOKUPS: dict[tuple[type[Base], tuple[str, ...], Capabilities, Hashable, Lock, bool], PreparedLookup] = {}


def _prepared(
    model: type[Base], attributes: tuple[str, ...], dialect: Dialect, scope: Scope, lock: Lock, *, draws: bool
) -> PreparedLookup:
    key = (model, attributes, capabilities(dialect), scope.key, lock, draws)
    found = LOOKUPS.get(key)
    if found is None:
        found = LOOKUPS[key] = _compile(model, attributes, dialect, scope, lock, draws=draws)
    return found


def _compile(
    model: type[Base], attributes: tuple[str, ...], dialect: Dialect, scope: Scope, lock: Lock, *, draws: bool
) -> PreparedLookup:
    encoders: dict[str, Callable[[Any], Any]] = {}

    def bind_viewer(name: str, type_: TypeEngine[Any]) -> ColumnElement[Any]:
        encoders[f"viewer_{name}"] = type_.dialect_impl(dialect).bind_processor(dialect) or unchanged
        return sa.bindparam(f"viewer_{name}", type_=type_)

    target = Door(scope, bind_viewer).rows(model, lockable=True)
    columns = [getattr(target, name) for name in target_attributes(model)]

    def among(attribute: str) -> ColumnElement[bool]:
        def bind(type_: Any, whole: Callable[[Any], Any]) -> ColumnElement[Any]:
            encoders[attribute] = whole
            return sa.bindparam(attribute, type_=type_)

        return member(dialect, getattr(target, attribute), unchanged, bind, keys=True)

    select = locked(sa.select(*columns).where(sa.or_(*map(among, attributes))), target, lock)
    statement = drawing(select, dialect) if draws else select
    compiled = statement.compile(dialect=dialect, compile_kwargs={"render_postcompile": True})

    def rule(name: str) -> Callable[[Any], Any] | None:
        return None if draws and name in PARAMETERS else constant(compiled, name, dialect)

    decoders = [
        (index, column.type.dialect_impl(dialect).result_processor(dialect, None)) for index, column in enumerate(columns)
    ]
    return PreparedLookup(
        str(compiled),
        tuple((name, encoders.get(name) or rule(name)) for name in compiled.positiontup or ()),
        namedtuple(model.__name__, [column.key for column in columns]),
        tuple((i, decode) for i, decode in decoders if decode is not None),
    )

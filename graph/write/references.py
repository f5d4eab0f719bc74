"""References: pointers to rows that are there already, looked up together, one SELECT for each type of target.

What goes in: the references that graphs have collected. What comes out: foreign keys set, and the targets' columns for rules to
look at. What is refused here: a reference that leads nowhere, as REFERENCE_NOT_FOUND at the key as sent.
"""

from __future__ import annotations

from collections import defaultdict, namedtuple
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa
from sqlalchemy import ColumnElement, Dialect
from sqlalchemy.orm import RelationshipProperty

from graph.base import Base
from graph.read.dialects import member
from graph.read.filters import unchanged
from graph.write.changes import put
from graph.write.columns import attribute_name, foreign_key_name, stored, target_columns, type_name
from graph.write.errors import Path, ReferenceNotFoundError

if TYPE_CHECKING:
    from graph.write.graph import Graph


@dataclass(frozen=True, slots=True, eq=False)
class Reference:
    """A pointer to a row that is there already, not looked up yet."""

    owner: Base
    relation: RelationshipProperty[Any]
    attribute: str
    value: Any
    text: str
    path: Path


async def look_up(graphs: Iterable[Graph]) -> None:
    """Find what the references of several graphs of one session lead to, one SELECT for each type of target."""
    by_model: dict[type[Base], list[tuple[Graph, Reference]]] = defaultdict(list)
    for graph in graphs:
        for reference in graph.references:
            by_model[reference.relation.mapper.class_].append((graph, reference))
        graph.references = []
    for model, waiting in by_model.items():
        graph = waiting[0][0]
        found = await _rows(graph, model, [reference for _, reference in waiting])
        columns = model.__mapper__.columns
        for graph, reference in waiting:
            row = found.get((reference.attribute, stored(columns[reference.attribute], reference.value, graph.dialect)))
            if row is None:
                graph.refuse(not_found(reference))
                continue
            relation, owner = reference.relation, reference.owner
            for local, remote in relation.local_remote_pairs or ():
                put(owner, attribute_name(relation.parent, local), getattr(row, attribute_name(relation.mapper, remote)))
            graph.targets[id(owner), relation.key] = row


async def _rows(graph: Graph, model: type[Base], references: Iterable[Reference]) -> dict[tuple[str, Any], Any]:
    """The rows that references of one type lead to, by attribute and value in stored form."""
    columns = model.__mapper__.columns
    wanted: dict[str, set[Any]] = defaultdict(set)
    for reference in references:
        wanted[reference.attribute].add(stored(columns[reference.attribute], reference.value, graph.dialect))
    lookup = _lookup(model, tuple(sorted(wanted)), graph.dialect)
    arguments = [encode(sorted(wanted[attribute])) for attribute, encode in lookup.parameters]
    rows = [lookup.row_of(row) for row in await graph.context.database.rows_within(graph.session, lookup.sql, arguments)]
    return {(name, stored(columns[name], getattr(row, name), graph.dialect)): row for row in rows for name in wanted}


@dataclass(frozen=True, slots=True)
class Lookup:
    """A SELECT of rows by some of their keys, spelled for a driver, and how to read what it gives."""

    sql: str
    parameters: tuple[tuple[str, Callable[[list[Any]], Any]], ...]
    row_type: Any
    decoders: tuple[tuple[int, Callable[[Any], Any]], ...]

    def row_of(self, values: Sequence[Any]) -> Any:
        """A plain tuple with the attributes of the mapped class."""
        decoded = list(values)
        for index, decode in self.decoders:
            decoded[index] = decode(decoded[index])
        return self.row_type._make(decoded)


#: Kept by mapped class, attributes looked up by, and dialect: building and hashing a select costs more than running it.
LOOKUPS: dict[tuple[type[Base], tuple[str, ...], str], Lookup] = {}


def _lookup(model: type[Base], attributes: tuple[str, ...], dialect: Dialect) -> Lookup:
    key = (model, attributes, dialect.name)
    found = LOOKUPS.get(key)
    if found is None:
        found = LOOKUPS[key] = _compile(model, attributes, dialect)
    return found


def _compile(model: type[Base], attributes: tuple[str, ...], dialect: Dialect) -> Lookup:
    encoders: dict[str, Callable[[list[Any]], Any]] = {}
    columns = target_columns(model)

    def among(attribute: str) -> ColumnElement[bool]:
        def bind(type_: Any, whole: Callable[[Any], Any]) -> ColumnElement[Any]:
            encoders[attribute] = whole
            return sa.bindparam(attribute, type_=type_)

        return member(dialect, getattr(model, attribute), unchanged, bind, False)

    statement = sa.select(*columns).where(sa.or_(*map(among, attributes)))
    compiled = statement.compile(dialect=dialect, compile_kwargs={"render_postcompile": True})
    decoders = [
        (index, column.type.dialect_impl(dialect).result_processor(dialect, None)) for index, column in enumerate(columns)
    ]
    return Lookup(
        str(compiled),
        tuple((name, encoders[name]) for name in compiled.positiontup or ()),
        namedtuple(model.__name__, [column.key for column in columns]),
        tuple((i, decode) for i, decode in decoders if decode is not None),
    )


def not_found(reference: Reference) -> ReferenceNotFoundError:
    """What a reference leads to is not there."""
    target = type_name(reference.relation.mapper)
    local = reference.relation.local_remote_pairs[0][0]
    return ReferenceNotFoundError(
        message=f"There is no {target} with this {reference.path[-1]}",
        path=list(reference.path),
        constraint=foreign_key_name(local),
        target_type=target,
        key=reference.text,
    )

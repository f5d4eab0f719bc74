"""Rows that several fields of a mutation name, locked before the first of them runs, so that `@atomic` keeps the order of locks.

What goes in: a mutation whose fields share a transaction. What comes out: the roots that their inputs name, by an id, by a unique
key or by the id of a part, locked in the order of all writes. What may be refused here: nothing; what is not there, or not seen,
is found out by the field that names it.

What nobody names (rows of a filter, items of lines that go with an order) is locked when a field comes to it. Two such mutations
may still wait for each other; then the database ends one of them, and it is run again.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any

import sqlalchemy as sa
from graphql import GraphQLID, GraphQLInputObjectType, GraphQLInputType, get_named_type, get_nullable_type, is_list_type
from sqlalchemy import ColumnElement

from graph.base import Base
from graph.context import Context
from graph.database import capabilities
from graph.read.payloads.running import running_in
from graph.read.rows import rows
from graph.read.types.mirror import MIRRORS
from graph.read.types.scalars import parse_id
from graph.write.columns import stored
from graph.write.images import among
from graph.write.locks import Lock, locked, rank
from graph.write.object_graph import Graph
from graph.write.unique_keys import unique_keys

#: Values by the attribute that has them.
Named = dict[str, set[Any]]


async def lock_named(context: Context) -> None:
    """Lock the rows that the fields of a mutation name, where there are several fields and several writers."""
    fields = running_in(context).fields
    graph = Graph(context)
    if len(fields) < 2 or capabilities(graph.dialect).one_writer:
        return
    named: dict[type[Base], Named] = defaultdict(lambda: defaultdict(set))
    for field in fields.values():
        for name, text in _leaves(field.definition.args["input"].type, field.input):
            _note(graph, named, name, text)
    for model in sorted(named, key=rank):
        row = rows(model, context.scope)
        where = [_with(graph, row, name, sorted(values)) for name, values in named[model].items()]
        await context.session.execute(locked(sa.select(row.id).where(sa.or_(*where)), row, Lock.CHANGE))


def _note(graph: Graph, named: dict[type[Base], Named], name: str, text: str) -> None:
    if name != "id":
        model = natural_keys()[name]
        named[model][name].add(stored(model.__mapper__.columns[name], text, graph.dialect))
        return
    type_name, key = parse_id(text) or ("", 0)
    if type_name not in MIRRORS or not MIRRORS[type_name].is_node:
        return
    model = MIRRORS[type_name].model
    if model.__root__ is None:
        named[model]["id"].add(key)
        return
    relation = model.__mapper__.relationships[model.__root__]
    if relation.mapper.class_.__root__ is None and relation.back_populates is not None:
        named[relation.mapper.class_][relation.back_populates].add(key)


def _with(graph: Graph, row: Any, name: str, values: list[Any]) -> ColumnElement[bool]:
    """The rows that have one of these values, or in a list one of these parts."""
    relation = sa.inspect(row).mapper.relationships.get(name)
    if relation is None:
        return among(graph, getattr(row, name), values)
    part = rows(relation.mapper.class_, graph.scope)
    ((_, foreign),) = relation.local_remote_pairs
    return row.id.in_(sa.select(getattr(part, foreign.key)).where(among(graph, part.id, values)))  # type: ignore[no-any-return]  # found by name


def _leaves(declared: GraphQLInputType, value: Any) -> Iterator[tuple[str, str]]:
    """The ids in an input, as `id`, and its values of natural keys, by attribute. What filters hold names no row."""
    type_: Any = get_nullable_type(declared)
    if value is None:
        return
    if is_list_type(type_):
        for each in value:
            yield from _leaves(type_.of_type, each)
    elif get_named_type(type_) is GraphQLID:
        yield "id", value
    elif isinstance(type_, GraphQLInputObjectType) and isinstance(value, Mapping) and not type_.name.endswith("Where"):
        for name, part in value.items():
            if name in natural_keys() and isinstance(part, str):
                yield name, part
            else:
                yield from _leaves(type_.fields[name].type, part)


@cache
def natural_keys() -> dict[str, type[Base]]:
    """The classes of roots by the name of a unique column that clients send and no other class has."""
    found: dict[str, list[type[Base]]] = defaultdict(list)
    for mirror in MIRRORS.values():
        for key in unique_keys(mirror.mapper.local_table) if mirror.is_node else ():
            columns = list(key.columns)
            if mirror.model.__root__ is None and len(columns) == 1 and columns[0].computed is None:
                found[str(mirror.mapper.get_property_by_column(columns[0]).key)].append(mirror.model)
    return {name: models[0] for name, models in found.items() if len(models) == 1}

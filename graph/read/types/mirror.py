"""Which GraphQL type mirrors which mapped class.

What goes in: Strawberry types decorated with `@mirror(Model)`. What comes out: `Mirror` records that the planner reads, and
facts of mapped classes that planner and checks share. What is refused here: nothing; `graph.read.types.checks` holds the records
against their mappers when the schema is put together.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

import strawberry
from graphql import GraphQLField, GraphQLObjectType, GraphQLOutputType, get_named_type
from sqlalchemy import Column, ColumnElement, String, TypeDecorator, inspect
from sqlalchemy.orm import Mapper, RelationshipProperty
from sqlalchemy.sql import operators, visitors
from sqlalchemy.sql.elements import BinaryExpression
from strawberry.types.base import get_object_definition

from graph.base import Base, Choice
from graph.read.rows import RULES, SHOWN, WRITABLE, Rule, Shown, needs_parent
from graph.read.types.permissions import UNTOLD

T = TypeVar("T", bound=type)


#: Whether a row of a list is one of a row: the condition, of the row and that of the list.
Link = Callable[[Any, Any], ColumnElement[bool]]


class MirrorError(TypeError):
    """A GraphQL type does not match the mapped class it mirrors."""


@dataclass(frozen=True, slots=True)
class Mirror:
    """A GraphQL type and its mapped class. `attributes` maps GraphQL field names to attributes of the class."""

    name: str
    model: type[Base]
    type: type
    sorts: tuple[str, ...]
    search: tuple[str, ...]
    hidden_unless_mentioned: str | None
    owner: str | None
    log: str | None = None
    links: Mapping[str, Link] = field(default_factory=dict)
    attributes: dict[str, str] = field(default_factory=dict)

    @property
    def mapper(self) -> Mapper[Any]:
        return inspect(self.model)

    @property
    def untold(self) -> frozenset[str]:
        """The attributes of the fields that are null for bound viewers."""
        fields = get_object_definition(self.type, strict=True).fields
        return frozenset(field.python_name for field in fields if UNTOLD in field.metadata)

    @property
    def is_node(self) -> bool:
        """Whether its rows have global ids."""
        return issubclass(self.type, Node)


MIRRORS: dict[str, Mirror] = {}

#: What a value that is no text of a client's takes in an answer, its quotes included.
VALUE_BYTES = 32


def mirror(
    model: type[Base],
    *,
    sorts: tuple[str, ...] = (),
    search: tuple[str, ...] = (),
    hidden_unless_mentioned: str | None = None,
    visible: Rule | None = None,
    writable: Rule | None = None,
    shown: Shown | None = None,
    owner: str | None = None,
    log: str | None = None,
    links: Mapping[str, Link] | None = None,
) -> Callable[[T], T]:
    """Say that a Strawberry type mirrors `model`.

    `sorts` and `search` name attributes, `relation.attribute` for those of a to-one relation. `hidden_unless_mentioned`
    names a Boolean attribute: root lists leave out rows where it is true, unless the filter mentions it. `visible(row,
    viewer)` is the one row rule of the type: the row door (`graph.read.rows`) asks it wherever the table enters a statement.
    `writable(row, viewer)`, where given, says in its place which rows a viewer may leave behind when he has written them.
    `shown(row, viewer)`, where given, says what a viewer reads of rows in place of their columns, where a rule holds for him.
    `owner` names the attribute by which rules tell whose an aggregate is; its root says it for all its parts, and changes are
    recorded with it. `log` names the attribute that numbers the rows of a log: they are read in this order, those without a
    number not at all, and a cursor that lies before the oldest is expired. `links` are lists that no relation of the class leads
    to, by the name of their field: the condition that a row of the list is one of a row.
    """

    def register(cls: T) -> T:
        name = cls.__strawberry_definition__.name  # type: ignore[attr-defined]  # set by @strawberry.type
        MIRRORS[name] = Mirror(name, model, cls, sorts, search, hidden_unless_mentioned, owner, log, links or {})
        if visible is not None:
            RULES[model] = visible
        if writable is not None:
            WRITABLE[model] = writable
        if shown is not None:
            SHOWN[model] = shown
        return cls

    return register


def width(type_name: str, attribute: str, longest: int) -> int:
    """How many bytes a value of a type may have in an answer, escapes aside; `longest` is the longest text that may be sent."""
    column = MIRRORS[type_name].mapper.columns.get(attribute)
    if column is None or isinstance(column.type, Choice):
        return VALUE_BYTES
    bare = column.type.impl_instance if isinstance(column.type, TypeDecorator) else column.type
    return VALUE_BYTES + int(column.info.get("width", longest)) if isinstance(bare, String) else VALUE_BYTES


def mirror_of(model: type[Any]) -> Mirror:
    """The mirrored type of a mapped class."""
    return next(mirror_ for mirror_ in MIRRORS.values() if mirror_.model is model)


@strawberry.interface(description="Anything that has a global id and can be fetched again with `node(id:)`.")
class Node:
    id: strawberry.ID = strawberry.field(description="The global id: opaque, stable, unique over all types.")


def connection_node(type_: GraphQLOutputType) -> str | None:
    """The name of the node type, where `type_` is a connection."""
    named = get_named_type(type_)
    if isinstance(named, GraphQLObjectType) and "edges" in named.fields and "pageInfo" in named.fields:
        return str(get_named_type(named.fields["nodes"].type).name)
    return None


def python_name(field_: GraphQLField) -> str:
    """The attribute behind a GraphQL field."""
    return str(field_.extensions["strawberry-definition"].python_name)


def expression_of(mapper: Mapper[Any], attribute: str) -> Any:
    """What an attribute of a mapped class is in SQL: a column, or the expression of a derived attribute."""
    return getattr(mapper.class_, attribute)


def is_untold(mirror_: Mirror, path: str) -> bool:
    """Whether an attribute, or `relation.attribute` of a to-one relation, is not told to bound viewers."""
    name, _, attribute = path.rpartition(".")
    relation = mirror_.mapper.relationships.get(name)  # there is none where the path is wrong, which is told later
    holders = [each for each in MIRRORS.values() if relation is not None and each.model is relation.mapper.class_]
    return any(attribute in each.untold for each in (holders if name else [mirror_]))


def columns_read(mapper: Mapper[Any], attribute: str) -> set[str]:
    """The names, `table.column`, of what an attribute is, or is made of; of a relation those that lead to it."""
    if attribute in mapper.relationships:
        return {str(column) for column in mapper.relationships[attribute].local_columns}
    return columns_in(expression_of(mapper, attribute))


def columns_untold() -> set[str]:
    """The columns behind all fields that are null for bound viewers."""
    return {name for each in MIRRORS.values() for attribute in each.untold for name in columns_read(each.mapper, attribute)}


def columns_in(expression: Any) -> set[str]:
    """The columns that an expression over classes is made of."""
    return {str(part) for part in visitors.iterate(expression.label(None)) if isinstance(part, Column)}


def plain_pair(relation: RelationshipProperty[Any]) -> tuple[Column[Any], Column[Any]] | None:
    """The local and the remote column of a relation that is nothing but their equality, or None."""
    pairs = relation.local_remote_pairs or []
    condition = relation.primaryjoin
    alone = relation.secondary is None and len(pairs) == 1
    equal = isinstance(condition, BinaryExpression) and condition.operator is operators.eq
    return pairs[0] if alone and equal else None  # type: ignore[return-value]  # pairs of columns


def may_be_missing(relation: RelationshipProperty[Any]) -> bool:
    """Whether a to-one relation may lead to no row: its foreign key may be null, or stands in the other row."""
    return not needs_parent(relation)

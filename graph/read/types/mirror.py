"""Which GraphQL type mirrors which mapped class, checked at import.

What goes in: Strawberry types decorated with `@mirror(Model)`. What comes out: `Mirror` records that the planner reads.
What is refused here: a type with a field that its mapper does not have, or has otherwise, raises `MirrorError`, which
names the field, when the schema is put together.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, TypeVar

import strawberry
from graphql import (
    GraphQLField,
    GraphQLInputObjectType,
    GraphQLNamedInputType,
    GraphQLNonNull,
    GraphQLObjectType,
    GraphQLOutputType,
    GraphQLSchema,
    get_named_type,
    is_leaf_type,
    is_list_type,
    is_non_null_type,
)
from sqlalchemy import Table, UniqueConstraint, inspect
from sqlalchemy.ext.hybrid import hybrid_property
from sqlalchemy.orm import Mapper, MapperProperty, RelationshipProperty
from sqlalchemy.sql import sqltypes
from sqlalchemy.types import TypeDecorator, TypeEngine

from graph.base import Base, Choice, Money, UtcDateTime
from graph.read.rows import RULES, Rule

T = TypeVar("T", bound=type)


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
    attributes: dict[str, str] = field(default_factory=dict)

    @property
    def mapper(self) -> Mapper[Any]:
        return inspect(self.model)


MIRRORS: dict[str, Mirror] = {}


def mirror(
    model: type[Base],
    *,
    sorts: tuple[str, ...] = (),
    search: tuple[str, ...] = (),
    hidden_unless_mentioned: str | None = None,
    visible: Rule | None = None,
) -> Callable[[T], T]:
    """Say that a Strawberry type mirrors `model`.

    `sorts` and `search` name attributes, `relation.attribute` for those of a to-one relation. `hidden_unless_mentioned`
    names a Boolean attribute: root lists leave out rows where it is true, unless the filter mentions it. `visible(row,
    viewer)` is the one row rule of the type: the row door (`graph.read.rows`) asks it wherever the table enters a statement.
    """

    def register(cls: T) -> T:
        name = cls.__strawberry_definition__.name  # type: ignore[attr-defined]  # set by @strawberry.type
        MIRRORS[name] = Mirror(name, model, cls, sorts, search, hidden_unless_mentioned)
        if visible is not None:
            RULES[model] = visible
        return cls

    return register


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


#: Which column types each scalar may show; any other pair stops the start-up.
COLUMN_TYPES: dict[str, tuple[type[TypeEngine[Any]], ...]] = {
    "Int": (sqltypes.Integer,),
    "String": (sqltypes.String,),
    "Boolean": (sqltypes.Boolean,),
    "Decimal": (Money,),
    "DateTime": (UtcDateTime,),
}


def check(schema: GraphQLSchema) -> None:
    """Hold every mirrored type of `schema` against its mapper and note its attributes. Raises `MirrorError`."""
    for mirror_ in MIRRORS.values():
        type_ = schema.type_map.get(mirror_.name)
        if not isinstance(type_, GraphQLObjectType):
            continue
        for name, field_ in type_.fields.items():
            attribute = python_name(field_)
            _check_field(mirror_, f"{mirror_.name}.{name}", attribute, field_.type)
            mirror_.attributes[name] = attribute
        for path in (*mirror_.sorts, *mirror_.search, *filter(None, [mirror_.hidden_unless_mentioned])):
            _check_path(mirror_, path)
    for name, field_ in (schema.query_type.fields if schema.query_type else {}).items():
        by = field_.args.get("by")
        found = MIRRORS.get(str(get_named_type(field_.type).name))
        if by is not None and found is not None:
            _check_keys(found, name, get_named_type(by.type))


def _check_keys(mirror_: Mirror, place: str, by: GraphQLNamedInputType) -> None:
    """A look-up takes the id and every unique column that the type shows, and nothing else; rows are sorted by these too."""
    assert isinstance(by, GraphQLInputObjectType)
    keys, model = {"id", *_unique(mirror_.mapper)}, mirror_.model.__name__
    for key in by.fields:
        if mirror_.attributes.get(key) not in keys:
            raise MirrorError(f"{place}(by: {{{key}}}): {model} has no unique column that {mirror_.name}.{key} shows")
    for name, attribute in mirror_.attributes.items():
        if attribute in keys and name not in by.fields:
            raise MirrorError(f"{by.name}: {model}.{attribute} is unique, so {name!r} must be one of the keys")
        if attribute in keys and attribute not in ("id", *mirror_.sorts):
            raise MirrorError(f"{mirror_.name}: {model}.{attribute} is unique, so {attribute!r} must be in sorts")


def _unique(mapper: Mapper[Any]) -> list[str]:
    """The attributes whose column alone is a unique key of the table."""
    table = mapper.local_table
    assert isinstance(table, Table)
    keys = [list(each.columns) for each in table.constraints if isinstance(each, UniqueConstraint)]
    whole = [index for index in table.indexes if index.unique and not any(name.endswith("_where") for name in index.kwargs)]
    keys += [list(index.columns) for index in whole]
    return [mapper.get_property_by_column(columns[0]).key for columns in keys if len(columns) == 1]


def _check_field(mirror_: Mirror, place: str, attribute: str, type_: GraphQLOutputType) -> None:
    mapper = mirror_.mapper
    model = mapper.class_.__name__
    if attribute not in mapper.all_orm_descriptors:
        raise MirrorError(f"{place}: {model} has no attribute {attribute!r}")
    descriptor = mapper.all_orm_descriptors[attribute]
    node = connection_node(type_)
    inner = type_.of_type if isinstance(type_, GraphQLNonNull) else type_
    if node is not None or not is_leaf_type(get_named_type(type_)):
        relation = mapper.relationships.get(attribute)
        if relation is None:
            raise MirrorError(f"{place}: {model}.{attribute} is not a relationship")
        target = MIRRORS.get(node or str(get_named_type(type_).name))
        if target is None or target.model is not relation.mapper.class_:
            raise MirrorError(f"{place}: {model}.{attribute} leads to {relation.mapper.class_.__name__}, not to {type_}")
        if bool(relation.uselist) != bool(node or is_list_type(inner)):
            raise MirrorError(f"{place}: {model}.{attribute} is {'a list' if relation.uselist else 'one row'}, not {type_}")
        if not relation.uselist and is_non_null_type(type_) and any(c.nullable for c in relation.local_columns):
            raise MirrorError(f"{place}: {model}.{attribute} may be missing, so the field must be nullable")
        return
    if isinstance(descriptor, hybrid_property) or is_list_type(inner) or attribute == "id":
        return
    column = mapper.columns[attribute]
    if column.nullable and is_non_null_type(type_):
        raise MirrorError(f"{place}: {model}.{attribute} may be null, so the field must be nullable")
    if not column.nullable and not is_non_null_type(type_):
        raise MirrorError(f"{place}: {model}.{attribute} is never null, so the field must not be nullable")
    scalar = get_named_type(type_).name
    allowed = COLUMN_TYPES.get(scalar, (Choice,))
    column_type = column.type
    bare = column_type.impl_instance if isinstance(column_type, TypeDecorator) and "String" in scalar else column_type
    if not isinstance(bare, allowed):
        raise MirrorError(f"{place}: {model}.{attribute} is {column.type!r}, which {scalar} cannot show")


def _check_path(mirror_: Mirror, path: str) -> None:
    mapper = mirror_.mapper
    *relations, attribute = path.split(".")
    for name in relations:
        relation: RelationshipProperty[Any] | MapperProperty[Any] | None = mapper.relationships.get(name)
        if not isinstance(relation, RelationshipProperty) or relation.uselist:
            raise MirrorError(f"{mirror_.name}: {path!r} goes through {name!r}, which is no to-one relation")
        mapper = relation.mapper
    if attribute not in mapper.all_orm_descriptors:
        raise MirrorError(f"{mirror_.name}: {path!r} names no attribute of {mapper.class_.__name__}")

"""Mirrored types held against their mappers, once, when the schema is put together.

What goes in: the schema. What comes out: each `Mirror` knows which field shows which attribute. What is refused here: whatever
would not work when a client asks for it raises `MirrorError`, in one sentence that names the place: a field its mapper does not
have or has otherwise, a sort, a search or a look-up by something that cannot be sorted, searched or looked up by.
"""

from __future__ import annotations

from typing import Any

from graphql import (
    GraphQLEnumType,
    GraphQLInputObjectType,
    GraphQLInterfaceType,
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
from sqlalchemy import Column, Table, UniqueConstraint
from sqlalchemy.ext.hybrid import hybrid_property
from sqlalchemy.orm import Mapper, RelationshipProperty
from sqlalchemy.sql import sqltypes
from sqlalchemy.types import TypeDecorator, TypeEngine

from graph.base import Choice
from graph.read.rows import RULES, needs_parent
from graph.read.types.mirror import (
    MIRRORS,
    Mirror,
    MirrorError,
    columns_read,
    columns_untold,
    connection_node,
    expression_of,
    is_untold,
    may_be_missing,
    plain_pair,
    python_name,
)
from graph.read.types.scalars import SCALARS, position_for


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
        _check_model(mirror_)
        _check_untold(mirror_, type_)
        _check_sorts(mirror_)
        for path in mirror_.search:
            _check_search(mirror_, path)
        _check_hidden(mirror_)
    for type_ in schema.type_map.values():
        for name, field_ in type_.fields.items() if isinstance(type_, GraphQLObjectType) else ():
            found = MIRRORS.get(connection_node(field_.type) or "") if "search" in field_.args else None
            if found is not None and not found.search:
                raise MirrorError(f"{type_.name}.{name} takes a search, but {found.name} has nothing to search")
    for name, field_ in (schema.query_type.fields if schema.query_type else {}).items():
        by = field_.args.get("by")
        found = MIRRORS.get(str(get_named_type(field_.type).name))
        if by is not None and found is not None:
            _check_keys(found, name, get_named_type(by.type))


def check_rules(schema: GraphQLSchema) -> None:
    """Hold every mirrored type to say who sees its rows. Raises `MirrorError`."""
    for mirror_ in MIRRORS.values():
        if mirror_.name in schema.type_map and mirror_.model not in RULES:
            raise MirrorError(f"{mirror_.name}: who sees its rows? Say it by visible=, if need be visible=everything")


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
    any_row = isinstance(get_named_type(type_), GraphQLInterfaceType)
    if attribute not in mapper.all_orm_descriptors and attribute not in mirror_.links and not any_row:
        raise MirrorError(f"{place}: {model} has no attribute {attribute!r}")
    if any_row:
        return
    node = connection_node(type_)
    inner = type_.of_type if isinstance(type_, GraphQLNonNull) else type_
    if attribute in mirror_.links:
        if node is None:
            raise MirrorError(f"{place} must be a connection: it is a list of many rows")
        return
    descriptor = mapper.all_orm_descriptors[attribute]
    if node is not None or not is_leaf_type(get_named_type(type_)):
        relation = mapper.relationships.get(attribute)
        if relation is None:
            raise MirrorError(f"{place}: {model}.{attribute} is not a relationship")
        target = MIRRORS.get(node or str(get_named_type(type_).name))
        if target is None or target.model is not relation.mapper.class_:
            raise MirrorError(f"{place}: {model}.{attribute} leads to {relation.mapper.class_.__name__}, not to {type_}")
        if bool(relation.uselist) != bool(node or is_list_type(inner)):
            raise MirrorError(f"{place}: {model}.{attribute} is {'a list' if relation.uselist else 'one row'}, not {type_}")
        if not relation.uselist and is_non_null_type(type_) and may_be_missing(relation):
            raise MirrorError(f"{place}: {model}.{attribute} may be missing, so the field must be nullable")
        return
    if attribute == "id":
        return
    if not isinstance(descriptor, hybrid_property) and attribute not in mapper.column_attrs:
        raise MirrorError(f"{place}: {model}.{attribute} is neither a column nor a derived attribute")
    shown: TypeEngine[Any] = expression_of(mapper, attribute).type
    if is_list_type(inner):
        if not isinstance(descriptor, hybrid_property) or not isinstance(shown, sqltypes.String):
            raise MirrorError(f"{place}: a list of values must be a derived attribute whose SQL is the JSON text of the list")
        return
    if not isinstance(descriptor, hybrid_property):
        column = mapper.columns[attribute]
        if column.nullable and is_non_null_type(type_):
            raise MirrorError(f"{place}: {model}.{attribute} may be null, so the field must be nullable")
        if not column.nullable and not is_non_null_type(type_):
            raise MirrorError(f"{place}: {model}.{attribute} is never null, so the field must not be nullable")
    named = get_named_type(type_)
    if not can_show(named, shown, derived=isinstance(descriptor, hybrid_property)):
        hint = "; say its type with type_coerce()" if isinstance(shown, sqltypes.NullType) else ""
        raise MirrorError(f"{place}: {model}.{attribute} is {shown!r}, which {named.name} cannot show{hint}")


def can_show(named: Any, shown: TypeEngine[Any], *, derived: bool) -> bool:
    """Whether a scalar or an enum can show every value of a type."""
    if isinstance(named, GraphQLEnumType):
        return isinstance(shown, Choice) and sorted(named.values) == sorted(choice.value for choice in shown.choices)
    scalar = SCALARS.get(named.name)
    return scalar is not None and any(shows(shown) for shows in (scalar.shows, *([scalar.derives] if derived else [])))


def _check_model(mirror_: Mirror) -> None:
    """What every read takes for granted."""
    mapper, model = mirror_.mapper, mirror_.model.__name__
    twin = next((each for each in MIRRORS.values() if each is not mirror_ and each.model is mirror_.model), None)
    if twin is not None:
        raise MirrorError(f"{mirror_.name}: {model} is mirrored by {twin.name}, too")
    if [column.key for column in mapper.primary_key] != ["id"] or not isinstance(mapper.primary_key[0].type, sqltypes.Integer):
        raise MirrorError(f"{mirror_.name}: the primary key of {model} must be one whole number, called id")
    for attribute in mapper.column_attrs:
        names = [getattr(column, "name", None) for column in attribute.columns]
        if names != [attribute.key]:
            raise MirrorError(f"{mirror_.name}: the column of {model}.{attribute.key} must be called like the attribute")
    for relation in mapper.relationships:
        if relation.key not in mirror_.attributes.values() or not relation.uselist:
            continue
        for column in relation.order_by or ():
            if not isinstance(column, Column):
                raise MirrorError(f"{mirror_.name}: the order of {model}.{relation.key} must be columns, not {column}")
    for relation in mapper.relationships if RULES else ():
        if needs_parent(relation) and plain_pair(relation) is None:
            raise MirrorError(f"{mirror_.name}: {model}.{relation.key} must be one foreign key where rows have rules")


def _check_untold(mirror_: Mirror, type_: GraphQLObjectType) -> None:
    """What is null for some viewers can be, and no other field, order or search tells it to them."""
    secret = columns_untold()
    for name, attribute in mirror_.attributes.items():
        place = f"{mirror_.name}.{name}"
        if attribute in mirror_.untold:
            if is_non_null_type(type_.fields[name].type) or not is_leaf_type(get_named_type(type_.fields[name].type)):
                raise MirrorError(f"{place} is not told to all viewers, so it must be a value that may be null")
        elif attribute in mirror_.mapper.all_orm_descriptors:
            _refuse_secret(place, mirror_.mapper, attribute, secret)
    for path in (*mirror_.sorts, *mirror_.search):
        mapper, _, attribute = _resolve(mirror_, path)
        if path in mirror_.search or not is_untold(mirror_, path):
            _refuse_secret(f"{mirror_.name}: {path!r}", mapper, attribute, secret)


def _refuse_secret(place: str, mapper: Mapper[Any], attribute: str, secret: set[str]) -> None:
    if found := columns_read(mapper, attribute) & secret:
        raise MirrorError(f"{place} would tell {', '.join(sorted(found))} to those who may not be told it")


def _check_sorts(mirror_: Mirror) -> None:
    names: dict[str, str] = {}
    for path in mirror_.sorts:
        mapper, _, attribute = _resolve(mirror_, path)
        type_ = expression_of(mapper, attribute).type
        if position_for(type_) is None:
            raise MirrorError(f"{mirror_.name}: {path!r} is {type_!r}, which rows cannot be sorted by alike on every database")
        other = names.setdefault(path.upper().replace(".", "_"), path)
        if other != path:
            raise MirrorError(f"{mirror_.name}: {path!r} and {other!r} have one name among the sort fields")


def _check_search(mirror_: Mirror, path: str) -> None:
    mapper, relation, attribute = _resolve(mirror_, path)
    type_ = expression_of(mapper, attribute).type
    bare = type_.impl_instance if isinstance(type_, TypeDecorator) else type_
    if not isinstance(bare, sqltypes.String):
        raise MirrorError(f"{mirror_.name}: {path!r} is {type_!r}, and only texts can be searched")
    if relation is None:
        return
    if plain_pair(relation) is None:
        raise MirrorError(f"{mirror_.name}: {path!r} goes through {relation.key!r}, which is more than one foreign key")
    if not any(each.model is mapper.class_ for each in MIRRORS.values()):
        raise MirrorError(f"{mirror_.name}: {path!r} leads to {mapper.class_.__name__}, which no type mirrors")


def _check_hidden(mirror_: Mirror) -> None:
    attribute = mirror_.hidden_unless_mentioned
    if attribute is None:
        return
    if attribute not in mirror_.attributes.values():
        raise MirrorError(f"{mirror_.name}: no field shows {attribute!r}, so no filter can mention it")
    column = mirror_.mapper.columns.get(attribute)
    boolean = isinstance(expression_of(mirror_.mapper, attribute).type, sqltypes.Boolean)
    if not boolean or (column is not None and column.nullable):
        raise MirrorError(f"{mirror_.name}: {attribute!r} must be a Boolean that is never null to hide rows")


def _resolve(mirror_: Mirror, path: str) -> tuple[Mapper[Any], RelationshipProperty[Any] | None, str]:
    """Where the path of a sort or a search leads: the mapper, the relation on the way, the attribute, which is a value."""
    mapper = mirror_.mapper
    *relations, attribute = path.split(".")
    if len(relations) > 1:
        raise MirrorError(f"{mirror_.name}: {path!r} goes through more than one relation")
    relation = mapper.relationships.get(relations[0]) if relations else None
    if relations and (relation is None or relation.uselist):
        raise MirrorError(f"{mirror_.name}: {path!r} goes through {relations[0]!r}, which is no to-one relation")
    mapper = mapper if relation is None else relation.mapper
    descriptor = mapper.all_orm_descriptors.get(attribute)
    if descriptor is None or not (attribute in mapper.column_attrs or isinstance(descriptor, hybrid_property)):
        raise MirrorError(f"{mirror_.name}: {path!r} names no attribute of {mapper.class_.__name__} that is a value")
    return mapper, relation, attribute

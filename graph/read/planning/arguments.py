"""Argument values as the planner sees them: their shape now, and where each value will stand in later requests.

What goes in: argument nodes of a document and coerced variables. What comes out: the same nesting of dicts and lists with a
`Leaf` at each end, and `shape`, the part of the variables that a plan may depend on. What is refused here: nothing;
graphql-core has validated the document and coerced the variables.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from graphql import (
    FieldNode,
    GraphQLArgument,
    GraphQLBoolean,
    GraphQLEnumType,
    GraphQLField,
    GraphQLInputField,
    GraphQLInputObjectType,
    GraphQLInputType,
    ListValueNode,
    ObjectValueNode,
    Undefined,
    ValueNode,
    VariableNode,
    get_nullable_type,
    is_leaf_type,
    is_list_type,
)
from graphql.utilities.coerce_input_value import coerce_default_value, coerce_input_literal

from graph.read.types.mirror import MIRRORS
from graph.read.types.scalars import parse_id


@dataclass(frozen=True, slots=True)
class Constant:
    """A value that the document itself holds."""

    value: Any


@dataclass(frozen=True, slots=True)
class Given:
    """Where a value stands in the coerced variables: `("where", "and", 0, "status", "eq")`."""

    path: tuple[str | int, ...]


@dataclass(frozen=True, slots=True)
class Listed:
    """A list literal with variables in it."""

    parts: tuple[Source, ...]


Source = Constant | Given | Listed


def resolve(source: Source, variables: Mapping[str, Any]) -> Any:
    """The value that a source has in this request."""
    if isinstance(source, Constant):
        return source.value
    if isinstance(source, Listed):
        return [resolve(part, variables) for part in source.parts]
    value: Any = variables
    for step in source.path:
        value = value[step]
    return value


@dataclass(frozen=True, slots=True)
class Leaf:
    """A scalar, an enum value or a list of them: its value in this request and its source in all requests of this shape.

    A planner may look at `value` only where `shape` keeps what it looks at.
    """

    value: Any
    source: Source


Template = Leaf | dict[str, Any] | list[Any]


def nullable(type_: GraphQLInputType) -> Any:
    """The type without its `!`; any, since graphql-core's own type is one of outputs too."""
    return get_nullable_type(type_)


def read_arguments(field: GraphQLField, node: FieldNode, variables: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments of a field, defaults included; a missing variable is a missing argument."""
    nodes = {argument.name.value: argument.value for argument in node.arguments or ()}
    return _fields(field.args, nodes, variables)


def _fields(
    definitions: Mapping[str, GraphQLArgument] | Mapping[str, GraphQLInputField],
    nodes: Mapping[str, ValueNode],
    variables: Mapping[str, Any],
) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, definition in definitions.items():
        value = _read(definition.type, nodes[name], variables) if name in nodes else None
        if value is not None:
            found[name] = value
        elif (default := coerce_default_value(definition)) is not Undefined:
            found[name] = lift(definition.type, default, None)
    return found


def _read(type_: GraphQLInputType, node: ValueNode, variables: Mapping[str, Any]) -> Template | None:
    if isinstance(node, VariableNode):
        name = node.name.value
        return lift(type_, variables[name], (name,)) if name in variables else None
    type_ = nullable(type_)
    if is_list_type(type_):
        nodes: Sequence[ValueNode] = node.values if isinstance(node, ListValueNode) else ()
        if not isinstance(node, ListValueNode):
            if coerce_input_literal(node, type_) is None:
                return Leaf(None, Constant(None))
            nodes = (node,)
        parts = [part for part in (_read(type_.of_type, child, variables) for child in nodes) if part is not None]
        if is_leaf_type(get_nullable_type(type_.of_type)):
            value = [part.value for part in parts if isinstance(part, Leaf)]
            return Leaf(value, Listed(tuple(part.source for part in parts if isinstance(part, Leaf))))
        return parts
    if isinstance(type_, GraphQLInputObjectType) and isinstance(node, ObjectValueNode):
        return _fields(type_.fields, {field.name.value: field.value for field in node.fields}, variables)
    value = coerce_input_literal(node, type_)
    return Leaf(value, Constant(value))


def lift(type_: GraphQLInputType, value: Any, path: tuple[str | int, ...] | None) -> Template:
    """A coerced value as a template; `path` is None for a default of the schema."""
    type_ = nullable(type_)
    if value is not None:
        if isinstance(type_, GraphQLInputObjectType):
            return {name: lift(type_.fields[name].type, part, path and (*path, name)) for name, part in value.items()}
        if is_list_type(type_) and not is_leaf_type(get_nullable_type(type_.of_type)):
            return [lift(type_.of_type, part, path and (*path, index)) for index, part in enumerate(value)]
    return Leaf(value, Constant(value) if path is None else Given(path))


def ids_shape(texts: Any) -> Hashable:
    """How many ids of which type a list holds."""
    return None if texts is None else tuple(sorted(Counter(map(id_type, texts)).items()))


Shaper = Callable[[Any], Hashable]


def id_type(text: str) -> str:
    """The mirrored type that a global id names, or nothing."""
    parsed = parse_id(text)
    mirror = MIRRORS.get(parsed[0]) if parsed is not None else None
    return mirror.name if mirror is not None and mirror.is_node else ""


def shaper(type_: GraphQLInputType, known: dict[str, Shaper]) -> Shaper:
    """A function that reduces a coerced value of `type_` to what a plan may depend on.

    Kept: which keys are there at every depth, what is null, the lengths of lists of objects, Booleans, enum values. Never any
    other value. `known` holds the shapers of input objects, which may refer to themselves.
    """
    type_ = nullable(type_)
    if is_list_type(type_):
        inner = get_nullable_type(type_.of_type)
        if is_leaf_type(inner) and inner is not GraphQLBoolean and not isinstance(inner, GraphQLEnumType):
            return _presence
        each = shaper(inner, known)
        return lambda value: None if value is None else tuple(map(each, value))
    if isinstance(type_, GraphQLInputObjectType):
        name = type_.name
        if name not in known:
            fields: dict[str, Shaper] = {}
            known[name] = lambda value: None if value is None else tuple((key, fields[key](part)) for key, part in value.items())
            fields.update({key: shaper(field.type, known) for key, field in type_.fields.items()})
        return known[name]
    if isinstance(type_, GraphQLEnumType) or type_ is GraphQLBoolean:
        return lambda value: value
    return _presence


def _presence(value: Any) -> Hashable:
    return value is not None

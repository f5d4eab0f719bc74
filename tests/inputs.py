"""Every place of the schema's inputs, found by introspection, and documents that put something there.

What goes in: a root type of the schema. What comes out: `Place`s, which make the arguments that hold a value there, with the
least that the schema asks for around it.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from graphql import (
    GraphQLEnumType,
    GraphQLField,
    GraphQLInputObjectType,
    GraphQLObjectType,
    get_nullable_type,
    is_list_type,
    is_non_null_type,
    is_required_argument,
    is_required_input_field,
)

#: A value of each scalar that the domain takes or refuses as data.
LEAST: dict[str, Any] = {
    "Int": 1,
    "Boolean": True,
    "String": "least",
    "ID": "Nothing:1",
    "Decimal": "1",
    "Percent": "1",
    "DateTime": "2000-01-01T00:00:00Z",
}
#: Something that is no value of the type.
WRONG: dict[str, Any] = {
    "Int": "1",
    "Boolean": 1,
    "String": 1,
    "ID": True,
    "Decimal": True,
    "Percent": "half",
    "DateTime": "soon",
}


class Name(str):
    """An enum value or a variable, which documents write without quotes."""

    __slots__ = ()


@dataclass(frozen=True)
class Place:
    """A place in the arguments of a root field. `choice` says that it is a field of a `@oneOf` input."""

    field: str
    definition: GraphQLField
    path: tuple[str, ...]
    type: Any
    default: bool
    choice: bool

    def __str__(self) -> str:
        return f"{self.field}({'.'.join(self.path)})"

    @property
    def needed(self) -> bool:
        """Whether null may not stand there."""
        return is_non_null_type(self.type) or self.choice

    def holding(self, value: Any) -> dict[str, Any]:
        """The arguments of the field with this value at the place."""
        name, *rest = self.path
        least = {key: least_of(arg.type) for key, arg in self.definition.args.items() if is_required_argument(arg)}
        return {**least, name: holding(self.definition.args[name].type, rest, value)}


def places(root: GraphQLObjectType) -> Iterator[Place]:
    """The places in the arguments of all fields; each field of an input type once."""
    seen: set[tuple[str, str]] = set()
    for field, definition in root.fields.items():
        waiting: list[tuple[tuple[str, ...], Any, bool, bool]] = [
            ((name,), arg.type, arg.default is not None, False) for name, arg in definition.args.items()
        ]
        while waiting:
            path, type_, default, choice = waiting.pop(0)
            yield Place(field, definition, path, type_, default, choice)
            inner = get_nullable_type(type_)
            if is_list_type(inner):
                waiting.append(((*path, "0"), inner.of_type, False, False))
            elif isinstance(inner, GraphQLInputObjectType):
                for name, part in inner.fields.items():
                    if (inner.name, name) not in seen:
                        seen.add((inner.name, name))
                        waiting.append(((*path, name), part.type, part.default is not None, inner.is_one_of))


def holding(type_: Any, path: Sequence[str], value: Any) -> Any:
    """The least value of a type that has this value at a path."""
    if not path:
        return value
    type_ = get_nullable_type(type_)
    name, *rest = path
    if is_list_type(type_):
        return [holding(type_.of_type, rest, value)]
    around = {} if type_.is_one_of else least_of(type_)
    return {**around, name: holding(type_.fields[name].type, rest, value)}


def least_of(type_: Any) -> Any:
    """The least value of a type."""
    type_ = get_nullable_type(type_)
    if is_list_type(type_):
        return [least_of(type_.of_type)]
    if isinstance(type_, GraphQLEnumType):
        return Name(next(iter(type_.values)))
    if not isinstance(type_, GraphQLInputObjectType):
        return LEAST[type_.name]
    fields = dict(list(type_.fields.items())[:1]) if type_.is_one_of else type_.fields
    return {name: least_of(f.type) for name, f in fields.items() if type_.is_one_of or is_required_input_field(f)}


def wrong_of(type_: Any) -> list[Any]:
    """Values that do not fit a type."""
    type_ = get_nullable_type(type_)
    if is_list_type(type_):
        return wrong_of(type_.of_type)
    if isinstance(type_, GraphQLInputObjectType):
        return [5, {"noSuchField": 1}, *([{}, dict.fromkeys(type_.fields)] if type_.is_one_of else [])]
    return [Name("NO_SUCH_VALUE") if isinstance(type_, GraphQLEnumType) else WRONG[type_.name], {"an": "object"}]


def literal(value: Any) -> str:
    """A value as a document writes it."""
    if isinstance(value, Name):
        return str(value)
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key}: {literal(part)}" for key, part in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(literal, value)) + "]"
    return json.dumps(value)


def written(arguments: dict[str, Any]) -> str:
    """Arguments as a document writes them."""
    return ", ".join(f"{name}: {literal(value)}" for name, value in arguments.items())

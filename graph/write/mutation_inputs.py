"""Inputs as the unit of work sees them: which fields were sent, under which names.

What goes in: instances of Strawberry input types. What comes out: the fields that were
sent. Absent and null are told apart: a field declared `Maybe[T | None]` is absent as `None` and null as `Some(None)`. What is
refused here: a schema with an input field of a mutation that cannot tell them apart raises `InputError`.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any, cast

from graphql import (
    GraphQLInputObjectType,
    GraphQLSchema,
    get_named_type,
    get_nullable_type,
    is_list_type,
    is_non_null_type,
)
from strawberry import UNSET, Some
from strawberry.types.base import StrawberryMaybe, StrawberryOptional, get_object_definition
from strawberry.utils.str_converters import to_camel_case

#: What a field that was not sent holds.
ABSENT: Any = UNSET

#: In the metadata of an optional field: an entry that makes a row needs it, one that changes a row does not.
NEEDED = "needed by a new row"


@dataclass(frozen=True, slots=True)
class Field:
    """A field of an input type: the attribute that holds it, the name clients send, whether a new row needs it."""

    attribute: str
    name: str
    needed: bool


@cache
def _input_fields(type_: Hashable) -> tuple[Field, ...]:
    definition = get_object_definition(cast("type", type_), strict=True)
    return tuple(
        Field(f.python_name, f.graphql_name or to_camel_case(f.python_name), NEEDED in f.metadata) for f in definition.fields
    )


def input_fields(type_: type) -> tuple[Field, ...]:
    """The fields of an input type, in the order declared."""
    return _input_fields(cast("Hashable", type_))


def given(input_: Any, attribute: str) -> Any:
    """What was sent for an attribute, or `ABSENT`."""
    value = getattr(input_, attribute, None)
    if value is None:
        return ABSENT
    return value.value if type(value) is Some else value


def sent(input_: Any) -> Iterator[tuple[Field, Any]]:
    """The fields that were sent, with their values; null is `None`."""
    for field in input_fields(type(input_)):
        value = given(input_, field.attribute)
        if value is not ABSENT:
            yield field, value


def chosen(input_: Any) -> tuple[Field, Any]:
    """The one field that was sent of a `@oneOf` input."""
    for field in input_fields(type(input_)):
        value = given(input_, field.attribute)
        if value is not ABSENT:
            return field, value
    raise ValueError("nothing was chosen")


# ---- checked at import


class InputError(TypeError):
    """An input field of a mutation would take null for something it is not."""


def check(schema: GraphQLSchema) -> None:
    """See that null has a meaning wherever the inputs of mutations let it stand. Raises `InputError`.

    A nullable field is `Maybe[T | None]`: what works with it sees null, and refuses it or not. Of a `@oneOf` input one field is
    sent, and coercion sees that it is not null. Filters are read by the reads' own code.
    """
    for type_ in _input_types(schema):
        definition = type_.extensions["strawberry-definition"]
        declared = {name: f for f in definition.fields for name in (f.graphql_name or to_camel_case(f.python_name),)}
        for name, field in type_.fields.items():
            kind = declared[name].resolve_type(type_definition=definition)
            told_apart = isinstance(kind, StrawberryMaybe) and isinstance(kind.of_type, StrawberryOptional)
            if not (is_non_null_type(field.type) or told_apart or type_.is_one_of):
                raise InputError(f"{type_.name}.{name} takes null for absent: declare it Maybe[... | None], or without null")
            inner: Any = get_nullable_type(field.type)
            while is_list_type(inner):
                if not is_non_null_type(inner.of_type):
                    raise InputError(f"{type_.name}.{name} takes null among its entries: declare them without null")
                inner = get_nullable_type(inner.of_type)


def _input_types(schema: GraphQLSchema) -> Iterable[GraphQLInputObjectType]:
    """The input objects that mutations take, filters left out."""
    assert schema.mutation_type is not None
    found: dict[str, GraphQLInputObjectType] = {}
    waiting = [get_named_type(arg.type) for field in schema.mutation_type.fields.values() for arg in field.args.values()]
    while waiting:
        type_ = waiting.pop()
        if isinstance(type_, GraphQLInputObjectType) and type_.name not in found and not is_filter(type_.name):
            found[type_.name] = type_
            waiting += [get_named_type(field.type) for field in type_.fields.values()]
    return found.values()


def is_filter(name: str) -> bool:
    """Whether an input type is a filter, by its name."""
    return name.endswith("Where")

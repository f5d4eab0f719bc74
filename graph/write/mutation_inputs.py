"""Inputs as the unit of work sees them: which fields were sent, under which names.

What goes in: instances of Strawberry input types, and the coerced values they are made of. What comes out: the fields that were
sent. Absent and null are told apart: a field declared `Maybe[T | None]` is absent as `None` and null as `Some(None)`. What is
refused here: a schema with an input field of a mutation that cannot tell them apart raises `InputError`.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping
from dataclasses import MISSING, dataclass
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
from strawberry.types.base import StrawberryList, StrawberryMaybe, StrawberryOptional, get_object_definition
from strawberry.types.lazy_type import LazyType
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


# ---- from coerced values to instances

Convert = Callable[[Any], Any]


def quicken(schema: GraphQLSchema) -> None:
    """Make the inputs of all mutations by converters that are put together once.

    Strawberry resolves every type of every field of every value anew, which costs more than writing the rows.
    """
    assert schema.mutation_type is not None
    for field in schema.mutation_type.fields.values():
        for argument in field.args.values():
            definition = get_named_type(argument.type).extensions["strawberry-definition"]
            definition.from_input = lambda type_, value, context: _converter(type_)(value)


@cache
def _converter(type_: Hashable) -> Convert:
    """A function that makes an instance of an input type."""
    definition = get_object_definition(cast("type", type_), strict=True)
    absent = {f.python_name: None for f in definition.fields if f.default is MISSING and f.default_factory is MISSING}
    names = {f.name: f for f in input_fields(cast("type", type_))}
    converts: dict[str, tuple[str, Convert | None]] = {}

    def make(value: Mapping[str, Any]) -> Any:
        if not converts:  # input types may contain themselves
            kinds = {f.python_name: f.resolve_type(type_definition=definition) for f in definition.fields}
            converts.update({name: (f.attribute, _convert(kinds[f.attribute])) for name, f in names.items()})
        given = dict(absent)
        for name, part in value.items():
            attribute, convert = converts[name]
            given[attribute] = part if convert is None else convert(part)
        return cast("Any", type_)(**given)

    return make


def _convert(type_: Any) -> Convert | None:
    """A function that converts a value of a field's type, or None where the coerced value stays as it is."""
    if isinstance(type_, StrawberryMaybe):
        wrapped = _convert(type_.of_type)
        return Some if wrapped is None else lambda value: Some(wrapped(value))
    if isinstance(type_, StrawberryOptional):
        present = _convert(type_.of_type)
        return None if present is None else lambda value: None if value is None else present(value)
    if isinstance(type_, StrawberryList):
        each = _convert(type_.of_type)
        return None if each is None else lambda values: [each(value) for value in values]
    if isinstance(type_, LazyType):
        type_ = type_.resolve_type()
    definition = get_object_definition(type_)
    # A filter is read from its coerced value, by the reads' own code.
    return None if definition is None or is_filter(definition.name) else _converter(type_)

"""Inputs as the unit of work sees them: which fields were sent, under which names.

What goes in: instances of Strawberry input types. What comes out: `Sent` values. Absent and null are told apart: a field
declared `Maybe[T | None]` is absent as `None` and null as `Some(None)`.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any, cast

from strawberry import UNSET, Some
from strawberry.types.base import get_object_definition
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
    return next(sent(input_))

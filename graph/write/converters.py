"""Inputs of mutations made by functions that are put together once: coerced values in, instances of input types out.

What goes in: an input type. What comes out: the function that makes an instance of a coerced value. What may be refused here:
nothing.

Strawberry's own `convert_argument` resolves every type of every field of every value anew. A customer with one order of three
lines costs it 480 us of processor time, which is more than writing the rows, and this 10 to 18. A test holds the two equal.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping
from dataclasses import MISSING
from functools import cache
from typing import Any, cast

from strawberry import Some
from strawberry.types.base import StrawberryList, StrawberryMaybe, StrawberryOptional, get_object_definition
from strawberry.types.lazy_type import LazyType

from graph.write.mutation_inputs import input_fields, is_filter

Convert = Callable[[Any], Any]


@cache
def converter(type_: Hashable) -> Convert:
    """A function that makes an instance of an input type."""
    definition = get_object_definition(cast("type", type_), strict=True)
    absent = {f.python_name: None for f in definition.fields if f.default is MISSING and f.default_factory is MISSING}
    names = {f.name: f for f in input_fields(cast("type", type_))}
    converts: dict[str, tuple[str, Convert | None]] = {}

    def make(value: Mapping[str, Any]) -> Any:
        if not converts:  # input types may contain themselves
            kinds = {f.python_name: f.resolve_type(type_definition=definition) for f in definition.fields}
            converts.update({name: (f.attribute, _of_type(kinds[f.attribute])) for name, f in names.items()})
        given = dict(absent)
        for name, part in value.items():
            attribute, convert = converts[name]
            given[attribute] = part if convert is None else convert(part)
        return cast("Any", type_)(**given)

    return make


def _of_type(type_: Any) -> Convert | None:
    """A function that converts a value of a field's type, or None where the coerced value stays as it is."""
    if isinstance(type_, StrawberryMaybe):
        wrapped = _of_type(type_.of_type)
        return Some if wrapped is None else lambda value: Some(wrapped(value))
    if isinstance(type_, StrawberryOptional):
        present = _of_type(type_.of_type)
        return None if present is None else lambda value: None if value is None else present(value)
    if isinstance(type_, StrawberryList):
        each = _of_type(type_.of_type)
        return None if each is None else lambda values: [each(value) for value in values]
    if isinstance(type_, LazyType):
        type_ = type_.resolve_type()
    definition = get_object_definition(type_)
    # A filter is read from its coerced value, by the reads' own code.
    return None if definition is None or is_filter(definition.name) else converter(type_)

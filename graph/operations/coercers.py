"""Input types as functions: a JSON value in, graphql-core's coerced value out, or `Undefined` where it does not fit.

What goes in: input types of the schema. What comes out: for each a function that is put together once. graphql-core's own
`coerce_input_value` asks every type anew what it is, for every value of every request: a customer with one order of three lines
costs it 43 us of processor time, and this 17. It remains the judge: what does not fit here is given to it, and it says why. A
test holds the two equal.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache, partial
from typing import Any

from graphql import (
    GraphQLInputObjectType,
    GraphQLInputType,
    Undefined,
    is_list_type,
    is_non_null_type,
    is_required_input_field,
)
from graphql.utilities.coerce_input_value import coerce_default_value

Coercer = Callable[[Any], Any]


def coercer(type_: GraphQLInputType, null: Any = None) -> Coercer:
    """What coerces values of a type; `null` is what null becomes."""
    if is_non_null_type(type_):
        return coercer(type_.of_type, Undefined)
    if is_list_type(type_):
        return _list(coercer(type_.of_type), null)
    return _named(type_, null)


@cache
def _named(type_: Any, null: Any) -> Coercer:
    return _object(type_, null) if isinstance(type_, GraphQLInputObjectType) else _leaf(type_.coerce_input_value, null)


def _leaf(convert: Coercer, null: Any) -> Coercer:
    def coerce(value: Any) -> Any:
        if value is None:
            return null
        try:
            return convert(value)
        except Exception:  # graphql-core takes all that a scalar raises for a refusal, too
            return Undefined

    return coerce


def _list(entry: Coercer, null: Any) -> Coercer:
    def coerce(value: Any) -> Any:
        if value is None:
            return null
        coerced = []
        for part in value if isinstance(value, list) else (value,):  # what is no list is a list of one
            made = entry(part)
            if made is Undefined:
                return Undefined
            coerced.append(made)
        return coerced

    return coerce


def _object(type_: GraphQLInputObjectType, null: Any) -> Coercer:
    fields: list[tuple[str, str, Coercer, Callable[[], Any] | None]] = []

    def describe_fields() -> None:
        found: list[tuple[str, str, Coercer, Callable[[], Any] | None]] = []
        for name, field in type_.fields.items():
            absent: Callable[[], Any] | None = None
            if is_required_input_field(field):
                absent = _undefined
            elif coerce_default_value(field) is not Undefined:
                absent = partial(coerce_default_value, field)
            found.append((name, field.out_name or name, coercer(field.type), absent))
        fields[:] = found  # at once: another thread may be coercing

    def coerce(value: Any) -> Any:
        if not isinstance(value, dict):
            return null if value is None else Undefined
        if not fields:  # not before the first value: types may contain themselves
            describe_fields()
        coerced: dict[str, Any] = {}
        unknown = len(value)
        for name, out_name, convert, absent in fields:
            if name in value:
                unknown -= 1
                made = convert(value[name])
            elif absent is None:
                continue
            else:
                made = absent()
            if made is Undefined:
                return Undefined
            coerced[out_name] = made
        if unknown or (type_.is_one_of and (len(coerced) != 1 or None in coerced.values())):
            return Undefined
        return type_.out_type(coerced)

    return coerce


def _undefined() -> Any:
    """What a required field is that is not there."""
    return Undefined

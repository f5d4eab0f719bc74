"""How a value of each scalar is shown: scalar and SQL expression to the parts of its JSON text.

What goes in: the name of a GraphQL scalar or enum, an SQL expression. What comes out: constants and expressions whose
concatenation is the JSON. A new scalar is one line here and one golden case.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from sqlalchemy import ColumnElement, case, func, not_

from graph.read.sql.constructs import Concat, Filled, JsonString, MoneyText, TimeText, literal

Part = str | ColumnElement[Any]

CODECS: dict[str, Callable[[Any], list[Part]]] = {
    "Int": lambda value: [value],
    "BigInt": lambda value: ['"', value, '"'],
    "String": lambda value: [JsonString(value)],
    "Boolean": lambda value: [case((value, literal("true")), else_=literal("false"))],
    "Decimal": lambda value: ['"', MoneyText(value), '"'],
    "JSON": lambda value: [value],  # a list, which an expression of the model already shows as JSON text
    "DateTime": lambda value: ['"', TimeText(value), 'Z"'],
}


def encode(scalar: str, value: Any, nullable: bool) -> list[Part]:
    """The JSON text of `value`, as parts to concatenate. A scalar without a codec is an enum: its names need no escape."""
    if nullable and scalar == "Boolean":
        return [or_null(case((value, literal("true")), (not_(value), literal("false"))))]
    parts = CODECS[scalar](value) if scalar in CODECS else ['"', value, '"']
    return [or_null(concatenated(parts))] if nullable else parts


def or_null(text: ColumnElement[str]) -> ColumnElement[str]:
    """A text as JSON; null where it is NULL."""
    return func.coalesce(text, literal("null"))


def concatenated(parts: list[Part]) -> ColumnElement[str]:
    """Parts as one text expression, NULL where one of them is."""
    return Concat(*_merged(parts))


def encode_id(type_name: str, key: Any) -> list[Part]:
    """A global id."""
    return [f'"{type_name}:', key, '"']


def joined(parts: list[Part]) -> ColumnElement[str]:
    """Parts, none of which is NULL, as one text expression."""
    return Filled(*_merged(parts))


def _merged(parts: list[Part]) -> list[ColumnElement[Any]]:
    """Neighbouring constants become one, nested concatenations are laid flat."""
    merged: list[Part] = []
    for part in parts:
        if isinstance(part, str) and merged and isinstance(merged[-1], str):
            merged[-1] += part
        elif part != "" if isinstance(part, str) else True:
            merged.append(part)
    if merged and not isinstance(merged[0], str):
        merged.insert(0, "")  # text first, so that `||` is text concatenation from the start
    return [literal(part) if isinstance(part, str) else part for part in merged]


def json_object(members: list[tuple[str, list[Part]]]) -> list[Part]:
    """A JSON object; keys are GraphQL names and need no escape."""
    parts: list[Part] = []
    for index, (key, value) in enumerate(members):
        parts += [f'{"," if index else "{"}"{key}":', *value]
    return [*parts, "}"] if members else ["{}"]

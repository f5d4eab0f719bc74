"""JSON texts in SQL: values and their parts become one text expression.

What goes in: the name of a GraphQL scalar or enum, SQL expressions. What comes out: constants and expressions whose concatenation
is the JSON. How a scalar is written is said in its record.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from sqlalchemy import ColumnElement, func

from graph.read.sql.constructs import Concat, Filled, Gathered
from graph.read.types.encodings import Part, literal
from graph.read.types.scalars import scalar_of


def encode(scalar: str, value: Any, nullable: bool) -> list[Part]:
    """The JSON text of `value`, as parts to concatenate."""
    record = scalar_of(scalar)
    write = (record.encode_nullable if nullable else None) or record.encode
    assert write is not None, f"{scalar} is a scalar of inputs"
    return as_null(write(value), nullable)


def as_null(parts: list[Part], nullable: bool) -> list[Part]:
    """The parts of a JSON text; null where one of them is NULL, if any may be."""
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


def joined(parts: list[Part], lists: int = 0) -> ColumnElement[str]:
    """Parts, none of which is NULL, as one text expression; so many of them are lists."""
    return (Gathered if lists > 1 else Filled)(*_merged(parts))


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


def json_list(entries: ColumnElement[str]) -> list[Part]:
    """A JSON list. `entries` are those of it with commas between, NULL where there is none."""
    return ["[", func.coalesce(entries, literal("")), "]"]


def json_tuple(values: Iterable[Sequence[Part]]) -> list[Part]:
    """A JSON list of so many values, each the parts of its text."""
    parts = [part for value in values for part in (",", *value)]
    return ["[", *parts[1:], "]"]


def json_object(members: list[tuple[str, list[Part]]]) -> list[Part]:
    """A JSON object; keys are GraphQL names and need no escape."""
    parts: list[Part] = []
    for index, (key, value) in enumerate(members):
        parts += [f'{"," if index else "{"}"{key}":', *value]
    return [*parts, "}"] if members else ["{}"]

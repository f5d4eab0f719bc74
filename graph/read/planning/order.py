"""Keyset paging: orders, cursors, and the condition that a row lies beyond a cursor.

What goes in: `orderBy` templates, cursor texts, aliased columns. What comes out: `SortKey`s, cursor values, SQL conditions.
What is refused here: a cursor that was not made for this order raises `BadUserInput`. A cursor is hex of a JSON list: a tag
that names type and order, then the values of the keys. It carries no secret.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from functools import cache
from typing import Any, Literal

from graphql import GraphQLError
from sqlalchemy import ColumnElement, and_, false, inspect, or_, tuple_
from sqlalchemy.orm import Mapper
from sqlalchemy.sql import sqltypes
from sqlalchemy.types import TypeEngine

from graph.base import UtcDateTime
from graph.read.planning.plan import SortKey
from graph.read.refusals import BadUserInput
from graph.read.types.mirror import MIRRORS, Mirror
from graph.read.types.scalars import MAX_KEY, utc_time
from graph.texts import CodePointText

#: A cursor may hold any number and any text, not only those of the column: it is a position.
CURSOR_TYPES: dict[str, TypeEngine[Any]] = {"int": sqltypes.BigInteger(), "text": CodePointText}

#: Rows may hold texts from before a limit was lowered; numbers, times and the tag of a cursor take less than this.
USUAL_TEXT_LENGTH = 10_000
REST_OF_CURSOR = 4_000


def read_order(mirror: Mirror, template: list[dict[str, Any]] | None) -> tuple[SortKey, ...]:
    """The sort keys of an `orderBy` argument, completed by the id in the direction of the last key."""
    keys: dict[str, SortKey] = {}
    for entry in template or ():
        path, descending = entry["field"].value, entry["direction"].value.value == "DESC"
        keys.setdefault(path, _sort_key(mirror, str(getattr(path, "value", path)), descending))
    last = next(reversed(keys.values()), None)
    return (*keys.values(), SortKey("id", last.descending if last else False, False, "int"))


def _sort_key(mirror: Mirror, path: str, descending: bool) -> SortKey:
    mapper: Mapper[Any] = mirror.mapper
    *relations, attribute = path.split(".")
    nullable = False
    for name in relations:
        relation = mapper.relationships[name]
        nullable = nullable or any(column.nullable for column in relation.local_columns)
        mapper = inspect(relation.mapper.class_)
    column = mapper.columns[attribute]
    kind: Literal["int", "text", "time"] = "text"
    if isinstance(column.type, UtcDateTime):
        kind = "time"
    elif isinstance(getattr(column.type, "impl", column.type), sqltypes.Integer):
        kind = "int"
    return SortKey(path, descending, nullable or bool(column.nullable), kind)


def order_tag(type_name: str, order: Sequence[SortKey]) -> str:
    """What a cursor says of the order it was made for."""
    return type_name + "".join(f" {key.path}{'-' if key.descending else '+'}" for key in order)


@cache
def longest_cursor(max_text_length: int) -> int:
    """How long a cursor can be that this server makes of texts of this length.

    Hex takes two characters a byte, and JSON at most six bytes a character.
    """
    texts = [sum(_sort_key(mirror, path, False).kind == "text" for path in mirror.sorts) for mirror in MIRRORS.values()]
    return 12 * max(max_text_length, USUAL_TEXT_LENGTH) * max(texts) + REST_OF_CURSOR


def decode(text: str) -> list[Any] | None:
    """The list in a cursor's text, or None where there is none."""
    try:
        found = json.loads(bytes.fromhex(text), parse_float=_refuse, parse_constant=_refuse)
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, list) else None


def _refuse(text: str) -> Any:
    raise ValueError(text)


def cursor_shape(text: Any) -> tuple[bool, ...] | None:
    """Which keys of a cursor are null; what a plan may depend on."""
    return None if text is None else tuple(value is None for value in (decode(text) or ())[1:20])


def cursor_values(text: Any, tag: str, order: Sequence[SortKey], argument: Sequence[str]) -> list[Any]:
    """The values in a cursor, of the types of the order's keys. Raises `BadUserInput`."""
    found = decode(text)
    if found is None or len(found) != len(order) + 1 or found[0] != tag:
        raise BadUserInput("the cursor was not made for this list and order", argument)
    return [_cursor_value(key, value, argument) for key, value in zip(order, found[1:], strict=True)]


def _cursor_value(key: SortKey, value: Any, argument: Sequence[str]) -> Any:
    if value is None and key.nullable:
        return None
    if key.kind == "int" and isinstance(value, int) and not isinstance(value, bool) and -MAX_KEY <= value <= MAX_KEY:
        return value
    if key.kind == "text" and isinstance(value, str) and is_storable(value):
        return value
    if key.kind == "time" and isinstance(value, str):
        try:
            return utc_time(value)
        except GraphQLError:
            pass
    raise BadUserInput("the cursor does not hold values of this order", argument)


def is_storable(text: str) -> bool:
    """Whether both databases can hold a text: no NUL, no lone surrogate."""
    if not text.isascii():
        try:
            text.encode()
        except UnicodeEncodeError:
            return False
    return "\x00" not in text


def beyond(
    order: Sequence[SortKey],
    columns: Sequence[Any],
    nulls: Sequence[bool],
    value: Callable[[int], ColumnElement[Any]],
    backward: bool,
) -> ColumnElement[bool]:
    """The condition that a row comes after the cursor in the order, or before it where `backward`.

    `value(i)` binds the cursor's value of key `i`. One row comparison where that says it all, since an index serves it;
    otherwise a nested comparison led by a bound on the first key.
    """
    plain = not any(key.nullable for key in order) and len({key.descending for key in order}) == 1
    descending = [key.descending is not backward for key in order]
    if plain:
        left, right = tuple_(*columns), tuple_(*(value(i) for i in range(len(order))))
        condition = left < right if descending[0] else left > right
        if not any("." in key.path for key in order):
            return condition
        # A row comparison over two tables is no condition of an index of either.
        return and_(columns[0] <= value(0) if descending[0] else columns[0] >= value(0), condition)
    condition = _beyond(0, order, columns, nulls, value, descending)
    if nulls[0] or order[0].nullable:
        return condition
    bound = columns[0] <= value(0) if descending[0] else columns[0] >= value(0)
    return and_(bound, condition)


def _beyond(
    i: int,
    order: Sequence[SortKey],
    columns: Sequence[Any],
    nulls: Sequence[bool],
    value: Callable[[int], ColumnElement[Any]],
    descending: Sequence[bool],
) -> ColumnElement[bool]:
    if i == len(order):
        return false()
    column, rest = columns[i], _beyond(i + 1, order, columns, nulls, value, descending)
    if nulls[i]:  # nulls are greatest
        tie = and_(column.is_(None), rest)
        return or_(column.is_not(None), tie) if descending[i] else tie
    strictly = column < value(i) if descending[i] else column > value(i)
    if order[i].nullable and not descending[i]:
        strictly = or_(strictly, column.is_(None))
    return or_(strictly, and_(column == value(i), rest) if i + 1 < len(order) else false())

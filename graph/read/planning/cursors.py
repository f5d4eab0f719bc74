"""Cursors: places in an order, as texts that clients hand back.

What goes in: cursor texts and orders. What comes out: the values that a cursor holds, and which of them are null. What is refused
here: a cursor that was not made for this order raises `BadUserInput`. A cursor is hex of a JSON list: a tag that names type and
order, then the values of the keys. It carries no secret.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import cache
from typing import Any

from graphql import GraphQLError

from graph.read.planning.order import sort_key
from graph.read.planning.plan import SortKey
from graph.read.refusals import BadUserInput
from graph.read.types.mirror import MIRRORS
from graph.read.types.scalars import CHARACTERS, POSITIONS

#: Rows may hold texts from before a limit was lowered; numbers, times and the tag of a cursor take less than this.
USUAL_TEXT_LENGTH = 10_000
REST_OF_CURSOR = 4_000


def order_tag(type_name: str, order: Sequence[SortKey]) -> str:
    """What a cursor says of the order it was made for."""
    return type_name + "".join(f" {key.path}{'-' if key.descending else '+'}" for key in order)


@cache
def longest_cursor(max_text_length: int) -> int:
    """How long a cursor can be that this server makes of texts of this length.

    Hex takes two characters a byte, and JSON at most six bytes a character.
    """
    orders = [[sort_key(mirror, path, False) for path in mirror.sorts] for mirror in MIRRORS.values()]
    texts = max(sum(key.kind == CHARACTERS.kind for key in order) for order in orders)
    return 12 * max(max_text_length, USUAL_TEXT_LENGTH) * texts + REST_OF_CURSOR


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
        raise BadUserInput("The cursor was not made for this list and order.", argument)
    return [_read_value(key, value, argument) for key, value in zip(order, found[1:], strict=True)]


def _read_value(key: SortKey, value: Any, argument: Sequence[str]) -> Any:
    if value is None and key.nullable:
        return None
    try:
        return POSITIONS[key.kind].read(value)
    except (ValueError, GraphQLError):
        raise BadUserInput("The cursor does not hold values of this order.", argument) from None

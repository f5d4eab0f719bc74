"""JSON text from the database as a value of graphql-core's: spliced into the answer as it is.

What goes in: what a statement of rows answers. What comes out: `Fragment`s by key. What is refused here: `Unavailable` where a
row of a damaged database is no JSON.
"""

from __future__ import annotations

from typing import Any

import orjson
from graphql.pyutils import Path

from graph.database.failures import Unavailable
from graph.read.refusals import CursorExpired


class Fragment:
    """JSON text of one object, shaped by the selection it was read for. No dataclass: orjson would write it out as one."""

    __slots__ = ("text",)

    def __init__(self, text: bytes) -> None:
        self.text = text


class RowByPlace(dict[tuple[str, ...], Fragment | None]):
    """One row as each place in the response selects it, by the response keys that lead there; completion picks the one at its
    path."""


def response_keys(path: Path) -> tuple[str, ...]:
    """The response keys that lead to a place, without the indexes of lists."""
    return tuple(step for step in path.as_list() if isinstance(step, str))


def splice(value: Any) -> Any:
    """What `orjson.dumps` asks of values it does not know: fragments go in as they are."""
    if type(value) is Fragment:
        return orjson.Fragment(value.text)
    raise TypeError(f"{type(value).__name__} is no JSON")


def see_expired(answer: bytes) -> None:
    """See that a statement has answered, and not found a cursor expired. Raises `CursorExpired`."""
    if answer[:1] == b"#":
        raise CursorExpired(answer[1:].decode())


def cut(text: bytes) -> dict[int, Fragment]:
    """The rows of a statement of rows by key, `key:bytes;JSON` with commas between. A row's JSON goes on as it is.

    Raises `CursorExpired`, `Unavailable`.
    """
    see_expired(text)
    found: dict[int, Fragment] = {}
    position = 0
    try:
        while position < len(text):
            head = text.index(b";", position)
            key, length = text[position:head].split(b":")
            position = head + 1 + int(length)
            row = text[head + 1 : position]
            orjson.loads(row)
            found[int(key)] = Fragment(row)
            position += 1  # the comma
    except ValueError:
        raise Unavailable("the database is damaged: a row is no JSON") from None
    return found

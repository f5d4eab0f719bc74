"""Messages of `graphql-transport-ws`: what stands in them, and why a socket is closed that sends others.

What goes in: messages, as they were read. What comes out: their parts. What is refused here: `Closed`, with a code of the
protocol.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import orjson

from graph.database.failures import Unavailable
from graph.operations.request_errors import RequestRefused

#: Bytes of a reason, which stands in a frame that has no more.
MOST_REASON = 123
#: Characters of an operation's id, which is kept as long as it runs and stands in each of its messages.
MOST_ID = 255


class Closed(Exception):
    """The socket is to be closed, with a code of the protocol."""

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(reason)
        self.code = code
        self.reason = reason.encode(errors="replace")[:MOST_REASON].decode(errors="ignore")


@contextmanager
def closing() -> Iterator[None]:
    """Close the socket of whoever is not let in, or not any more, or is at no shop."""
    try:
        yield
    except RequestRefused as error:
        if error.status == 503:
            raise Closed(1013, "Try again later") from None
        raise Closed(4404 if error.status == 404 else 4403, error.errors[0].message) from None
    except Unavailable:
        raise Closed(1013, "Try again later") from None


def next_message(name: str, text: str) -> str:
    """The message that holds the text of a response."""
    return f'{{"id":{orjson.dumps(name).decode()},"type":"next","payload":{text}}}'


def last_message(name: str, errors: list[Any]) -> str:
    """The message after which an operation is over: its errors, where it ended by some."""
    last: dict[str, Any] = {"type": "error", "payload": errors} if errors else {"type": "complete"}
    return orjson.dumps({"id": name, **last}).decode()


def payload_in(message: dict[str, Any]) -> dict[str, Any] | None:
    """What a message holds. Raises `Closed` where it is no object."""
    payload = message.get("payload")
    if payload is not None and not isinstance(payload, dict):
        raise Closed(4400, "`payload` must be an object")
    return payload


def id_of(message: dict[str, Any]) -> str:
    """The operation that a message is about. Raises `Closed` where it names none."""
    name = message.get("id")
    if not isinstance(name, str) or not 0 < len(name) <= MOST_ID:
        raise Closed(4400, f"`id` must be a string of 1 to {MOST_ID} characters")
    try:
        name.encode()
    except UnicodeEncodeError:  # half a character, which no answer could name
        raise Closed(4400, "`id` must be text") from None
    return name

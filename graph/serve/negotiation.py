"""What a client takes: media types, encodings of the body.

What goes in: the values of `Accept` and `Accept-Encoding`, as hostile as they may be. What comes out: the answer's media type by
the client's own order (RFC 9110, section 12.5), whether it is compressed. Nothing is refused here: `None` is for whoever asks.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import TypeVar

GRAPHQL_RESPONSE, JSON = "application/graphql-response+json", "application/json"
PAGE, EVENT_STREAM = "text/html", "text/event-stream"

#: Values of a header that are kept with what they came to: clients of one kind send one. Longer ones are read each time.
KEPT, KEPT_LENGTH = 200, 400

WEIGHT = re.compile(r"(?:0(?:\.[0-9]{0,3})?|1(?:\.0{0,3})?)")

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Accepted:
    """What a client is sent: the media type of an answer, `None` where it takes neither; whether it prefers a page.

    `stream`: whether it names event streams, and takes them; `*/*` is not meant for them.
    """

    media: str | None
    page: bool
    stream: bool


def kept(read: Callable[[str], T]) -> Callable[[str], T]:
    known = lru_cache(KEPT)(read)
    return lambda value: known(value) if len(value) <= KEPT_LENGTH else read(value)


@kept
def accepted(accept: str) -> Accepted:
    """What a client takes; without `Accept` everything."""
    ranges = list(weighed(accept)) or [("*/*", 1.0)]
    new, old = weight_of(GRAPHQL_RESPONSE, ranges), weight_of(JSON, ranges)
    media = None if not (new or old) else GRAPHQL_RESPONSE if new >= old else JSON
    stream = max((weight for name, weight in ranges if name == EVENT_STREAM), default=0.0) > 0
    return Accepted(media, weight_of(PAGE, ranges) > max(new, old), stream)


@kept
def takes_gzip(accept_encoding: str) -> bool:
    """Whether a body may be compressed: only for who says so."""
    weights = dict(weighed(accept_encoding))
    named = [weights[name] for name in ("gzip", "x-gzip") if name in weights]
    return max(named, default=weights.get("*", 0.0)) > 0


def weighed(value: str) -> Iterator[tuple[str, float]]:
    """The entries of a list with their weights. One that cannot be read, or wants another charset than UTF-8, has none."""
    for part in value.lower().split(","):
        name, *parameters = (each.strip() for each in part.split(";"))
        weight = 1.0
        for parameter in parameters:
            key, _, given = (each.strip() for each in parameter.partition("="))
            if key == "q":
                weight = float(given) if WEIGHT.fullmatch(given) else 0.0
            elif key == "charset" and given.strip('"') not in ("utf-8", "utf8"):
                weight = 0.0
        if name:
            yield name, weight


def weight_of(media: str, ranges: list[tuple[str, float]]) -> float:
    """What a client gives for a media type: the most exact of its entries counts."""
    type_, _, _ = media.partition("/")
    for name in (media, f"{type_}/*", "*/*"):
        found = [weight for range_, weight in ranges if range_ == name]
        if found:
            return max(found)
    return 0.0

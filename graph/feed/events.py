"""Events of a feed, and what they are read from: what the hub needs of the outbox and of each group of subscribers.

What goes in: nothing. What comes out: the records and protocols that the hub, the outbox and subscriptions share.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol


class Seen(NamedTuple):
    """What a page of the outbox is about: enough to say whom it concerns. `end` is the position up to which it tells everything.

    `roots` and `owners` stand with the type of the root; a root of None is one of many.
    """

    end: int
    types: frozenset[str] = frozenset()
    root_types: frozenset[str] = frozenset()
    roots: frozenset[tuple[str, int | None]] = frozenset()
    owners: frozenset[tuple[str, int]] = frozenset()


class Told(NamedTuple):
    """One event: its position in the feed, the cursor that goes on after it, the text of a response."""

    position: int
    cursor: str
    text: str


class Events(NamedTuple):
    """Events of a group, and the position up to which they are all."""

    events: Sequence[Told]
    end: int


class Feed(Protocol):
    """The outbox, as the hub reads it. Everything raises `Unavailable` where the database does not serve."""

    async def bounds(self) -> tuple[int, int]:
        """The oldest position that one can go on after, and the last one."""
        ...

    async def look(self, after: int) -> Seen:
        """What is new after a position, as far as it fits in a page. Raises `Expired` where the next one is not there."""
        ...


class EventSource(Protocol):
    """How a group's events are read."""

    def concerns(self, seen: Seen) -> bool:
        """Whether there may be an event of the group's among these changes."""
        ...

    async def read(self, after: int, known: int) -> Events:
        """A page of events, for one who knows that everything up to a position is there. `end` is beyond `after`."""
        ...


class TooSlow(Exception):
    """A subscriber let too many events wait."""


class Expired(Exception):
    """Changes after a position are not kept any more, or the feed ends before it. `oldest` is a position to go on after."""

    def __init__(self, oldest: int) -> None:
        super().__init__(oldest)
        self.oldest = oldest

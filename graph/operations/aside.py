"""Requests that wait for something which keeps no other request waiting: a turn to be learned, room for an answer, their client.

What goes in: the wait. What comes out: how many wait so, of all that a process has not answered. What may be refused here:
nothing.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager


class Aside:
    """How many requests of this process wait so. They are no part of its load."""

    requests = 0


@contextmanager
def aside() -> Iterator[None]:
    """A request waits while this block runs."""
    Aside.requests += 1
    try:
        yield
    finally:
        Aside.requests -= 1

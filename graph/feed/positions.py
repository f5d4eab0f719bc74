"""Positions in the feed, as the cursors that clients hand back.

What goes in: positions, texts. What comes out: texts, positions. What may be refused here: a text that is none, `BadUserInput`.
"""

from __future__ import annotations

from collections.abc import Sequence

from graph.read.planning import cursors
from graph.read.refusals import BadUserInput

#: What the cursor of a change says that it was made for.
TAG = "Change position+"


def cursor_at(position: int) -> str:
    """The cursor of a position."""
    return f'["{TAG}",{position}]'.encode().hex()


def position_of(cursor: str, argument: Sequence[str] = ("after",)) -> int:
    """The position of a cursor. Raises `BadUserInput`."""
    found = cursors.decode(cursor)
    if found is None or len(found) != 2 or found[0] != TAG or not isinstance(found[1], int):
        raise BadUserInput("The cursor is none of changes.", argument)
    return found[1]

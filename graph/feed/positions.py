"""Positions in the feed, as the cursors that clients hand back.

What goes in: positions, texts. What comes out: texts, positions. What may be refused here: a text that is none, `BadUserInput`,
in the words of every list.
"""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import BigInteger

from graph.read.planning.cursors import cursor_values, order_tag
from graph.read.planning.plan import SortKey
from graph.read.types.scalars import position_for

KIND = position_for(BigInteger())
assert KIND is not None
KEY = SortKey("position", False, False, KIND.kind)
#: What the cursor of a change says that it was made for.
TAG = order_tag("Change", [KEY])


def cursor_at(position: int) -> str:
    """The cursor of a position."""
    return f'["{TAG}",{position}]'.encode().hex()


def position_of(cursor: str, argument: Sequence[str] = ("after",)) -> int:
    """The position of a cursor. Raises `BadUserInput`."""
    position: int
    (position,) = cursor_values(cursor, TAG, [KEY], argument)
    return position

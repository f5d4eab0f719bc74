"""What a read must see: a transaction, by which a client reads its own writes from whatever server answers it.

What goes in: a row of the outbox that the transaction wrote, or a text that a client brings. What comes out: the text that an
answer carries, and what is asked of a server. Nothing is refused: a text that cannot be read asks for the primary.

The row itself is looked for, in the very snapshot that answers. A standby's own word is no proof: its snapshot does not know
which transactions are still open. Its time stands beside its id, since a primary that was promoted may give an id again whose
first transaction was lost, and a server of the lost time may still be there.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Self

#: What PostgreSQL counts times from, and in.
EPOCH = datetime(2000, 1, 1, tzinfo=UTC)
MICROSECOND = timedelta(microseconds=1)
#: Two numbers in hexadecimal, small enough to be an id and a time.
TEXT = re.compile(r"([0-7]?[0-9a-f]{1,15})\.([0-9a-f]{1,14})")
#: Whether a server shows a row with this id and time, by SQL, of the two parameters of these numbers.
SHOWN = (
    'EXISTS (SELECT FROM "[shop]".changes WHERE id = ${}::bigint'
    f" AND at = timestamptz '{EPOCH}' + ${{}}::bigint * interval '1 microsecond')"
)


@dataclass(frozen=True, slots=True)
class ReadAfter:
    """A transaction by a row that it wrote into the outbox: its id, and its time in microseconds since `EPOCH`."""

    change: int
    microseconds: int

    @classmethod
    def of(cls, change: int, at: datetime) -> Self:
        """The transaction that wrote this row."""
        return cls(change, (at - EPOCH) // MICROSECOND)

    def __str__(self) -> str:
        return f"{self.change:x}.{self.microseconds:x}"


#: No server shows this: the primary answers, unasked whether it does.
BY_PRIMARY = ReadAfter(2**63 - 1, 0)


def read_after(*brought: object) -> ReadAfter:
    """What a client brings. What is damaged, forged or of another kind leads to the primary, which is always right.

    So do two that differ: of two transactions a server may show either alone.
    """
    first = brought[0]
    found = TEXT.fullmatch(first) if isinstance(first, str) else None
    if found is None or any(other != first for other in brought[1:]):
        return BY_PRIMARY
    return ReadAfter(int(found[1], 16), int(found[2], 16))

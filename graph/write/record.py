"""The record of changes: what a transaction wrote, row by row, kept until its COMMIT is known and handed on then.

What goes in: what the write door notes (`Written`). What comes out: a `Change` for each row of a mirrored type that is not as it
was. What may be refused here: nothing.

A record belongs to one try of one transaction: a retry starts another, a savepoint that is undone takes back what came after it,
and a rollback, a dry run and a COMMIT that was not answered hand nothing on. Without a listener none is kept.
"""

from __future__ import annotations

import enum
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import Any

from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import Session

from graph.write.errors import Row

#: Where a session keeps the record of its transaction.
RECORD = "record"


class Kind(enum.Enum):
    """What became of a row."""

    CREATED = "CREATED"
    UPDATED = "UPDATED"
    DELETED = "DELETED"


@dataclass(frozen=True, slots=True)
class Change:
    """What a transaction did to a row of a mirrored type.

    `root` is the row of its aggregate whose version counts, `version` that version afterwards, None where the root is gone.
    `fields` names the attributes of the mapped class that changed (`Mirror.attributes` leads from GraphQL's names to them); it is
    empty for rows that are new or gone. `owner_before` and `owner_after` are what row rules ask for (`@mirror(..., owner=...)`),
    None where there is no row or no owner. Where the owner of a root changes, its parts go with it.
    `former` is the root that an UPDATED row has left for another.
    """

    type: str
    key: int
    kind: Kind
    root: Row
    version: int | None
    fields: frozenset[str] = frozenset()
    owner_before: Any = None
    owner_after: Any = None
    former: Row | None = None


@dataclass(frozen=True, slots=True)
class Written:
    """One write of a row: the values by attribute that may differ, before and after; None where there was or is no row.

    `former` is the root that it had before, where that is another.
    """

    row: Row
    before: Mapping[str, Any] | None
    after: Mapping[str, Any] | None
    root: Row
    version: int | None
    owner_before: Any = None
    owner_after: Any = None
    former: Row | None = None

    def then(self, later: Written) -> Written:
        """Both writes as one."""
        before, after = self.before, later.after
        if before is not None and later.before is not None:
            before = {**later.before, **before}
        if after is not None and self.after is not None:
            after = {**self.after, **after}
        return replace(later, before=before, after=after, owner_before=self.owner_before, former=self.former or self.root)

    def belonged(self) -> Row:
        """The root of what is gone, as it was before; of all else, as it is."""
        return self.former if self.after is None and self.former is not None else self.root

    def change(self, version: int | None) -> Change | None:
        """What it comes to, if anything; `version` is that of the root in the end."""
        before, after = self.before, self.after
        if before is None and after is None:
            return None
        fields = frozenset[str]()
        kind = Kind.CREATED if before is None else Kind.DELETED
        if before is not None and after is not None:
            kind = Kind.UPDATED
            fields = frozenset(name for name, value in after.items() if name not in before or before[name] != value)
            if not fields:
                return None
        owners = (None if before is None else self.owner_before, None if after is None else self.owner_after)
        former = self.former if kind is Kind.UPDATED and self.former != self.root else None
        return Change(self.row.type_name, self.row.key, kind, self.belonged(), version, fields, *owners, former)


class Record:
    """What one try of a transaction has written so far, in order."""

    def __init__(self) -> None:
        self._written: list[Written] = []

    def add(self, written: Written) -> None:
        """Note a write."""
        self._written.append(written)

    def mark(self) -> int:
        """A place to go back to."""
        return len(self._written)

    def back_to(self, mark: int) -> None:
        """What was noted after a mark is undone."""
        del self._written[mark:]

    def changes(self) -> list[Change]:
        """The changes so far, one a row, in the order in which the rows were first written."""
        folded: dict[Row, Written] = {}
        versions: dict[Row, int | None] = {}
        for written in self._written:
            first = folded.get(written.row)
            folded[written.row] = written if first is None else first.then(written)
            if written.version is not None:  # it never falls
                versions[written.root] = max(versions.get(written.root) or 0, written.version)
        for row, written in folded.items():
            if written.after is None:
                versions[row] = None
        # A part belongs to whom its root belonged before the first write, and belongs to after the last, whenever it was written.
        owned = [
            replace(
                written,
                owner_before=folded.get(written.former or written.root, written).owner_before,
                owner_after=folded.get(written.root, written).owner_after,
            )
            for written in folded.values()
        ]
        found = (written.change(versions.get(written.belonged())) for written in owned)
        return [change for change in found if change is not None]


def record_of(session: AsyncSession | Session) -> Record | None:
    """The record of a session's transaction, if somebody listens."""
    found: Record | None = session.info.get(RECORD)
    return found


@asynccontextmanager
async def savepoint(session: AsyncSession) -> AsyncIterator[None]:
    """A savepoint of a session; what is undone with it is taken out of the record, too."""
    record = record_of(session)
    mark = 0 if record is None else record.mark()
    try:
        async with session.begin_nested():
            yield
    except BaseException:
        if record is not None:
            record.back_to(mark)
        raise

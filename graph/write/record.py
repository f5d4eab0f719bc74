"""The record of changes: what a transaction wrote, row by row, kept until its COMMIT is known and handed on then.

What goes in: what the write door notes (`Written`), work that is done in a transaction (`recorded`). What comes out: a `Change`
for each row of a mirrored type that is not as it was. What may be refused here: nothing.

More rows of one statement than `MOST_TOLD` are one change, MANY, which says of what type and how many: whoever keeps such rows
reads them again. A record belongs to one try of one transaction: a retry starts another, a savepoint that is undone takes back
what came after it, and a rollback, a dry run and a COMMIT that was not answered hand nothing on.
"""

from __future__ import annotations

import asyncio
import enum
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, NamedTuple, TypeVar

from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import Session

from graph.context import Context
from graph.database import CARRIED, WRITTEN
from graph.database.failures import CommitUnknown
from graph.write.errors import Row

logger = logging.getLogger("ordergraph.write")

T = TypeVar("T")

#: How many rows of one statement are told one by one.
MOST_TOLD = 1_000
#: Where a session keeps the record of its transaction.
RECORD = "record"


class Kind(enum.StrEnum):
    """What became of a row, or that one statement wrote more rows of a type than are told."""

    CREATED = "CREATED"
    UPDATED = "UPDATED"
    DELETED = "DELETED"
    MANY = "MANY"


@dataclass(frozen=True, slots=True)
class Change:
    """What a transaction did to a row of a mirrored type.

    `root` is the row of its aggregate whose version counts, `version` that version afterwards, None where the root is gone.
    `fields` names the attributes of the mapped class that changed (`Mirror.attributes` leads from GraphQL's names to them); it is
    empty for rows that are new or gone. `owner_before` and `owner_after` are what row rules ask for (`@mirror(..., owner=...)`),
    None where there is no row or no owner. Where the owner of a root changes, its parts go with it. `former` is the root that an
    UPDATED row has left for another, `mutation` the last field that wrote the row. MANY has no key, version, fields and owners;
    its `root` is one of key 0, `count` says how many rows.
    """

    type: str
    key: int | None
    kind: Kind
    root: Row
    version: int | None
    fields: frozenset[str] = frozenset()
    owner_before: Any = None
    owner_after: Any = None
    former: Row | None = None
    count: int = 1
    mutation: str | None = field(default=None, compare=False)


class Written(NamedTuple):
    """One write of a row: the values by attribute that may differ, before and after; None where there was or is no row.

    `former` is the root that it had before, where that is another; `mutation` the field that wrote it.
    """

    row: Row
    before: Mapping[str, Any] | None
    after: Mapping[str, Any] | None
    root: Row
    version: int | None
    owner_before: Any = None
    owner_after: Any = None
    former: Row | None = None
    mutation: str | None = None

    def then(self, later: Written) -> Written:
        """Both writes as one."""
        before, after = self.before, later.after
        if before is not None and later.before is not None:
            before = {**later.before, **before}
        if after is not None and self.after is not None:
            after = {**self.after, **after}
        return later._replace(before=before, after=after, owner_before=self.owner_before, former=self.former or self.root)

    def belonged(self) -> Row:
        """The root of what is gone, as it was before; of all else, as it is."""
        return self.former if self.after is None and self.former is not None else self.root

    def change(self, version: int | None, owner_before: Any, owner_after: Any) -> Change | None:
        """What it comes to, if anything; `version` is that of the root in the end, as the owners are."""
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
        owners = (None if before is None else owner_before, None if after is None else owner_after)
        former = self.former if kind is Kind.UPDATED and self.former != self.root else None
        row, root = self.row, self.belonged()
        return Change(row.type_name, row.key, kind, root, version, fields, *owners, former, mutation=self.mutation)


class Record:
    """What one try of a transaction has written so far, in order.

    `mutation` is the field that writes now, `by` says who does; `kept` are the changes that a read has carried to the outbox.
    """

    def __init__(self, by: str | None = None) -> None:
        self._written: list[Written | Change] = []
        self.mutation: str | None = None
        self.by = by
        self.kept: list[Change] | None = None

    def add(self, written: Written) -> None:
        """Note a write."""
        self._written.append(written)

    def add_many(self, type_: str, root_type: str, count: int) -> None:
        """Note that one statement wrote more rows of a type than are told."""
        self._written.append(Change(type_, None, Kind.MANY, Row(root_type, 0), None, count=count, mutation=self.mutation))

    def mark(self) -> int:
        """A place to go back to."""
        return len(self._written)

    def back_to(self, mark: int) -> None:
        """What was noted after a mark is undone."""
        del self._written[mark:]

    def changes(self) -> list[Change]:
        """The changes so far, one a row, in the order in which the rows were first written; then those of many rows."""
        folded: dict[Row, Written] = {}
        versions: dict[Row, int | None] = {}
        many: list[Change] = []
        for written in self._written:
            if isinstance(written, Change):
                many.append(written)
                continue
            first = folded.get(written.row)
            folded[written.row] = written if first is None else first.then(written)
            if written.version is not None:  # it never falls
                versions[written.root] = max(versions.get(written.root) or 0, written.version)
        for row, written in folded.items():
            if written.after is None:
                versions[row] = None
        found: list[Change] = []
        for written in folded.values():
            # A part belongs to whom its root belonged before the first write, and belongs to after the last, whenever it was
            # written.
            owner_before = folded.get(written.former or written.root, written).owner_before
            owner_after = folded.get(written.root, written).owner_after
            change = written.change(versions.get(written.belonged()), owner_before, owner_after)
            if change is not None:
                found.append(change)
        return found + many


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


def let_next_read_keep(context: Context) -> None:
    """Nothing more is written in a session's transaction: its next read, that of the payload, keeps its changes.

    It saves a way to the database and back. Where the payload shows no row, and where an INSERT cannot be a part of a query, they
    are kept before the COMMIT.
    """
    session, outbox = context.session, context.database.outbox
    record = record_of(session)
    if record is None or outbox is None:
        return

    def carry(sql: str, arguments: Sequence[Any]) -> tuple[str, Sequence[Any]]:
        changes = record.changes()
        if not changes:
            return sql, arguments
        record.kept = changes
        insert, more = outbox(session, changes, len(arguments))
        return f"WITH kept AS ({insert}) SELECT * FROM ({sql}) AS shown", [*arguments, *more]  # noqa: S608  # no client's text

    session.info[CARRIED] = carry


def _note(context: Context, field: str, changes: Sequence[Change]) -> None:
    context.wrote = context.session.info.get(WRITTEN, context.wrote)
    if context.running is not None:
        context.running.written[field] = changes


async def recorded(context: Context, work: Callable[[], Awaitable[T]], *, undone: bool = False, field: str = "") -> T:
    """Run `work` in a transaction of its own, as `Database.transaction` does, and hand on what it changed once that is committed.

    Each try has a record of its own. What raises hands nothing on: a refusal, a dry run, a COMMIT that was not answered. When the
    work of a try is done, `before_commit` may add to its transaction what belongs to the changes; what it raises undoes them.
    Nothing is recorded of what is to be `undone`. What was committed, or may have been, the running mutation is told as that of
    its `field`, all of them where it names none.
    """
    database, session = context.database, context.session
    if undone:
        return await database.transaction(session, work, context.deadline)
    changes: Sequence[Change] = ()

    async def attempt() -> T:
        nonlocal changes
        if not (database.listeners or database.before_commit):
            return await work()
        session.info.pop(WRITTEN, None)
        record = session.info[RECORD] = Record(context.client or None)
        try:
            result = await work()
        finally:
            session.info.pop(CARRIED, None)  # where no read came for it: no other may take it along
        changes = record.changes() if record.kept is None else record.kept
        for add_to in database.before_commit if changes else ():
            try:
                await add_to(session, changes)
            except IntegrityError as error:  # no row of the input is to blame, and another try ends alike
                raise RuntimeError("what is added before a COMMIT breaks a constraint") from error
        return result

    try:
        result = await database.transaction(session, attempt, context.deadline)
    except (CommitUnknown, asyncio.CancelledError):
        if changes and "committed" in session.info:  # the work was done, and a COMMIT was sent
            _note(context, field, changes)
        raise
    else:
        _note(context, field, changes)
    finally:
        session.info.pop(RECORD, None)
        session.info.pop(WRITTEN, None)
    # Nothing is awaited between the COMMIT and this: whoever gives up waiting cannot take it from the listeners.
    for listener in database.listeners if changes else ():
        try:
            listener(changes)
        except Exception:
            logger.exception("A listener to changes failed")  # what it was told of has happened
    return result

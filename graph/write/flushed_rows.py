"""What a flush wrote, noted in the record: the rows of a session that has flushed know what they were.

What goes in: a session that has flushed. What comes out: writes noted in its record. What may be refused here: nothing; a part
whose root is not in the session is a bug and raises `LookupError`. Nothing here runs unless a record is kept.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable
from typing import Any

from sqlalchemy.orm import Session
from sqlalchemy.orm.attributes import instance_state
from sqlalchemy.orm.base import NO_VALUE

from graph.base import Base
from graph.write.errors import Row
from graph.write.images import Lineage, brought, lineage
from graph.write.pending import name_and_key
from graph.write.record import MOST_TOLD, Record, Written, record_of


def note_flush(session: Session, _: Any) -> None:
    """Note what a flush wrote: called by SQLAlchemy when the statements are sent, and the rows still know what they were."""
    record = record_of(session)
    if record is None:
        return
    rows, gone = _Flushed(session), session.deleted
    changed = [row for row in session.dirty if row not in gone]
    crowds = _note_crowds(record, (session.new, changed, gone))
    for row in session.new:
        if type(row) not in crowds:
            rows.note(record, row, new=True)
    for row in sorted(changed, key=name_and_key):
        if type(row) not in crowds:
            rows.note(record, row)
    for row in sorted(gone, key=name_and_key):
        if type(row) not in crowds:
            rows.note(record, row, deleted=True)


def _note_crowds(record: Record, written: Iterable[Collection[Any]]) -> set[type[Base]]:
    """Note the classes of which a flush writes more rows than are told one by one; which these are."""
    if sum(map(len, written)) <= MOST_TOLD:
        return set()
    counts: Counter[type[Base]] = Counter(type(row) for rows in written for row in rows)
    crowds = {model: line for model in counts if counts[model] > MOST_TOLD and (line := lineage(model)) is not None}
    for model, line in crowds.items():
        record.add_many(line.name, line.root_name, counts[model])
    return set(crowds)


class _Flushed:
    """The rows of a session that has flushed: they know what they were, and the new ones have their keys."""

    def __init__(self, session: Session) -> None:
        self._known = {(type(row), row.__dict__.get("id")): row for row in session.new}
        self._session = session

    def note(self, record: Record, row: Any, *, new: bool = False, deleted: bool = False) -> None:
        """Note one row, if clients can see it and the flush has written it."""
        model: type[Base] = type(row)
        line = lineage(model)
        if line is None:
            return
        before, after = ({}, {}) if new else _values(row)
        if not (new or deleted or after):
            return
        root = self._root(row, line)
        former = root if new else self._root(row, line, before=True)
        owner_before = owner_after = None
        if line.owner is not None:
            owner_before, owner_after = _old(former, line.owner), root.__dict__.get(line.owner)
        version = root.__dict__.get("version") if line.versioned else None
        record.add(
            Written(
                Row(line.name, row.__dict__["id"]),
                None if new else before,
                None if deleted else after,
                Row(line.root_name, root.__dict__["id"]),
                version,
                owner_before,
                owner_after,
                former=Row(line.root_name, former.__dict__["id"]),
                mutation=record.mutation,
            )
        )

    def _root(self, row: Any, line: Lineage, *, before: bool = False) -> Any:
        """The root of a row, or the one it had."""
        for foreign, parent in line.way:
            key = _old(row, foreign) if before else row.__dict__[foreign]
            found = self._known.get((parent, key))
            if found is None:
                found = self._session.identity_map.get(parent.__mapper__.identity_key_from_primary_key((key,)))
            if found is None:
                raise LookupError(f"the {parent.__name__} of a {type(row).__name__} is not in the session")
            row = found
        return row


def _old(row: Any, attribute: str) -> Any:
    """What an attribute was when the row was loaded."""
    state: Any = instance_state(row)
    old = state.committed_state.get(attribute, NO_VALUE)
    return row.__dict__.get(attribute) if old is NO_VALUE else old


def _values(row: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    """The values of a row that a flush has changed, before and after. An UPDATE brings its own columns with it."""
    model: type[Base] = type(row)
    state: Any = instance_state(row)
    before: dict[str, Any] = {}
    sent: set[str] = set()
    for name, old in state.committed_state.items():
        if name in state.mapper.column_attrs and not name.startswith("_"):
            if old is NO_VALUE:
                sent.add(name)  # the same again, because the table's other rows change there
            elif old != state.dict.get(name):
                sent.add(name)
                before[name] = old
    after = {name: state.dict[name] for name in before}
    for name in brought(model) if sent else ():
        before.setdefault(name, NO_VALUE)  # it was another, and SQLAlchemy forgets which
        after[name] = state.dict.get(name)
    return before, after

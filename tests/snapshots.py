"""Two snapshots of a whole shop, and the record of changes that was handed on and kept between them: they must say the same.

What goes in: the URL of a database, what its listeners heard. What comes out: nothing, or an `AssertionError` with what the
record lacks and what it has too much. The snapshots are read past the product, and what a change should be is said here again.
"""

from __future__ import annotations

import json
import re
import sqlite3
from collections.abc import Mapping, Sequence
from typing import Any

import asyncpg
from asyncpg.exceptions import InterfaceError, InternalClientError, PostgresConnectionError
from sqlalchemy import make_url

from graph.read.types.mirror import MIRRORS, mirror_of
from graph.write.record import Change, Kind

Rows = dict[tuple[str, int], Mapping[str, Any]]


class Snapshots:
    """Reads all rows of a shop, on a connection that is kept, since a database may take no new one; one that died is replaced.

    Nothing is read again where the database says that nobody wrote since.
    """

    def __init__(self, url: str) -> None:
        self.url = url
        self._connection: asyncpg.Connection | None = None
        self._file: sqlite3.Connection | None = None
        self._last: tuple[Any, Rows] = None, {}

    async def take(self) -> Rows:
        """Every row by type and key."""
        where = make_url(self.url)
        if where.get_backend_name() == "sqlite":
            return self._read_file(str(where.database))
        if self._connection is not None:
            try:
                return await self._read(self._connection)
            except (InterfaceError, InternalClientError, PostgresConnectionError, OSError):
                self._connection.terminate()
        self._connection = await asyncpg.connect(self.url)
        return await self._read(self._connection)

    def _read_file(self, path: str) -> Rows:
        if self._file is None:
            self._file = sqlite3.connect(path, isolation_level=None)
            self._file.row_factory = sqlite3.Row
        (state,) = self._file.execute("PRAGMA data_version").fetchone()  # moves when another connection commits
        if self._last[0] != state:
            self._last = (
                state,
                {(type_, row["id"]): dict(row) for type_, query in _queries() for row in self._file.execute(query)},
            )
        return self._last[1]

    async def _read(self, connection: asyncpg.Connection) -> Rows:
        state = await connection.fetchval("SELECT pg_current_snapshot()")  # which transactions are seen
        if self._last[0] != state:
            self._last = (
                state,
                {(type_, row["id"]): dict(row) for type_, query in _queries() for row in await connection.fetch(query)},
            )
        return self._last[1]

    async def outbox(self, after: int | None = None) -> list[Mapping[str, Any]]:
        """The rows of the outbox behind this id, in order; of all the last one. `take` was called before."""
        which = "ORDER BY id DESC LIMIT 1" if after is None else f"WHERE id > {after} ORDER BY id"
        query = f"SELECT * FROM changes {which}"
        if self._connection is not None:
            return [dict(row) for row in await self._connection.fetch(query)]
        assert self._file is not None
        return [dict(row) for row in self._file.execute(query)]

    async def close(self) -> None:
        if self._file is not None:
            self._file.close()
        if self._connection is not None and not self._connection.is_closed():
            await self._connection.close()


def _queries() -> list[tuple[str, str]]:
    return [(type_, f"SELECT * FROM {mirror.model.__tablename__}") for type_, mirror in MIRRORS.items() if mirror.is_node]


def root(rows: Rows, type_: str, key: int) -> tuple[str, int]:
    """The row whose version rises with a row."""
    mapper = MIRRORS[type_].mapper
    if mapper.class_.__root__ is None:
        return type_, key
    relation = mapper.relationships[mapper.class_.__root__]
    ((local, _),) = relation.local_remote_pairs or ()
    return root(rows, mirror_of(relation.mapper.class_).name, rows[type_, key][str(local.name)])


def owner(rows: Rows, type_: str, key: int) -> int | None:
    """The customer to whom a row belongs."""
    type_, key = root(rows, type_, key)
    column = {"Customer": "id", "Order": "customer_id"}.get(type_)
    return None if column is None else int(rows[type_, key][column])


def difference(before: Rows, after: Rows) -> dict[tuple[str, int], tuple[Any, ...]]:
    """What happened to each row that is not as it was: kind, root, its version now, fields, owners, former root."""
    found = {}
    for row in before.keys() | after.keys():
        old, new = before.get(row), after.get(row)
        if old == new:
            continue
        kind = Kind.CREATED if old is None else Kind.DELETED if new is None else Kind.UPDATED
        fields = frozenset(name for name in new if new[name] != old[name]) if old and new else frozenset()
        top = root(before if new is None else after, *row)
        found[row] = (
            kind,
            top,
            after[top]["version"] if top in after else None,
            fields,
            None if old is None else owner(before, *row),
            None if new is None else owner(after, *row),
            _former(before, after, row),
        )
    return found


def _former(before: Rows, after: Rows, row: tuple[str, int]) -> tuple[str, int] | None:
    """The root that a row has left for another."""
    if row not in before or row not in after:
        return None
    was = root(before, *row)
    return None if was == root(after, *row) else was


def kept(rows: Sequence[Mapping[str, Any]]) -> list[tuple[Any, ...]]:
    """What rows of the outbox say of changes."""
    names = ("kind", "type", "key", "root_type", "version", "owner_before", "owner_after", "count")
    assert all(row["at"] and row["mutation"] for row in rows)
    assert all((row["root"] == 0) == (row["kind"] == "MANY") for row in rows)
    return [(*(row[name] for name in names), row["root"], frozenset(json.loads(row["changed"]))) for row in rows]


def to_keep(changes: Sequence[Change]) -> list[tuple[Any, ...]]:
    """What they should say."""
    return [
        (c.kind.name, c.type, c.key, c.root.type_name, c.version, c.owner_before, c.owner_after, c.count, c.root.key, names(c))
        for c in changes
    ]


#: What a client sees change with a column that no field, or more than the field of its name, shows.
SHOWN = {
    "customer_id": {"customer"},
    "item_id": {"item"},
    "order_id": {"order"},
    "total_amount": {"totalAmount", "subtotal"},
    "discount": {"discount", "subtotal"},
    "status": {"status", "allowedTransitions"},
    "archived_at": {"archivedAt", "archived"},
    "quantity": {"quantity", "lineTotal"},
    "price_paid": {"pricePaid", "lineTotal"},
}


def names(change: Change) -> frozenset[str]:
    """The fields of the API that changed."""
    camel = {name: {re.sub("_(.)", lambda found: found[1].upper(), name)} for name in change.fields}
    return frozenset().union(*(SHOWN.get(name, shown) for name, shown in camel.items()))


def told(changes: Sequence[Change]) -> dict[tuple[str, int | None], tuple[Any, ...]]:
    """A record in the same form."""
    found = {
        (c.type, c.key): (
            c.kind,
            (c.root.type_name, c.root.key),
            c.version,
            c.fields,
            c.owner_before,
            c.owner_after,
            None if c.former is None else (c.former.type_name, c.former.key),
        )
        for c in changes
    }
    assert len(found) == len(changes), "a row is in a record twice"
    return found


def compare(before: Rows, after: Rows, heard: Sequence[Sequence[Change]]) -> None:
    """Hold what the listeners heard against what happened. Of several transactions the first and the last word counts."""
    assert all(heard), "a listener was called for nothing"
    many = {change.type: change.count for record in heard for change in record if change.kind is Kind.MANY}
    heard = [[change for change in record if change.kind is not Kind.MANY] for record in heard]
    expected = difference(before, after)
    for type_, count in many.items():
        untold = {row for row in expected if row[0] == type_} - {row for record in heard for row in told(record)}
        assert 0 < len(untold) <= count, type_
        expected = {row: change for row, change in expected.items() if row not in untold}
    if len(heard) <= 1:
        actual = told(heard[0]) if heard else {}
        assert actual == expected
        return
    rows: dict[tuple[str, int | None], list[Any]] = {}
    for record in heard:
        for row, change in told(record).items():
            rows.setdefault(row, []).append(change)
    for row, changes in rows.items():
        there = changes[0][0] is not Kind.CREATED, changes[-1][0] is not Kind.DELETED
        assert there == (row in before, row in after), row
    assert rows.keys() >= expected.keys()
    for row, (kind, top, _, fields, *owners, former) in expected.items():
        changes = rows[row]
        assert fields <= frozenset().union(*(change[3] for change in changes)), row
        assert [top, *owners] == [changes[-1][1], changes[0][4], changes[-1][5]], row
        if kind is Kind.UPDATED:
            assert (changes[0][6] or changes[0][1]) == (former or top), row

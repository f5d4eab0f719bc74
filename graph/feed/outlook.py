"""What the hub sees of the outbox: how far it goes, what is new and whom it concerns.

What goes in: a database, positions. What comes out: positions, `Seen`s. What may be refused here: `Unavailable`, `Expired`.

Each is one short statement on the way of compiled reads, and makes one text.
"""

from __future__ import annotations

import asyncio
from collections.abc import Hashable, Mapping, Sequence
from typing import Any, NamedTuple

import orjson
import sqlalchemy as sa

from graph.database import Database, once_a_kind
from graph.feed.events import Expired, Seen
from graph.feed.outbox import HEAD, ChangeRow, last_id
from graph.feed.sequence import WAITING, number_some
from graph.read.planning.arguments import Given
from graph.read.rows import with_viewer
from graph.read.sql.constructs import JoinedRows
from graph.read.sql.json import as_null, joined, json_list, json_tuple
from graph.read.sql.statement import Statement
from graph.read.sql.writer import Writer
from graph.read.types.codec import escaped
from graph.scope import SERVER, Scope

#: Rows that are looked at in one statement.
PAGE_ROWS = 1_000
#: How long is waited for another process that gives positions at the moment.
PAUSE_SECONDS = 0.005
#: The greatest id of those that wait. Of all there are it need not be the last one: on Citus each node draws ids from a range of
#: its own.
LAST = 'SELECT max(id) FROM "[shop]".changes WHERE position IS NULL'


class Questions(NamedTuple):
    """What is asked: the position of the last change and of the first; that of the last, and what is new after one."""

    bounds: Statement
    look: Statement


@once_a_kind
def questions(dialect: sa.Dialect) -> Questions:
    """Both, as one text each."""
    writer, head = Writer(dialect, SERVER), _head(dialect)
    oldest = sa.select(sa.func.min(ChangeRow.position)).scalar_subquery()
    bounds = writer.spelled(sa.select(joined(json_tuple([[head], as_null([oldest], nullable=True)]))))
    after, most = writer.bind(Given(("after",)), sa.BigInteger()), writer.bind(Given(("most",)), sa.Integer())
    found = sa.select(ChangeRow).where(ChangeRow.position > after).order_by(ChangeRow.position).limit(most)
    page = found.subquery("page").c
    keys = [
        as_null([key], nullable=True)
        for key in (sa.func.nullif(page.root, sa.literal_column("0")), page.owner_before, page.owner_after)
    ]
    row = joined(json_tuple([[page.position], escaped(page.type), escaped(page.root_type), *keys]))
    seen = sa.select(JoinedRows(row)).scalar_subquery()
    return Questions(bounds, writer.spelled(sa.select(joined(json_tuple([[head], json_list(seen)])))))


def _head(dialect: sa.Dialect) -> sa.ColumnElement[int]:
    """The last position that was given: the id that was, where that is the position."""
    last = last_id(dialect)
    return (sa.select(HEAD.c.position) if last is None else last).scalar_subquery()


class Outlook:
    """The outbox of a database, as the hub reads it."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self._questions = questions(database.dialect)
        self._roots: dict[Hashable, Statement] = {}
        self._current: asyncio.Task[tuple[int, int]] | None = None
        self._next: asyncio.Task[tuple[int, int]] | None = None

    async def _read(self, statement: Statement, given: Mapping[str, Any]) -> Any:
        return orjson.loads(await self.database.fetch(statement.sql, statement.arguments(given)))

    async def bounds(self) -> tuple[int, int]:
        """The oldest position that one can go on after, and the last one, of what was committed before.

        Who asks while another is being answered waits for the next answer, which all have together.
        """
        if self._next is None:
            self._next = asyncio.create_task(self._after(self._current))
            self._next.add_done_callback(retrieve)  # whoever asked may be gone
        return await asyncio.shield(self._next)

    async def _after(self, current: asyncio.Task[tuple[int, int]] | None) -> tuple[int, int]:
        if current is not None:
            await asyncio.wait((current,))
        self._current, self._next = self._next, None
        await self._all_numbered()
        head, oldest = await self._read(self._questions.bounds, {})
        return (head if oldest is None else min(oldest - 1, head)), head

    async def _all_numbered(self) -> None:
        """See that what is committed has its position, whoever gives it."""
        if self.database.capabilities.one_writer:
            return
        last = await self.database.fetch(self.database.text(LAST), [])
        if last is None:
            return
        while (first := await self.database.fetch(self.database.text(WAITING), [1])) is not None and first <= last:
            if not await number_some(self.database):
                await asyncio.sleep(PAUSE_SECONDS)

    async def look(self, after: int) -> Seen:
        """What is new after a position, as far as it fits in a page. Raises `Expired`.

        Positions are dense. Where the next one is missing it was deleted, as behind a process that stood still for as long as
        changes are kept; where the feed ends before, it is another one, of a backup or of a server that had not heard of all.
        """
        head, rows = await self._read(self._questions.look, {"after": after, "most": PAGE_ROWS})
        first = rows[0][0] if rows else head + 1
        if first != after + 1:
            raise Expired(first - 1)
        end = rows[-1][0] if len(rows) >= PAGE_ROWS else head
        return Seen(
            end,
            frozenset(row[1] for row in rows),
            frozenset(row[2] for row in rows),
            frozenset((row[2], row[3]) for row in rows),
            frozenset((row[2], owner) for row in rows for owner in row[4:] if owner is not None),
        )

    async def roots(
        self, scope: Scope, type_name: str, root: int | None, owner: int | None, after: int
    ) -> tuple[Sequence[tuple[int, int | None]], bool]:
        """Positions and roots of a type, of one root or of those of an owner, as a viewer is told of them; whether these are all.

        A root of None is one of many.
        """
        key = (scope.key, root is None, owner is None)
        statement = self._roots.get(key)
        if statement is None:
            statement = self._roots[key] = self._roots_statement(scope, one=root is not None, owned=owner is not None)
        given = {"after": after, "type": type_name, "root": root, "owner": owner, "most": PAGE_ROWS}
        rows = await self._read(statement, with_viewer(given, scope))
        return [(position, found or None) for position, found in rows], len(rows) < PAGE_ROWS

    def _roots_statement(self, scope: Scope, *, one: bool, owned: bool) -> Statement:
        writer = Writer(self.database.dialect, scope)
        change = writer.rows(ChangeRow)

        def given(name: str, like: Any) -> Any:
            return writer.bind(Given((name,)), like.type)

        where = [change.position > given("after", change.position), change.root_type == given("type", change.root_type)]
        many = change.root == 0
        if one:
            where.append(sa.or_(many, change.root == given("root", change.root)))
        if owned:
            owner = given("owner", change.owner_before)
            where.append(sa.or_(many, change.owner_before == owner, change.owner_after == owner))
        most = writer.bind(Given(("most",)), sa.Integer())
        page = sa.select(change.position, change.root).where(*where).order_by(change.position).limit(most).subquery("page")
        rows = sa.select(JoinedRows(joined(["[", page.c.position, ",", page.c.root, "]"]))).scalar_subquery()
        return writer.spelled(sa.select(joined(json_list(rows))))


def retrieve(done: asyncio.Task[tuple[int, int]]) -> None:
    """Take note of how a task ended."""
    if not done.cancelled():
        done.exception()

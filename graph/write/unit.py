"""The unit of work: a graph in a transaction, loaded under locks, completed by rules, flushed, and explained when refused.

What goes in: a session in a transaction, inputs. What comes out: rows written, all in one flush. What is refused here: a root
that is not there or not of the expected version, alone; otherwise everything that is wrong with the graph, together.

The database is the judge and the happy path pays nothing: only a unit that explains, or that has errors already, holds its
rows against the constraints.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from typing import Any, TypeVar

import sqlalchemy as sa
from sqlalchemy import ColumnElement
from sqlalchemy.orm import selectinload

from graph.base import Base
from graph.context import Context
from graph.read.payloads.running import RunningField
from graph.read.rows import Door, rows
from graph.write import door
from graph.write.columns import key_in_id, missing, type_name
from graph.write.drawn_keys import give_keys
from graph.write.errors import ROOT, Order, Path, Refused, Row, StaleVersionError, by_name
from graph.write.freed_keys import delete_first, step_aside
from graph.write.images import among, parts
from graph.write.locks import Lock, locked
from graph.write.mutation_inputs import ABSENT
from graph.write.object_graph import Graph
from graph.write.pending import PendingRows, align, raise_versions
from graph.write.references import look_up
from graph.write.violations import restrictions, violations

R = TypeVar("R", bound=Base)

#: How often work that the database refused is done again by a unit that explains, before the client is asked to try again.
EXPLANATIONS = 2


class Unit(Graph):
    """A graph in a transaction. Domain code builds, loads and flushes; it never commits."""

    def __init__(self, context: Context, field: RunningField | None = None, *, explaining: bool, order: Order = by_name) -> None:
        super().__init__(context, order)
        self._field = field
        self.explaining = explaining
        self.raised: set[Any] = set()

    @property
    def field(self) -> RunningField:
        """The mutation field whose work this is."""
        assert self._field is not None, "a unit that no field runs has none"
        return self._field

    async def load(
        self,
        model: type[R],
        id_: str,
        *parts: str,
        path: Path = (*ROOT, "id"),
        expected: Any = ABSENT,
        expected_name: str = "expectedVersion",
        lock: Lock = Lock.CHANGE,
    ) -> R:
        """The root a mutation is about, locked for what is to become of it, and the lists of its `parts`, whole.

        Raises `Refused` with NOT_FOUND or STALE_VERSION, which stand alone. A row that the scope does not see is not there.
        """
        key = key_in_id(model, id_)
        row: R | None = None
        if key is not None:
            rows_ = self.seen(model)
            found = await self.load_all(self.locked(rows_, rows_.id == key, lock=lock), rows_, *parts)
            row = found[0] if found else None
        if row is None:
            raise Refused([missing(type_name(model.__mapper__), id_, path)])
        self.origin(row).sent["id"] = path
        check_versions((row, expected, (*ROOT, expected_name)))
        return row

    def seen(self, model: type[Base]) -> Any:
        """The rows of a class that the scope sees, for one statement."""
        return rows(model, self.scope)

    def locked(self, rows_: Any, *where: Any, lock: Lock = Lock.CHANGE) -> sa.Select[Any]:
        """Rows that came through the door, locked in key order and as they are in the database now."""
        return locked(sa.select(rows_).where(*where), rows_, lock).execution_options(populate_existing=True)

    async def load_all(self, found: sa.Select[Any], rows_: Any, *parts: str) -> list[Any]:
        """The objects of a SELECT of rows that came through the door, with the lists of their parts.

        A list is loaded whole, for what must hold over all of it; the parts that the scope does not see are noted in `unseen`.
        """
        loaded = list(await self.session.scalars(found.options(*(selectinload(getattr(rows_, part)) for part in parts))))
        for part in parts if loaded else ():
            model = type(loaded[0]).__mapper__.relationships[part].mapper.class_
            keys = [child.id for row in loaded for child in getattr(row, part)]
            self.unseen |= {(model, key) for key in set(keys).difference(await self.seen_keys(model, keys))}
        return loaded

    async def seen_keys(self, model: type[Base], keys: Sequence[int]) -> Sequence[int]:
        """Those of some keys whose rows the scope sees. Nothing is asked where no rule keeps one from it."""
        if not keys or Door(self.scope).sees_all(model):
            return keys
        row = self.seen(model)
        found = sa.select(row.id).where(row.id.in_(keys)).order_by(row.id)
        return list((await self.session.scalars(found)).all())

    async def rows(self, statement: sa.Select[*tuple[Any, ...]], parameters: Mapping[str, Any] | None = None) -> Sequence[Any]:
        """What a SELECT of columns finds in the transaction."""
        return (await self.session.execute(statement, parameters)).all()

    async def insert(self, *rows: Base) -> None:
        """Write new rows with all that is below them, and whatever else has changed. Raises as `flush` does."""
        self.session.add_all(rows)
        await self.flush()

    async def delete(self, row: Base) -> None:
        """Delete a loaded row; what is below it goes by cascades. Raises as `flush` does."""
        await self.before_delete(type(row), [type(row).__mapper__.primary_key_from_instance(row)[0]])
        await self.session.delete(row)
        await self.flush()

    async def before_delete(self, model: type[Base], keys: Collection[int]) -> None:
        """Rows are about to be deleted by a statement or a cascade: what must happen before happens."""
        table: Any = model.__mapper__.local_table
        for hook in BEFORE_DELETE.get(model, ()):
            await hook(self, among(self, table.c.id, keys))
        for part, column, goes in parts(model):
            if goes:
                await self._before_cascade(part, among(self, column, keys), {model, part})

    async def _before_cascade(self, model: type[Base], where: ColumnElement[bool], seen: set[type[Base]]) -> None:
        table: Any = model.__mapper__.local_table
        for hook in BEFORE_DELETE.get(model, ()):
            await hook(self, where)
        for part, column, goes in parts(model):
            if goes and part not in seen:
                await self._before_cascade(part, column.in_(sa.select(table.c.id).where(where)), {*seen, part})

    async def look_up(self) -> None:
        """Find what all references lead to, and set the foreign keys."""
        await look_up([self])

    async def flush(self) -> None:
        """Write the graph. Raises `Refused` with all that is wrong, or the database's `IntegrityError`."""
        await self.look_up()
        session = self.session.sync_session
        session.add_all(self.parents)
        changes = PendingRows(session)
        for rule in RULES:
            await rule(self, changes)
        if session.identity_map:  # nothing is there yet whose version could move
            changes = PendingRows(session)
            raise_versions(session, changes, self.raised)
            align(changes.dirty)
        if self.errors or self.explaining:
            kept = await restrictions(self, changes)
            if not kept:
                await delete_first(self, changes)
            found = [*self.errors, *await violations(self, changes), *kept] or await step_aside(self, changes)
            if found:
                raise Refused(found)
        await give_keys(self.context, self.dialect, self.keys)
        await door.flush(self, changes.deleted)


def check_versions(*roots: tuple[Any, Any, Path]) -> None:
    """Hold loaded roots against the versions the client read, each with the place of its version. Raises `Refused`."""
    stale = [each for each in roots if each[1] is not ABSENT and each[1] is not None and each[0].version != each[1]]
    if stale:
        raise Refused(_stale(*each) for each in stale)


def _stale(row: Any, expected: int, path: Path) -> StaleVersionError:
    return StaleVersionError(
        message=f"The version is {row.version}, not {expected}",
        path=list(path),
        expected=expected,
        actual=row.version,
        row=Row(type_name(type(row).__mapper__), row.id),
    )


Rule = Callable[[Unit, PendingRows], Awaitable[None]]
#: Rules of the domain, run before every flush in this order: each sees what is about to be written, completes it and collects
#: errors. `graph.schema` lists them.
RULES: list[Rule] = []

BeforeDelete = Callable[[Unit, ColumnElement[bool]], Awaitable[None]]
#: What must happen before rows are deleted by a statement or a cascade, by mapped class; a condition on its table says which.
#: `graph.schema` lists it.
BEFORE_DELETE: dict[type[Base], tuple[BeforeDelete, ...]] = {}

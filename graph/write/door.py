"""The write door: every INSERT, UPDATE and DELETE of a mirrored table, by a flush, a statement or the database's own cascade.

What goes in: a graph that is to be flushed, or a table with the rows that a statement writes. What comes out: the rows written,
and noted in the record of changes where somebody listens. What may be refused here: a row that whoever writes would not see
afterwards, as FORBIDDEN; what the database refuses is raised.

Rooms of the domain write through the verbs of a `Unit` and of `graph.write.bulk` and `plain_rows`, which end here; they hold no
statement that writes. A row that the scope does not see is not there for any verb, and what a verb has written the scope must see
(`graph.read.rows.left`); `add` alone keeps accounts of the server's own over all rows. A statement is noted by what its rows are
before and after it, so that whatever it computes is told as it is. Nothing is read for that when nobody listens, and nothing is
held against rules where there is none.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import sqlalchemy as sa
from sqlalchemy import ColumnElement, event
from sqlalchemy.orm import Session
from sqlalchemy.sql import visitors

from graph.base import Base
from graph.database import capabilities
from graph.read.rows import Door, any_rules, left, rows, seen
from graph.scope import SERVER
from graph.write.columns import stored, type_name
from graph.write.errors import ROOT, Path, Refused, forbidden
from graph.write.flushed_rows import note_flush
from graph.write.images import (
    among,
    brought,
    falling,
    from_rows,
    image_columns,
    images,
    is_crowd,
    kept_parts,
    lineage,
    note,
    note_added,
    note_fallen,
)
from graph.write.locks import Lock, locked
from graph.write.object_graph import Graph
from graph.write.pending import parent_keys
from graph.write.record import MOST_TOLD, Record, record_of

# Of all sessions: to listen to each one anew costs as much as to note five rows.
event.listen(Session, "after_flush", note_flush)


async def flush(graph: Graph, gone: Sequence[Base] = ()) -> None:
    """Write what is in the session. `gone` are the rows it deletes, with which the database may delete others."""
    written = _to_write(graph) if any_rules(graph.scope) else {}
    record = record_of(graph.session)
    if record is None:
        await graph.session.flush()
    else:
        keys: dict[type[Base], set[int]] = defaultdict(set)
        for row in gone:
            keys[type(row)].add(_key(row))
        fallen = await falling(graph, keys)
        changed = {type(row) for row in graph.session.dirty}  # one that goes may have left its parent before
        await graph.session.flush()
        await note_fallen(graph, record, fallen, changed.union(*map(kept_parts, keys)))
    gone_from_sight: dict[tuple[type[Base], int], Base] = {}
    for model, flushed in written.items():
        by_key = {_key(row): row for row in flushed}
        gone_from_sight |= {(model, key): by_key[key] for key in await _out_of_sight(graph, model, "id", by_key)}
    # What goes with a parent that does is not told beside it.
    roots = [row for row in gone_from_sight.values() if not any(parent in gone_from_sight for parent in parent_keys(row))]
    if roots:
        raise Refused(forbidden(type_name(type(row).__mapper__), graph.origin(row).path) for row in roots)


def _to_write(graph: Graph) -> dict[type[Base], list[Base]]:
    """The rows that a flush will leave behind, by class. A part that counts but is not seen is none: it was not seen before."""
    session = graph.session.sync_session
    gone, found = session.deleted, defaultdict[type[Base], list[Base]](list)
    for row in (*session.new, *session.dirty):
        if row not in gone and graph.sees(row):
            found[type(row)].append(row)
    return found


def _key(row: Base) -> int:
    key: int = type(row).__mapper__.primary_key_from_instance(row)[0]
    return key


async def update(graph: Graph, model: type[Base], keys: Collection[int], values: Mapping[str, Any], path: Path = ROOT) -> None:
    """Set columns of rows that are locked; `path` leads to the values."""
    table: Any = model.__mapper__.local_table
    where = _visible(graph, model, among(graph, table.c.id, keys))
    await _execute(graph, model, where, sa.update(table).where(where).values(values))
    await _hold(graph, model, "id", keys, lambda _: path)


async def update_where(
    graph: Graph,
    model: type[Base],
    where: ColumnElement[bool],
    values: Mapping[str, Any],
    *allowed: ColumnElement[bool],
    path: Path = ROOT,
) -> list[int]:
    """Set columns of the rows that match, if they are `allowed` to; the keys of those it found. `path` leads to the values."""
    table: Any = model.__mapper__.local_table
    where = _visible(graph, model, where)
    statement = sa.update(table).where(where, *allowed).values(values).returning(table.c.id)
    record = record_of(graph.session)
    # What is not allowed is not locked: whoever mends it need not wait.
    before = {} if record is None else await images(graph, model, sa.and_(where, *allowed))
    keys = list((await graph.session.scalars(statement)).all())
    if record is not None and keys:
        after = await images(graph, model, among(graph, table.c.id, keys), crowd=len(keys) > MOST_TOLD)
        note(record, model, {key: before[key] for key in keys if key in before}, after, now=graph.now, sets=values)
    await _hold(graph, model, "id", keys, lambda _: path)
    return keys


async def add(graph: Graph, model: type[Base], counter: str, amounts: Mapping[int, int], held: Mapping[int, Any]) -> None:
    """Add to a counter of rows, to each its own amount, in one statement: an account of the server's own.

    `held` are the rows as they are, locked: their counter and, of a root, its version. So nothing is read for the record.
    """
    if not amounts:
        return
    rows = [{"_key": row, "_amount": pieces} for row, pieces in amounts.items()]
    await graph.session.execute(_addition(model, counter), rows)
    record = record_of(graph.session)
    if record is not None:
        note_added(record, model, counter, amounts, held)


@cache
def _addition(model: type[Base], counter: str) -> sa.Update:
    """Made once: a twelfth of a nested create went into making it."""
    table: Any = model.__mapper__.local_table
    key: Any = sa.bindparam("_key")
    amount: Any = sa.bindparam("_amount")
    return sa.update(table).where(table.c.id == key).values(counted(model, counter, amount))


def counted(model: type[Base], counter: str, amount: Any) -> dict[str, Any]:
    """What an UPDATE sets that adds to a counter: nothing else. Times of the row would tell of whoever makes it move."""
    table: Any = model.__mapper__.local_table
    return {counter: table.c[counter] + amount, **{name: table.c[name] for name in brought(model)}}


async def delete(graph: Graph, model: type[Base], keys: Collection[int]) -> None:
    """Delete rows that are locked, and by the database's cascades what is below them."""
    table: Any = model.__mapper__.local_table
    where = _visible(graph, model, among(graph, table.c.id, keys))
    await _execute(graph, model, where, sa.delete(table).where(where), goes=True)


async def delete_where(graph: Graph, model: type[Base], keys: Collection[int], *allowed: ColumnElement[bool]) -> list[int]:
    """Delete those of some locked rows that may go; their keys."""
    table: Any = model.__mapper__.local_table
    where = _visible(graph, model, among(graph, table.c.id, keys))
    statement = sa.delete(table).where(where, *allowed).returning(table.c.id)
    return sorted((await _execute(graph, model, where, statement, goes=None)).scalars())


def _visible(graph: Graph, model: type[Base], where: ColumnElement[bool]) -> ColumnElement[bool]:
    """A row that whoever writes may not see is not there."""
    return sa.and_(where, seen(model, graph.scope))


def insert_of(graph: Graph, model: type[Base]) -> Any:
    """An INSERT that can have a conflict clause, for `insert` and `merge`."""
    return capabilities(graph.dialect).insert(model.__mapper__.local_table)


@dataclass(frozen=True, slots=True)
class Keyed:
    """Rows that are written without objects: their class, their natural key, its values as they are stored, and where in the
    input the row with such a value stands."""

    model: type[Base]
    key: str
    values: Collection[Any]
    place: Callable[[Any], Path]


async def insert(graph: Graph, rows_: Keyed, statement: Any, *, skip: bool = False) -> int:
    """Insert rows; how many were. With `skip` one whose key is taken is left out."""
    column = rows_.model.__mapper__.columns[rows_.key]
    if skip:
        statement = statement.on_conflict_do_nothing(index_elements=[rows_.key])
        found = await _insert(graph, rows_.model, statement, column, rows_.values)
        written: Collection[Any] = [stored(column, value, graph.dialect) for value in found]
    else:
        await _insert(graph, rows_.model, statement, column, rows_.values)
        written = rows_.values
    await _hold(graph, rows_.model, rows_.key, written, rows_.place)
    return len(written)


async def insert_keyed(graph: Graph, model: type[Base], keys: Collection[int], statement: Any) -> None:
    """Insert rows that have their primary keys already (`graph.write.drawn_keys.next_keys`): nobody else can have them."""
    table: Any = model.__mapper__.local_table
    await _insert(graph, model, statement, table.c.id, keys)
    await _hold(graph, model, "id", keys, lambda _: ROOT)


async def _insert(graph: Graph, model: type[Base], statement: Any, column: Any, keys: Collection[Any]) -> list[Any]:
    """Insert rows, and note them; what a column holds of those that were. `keys` are theirs, or of more than them.

    They are noted as the statement returns them, where it can: a plan that was kept while the table was small would look for
    them in all of it. Something is returned in any case: without that Citus copies the rows to their shard, and tells of one that
    a constraint refuses as of an error of its own.
    """
    record = record_of(graph.session)
    whole = None if record is None or len(keys) > MOST_TOLD else image_columns(model)
    found = (await graph.session.execute(statement.returning(column, *(whole or ())))).all()
    written = [row[0] for row in found]
    if record is not None and not _note_many(record, model, len(written)):
        after = (
            from_rows(model, (row[1:] for row in found)) if whole else await images(graph, model, among(graph, column, written))
        )
        note(record, model, {}, after)
    return written


def _note_many(record: Record, model: type[Base], count: int) -> bool:
    """Note that a statement wrote so many rows, if they are more than are told one by one; whether they are."""
    line = lineage(model)
    if line is None or count <= MOST_TOLD:
        return False
    record.add_many(line.name, line.root_name, count)
    return True


async def merge(
    graph: Graph, rows_: Keyed, statement: Any, sets: Mapping[str, Any], parameters: Any = None, *, returning: Sequence[Any] = ()
) -> Any:
    """Insert rows, or set columns of those that have their keys already and are seen.

    A row that has a key and is not seen stays as it is, and then the write is refused: ask `hides` before.
    """
    where = None if Door(graph.scope).sees_all(rows_.model) else seen(rows_.model, graph.scope)
    if where is not None and statement.select is not None:
        where = without_parameters(where)
    statement = statement.on_conflict_do_update(index_elements=[rows_.key], set_=sets, where=where)
    if returning:
        statement = statement.returning(*returning)
    await _lock(graph, rows_)
    record = record_of(graph.session)
    if record is not None and _note_many(record, rows_.model, len(rows_.values)):
        result = await graph.session.execute(statement, parameters)
    else:
        result = await _execute(graph, rows_.model, _with_keys(graph, rows_), statement, parameters, sets=sets)
    await _hold(graph, rows_.model, rows_.key, rows_.values, rows_.place)
    return result


def without_parameters(condition: ColumnElement[bool]) -> ColumnElement[bool]:
    """A condition whose values stand in its text: Citus writes the rows of a SELECT by a statement that knows no parameters."""

    def spelled(element: Any, **_: Any) -> Any:
        if not isinstance(element, sa.BindParameter):
            return None
        return sa.literal(element.value, element.type, literal_execute=True)

    return visitors.replacement_traverse(condition, {}, spelled)


async def hides(graph: Graph, rows_: Keyed) -> bool:
    """Whether one of the keys is that of a row which the scope does not see. Nothing is asked where no rule keeps any from it."""
    if Door(graph.scope).sees_all(rows_.model):
        return False
    there, mine = rows(rows_.model, SERVER, "there"), rows(rows_.model, graph.scope, "mine")
    taken = among(graph, getattr(there, rows_.key), rows_.values)
    hidden = sa.select(there.id).where(taken, there.id.not_in(sa.select(mine.id))).limit(1)
    return await graph.session.scalar(hidden) is not None


async def _lock(graph: Graph, rows_: Keyed) -> None:
    """Lock rows that are there in the order of all writes: an INSERT would in that of their natural keys."""
    if len(rows_.values) > 1 and not capabilities(graph.dialect).one_writer:
        table: Any = rows_.model.__mapper__.local_table
        where = _visible(graph, rows_.model, _with_keys(graph, rows_))
        there = locked(sa.select(table.c.id).where(where), table, Lock.CHANGE).subquery()
        await graph.session.execute(sa.select(sa.func.count()).select_from(there))


def _with_keys(graph: Graph, rows_: Keyed) -> ColumnElement[bool]:
    return among(graph, rows_.model.__mapper__.columns[rows_.key], sorted(set(rows_.values)))


async def _hold(graph: Graph, model: type[Base], key: str, values: Collection[Any], place: Callable[[Any], Path]) -> None:
    """Refuse rows that were written and that whoever wrote them does not see now; `key` is the attribute that has the values."""
    gone = await _out_of_sight(graph, model, key, values)
    if gone:
        raise Refused(forbidden(type_name(model.__mapper__), place(value)) for value in gone)


async def _out_of_sight(graph: Graph, model: type[Base], key: str, values: Collection[Any]) -> list[Any]:
    """Those of some values of an attribute whose rows the scope may not have written."""
    allowed = left(model, graph.scope) if values else None
    if allowed is None:
        return []
    attribute = getattr(allowed, key)
    found = await graph.session.scalars(sa.select(attribute).where(among(graph, attribute, values)))
    column = model.__mapper__.columns[key]
    there = {stored(column, value, graph.dialect) for value in found}
    return [value for value in values if value not in there]


async def _execute(
    graph: Graph,
    model: type[Base],
    where: ColumnElement[bool],
    statement: Any,
    rows: Sequence[Mapping[str, Any]] | None = None,
    *,
    goes: bool | None = False,
    sets: Collection[str] = (),
) -> Any:
    """Run a statement that writes rows of a table; `where` matches them before it, and after it as far as they are there.

    `sets` are the columns that a conflict clause sets; `goes` says that it deletes, None that it deletes some of them.
    """
    record = record_of(graph.session)
    if record is None:
        return await graph.session.execute(statement, rows)
    deletes = goes is not False
    before = await images(graph, model, where, Lock.DELETE if deletes else Lock.CHANGE)
    fallen = await falling(graph, {model: before.keys()} if deletes else {})
    result = await graph.session.execute(statement, rows)
    after = {} if goes else await images(graph, model, where, crowd=is_crowd(before))
    note(record, model, before, after, now=graph.now, sets=sets, goes=deletes)
    await note_fallen(graph, record, fallen, kept_parts(model) if goes else fallen)
    return result

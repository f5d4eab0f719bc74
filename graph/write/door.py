"""The write door: every INSERT, UPDATE and DELETE of a mirrored table, by a flush, a statement or the database's own cascade.

What goes in: a graph that is to be flushed, or a table with the rows that a statement writes. What comes out: the rows written,
and noted in the record of changes where somebody listens. What may be refused here: a row that whoever writes would not see
afterwards, as FORBIDDEN; what the database refuses is raised.

Rooms of the domain write through the verbs of a `Unit` and of `graph.write.bulk`, `plain_rows` and `upserts`, which end here;
they hold no statement that writes. A row that the scope does not see is not there for any verb, and what a verb has written the
scope must see (`graph.write.sight`); `add` alone keeps accounts of the server's own over all rows. A statement is noted by what
its rows are before and after it, so that whatever it computes is told as it is. Nothing is read for that when nobody listens.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from functools import cache
from typing import Any

import sqlalchemy as sa
from sqlalchemy import ColumnElement, event
from sqlalchemy.orm import Session

from graph.base import Base
from graph.database import capabilities
from graph.read.rows import Door, seen
from graph.read.sql.constructs import without_parameters
from graph.write.column_rows import insert_silently, insert_values
from graph.write.columns import stored
from graph.write.errors import ROOT, Path
from graph.write.flushed_rows import note_flush
from graph.write.images import (
    among,
    brought,
    falling,
    images,
    is_crowd,
    kept_parts,
    lineage,
    new_columns,
    new_images,
    note,
    note_added,
    note_fallen,
    with_parts,
)
from graph.write.locks import Lock, locked
from graph.write.object_graph import Graph
from graph.write.record import MOST_TOLD, Record, record_of
from graph.write.sight import Keyed, keep_flushed, keep_in_sight, key_of_row, to_flush, visible, with_keys

# Of all sessions: to listen to each one anew costs as much as to note five rows.
event.listen(Session, "after_flush", note_flush)


async def flush(graph: Graph, gone: Sequence[Base] = ()) -> None:
    """Write what is in the session. `gone` are the rows it deletes, with which the database may delete others."""
    written = to_flush(graph)
    record = record_of(graph.session)
    if record is None:
        await graph.context.database.flush(graph.session)
    else:
        keys: dict[type[Base], set[int]] = defaultdict(set)
        for row in gone:
            keys[type(row)].add(key_of_row(row))
        fallen = await falling(graph, keys)
        # One that would fall and changes may leave its parent before, and what is below it stays with it.
        leaving: set[type[Base]] = {type(row) for row in graph.session.dirty if key_of_row(row) in fallen.get(type(row), ())}
        await graph.context.database.flush(graph.session)
        stay = {each for model in leaving for each in with_parts(model)}
        await note_fallen(graph, record, fallen, stay.union(*map(kept_parts, keys)))
    await keep_flushed(graph, written)


async def update(graph: Graph, model: type[Base], keys: Collection[int], values: Mapping[str, Any], path: Path = ROOT) -> None:
    """Set columns of rows that are locked; `path` leads to the values."""
    table: Any = model.__mapper__.local_table
    where = visible(graph, model, among(graph, table.c.id, keys))
    await _execute(graph, model, where, sa.update(table).where(where).values(values))
    await keep_in_sight(graph, model, "id", keys, lambda _: path)


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
    where = visible(graph, model, where)
    statement = sa.update(table).where(where, *allowed).values(values).returning(table.c.id)
    record = record_of(graph.session)
    # What is not allowed is not locked: whoever mends it need not wait.
    before = {} if record is None else await images(graph, model, sa.and_(where, *allowed))
    keys = list((await graph.session.scalars(statement)).all())
    if record is not None and keys:
        after = await images(graph, model, among(graph, table.c.id, keys), crowd=len(keys) > MOST_TOLD)
        note(record, model, {key: before[key] for key in keys if key in before}, after, now=graph.now, sets=values)
    await keep_in_sight(graph, model, "id", keys, lambda _: path)
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
    where = visible(graph, model, among(graph, table.c.id, keys))
    await _execute(graph, model, where, sa.delete(table).where(where), goes=True)


async def delete_where(graph: Graph, model: type[Base], keys: Collection[int], *allowed: ColumnElement[bool]) -> list[int]:
    """Delete those of some locked rows that may go; their keys."""
    table: Any = model.__mapper__.local_table
    where = visible(graph, model, among(graph, table.c.id, keys))
    statement = sa.delete(table).where(where, *allowed).returning(table.c.id)
    return sorted((await _execute(graph, model, where, statement, goes=None)).scalars())


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
    await keep_in_sight(graph, rows_.model, rows_.key, written, rows_.place)
    return len(written)


async def insert_keyed(
    graph: Graph, model: type[Base], keys: Collection[int], values: Mapping[str, Sequence[Any]], start: Mapping[str, Any]
) -> None:
    """Insert rows that have their primary keys already (`graph.write.drawn_keys.next_keys`): nobody else can have them.

    `values` are theirs by column, `start` is what all of them have.
    """
    table: Any = model.__mapper__.local_table
    record = record_of(graph.session)
    if capabilities(graph.dialect).arrays or (record is not None and len(keys) <= MOST_TOLD):
        await _insert(graph, model, insert_values(graph, model, values, start), table.c.id, keys)
    else:
        await insert_silently(graph, model, values, start)
        if record is not None:
            _note_many(record, model, len(keys))
    await keep_in_sight(graph, model, "id", keys, lambda _: ROOT)


async def _insert(graph: Graph, model: type[Base], statement: Any, column: Any, keys: Collection[Any]) -> list[Any]:
    """Insert rows, and note them; what a column holds of those that were. `keys` are theirs, or of more than them.

    They are noted as the statement returns them, where it can: a plan that was kept while the table was small would look for
    them in all of it. Something is returned in any case: without that Citus copies the rows to their shard, and tells of one that
    a constraint refuses as of an error of its own.
    """
    record = record_of(graph.session)
    told = None if record is None or len(keys) > MOST_TOLD else new_columns(model)
    found = (await graph.session.execute(statement.returning(column, *(told or ())))).all()
    written = [row[0] for row in found]
    if record is not None and not _note_many(record, model, len(written)):
        after = (
            new_images(model, (row[1:] for row in found)) if told else await images(graph, model, among(graph, column, written))
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

    A row that has a key and is not seen stays as it is, and then the write is refused: ask `graph.write.sight.hides` before.
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
        result = await _execute(graph, rows_.model, with_keys(graph, rows_), statement, parameters, sets=sets)
    await keep_in_sight(graph, rows_.model, rows_.key, rows_.values, rows_.place)
    return result


async def _lock(graph: Graph, rows_: Keyed) -> None:
    """Lock rows that are there in the order of all writes: an INSERT would in that of their natural keys."""
    if len(rows_.values) > 1 and not capabilities(graph.dialect).one_writer:
        table: Any = rows_.model.__mapper__.local_table
        where = visible(graph, rows_.model, with_keys(graph, rows_))
        there = locked(sa.select(table.c.id).where(where), table, Lock.CHANGE).subquery()
        await graph.session.execute(sa.select(sa.func.count()).select_from(there))


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

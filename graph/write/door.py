"""The write door: every INSERT, UPDATE and DELETE of a mirrored table, by a flush, a statement or the database's own cascade.

What goes in: a graph that is to be flushed, or a table with the rows that a statement writes. What comes out: the rows written,
and noted in the record of changes where somebody listens. What may be refused here: nothing; what the database refuses is raised.

Rooms of the domain write through the verbs of a `Unit` and of `graph.write.bulk` and `plain_rows`, which end here; they hold no
statement that writes. A statement is noted by what its rows are before and after it, so that whatever it computes is told as it
is. Nothing is read for that when nobody listens.
"""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from functools import cache, partial
from typing import Any, TypeVar

import sqlalchemy as sa
from sqlalchemy import ColumnElement, event

from graph.base import Base
from graph.context import Context
from graph.database import capabilities
from graph.read.rows import seen
from graph.write.images import among, falling, images, note, note_fallen, note_flush
from graph.write.object_graph import Graph
from graph.write.record import RECORD, Record, record_of

logger = logging.getLogger("ordergraph.write")

T = TypeVar("T")


async def recorded(context: Context, work: Callable[[], Awaitable[T]]) -> T:
    """Run `work` in a transaction of its own, as `Database.transaction` does, and hand on what it changed once that is committed.

    Each try has a record of its own. What raises hands nothing on: a refusal, a dry run, a COMMIT that was not answered.
    """
    database, session = context.database, context.session
    if not database.listeners:
        return await database.transaction(session, work, context.deadline)
    record = Record()

    async def attempt() -> T:
        nonlocal record
        record = session.info[RECORD] = Record()
        return await work()

    event.listen(session.sync_session, "after_flush", note_flush)
    try:
        result = await database.transaction(session, attempt, context.deadline)
    finally:
        event.remove(session.sync_session, "after_flush", note_flush)
        session.info.pop(RECORD, None)
    # Nothing is awaited between the COMMIT and this: whoever gives up waiting cannot take it from the listeners.
    changes = record.changes()
    for listener in database.listeners if changes else ():
        try:
            listener(changes)
        except Exception:
            logger.exception("A listener to changes failed")  # what it was told of has happened
    return result


async def flush(graph: Graph, gone: Sequence[Base] = ()) -> None:
    """Write what is in the session. `gone` are the rows it deletes, with which the database may delete others."""
    record = record_of(graph.session)
    if record is None:
        await graph.session.flush()
        return
    keys: dict[type[Base], set[int]] = defaultdict(set)
    for row in gone:
        keys[type(row)].add(type(row).__mapper__.primary_key_from_instance(row)[0])
    fallen = await falling(graph, keys)
    await graph.session.flush()
    await note_fallen(graph, record, fallen)


async def update(graph: Graph, model: type[Base], keys: Collection[int], values: Mapping[str, Any]) -> None:
    """Set columns of rows that are locked."""
    table: Any = model.__mapper__.local_table
    where = _visible(graph, model, among(graph, table.c.id, keys))
    await execute(graph, model, where, sa.update(table).where(where).values(values))


async def update_where(
    graph: Graph, model: type[Base], where: ColumnElement[bool], values: Mapping[str, Any], *allowed: ColumnElement[bool]
) -> list[int]:
    """Set columns of the rows that match, if they are `allowed` to; the keys of those it found."""
    table: Any = model.__mapper__.local_table
    where = _visible(graph, model, where)
    statement = sa.update(table).where(where, *allowed).values(values).returning(table.c.id)
    return list((await execute(graph, model, where, statement)).scalars())


async def add(graph: Graph, model: type[Base], counter: str, amounts: Mapping[int, int]) -> None:
    """Add to a counter of rows that are locked, to each its own amount, in one statement: an account of the server's own."""
    if not amounts:
        return
    rows = [{"_key": row, "_amount": pieces} for row, pieces in amounts.items()]
    written = partial(among, graph, model.__mapper__.local_table.c.id, sorted(amounts))
    await execute(graph, model, written, _addition(model, counter), rows)


@cache
def _addition(model: type[Base], counter: str) -> sa.Update:
    """Made once: a twelfth of a nested create went into making it."""
    table: Any = model.__mapper__.local_table
    key: Any = sa.bindparam("_key")
    amount: Any = sa.bindparam("_amount")
    return sa.update(table).where(table.c.id == key).values({counter: table.c[counter] + amount})


async def delete(graph: Graph, model: type[Base], keys: Collection[int]) -> None:
    """Delete rows that are locked, and by the database's cascades what is below them."""
    table: Any = model.__mapper__.local_table
    where = _visible(graph, model, among(graph, table.c.id, keys))
    await execute(graph, model, where, sa.delete(table).where(where), goes=True)


async def delete_where(graph: Graph, model: type[Base], keys: Collection[int], *allowed: ColumnElement[bool]) -> list[int]:
    """Delete those of some locked rows that may go; their keys."""
    table: Any = model.__mapper__.local_table
    where = _visible(graph, model, among(graph, table.c.id, keys))
    statement = sa.delete(table).where(where, *allowed).returning(table.c.id)
    return sorted((await execute(graph, model, where, statement, goes=True)).scalars())


def _visible(graph: Graph, model: type[Base], where: ColumnElement[bool]) -> ColumnElement[bool]:
    """A row that whoever writes may not see is not there."""
    return sa.and_(where, seen(model, graph.scope))


def insert_of(graph: Graph, model: type[Base]) -> Any:
    """An INSERT that can have a conflict clause, for `execute`."""
    return capabilities(graph.dialect).insert(model.__mapper__.local_table)


async def execute(
    graph: Graph,
    model: type[Base],
    where: ColumnElement[bool] | Callable[[], ColumnElement[bool]],
    statement: Any,
    rows: Sequence[Mapping[str, Any]] | None = None,
    *,
    goes: bool = False,
    sets: Collection[str] = (),
) -> Any:
    """Run a statement that writes rows of a table; `where` matches them before it, and after it as far as
    they are there (a function that makes the condition is called only when somebody listens).

    `sets` are the columns that a conflict clause sets; `goes` says that it deletes.
    """
    record = record_of(graph.session)
    if record is None:
        return await graph.session.execute(statement, rows)
    where = where() if callable(where) else where
    before = await images(graph, model, where)
    fallen = await falling(graph, {model: before.keys()} if goes else {})
    result = await graph.session.execute(statement, rows)
    note(record, model, before, await images(graph, model, where), now=graph.now, sets=sets)
    await note_fallen(graph, record, fallen)
    return result

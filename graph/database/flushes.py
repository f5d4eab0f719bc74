"""How a session's flush goes to the database: by one connection, and INSERTs that answer nothing together.

What goes in: a session with new, changed and deleted objects. What comes out: the statements that SQLAlchemy's unit of work makes
of them, sent. What may be refused here: what the database refuses.

Where an INSERT can be a part of another statement and new rows have their keys already, the INSERTs of a flush are one statement:
a customer with an order and its lines is one way to the database instead of three, and those who wait for its locks wait for one.
Foreign keys are checked when the statement is done, in whatever order it inserts; PostgreSQL begins with the last. Whatever else
goes to the database goes by itself, after all that was kept before it.

The unit of work is SQLAlchemy's; what it takes for its connection is an `Outlet`. Its own way to the driver, made for any
statement, costs an INSERT of one row five times as much.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache, partial
from types import SimpleNamespace
from typing import Any
from weakref import WeakKeyDictionary

import sqlalchemy as sa
from sqlalchemy import Connection, Dialect
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import Session

from graph.database.failures import sqlstate

Send = Callable[[str, Sequence[Any]], Awaitable[Any]]

#: The class of SQLSTATEs that say which constraint a statement breaks.
CONSTRAINTS = "23"
#: How many parameters a statement may have for another INSERT to join it: the driver takes 32,767.
MOST_PARAMETERS = 1_000
#: A parameter in the text of a statement. What is quoted is matched whole, and so are names with a $, which hold none.
PARAMETER = re.compile(r"""'[^']*'|"[^"]*"|\w[\w$]*|\$(\d+)""")


async def flush(session: AsyncSession, send: Send | None) -> None:
    """Write what is new, changed and deleted in a session. `send` takes INSERTs that were kept back; without it none is.

    Raises what the database refuses, a broken constraint as SQLAlchemy's `IntegrityError`.
    """
    kept = None if send is None else Inserts()
    with one_connection(session.sync_session, kept):
        await session.flush()
    if send is not None and kept:
        try:
            await send(*kept.leave())
        except Exception as error:
            if sqlstate(error).startswith(CONSTRAINTS):
                raise IntegrityError(None, None, error, hide_parameters=True) from error
            raise


class Inserts:
    """The INSERTs of a flush that were not sent yet, in order."""

    def __init__(self) -> None:
        self._texts: list[tuple[str, int]] = []
        self._arguments: list[Any] = []

    def __bool__(self) -> bool:
        return bool(self._texts)

    def has_room(self, number: int) -> bool:
        """Whether an INSERT of so many parameters may be sent with what was kept."""
        return not self._texts or len(self._arguments) + number <= MOST_PARAMETERS

    def add(self, sql: str, arguments: Sequence[Any]) -> None:
        """Keep a statement for later."""
        self._texts.append((sql, len(arguments)))
        self._arguments += arguments

    def leave(self) -> tuple[str, list[Any]]:
        """What was kept, as one statement and its arguments: it is to be sent now."""
        texts, arguments = tuple(self._texts), self._arguments
        self._texts, self._arguments = [], []
        return together(texts), arguments


#: Those of the flushes that run, by their connection.
KEPT: dict[Connection, Inserts] = {}


def send_before(dialect: Any) -> None:
    """Have a dialect send what a flush keeps before any statement of SQLAlchemy's own on the same connection."""
    for name in ("do_execute", "do_execute_no_params", "do_executemany"):
        setattr(dialect, name, _behind(getattr(dialect, name)))


def _behind(execute: Callable[..., None]) -> Callable[..., None]:
    def executed(*arguments: Any) -> None:
        connection = arguments[-1].root_connection  # the last one is SQLAlchemy's context
        kept = KEPT.get(connection)
        if kept:
            send_now(connection, kept)
        execute(*arguments)

    return executed


def send_now(connection: Connection, kept: Inserts) -> None:
    """Send what was kept while the unit of work still runs, which is to see what SQLAlchemy raises, and what becomes of it."""
    sql, arguments = kept.leave()
    connection.exec_driver_sql(sql, tuple(arguments))


@contextmanager
def one_connection(session: Session, kept: Inserts | None) -> Iterator[None]:
    """Have a flush ask for its connection once, and when it first needs it: that may be what begins a savepoint.

    The unit of work asks for each class of rows, through locks against use in the wrong state. `connection_callable` is what
    SQLAlchemy's own sharded session answers it by; outside of a flush it would keep statements with many rows from being run.
    """
    taken: Connection | None = None
    found: Any = None

    def connection(*_: Any, **__: Any) -> Any:
        nonlocal taken, found
        if found is None:
            found = taken = session.connection()
            if kept is not None:
                KEPT[taken], found = kept, Outlet(taken, kept)
        return found

    session.connection_callable = connection
    try:
        yield
    finally:
        session.connection_callable = None
        if taken is not None:
            KEPT.pop(taken, None)


class Outlet:
    """A connection as the unit of work uses it, which keeps INSERTs whose rows have all their values."""

    def __init__(self, connection: Connection, kept: Inserts) -> None:
        self._connection, self._kept = connection, kept

    def __getattr__(self, name: str) -> Any:
        return getattr(self._connection, name)

    def execute(self, statement: Any, rows: Any = None, **how: Any) -> Any:
        """Keep an INSERT of a list of rows where nothing is to come back; execute anything else."""
        if isinstance(statement, sa.Insert) and isinstance(rows, list) and not statement._return_defaults:  # noqa: SLF001  # it has no public name
            plain = plain_insert(statement, tuple(rows[0]), self._connection.dialect, many=len(rows) > 1)
            if plain is not None:
                if not self._kept.has_room(len(plain.encoders)):
                    send_now(self._connection, self._kept)
                self._kept.add(plain.sql, plain.arguments(rows))
                return plain.answer(rows)
        return self._connection.execute(statement, rows, **how)


@dataclass(frozen=True, slots=True)
class PlainInsert:
    """An INSERT of values, spelled for a driver: of one row, or of any number with an array for each column."""

    compiled: Any
    sql: str
    encoders: tuple[tuple[str, Callable[[Any], Any] | None], ...]
    many: bool

    def arguments(self, rows: Sequence[Any]) -> list[Any]:
        """What the driver is given for rows."""
        if self.many:
            return [[row[name] if encode is None else encode(row[name]) for row in rows] for name, encode in self.encoders]
        row = rows[0]
        return [row[name] if encode is None else encode(row[name]) for name, encode in self.encoders]

    def answer(self, rows: Sequence[Any]) -> Any:
        """What the unit of work looks at of what was executed."""
        context = SimpleNamespace(compiled=self.compiled, compiled_parameters=rows, executemany=self.many, isinsert=True)
        return SimpleNamespace(context=context, returned_defaults=None)


#: Kept by dialect: by table, names of the values, and whether there are many rows. `None`: it is not plain.
PLAIN: WeakKeyDictionary[Dialect, dict[tuple[Any, tuple[str, ...], bool], PlainInsert | None]] = WeakKeyDictionary()


def plain_insert(statement: sa.Insert, names: tuple[str, ...], dialect: Dialect, *, many: bool) -> PlainInsert | None:
    """An INSERT without clauses of its own as it is sent; `None` where the database or SQLAlchemy computes something in it."""
    known = PLAIN.setdefault(dialect, {})
    key = (statement.table, names, many)
    if key not in known:
        known[key] = _compiled(statement, names, dialect, many=many)
    return known[key]


def _compiled(statement: sa.Insert, names: tuple[str, ...], dialect: Dialect, *, many: bool) -> PlainInsert | None:
    compiled: Any = statement.compile(dialect=dialect, column_keys=list(names), for_executemany=many)
    computed = compiled.prefetch or any(column.default is not None for column in compiled.postfetch)
    if computed or compiled.effective_returning or set(compiled.positiontup) != set(names):
        return None
    types = {name: compiled.binds[name].type for name in compiled.positiontup}
    kinds = {name: type_.dialect_impl(dialect) for name, type_ in types.items()}
    is_inserted = all(kind.bind_expression(compiled.binds[name]) is None for name, kind in kinds.items())
    if many and ("[]" in str(compiled) or not is_inserted):  # of arrays there is no array, of their elements is another one
        return None
    encoders = ((name, kind.bind_processor(dialect)) for name, kind in kinds.items())
    sql = of_many(statement.table, types, dialect) if many else str(compiled)
    return PlainInsert(compiled, sql, tuple(encoders), many)


def of_many(table: Any, types: dict[str, Any], dialect: Dialect) -> str:
    """An INSERT of any number of rows, each parameter an array of the values of a column.

    It answers something, though nobody asks, since of others Citus copies the rows, and a unique violation is no longer one.
    """
    arrays = [sa.func.unnest(sa.bindparam(name, type_=sa.ARRAY(type_))) for name, type_ in types.items()]
    insert = table.insert().from_select(list(types), sa.select(*arrays))
    return str(insert.returning(sa.literal_column("1")).compile(dialect=dialect))


@lru_cache(1_000)
def together(texts: tuple[tuple[str, int], ...]) -> str:
    """INSERTs as one statement, each with the number of its parameters. Below a WITH clause that writes Citus takes no INSERT."""
    if len(texts) == 1:
        return texts[0][0]
    return f"WITH {', '.join(f'w{n} AS ({text})' for n, text in enumerate(_numbered(texts)))} SELECT 1"


def _numbered(texts: tuple[tuple[str, int], ...]) -> Iterator[str]:
    before = 0
    for text, number in texts:
        yield PARAMETER.sub(partial(_moved, before), text) if before else text
        before += number


def _moved(by: int, found: re.Match[str]) -> str:
    return f"${int(found[1]) + by}" if found[1] else found[0]

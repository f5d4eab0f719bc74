"""How a session's flush goes to the database: by one connection, and INSERTs that answer nothing together.

What goes in: a session with new, changed and deleted objects. What comes out: the statements that SQLAlchemy's unit of work makes
of them, sent. What may be refused here: what the database refuses.

Where an INSERT can be a part of another statement and new rows have their keys already, the INSERTs of a flush are one statement:
a customer with an order and its lines is one way to the database instead of three, and those who wait for its locks wait for one.
Foreign keys are checked when the statement is done, in whatever order it inserts; PostgreSQL begins with the last. Whatever else
goes to the database goes by itself, after all that was kept before it.

The unit of work is SQLAlchemy's; what it takes for its connection is an `Outlet`. Its own way to the driver is made for any
statement, and costs an INSERT 120 thousand instructions more.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Connection
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import Session

from graph.database.failures import breaks_constraint
from graph.database.insert_texts import plain_insert, together

Send = Callable[[str, Sequence[Any]], Awaitable[Any]]

#: How many parameters a statement may have for another INSERT to join it: the driver takes 32,767.
MOST_PARAMETERS = 1_000


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
            if breaks_constraint(error):
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
    outlet: Any = None

    def connection(*_: Any, **__: Any) -> Any:
        nonlocal taken, outlet
        if taken is None:
            outlet = taken = session.connection()
            if kept is not None:
                KEPT[taken], outlet = kept, Outlet(taken, kept)
        return outlet

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

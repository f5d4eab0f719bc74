"""How a session's flush goes to the database: by one connection, and INSERTs that answer nothing together.

What goes in: a session with new, changed and deleted objects. What comes out: the statements that SQLAlchemy's unit of work makes
of them, sent. What may be refused here: what the database refuses.

Where an INSERT can be a part of another statement and new rows have their keys already, the INSERTs of a flush are one statement:
a customer with an order and its lines is one way to the database instead of three, and those who wait for its locks wait for one.
Constraints between the tables are held when the statement is done. What answers something goes by itself, after all that was
kept before it.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from functools import lru_cache, partial
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError, IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import Session
from sqlalchemy.util import await_only

from graph.database.failures import sqlstate

Send = Callable[[str, Sequence[Any]], Awaitable[Any]]

#: The class of SQLSTATEs that say which constraint a statement breaks.
CONSTRAINTS = "23"
#: A parameter in the text of a statement, not in a name.
PARAMETER = re.compile(r"(?<=[ (])\$(\d+)")


@contextmanager
def one_connection(session: Session) -> Iterator[None]:
    """Have a flush ask for its connection once, and when it first needs it: that may be what begins a savepoint.

    The unit of work asks for each class of rows, through locks against use in the wrong state. `connection_callable` is what
    SQLAlchemy's own sharded session answers it by; outside of a flush it would keep statements with many rows from being run.
    """
    found: Connection | None = None

    def connection(*_: Any, **__: Any) -> Connection:
        nonlocal found
        if found is None:
            found = session.connection()
        return found

    session.connection_callable = connection
    try:
        yield
    finally:
        session.connection_callable = None


async def flush(session: AsyncSession, send: Send | None) -> None:
    """Write what is new, changed and deleted in a session. `send` takes INSERTs that are kept back; without it none is.

    Raises what the database refuses, a broken constraint as SQLAlchemy's `IntegrityError`.
    """
    kept = None if send is None else Inserts(send)
    token = INSERTS.set(kept)
    try:
        with one_connection(session.sync_session):
            await session.flush()
        if kept is not None:
            await kept.send()
    except Exception as error:
        if isinstance(error, DBAPIError) or not sqlstate(error).startswith(CONSTRAINTS):
            raise
        raise IntegrityError(None, None, error, hide_parameters=True) from error
    finally:
        INSERTS.reset(token)


class Inserts:
    """The INSERTs of a flush that were not sent yet, in order. `send` takes SQL and arguments to the driver."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self._texts: list[tuple[str, int]] = []
        self._arguments: list[Any] = []

    def add(self, sql: str, arguments: Sequence[Any]) -> None:
        """Keep a statement for later."""
        self._texts.append((sql, len(arguments)))
        self._arguments += arguments

    async def send(self) -> None:
        """Send what was kept, if anything."""
        if self._texts:
            texts, arguments = tuple(self._texts), self._arguments
            self._texts, self._arguments = [], []
            await self._send(together(texts), arguments)


#: Those of the flush that runs.
INSERTS: ContextVar[Inserts | None] = ContextVar("inserts", default=None)


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


def _moved(by: int, parameter: re.Match[str]) -> str:
    return f"${int(parameter[1]) + by}"


def keep_inserts(dialect: Any) -> None:
    """Have a dialect keep INSERTs that answer nothing while a flush asks for it, and send what was kept before anything else."""
    several: dict[str, str] = {}
    execute, execute_many = dialect.do_execute, dialect.do_executemany

    def do_execute(cursor: Any, sql: str, arguments: Sequence[Any], context: Any = None) -> None:
        kept = INSERTS.get()
        if kept is None or not _is_kept(kept, context):
            execute(cursor, sql, arguments, context)
        else:
            kept.add(sql, arguments)

    def do_executemany(cursor: Any, sql: str, rows: Sequence[Sequence[Any]], context: Any = None) -> None:
        kept = INSERTS.get()
        if kept is None or not _is_kept(kept, context, many=True):
            execute_many(cursor, sql, rows, context)
            return
        if sql not in several:
            several[sql] = of_many(context.compiled, dialect)
        kept.add(several[sql], [list(values) for values in zip(*rows, strict=True)])

    dialect.do_execute, dialect.do_executemany = do_execute, do_executemany


def _is_kept(kept: Inserts, context: Any, *, many: bool = False) -> bool:
    """Whether a statement is to be kept: of many rows where each value is a parameter. Else what was kept is sent before it."""
    if context is not None and context.isinsert:
        compiled = context.compiled
        computed = many and any(column.default is not None for column in compiled.postfetch)  # by SQL that stands in it
        if not compiled.effective_returning and not computed:
            return True
    await_only(kept.send())
    return False


def of_many(compiled: Any, dialect: sa.Dialect) -> str:
    """The INSERT of one row as one of any number of rows, each parameter an array of what it was before.

    It answers something, though nobody asks, since of others Citus copies the rows, and a unique violation is no longer one.
    """
    names = compiled.positiontup
    arrays = [sa.func.unnest(sa.bindparam(name, type_=sa.ARRAY(compiled.binds[name].type))) for name in names]
    insert = compiled.statement.table.insert().from_select(names, sa.select(*arrays))
    return str(insert.returning(sa.literal_column("1")).compile(dialect=dialect))

"""What can go wrong with a database, and what an error says about it: the one place that judges errors of databases.

What goes in: exceptions of SQLAlchemy, asyncpg and sqlite3. What comes out: a `Trouble`, the reason as a log may tell it, and
the exceptions that the rest of the product knows. An error is judged by its SQLSTATE or SQLite's result code and not by its
class: SQLAlchemy wraps some errors, its pool wraps none, and what goes straight to the driver nobody wraps.
"""

from __future__ import annotations

import enum
import re
import sqlite3

from asyncpg.exceptions import InterfaceError, InternalClientError, PostgresError
from graphql import GraphQLError
from sqlalchemy.exc import DBAPIError, EmulatedDBAPIException
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from graph.base import Misstored


class Trouble(enum.Enum):
    """What an error means for a transaction whose COMMIT was not sent, and for a read."""

    PASSING = "the same may simply be run again"
    SLOW = "a statement took longer than it may"
    LOST = "the connection is gone, or nobody answers on it; another one may do"
    REFUSED = "the database or its machine is not as it must be; nothing is wrong with the statement"
    TOO_COMPLEX = "the statement is too much for the database's parser"


#: What PostgreSQL's SQLSTATEs mean, by code or the beginning of one; the longest that fits counts (PostgreSQL 18, appendix A).
SQLSTATES = {
    "08": Trouble.LOST,  # connection exceptions, those of a pooler too
    "25006": Trouble.REFUSED,  # read-only transaction
    "25P03": Trouble.LOST,  # idle too long in a transaction
    "25P04": Trouble.LOST,  # transaction timeout
    "28": Trouble.REFUSED,  # wrong password, no such role, no login
    "3D000": Trouble.REFUSED,  # no such database
    "3F000": Trouble.REFUSED,  # no such schema
    "40001": Trouble.PASSING,  # serialization failure
    "40P01": Trouble.PASSING,  # deadlock
    "42501": Trouble.REFUSED,  # missing privilege
    "42703": Trouble.REFUSED,  # no such column: another version's schema
    "42P01": Trouble.REFUSED,  # no such table: not migrated
    "53": Trouble.REFUSED,  # disk full, out of memory, too many connections
    "55P03": Trouble.PASSING,  # lock not available
    "57014": Trouble.SLOW,  # query canceled
    "57P": Trouble.LOST,  # shut down, crashed, starting up, dropped, idle too long
    "58": Trouble.REFUSED,  # the machine's files
    "XX001": Trouble.REFUSED,  # data corrupted
    "XX002": Trouble.REFUSED,  # index corrupted
}

#: What Citus says of a node that it cannot reach and has no code for (XX000); else it is one of the connection exceptions (08).
NODE_LOST = re.compile(r"connection error: |failure on connection marked as essential: ")
#: What libpq says where a connection was lost, if Citus met that while a node answered, which its CONTEXT tells.
LINK_LOST, AT_NODE = re.compile(r"\bconnection\b|(send|receive) data|\bSSL\b"), "while executing command on "

#: What SQLite's primary result codes mean (sqlite.org/rescode.html).
SQLITE_CODES = {
    sqlite3.SQLITE_PERM: Trouble.REFUSED,
    sqlite3.SQLITE_BUSY: Trouble.PASSING,
    sqlite3.SQLITE_LOCKED: Trouble.PASSING,
    sqlite3.SQLITE_NOMEM: Trouble.REFUSED,
    sqlite3.SQLITE_READONLY: Trouble.REFUSED,
    sqlite3.SQLITE_INTERRUPT: Trouble.SLOW,
    sqlite3.SQLITE_IOERR: Trouble.REFUSED,
    sqlite3.SQLITE_SCHEMA: Trouble.PASSING,
    sqlite3.SQLITE_CORRUPT: Trouble.REFUSED,
    sqlite3.SQLITE_FULL: Trouble.REFUSED,
    sqlite3.SQLITE_CANTOPEN: Trouble.REFUSED,
    sqlite3.SQLITE_PROTOCOL: Trouble.PASSING,
    sqlite3.SQLITE_NOLFS: Trouble.REFUSED,
    sqlite3.SQLITE_AUTH: Trouble.REFUSED,
    sqlite3.SQLITE_NOTADB: Trouble.REFUSED,
}

#: What the driver of SQLite says of a text in a damaged file.
NOT_UTF8 = "Could not decode to UTF-8"
#: The session has learned for its life that it may only read; one that is opened later may have not.
READ_ONLY = "25006"
#: What asyncpg raises on a connection that is gone, besides PostgreSQL's own errors.
LOST = (InterfaceError, InternalClientError, OSError)
#: What databases, their drivers and SQLAlchemy raise.
DATABASE_ERRORS = (DBAPIError, EmulatedDBAPIException, PoolTimeoutError, PostgresError, sqlite3.Error, Misstored, *LOST)


class Unavailable(Exception):
    """The database cannot serve now, and nothing was written. The message is for the log and holds no values."""


class Overloaded(Unavailable):
    """A request came to its turn too late, because of all those before it; nothing was done."""


class TooComplex(GraphQLError):
    """The database cannot parse a statement of this depth: SQLite's parser has room for a hundred open parts (3.45 and older)."""

    def __init__(self) -> None:
        super().__init__("The operation is nested too deeply for this database.", extensions={"code": "OPERATION_TOO_LARGE"})


class AnswerTooLarge(GraphQLError):
    """What was asked for has more bytes than an answer may have; the database stopped there."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        super().__init__(
            f"The answer has more than {limit:,} bytes: ask for fewer rows or fields.",
            extensions={"code": "ANSWER_TOO_LARGE", "limit": limit},
        )


class TransientError(Exception):
    """A transaction was refused for a passing reason on every try; nothing is left behind."""


class CommitUnknown(Exception):
    """A COMMIT was sent and not answered as it must be: it may have happened. The message is for the log and holds no values."""


def driver_error(error: BaseException) -> BaseException:
    """What the driver raised, below what SQLAlchemy made of it."""
    for wrapper in (DBAPIError, EmulatedDBAPIException):
        if isinstance(error, wrapper) and error.orig is not None:
            error = error.orig
    return error


def sqlstate(error: BaseException) -> str:
    """PostgreSQL's code for an error, or nothing."""
    return getattr(driver_error(error), "sqlstate", None) or ""


def own_name(error: BaseException) -> str:
    """What the database calls an error: PostgreSQL's code, SQLite's name, or nothing."""
    return sqlstate(error) or getattr(driver_error(error), "sqlite_errorname", "")


def sqlite_code(error: BaseException) -> int:
    """SQLite's primary result code for an error, or 0."""
    return getattr(driver_error(error), "sqlite_errorcode", 0) & 0xFF


def breaks_constraint(error: BaseException) -> bool:
    """Whether a row breaks a constraint."""
    return sqlstate(error).startswith("23") or sqlite_code(error) == sqlite3.SQLITE_CONSTRAINT


#: What a compiled read runs into that makes too long a text: the refusal that stands in its statement, and the databases' own.
TOO_LONG = ("2201G", "54000")


def is_too_large(error: BaseException) -> bool:
    """Whether a compiled read made more bytes than it may."""
    return sqlstate(error) in TOO_LONG or sqlite_code(error) == sqlite3.SQLITE_TOOBIG


def trouble(error: BaseException) -> Trouble | None:
    """What an error says about the database; nothing where it says something about the statement, or is none of a database."""
    driver = driver_error(error)
    if isinstance(driver, PostgresError):
        state = sqlstate(driver)
        if state == "XX000" and _is_of_node(driver):
            return Trouble.LOST
        return SQLSTATES.get(state) or SQLSTATES.get(state[:3]) or SQLSTATES.get(state[:2])
    if isinstance(driver, sqlite3.Error):
        if any(sign in str(driver) for sign in ("parser stack overflow", "too large")):
            return Trouble.TOO_COMPLEX
        if str(driver).startswith(("no such table", "no such column")):  # not migrated, or another version's schema
            return Trouble.REFUSED
        if str(driver).startswith(NOT_UTF8):
            return Trouble.REFUSED
        return SQLITE_CODES.get(sqlite_code(driver))
    if isinstance(driver, (PoolTimeoutError, Misstored)):
        return Trouble.REFUSED
    if isinstance(driver, LOST) and not isinstance(driver, ValueError):  # which asyncpg raises for a value it cannot send
        return Trouble.LOST
    return Trouble.LOST if getattr(error, "connection_invalidated", False) else None


def _is_of_node(error: PostgresError) -> bool:
    """Whether Citus tells in an internal error that it lost a node."""
    said, context = str(error.args[0] if error.args else ""), str(getattr(error, "context", None) or "")
    return NODE_LOST.match(said) is not None or (AT_NODE in context and LINK_LOST.search(said) is not None)


def is_stale(error: BaseException) -> bool:
    """Whether the connection that met this error is not to be used again, and maybe none that was opened before.

    A server that ends a connection says FATAL. What it tells as an ERROR was lost behind it: a node of Citus, with some of the
    shops; the others go on by the connections there are.
    """
    found = trouble(error)
    if found is Trouble.LOST and getattr(driver_error(error), "severity_en", None) == "ERROR":
        return False
    return found is Trouble.LOST or sqlstate(error) == READ_ONLY or (found is Trouble.REFUSED and sqlite_code(error) > 0)


def is_unknown(error: BaseException) -> bool:
    """Whether a COMMIT that ended so may have happened all the same: it was not answered, or not written as a whole.

    What PostgreSQL answers with ERROR is rolled back, a statement that was cancelled too. After FATAL and PANIC nobody knows: the
    log may hold the COMMIT when the server starts again. On SQLite a full disk is found before anything is committed.
    """
    driver = driver_error(error)
    if isinstance(driver, PostgresError) and getattr(driver, "severity_en", None) in ("FATAL", "PANIC"):
        return True
    return trouble(error) is Trouble.LOST or sqlite_code(error) in (sqlite3.SQLITE_IOERR, sqlite3.SQLITE_INTERRUPT)


def verdict_of(error: Exception, *, begun: bool, committing: bool, last: bool) -> Exception | None:
    """What is to be raised for an error that ended a transaction; nothing where the transaction is to be run again.

    `begun`: there was a connection. `committing`: COMMIT was sent. `last`: there is no other try.
    """
    found = trouble(error)
    if found is Trouble.TOO_COMPLEX:
        return TooComplex()
    if not begun and found is not Trouble.PASSING and is_from_database(error):
        return Unavailable(told(error))
    if committing and is_unknown(error):
        return CommitUnknown(told(error))
    if found is None:
        return error
    if found is Trouble.REFUSED or (found is Trouble.LOST and last):
        return Unavailable(told(error))
    if found is Trouble.SLOW or last:
        return TransientError(told(error))
    return None


def is_from_database(error: BaseException) -> bool:
    """Whether a database or its driver raised this."""
    return isinstance(error, DATABASE_ERRORS)


def told(error: BaseException) -> str:
    """An error as a log may tell it: what the server says of itself, and nothing it says of the values it was sent."""
    driver = driver_error(error)
    text = " ".join(part for part in (type(driver).__name__, own_name(error)) if part)
    if trouble(error) is None:
        return text
    # A driver's first line; DETAIL and HINT follow on others.
    said = str(driver.args[0] if isinstance(driver, PostgresError) and driver.args else driver).partition("\n")[0]
    if said.startswith(NOT_UTF8):
        said = said.partition(" with text ")[0]  # which follows
    if isinstance(driver, TimeoutError):
        said = said or "no answer in time"
    return f"{text}: {said}" if said else text

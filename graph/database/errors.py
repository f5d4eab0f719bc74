"""What can go wrong with a database, and what an error of a driver says about it.

What goes in: exceptions of SQLAlchemy, asyncpg and sqlite3. What comes out: whether they pass by themselves, and the exceptions
that the rest of the product knows.
"""

from __future__ import annotations

import sqlite3

from asyncpg.exceptions import InterfaceError, InternalClientError, PostgresError
from graphql import GraphQLError
from sqlalchemy.exc import DBAPIError

#: PostgreSQL's SQLSTATEs after which the whole transaction may simply run again: serialization failure, deadlock,
#: lock not available (PostgreSQL 18 documentation, appendix A).
RETRYABLE_SQLSTATES = frozenset({"40001", "40P01", "55P03"})
#: ... and those that say that the server or the connection is gone.
CONNECTION_SQLSTATES = ("08", "57P")
#: A statement ran over `statement_timeout`.
QUERY_CANCELED = "57014"


class Unavailable(Exception):
    """The database cannot serve now: no connection within the wait, or a statement over its time."""


class TooComplex(GraphQLError):
    """The database cannot parse a statement of this depth: SQLite's parser has room for a hundred open parts (3.45 and older)."""

    def __init__(self) -> None:
        super().__init__("The operation is nested too deeply for this database.", extensions={"code": "OPERATION_TOO_LARGE"})


class TransientError(Exception):
    """A transaction was refused for a passing reason on every try; nothing is left behind."""


#: What asyncpg raises on a connection that is gone, besides PostgreSQL's own errors.
LOST = (InterfaceError, InternalClientError, OSError)
#: What databases and their drivers raise.
DATABASE_ERRORS = (DBAPIError, PostgresError, *LOST, sqlite3.Error)


def is_from_database(error: BaseException) -> bool:
    """Whether a database or its driver raised this."""
    return isinstance(error, DATABASE_ERRORS)


def is_transient(error: BaseException) -> bool:
    """Whether the whole transaction may simply be run again."""
    original = getattr(error, "orig", error)  # a read of a payload goes straight to the driver, and nobody wraps its error
    if getattr(original, "sqlstate", None) in RETRYABLE_SQLSTATES:
        return True
    return isinstance(original, sqlite3.OperationalError) and "locked" in str(original)


def is_disconnect(error: BaseException) -> bool:
    """Whether the server or the connection went away."""
    original = getattr(error, "orig", error)
    state = getattr(original, "sqlstate", None)
    if state is not None and state.startswith(CONNECTION_SQLSTATES):
        return True
    return isinstance(original, LOST) or bool(getattr(error, "connection_invalidated", False))


def is_too_complex(error: BaseException) -> bool:
    """Whether a statement was too much for the parser of SQLite."""
    original = getattr(error, "orig", error)
    return isinstance(original, sqlite3.Error) and any(sign in str(original) for sign in ("parser stack overflow", "too large"))


def is_timeout(error: BaseException) -> bool:
    """Whether a statement took longer than it may."""
    original = getattr(error, "orig", error)
    return getattr(original, "sqlstate", None) == QUERY_CANCELED or isinstance(original, TimeoutError)

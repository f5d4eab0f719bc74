"""Faults at a chosen place: something happens when the n-th statement of a mutation is about to run, or its commit.

What goes in: a `Database`, what is to happen. What comes out: the places passed so far. Statements that go straight to the
driver are places too.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from asyncpg.exceptions import PostgresError
from sqlalchemy import event
from sqlalchemy.exc import OperationalError

from graph.database import Database
from graph.observations import StatementBegan, listening


@dataclass
class Places:
    """The places passed, by what was about to run there, and whether the last one goes straight to the driver."""

    seen: list[str] = field(default_factory=list)
    straight: bool = False

    @property
    def last(self) -> int:
        return len(self.seen)


@contextmanager
def places(database: Database, happens: Callable[[Places], None]) -> Iterator[Places]:
    """Call `happens` at each place: before each statement, and with COMMIT at the end of a transaction."""
    found = Places()
    engine = database.engine.sync_engine

    def arrive(statement: str, *, straight: bool = False) -> None:
        found.seen.append(statement)
        found.straight = straight
        happens(found)

    def begin(statement: StatementBegan) -> None:
        if statement.sql != "COMMIT":  # is told before SQLAlchemy has begun with it
            arrive(statement.sql, straight=statement.direct)

    def commit(connection: Any) -> None:
        arrive("COMMIT")

    event.listen(engine, "commit", commit)
    try:
        with listening(StatementBegan, begin):
            yield found
    finally:
        event.remove(engine, "commit", commit)


def passing(database: Database, place: Places) -> Exception:
    """What the driver raises when the transaction may simply be run again."""
    return refusing(database, place, "SQLITE_BUSY" if database.dialect.name == "sqlite" else "40001")


def refusing(database: Database, place: Places, code: str, said: str = "injected") -> Exception:
    """What the driver raises at a place for an SQLSTATE, or for the name of one of SQLite's result codes."""
    error: Exception
    if database.dialect.name == "sqlite":
        error = sqlite3.OperationalError(said)
        error.sqlite_errorcode = getattr(sqlite3, code)
        error.sqlite_errorname = code
    else:
        error = PostgresError.new({"S": "ERROR", "C": code, "M": said})
        if place.straight:
            return error
        dbapi: Any = database.dialect.loaded_dbapi
        error = dbapi.OperationalError(said, error)
    # Nobody wraps what is raised at a COMMIT as SQLAlchemy wraps what a driver raises.
    return OperationalError("COMMIT", None, error) if place.seen[-1] == "COMMIT" else error

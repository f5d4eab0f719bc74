"""SQLAlchemy's session, which finds the connection of a flush once.

What goes in: rows. What comes out: what a session makes of them. What may be refused here: what a session may be refused.

The unit of work asks for its connection twice for each class of rows, through two locks against use in the wrong state. All rows
of a session are in one database, so that the first answer holds for the whole flush. The statements are the same, and the
connection is asked for as late as SQLAlchemy would, since that is what begins a savepoint.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection
from sqlalchemy.orm import Session


class OneConnection(Session):
    """A session of one database. `connection_callable` is what SQLAlchemy's own sharded session answers the unit of work by."""

    _of_flush: Connection | None = None

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self.connection_callable = self._connection

    def flush(self, objects: Sequence[Any] | None = None) -> None:
        try:
            super().flush(objects)
        finally:
            self._of_flush = None

    def _connection(self, *_: Any, **__: Any) -> Connection:
        if self._of_flush is None:
            self._of_flush = self.connection()
        return self._of_flush

"""What a file holds, held against its columns: SQLite keeps any value in any column, and a damaged file has other values.

What goes in: what a result of SQLAlchemy's on SQLite holds. What comes out: the same, of the type of its column. What is refused
here: `Misstored` for a value that nobody wrote there.

Compiled reads do without: what they make is held against being JSON (`graph.database.readers`).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import sqlite

from graph.base import Misstored

Processor = Callable[[Any], Any]


def holding(kind: type, then: Processor | None = None) -> Processor:
    """What lets values of one type and NULL through, and makes of them what the column wants."""

    def process(value: Any) -> Any:
        if value is None:
            return None
        if type(value) is not kind:
            raise Misstored(f"a column of {kind.__name__} holds {type(value).__name__}")
        try:
            return value if then is None else then(value)
        except ValueError:
            raise Misstored(f"what a column of {kind.__name__} holds has not its form") from None

    return process


class StoredInteger(sa.Integer):
    """A whole number."""

    def result_processor(self, dialect: sa.Dialect, coltype: object) -> Processor:
        return holding(int)


class StoredText(sa.String):
    """A text."""

    def result_processor(self, dialect: sa.Dialect, coltype: object) -> Processor:
        return holding(str)


class StoredTime(sqlite.DATETIME):
    """A time, in the form in which the dialect writes it."""

    def result_processor(self, dialect: sa.Dialect, coltype: object) -> Processor:
        return holding(str, super().result_processor(dialect, coltype))


#: Which type takes the place of which, in addition to those of the dialect.
STORED = {sa.Integer: StoredInteger, sa.String: StoredText, sa.DateTime: StoredTime}

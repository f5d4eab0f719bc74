"""Where a statement's tables are: how it names the shop that it is for.

What goes in: SQL with a mark before the name of each table, the schema of a shop. What comes out: that SQL as it is sent. Nothing
is refused here: a mark that was left in place is a schema that no database has, and the database says so.

One text serves all shops until it is sent. SQLAlchemy writes the mark for a dialect that was told to (`mark`), and those who
write SQL by hand write it themselves. Where there is one shop nothing is marked: texts that were written by hand lose their marks
as they are taken (`unmarked`), and nothing is looked for in any other.

The mark holds characters that no name of GraphQL has, and values are no part of a text: no client can write one.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import sqlalchemy as sa

#: The schema that stands for that of the shop.
MARKED = "[shop]"
#: What stands before the name of a table.
MARK = f'"{MARKED}".'
#: The option of SQLAlchemy's engine of a shop that says what takes the mark's place.
PLACE = "ordergraph_place"


def place_of(schema: str) -> str:
    """What takes the mark's place for a schema."""
    return f'"{schema}".'


def placed(sql: str, place: str | None) -> str:
    """A text as it is sent: with the place of its tables where the mark is; `None` for a text that has no mark."""
    return sql if place is None else sql.replace(MARK, place)


@lru_cache(1_000)
def unmarked(sql: str) -> str:
    """A text without its marks, for a database that has one shop."""
    return placed(sql, "")


def mark(dialect: sa.Dialect) -> None:
    """Have everything that is written for a dialect marked."""
    preparer: Any = dialect.identifier_preparer
    preparer.schema_for_object = _marked
    writer: Any = dialect.statement_compiler
    dialect.statement_compiler = type(writer.__name__, (Naming, writer), {})


class Naming:
    """What SQLAlchemy writes statements with; of itself it leaves tables in a conflict clause without their schema."""

    def visit_table(self, table: sa.Table, **how: Any) -> str:
        """The name of a table: with its schema where rows come from, without where one is meant that is named already."""
        above: Any = super()
        return str(above.visit_table(table, **({**how, "use_schema": True} if how.get("asfrom") else how)))


def names_shops(dialect: sa.Dialect) -> bool:
    """Whether what is written for a dialect is marked."""
    return dialect.identifier_preparer.schema_for_object is _marked


def _marked(each: Any) -> str | None:
    """The schema of what a statement names: of a table, not of an alias."""
    return each.schema or MARKED if isinstance(each, sa.Table) else None

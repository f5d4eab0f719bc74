"""Rows given column by column, inserted without an object for each; the write door notes them.

What goes in: a mapped class, and values by the names of its columns. What comes out: an INSERT of all rows, which can have a
conflict clause and answer; or the rows inserted, without an answer. What may be refused here: what the database refuses is
raised.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from itertools import chain
from typing import Any

import sqlalchemy as sa

from graph.base import Base
from graph.database import capabilities
from graph.read.sql.bound_lists import driver_values, value_rows
from graph.write.object_graph import Graph

#: Parameters of one statement, which every build of SQLite takes.
PARAMETERS = 900


def insert_values(graph: Graph, model: type[Base], values: Mapping[str, Sequence[Any]], start: Mapping[str, Any]) -> Any:
    """One INSERT of rows by columns, whatever their number. What has no values is as `start` says."""
    columns: Any = model.__mapper__.local_table.columns
    alike = {name: sa.literal(value, columns[name].type) for name, value in start.items() if name not in values}
    given = value_rows(graph.dialect, [(columns[name], listed) for name, listed in values.items()])
    # SQLite wants a WHERE between a SELECT and a conflict clause.
    source = sa.select(*given, *alike.values()).where(sa.literal_column("true"))
    return insert_of(graph, model).from_select([*values, *alike], source, include_defaults=False)


def insert_of(graph: Graph, model: type[Base]) -> Any:
    """An INSERT that can have a conflict clause."""
    return capabilities(graph.dialect).insert(model.__mapper__.local_table)


async def insert_silently(graph: Graph, model: type[Base], values: Mapping[str, Sequence[Any]], start: Mapping[str, Any]) -> None:
    """Insert rows by columns on a database that takes no lists, without an answer.

    A statement of some rows is parsed once and run again and again. That is half the work of one INSERT of all rows, which takes
    them out of a text and returns them.
    """
    table: Any = model.__mapper__.local_table
    number = len(next(iter(values.values())))
    given = {**{name: [value] * number for name, value in start.items()}, **values}
    names = tuple(column.name for column in table.columns if column.name in given)  # as the statement has them
    rows = list(zip(*driver_values(graph.dialect, [(table.columns[name], given[name]) for name in names]), strict=True))
    width = PARAMETERS // len(names)
    whole = number - number % width
    pieces = [tuple(chain.from_iterable(rows[begins : begins + width])) for begins in range(0, whole, width)]
    connection = await graph.session.connection()
    for many, alike in ((width, pieces), (1, rows[whole:])):
        if alike:
            await connection.exec_driver_sql(_insert_of_rows(graph.dialect, table, names, many), alike)


@lru_cache(100)
def _insert_of_rows(dialect: sa.Dialect, table: Any, names: tuple[str, ...], number: int) -> str:
    """The INSERT of so many rows, with a parameter for each value, row by row."""
    return str(table.insert().values([dict.fromkeys(names)] * number).compile(dialect=dialect))

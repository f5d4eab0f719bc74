"""The picture of `docs/data-model.md`: the tables and their keys, as the models declare them."""

from __future__ import annotations

import re
from importlib import import_module
from pathlib import Path

import pytest
from sqlalchemy import Column, ForeignKeyConstraint, Table, UniqueConstraint
from sqlalchemy.dialects import postgresql

from graph.base import Base
from tests.written import DOCS, held

PACKAGE = Path(__file__).parents[1] / "graph"
for path in sorted(PACKAGE.rglob("*.py")):
    if re.search(r"\bTable\(|\(Base\)", path.read_text(encoding="utf-8")):  # it declares tables
        import_module(".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts))
TABLES = Base.metadata.sorted_tables
DIALECT = postgresql.dialect()  # type: ignore[no-untyped-call]  # SQLAlchemy does not say what it makes
#: How types are called in the picture, where a word is all there is room for.
SHORT = {"timestamp with time zone": "timestamptz", "double precision": "float8"}


def kind(column: Column[object]) -> str:
    """The type of a column on PostgreSQL, in one word."""
    text = column.type.compile(dialect=DIALECT).lower().partition(" collate ")[0]
    return re.sub(r"\W+", "_", SHORT.get(text, text)).strip("_")


def unique(table: Table, columns: set[str]) -> bool:
    """Whether a table has only one row of these values."""
    keys = [set(key.columns.keys()) for key in table.constraints if isinstance(key, UniqueConstraint)]
    return columns in [*keys, set(table.primary_key.columns.keys())]


def line(table: Table, column: Column[object]) -> str:
    marks = [
        mark
        for mark, there in (
            ("PK", column.primary_key),
            ("FK", bool(column.foreign_keys)),
            ("UK", not column.primary_key and unique(table, {column.name})),
        )
        if there
    ]
    null = ' "may be null"' if column.nullable else ""
    return f"    {kind(column)} {column.name}{' ' * bool(marks)}{', '.join(marks)}{null}\n"


def relation(table: Table, key: ForeignKeyConstraint) -> str:
    """Parent and child: a row has exactly one parent, a parent any number of rows, or one at most."""
    columns = set(key.columns.keys())
    many = "o|" if unique(table, columns) else "o{"
    one = "|o" if any(table.columns[name].nullable for name in columns) else "||"
    return f'  {key.referred_table.name} {one}--{many} {table.name} : "on delete {(key.ondelete or "no action").lower()}"\n'


def picture() -> str:
    parts = ["```mermaid\n", "erDiagram\n"]
    for table in TABLES:
        parts += [relation(table, key) for key in sorted(table.foreign_key_constraints, key=lambda key: str(key.name))]
    for table in TABLES:
        shown = [column for column in table.columns if not column.name.startswith("_")]
        parts += [f"  {table.name} {{\n", *(line(table, column) for column in shown), "  }\n"]
    return "".join([*parts, "```\n"])


def test_the_picture_is_that_of_the_models(request: pytest.FixtureRequest) -> None:
    assert {"customer", "orders", "api_key", "order_source", "changes"} <= {table.name for table in TABLES}
    held(request, DOCS / "data-model.md", "entities", picture())

"""The tables as a picture: boxes with their columns, parents left of their children, a line for each foreign key.

What goes in: the tables that the package declares. What comes out: `diagram()`, an SVG; `mermaid()`, the same as text. Columns
whose names begin with an underscore are SQLAlchemy's and are left out.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

from sqlalchemy import Column, ForeignKeyConstraint, Table, UniqueConstraint
from sqlalchemy.dialects import postgresql

from graph.base import Base

PACKAGE = Path(__file__).parents[1] / "graph"
DIALECT = postgresql.dialect()  # type: ignore[no-untyped-call]  # SQLAlchemy does not say what it makes
#: How types are called, where a word is all there is room for.
SHORT = {"timestamp with time zone": "timestamptz", "double precision": "float8"}

LETTERS = 'font-family="system-ui, Segoe UI, Roboto, DejaVu Sans, sans-serif" font-size="12" fill="#17212b" role="img"'
WIDTH, LINE, HEAD, BETWEEN, BELOW, MARGIN = 214, 17, 24, 62, 26, 20


def tables() -> list[Table]:
    """All tables of the package, parents before their children."""
    for path in sorted(PACKAGE.rglob("*.py")):
        if re.search(r"\bTable\(|\(Base\)", path.read_text(encoding="utf-8")):  # it declares tables
            import_module(".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts))
    return Base.metadata.sorted_tables


def shown(table: Table) -> list[Column[object]]:
    return [column for column in table.columns if not column.name.startswith("_")]


def foreign_keys(table: Table) -> list[ForeignKeyConstraint]:
    return sorted(table.foreign_key_constraints, key=lambda key: str(key.name))


def kind(column: Column[object]) -> str:
    """The type of a column on PostgreSQL, in one word."""
    text = column.type.compile(dialect=DIALECT).lower().partition(" collate ")[0]
    return re.sub(r"\W+", "_", SHORT.get(text, text)).strip("_")


def is_key(table: Table, columns: set[str]) -> bool:
    """Whether a table has only one row of these values."""
    keys = [set(key.columns.keys()) for key in table.constraints if isinstance(key, UniqueConstraint)]
    return columns in [*keys, set(table.primary_key.columns.keys())]


def marks(table: Table, column: Column[object]) -> list[str]:
    unique = not column.primary_key and is_key(table, {column.name})
    there = (("PK", column.primary_key), ("FK", bool(column.foreign_keys)), ("UK", unique))
    return [mark for mark, is_one in there if is_one]


def mermaid() -> str:
    """Mermaid's `erDiagram`: a row has one parent, a parent any number of rows, or one at most."""
    relations, boxes = [], []
    for table in tables():
        for key in foreign_keys(table):
            columns = set(key.columns.keys())
            many = "o|" if is_key(table, columns) else "o{"
            one = "|o" if any(table.columns[name].nullable for name in columns) else "||"
            deleted = (key.ondelete or "no action").lower()
            relations.append(f'  {key.referred_table.name} {one}--{many} {table.name} : "on delete {deleted}"\n')
        lines = [
            " ".join(["   ", kind(column), column.name, ", ".join(marks(table, column))]).rstrip()
            + (' "may be null"' if column.nullable else "")
            for column in shown(table)
        ]
        boxes.append(f"  {table.name} {{\n" + "\n".join(lines) + "\n  }\n")
    return "".join(["```mermaid\n", "erDiagram\n", *relations, *boxes, "```\n"])


def columns_of_boxes() -> list[list[Table]]:
    """Tables side by side, each right of its parents; those that stand alone are put where there is most room."""
    all_tables = tables()
    parents = {table: {key.referred_table for key in foreign_keys(table)} - {table} for table in all_tables}
    tied = [table for table in all_tables if parents[table] or any(table in each for each in parents.values())]
    depth: dict[Table, int] = {}
    for table in tied:
        depth[table] = max((depth[parent] + 1 for parent in parents[table]), default=0)
    found = [[table for table in tied if depth[table] == level] for level in range(max(depth.values()) + 1)]
    for table in sorted(all_tables, key=height, reverse=True):
        if table not in depth:
            min(found, key=lambda column: sum(map(height, column))).append(table)
    return found


def height(table: Table) -> int:
    return HEAD + LINE * len(shown(table)) + 8 + BELOW


def box(table: Table, x: int, y: int) -> Iterator[str]:
    yield f'<rect x="{x}" y="{y}" width="{WIDTH}" height="{height(table) - BELOW}" rx="6" fill="#ffffff" stroke="#0f766e"/>'
    yield f'<text x="{x + 10}" y="{y + 17}" font-weight="700" fill="#0f766e">{table.name}</text>'
    for row, column in enumerate(shown(table)):
        line = y + HEAD + LINE * row + 13
        weight = ' font-weight="600"' if column.primary_key else ""
        yield f'<text x="{x + 10}" y="{line}"{weight}>{column.name}{"" if not column.nullable else " ?"}</text>'
        said = " ".join([kind(column), *marks(table, column)])
        yield f'<text x="{x + WIDTH - 10}" y="{line}" text-anchor="end" font-size="10" fill="#5b6875">{said}</text>'


def diagram() -> str:
    """The picture. A question mark stands behind what may be null; a line ends with a dot at the many."""
    places: dict[Table, tuple[int, int]] = {}
    for number, column in enumerate(columns_of_boxes()):
        y = MARGIN
        for table in column:
            places[table] = (MARGIN + number * (WIDTH + BETWEEN), y)
            y += height(table)
    wide = max(x for x, _ in places.values()) + WIDTH + MARGIN
    high = max(y + height(table) for table, (_, y) in places.items()) - BELOW + MARGIN
    lines: list[str] = []
    boxes: list[str] = []
    for table, (x, y) in places.items():
        boxes += box(table, x, y)
        for key in foreign_keys(table):
            (left, top), name = places[key.referred_table], next(iter(key.columns.keys()))
            from_y = top + HEAD + 9
            to_y = y + HEAD + LINE * [column.name for column in shown(table)].index(name) + 9
            from_x = left + WIDTH
            lines.append(
                f'<path d="M{from_x} {from_y}C{from_x + BETWEEN} {from_y} {x - BETWEEN} {to_y} {x} {to_y}" fill="none" '
                'stroke="#5b6875" stroke-width="1.5"/>'
            )
            boxes.append(f'<circle cx="{x}" cy="{to_y}" r="3.5" fill="#0f766e"/>')
    opening = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {wide} {high}" width="{wide}" height="{high}" {LETTERS}>'
    paper = f'<rect x="0.5" y="0.5" width="{wide - 1}" height="{high - 1}" rx="12" fill="#fbfcfc" stroke="#dfe5e8"/>'
    return "\n".join([opening, "<title>The tables and their foreign keys</title>", paper, *lines, *boxes, "</svg>\n"])

"""The picture of `docs/data-model.md`, and the same as text: the tables and their keys, as the models declare them."""

from __future__ import annotations

import pytest

from tests.entities import diagram, mermaid, shown, tables
from tests.written import DOCS, held

PICTURE = DOCS / "data-model.svg"


def test_the_picture_is_that_of_the_models(request: pytest.FixtureRequest) -> None:
    held(request, DOCS / "data-model.md", "entities", mermaid())
    drawn = diagram()
    if request.config.getoption("--update-golden"):
        PICTURE.write_text(drawn, encoding="utf-8")
    assert PICTURE.read_text(encoding="utf-8") == drawn, "the picture is older than the code: renew it with --update-golden"
    assert f"]({PICTURE.name})" in (DOCS / "data-model.md").read_text(encoding="utf-8")


def test_every_table_and_every_column_is_in_it() -> None:
    assert {"customer", "orders", "api_key", "order_source", "changes"} <= {table.name for table in tables()}
    drawn = diagram()
    for table in tables():
        assert f">{table.name}</text>" in drawn
        assert all(f">{column.name}{' ?' * bool(column.nullable)}</text>" in drawn for column in shown(table))
    assert drawn.count("<path ") == drawn.count("<circle ") == sum(len(table.foreign_key_constraints) for table in tables())

"""Generated reads: the compiled answer is that of a plain walk over ORM objects, and both databases give the same bytes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.both import Both, both_before
from tests.engines import Postgres, Sqlite
from tests.generated import requests
from tests.walk import load, whole


@pytest.fixture
def both(sqlite_engines: Sqlite, postgres_engines: Postgres) -> Iterator[Both]:
    with both_before(sqlite_engines, postgres_engines, "shop") as both:
        yield both


@pytest.fixture
def rows(both: Both) -> dict[str, list[Any]]:
    """All rows of the shop, which are the same on both databases."""
    found = [both.runner.run(load(ask.app.state.database)) for ask in both.asks]
    assert columns(found[0]) == columns(found[1])
    return found[0]


def columns(rows: dict[str, list[Any]]) -> list[list[Any]]:
    """The columns of all rows."""
    return [
        [getattr(row, column.key) for column in type(row).__mapper__.column_attrs if not column.key.startswith("_")]
        for each in rows.values()
        for row in each
    ]


@settings(max_examples=150)
@given(data=st.data())
def test_generated_reads_equal_a_plain_walk(both: Both, rows: dict[str, list[Any]], data: st.DataObject) -> None:
    request = data.draw(requests(rows))
    sqlite, postgresql = both.bytes(request.query, request.variables)
    assert orjson.loads(postgresql) == {"data": whole(rows, request.fields)}
    assert sqlite == postgresql or b"nested too deeply for this database" in sqlite

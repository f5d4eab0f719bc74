"""Generated reads: the compiled answer is that of a plain walk over ORM objects, and both databases give the same bytes."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from graph.settings import Settings
from tests.conftest import Ask, asking, made
from tests.engines import Postgres, Sqlite
from tests.generated import requests
from tests.walk import load, whole


@dataclass
class Both:
    """The same shop on both databases, and all its rows. Generated cases are drawn outside of any event loop."""

    runner: asyncio.Runner
    asks: list[Ask]
    rows: dict[str, list[Any]]

    def bytes(self, query: str, variables: dict[str, Any]) -> list[bytes]:
        """The answers of SQLite and PostgreSQL."""
        return [self.runner.run(ask.raw(query, variables)) for ask in self.asks]


@pytest.fixture
def both(sqlite_engines: Sqlite, postgres_engines: Postgres) -> Iterator[Both]:
    with made(sqlite_engines, "shop") as sqlite, made(postgres_engines, "shop") as postgresql, asyncio.Runner() as runner:
        apps = [asking(Settings(database_url=url, max_cost=10**9, max_aliases=1000)) for url in (sqlite, postgresql)]
        asks = [runner.run(app.__aenter__()) for app in apps]
        rows = [runner.run(load(ask.app.state.database)) for ask in asks]
        assert columns(rows[0]) == columns(rows[1])
        yield Both(runner, asks, rows[0])
        for app in apps:
            runner.run(app.__aexit__(None, None, None))


def columns(rows: dict[str, list[Any]]) -> list[list[Any]]:
    """The columns of all rows."""
    return [
        [getattr(row, column.key) for column in type(row).__mapper__.column_attrs if not column.key.startswith("_")]
        for each in rows.values()
        for row in each
    ]


@settings(max_examples=150)
@given(data=st.data())
def test_generated_reads_equal_a_plain_walk(both: Both, data: st.DataObject) -> None:
    request = data.draw(requests(both.rows))
    sqlite, postgresql = both.bytes(request.query, request.variables)
    assert orjson.loads(postgresql) == {"data": whole(both.rows, request.fields)}
    assert sqlite == postgresql or b"nested too deeply for this database" in sqlite

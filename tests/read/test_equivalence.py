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
from tests.examples import examples
from tests.generated import requests
from tests.walk import Field, load, whole


@pytest.fixture
def both(sqlite_engines: Sqlite, postgres_engines: Postgres) -> Iterator[Both]:
    with both_before(sqlite_engines, postgres_engines, "varied") as both:
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


@settings(max_examples=examples(30))
@given(data=st.data())
def test_generated_reads_equal_a_plain_walk(both: Both, rows: dict[str, list[Any]], data: st.DataObject) -> None:
    request = data.draw(requests(rows))
    sqlite, postgresql = both.bytes(request.query, request.variables)
    assert orjson.loads(postgresql) == {"data": whole(rows, request.fields)}
    assert sqlite == postgresql


def chain(names: list[str]) -> tuple[Field, str]:
    """A selection as deep as these relations lead, with pages of two rows, every other one numbered."""
    name, *rest = names
    inner, text = chain(rest) if rest else (Field("id", "id", {}), "id")
    if name not in PAGED:
        return Field(name, name, {}, (Field("id", "id", {}), inner)), f"{name} {{ id {text} }}"
    if len(names) % 2:
        return Field(
            name, name, {"first": 2}, (Field("nodes", "nodes", {}, (inner,)),)
        ), f"{name}(first: 2) {{ nodes {{ {text} }} }}"
    info = Field("pageInfo", "pageInfo", {}, (Field("endCursor", "endCursor", {}),))
    field = Field(name, name, {"last": 2}, (Field("nodes", "nodes", {}, (inner,)), info))
    return field, f"{name}(last: 2) {{ nodes {{ {text} }} pageInfo {{ endCursor }} }}"


PAGED = ("customers", "orders", "orderItems")
CHAINS = [
    "customers orders items item orderItems order customer orders items",
    "orders items order items order items order customer",  # every `items` multiplies the answer by the lines of an order
    "orders customer orders customer orders customer orders items",
    "orders items item orderItems item orderItems item orderItems item",
]


@pytest.mark.parametrize("names", CHAINS)
def test_the_deepest_reads_equal_a_plain_walk(both: Both, rows: dict[str, list[Any]], names: str) -> None:
    field, query = chain(names.split())
    sqlite, postgresql = both.bytes(f"{{ {query} }}", {})
    assert orjson.loads(postgresql) == {"data": whole(rows, [field])}
    assert sqlite == postgresql

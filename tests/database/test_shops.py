"""Many shops of one deployment: each has its own rows, and every statement names the shop that it is for."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest

from graph.context import Context
from graph.database import Database
from graph.database.places import MARK, unmarked
from graph.database.shops import Databases
from graph.observations import StatementBegan, listening
from graph.schema import schema
from graph.settings import Settings, SettingsError
from tests.deployments import deployment
from tests.engines import Postgres

CREATE = "mutation ($sku: String!) { createItem(input: {sku: $sku, name: $sku, price: 1}) { item { id sku } errors { code } } }"
ITEMS = "{ items { totalCount nodes { id sku } } }"


@pytest.fixture(params=["sqlite", "postgresql"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """Where shops can be made: an empty folder, an empty database."""
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path}"
        return
    engines: Postgres = request.getfixturevalue("postgres_engines")
    url = engines.new("nothing")
    yield url
    engines.drop(url)


@pytest.fixture
async def shops(place: str) -> AsyncIterator[Databases]:
    """Two shops, without rows."""
    databases = Databases(await deployment(place, "acme", "north-wind"))
    try:
        yield databases
    finally:
        await databases.close()


async def data(database: Database, query: str, **variables: Any) -> Any:
    """The data of an answer that has no errors."""
    context = Context(database)
    try:
        answer = await schema.execute(query, variables, context)
    finally:
        await context.close()
    assert answer.errors is None, answer.errors
    return answer.data


async def test_what_one_shop_writes_no_other_one_has(shops: Databases) -> None:
    acme, other = shops.of("acme"), shops.of("north-wind")
    assert shops.of("acme") is acme
    assert (acme.shop, other.shop, shops.main.shop) == ("acme", "north-wind", None)
    for sku in "AB":
        assert (await data(acme, CREATE, sku=sku))["createItem"]["errors"] == []
    assert (await data(other, ITEMS))["items"] == {"totalCount": 0, "nodes": []}
    made = (await data(other, CREATE, sku="A"))["createItem"]
    assert made == {"item": {"id": "Item:1", "sku": "A"}, "errors": []}
    assert [node["sku"] for node in (await data(acme, ITEMS))["items"]["nodes"]] == ["A", "B"]
    assert [node["sku"] for node in (await data(other, ITEMS))["items"]["nodes"]] == ["A"]


async def test_shops_share_documents_plans_and_compiled_statements(shops: Databases) -> None:
    acme, other = shops.of("acme"), shops.of("north-wind")
    engine = schema.engine(acme)
    assert schema.engine(other) is engine
    await data(acme, ITEMS)
    await data(acme, CREATE, sku="A")
    counters = engine.counters.parsed, engine.counters.planned
    await data(other, ITEMS)
    await data(other, CREATE, sku="A")
    assert (engine.counters.parsed, engine.counters.planned) == counters


async def test_every_statement_names_its_shop_and_no_other(shops: Databases) -> None:
    acme, other = shops.of("acme"), shops.of("north-wind")
    if acme.capabilities.embedded:
        return  # a file is one shop's
    for database, schema_ in ((acme, "shop_acme"), (other, "shop_north-wind")):
        began: list[StatementBegan] = []
        with listening(StatementBegan, began.append):
            await data(database, CREATE, sku="A")
            await data(database, ITEMS)
        sent = [each.sql for each in began]
        assert sum(f'"{schema_}".' in sql for sql in sent) >= 3
        assert not [sql for sql in sent if MARK in sql or set(re.findall(r'"(shop_[^"]*)"', sql)) - {schema_}]


async def test_a_statement_that_names_no_shop_or_one_that_is_not_there_has_no_rows(shops: Databases) -> None:
    if shops.main.capabilities.embedded:
        return
    for database, sql in (
        (shops.of("acme"), "SELECT count(*) FROM item"),
        (shops.of("gone"), f"SELECT count(*) FROM {MARK}item"),
        (shops.main, f"SELECT count(*) FROM {MARK}item"),
    ):
        with pytest.raises(Exception, match="does not exist"):
            await database.fetch(sql, [])


def test_a_text_of_one_shop_has_no_mark() -> None:
    assert unmarked(f"SELECT 1 FROM {MARK}changes, {MARK}item") == "SELECT 1 FROM changes, item"


def test_where_there_is_one_shop_it_has_no_name() -> None:
    with pytest.raises(SettingsError, match="ORDERGRAPH_SHOPS is not on"):
        Database(Settings(), "acme")

"""What an engine keeps: documents and plans, no more than it may, never an answer; what it knows is not made again."""

from __future__ import annotations

import gc
import tracemalloc
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager

import pytest

from graph.context import Context
from graph.models import Item
from graph.operations.engine import Engine
from tests.conftest import Ask, Statements

SHOP = "varied"

AskWith = Callable[..., AbstractAsyncContextManager[Ask]]


def engine_of(ask: Ask) -> Engine:
    engine: Engine = ask.app.state.engine
    return engine


async def test_a_known_operation_is_neither_parsed_nor_planned_again(shop: Ask, statements: Statements) -> None:
    query = """query($first: Int!, $note: String, $date: DateTime, $price: Decimal, $after: String, $id: ID!) {
      orders(first: $first, after: $after, where: {note: {contains: $note}, orderDate: {gt: $date}, discount: {gte: $price}}) {
        nodes { id items { item { name } } } totalCount pageInfo { endCursor }
      }
      node(id: $id) { id }
    }"""
    first = {"first": 2, "note": "a", "date": "1996-01-01T00:00:00Z", "price": "0", "id": "Order:1"}
    cursor = (await shop.data(query, {**first, "after": None}))["orders"]["pageInfo"]["endCursor"]
    await shop.data(query, {**first, "after": cursor})
    before = str(engine_of(shop).counters)
    sql = statements.sql[-1]
    statements.clear()

    other = {"first": 2, "note": "e", "date": "1997-01-01T00:00:00Z", "price": 1.5, "id": "Order:77", "after": cursor}
    data = await shop.data(query, other)

    assert data["node"] == {"id": "Order:77"}
    assert str(engine_of(shop).counters) == before
    assert statements.sql == [sql]


async def test_no_answer_is_kept(shop: Ask) -> None:
    query = '{ item(by: {sku: "NW-1"}) { stock } }'
    for stock in (5, 6, None):
        async with shop.database.session() as session, session.begin():
            (await session.get_one(Item, 1)).stock = stock
        assert await shop.data(query) == {"item": {"stock": stock}}


@pytest.mark.long
@pytest.mark.parametrize("engines", ["sqlite"], indirect=True)
async def test_a_flood_of_documents_takes_no_memory(shop_with: AskWith) -> None:
    async with shop_with(max_plans=20) as ask:
        engine, database = engine_of(ask), ask.app.state.database
        engine.counters.parsed = engine.counters.planned = 0

        async def flood(start: int, end: int) -> None:
            for number in range(start, end):
                await engine.run(f"query Q{number} {{ __typename }}", {}, None, Context(database))

        await flood(0, 300)
        # Traced only now, since tracing takes ten times the time; what a document leaves behind shows all the same.
        tracemalloc.start()
        try:
            await flood(300, 350)
            gc.collect()
            early = tracemalloc.get_traced_memory()[0]
            tracemalloc.reset_peak()
            await flood(350, 600)
            peak = tracemalloc.get_traced_memory()[1]
            gc.collect()
            late = tracemalloc.get_traced_memory()[0]
        finally:
            tracemalloc.stop()
        assert len(engine.documents) == len(engine.plans) == 20
        assert engine.counters.parsed == engine.counters.planned == 600
        assert late - early < 50_000
        assert peak - early < 10_000_000  # what the collector has not yet looked at


async def test_the_shapes_that_are_kept_are_bounded(shop_with: AskWith) -> None:
    query = "query($where: OrderWhere) { orders(where: $where, first: 1) { nodes { id } } }"
    async with shop_with(max_plans=5) as ask:
        for length in range(1, 30):
            await ask.data(query, {"where": {"or": [{"note": {"eq": "x"}}] * length}})
        assert len(engine_of(ask).plans) == 5


async def test_the_document_used_last_stays(shop_with: AskWith) -> None:
    async with shop_with(max_plans=3) as ask:
        engine_of(ask).counters.parsed = 0
        for other in range(10):
            await ask.data("{ __typename }")
            await ask.data(f"{{ a{other}: __typename }}")
        assert engine_of(ask).counters.parsed == 11

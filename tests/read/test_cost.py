"""Cost: what an operation may read at most, told on request, refused above the limit with what to write instead."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import Any

import pytest

from graph.settings import Settings
from tests.conftest import Ask, Statements
from tests.words import code

SHOP = "varied"

AskWith = Callable[..., AbstractAsyncContextManager[Ask]]


COSTS: list[tuple[str, dict[str, Any], int]] = [
    ('{ order(by: {id: "Order:1"}) { id } }', {}, 1),
    ('{ order(by: {id: "Order:1"}) { customer { id } items { item { id } } } }', {}, 1 + 1 + 10 * (1 + 1)),
    ("{ orders { nodes { id } } }", {}, 50),
    ("{ orders { totalCount } }", {}, 1),
    ("{ customers { nodes { orders { totalCount nodes { id } } } } }", {}, 50 * (1 + 1 + 10)),
    ("{ customers { nodes { orders(last: 3) { edges { node { customer { id } } } } } } }", {}, 50 * (1 + 3 * 2)),
    ('{ orders(first: 2, where: {items: {some: {item: {sku: {eq: "x"}}}}}) { nodes { id } } }', {}, 2 + 10 + 10),
    ("{ orderSummary { totalAmount { sum } } }", {}, 1),
    ("{ orderSummary(groupBy: [CUSTOMER], first: 7) { customer { id } } }", {}, 7 * 2),
    ("{ orders { pageInfo { hasNextPage } } }", {}, 50),
    ("{ orders(first: 7) { nodes { id } edges { cursor node { customer { id } } } totalCount } }", {}, 7 * 2 + 1),
    ("{ orders(last: 3) { nodes { items { id } } } }", {}, 3 * 11),
    ("query($n: Int) { orders(first: $n) { nodes { id } } }", {"n": 9}, 9),
    ("query($n: Int) { orders(first: $n) { nodes { id } } }", {"n": 0}, 0),
    ("query($n: Int = 4) { orders(first: $n) { nodes { id } } }", {}, 4),
    ("query($y: Boolean!) { orders(first: 2) { nodes { customer @include(if: $y) { id } } } }", {"y": True}, 4),
    ("query($y: Boolean!) { orders(first: 2) { nodes { customer @include(if: $y) { id } } } }", {"y": False}, 2),
    ('{ nodes(ids: ["Order:1", "Order:2", "Item:1", "x"]) { id ... on Order { items { id } } } }', {}, 11 + 11 + 1),
    ("{ __schema { types { name fields { name } } } __typename }", {}, 0),
]


async def test_the_cost_is_reported_on_request(shop: Ask) -> None:
    for query, variables, cost in COSTS:
        answer = await shop(query, variables, extensions={"cost": True})
        told = answer["extensions"].pop("cost")
        assert answer["extensions"] == {}
        assert (told["requestedQueryCost"], told["maximum"]) == (cost, Settings().max_cost), query
        assert sum(field["cost"] for field in told["fields"]) == cost or len(told["fields"]) == 5, query
        assert "extensions" not in await shop(query, variables)


async def test_cost_counts_variables_and_refuses_before_any_statement(shop: Ask, statements: Statements) -> None:
    query = """query($n: Int) {
      orders(first: $n) { nodes { customer { orders(first: $n) { nodes { customer { id } } } } } }
    }"""
    assert "data" in await shop(query, {"n": 76})
    statements.clear()
    for _ in range(2):
        assert code(await shop(query, {"n": 77})) == "OPERATION_TOO_EXPENSIVE"
    assert len(statements) == 0


async def test_the_first_query_that_comes_to_mind_is_answered(shop: Ask) -> None:
    data = await shop.data("{ customers { nodes { name orders { nodes { number items { quantity item { name } } } } } } }")
    customers = data["customers"]["nodes"]
    assert len(customers) == 50
    assert max(len(customer["orders"]["nodes"]) for customer in customers) == 10


async def test_a_connection_of_a_row_has_a_page_size_of_its_own(
    shop_with: AskWith,
) -> None:
    query = """{
      orders { nodes { id } }
      item(by: {id: "Item:2"}) {
        orderItems { nodes { id } pageInfo { hasNextPage } }
        more: orderItems(first: 5) { nodes { id } }
      }
    }"""
    async with shop_with(default_page_size=4, nested_page_size=3) as ask:
        data = await ask.data(query)
        assert len(data["orders"]["nodes"]) == 4
        assert [len(data["item"][key]["nodes"]) for key in ("orderItems", "more")] == [3, 5]
        assert data["item"]["orderItems"]["pageInfo"] == {"hasNextPage": True}


#: A query whose `SIZE` is too much under a limit of 100, and what its refusal says: the field, its share, what to write.
DEAREST: list[tuple[str, str, str, list[str], float, str | None]] = [
    ("one connection", "{ orders(SIZE) { nodes { customer { id } } } }", "first: 60", ["orders"], 1.0, "first: 50"),
    ("from the end", "{ orders(SIZE) { nodes { customer { id } } } }", "last: 60", ["orders"], 1.0, "last: 50"),
    (
        "one inside another",
        "{ all: customers(first: 9) { nodes { id mine: orders(SIZE) { edges { node { items { id } } } } } } }",
        "first: 10",
        ["all", "nodes", "mine"],
        990 / 999,
        None,
    ),
    (
        "one inside another that is large enough",
        "{ all: customers(first: 3) { nodes { id mine: orders(SIZE) { edges { node { items { id } } } } } } }",
        "first: 10",
        ["all", "nodes", "mine"],
        330 / 333,
        "first: 2",
    ),
    (
        "the one around, where a row of the inner one is too much",
        "{ customers(SIZE) { nodes { orders(first: 1) { nodes { items { item { id } } } } } } }",
        "first: 9",
        ["customers"],
        1.0,
        "first: 4",
    ),
    (
        "one of several",
        "{ customers(first: 20) { nodes { id } } orders(SIZE) { nodes { customer { id } } } items(first: 10) { nodes { id } } }",
        "first: 50",
        ["orders"],
        100 / 130,
        "first: 35",
    ),
    (
        "a summary",
        "{ orderSummary(groupBy: [CUSTOMER], SIZE) { customer { id } } }",
        "first: 90",
        ["orderSummary"],
        1.0,
        "first: 50",
    ),
    (
        "a list without pages",
        '{ order(by: {id: "Order:1"}) { items { order { items { id } } } } }',
        "",
        ["order", "items", "order", "items"],
        100 / 121,
        None,
    ),
    (
        "a filter",
        "{ orders(SIZE, where: {items: {some: {item: {orderItems: {some: {quantity: {gt: 1}}}}}}}) { nodes { id } } }",
        "first: 1",
        ["orders"],
        1.0,
        None,
    ),
]


@pytest.mark.parametrize(
    ("query", "size", "field", "share", "suggestion"), [case[1:] for case in DEAREST], ids=[c[0] for c in DEAREST]
)
async def test_a_refusal_for_cost_names_the_dearest_field_and_what_to_write(
    shop_with: AskWith,
    query: str,
    size: str,
    field: list[str],
    share: float,
    suggestion: str | None,
) -> None:
    async with shop_with(max_cost=100) as ask:
        (error,) = (await ask(query.replace("SIZE", size)))["errors"]
        told = {**error["extensions"]}
        assert told.pop("requestId")
        assert told.pop("value") > 100
        assert told == {
            "code": "OPERATION_TOO_EXPENSIVE",
            "limit": 100,
            "field": field,
            "share": round(share, 3),
            "suggestion": suggestion,
        }
        assert ".".join(field) in error["message"]
        if suggestion:
            assert suggestion in error["message"]
            argument, rows = suggestion.split(": ")
            await ask.data(query.replace("SIZE", suggestion))
            assert code(await ask(query.replace("SIZE", f"{argument}: {int(rows) + 1}"))) == "OPERATION_TOO_EXPENSIVE"


def rows_in(value: Any) -> int:
    """The rows in an answer: each object with an `id`."""
    if isinstance(value, list):
        return sum(map(rows_in, value))
    if isinstance(value, dict):
        return ("id" in value) + sum(map(rows_in, value.values()))
    return 0


async def test_the_rows_read_are_at_most_the_cost(shop: Ask) -> None:
    """Fault 11: what nested pages multiply to is known before it is read."""
    query = """query($n: Int) {
      orders(first: $n) { nodes { id customer { id orders(last: $n) { edges { node { id } } } } } }
      items(last: $n) { nodes { id orderItems(first: 3) { nodes { id item { id } order { id customer { id } } } } } }
      nodes(ids: ["Order:1", "Item:1", "Customer:1", "x"]) { id }
    }"""
    for size in (0, 1, 3, 10, 20):
        answer = await shop(query, {"n": size}, extensions={"cost": True})
        assert 0 < rows_in(answer["data"]) <= answer["extensions"]["cost"]["requestedQueryCost"], size

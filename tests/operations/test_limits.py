"""Limits on documents and filters: refused before any statement, at exactly the size they name."""

from __future__ import annotations

import json
from typing import Any

import pytest
from graphql import get_introspection_query

from graph.context import Context
from graph.operations.explain import explain
from graph.operations.request_errors import RequestRefused
from tests.conftest import Ask, Statements, asking
from tests.unhurried import unhurried
from tests.words import code

SHOP = "varied"


def spreads(levels: int) -> str:
    """A document of fragments that would expand to two to the power of `levels` fields."""
    fragments = [f"fragment f{n} on Query {{ ...f{n + 1} ...f{n + 1} }}" for n in range(levels)]
    return "\n".join(["{ ...f0 }", *fragments, f"fragment f{levels} on Query {{ __typename }}"])


def nested(depth: int) -> str:
    return '{ order(by: {id: "Order:1"}) { ' + "customer { orders { nodes { " * depth + "id" + " } } }" * depth + " } }"


LIMITS: dict[str, tuple[str, str]] = {
    "tokens": ("{ " + "__typename " * 2001 + "}", "OPERATION_TOO_LARGE"),
    "comments": ("#\n" * 2001 + "{ __typename }", "OPERATION_TOO_LARGE"),
    "depth": (nested(5), "OPERATION_TOO_LARGE"),
    "aliases": ("{ " + " ".join(f"a{n}: __typename" for n in range(31)) + " }", "OPERATION_TOO_LARGE"),
    "aliases in fragments": (
        "{ ...f ...f } fragment f on Query { " + " ".join(f"a{n}: __typename" for n in range(16)) + " }",
        "OPERATION_TOO_LARGE",
    ),
    "root fields": ("{ " + "__typename " * 21 + "}", "OPERATION_TOO_LARGE"),
    "directives": ('{ node(id: "Order:1") { ' + "... @include(if: true) { id } " * 51 + "} }", "OPERATION_TOO_LARGE"),
    "fragment cycle": ("{ ...a } fragment a on Query { ...b } fragment b on Query { ...a }", "GRAPHQL_VALIDATION_FAILED"),
    "fragment of itself": ("{ ...a } fragment a on Query { ...a }", "GRAPHQL_VALIDATION_FAILED"),
    "exponential fragments": (spreads(60), "OPERATION_TOO_LARGE"),
    "cost": ("{ orders(first: 100) { nodes { items { item { orderItems { nodes { id } } } } } } }", "OPERATION_TOO_EXPENSIVE"),
    "syntax": ("{", "GRAPHQL_PARSE_FAILED"),
    "unknown field": ("{ nothing }", "GRAPHQL_VALIDATION_FAILED"),
    "several operations": ("query A { __typename } query B { __typename }", "OPERATION_RESOLUTION_FAILURE"),
}


async def test_limits_refuse_before_any_statement(shop: Ask, statements: Statements) -> None:
    for name, (query, expected) in LIMITS.items():
        assert code(await shop(query)) == expected, name
    assert len(statements) == 0


async def test_just_within_the_limits(shop: Ask) -> None:
    await shop.data("{ " + " ".join(f"a{n}: __typename" for n in range(20)) + " }")
    await shop.data('{ node(id: "Order:1") { ' + "... @include(if: true) { id } " * 50 + "} }")
    await shop.data(spreads(4))


async def test_what_a_raised_limit_allows_is_answered_or_refused_before_anything_runs(
    shop_url: str, statements: Statements
) -> None:
    raised = unhurried(shop_url, max_depth=400, max_cost=10**9, introspection=False)
    deep = "customer { orders(first: 1) { nodes { %s } } }"
    seen = set()
    async with asking(raised) as ask:
        for levels in (2, 8, 50):
            inner = "id"
            for _ in range(levels):
                inner = deep % inner
            rows = f"order {{ {inner} }} errors {{ code }}"
            operations = (
                f'{{ order(by: {{id: "Order:1"}}) {{ {inner} }} }}',
                f'mutation {{ updateOrder(input: {{id: "Order:1", note: "{levels}"}}) {{ {rows} }} }}',
            )
            for query in operations:
                statements.clear()
                answer = await ask(query)
                refused = "errors" in answer
                assert not refused or code(answer) == "OPERATION_TOO_LARGE", answer
                assert (len(statements) == 0) == refused
                seen.add((levels, refused))
            context = Context(ask.database)
            if (levels, True) in seen:
                with pytest.raises(RequestRefused, match="nested too deeply"):
                    await explain(ask.app.state.engine, context, operations[0], {})
            await context.close()
        assert seen == {(2, False), (8, False), (50, True)}
        follow = f"subscription {{ orderChanged {{ order {{ {inner} }} }} }}"
        told = await ask.client.post("/graphql", json={"query": follow}, headers={"accept": "text/event-stream"})
        assert "OPERATION_TOO_LARGE" in told.text


@pytest.mark.parametrize("arguments", ["first: 1", "last: 1", "first: 1, where: {items: {none: {quantity: {gt: 1000}}}}"])
@pytest.mark.parametrize("levels", [1, 2, 3, 4])
async def test_a_deep_selection_is_answered(shop: Ask, levels: int, arguments: str) -> None:
    query = nested(levels).replace("orders {", f"orders({arguments}) {{ pageInfo {{ hasNextPage }}")
    page = (await shop.data(query))["order"]
    for _ in range(levels):
        (page,) = page["customer"]["orders"]["nodes"]
    assert page["id"].startswith("Order:")


@pytest.mark.parametrize("levels", [1, 2, 3, 4, 5, 6, 8, 12])
async def test_a_filter_through_some_relations_is_answered_and_through_more_refused(shop: Ask, levels: int) -> None:
    where = "{customer: {orders: {some: " * levels + '{id: {eq: "Order:1"}}' + "}}}" * levels
    answer = await shop(f"{{ orders(where: {where}) {{ totalCount }} }}")
    if levels <= 2:
        assert answer == {"data": {"orders": {"totalCount": 5}}}
    else:
        assert code(answer) == "BAD_USER_INPUT"


async def test_the_standard_introspection_query_is_within_the_limits(shop: Ask) -> None:
    found = await shop.data(get_introspection_query(input_value_deprecation=True, specified_by_url=True))
    assert "Customer" in {type_["name"] for type_ in found["__schema"]["types"]}


@pytest.mark.parametrize(
    "where",
    [
        {"or": [{"note": {"eq": "x"}}] * 3000},
        {"id": {"in": [f"Order:{n}" for n in range(1, 20_000)]}},
        {"note": {"in": ["x"] * 20_000}},
    ],
)
async def test_a_large_filter_is_refused(shop: Ask, where: dict[str, Any]) -> None:
    answer = await shop("query($w: OrderWhere) { orders(where: $w) { totalCount } }", {"w": where})
    assert code(answer) == "BAD_USER_INPUT"


@pytest.mark.parametrize("depth", [3, 10, 11, 100, 400, 5000])
async def test_a_deep_filter_is_answered_and_a_deeper_one_refused(shop: Ask, depth: int) -> None:
    where: dict[str, Any] = {"note": {"eq": "x"}}
    for _ in range(depth):
        where = {"not": where}
    body = "{}"
    try:
        body = json.dumps(where)
    except RecursionError:
        body = '{"not":' * depth + "{}" + "}" * depth
    text = '{"query": "query($w: OrderWhere) { orders(where: $w) { totalCount } }", "variables": {"w": ' + body + "}}"
    answer = json.loads((await shop.client.post("/graphql", content=text, headers={"content-type": "application/json"})).content)
    if depth <= 11:
        assert answer == {"data": {"orders": {"totalCount": 831 if depth % 2 else 0}}}
    else:
        assert code(answer) == ("BAD_USER_INPUT" if depth <= 400 else "BAD_REQUEST")

    if depth <= 400:
        literal_ = "{not: " * depth + '{note: {eq: "x"}}' + "}" * depth
        literally = await shop(f"{{ orders(where: {literal_}) {{ totalCount }} }}")
        if depth <= 11:
            assert literally == answer
        else:
            assert code(literally) == ("BAD_USER_INPUT" if depth == 100 else "GRAPHQL_PARSE_FAILED")

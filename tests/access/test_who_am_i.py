"""`viewer`: who one is, told by the statement that tells all else."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import Any

import pytest

from graph.access import api_keys
from graph.context import Context
from graph.operations.explain import explain
from graph.schema import schema
from graph.scope import Viewer
from tests import stock
from tests.conftest import Ask, Statements
from tests.sockets import listening
from tests.subscribers import socket
from tests.tokens import AUTH, bearer, speaking_as, token
from tests.viewers import ADMIN, READER, answered, viewer

SHOP = [
    stock.item("A", 1),
    stock.customer("Ada", [stock.line("A", 2)], []),
    stock.customer("Bob", [stock.line("A", 1)]),
]
AskWith = Callable[..., AbstractAsyncContextManager[Ask]]

ME = "{ viewer { name scopes customer { id name orders { totalCount nodes { number } } } } }"
ADA, BOB = viewer("write", customer=1), viewer("read", customer=2)


def told(name: str, scopes: str, customer: Any = None) -> dict[str, Any]:
    return {"viewer": {"name": name, "scopes": scopes.split(), "customer": customer}}


HERS = {"id": "Customer:1", "name": "Ada", "orders": {"totalCount": 2, "nodes": [{"number": "SO-1"}, {"number": "SO-2"}]}}


async def test_everybody_is_told_who_he_is(shop_with: AskWith) -> None:
    async with shop_with(**AUTH) as ask:
        nightly = await api_keys.create(ask.database, 'the "nightly" \\ job', ["admin", "read"])
        till = await api_keys.create(ask.database, "till", ["read"], "Customer:1")
        for header, expected in (
            (bearer("read", sub="ada"), told("ada", "read")),
            (bearer("admin", sub='ad"a\\ é 😀'), told('ad"a\\ é 😀', "read write admin")),
            (bearer("write read", customer="Customer:1"), told("ada", "read write", HERS)),
            (bearer("read", customer="Customer:99"), told("ada", "read")),
            ({"authorization": f"Bearer {nightly}"}, told('the "nightly" \\ job', "read write admin")),
            ({"authorization": f"Bearer {till}"}, told("till", "read", HERS)),
        ):
            answer = await ask.client.post("/graphql", json={"query": ME}, headers=header)
            assert (answer.status_code, answer.json()) == (200, {"data": expected})


async def test_who_shows_nothing_or_may_nothing_is_refused(shop_with: AskWith, statements: Statements) -> None:
    async with shop_with(**AUTH) as ask:
        statements.clear()
        assert (await ask.client.post("/graphql", json={"query": ME})).status_code == 401
        with speaking_as(ask, ""):
            answer = await ask.client.post("/graphql", json={"query": "{ me: viewer { name } }"})
            [error] = answer.json()["errors"]
            assert (answer.status_code, error["path"], error["extensions"]["scope"]) == (403, ["me"], "read")
        assert len(statements) == 0


async def test_where_nobody_has_to_say_who_he_is_there_is_no_viewer(shop: Ask) -> None:
    answer = await shop(ME, extensions={"cost": True})
    assert answer["data"] == {"viewer": None}
    assert answer["extensions"]["cost"]["requestedQueryCost"] == 0


MANY = """query ($all: Boolean!, $id: ID!) {
  a: viewer { ...F kind: __typename customer { email } }
  b: viewer { words: scopes name @skip(if: $all) mine: customer { ...C } hers: customer { __typename } }
  a: viewer { customer { orderCount } }
  order(by: {id: $id}) { number }
  __typename
  __schema { queryType { name } }
}
fragment F on Viewer { name ... @include(if: $all) { scopes customer { name } } }
fragment C on Customer { orders(last: 1) { edges { node { items { item { sku } } } } } }"""


async def test_it_is_asked_as_any_field_is_and_in_the_one_statement(shop: Ask, statements: Statements) -> None:
    given = {"all": True, "id": "Order:3"}
    await answered(shop.database, ADA, MANY, given)
    statements.clear()
    status, answer = await answered(shop.database, ADA, MANY, given)
    assert (status, len(statements)) == (200, 1)
    assert answer["data"] == {
        "a": {
            "name": "Bound Write",
            "scopes": ["read", "write"],
            "customer": {"name": "Ada", "email": "ada@example.com", "orderCount": 2},
            "kind": "Viewer",
        },
        "b": {
            "words": ["read", "write"],
            "mine": {"orders": {"edges": [{"node": {"items": []}}]}},
            "hers": {"__typename": "Customer"},
        },
        "order": None,
        "__typename": "Query",
        "__schema": {"queryType": {"name": "Query"}},
    }
    status, answer = await answered(shop.database, READER, MANY, {**given, "all": False})
    assert answer["data"]["b"] == {"words": ["read"], "name": "Staff Read", "mine": None, "hers": None}
    assert answer["data"]["order"] == {"number": "SO-3"}


async def test_all_customers_share_one_plan(shop: Ask, statements: Statements) -> None:
    engine = schema.engine(shop.database)
    seen = set[str]()
    for customer in range(1, 101):
        who = Viewer(f"v{customer}", f"Number {customer}", frozenset({"read" if customer % 2 else "admin"}), customer)
        answer = (await answered(shop.database, who, ME))[1]
        if customer == 1:
            planned = engine.counters.planned
        name, scopes = answer["data"]["viewer"]["name"], answer["data"]["viewer"]["scopes"]
        assert (name, scopes) == (f"Number {customer}", ["read"] if customer % 2 else ["read", "write", "admin"])
        his = answer["data"]["viewer"]["customer"]
        assert (his and his["id"]) == (f"Customer:{customer}" if customer <= 2 else None)
        seen |= {sql for sql in statements.sql if "viewer" in sql}
        statements.clear()
    assert (engine.counters.planned, len(seen)) == (planned, 1)
    assert "Number" not in next(iter(seen))


DEAR = "{ viewer { customer { orders(first: 100) { nodes { items { item { orderItems { nodes { id } } } } } } } } }"


async def test_what_is_read_of_his_customer_is_counted(shop: Ask) -> None:
    for who, query, cost in (
        (ADA, "{ viewer { name customer { id } } }", 1),
        (ADA, "{ viewer { name customer { orders(first: 3) { nodes { id } } } } }", 4),
        (ADA, "{ viewer { name } }", 0),
        (ADMIN, "{ viewer { name customer { id } } }", 0),
    ):
        context = Context(shop.database, viewer=who)
        found = await explain(schema.engine(shop.database), context, query, {})
        await context.close()
        assert found.cost.total == cost
        assert len(found.statements) == 1
    status, answer = await answered(shop.database, ADA, DEAR)
    [error] = answer["errors"]
    assert (status, error["extensions"]["code"]) == (422, "OPERATION_TOO_EXPENSIVE")
    assert error["extensions"]["field"][:2] == ["viewer", "customer"]
    assert (await answered(shop.database, ADMIN, DEAR))[1]["data"] == {"viewer": {"customer": None}}


async def test_it_is_told_over_sockets_and_beside_an_explanation(shop_with: AskWith) -> None:
    async with shop_with(**AUTH, explain=True) as ask, listening(ask.app) as server:
        async with socket(server.port) as client:
            await client.init(payload={"Authorization": f"Bearer {token('write', customer='Customer:2')}"})
            await client.subscribe("1", "{ viewer { scopes customer { name } } }")
            assert await client.hears("1") == {"data": {"viewer": {"scopes": ["read", "write"], "customer": {"name": "Bob"}}}}
        with speaking_as(ask, "admin", sub="somebody"):
            answer = await ask("{ viewer { name } }", extensions={"explain": True})
            assert answer["data"] == {"viewer": {"name": "somebody"}}
            assert "somebody" not in json.dumps(answer["extensions"])


@pytest.mark.parametrize("who", [None, READER, BOB])
async def test_nobody_is_taken_for_another_who_asked_before(shop: Ask, who: Viewer | None) -> None:
    await answered(shop.database, ADA, ME)
    status, answer = await answered(shop.database, who, ME)
    found = answer["data"]["viewer"]
    assert status == 200
    assert found is None if who is None else (found["name"] == who.name and "Ada" not in json.dumps(found))

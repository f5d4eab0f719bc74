"""SQL, cost and plan beside an answer."""

from __future__ import annotations

from typing import Any

import pytest

from tests.conftest import Ask, Statements
from tests.tokens import AUTH, bearer

SHOP = "northwind"

QUERY = "query ($email: String!) { customer(by: {email: $email}) { name orders(first: 2) { totalCount } } }"
MUTATION = 'mutation { createItem(input: {sku: "X-1", name: "X", price: "1"}) { item { sku } errors { code } } }'
EMAIL = {"email": "alfki@northwind.example"}
IS_THERE = '{ item(by: {sku: "X-1"}) { sku } }'


async def test_a_query_tells_its_statement_and_is_answered_as_without(shop: Ask, statements: Statements) -> None:
    plain = await shop(QUERY, EMAIL)
    told = await shop(QUERY, EMAIL, extensions={"explain": True, "cost": True})
    assert told["data"] == plain["data"]
    assert set(plain) == {"data"}
    (one,) = told["extensions"]["explain"]["statements"]
    assert one["path"] == []
    assert one["plan"]
    assert EMAIL["email"] not in one["sql"]
    assert one["sql"] == statements.sql[-1]
    assert told["extensions"]["explain"]["cost"] == told["extensions"]["cost"]
    assert len([sql for sql in statements.sql if sql.startswith("EXPLAIN")]) == 1


@pytest.mark.parametrize("asked", [False, None, 1, "true", {}, [True]])
async def test_nothing_but_true_asks_for_it(shop: Ask, asked: Any, statements: Statements) -> None:
    assert set(await shop(QUERY, EMAIL, extensions={"explain": asked})) == {"data"}
    assert not [sql for sql in statements.sql if sql.startswith("EXPLAIN")]


async def test_a_mutation_tells_what_reads_its_payload_and_runs_once(shop: Ask) -> None:
    told = await shop(MUTATION, extensions={"explain": True})
    assert told["data"]["createItem"] == {"item": {"sku": "X-1"}, "errors": []}
    assert [each["path"] for each in told["extensions"]["explain"]["statements"]] == [["createItem", "item"]]
    assert (await shop(MUTATION))["data"]["createItem"]["errors"] == [{"code": "UNIQUE"}]


async def test_by_get_it_stands_in_the_url(shop: Ask) -> None:
    parameters = {"query": IS_THERE, "extensions": '{"explain": true}'}
    told = (await shop.client.get("/graphql", params=parameters)).json()
    assert told["extensions"]["explain"]["statements"][0]["sql"]


async def test_where_it_is_off_it_is_refused_and_nothing_runs(shop_with: Any, statements: Statements) -> None:
    async with shop_with(explain=False) as ask:
        body = {"query": MUTATION, "extensions": {"explain": True}}
        answer = await ask.client.post("/graphql", json=body)
        assert answer.status_code == 403
        (error,) = answer.json()["errors"]
        assert error["extensions"]["code"] == "FORBIDDEN"
        assert "ORDERGRAPH_EXPLAIN" in error["message"]
        assert statements.sql == []
        assert (await ask.data(IS_THERE))["item"] is None
        assert (await ask.client.post("/graphql", json={"query": IS_THERE, "extensions": {"explain": False}})).status_code == 200


@pytest.mark.parametrize(
    ("scope", "customer", "status"),
    [("read write", {}, 403), ("admin", {"customer": "Customer:1"}, 403), ("admin", {}, 200)],
)
async def test_where_people_say_who_they_are_it_takes_an_operator(
    shop_with: Any, scope: str, customer: dict[str, str], status: int
) -> None:
    async with shop_with(**AUTH) as ask:
        body = {"query": MUTATION, "extensions": {"explain": True}}
        answer = await ask.client.post("/graphql", json=body, headers=bearer(scope, **customer))
        assert answer.status_code == status
        assert ("data" in answer.json()) is (status == 200)
        found = await ask.client.post("/graphql", json={"query": IS_THERE}, headers=bearer("admin"))
        assert found.json()["data"]["item"] == ({"sku": "X-1"} if status == 200 else None)


async def test_what_would_not_run_is_refused_as_without(shop: Ask) -> None:
    for query in ("{ nothing }", "{ customers(first: -1) { nodes { id } } }", "subscription { changes { cursor } }"):
        plain, told = await shop(query), await shop(query, extensions={"explain": True})
        assert [each["extensions"]["code"] for each in told["errors"]] == [each["extensions"]["code"] for each in plain["errors"]]
        assert "data" not in told

"""What an operation asks of the database, told without running it."""

from __future__ import annotations

from typing import Any

import pytest

from graph.context import Context
from graph.operations.explain import Explanation, explain
from graph.operations.request_errors import RequestRefused
from graph.read.refusals import BadUserInput
from graph.schema import schema
from tests.conftest import Ask, Statements

SHOP = "northwind"

QUERY = """query ($email: String!) {
  customer(by: {email: $email}) { name orders(first: 2) { nodes { number } } }
  __typename
  __schema { queryType { name } }
}"""
MUTATION = """mutation ($input: CreateCustomersInput!) {
  createItem(input: {sku: "X-1", name: "X", price: "1"}) { item { sku } errors { code } }
  createCustomers(input: $input) { results { customer { email } } errors { code } }
}"""


async def explained(ask: Ask, text: str, **variables: Any) -> Explanation:
    context = Context(ask.database)
    try:
        return await explain(schema.engine(ask.database), context, text, variables)
    finally:
        await context.close()


async def test_a_query_is_one_statement_with_the_plan_of_the_database(shop: Ask, statements: Statements) -> None:
    told = await explained(shop, QUERY, email="alfki@northwind.example")
    (sent,) = statements.sql
    (one,) = told.statements
    assert sent.startswith("EXPLAIN ")
    assert sent.endswith(one.sql)
    assert "customer" in one.sql
    assert "uq_customer_email" in "\n".join(one.plan) or "Seq Scan" in "\n".join(one.plan) or "email=?" in "\n".join(one.plan)
    assert told.cost.total == 1 + 2
    assert told.report["statements"] == [{"path": [], "sql": one.sql, "plan": list(one.plan)}]


async def test_steps_of_a_plan_stand_under_what_they_are_a_part_of(shop: Ask) -> None:
    told = await explained(shop, "{ orders(first: 3) { nodes { number items { quantity } } } }")
    (one,) = told.statements
    assert len(one.plan) > 1
    assert any(line.startswith("  ") for line in one.plan)
    assert not one.plan[0].startswith(" ")


async def test_of_a_mutation_the_payloads_are_explained_and_nothing_is_written(shop: Ask) -> None:
    told = await explained(shop, MUTATION, input={"customers": [{"name": "A", "email": "a@example.org"}]})
    assert [each.path for each in told.statements] == [("createItem", "item"), ("createCustomers", "results", "customer")]
    assert all(each.plan for each in told.statements)
    assert told.cost.total == 2
    assert (await shop.data('{ item(by: {sku: "X-1"}) { id } }'))["item"] is None


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("{ customers {", "GRAPHQL_PARSE_FAILED"),
        ("{ customers { nodes { colour } } }", "GRAPHQL_VALIDATION_FAILED"),
        ("{ customers(first: -1) { nodes { id } } }", "BAD_USER_INPUT"),
        (
            "{ customers(first: 100) { nodes { orders(first: 100) { nodes { items { quantity } } } } } }",
            "OPERATION_TOO_EXPENSIVE",
        ),
        ("subscription { changes { cursor } }", "BAD_REQUEST"),
    ],
)
async def test_what_would_not_run_is_refused_as_if_it_did(shop: Ask, text: str, code: str, statements: Statements) -> None:
    with pytest.raises((RequestRefused, BadUserInput)) as caught:
        await explained(shop, text)
    error: Any = caught.value.errors[0] if isinstance(caught.value, RequestRefused) else caught.value
    assert (error.extensions or {})["code"] == code
    assert statements.sql == []

"""A plan is shared only by requests whose answers it gives: cold and warm answers agree, for every value a plan looks at."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.conftest import Ask

CASES: dict[str, tuple[str, list[dict[str, Any]]]] = {
    "first": (
        "query($n: Int) { customers(first: $n) { nodes { id } } }",
        [{"n": 2}, {"n": 4}, {"n": 1}, {"n": None}, {}, {"n": 101}],
    ),
    "last": ("query($n: Int) { customers(last: $n) { nodes { id } } }", [{"n": 2}, {"n": 3}, {"n": -1}]),
    "node": ("query($a: ID!) { node(id: $a) { __typename id } }", [{"a": "Customer:1"}, {"a": "Item:1"}, {"a": "x"}]),
    "nodes": ("query($a: [ID!]!) { nodes(ids: $a) { id } }", [{"a": ["Customer:1"]}, {"a": ["Item:1", "Order:1"]}, {"a": []}]),
    "ids in a list": (
        "query($a: ID!, $b: ID!) { nodes(ids: [$a, $b]) { __typename id } }",
        [{"a": "Order:1", "b": "Order:2"}, {"a": "Item:12", "b": "Item:13"}, {"a": "Item:1", "b": "Order:1"}],
    ),
    "nested size": (
        'query($n: Int = 3) { customer(by: {id: "Customer:1"}) { orders(first: $n) { nodes { id } } } }',
        [{"n": 1}, {"n": 2}, {}],
    ),
    "null with a default": ('query($a: ID = "Customer:1") { node(id: $a) { id } }', [{}, {"a": None}, {"a": "Item:1"}]),
    "one of": (
        "query($by: CustomerBy!) { customer(by: $by) { id } }",
        [{"by": {"id": "Customer:1"}}, {"by": {}}, {"by": {"email": "x"}}],
    ),
    "include": (
        "query($yes: Boolean!) { customers(first: 1) { nodes { id name @include(if: $yes) } } }",
        [{"yes": True}, {"yes": False}],
    ),
    "groups": (
        "query($g: [OrderGroup!]) { orderSummary(groupBy: $g, first: 3) { status month count } }",
        [{"g": ["STATUS"]}, {"g": ["MONTH"]}, {}],
    ),
}


@pytest.mark.parametrize("name", CASES)
async def test_warm_answers_are_the_cold_ones(ask_sample: Ask, name: str) -> None:
    query, given = CASES[name]

    def shown(answer: dict[str, Any]) -> str:
        for error in answer.get("errors", ()):
            del error["extensions"]["requestId"]
        return json.dumps(answer)

    cold = [shown(await ask_sample(f"{query} # {index}", variables)) for index, variables in enumerate(given)]
    for _ in range(2):
        assert [shown(await ask_sample(query, variables)) for variables in given] == cold
    assert not any("INTERNAL_SERVER_ERROR" in answer for answer in cold)


@pytest.mark.parametrize(
    ("selection", "variables", "code"),
    [
        ("orders(first: $n) { nodes { id } }", {"n": 1000}, "BAD_USER_INPUT"),
        ('orders(after: "x") { nodes { id } }', {}, "BAD_USER_INPUT"),
        (
            "orders(first: 100) { nodes { items { order { customer { orders { nodes { id } } } } } } }",
            {},
            "OPERATION_TOO_EXPENSIVE",
        ),
    ],
)
async def test_a_payload_that_cannot_be_answered_is_refused_before_anything_is_written(
    ask_sample: Ask, selection: str, variables: dict[str, Any], code: str
) -> None:
    declared = "($n: Int)" if variables else ""
    answer = await ask_sample(
        f"""mutation{declared} {{
          a: updateCustomer(input: {{id: "Customer:3", name: "Written"}}) {{ customer {{ name }} }}
          b: updateCustomer(input: {{id: "Customer:4", name: "X"}}) {{ customer {{ {selection} }} errors {{ code }} }}
        }}""",
        variables,
    )
    assert [error["extensions"]["code"] for error in answer["errors"]] == [code]
    read = await ask_sample('{ customer(by: {id: "Customer:3"}) { name version } }')
    assert read["data"]["customer"] == {"name": "Antonio Moreno Taquería", "version": 1}


@pytest.mark.parametrize(
    "query",
    [
        "{ customer(by: {}) { id } }",
        '{ customer(by: {id: "Customer:1", email: "x"}) { id } }',
        "{ customer(by: {id: null}) { id } }",
    ],
)
async def test_one_of_is_one(ask_sample: Ask, query: str) -> None:
    answer = await ask_sample(query)
    assert {error["extensions"]["code"] for error in answer["errors"]} <= {"BAD_USER_INPUT", "GRAPHQL_VALIDATION_FAILED"}

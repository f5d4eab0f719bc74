"""A plan is shared only by requests whose answers it gives: cold and warm answers agree, for every value a plan looks at."""

from __future__ import annotations

import json
from typing import Any

import pytest

from graph.operations import engine
from graph.read.planning.plan import Plan
from graph.read.sql.statement import Statement
from graph.read.sql.writer import write
from graph.read.types.mirror import MIRRORS
from tests.conftest import Ask

SHOP = "varied"

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


async def test_errors_that_name_rows_alike_share_their_statements(shop: Ask, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is asked of a row is one statement for each type, however many kinds of error name it; what differs is its own."""
    written: list[Plan] = []

    def watched(plan: Plan, *rest: Any) -> Statement:
        written.append(plan)
        return write(plan, *rest)

    monkeypatch.setattr(engine, "write", watched)
    shown = (("StaleVersionError", "current", "id"), ("ArchivedError", "node", "id"), ("UniqueError", "existing", "__typename"))
    errors = " ".join(f"... on {error} {{ {field}: {field} {{ {name} }} }}" for error, field, name in shown)
    query = f'mutation {{ updateItem(input: {{id: "Item:1", expectedVersion: 99}}) {{ errors {{ {errors} }} }} }}'
    assert await shop(query) == {"data": {"updateItem": {"errors": [{"current": {"id": "Item:1"}}]}}}
    assert len(written) == len(set(written)) == 2 * len([mirror for mirror in MIRRORS.values() if mirror.is_node])


@pytest.mark.parametrize("name", CASES)
async def test_warm_answers_are_the_cold_ones(shop: Ask, name: str) -> None:
    query, given = CASES[name]

    def shown(answer: dict[str, Any]) -> str:
        for error in answer.get("errors", ()):
            del error["extensions"]["requestId"]
        return json.dumps(answer)

    cold = [shown(await shop(f"{query} # {index}", variables)) for index, variables in enumerate(given)]
    for _ in range(2):
        assert [shown(await shop(query, variables)) for variables in given] == cold
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
    shop: Ask, selection: str, variables: dict[str, Any], code: str
) -> None:
    declared = "($n: Int)" if variables else ""
    read = '{ customer(by: {id: "Customer:3"}) { name version } }'
    before = await shop.data(read)
    answer = await shop(
        f"""mutation{declared} {{
          a: updateCustomer(input: {{id: "Customer:3", name: "Written"}}) {{ customer {{ name }} }}
          b: updateCustomer(input: {{id: "Customer:4", name: "X"}}) {{ customer {{ {selection} }} errors {{ code }} }}
        }}""",
        variables,
    )
    assert [error["extensions"]["code"] for error in answer["errors"]] == [code]
    assert await shop.data(read) == before


@pytest.mark.parametrize(
    "query",
    [
        "{ customer(by: {}) { id } }",
        '{ customer(by: {id: "Customer:1", email: "x"}) { id } }',
        "{ customer(by: {id: null}) { id } }",
    ],
)
async def test_one_of_is_one(shop: Ask, query: str) -> None:
    answer = await shop(query)
    assert {error["extensions"]["code"] for error in answer["errors"]} <= {"BAD_USER_INPUT", "GRAPHQL_VALIDATION_FAILED"}


async def test_plans_are_not_shared_by_requests_of_another_shape(shop: Ask) -> None:
    query = """query(
      $first: Int, $last: Int, $after: String, $where: OrderWhere, $order: [OrderSort!], $yes: Boolean!, $ids: [ID!]!
    ) {
      orders(first: $first, last: $last, after: $after, where: $where, orderBy: $order) {
        nodes { id note @include(if: $yes) status @skip(if: $yes) }
      }
      nodes(ids: $ids) { __typename }
    }"""
    base: dict[str, Any] = {"yes": True, "ids": ["Order:1"]}
    cursor = (await shop.data("{ orders(first: 5) { pageInfo { endCursor } } }"))["orders"]["pageInfo"]["endCursor"]
    changes: list[dict[str, Any]] = [
        {"yes": False},
        {"first": 1},
        {"first": 2},
        {"first": 0},
        {"first": None},
        {"last": 1},
        {"last": 2},
        {"after": cursor},
        {"after": None},
        {"where": {"note": {"isNull": True}}},
        {"where": {"note": {"isNull": False}}},
        {"where": {"note": {"eq": None}}},
        {"where": {"note": {"ne": None}}},
        {"where": {"note": {"eq": "50% off"}}},
        {"where": {"note": {"ne": "50% off"}}},
        {"where": {"status": {"eq": "PAID"}}},
        {"where": {"status": {"in": ["PAID", "CANCELLED"]}}},
        {"where": {"status": {"in": []}}},
        {"where": {"or": []}},
        {"where": {"or": [{"note": {"eq": ""}}]}},
        {"where": {"or": [{"note": {"eq": ""}}, {"status": {"eq": "PAID"}}]}},
        {"where": {"and": [{"note": {"eq": ""}}, {"status": {"eq": "PAID"}}]}},
        {"where": {"id": {"in": ["Order:3", "Order:5"]}}},
        {"where": {"id": {"in": ["Order:3", "Item:5", "x"]}}},
        {"where": {"customer": {"archived": {"eq": True}}}},
        {"where": {"customer": {"archived": {"eq": False}}}},
        {"where": {"items": {"some": {"quantity": {"gt": 100}}}}},
        {"where": {"items": {"every": {"quantity": {"gt": 100}}}}},
        {"where": {"items": {"none": {"quantity": {"gt": 100}}}}},
        {"order": [{"field": "ORDER_DATE"}]},
        {"order": [{"field": "ORDER_DATE", "direction": "DESC"}]},
        {"order": [{"field": "TOTAL_AMOUNT"}]},
        {"order": [{"field": "STATUS"}, {"field": "TOTAL_AMOUNT"}]},
        {"order": [{"field": "TOTAL_AMOUNT"}, {"field": "STATUS"}]},
        {"order": []},
        {"ids": ["Item:1"]},
        {"ids": ["Order:1", "Item:1"]},
        {"ids": ["Item:1", "Order:1"]},
        {"ids": ["x"]},
        {"ids": []},
    ]
    # What an engine answers that has never seen the operation: its text is made new by a comment.
    alone = [await shop.raw(f"{query} # {index}", {**base, **change}) for index, change in enumerate(changes)]
    for _ in range(2):
        shared = [await shop.raw(query, {**base, **change}) for change in changes]
        for change, one, other in zip(changes, shared, alone, strict=True):
            assert one == other, change
    assert all(b'"errors"' not in answer for answer in alone)


async def test_enum_and_boolean_variables_inside_literals_shape_the_plan(shop: Ask) -> None:
    query = """query($field: OrderSortField!, $way: Direction! = DESC, $null: Boolean, $archived: Boolean, $status: OrderStatus) {
      orders(first: 1, orderBy: [{field: $field, direction: $way}], where: {note: {isNull: $null}, status: {eq: $status}}) {
        nodes { id }
      }
      customers(where: {archived: {eq: $archived}}) { totalCount }
    }"""
    seen = set()
    for field in ("ORDER_DATE", "TOTAL_AMOUNT"):
        for way in ({}, {"way": "ASC"}):
            for null in (True, False):
                given = {"field": field, "null": null, "archived": null, "status": "SHIPPED", **way}
                fresh = await shop.raw(f"{query} # {given}", given)
                assert await shop.raw(query, given) == fresh
                seen.add(fresh)
    assert len(seen) == 8

"""A mutation is a function under `@mutation`: what it takes from there, and what is refused when it is declared."""

from __future__ import annotations

import importlib
import pkgutil
from typing import Any

import pytest
import strawberry
from strawberry.schema.config import StrawberryConfig
from strawberry.tools import create_type
from strawberry.types.field import StrawberryField

import graph
from graph import models
from graph.database import Database
from graph.orders.types import Order
from graph.read.types.scalars import DEFINITIONS
from graph.schema import MUTATIONS, Query, Schema
from graph.write.answers import Answer, Payload, answer
from graph.write.columns import key_in_id, start_of
from graph.write.directives import DIRECTIVES
from graph.write.errors import ROOT, error_types, invalid
from graph.write.mutation_inputs import given
from graph.write.resolvers import mutation
from graph.write.unit import Unit


@strawberry.input
class SplitOrderInput:
    id: strawberry.ID
    lines: list[strawberry.ID]
    expected_version: strawberry.Maybe[int | None]


@strawberry.type
class SplitOrderPayload(Payload):
    order: Order | None = None
    new_order: Order | None = None


@mutation("Put lines of an order into a new one of the same customer.", scope="write")
async def split_order(unit: Unit, input: SplitOrderInput) -> Answer[SplitOrderPayload]:
    order = await unit.load(models.Order, input.id, "items", expected=given(input, "expected_version"))
    wanted = {key_in_id(models.OrderItem, line) for line in input.lines}
    taken = [line for line in order.items if line.id in wanted]
    if len(taken) < len(input.lines):
        unit.refuse(invalid((*ROOT, "lines"), "must be lines of the order"))
    new = models.Order(**start_of(models.Order).values(unit.now), customer_id=order.customer_id, items=[])
    for line in taken:
        unit.remove(order, "items", line)
        moved = models.OrderItem(item_id=line.item_id, quantity=line.quantity, price_paid=line.price_paid)
        unit.adopt(new, "items", moved)
    await unit.insert(new)
    return answer(order=order, new_order=new)


schema = Schema(
    Query,
    create_type("Mutation", [*MUTATIONS, split_order]),
    types=error_types(),
    directives=DIRECTIVES,
    config=StrawberryConfig(scalar_map=DEFINITIONS),
)
SHOWN = "id version totalAmount items { position quantity }"
SPLIT = f"""splitOrder(input: {{id: "Order:1", lines: $lines, expectedVersion: 1}}) {{
  order {{ {SHOWN} }} newOrder {{ {SHOWN} }} errors {{ code path }} }}"""


async def run(database: Database, query: str, variables: dict[str, Any] | None = None) -> Any:
    result = await schema.execute(query, variables, context_value=database)
    assert result.errors is None, result.errors
    return result.data


async def test_a_new_mutation_is_a_few_lines_and_has_all_that_others_have(database: Database) -> None:
    await run(
        database,
        """mutation { createCustomer(input: {name: "Ada", email: "ada@example.com", orders: [{items: [
             {item: {create: {sku: "a", name: "A", price: "1.00"}}, quantity: 2},
             {item: {create: {sku: "b", name: "B", price: "2.00"}}, quantity: 3}]}]}) { errors { message } } }""",
    )
    query = f'mutation ($lines: [ID!]!) {{ {SPLIT.replace(") {", """) @idempotent(key: "1") {""", 1)} }}'
    refused = await run(database, query, {"lines": ["OrderItem:9"]})
    assert refused["splitOrder"] == {
        "order": None,
        "newOrder": None,
        "errors": [{"code": "INVALID_INPUT", "path": ["input", "lines"]}],
    }
    shown = await run(database, f"mutation ($lines: [ID!]!) @dryRun {{ {SPLIT} }}", {"lines": ["OrderItem:2"]})
    answers = [await run(database, query, {"lines": ["OrderItem:2"]}) for _ in range(2)]
    assert answers[0] == answers[1]
    new = answers[0]["splitOrder"]["newOrder"].pop("id")
    assert answers[0]["splitOrder"] == {
        "order": {"id": "Order:1", "version": 2, "totalAmount": "2.00", "items": [{"position": 1, "quantity": 2}]},
        "newOrder": {"version": 1, "totalAmount": "6.00", "items": [{"position": 1, "quantity": 3}]},
        "errors": [],
    }
    assert shown["splitOrder"]["order"] == answers[0]["splitOrder"]["order"]
    found = await run(database, "{ orders { nodes { id } } }")
    assert found == {"orders": {"nodes": [{"id": "Order:1"}, {"id": new}]}}


def test_every_mutation_that_is_declared_is_in_the_schema() -> None:
    declared = set()
    for module in pkgutil.walk_packages(graph.__path__, "graph."):
        if "migrations" not in module.name and not module.name.endswith("__main__"):
            found = vars(importlib.import_module(module.name))
            declared |= {name for name, each in found.items() if isinstance(each, StrawberryField)}
    assert declared == {each.python_name for each in MUTATIONS}
    assert len(declared) == len(MUTATIONS)


def test_a_function_of_another_form_is_refused_when_it_is_declared() -> None:
    async def no_unit(input: SplitOrderInput) -> Answer[SplitOrderPayload]:
        return answer()

    async def no_payload(unit: Unit, input: SplitOrderInput) -> Answer[Any]:
        return answer()

    async def no_answer(unit: Unit, input: SplitOrderInput) -> SplitOrderPayload:
        return SplitOrderPayload()

    for work in (no_unit, no_payload, no_answer):
        with pytest.raises(TypeError, match=f"{work.__name__} must"):
            mutation("Nothing.", scope="write")(work)  # type: ignore[arg-type]  # which is what is refused

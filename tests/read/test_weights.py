"""What the schema's text says of costs is what the planner counts: a tool that knows the text alone comes to the same number."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from graphql import (
    DirectiveNode,
    FieldNode,
    GraphQLObjectType,
    InlineFragmentNode,
    IntValueNode,
    ObjectValueNode,
    OperationDefinitionNode,
    SelectionSetNode,
    build_schema,
    get_named_type,
    get_nullable_type,
    is_composite_type,
    is_list_type,
    parse,
)

from graph.settings import Settings
from tests.conftest import Ask

SCHEMA = build_schema((Path(__file__).parents[2] / "schema.graphql").read_text(encoding="utf-8"))


def said(definition: Any, name: str) -> dict[str, Any] | None:
    """The arguments of a directive on a definition."""
    nodes: list[DirectiveNode] = [each for each in (definition.ast_node.directives or ()) if each.name.value == name]
    for node in nodes:
        return {argument.name.value: literal_of(argument.value) for argument in node.arguments or ()}
    return None


def literal_of(node: Any) -> Any:
    return [literal_of(part) for part in node.values] if hasattr(node, "values") else node.value


def weight(definition: Any, default: int) -> int:
    found = said(definition, "cost")
    return default if found is None else int(found["weight"])


def reckoned(selections: SelectionSetNode, type_: Any, sizes: dict[str, int] | None = None) -> int:
    """The cost of a selection by the GraphQL Cost Directives specification."""
    found = 0
    for selection in selections.selections:
        if isinstance(selection, InlineFragmentNode):
            condition = selection.type_condition
            found += reckoned(selection.selection_set, SCHEMA.type_map[condition.name.value] if condition else type_, sizes)
            continue
        assert isinstance(selection, FieldNode)
        name = selection.name.value
        if name == "__typename":
            continue
        field = type_.fields[name]
        inner = get_named_type(field.type)
        size, below = (sizes or {}).get(name, 1), {}
        if listed := said(field, "listSize"):
            given = {argument.name.value: argument.value for argument in selection.arguments or ()}
            slices = [given[each] for each in listed.get("slicingArguments") or () if each in given]
            size = int(slices[0].value) if slices and isinstance(slices[0], IntValueNode) else int(listed["assumedSize"])
            if fields := listed.get("sizedFields"):
                size, below = 1, dict.fromkeys(fields, size)
        each = weight(field, weight(inner, 1) if is_composite_type(inner) else 0)
        if selection.selection_set:
            each += reckoned(selection.selection_set, inner, below)
        found += size * each
        for argument in selection.arguments or ():
            if argument.name.value == "where":
                found += conditions(argument.value, get_named_type(field.args["where"].type))
    return found


def conditions(node: Any, type_: Any) -> int:
    found = 0
    for field in node.fields if isinstance(node, ObjectValueNode) else ():
        definition = type_.fields[field.name.value]
        found += weight(definition, 0) + conditions(field.value, get_named_type(definition.type))
    return found


QUERIES = [
    '{ order(by: {id: "Order:1"}) { id } }',
    '{ node(id: "Order:1") { id ... on Order { customer { id } } } }',
    '{ order(by: {id: "Order:1"}) { customer { id } items { quantity item { id } order { number } } } }',
    "{ orders { nodes { id } } customers(first: 3) { nodes { id } } items(last: 4) { edges { cursor node { sku } } } }",
    "{ orders { totalCount } }",
    "{ customers { nodes { orders { totalCount nodes { id } } } } }",
    "{ customers(first: 5) { edges { node { orders(last: 3) { edges { node { customer { id } items { item { id } } } } } } } } }",
    "{ items(first: 2) { nodes { orderItems { nodes { order { customer { name } } } totalCount } } totalCount } }",
    "{ orders(first: 0) { nodes { items { id } } } }",
    "{ orders(first: 2, where: {items: {some: {quantity: {gt: 1}}}}) { nodes { id } } }",
    '{ orders(first: 2, where: {customer: {name: {eq: "x"}}}) { nodes { id } } }',
    "{ orders(first: 2, where: {status: {eq: PAID}}) { nodes { id } } }",
    "{ changes { nodes { cursor } } }",
    "{ changes(first: 3) { nodes { type node { id } } } customers(first: 2) { nodes { changes { edges { node { kind } } } } } }",
    "{ orderSummary(groupBy: [CUSTOMER], first: 7) { customer { id } totalAmount { sum } } }",
]


@pytest.mark.parametrize("query", QUERIES)
async def test_the_text_of_the_schema_tells_the_cost(ask: Ask, query: str) -> None:
    [operation] = parse(query).definitions
    assert isinstance(operation, OperationDefinitionNode)
    answer = await ask(query, extensions={"cost": True})
    assert answer["extensions"]["cost"]["requestedQueryCost"] == reckoned(operation.selection_set, SCHEMA.query_type)


def test_every_list_of_rows_has_a_size_and_every_page_the_settings_one() -> None:
    objects = {name: type_ for name, type_ in SCHEMA.type_map.items() if isinstance(type_, GraphQLObjectType) and type_.ast_node}
    rows = {name: type_ for name, type_ in objects.items() if name == "Query" or (weight(type_, 1) and "id" in type_.fields)}
    assert {"Customer", "Item", "Order", "OrderItem", "Query"} <= rows.keys()
    for name, type_ in rows.items():
        for key, field in type_.fields.items():
            inner = get_named_type(field.type)
            listed = said(field, "listSize")
            if listed is not None:
                assert {*listed.get("slicingArguments", ())} <= field.args.keys(), key
            if inner.name.endswith("Connection"):
                size = Settings().default_page_size if name == "Query" else Settings().nested_page_size
                assert listed is not None
                assert int(listed["assumedSize"]) == size, key
            elif is_list_type(get_nullable_type(field.type)) and is_composite_type(inner):
                assert listed is not None, (name, key)


async def test_a_mutation_tells_its_cost_too(ask: Ask) -> None:
    query = (
        'mutation { createItem(input: {sku: "A", name: "A", price: "1"}) { item { sku orderItems(first: 4) { nodes { id } } } } }'
    )
    answer = await ask(query, extensions={"cost": True})
    assert answer["data"]["createItem"]["item"] == {"sku": "A", "orderItems": {"nodes": []}}
    told = answer["extensions"]["cost"]
    assert told["requestedQueryCost"] == 5
    assert told["maximum"] == Settings().max_cost


async def test_the_dearest_fields_are_told_with_what_they_add_themselves(ask: Ask) -> None:
    inner = "orders(first: 2) { totalCount nodes { items { id } } }"
    query = f"{{ all: customers(first: 3) {{ nodes {{ {inner} }} }} orders(first: 4) {{ nodes {{ id }} }} }}"
    told = (await ask(query, extensions={"cost": True}))["extensions"]["cost"]
    assert told == {
        "requestedQueryCost": 3 * (1 + 1 + 2 * (1 + 10)) + 4,
        "maximum": Settings().max_cost,
        "fields": [
            {"field": ["all", "nodes", "orders", "nodes", "items"], "cost": 60},
            {"field": ["all", "nodes", "orders"], "cost": 9},
            {"field": ["orders"], "cost": 4},
            {"field": ["all"], "cost": 3},
        ],
    }
    for unasked in (None, {"cost": False}, {"cost": 1}):
        assert "extensions" not in await ask(query, extensions=unasked)

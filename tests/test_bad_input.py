"""Bad input: refused for the whole request, at its path, before the first field of it runs."""

from __future__ import annotations

from typing import Any

import pytest

from tests.conftest import Ask

FIRST = """a: createItem(input: {sku: "first", name: "First", price: "1"}) { errors { code } }"""

#: Mutations that must not run at all: the field after one that would be committed, the types of its variables, their values,
#: the path of the refusal.
JUDGED: dict[str, tuple[str, str, dict[str, Any], list[str]]] = {
    "null for a relation": ("deleteOrders(input: {where: {customer: null}})", "", {}, ["input", "where", "customer"]),
    "null to be less than": (
        "archiveItems(input: {where: {stock: {lt: $v}}})",
        "($v: Int)",
        {"v": None},
        ["input", "where", "stock", "lt"],
    ),
    "null in a whole filter": (
        "deleteOrders(input: $v)",
        "($v: DeleteOrdersInput!)",
        {"v": {"where": {"or": [{"note": {"in": None}}]}}},
        ["input", "where", "or", "0", "note", "in"],
    ),
    "an empty key": ('createItem(input: {sku: "b", name: "b", price: 1}) @idempotent(key: "")', "", {}, ["key"]),
    "a long key": (
        'createItem(input: {sku: "b", name: "b", price: 1}) @idempotent(key: $v)',
        "($v: String!)",
        {"v": "x" * 256},
        ["key"],
    ),
}


@pytest.mark.parametrize("name", JUDGED)
async def test_a_bad_input_lets_no_field_run(ask: Ask, name: str) -> None:
    field, declared, variables, path = JUDGED[name]
    answer = await ask(f"mutation {declared} {{ {FIRST} b: {field} {{ errors {{ code }} }} }}", variables)
    assert [(e["extensions"]["code"], e["extensions"]["path"]) for e in answer["errors"]] == [("BAD_USER_INPUT", path)]
    assert "data" not in answer
    assert (await ask.data("{ items { totalCount } }"))["items"]["totalCount"] == 0

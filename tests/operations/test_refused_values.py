"""Values that fit no type or no limit: refused at their path, all at once, before any statement."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.conftest import Ask, Statements

SHOP = "varied"

# ---- refusals

#: A query with one variable, its value, and the path that the refusal names. As a literal it must be refused alike.
REFUSED: dict[str, tuple[str, str, Any, list[str]]] = {
    "a time without an offset": (
        "orders(where: {orderDate: {lt: $v}})",
        "DateTime",
        "2026-01-01T00:00:00",
        ["where", "orderDate", "lt"],
    ),
    "a date": ("orders(where: {orderDate: {lt: $v}})", "DateTime", "2026-01-01", ["where", "orderDate", "lt"]),
    "no time": ("orders(where: {orderDate: {in: [$v]}})", "DateTime!", "soon", ["where", "orderDate", "in", "0"]),
    "a time before time": (
        "orders(where: {orderDate: {gt: $v}})",
        "DateTime",
        "0001-01-01T00:00:00+14:00",
        ["where", "orderDate", "gt"],
    ),
    "three decimals": ("orders(where: {discount: {eq: $v}})", "Decimal", "1.005", ["where", "discount", "eq"]),
    "NaN": ("orders(where: {discount: {eq: $v}})", "Decimal", "NaN", ["where", "discount", "eq"]),
    "infinity": ("orders(where: {discount: {eq: $v}})", "Decimal", "Infinity", ["where", "discount", "eq"]),
    "an exponent out of range": ("orders(where: {discount: {eq: $v}})", "Decimal", "1e400", ["where", "discount", "eq"]),
    "a huge exponent": ("orders(where: {discount: {eq: $v}})", "Decimal", "1e999999999", ["where", "discount", "eq"]),
    "too many digits": ("orders(where: {discount: {eq: $v}})", "Decimal", "1" * 29, ["where", "discount", "eq"]),
    "a number with three decimals": ("orders(where: {discount: {eq: $v}})", "Decimal", 1.005, ["where", "discount", "eq"]),
    "a Boolean for money": ("orders(where: {discount: {eq: $v}})", "Decimal", True, ["where", "discount", "eq"]),
    "no number": ("orders(first: $v)", "Int", "3", ["first"]),
    "a fraction": ("orders(first: $v)", "Int", 1.5, ["first"]),
    "an int past 32 bits": ("items(where: {stock: {eq: $v}})", "Int", 2**31, ["where", "stock", "eq"]),
    "an int past 64 bits": ("items(where: {stock: {eq: $v}})", "Int", 2**64, ["where", "stock", "eq"]),
    "a page too large": ("orders(first: $v)", "Int", 101, ["first"]),
    "a page past 32 bits": ("orders(last: $v)", "Int", 2**40, ["last"]),
    "a negative page": ("orders(last: $v)", "Int", -1, ["last"]),
    "first and last": ("orders(first: 1, last: $v)", "Int", 1, ["last"]),
    "a broken cursor": ("orders(before: $v)", "String", "zz", ["before"]),
    "NUL": ("orders(search: $v)", "String", "a\x00b", ["search"]),
    "NUL deep inside": ("items(where: {or: [{}, {sku: {in: [$v]}}]})", "String!", "\x00", ["where", "or", "1", "sku", "in", "0"]),
    "NUL in an id": ("orders(where: {id: {eq: $v}})", "ID", "Order:1\x00", ["where", "id", "eq"]),
    "too long a text": ("orders(search: $v)", "String", "x" * 10_001, ["search"]),
    "null for a filter": ("orders(where: {note: $v})", "StringFilter", None, ["where", "note"]),
    "null for a relation": ("orders(where: {customer: $v})", "CustomerWhere", None, ["where", "customer"]),
    "null to be less than": ("orders(where: {note: {lt: $v}})", "String", None, ["where", "note", "lt"]),
    "null for a list": ("orders(where: {note: {in: $v}})", "[String!]", None, ["where", "note", "in"]),
    "null for isNull": ("orders(where: {note: {isNull: $v}})", "Boolean", None, ["where", "note", "isNull"]),
    "null in or": ("orders(where: {or: $v})", "[OrderWhere!]", None, ["where", "or"]),
    "null for some": ("orders(where: {items: {some: $v}})", "OrderItemWhere", None, ["where", "items", "some"]),
    "a list for a value": ("items(where: {stock: {eq: $v}})", "Int", [1], ["where", "stock", "eq"]),
    "an object for a value": ("items(where: {sku: {eq: $v}})", "String", {"a": 1}, ["where", "sku", "eq"]),
}


def literal(value: Any) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key}: {literal(each)}" for key, each in value.items()) + "}"
    return json.dumps(value)


async def test_bad_input_is_refused_at_its_path(shop: Ask, statements: Statements) -> None:
    wrong = {}
    for what, (field, type_, value, path) in REFUSED.items():
        asked = {
            "variable": await shop(f"query($v: {type_}) {{ {field} {{ totalCount }} }}", {"v": value}),
            "literal": await shop(f"{{ {field.replace('$v', literal(value))} {{ totalCount }} }}"),
        }
        for how, answer in asked.items():
            found = [(e["extensions"]["code"], e["extensions"].get("path")) for e in answer.get("errors", ())]
            if "data" in answer or found != [("BAD_USER_INPUT", path)]:
                wrong[what, how] = (found, path)
    assert wrong == {}
    assert len(statements) == 0


@pytest.mark.parametrize(
    ("value", "path"),
    [
        ({"note": {"eq": "\ud800"}}, ["where", "note", "eq"]),
        ({"note": {"in": ["ok", "\udfff"]}}, ["where", "note", "in", "1"]),
        ({"status": {"eq": "LOST"}}, ["where", "status", "eq"]),
        ({"or": [{}, {"discount": {"eq": "x"}}]}, ["where", "or", "1", "discount", "eq"]),
        ({"nothing": 1}, ["where"]),
        ({"\ud800": 1}, ["where"]),
        ({"items": {"some": {"quantity": {"gt": "many"}}}}, ["where", "items", "some", "quantity", "gt"]),
    ],
)
async def test_a_bad_variable_is_refused_at_the_path_inside_it(shop: Ask, value: Any, path: list[str]) -> None:
    answer = await shop("query($w: OrderWhere) { orders(where: $w) { nodes { id } } }", {"w": value})
    assert "data" not in answer
    (error,) = answer["errors"]
    assert error["extensions"]["code"] == "BAD_USER_INPUT"
    assert error["extensions"]["path"][: len(path)] == path


async def test_all_bad_values_are_named_at_once(shop: Ask) -> None:
    where = {"discount": {"eq": "x", "lt": "1.234"}, "orderDate": {"gt": "soon"}}
    answer = await shop("query($w: OrderWhere) { orders(where: $w) { totalCount } }", {"w": where})
    assert sorted(error["extensions"]["path"] for error in answer["errors"]) == [
        ["where", "discount", "eq"],
        ["where", "discount", "lt"],
        ["where", "orderDate", "gt"],
    ]


@pytest.mark.parametrize("query", ["{ \ud800 }", '{ orders(search: "\ud800") { totalCount } }', "query \udfff { __typename }"])
async def test_a_document_with_a_lone_surrogate_is_refused(shop: Ask, query: str) -> None:
    answer = await shop(query)
    assert answer["errors"][0]["extensions"]["code"] in ("GRAPHQL_PARSE_FAILED", "BAD_REQUEST", "BAD_USER_INPUT")

"""Reads from the outside: one statement each, exact values, refusals at their place, plans that are shared only by their like."""

from __future__ import annotations

import asyncio
import gc
import json
import tracemalloc
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager
from typing import Any

import pytest
from graphql import get_introspection_query
from sqlalchemy import insert, select

from graph.context import Context
from graph.database import Database
from graph.models import Customer, Item, Order, OrderItem
from graph.operations.engine import Engine
from tests import shop
from tests.conftest import Ask, Statements
from tests.walk import ordered

AskWith = Callable[..., AbstractAsyncContextManager[Ask]]

# ---- one statement

ONE_STATEMENT = {
    "point": '{ order(by: {id: "Order:1"}) { id number } }',
    "absent": '{ order(by: {id: "Order:4711"}) { id } }',
    "by email": '{ customer(by: {email: " ALFKI@northwind.example "}) { name } }',
    "by sku": '{ item(by: {sku: "NW-1"}) { name price } }',
    "node": '{ node(id: "Item:1") { id __typename ... on Item { name } } }',
    "nodes": '{ nodes(ids: ["Item:1", "Order:1", "OrderItem:1", "Customer:1", "x"]) { __typename id } }',
    "page": "{ orders { nodes { id } } }",
    "edges": "{ orders(first: 2) { edges { cursor node { id } } } }",
    "count": "{ orders { totalCount } }",
    "page info": "{ orders(last: 2) { pageInfo { hasNextPage hasPreviousPage startCursor endCursor } totalCount } }",
    "nested": "{ orders(first: 3) { nodes { customer { orders(first: 2) { nodes { items { item { name } } } totalCount } } } } }",
    "filter": '{ orders(where: {customer: {name: {contains: "a"}}, items: {some: {quantity: {gt: 50}}}}) { nodes { id } } }',
    "search": '{ orders(search: "SO-1", first: 3) { nodes { number } } }',
    "typename": "{ __typename }",
    "introspection": "{ __schema { queryType { name } } }",
    "introspection beside data": '{ __type(name: "Order") { name } orders(first: 1) { nodes { id } } }',
    "several roots": """{
      a: orders(first: 1) { nodes { id } } b: customers(last: 1) { nodes { id } totalCount }
      c: item(by: {id: "Item:1"}) { name } d: nodes(ids: ["Item:2"]) { id } e: node(id: "Order:2") { id } __typename
    }""",
}


async def test_a_query_operation_is_one_statement(ask_shop: Ask, statements: Statements) -> None:
    for name, query in ONE_STATEMENT.items():
        for _ in range(2):
            statements.clear()
            await ask_shop.data(query)
            assert len(statements) == 1, name


async def test_a_refused_query_asks_the_database_nothing(ask_shop: Ask, statements: Statements) -> None:
    for query in ("{ nothing }", "{", '{ orders(after: "x") { nodes { id } } }', "{ orders(first: 101) { nodes { id } } }"):
        assert "errors" in await ask_shop(query)
    assert len(statements) == 0


# ---- pages

PAGES: list[tuple[dict[str, Any], list[str] | None, tuple[bool, bool]]] = [
    ({"first": 2}, ["1", "2"], (False, True)),
    ({"last": 2}, ["90", "91"], (True, False)),
    ({"first": 0}, [], (False, True)),
    ({"last": 0}, [], (True, False)),
    ({"first": 100}, None, (False, False)),
    ({"last": 100}, None, (False, False)),
    ({"first": 89}, None, (False, False)),
    ({"first": 88}, ["1", "90"], (False, True)),
    ({"last": 88}, ["2", "91"], (True, False)),
]


async def test_page_info_at_the_ends(ask_shop: Ask) -> None:
    query = """query($first: Int, $last: Int) { customers(first: $first, last: $last) {
      nodes { id } edges { cursor } pageInfo { hasPreviousPage hasNextPage startCursor endCursor } totalCount
    } }"""
    for arguments, ends, more in PAGES:
        page = (await ask_shop.data(query, arguments))["customers"]
        ids = [node["id"].removeprefix("Customer:") for node in page["nodes"]]
        assert [*ids[:1], *ids[1:][-1:]] == (["1", "91"] if ends is None else ends), arguments
        cursors = [edge["cursor"] for edge in page["edges"]] or [None]
        info = {"hasPreviousPage": more[0], "hasNextPage": more[1], "startCursor": cursors[0], "endCursor": cursors[-1]}
        assert page["pageInfo"] == info, arguments
        assert page["totalCount"] == 89


PARTS = ["hasNextPage", "hasPreviousPage", "startCursor", "endCursor", "__typename"]


@pytest.mark.parametrize("arguments", ["first: 2", "last: 2", "first: 0", 'first: 1, where: {name: {eq: "nobody"}}', "last: 100"])
async def test_every_part_of_page_info_may_be_selected_alone(ask_shop: Ask, arguments: str) -> None:
    whole = await ask_shop.data(f"{{ customers({arguments}) {{ nodes {{ id }} pageInfo {{ {' '.join(PARTS)} }} }} }}")
    for part in PARTS:
        alone = await ask_shop.data(f"{{ customers({arguments}) {{ pageInfo {{ {part} }} }} }}")
        assert alone == {"customers": {"pageInfo": {part: whole["customers"]["pageInfo"][part]}}}


async def test_a_page_may_be_asked_only_for_its_type(ask_shop: Ask) -> None:
    assert await ask_shop.data("{ orders { __typename pageInfo { __typename } } }") == {
        "orders": {"__typename": "OrderConnection", "pageInfo": {"__typename": "PageInfo"}}
    }


# ---- text operators

TEXTS = ["100%", "100x", "a_b", "axb", r"a\b", "a\\\\b", "ABC", "abc", "ÄBC", "äbc", "I İ ı i", "'", '"', "%", "_", "\\"]
OPERANDS = ["%", "_", "\\", "\\\\", "0%", "a_", r"a\b", "b", "BC", "ä", "Ä", "i", "'", '"', "", "%%", r"\%", r"\_"]


async def test_text_operators_know_no_wildcards_and_only_ascii_case(database: Database, ask: Ask) -> None:
    async with database.session() as session, session.begin():
        await session.execute(insert(Item), [{"sku": f"T-{i}", "name": text, "price": 0} for i, text in enumerate(TEXTS)])

    def lower(text: str) -> str:
        return "".join(chr(ord(c) + 32) if "A" <= c <= "Z" else c for c in text)

    checks: dict[str, Callable[[str, str], bool]] = {
        "contains": lambda text, part: lower(part) in lower(text),
        "startsWith": lambda text, part: lower(text).startswith(lower(part)),
        "endsWith": lambda text, part: lower(text).endswith(lower(part)),
        "eq": str.__eq__,
        "lt": str.__lt__,
        "gte": str.__ge__,
    }
    query = "query($where: ItemWhere) { items(where: $where) { nodes { name } } }"
    for operator, check in checks.items():
        for operand in OPERANDS:
            found = (await ask.data(query, {"where": {"name": {operator: operand}}}))["items"]["nodes"]
            assert [node["name"] for node in found] == [text for text in TEXTS if check(text, operand)], (operator, operand)
    for operand in OPERANDS:
        found = (await ask.data("query($s: String) { items(search: $s) { nodes { name } } }", {"s": operand}))["items"]["nodes"]
        assert [node["name"] for node in found] == [text for text in TEXTS if lower(operand) in lower(text)]


async def test_an_email_is_compared_as_it_is_stored(ask_shop: Ask) -> None:
    query = """query($where: CustomerWhere, $email: String!) {
      customers(where: $where) { totalCount } customer(by: {email: $email}) { id }
    }"""
    for given in ("alfki@northwind.example", "  ALFKI@Northwind.EXAMPLE "):
        for operator, operand in (("eq", given), ("in", [given, "x"])):
            found = await ask_shop.data(query, {"where": {"email": {operator: operand}}, "email": given})
            assert found == {"customers": {"totalCount": 1}, "customer": {"id": "Customer:1"}}


# ---- archived rows


#: Filters on customers, and how many customers they show.
MENTIONS: list[tuple[dict[str, Any], int]] = [
    ({}, 89),
    ({"archived": {"eq": False}}, 89),
    ({"archived": {"eq": True}}, 2),
    ({"archived": {}}, 91),
    ({"or": [{"archived": {"eq": True}}, {"archived": {"eq": False}}]}, 91),
    ({"not": {"archived": {"eq": False}}}, 2),
    ({"and": [{"or": [{"not": {"archived": {"eq": True}}}]}]}, 89),
    ({"archivedAt": {"isNull": False}}, 0),
    ({"orders": {"some": {"customer": {"archived": {"eq": True}}}}}, 0),
]


async def test_archived_rows_are_hidden_unless_the_filter_mentions_them(ask_shop: Ask) -> None:
    query = "query($where: CustomerWhere) { customers(where: $where, first: 100) { totalCount nodes { id } } }"
    for where, expected in MENTIONS:
        page = (await ask_shop.data(query, {"where": where}))["customers"]
        assert (page["totalCount"], len(page["nodes"])) == (expected, expected), where


async def test_archived_rows_are_hidden_in_root_lists_only(ask_shop: Ask) -> None:
    found = await ask_shop.data(
        """{
          node(id: "Customer:7") { ... on Customer { archived archivedBy orders(first: 1) { nodes { customer { archived } } } } }
          customer(by: {email: "blonp@northwind.example"}) { archived }
          nodes(ids: ["Item:9"]) { ... on Item { archived archivedBy } }
          items(where: {name: {eq: "Mishi Kobe Niku"}}) { totalCount }
        }"""
    )
    assert found == {
        "node": {"archived": True, "archivedBy": "Ida", "orders": {"nodes": [{"customer": {"archived": True}}]}},
        "customer": {"archived": True},
        "nodes": [{"archived": True, "archivedBy": "Ida"}],
        "items": {"totalCount": 0},
    }


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


async def test_bad_input_is_refused_at_its_path(ask_shop: Ask, statements: Statements) -> None:
    wrong = {}
    for what, (field, type_, value, path) in REFUSED.items():
        asked = {
            "variable": await ask_shop(f"query($v: {type_}) {{ {field} {{ totalCount }} }}", {"v": value}),
            "literal": await ask_shop(f"{{ {field.replace('$v', literal(value))} {{ totalCount }} }}"),
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
async def test_a_bad_variable_is_refused_at_the_path_inside_it(ask_shop: Ask, value: Any, path: list[str]) -> None:
    answer = await ask_shop("query($w: OrderWhere) { orders(where: $w) { nodes { id } } }", {"w": value})
    assert "data" not in answer
    (error,) = answer["errors"]
    assert error["extensions"]["code"] == "BAD_USER_INPUT"
    assert error["extensions"]["path"][: len(path)] == path


async def test_all_bad_values_are_named_at_once(ask_shop: Ask) -> None:
    where = {"discount": {"eq": "x", "lt": "1.234"}, "orderDate": {"gt": "soon"}}
    answer = await ask_shop("query($w: OrderWhere) { orders(where: $w) { totalCount } }", {"w": where})
    assert sorted(error["extensions"]["path"] for error in answer["errors"]) == [
        ["where", "discount", "eq"],
        ["where", "discount", "lt"],
        ["where", "orderDate", "gt"],
    ]


@pytest.mark.parametrize("query", ["{ \ud800 }", '{ orders(search: "\ud800") { totalCount } }', "query \udfff { __typename }"])
async def test_a_document_with_a_lone_surrogate_is_refused(ask_shop: Ask, query: str) -> None:
    answer = await ask_shop(query)
    assert answer["errors"][0]["extensions"]["code"] in ("GRAPHQL_PARSE_FAILED", "BAD_REQUEST", "BAD_USER_INPUT")


async def test_a_malformed_id_answers_null(ask_shop: Ask) -> None:
    query = "query($id: ID!) { node(id: $id) { id } nodes(ids: [$id, $id]) { id } order(by: {id: $id}) { id } }"
    keys = ["", "0", "01", "+1", "-1", "1 ", " 1", "1.0", "1e0", "0x1", "٣", "²", "9223372036854775808", "9" * 30, "1:1"]
    for id_ in ("", ":", "Order", "Order 1", "Order;1", " Order:1", "😀:1", *(f"Order:{key}" for key in keys)):
        assert await ask_shop.data(query, {"id": id_}) == {"node": None, "nodes": [None, None], "order": None}, id_


async def test_an_id_of_another_type_or_case_answers_null(ask_shop: Ask) -> None:
    query = "query($id: ID!) { node(id: $id) { id } order(by: {id: $id}) { id } }"
    for id_ in ("order:1", "ORDER:1", "Query:1", "PageInfo:1", "Node:1", "Order:١", "Order:9223372036854775807", "1"):
        assert await ask_shop.data(query, {"id": id_}) == {"node": None, "order": None}, id_
    assert await ask_shop.data(query, {"id": "Customer:1"}) == {"node": {"id": "Customer:1"}, "order": None}
    assert await ask_shop.data(query, {"id": "Order:1"}) == {"node": {"id": "Order:1"}, "order": {"id": "Order:1"}}


# ---- values

UNICODE = [
    *filter(None, shop.NOTES),
    "\u0001\u0002\u0003\u0004\u0005\u0006\u0007\b\t\n\u000b\f\r\u000e\u000f\u0010\u0011\u0012\u001e\u001f\u007f\u0080\u009f",
    "\u2028\u2029\ufeff\ufffe\uffff",
    "𝔘𝔫𝔦𝔠𝔬𝔡𝔢 🏳️‍🌈 🇺🇳",
    "\u202eright to left\u202c",
    "Z͑ͫ̓ͪ̂ͫ̽͏̴̙̤̞͉͚̯̞̠͍A̴̵̜̰͔ͫ͗͢L̠ͨͧͩ͘G̴̻͈͍͔̹̑͗̎̅͛́Ǫ̵̹̻̝̳͂̌̌͘",
    "</script><!-- -->",
    "$1 ? :p1 %s {0} || '",
    '\\" \\u0041 \\n',
    "x" * 10_000,
    "😀" * 10_000,
]


async def test_unicode_passes_unchanged(database: Database, ask: Ask) -> None:
    async with database.session() as session, session.begin():
        customer = Customer(name="Ünïcødé 😀", email="a@b.example")
        customer.orders = [Order(note=text) for text in UNICODE]
        session.add(customer)
    query = "query($where: OrderWhere) { orders(where: $where) { nodes { note customer { name } } } }"
    for text in UNICODE:
        found = await ask.data(query, {"where": {"note": {"eq": text}}})
        assert found["orders"]["nodes"] == [{"note": text, "customer": {"name": "Ünïcødé 😀"}}]
        part = (await ask.data(query, {"where": {"note": {"contains": text[:5000]}}}))["orders"]["nodes"]
        assert text in [node["note"] for node in part]
        literal_ = json.dumps(text).replace("\u007f", "\\u007f")
        if len(text) < 1000:
            found = await ask.data(f"{{ orders(where: {{note: {{eq: {literal_}}}}}) {{ nodes {{ note }} }} }}")
            assert found["orders"]["nodes"] == [{"note": text}]


@pytest.mark.usefixtures("by_hand")
async def test_numbers_keep_every_digit(database: Database, ask: Ask) -> None:
    async with database.session() as session, session.begin():
        item = Item(id=2**53 + 1, sku="A", name="A", price=999_999_999_999, stock=2**31 - 1)
        order = Order(id=2**63 - 1, total_amount=9_007_199_254_740_993, discount=1)
        item.order_items = [OrderItem(position=2**31 - 1, quantity=100_000, price_paid=90_071_992_547)]
        order.items = item.order_items
        session.add_all([item, Customer(name="A", email="a@b.example", orders=[order])])
    query = """query($id: ID!, $total: Decimal) {
      node(id: $id) { id ... on Order {
        number totalAmount discount subtotal customer { totalSpent orderCount }
        items { position quantity pricePaid lineTotal item { id price stock } }
      } }
      orders(where: {totalAmount: {gte: $total}, items: {some: {lineTotal: {eq: "90071992547000.00"}}}}) { totalCount }
    }"""
    found = await ask.data(query, {"id": f"Order:{2**63 - 1}", "total": "90071992547409.93"})
    assert found == {
        "node": {
            "id": "Order:9223372036854775807",
            "number": "SO-9223372036854775807",
            "totalAmount": "90071992547409.93",
            "discount": "0.01",
            "subtotal": "90071992547409.94",
            "customer": {"totalSpent": "0.00", "orderCount": 1},
            "items": [
                {
                    "position": 2147483647,
                    "quantity": 100_000,
                    "pricePaid": "900719925.47",
                    "lineTotal": "90071992547000.00",
                    "item": {"id": "Item:9007199254740993", "price": "9999999999.99", "stock": 2147483647},
                }
            ],
        },
        "orders": {"totalCount": 1},
    }


async def test_money_is_taken_by_its_text(ask_shop: Ask) -> None:
    query = "query($price: Decimal) { items(where: {price: {eq: $price}}) { totalCount } }"
    expected = (await ask_shop.data(query, {"price": "18.00"}))["items"]["totalCount"]
    assert expected > 0
    for price in (18, 18.0, "18", "18.0", "1.8e1", "+18", "1800e-2", "018"):
        assert (await ask_shop.data(query, {"price": price}))["items"]["totalCount"] == expected, price
    for text in ("18", "18.0", "1.8e1", '"18.00"'):
        found = await ask_shop.data(f"{{ items(where: {{price: {{eq: {text}}}}}) {{ totalCount }} }}")
        assert found["items"]["totalCount"] == expected, text


async def test_not_in_an_empty_list_still_wants_a_value(ask_shop: Ask) -> None:
    query = "query($none: [Int!]) { items(where: {stock: {notIn: $none}}) { totalCount } }"
    tracked = await ask_shop.data("{ items(where: {stock: {isNull: false}}) { totalCount } }")
    assert await ask_shop.data("{ items(where: {stock: {notIn: []}}) { totalCount } }") == tracked
    for none in ([], [-1]):
        assert await ask_shop.data(query, {"none": none}) == tracked


# ---- plans


async def test_plans_are_not_shared_by_requests_of_another_shape(ask_shop: Ask) -> None:
    query = """query(
      $first: Int, $last: Int, $after: String, $where: OrderWhere, $order: [OrderSort!], $yes: Boolean!, $ids: [ID!]!
    ) {
      orders(first: $first, last: $last, after: $after, where: $where, orderBy: $order) {
        nodes { id note @include(if: $yes) status @skip(if: $yes) }
      }
      nodes(ids: $ids) { __typename }
    }"""
    base: dict[str, Any] = {"yes": True, "ids": ["Order:1"]}
    cursor = (await ask_shop.data("{ orders(first: 5) { pageInfo { endCursor } } }"))["orders"]["pageInfo"]["endCursor"]
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
    alone = [await ask_shop.raw(f"{query} # {index}", {**base, **change}) for index, change in enumerate(changes)]
    for _ in range(2):
        shared = [await ask_shop.raw(query, {**base, **change}) for change in changes]
        for change, one, other in zip(changes, shared, alone, strict=True):
            assert one == other, change
    assert all(b'"errors"' not in answer for answer in alone)


async def test_enum_and_boolean_variables_inside_literals_shape_the_plan(ask_shop: Ask) -> None:
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
                fresh = await ask_shop.raw(f"{query} # {given}", given)
                assert await ask_shop.raw(query, given) == fresh
                seen.add(fresh)
    assert len(seen) == 8


def engine_of(ask: Ask) -> Engine:
    engine: Engine = ask.app.state.engine
    return engine


async def test_a_known_operation_is_neither_parsed_nor_planned_again(ask_shop: Ask, statements: Statements) -> None:
    query = """query($first: Int!, $note: String, $date: DateTime, $price: Decimal, $after: String, $id: ID!) {
      orders(first: $first, after: $after, where: {note: {contains: $note}, orderDate: {gt: $date}, discount: {gte: $price}}) {
        nodes { id items { item { name } } } totalCount pageInfo { endCursor }
      }
      node(id: $id) { id }
    }"""
    first = {"first": 2, "note": "a", "date": "1996-01-01T00:00:00Z", "price": "0", "id": "Order:1"}
    cursor = (await ask_shop.data(query, {**first, "after": None}))["orders"]["pageInfo"]["endCursor"]
    await ask_shop.data(query, {**first, "after": cursor})
    before = str(engine_of(ask_shop).counters)
    sql = statements.sql[-1]
    statements.clear()

    other = {"first": 2, "note": "e", "date": "1997-01-01T00:00:00Z", "price": 1.5, "id": "Order:77", "after": cursor}
    data = await ask_shop.data(query, other)

    assert data["node"] == {"id": "Order:77"}
    assert str(engine_of(ask_shop).counters) == before
    assert statements.sql == [sql]


async def test_no_answer_is_kept(shop_database: Database, ask_shop: Ask) -> None:
    query = '{ item(by: {sku: "NW-1"}) { stock } }'
    for stock in (5, 6, None):
        async with shop_database.session() as session, session.begin():
            (await session.get_one(Item, 1)).stock = stock
        assert await ask_shop.data(query) == {"item": {"stock": stock}}


@pytest.mark.parametrize("engines", ["sqlite"], indirect=True)
async def test_a_flood_of_documents_takes_no_memory(ask_shop_with: AskWith) -> None:
    async with ask_shop_with(max_plans=20) as ask:
        engine, database = engine_of(ask), ask.app.state.database
        engine.counters.parsed = engine.counters.planned = 0

        async def flood(start: int, end: int) -> None:
            for number in range(start, end):
                await engine.run(f"query Q{number} {{ __typename }}", {}, None, Context(database))

        await flood(0, 9_000)
        # Traced only now, since tracing takes ten times the time; what a document leaves behind shows all the same.
        tracemalloc.start()
        try:
            await flood(9_000, 9_100)
            gc.collect()
            early = tracemalloc.get_traced_memory()[0]
            tracemalloc.reset_peak()
            await flood(9_100, 10_000)
            peak = tracemalloc.get_traced_memory()[1]
            gc.collect()
            late = tracemalloc.get_traced_memory()[0]
        finally:
            tracemalloc.stop()
        assert len(engine.documents) == len(engine.plans) == 20
        assert engine.counters.parsed == engine.counters.planned == 10_000
        assert late - early < 200_000
        assert peak - early < 10_000_000  # what the collector has not yet looked at


async def test_the_shapes_that_are_kept_are_bounded(ask_shop_with: AskWith) -> None:
    query = "query($where: OrderWhere) { orders(where: $where, first: 1) { nodes { id } } }"
    async with ask_shop_with(max_plans=5) as ask:
        for length in range(1, 30):
            await ask.data(query, {"where": {"or": [{"note": {"eq": "x"}}] * length}})
        assert len(engine_of(ask).plans) == 5


async def test_the_document_used_last_stays(ask_shop_with: AskWith) -> None:
    async with ask_shop_with(max_plans=3) as ask:
        engine_of(ask).counters.parsed = 0
        for other in range(10):
            await ask.data("{ __typename }")
            await ask.data(f"{{ a{other}: __typename }}")
        assert engine_of(ask).counters.parsed == 11


# ---- limits


def code(answer: dict[str, Any]) -> str:
    (error,) = answer["errors"]
    assert "data" not in answer
    return str(error["extensions"]["code"])


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


async def test_limits_refuse_before_any_statement(ask_shop: Ask, statements: Statements) -> None:
    for name, (query, expected) in LIMITS.items():
        assert code(await ask_shop(query)) == expected, name
    assert len(statements) == 0


async def test_just_within_the_limits(ask_shop: Ask) -> None:
    await ask_shop.data("{ " + " ".join(f"a{n}: __typename" for n in range(20)) + " }")
    await ask_shop.data('{ node(id: "Order:1") { ' + "... @include(if: true) { id } " * 50 + "} }")
    await ask_shop.data(spreads(4))


@pytest.mark.parametrize("arguments", ["first: 1", "last: 1", "first: 1, where: {items: {none: {quantity: {gt: 1000}}}}"])
@pytest.mark.parametrize("levels", [1, 2, 3, 4])
async def test_a_deep_selection_is_answered(ask_shop: Ask, levels: int, arguments: str) -> None:
    query = nested(levels).replace("orders {", f"orders({arguments}) {{ pageInfo {{ hasNextPage }}")
    page = (await ask_shop.data(query))["order"]
    for _ in range(levels):
        (page,) = page["customer"]["orders"]["nodes"]
    assert page["id"].startswith("Order:")


@pytest.mark.parametrize("levels", [1, 2, 3, 4, 5, 6, 8, 12])
async def test_a_filter_through_some_relations_is_answered_and_through_more_refused(ask_shop: Ask, levels: int) -> None:
    where = "{customer: {orders: {some: " * levels + '{id: {eq: "Order:1"}}' + "}}}" * levels
    answer = await ask_shop(f"{{ orders(where: {where}) {{ totalCount }} }}")
    if levels <= 2:
        assert answer == {"data": {"orders": {"totalCount": 5}}}
    else:
        assert code(answer) == "BAD_USER_INPUT"


async def test_the_standard_introspection_query_is_within_the_limits(ask_shop: Ask) -> None:
    found = await ask_shop.data(get_introspection_query(input_value_deprecation=True, specified_by_url=True))
    assert "Customer" in {type_["name"] for type_ in found["__schema"]["types"]}


@pytest.mark.parametrize(
    "where",
    [
        {"or": [{"note": {"eq": "x"}}] * 3000},
        {"id": {"in": [f"Order:{n}" for n in range(1, 20_000)]}},
        {"note": {"in": ["x"] * 20_000}},
    ],
)
async def test_a_large_filter_is_refused(ask_shop: Ask, where: dict[str, Any]) -> None:
    answer = await ask_shop("query($w: OrderWhere) { orders(where: $w) { totalCount } }", {"w": where})
    assert code(answer) == "BAD_USER_INPUT"


@pytest.mark.parametrize("depth", [3, 10, 11, 100, 400, 5000])
async def test_a_deep_filter_is_answered_and_a_deeper_one_refused(ask_shop: Ask, depth: int) -> None:
    where: dict[str, Any] = {"note": {"eq": "x"}}
    for _ in range(depth):
        where = {"not": where}
    body = "{}"
    try:
        body = json.dumps(where)
    except RecursionError:
        body = '{"not":' * depth + "{}" + "}" * depth
    text = '{"query": "query($w: OrderWhere) { orders(where: $w) { totalCount } }", "variables": {"w": ' + body + "}}"
    answer = json.loads(
        (await ask_shop.client.post("/graphql", content=text, headers={"content-type": "application/json"})).content
    )
    if depth <= 11:
        assert answer == {"data": {"orders": {"totalCount": 831 if depth % 2 else 0}}}
    else:
        assert code(answer) == ("BAD_USER_INPUT" if depth <= 400 else "BAD_REQUEST")

    if depth <= 400:
        literal_ = "{not: " * depth + '{note: {eq: "x"}}' + "}" * depth
        literally = await ask_shop(f"{{ orders(where: {literal_}) {{ totalCount }} }}")
        if depth <= 11:
            assert literally == answer
        else:
            assert code(literally) == ("BAD_USER_INPUT" if depth == 100 else "GRAPHQL_PARSE_FAILED")


# ---- cost

COSTS: list[tuple[str, dict[str, Any], int]] = [
    ('{ order(by: {id: "Order:1"}) { id } }', {}, 1),
    ('{ order(by: {id: "Order:1"}) { customer { id } items { item { id } } } }', {}, 1 + 1 + 10 * (1 + 1)),
    ("{ orders { nodes { id } } }", {}, 50),
    ("{ orders { totalCount } }", {}, 1),
    ("{ customers { nodes { orders { totalCount nodes { id } } } } }", {}, 50 * (1 + 1 + 10)),
    ("{ customers { nodes { orders(last: 3) { edges { node { customer { id } } } } } } }", {}, 50 * (1 + 3 * 2)),
    ('{ orders(first: 2, where: {items: {some: {item: {sku: {eq: "x"}}}}}) { nodes { id } } }', {}, 2 + 10 + 10),
    ("{ orderSummary { totalAmount { sum } } }", {}, 1),
    ("{ orderSummary(groupBy: [CUSTOMER], first: 7) { customer { id } } }", {}, 7 * 2),
    ("{ orders { pageInfo { hasNextPage } } }", {}, 50),
    ("{ orders(first: 7) { nodes { id } edges { cursor node { customer { id } } } totalCount } }", {}, 7 * 2 + 1),
    ("{ orders(last: 3) { nodes { items { id } } } }", {}, 3 * 11),
    ("query($n: Int) { orders(first: $n) { nodes { id } } }", {"n": 9}, 9),
    ("query($n: Int) { orders(first: $n) { nodes { id } } }", {"n": 0}, 0),
    ("query($n: Int = 4) { orders(first: $n) { nodes { id } } }", {}, 4),
    ("query($y: Boolean!) { orders(first: 2) { nodes { customer @include(if: $y) { id } } } }", {"y": True}, 4),
    ("query($y: Boolean!) { orders(first: 2) { nodes { customer @include(if: $y) { id } } } }", {"y": False}, 2),
    ('{ nodes(ids: ["Order:1", "Order:2", "Item:1", "x"]) { id ... on Order { items { id } } } }', {}, 11 + 11 + 1),
    ("{ __schema { types { name fields { name } } } __typename }", {}, 0),
]


async def test_the_cost_is_reported_on_request(ask_shop: Ask) -> None:
    for query, variables, cost in COSTS:
        answer = await ask_shop(query, variables, extensions={"cost": True})
        assert answer["extensions"] == {"cost": cost}, query
        assert "extensions" not in await ask_shop(query, variables)


async def test_cost_counts_variables_and_refuses_before_any_statement(ask_shop: Ask, statements: Statements) -> None:
    query = """query($n: Int) {
      orders(first: $n) { nodes { customer { orders(first: $n) { nodes { customer { id } } } } } }
    }"""
    assert "data" in await ask_shop(query, {"n": 76})
    statements.clear()
    for _ in range(2):
        assert code(await ask_shop(query, {"n": 77})) == "OPERATION_TOO_EXPENSIVE"
    assert len(statements) == 0


async def test_the_first_query_that_comes_to_mind_is_answered(ask_sample: Ask) -> None:
    data = await ask_sample.data("{ customers { nodes { name orders { nodes { number items { quantity item { name } } } } } } }")
    customers = data["customers"]["nodes"]
    assert len(customers) == 50
    assert max(len(customer["orders"]["nodes"]) for customer in customers) == 10


async def test_a_connection_of_a_row_has_a_page_size_of_its_own(
    ask_shop_with: AskWith,
) -> None:
    query = """{
      orders { nodes { id } }
      item(by: {id: "Item:2"}) {
        orderItems { nodes { id } pageInfo { hasNextPage } }
        more: orderItems(first: 5) { nodes { id } }
      }
    }"""
    async with ask_shop_with(default_page_size=4, nested_page_size=3) as ask:
        data = await ask.data(query)
        assert len(data["orders"]["nodes"]) == 4
        assert [len(data["item"][key]["nodes"]) for key in ("orderItems", "more")] == [3, 5]
        assert data["item"]["orderItems"]["pageInfo"] == {"hasNextPage": True}


#: A query whose `SIZE` is too much under a limit of 100, and what its refusal says: the field, its share, what to write.
DEAREST: list[tuple[str, str, str, list[str], float, str | None]] = [
    ("one connection", "{ orders(SIZE) { nodes { customer { id } } } }", "first: 60", ["orders"], 1.0, "first: 50"),
    ("from the end", "{ orders(SIZE) { nodes { customer { id } } } }", "last: 60", ["orders"], 1.0, "last: 50"),
    (
        "one inside another",
        "{ all: customers(first: 9) { nodes { id mine: orders(SIZE) { edges { node { items { id } } } } } } }",
        "first: 10",
        ["all", "nodes", "mine"],
        990 / 999,
        None,
    ),
    (
        "one inside another that is large enough",
        "{ all: customers(first: 3) { nodes { id mine: orders(SIZE) { edges { node { items { id } } } } } } }",
        "first: 10",
        ["all", "nodes", "mine"],
        330 / 333,
        "first: 2",
    ),
    (
        "the one around, where a row of the inner one is too much",
        "{ customers(SIZE) { nodes { orders(first: 1) { nodes { items { item { id } } } } } } }",
        "first: 9",
        ["customers"],
        1.0,
        "first: 4",
    ),
    (
        "one of several",
        "{ customers(first: 20) { nodes { id } } orders(SIZE) { nodes { customer { id } } } items(first: 10) { nodes { id } } }",
        "first: 50",
        ["orders"],
        100 / 130,
        "first: 35",
    ),
    (
        "a summary",
        "{ orderSummary(groupBy: [CUSTOMER], SIZE) { customer { id } } }",
        "first: 90",
        ["orderSummary"],
        1.0,
        "first: 50",
    ),
    (
        "a list without pages",
        '{ order(by: {id: "Order:1"}) { items { order { items { id } } } } }',
        "",
        ["order", "items", "order", "items"],
        100 / 121,
        None,
    ),
    (
        "a filter",
        "{ orders(SIZE, where: {items: {some: {item: {orderItems: {some: {quantity: {gt: 1}}}}}}}) { nodes { id } } }",
        "first: 1",
        ["orders"],
        1.0,
        None,
    ),
]


@pytest.mark.parametrize(
    ("query", "size", "field", "share", "suggestion"), [case[1:] for case in DEAREST], ids=[c[0] for c in DEAREST]
)
async def test_a_refusal_for_cost_names_the_dearest_field_and_what_to_write(
    ask_shop_with: AskWith,
    query: str,
    size: str,
    field: list[str],
    share: float,
    suggestion: str | None,
) -> None:
    async with ask_shop_with(max_cost=100) as ask:
        (error,) = (await ask(query.replace("SIZE", size)))["errors"]
        told = {**error["extensions"]}
        assert told.pop("requestId")
        assert told.pop("cost") > 100
        assert told == {
            "code": "OPERATION_TOO_EXPENSIVE",
            "limit": 100,
            "field": field,
            "share": round(share, 3),
            "suggestion": suggestion,
        }
        assert ".".join(field) in error["message"]
        if suggestion:
            assert suggestion in error["message"]
            argument, rows = suggestion.split(": ")
            await ask.data(query.replace("SIZE", suggestion))
            assert "errors" in await ask(query.replace("SIZE", f"{argument}: {int(rows) + 1}"))


def rows_in(value: Any) -> int:
    """The rows in an answer: each object with an `id`."""
    if isinstance(value, list):
        return sum(map(rows_in, value))
    if isinstance(value, dict):
        return ("id" in value) + sum(map(rows_in, value.values()))
    return 0


async def test_the_rows_read_are_at_most_the_cost(ask_shop: Ask) -> None:
    query = """query($n: Int) {
      orders(first: $n) { nodes { id customer { id orders(last: $n) { edges { node { id } } } } } }
      items(last: $n) { nodes { id orderItems(first: 3) { nodes { id item { id } order { id customer { id } } } } } }
      nodes(ids: ["Order:1", "Item:1", "Customer:1", "x"]) { id }
    }"""
    for size in (0, 1, 3, 10, 20):
        answer = await ask_shop(query, {"n": size}, extensions={"cost": True})
        assert 0 < rows_in(answer["data"]) <= answer["extensions"]["cost"], size


# ---- injection

HOSTILE = [
    "'; DROP TABLE orders; --",
    "x' OR '1'='1",
    'x" OR "1"="1',
    "$1",
    ":p1",
    "?",
    "%(p1)s",
    "\\'; --",
    "/* */ UNION SELECT",
    "||'",
]


async def test_hostile_texts_never_reach_the_sql(ask_shop: Ask, statements: Statements) -> None:
    query = """query($t: String!, $id: ID!, $ids: [ID!]!) {
      orders(search: $t, where: {note: {contains: $t, ne: $t, in: [$t], gt: $t}, id: {ne: $id}}) { nodes { id } }
      customer(by: {email: $t}) { id } item(by: {sku: $t}) { id } node(id: $id) { id } nodes(ids: $ids) { id }
    }"""
    for text in HOSTILE:
        marked = f"hostile{text}"
        await ask_shop.data(query, {"t": marked, "id": marked, "ids": [marked]})
        quoted = json.dumps(marked)
        await ask_shop.data(
            f"""{{ orders(search: {quoted}, where: {{note: {{contains: {quoted}, in: [{quoted}]}}, id: {{in: [{quoted}]}}}}) {{
              nodes {{ id }}
            }}
            customer(by: {{email: {quoted}}}) {{ id }} node(id: {quoted}) {{ id }} nodes(ids: [{quoted}]) {{ id }} }}"""
        )
    assert not [sql for sql in statements.sql if "hostile" in sql]
    assert len({*statements.sql}) == 2
    assert (await ask_shop.data("{ orders { totalCount } }"))["orders"]["totalCount"] == 831


# ---- language


async def test_merged_fields_fragments_and_aliases(ask_shop: Ask) -> None:
    query = """
    query Main($id: ID!) {
      node(id: $id) { id } node(id: $id) { ...all ... on Order { customer { name } } }
      first: order(by: {id: $id}) { customer { id } customer { ... { name again: name } } items { position } items { ...line } }
    }
    fragment all on Node { __typename ... on Order { number } ... on Item { sku } ... on Node { id } }
    fragment line on OrderItem { quantity item { name ...all } }
    query Other { __typename }
    """
    found = await ask_shop.data(query, {"id": "Order:1"}, operationName="Main")
    assert found["node"] == {
        "id": "Order:1",
        "__typename": "Order",
        "number": "SO-1",
        "customer": {"name": found["first"]["customer"]["name"]},
    }
    assert list(found["first"]["customer"]) == ["id", "name", "again"]
    assert list(found["first"]["items"][0]) == ["position", "quantity", "item"]
    assert list(found["first"]["items"][0]["item"]) == ["name", "__typename", "sku", "id"]
    assert await ask_shop.data(query, {"id": "Order:1"}, operationName="Other") == {"__typename": "Query"}


async def test_an_order_by_that_names_a_field_twice_takes_the_first(shop_database: Database, ask_shop: Ask) -> None:
    order = [{"field": "TOTAL_AMOUNT", "direction": "DESC"}, {"field": "TOTAL_AMOUNT", "direction": "ASC"}]
    async with shop_database.session() as session:
        rows = list(await session.scalars(select(Order)))
    found = await ask_shop.data("query($o: [OrderSort!]) { orders(orderBy: $o, first: 5) { nodes { id } } }", {"o": order})
    assert found["orders"]["nodes"] == [{"id": f"Order:{row.id}"} for row in ordered(rows, order)[:5]]


@pytest.mark.parametrize(("pause", "status"), [(0.0, 200), (30.0, 408)])
async def test_a_body_that_does_not_arrive_in_half_the_time(ask_with: AskWith, pause: float, status: int) -> None:
    async def parts() -> AsyncIterator[bytes]:
        yield b'{"query": '
        await asyncio.sleep(pause)
        yield b'"{ customers { totalCount } }"}'

    async with ask_with(request_timeout_seconds=1.0) as ask:
        answer = await ask.client.post("/graphql", content=parts(), headers={"content-type": "application/json"})
        assert answer.status_code == status
        assert status == 200 or code(answer.json()) == "REQUEST_TIMEOUT"

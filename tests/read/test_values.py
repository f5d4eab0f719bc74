"""Values: ids, texts, numbers and times come back as they were stored, and are found by what they are."""

from __future__ import annotations

import json

import pytest

from graph.database import Database
from graph.models import Customer, Item, Order, OrderItem
from tests import shop
from tests.conftest import Ask

SHOP = "varied"

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


async def test_money_is_taken_by_its_text(shop: Ask) -> None:
    query = "query($price: Decimal) { items(where: {price: {eq: $price}}) { totalCount } }"
    expected = (await shop.data(query, {"price": "18.00"}))["items"]["totalCount"]
    assert expected > 0
    for price in (18, 18.0, "18", "18.0", "1.8e1", "+18", "1800e-2", "018"):
        assert (await shop.data(query, {"price": price}))["items"]["totalCount"] == expected, price
    for text in ("18", "18.0", "1.8e1", '"18.00"'):
        found = await shop.data(f"{{ items(where: {{price: {{eq: {text}}}}}) {{ totalCount }} }}")
        assert found["items"]["totalCount"] == expected, text


async def test_not_in_an_empty_list_still_wants_a_value(shop: Ask) -> None:
    query = "query($none: [Int!]) { items(where: {stock: {notIn: $none}}) { totalCount } }"
    tracked = await shop.data("{ items(where: {stock: {isNull: false}}) { totalCount } }")
    assert await shop.data("{ items(where: {stock: {notIn: []}}) { totalCount } }") == tracked
    for none in ([], [-1]):
        assert await shop.data(query, {"none": none}) == tracked


async def test_a_malformed_id_answers_null(shop: Ask) -> None:
    query = "query($id: ID!) { node(id: $id) { id } nodes(ids: [$id, $id]) { id } order(by: {id: $id}) { id } }"
    keys = ["", "0", "01", "+1", "-1", "1 ", " 1", "1.0", "1e0", "0x1", "٣", "²", "9223372036854775808", "9" * 30, "1:1"]
    for id_ in ("", ":", "Order", "Order 1", "Order;1", " Order:1", "😀:1", *(f"Order:{key}" for key in keys)):
        assert await shop.data(query, {"id": id_}) == {"node": None, "nodes": [None, None], "order": None}, id_


async def test_an_id_of_another_type_or_case_answers_null(shop: Ask) -> None:
    query = "query($id: ID!) { node(id: $id) { id } order(by: {id: $id}) { id } }"
    for id_ in ("order:1", "ORDER:1", "Query:1", "PageInfo:1", "Node:1", "Order:١", "Order:9223372036854775807", "1"):
        assert await shop.data(query, {"id": id_}) == {"node": None, "order": None}, id_
    assert await shop.data(query, {"id": "Customer:1"}) == {"node": {"id": "Customer:1"}, "order": None}
    assert await shop.data(query, {"id": "Order:1"}) == {"node": {"id": "Order:1"}, "order": {"id": "Order:1"}}

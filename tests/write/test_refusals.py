"""Mutations that are refused: every reason at its place in the input, the same on both databases, and no residue."""

from __future__ import annotations

from typing import Any

import pytest

from tests import stock
from tests.conftest import Ask
from tests.words import codes, count, done, mutate, refusals

#: Ada with one order of two lines of item A, and an item B.
SHOP = [
    stock.item("A", name="Apple"),
    stock.item("B", 2, name="Bee"),
    stock.customer("Ada", [stock.line("A"), stock.line("A", 2)]),
]


def customer(*orders: dict[str, Any], email: str = "new@example.com", name: str = "New") -> dict[str, Any]:
    return {"name": name, "email": email, "orders": list(orders)}


def line(sku: str = "A", quantity: int = 1, **more: Any) -> dict[str, Any]:
    return {"item": {"sku": sku}, "quantity": quantity, **more}


async def test_all_violations_of_one_input_come_in_one_answer(shop: Ask) -> None:
    before = await count(shop)
    given = customer({"items": [line(), line(), line("missing")]}, {"items": [line(quantity=0)]}, email=" ADA@example.com")
    assert await refusals(shop, "createCustomer", given) == [
        ("UNIQUE", "input.email"),
        ("REFERENCE_NOT_FOUND", "input.orders.0.items.2.item.sku"),
        ("CHECK", "input.orders.1.items.0.quantity"),
    ]
    assert await count(shop) == before


CASES: dict[str, tuple[str, dict[str, Any], list[tuple[str, str]]]] = {
    "a blank name, a malformed address": (
        "createCustomer",
        customer(name=" ", email="nobody"),
        [("INVALID_INPUT", "input.name"), ("INVALID_INPUT", "input.email")],
    ),
    "a negative price and a taken sku": (
        "createItem",
        {"sku": "A", "name": "x", "price": "-1"},
        [("UNIQUE", "input.sku"), ("CHECK", "input.price")],
    ),
    "two items made with one sku": (
        "createCustomer",
        customer({"items": [{"item": {"create": {"sku": "N", "name": "n", "price": "1"}}, "quantity": 1}] * 2}),
        [("UNIQUE", "input.orders.0.items.1.item.create.sku")],
    ),
    "a price that is too low, deep inside": (
        "createOrder",
        {
            "customer": {"id": "Customer:1"},
            "items": [line(), {"item": {"create": {"sku": "N", "name": "n", "price": "-1"}}, "quantity": 1, "pricePaid": "1"}],
        },
        [("CHECK", "input.items.1.item.create.price")],
    ),
    "a customer of the wrong type of id": (
        "createOrder",
        {"customer": {"id": "Item:1"}, "items": [line("missing")]},
        [("REFERENCE_NOT_FOUND", "input.customer.id"), ("REFERENCE_NOT_FOUND", "input.items.0.item.sku")],
    ),
    "a customer nobody knows": (
        "createOrder",
        {"customer": {"email": "no@example.com"}},
        [("REFERENCE_NOT_FOUND", "input.customer.email")],
    ),
    "a discount above the subtotal": (
        "createOrder",
        {"customer": {"id": "Customer:1"}, "discount": "1.01", "items": [line()]},
        [("CHECK", "input.discount")],
    ),
    "a negative discount": (
        "createOrder",
        {"customer": {"id": "Customer:1"}, "discount": "-1", "items": [line()]},
        [("CHECK", "input.discount")],
    ),
    "more than a BIGINT holds": (
        "createOrder",
        {"customer": {"id": "Customer:1"}, "items": [line(quantity=2**31 - 1, pricePaid="9999999999")] * 4},
        [("CHECK", f"input.items.{n}.quantity") for n in range(4)],
    ),
    "required values cleared": (
        "updateOrder",
        {"id": "Order:1", "discount": None, "orderDate": None, "items": {"update": [{"id": "OrderItem:1", "item": None}]}},
        [("REQUIRED", "input.discount"), ("REQUIRED", "input.orderDate"), ("REQUIRED", "input.items.update.0.item")],
    ),
    "lines that are not there": (
        "updateOrder",
        {"id": "Order:1", "items": {"update": [{"id": "OrderItem:9"}], "remove": ["OrderItem:1", "Order:1", "OrderItem:1"]}},
        [
            ("NOT_FOUND", "input.items.update.0.id"),
            ("NOT_FOUND", "input.items.remove.1"),
            ("INVALID_INPUT", "input.items.remove.2"),
        ],
    ),
    "a line that is changed and removed": (
        "updateOrder",
        {"id": "Order:1", "items": {"remove": ["OrderItem:1"], "update": [{"id": "OrderItem:1", "quantity": 5}]}},
        [("INVALID_INPUT", "input.items.update.0.id")],
    ),
    "a line that is changed twice, beside a wrong one": (
        "updateOrder",
        {"id": "Order:1", "items": {"update": [{"id": f"OrderItem:{n}", "quantity": n - 1} for n in (2, 1, 2)]}},
        [("CHECK", "input.items.update.1.quantity"), ("INVALID_INPUT", "input.items.update.2.id")],
    ),
    "a line that is kept twice": (
        "updateOrder",
        {"id": "Order:1", "items": {"replace": [{"id": "OrderItem:1"}, {"id": "OrderItem:2"}, {"id": "OrderItem:1"}]}},
        [("INVALID_INPUT", "input.items.replace.2.id")],
    ),
    "an order that is removed and changed": (
        "updateCustomer",
        {"id": "Customer:1", "orders": {"remove": ["Order:1"], "update": [{"id": "Order:1", "note": "x"}]}},
        [("INVALID_INPUT", "input.orders.update.0.id")],
    ),
    "a line of a customer's order that is removed twice": (
        "updateCustomer",
        {"id": "Customer:1", "orders": {"update": [{"id": "Order:1", "items": {"remove": ["OrderItem:1", "OrderItem:1"]}}]}},
        [("INVALID_INPUT", "input.orders.update.0.items.remove.1")],
    ),
    "an order that is kept twice, and a line of it that is removed and changed": (
        "updateCustomer",
        {
            "id": "Customer:1",
            "orders": {
                "replace": [
                    {"id": "Order:1", "items": {"remove": ["OrderItem:1"], "update": [{"id": "OrderItem:1"}]}},
                    {"id": "Order:1", "note": "again"},
                ]
            },
        },
        [("INVALID_INPUT", "input.orders.replace.0.items.update.0.id"), ("INVALID_INPUT", "input.orders.replace.1.id")],
    ),
    "a changed line and a new one": (
        "updateOrder",
        {"id": "Order:1", "items": {"update": [{"id": "OrderItem:1", "quantity": 0}], "create": [line(quantity=100_001)]}},
        [("CHECK", "input.items.update.0.quantity"), ("CHECK", "input.items.create.0.quantity")],
    ),
    "lines taken away under the discount": (
        "updateOrder",
        {"id": "Order:1", "discount": "3", "items": {"remove": ["OrderItem:1"]}},
        [("CHECK", "input.discount")],
    ),
    "an order that is not there": ("updateOrder", {"id": "Order:9", "discount": None}, [("NOT_FOUND", "input.id")]),
    "an item that was sold": ("deleteItem", {"id": "Item:1"}, [("STILL_REFERENCED", "input.id")]),
    "an item that is not there": ("deleteItem", {"id": "Item:9"}, [("NOT_FOUND", "input.id")]),
    "a customer that is not there": ("deleteCustomer", {"id": "Order:1"}, [("NOT_FOUND", "input.id")]),
    "an order by nonsense": ("deleteOrder", {"id": "x"}, [("NOT_FOUND", "input.id")]),
}


@pytest.mark.parametrize("name", CASES)
async def test_it_is_refused_at_its_place_and_leaves_nothing(shop: Ask, name: str) -> None:
    field, given, expected = CASES[name]
    everything = """{ customers { nodes { id version } } items { nodes { id version } }
        orders { nodes { id version totalAmount items { id quantity } } } }"""
    before = await shop(everything)
    assert await refusals(shop, field, given) == expected
    assert await shop(everything) == before


async def test_a_discount_that_others_make_too_high_is_reported_at_the_lines(shop: Ask) -> None:
    await done(shop, "updateOrder", {"id": "Order:1", "discount": "3"})
    given = {"id": "Order:1", "items": {"update": [{"id": "OrderItem:2", "quantity": 1}]}}
    assert await refusals(shop, "updateOrder", given) == [("CHECK", "input.items")]


async def test_a_conflict_carries_the_row_in_the_way(shop: Ask) -> None:
    query = """mutation { a: createCustomer(input: {name: "x", email: "ADA@example.com"}) { errors {
        ... on UniqueError { fields constraint first: existing { ... on Customer { email } } existing { id __typename } } } } }"""
    answer = await shop(query)
    assert answer["data"]["a"]["errors"] == [
        {
            "fields": ["email"],
            "constraint": "uq_customer_email",
            "first": {"email": "ada@example.com"},
            "existing": {"id": "Customer:1", "__typename": "Customer"},
        }
    ]


async def test_a_sold_item_says_who_needs_it(shop: Ask) -> None:
    payload = await mutate(shop, "deleteItem", {"id": "Item:1"})
    assert payload["errors"][0]["byType"] == [{"type": "OrderItem", "count": 2}]
    assert payload["errors"][0]["count"] == 2


async def test_lines_change_only_while_the_order_is_pending(shop: Ask, database: Any) -> None:
    async with database.engine.begin() as connection:
        await connection.exec_driver_sql("UPDATE orders SET status = 'SHIPPED'")
    given = {"id": "Order:1", "items": {"update": [{"id": "OrderItem:1", "quantity": 0}], "create": [line("missing")]}}
    assert await refusals(shop, "updateOrder", given) == [
        ("NOT_EDITABLE", "input.items"),
        ("CHECK", "input.items.update.0.quantity"),
        ("REFERENCE_NOT_FOUND", "input.items.create.0.item.sku"),
    ]
    await done(shop, "updateOrder", {"id": "Order:1", "note": "a note is no line"})
    await done(shop, "deleteOrder", {"id": "Order:1"})


async def test_a_discount_changes_only_while_the_order_is_pending(shop: Ask) -> None:
    await done(shop, "updateOrder", {"id": "Order:1", "discount": "1"})
    await done(shop, "transitionOrder", {"id": "Order:1", "to": "PAID"})
    given: dict[str, Any] = {"id": "Order:1", "discount": "2", "note": "x", "items": {"remove": ["OrderItem:1"]}}
    assert await refusals(shop, "updateOrder", given) == [
        ("NOT_EDITABLE", "input.discount"),
        ("NOT_EDITABLE", "input.items"),
    ]
    for way in ("update", "replace"):
        payload = await mutate(shop, "updateCustomer", {"id": "Customer:1", "orders": {way: [given]}})
        assert [(e["code"], ".".join(e["path"]), e["status"]) for e in payload["errors"]] == [
            ("NOT_EDITABLE", f"input.orders.{way}.0.discount", "PAID"),
            ("NOT_EDITABLE", f"input.orders.{way}.0.items", "PAID"),
        ]
    payload = await done(
        shop, "updateOrder", {"id": "Order:1", "discount": "1.00", "note": "x"}, "order { note discount version }"
    )
    assert payload["order"] == {"note": "x", "discount": "1.00", "version": 4}


async def test_the_later_of_two_places_is_the_later_as_sent(shop: Ask) -> None:
    removed, changed = '["OrderItem:1"]', '[{id: "OrderItem:1", quantity: 5}]'
    query = f"""mutation ($first: [UpdateOrderItemInput!]!, $whole: UpdateOrderInput!) {{
        a: updateOrder(input: {{id: "Order:1", items: {{remove: {removed}, update: {changed}}}}}) {{ errors {{ code path }} }}
        b: updateOrder(input: {{id: "Order:1", items: {{update: {changed}, remove: {removed}}}}}) {{ errors {{ code path }} }}
        c: updateOrder(input: {{items: {{update: $first, remove: {removed}}}, id: "Order:1"}}) {{ errors {{ code path }} }}
        d: updateOrder(input: $whole) {{ errors {{ code path }} }} }}"""
    update = [{"id": "OrderItem:1", "quantity": 5}]
    whole = {"items": {"update": update, "create": [], "remove": ["OrderItem:2", "OrderItem:1"]}, "id": "Order:1"}
    data = await shop.data(query, {"first": update, "whole": whole})
    assert [codes(data[key]) for key in "abcd"] == [
        [("INVALID_INPUT", "input.items.update.0.id")],
        [("INVALID_INPUT", "input.items.remove.0")],
        [("INVALID_INPUT", "input.items.remove.0")],
        [("INVALID_INPUT", "input.items.remove.1")],
    ]
    found = await shop.data('{ order(by: {id: "Order:1"}) { version items { quantity } } }')
    assert found["order"] == {"version": 1, "items": [{"quantity": 1}, {"quantity": 2}]}


@pytest.mark.parametrize("id_", ["x", "", "Item:1", "Order:01", "Order:-1", "order:1", "T3JkZXI6MQ==", "Order:1" * 1_000])
async def test_what_is_no_id_of_the_type_is_told_what_one_looks_like(shop: Ask, id_: str) -> None:
    form = 'This is no global id of Order, which looks like "Order:42"'
    customer = {"id": "Customer:1", "orders": {"update": [{"id": id_}], "replace": None}}
    for field, given in (("deleteOrder", {"id": id_}), ("updateOrder", {"id": id_}), ("updateCustomer", customer)):
        payload = await mutate(shop, field, given)
        assert [error["message"] for error in payload["errors"] if error["code"] == "NOT_FOUND"] == [form]
    payload = await mutate(shop, "createOrder", {"customer": {"id": id_}, "items": []})
    assert [(error["code"], error["message"]) for error in payload["errors"]] == [
        ("REFERENCE_NOT_FOUND", form.replace("Order", "Customer"))
    ]
    payload = await mutate(shop, "deleteOrder", {"id": "Order:42"})
    assert [error["message"] for error in payload["errors"]] == ["There is no Order with this id"]


async def test_the_connection_goes_back_whatever_happens(shop: Ask, database: Any) -> None:
    assert await refusals(shop, "createItem", {"sku": "A", "name": "x", "price": "1"}) == [("UNIQUE", "input.sku")]
    assert shop.app.state.database.engine.pool.checkedout() == 0


@pytest.mark.parametrize(
    "form",
    [
        """mutation { mine: createOrder(input: {customer: {email: "no@example.com"},
            items: [{item: {create: {sku: "A", name: "x", price: 1}}, quantity: 0}]}) { e: errors { c: code p: path } } }""",
        """mutation ($quantity: Int = 0, $ref: ItemReference! = {create: {sku: "A", name: "x", price: 1}}) {
            mine: createOrder(input: {customer: {email: "no@example.com"}, items: [{item: $ref, quantity: $quantity}]}) {
                e: errors { c: code p: path } } }""",
        """mutation ($items: [OrderItemInput!]! = [{item: {create: {sku: "A", name: "x", price: 1}}, quantity: 0}],
            $email: String! = "no@example.com") { mine: createOrder(input: {customer: {email: $email}, items: $items}) { ...E } }
            fragment E on CreateOrderPayload { e: errors { c: code p: path } }""",
    ],
    ids=["literal", "variables inside", "lists of variables and a fragment"],
)
async def test_paths_are_the_same_however_the_input_is_written(shop: Ask, form: str) -> None:
    assert (await shop(form))["data"]["mine"]["e"] == [
        {"c": "REFERENCE_NOT_FOUND", "p": ["input", "customer", "email"]},
        {"c": "UNIQUE", "p": ["input", "items", "0", "item", "create", "sku"]},
        {"c": "CHECK", "p": ["input", "items", "0", "quantity"]},
    ]

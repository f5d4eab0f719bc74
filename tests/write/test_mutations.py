"""Mutations that succeed: what is written, what is answered, in how many statements."""

from __future__ import annotations

from typing import Any

import pytest

from graph.database import Database
from graph.models import Customer, Order
from tests.conftest import Ask, Statements
from tests.stock import item
from tests.words import CUSTOMER, ITEM, ORDER, count, done

#: Two items, A at 1.50 and B at 2.
SHOP = [item("A", "1.50", name="Item A"), item("B", 2, name="Item B")]


def lines(*skus: str) -> list[dict[str, Any]]:
    return [{"item": {"sku": sku}, "quantity": index} for index, sku in enumerate(skus, start=1)]


async def test_an_item_is_made(ask: Ask) -> None:
    payload = await done(ask, "createItem", {"sku": "A", "name": "Apple", "price": "1.5", "stock": 3}, f"item {ITEM}")
    assert payload["item"] == {"id": "Item:1", "version": 1, "sku": "A", "name": "Apple", "price": "1.50", "stock": 3}


async def test_a_customer_is_made_with_orders_lines_and_items(shop: Ask) -> None:
    given = {
        "name": "Ada",
        "email": " Ada@Example.COM ",
        "orders": [
            {
                "note": "first",
                "items": [
                    {"item": {"sku": "A"}, "quantity": 2},
                    {"item": {"id": "Item:2"}, "quantity": 3, "pricePaid": "1"},
                    {"item": {"create": {"sku": "C", "name": "New", "price": "0.10"}}, "quantity": 1},
                ],
            },
            {"discount": "0.50", "items": lines("B")},
            {},
        ],
    }
    customer = (await done(shop, "createCustomer", {**given}, f"customer {CUSTOMER}"))["customer"]
    assert customer["email"] == "ada@example.com"
    orders = customer["orders"]["nodes"]
    assert [order["number"] for order in orders] == ["SO-1", "SO-2", "SO-3"]
    assert [order["totalAmount"] for order in orders] == ["6.10", "1.50", "0.00"]
    assert [order["subtotal"] for order in orders] == ["6.10", "2.00", "0.00"]
    assert [(line["position"], line["item"]["sku"], line["pricePaid"]) for line in orders[0]["items"]] == [
        (1, "A", "1.50"),
        (2, "B", "1.00"),
        (3, "C", "0.10"),
    ]
    assert await count(shop) == (1, 3, 3)


@pytest.mark.parametrize("by", ["id", "email", "create"])
async def test_an_order_is_made_for_a_customer(shop: Ask, by: str) -> None:
    made = await done(shop, "createCustomer", {"name": "Ada", "email": "ada@example.com"}, "customer { id }")
    reference = {
        "id": {"id": made["customer"]["id"]},
        "email": {"email": "ADA@example.com"},
        "create": {"create": {"name": "Bob", "email": "bob@example.com"}},
    }[by]
    payload = await done(
        shop, "createOrder", {"customer": reference, "items": lines("A", "A")}, "order { totalAmount customer { email } }"
    )
    assert payload["order"] == {
        "totalAmount": "4.50",
        "customer": {"email": "bob@example.com" if by == "create" else "ada@example.com"},
    }


async def test_lines_are_created_updated_and_removed_through_the_order(shop: Ask) -> None:
    customer = {"create": {"name": "Ada", "email": "ada@example.com"}}
    await done(shop, "createOrder", {"customer": customer, "items": lines("A", "B", "A")})
    items = {
        "create": [{"item": {"sku": "B"}, "quantity": 9}],
        "update": [{"id": "OrderItem:1", "quantity": 5, "item": {"sku": "B"}}],
        "remove": ["OrderItem:3"],
    }
    order = (await done(shop, "updateOrder", {"id": "Order:1", "note": "changed", "items": items}, f"order {ORDER}"))["order"]
    assert (order["note"], order["version"], order["totalAmount"]) == ("changed", 2, "29.50")
    assert [(line["id"], line["position"], line["quantity"], line["item"]["sku"]) for line in order["items"]] == [
        ("OrderItem:1", 1, 5, "B"),
        ("OrderItem:2", 2, 2, "B"),
        ("OrderItem:4", 4, 9, "B"),
    ]


async def test_null_clears_and_absent_stays(shop: Ask) -> None:
    customer = {"create": {"name": "Ada", "email": "ada@example.com"}}
    await done(shop, "createOrder", {"customer": customer, "note": "a note", "discount": "1", "items": lines("A")})
    order = (await done(shop, "updateOrder", {"id": "Order:1", "discount": "0.50"}, f"order {ORDER}"))["order"]
    assert (order["note"], order["discount"], order["totalAmount"]) == ("a note", "0.50", "1.00")
    order = (await done(shop, "updateOrder", {"id": "Order:1", "note": None}, f"order {ORDER}"))["order"]
    assert (order["note"], order["version"]) == (None, 3)
    order = (await done(shop, "updateOrder", {"id": "Order:1"}, f"order {ORDER}"))["order"]
    assert order["version"] == 3


async def test_a_version_moves_when_only_a_line_does(shop: Ask) -> None:
    customer = {"create": {"name": "Ada", "email": "ada@example.com"}}
    await done(shop, "createOrder", {"customer": customer, "items": lines("A", "B")})
    changes = {"id": "Order:1", "items": {"update": [{"id": "OrderItem:1", "item": {"sku": "B"}}]}}
    order = (await done(shop, "updateOrder", changes, "order { version customer { version } }"))["order"]
    assert order == {"version": 2, "customer": {"version": 1}}


async def test_deletes_cascade_and_say_what_went(shop: Ask) -> None:
    orders = [{"items": lines("A", "B")}, {"items": lines("A")}, {}]
    await done(shop, "createCustomer", {"name": "Ada", "email": "ada@example.com", "orders": orders})
    payload = await done(shop, "deleteOrder", {"id": "Order:2"}, "deletedIds deleted { orders orderItems }")
    assert payload["deletedIds"] == ["Order:2", "OrderItem:3"]
    assert payload["deleted"] == {"orders": 1, "orderItems": 1}
    payload = await done(shop, "deleteCustomer", {"id": "Customer:1"}, "deletedIds deleted { customers orders orderItems }")
    assert payload["deletedIds"] == ["Customer:1", "Order:1", "Order:3", "OrderItem:1", "OrderItem:2"]
    assert payload["deleted"] == {"customers": 1, "orders": 2, "orderItems": 2}
    payload = await done(shop, "deleteItem", {"id": "Item:1"}, "deletedIds")
    assert payload["deletedIds"] == ["Item:1"]
    assert await count(shop) == (0, 0, 1)


async def test_all_rows_of_an_input_are_made_at_one_time(shop: Ask) -> None:
    times = "createdAt updatedAt"
    selection = f"customer {{ {times} orders {{ nodes {{ {times} orderDate items {{ item {{ {times} }} }} }} }} }}"
    items = [{"item": {"create": {"sku": "C", "name": "C", "price": "1"}}, "quantity": 1}]
    given = {"name": "Ada", "email": "ada@example.com", "orders": [{"items": items}, {}]}
    customer = (await done(shop, "createCustomer", given, selection))["customer"]
    now = customer["createdAt"]
    whole = {"createdAt": now, "updatedAt": now}
    lines_ = [{"item": whole}]
    assert customer == {**whole, "orders": {"nodes": [{**whole, "orderDate": now, "items": made} for made in (lines_, [])]}}


@pytest.mark.parametrize("number", [0, 3, 40])
async def test_a_nested_create_takes_as_many_statements_for_many_rows_as_for_few(
    shop: Ask, statements: Statements, number: int
) -> None:
    statements.clear()
    orders = [{"items": lines("B")}, *[{"discount": "0.01", "items": lines("A", "B", "A")}] * number]
    await done(shop, "createCustomer", {"name": "Ada", "email": "ada@example.com", "orders": orders}, "customer { id }")
    # Look up the items; insert customer, orders, lines; read the payload; tell what changed. Where that can be, there is one
    # statement that inserts, and telling is a part of reading.
    assert len(statements) == (3 if shop.database.capabilities.writes_in_queries else 6), statements.sql


async def test_what_is_looked_up_does_not_grow_with_the_lines_that_point_to_it(
    shop: Ask, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The look-up draws the keys of the lines, too: they come once, not with each item."""
    fetch, values = Database.rows_within, [0]

    async def counted(*arguments: Any) -> Any:
        rows = await fetch(*arguments)
        values.append(sum(len(value) if isinstance(value, list) else 1 for row in rows for value in row))
        return rows

    monkeypatch.setattr(Database, "rows_within", counted)
    for number in (2, 50):
        given = {"name": "Ada", "email": f"{number}@example.com", "orders": [{"items": lines("A", "B") * number}]}
        await done(shop, "createCustomer", given, "customer { id }")
    few, many = values[1], values[3]
    assert many - few in (0, 2 * (50 - 2)), values


@pytest.mark.parametrize("number", [1, 10])
async def test_a_change_of_lines_takes_as_many_statements_for_many_rows_as_for_few(
    shop: Ask, statements: Statements, number: int
) -> None:
    customer = {"create": {"name": "Ada", "email": "ada@example.com"}}
    await done(shop, "createOrder", {"customer": customer, "items": lines("A", "B", "A") * number})
    quantities = [{"id": f"OrderItem:{1 + 3 * n}", "quantity": 7} for n in range(number)]
    prices = [{"id": f"OrderItem:{2 + 3 * n}", "pricePaid": "7"} for n in range(number)]
    removed = [f"OrderItem:{3 + 3 * n}" for n in range(number)]
    items = {"create": lines("A", "B") * number, "update": [*quantities, *prices], "remove": removed}
    statements.clear()
    await done(shop, "updateOrder", {"id": "Order:1", "items": items}, f"order {ORDER}")
    # Load the order and its lines; look up the items; see which of them track their stock; update order and lines, insert and
    # delete lines; read the payload; tell what changed, with the payload where that can be.
    assert len(statements) == 10 - shop.database.capabilities.writes_in_queries, statements.sql


async def test_every_alias_of_a_list_has_its_own_selection(ask: Ask) -> None:
    made = await ask(
        """mutation { createCustomers(input: {customers: [{name: "Ada", email: "a@x.io"}, {name: "Bo", email: "b@x.io"}]}) {
          a: results { index customer { name } } b: results { customer { email } mail: customer { email } }
        } }"""
    )
    assert made["data"]["createCustomers"] == {
        "a": [{"index": 0, "customer": {"name": "Ada"}}, {"index": 1, "customer": {"name": "Bo"}}],
        "b": [{"customer": {"email": m}, "mail": {"email": m}} for m in ("a@x.io", "b@x.io")],
    }


async def test_every_type_of_error_has_its_own_selection(ask: Ask) -> None:
    """Two types of errors may share a response key and select different fields of the row they show."""
    made = await ask('mutation { createCustomer(input: {name: "Ada", email: "a@x.io"}) { customer { id } } }')
    id_ = made["data"]["createCustomer"]["customer"]["id"]
    errors = """errors {
      ... on UniqueError { row: existing { ... on Customer { email } } }
      ... on StaleVersionError { row: current { ... on Customer { version } } }
    }"""
    answer = await ask(
        """mutation($id: ID!) {
          unique: createCustomer(input: {name: "Bo", email: "a@x.io"}) { E }
          stale: updateCustomer(input: {id: $id, name: "Bo", expectedVersion: 7}) { E }
        }""".replace("E ", errors),
        {"id": id_},
    )
    assert answer["data"] == {
        "unique": {"errors": [{"row": {"email": "a@x.io"}}]},
        "stale": {"errors": [{"row": {"version": 1}}]},
    }


def test_a_relation_for_reading_cannot_be_assigned() -> None:
    with pytest.raises(TypeError, match=r"Order\.customer is for reading; put the row into orders of its parent"):
        Order(customer=Customer())
    customer = Customer(orders=[Order()])
    assert len(customer.orders) == 1

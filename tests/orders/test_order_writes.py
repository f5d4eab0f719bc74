"""Orders through their life: lines replaced and moved, stock held and given back, sent on, changed by filter."""

from __future__ import annotations

from typing import Any

import pytest

from tests.conftest import Ask, Statements
from tests.stock import customer, item
from tests.words import ORDER, codes, count, done, mutate, refusals, stocks


def line(sku: str = "A", quantity: int = 1, **more: Any) -> dict[str, Any]:
    return {"item": {"sku": sku}, "quantity": quantity, **more}


#: Items A (1.00, 10 in stock), B (2.00, not tracked), C (3.00, 5 in stock); Ada with one order of A 2, B 1, C 1; Bob.
SHOP = [
    item("A", 1, 10),
    item("B", 2),
    item("C", 3, 5),
    customer("Ada", [line("A", 2), line("B"), line("C")]),
    customer("Bob"),
]


async def order(ask: Ask, id_: str = "Order:1") -> dict[str, Any]:
    answer = await ask(f"query ($id: ID!) {{ order(by: {{id: $id}}) {ORDER} }}", {"id": id_})
    found: dict[str, Any] = answer["data"]["order"]
    return found


async def test_new_lines_hold_stock(shop: Ask) -> None:
    assert await stocks(shop) == {"A": 8, "B": None, "C": 4}


async def test_a_replaced_list_is_what_was_sent_in_that_order(shop: Ask) -> None:
    replace = [
        {"id": "OrderItem:3", "quantity": 2},
        {"item": {"sku": "A"}, "quantity": 5},
        {"id": "OrderItem:1"},
    ]
    made = (await done(shop, "updateOrder", {"id": "Order:1", "items": {"replace": replace}}, f"order {ORDER}"))["order"]
    assert [(one["id"], one["position"], one["quantity"]) for one in made["items"]] == [
        ("OrderItem:3", 4, 2),
        ("OrderItem:4", 5, 5),
        ("OrderItem:1", 6, 2),
    ]
    assert (made["totalAmount"], made["version"]) == ("13.00", 2)
    assert await stocks(shop) == {"A": 3, "B": None, "C": 3}


async def test_replace_refuses_what_it_cannot_do(shop: Ask) -> None:
    replace = [{"id": "OrderItem:1"}, {"id": "OrderItem:1"}, {"pricePaid": "1"}, {"id": "OrderItem:2", "quantity": None}]
    assert await refusals(shop, "updateOrder", {"id": "Order:1", "items": {"replace": replace, "remove": ["OrderItem:1"]}}) == [
        ("INVALID_INPUT", "input.items.replace"),
        ("INVALID_INPUT", "input.items.replace.1.id"),
        ("REQUIRED", "input.items.replace.2.item"),
        ("REQUIRED", "input.items.replace.2.quantity"),
        ("REQUIRED", "input.items.replace.3.quantity"),
    ]


async def test_stock_follows_lines_up_and_down(shop: Ask) -> None:
    update = [{"id": "OrderItem:1", "quantity": 7}, {"id": "OrderItem:3", "item": {"sku": "A"}}]
    await done(shop, "updateOrder", {"id": "Order:1", "items": {"update": update}})
    assert await stocks(shop) == {"A": 2, "B": None, "C": 5}
    await done(
        shop,
        "updateOrder",
        {"id": "Order:1", "items": {"update": [{"id": "OrderItem:1", "quantity": 1}], "remove": ["OrderItem:3"]}},
    )
    assert await stocks(shop) == {"A": 9, "B": None, "C": 5}
    await done(shop, "deleteOrder", {"id": "Order:1"})
    assert await stocks(shop) == {"A": 10, "B": None, "C": 5}


async def test_more_than_there_is_is_refused_at_the_last_line_of_the_item(shop: Ask) -> None:
    lines = [line("A", 4), line("A", 4), line("C", 6), line("B", 50), line("A", 1)]
    payload = await mutate(shop, "createOrder", {"customer": {"id": "Customer:1"}, "items": lines})
    assert [(e["code"], ".".join(e["path"]), e["requested"], e["available"]) for e in payload["errors"]] == [
        ("OUT_OF_STOCK", "input.items.2.quantity", 6, 4),
        ("OUT_OF_STOCK", "input.items.4.quantity", 9, 8),
    ]
    assert await stocks(shop) == {"A": 8, "B": None, "C": 4}


async def test_an_item_made_in_place_has_its_stock_taken(shop: Ask) -> None:
    create = {"create": {"sku": "N", "name": "New", "price": "1", "stock": 5}}
    await done(shop, "createOrder", {"customer": {"id": "Customer:1"}, "items": [{"item": create, "quantity": 3}]})
    assert (await stocks(shop))["N"] == 2
    create["create"]["sku"] = "O"
    given = {"customer": {"id": "Customer:1"}, "items": [{"item": create, "quantity": 6}]}
    assert await refusals(shop, "createOrder", given) == [("OUT_OF_STOCK", "input.items.0.quantity")]


@pytest.mark.parametrize("way", ["update", "replace"])
async def test_a_line_that_gets_an_item_made_in_place_is_a_changed_line(shop: Ask, way: str) -> None:
    def change(**new: Any) -> dict[str, Any]:
        item = {"create": {"sku": "N", "name": "n", "price": "7", **new}}
        others = [{"id": "OrderItem:2"}, {"id": "OrderItem:3"}] if way == "replace" else []
        return {"id": "Order:1", "items": {way: [{"id": "OrderItem:1", "item": item}, *others]}}

    place = f"input.items.{way}.0"
    assert await refusals(shop, "updateOrder", change(stock=1)) == [("OUT_OF_STOCK", place)]
    assert await refusals(shop, "updateOrder", change(sku="B", price=-1)) == [
        ("UNIQUE", f"{place}.item.create.sku"),
        ("CHECK", f"{place}.item.create.price"),
    ]
    assert await stocks(shop) == {"A": 8, "B": None, "C": 4}
    made = (await done(shop, "updateOrder", change(stock=5), f"order {ORDER}"))["order"]
    assert made["version"] == 2
    assert await stocks(shop) == {"A": 10, "B": None, "C": 4, "N": 3}
    await done(shop, "transitionOrder", {"id": "Order:1", "to": "PAID"})
    assert {code for code, _ in await refusals(shop, "updateOrder", change(sku="M"))} == {"NOT_EDITABLE"}


async def test_an_order_is_sent_on_and_stock_returns_once(shop: Ask) -> None:
    made = (await done(shop, "transitionOrder", {"id": "Order:1", "to": "PAID"}, "order { status version allowedTransitions }"))[
        "order"
    ]
    assert made == {"status": "PAID", "version": 2, "allowedTransitions": ["SHIPPED", "CANCELLED"]}
    assert (await stocks(shop))["A"] == 8
    await done(shop, "transitionOrder", {"id": "Order:1", "to": "CANCELLED"})
    assert await stocks(shop) == {"A": 10, "B": None, "C": 5}
    await done(shop, "deleteOrder", {"id": "Order:1"})
    assert await stocks(shop) == {"A": 10, "B": None, "C": 5}


async def test_what_was_shipped_does_not_come_back(shop: Ask) -> None:
    await done(shop, "transitionOrder", {"id": "Order:1", "to": "PAID"})
    await done(shop, "transitionOrder", {"id": "Order:1", "to": "SHIPPED"})
    payload = await mutate(shop, "transitionOrder", {"id": "Order:1", "to": "PENDING"})
    (error,) = payload["errors"]
    assert (error["code"], error["path"], error["from"], error["to"], error["allowed"]) == (
        "TRANSITION",
        ["input", "to"],
        "SHIPPED",
        "PENDING",
        [],
    )
    await done(shop, "deleteOrder", {"id": "Order:1"})
    assert (await stocks(shop))["A"] == 8


async def test_an_expected_version_lets_only_the_current_one_through(shop: Ask) -> None:
    await done(shop, "updateOrder", {"id": "Order:1", "expectedVersion": 1, "note": "first"})
    payload = await mutate(shop, "updateOrder", {"id": "Order:1", "expectedVersion": 1, "note": None, "discount": None})
    (error,) = payload["errors"]
    assert (error["code"], error["path"], error["expected"], error["actual"], error["current"]) == (
        "STALE_VERSION",
        ["input", "expectedVersion"],
        1,
        2,
        {"id": "Order:1", "version": 2},
    )
    for field, more in (("deleteOrder", {}), ("transitionOrder", {"to": "PAID"})):
        assert await refusals(shop, field, {"id": "Order:1", "expectedVersion": 1, **more}) == [
            ("STALE_VERSION", "input.expectedVersion")
        ]


async def test_pieces_move_between_orders_of_one_customer(shop: Ask) -> None:
    await done(shop, "createOrder", {"customer": {"id": "Customer:1"}, "items": [line("B", 3)]})
    selection = (
        "orderItem { id quantity position order { id } } fromOrder { id totalAmount version } toOrder { id totalAmount version }"
    )
    moved = await done(shop, "moveOrderItem", {"id": "OrderItem:1", "toOrder": "Order:2", "quantity": 1}, selection)
    assert moved["orderItem"] == {"id": "OrderItem:5", "quantity": 1, "position": 2, "order": {"id": "Order:2"}}
    assert moved["fromOrder"] == {"id": "Order:1", "totalAmount": "6.00", "version": 2}
    assert moved["toOrder"] == {"id": "Order:2", "totalAmount": "7.00", "version": 2}
    moved = await done(shop, "moveOrderItem", {"id": "OrderItem:1", "toOrder": "Order:2"}, selection)
    assert moved["orderItem"] == {"id": "OrderItem:1", "quantity": 1, "position": 3, "order": {"id": "Order:2"}}
    assert (moved["fromOrder"]["totalAmount"], moved["toOrder"]["totalAmount"]) == ("5.00", "8.00")
    assert await stocks(shop) == {"A": 8, "B": None, "C": 4}


async def test_a_line_that_keeps_its_position_in_another_order_moves_totals_and_versions(shop: Ask) -> None:
    given = {"customer": {"id": "Customer:1"}, "items": [line("B")]}
    await done(shop, "createOrder", given)
    selection = "orderItem { position } fromOrder { version totalAmount } toOrder { version totalAmount }"
    assert await done(shop, "moveOrderItem", {"id": "OrderItem:2", "toOrder": "Order:2"}, selection) == {
        "orderItem": {"position": 2},
        "fromOrder": {"version": 2, "totalAmount": "5.00"},
        "toOrder": {"version": 2, "totalAmount": "4.00"},
        "errors": [],
    }


async def test_a_move_is_refused_for_every_reason(shop: Ask) -> None:
    await done(shop, "createOrder", {"customer": {"id": "Customer:2"}, "items": [line("B", 3)]})
    await done(shop, "createOrder", {"customer": {"id": "Customer:1"}, "items": [line("B", 3)]})
    move = {"id": "OrderItem:1", "toOrder": "Order:3"}
    assert await refusals(shop, "moveOrderItem", {**move, "toOrder": "Order:2", "quantity": 3}) == [
        ("INVALID_INPUT", "input.toOrder"),
        ("INVALID_INPUT", "input.quantity"),
    ]
    assert await refusals(shop, "moveOrderItem", {"id": "OrderItem:99", "toOrder": "Order:99"}) == [
        ("NOT_FOUND", "input.id"),
        ("NOT_FOUND", "input.toOrder"),
    ]
    assert await refusals(shop, "moveOrderItem", {**move, "toOrder": "Order:1"}) == [("INVALID_INPUT", "input.toOrder")]
    assert await refusals(shop, "moveOrderItem", {**move, "toExpectedVersion": 7}) == [
        ("STALE_VERSION", "input.toExpectedVersion")
    ]
    assert await refusals(shop, "moveOrderItem", {"toExpectedVersion": 7, **move, "expectedVersion": 6}) == [
        ("STALE_VERSION", "input.toExpectedVersion"),
        ("STALE_VERSION", "input.expectedVersion"),
    ]
    await done(shop, "updateOrder", {"id": "Order:1", "discount": "7"})
    assert await refusals(shop, "moveOrderItem", {**move, "quantity": 1}) == [("CHECK", "input.quantity")]
    assert await refusals(shop, "moveOrderItem", move) == [("CHECK", "input")]
    await done(shop, "transitionOrder", {"id": "Order:3", "to": "PAID"})
    assert await refusals(shop, "moveOrderItem", move) == [("NOT_EDITABLE", "input.toOrder")]


async def test_orders_change_by_filter(shop: Ask) -> None:
    await done(shop, "createOrder", {"customer": {"id": "Customer:2"}, "items": [line("B", 3)]})
    where = {"customer": {"email": {"eq": "ADA@example.com"}}}
    payload = await done(shop, "updateOrders", {"where": where, "set": {"note": "hello", "discount": "1"}}, "count")
    assert payload["count"] == 1
    first, second = await order(shop), await order(shop, "Order:2")
    assert (first["note"], first["totalAmount"], first["version"]) == ("hello", "6.00", 2)
    assert (second["note"], second["version"]) == (None, 1)


async def test_a_bulk_change_that_breaks_a_check_is_refused_at_the_value(shop: Ask) -> None:
    await done(shop, "createOrder", {"customer": {"id": "Customer:2"}, "items": [line("B", 3)]})
    given = {"all": True, "set": {"discount": "6.50", "note": "x"}}
    assert await refusals(shop, "updateOrders", given) == [("CHECK", "input.set.discount")]
    assert (await order(shop))["note"] is None
    assert await refusals(shop, "updateOrders", {"all": True, "set": {"discount": None}}) == [("REQUIRED", "input.set.discount")]


async def test_a_discount_is_rounded_half_up_and_only_for_pending_orders(shop: Ask) -> None:
    await done(shop, "createOrder", {"customer": {"id": "Customer:2"}, "items": [line("B", 1, pricePaid="0.50")]})
    await done(shop, "createOrder", {"customer": {"id": "Customer:2"}, "items": [line("B", 3)]})
    await done(shop, "transitionOrder", {"id": "Order:3", "to": "PAID"})
    payload = await done(shop, "discountOrders", {"all": True, "percent": "5"}, "count")
    assert payload["count"] == 2
    assert [(await order(shop, f"Order:{n}"))["discount"] for n in (1, 2, 3)] == ["0.35", "0.03", "0.00"]
    assert [(await order(shop, f"Order:{n}"))["totalAmount"] for n in (1, 2, 3)] == ["6.65", "0.47", "6.00"]
    for percent in ("0", "100.01", "-1"):
        assert await refusals(shop, "discountOrders", {"all": True, "percent": percent}) == [("INVALID_INPUT", "input.percent")]
    await done(shop, "discountOrders", {"all": True, "percent": 100})
    assert (await order(shop))["totalAmount"] == "0.00"


async def test_orders_are_deleted_by_filter_and_stock_returns(shop: Ask) -> None:
    await done(shop, "createOrder", {"customer": {"id": "Customer:2"}, "items": [line("A", 3)]})
    await done(shop, "createOrder", {"customer": {"id": "Customer:2"}, "items": [line("A", 2)]})
    await done(shop, "transitionOrder", {"id": "Order:3", "to": "PAID"})
    await done(shop, "transitionOrder", {"id": "Order:3", "to": "SHIPPED"})
    assert (await stocks(shop))["A"] == 3
    payload = await done(shop, "deleteOrders", {"where": {"totalAmount": {"lt": "7"}}}, "count deleted { orders orderItems }")
    assert payload["count"] == 2
    assert payload["deleted"] == {"orders": 2, "orderItems": 2}
    assert (await stocks(shop))["A"] == 6
    assert await count(shop) == (2, 1, 3)


@pytest.mark.parametrize("number", [2, 12])
async def test_bulk_statements_do_not_grow_with_the_orders(shop: Ask, statements: Statements, number: int) -> None:
    orders = [{"customer": {"id": "Customer:2"}, "items": [line("B", 1), line("A")]} for _ in range(min(number, 7))]
    await done(shop, "createOrders", {"orders": orders})
    for field, given, most in (
        ("updateOrders", {"all": True, "set": {"note": "x"}}, 5),
        ("discountOrders", {"all": True, "percent": "1"}, 5),
        ("deleteOrders", {"all": True}, 9),
    ):
        statements.clear()
        await done(shop, field, given, "count")
        assert len(statements) <= most, statements.sql


async def test_several_orders_at_once(shop: Ask) -> None:
    entry = "results { index order { id totalAmount } errors { code path } }"
    orders = [
        {"customer": {"id": "Customer:1"}, "items": [line("A")]},
        {"customer": {"email": "no@example.com"}, "items": [line("A", 0)]},
    ]
    payload = await mutate(shop, "createOrders", {"orders": orders}, entry)
    assert codes(payload) == codes(payload["results"][1])
    assert payload["results"] == [
        {"index": 0, "order": None, "errors": [{"code": "ROLLED_BACK", "path": ["input"]}]},
        {
            "index": 1,
            "order": None,
            "errors": [
                {"code": "REFERENCE_NOT_FOUND", "path": ["input", "orders", "1", "customer", "email"]},
                {"code": "CHECK", "path": ["input", "orders", "1", "items", "0", "quantity"]},
            ],
        },
    ]
    payload = await mutate(shop, "createOrders", {"orders": orders, "onError": "CONTINUE"}, entry)
    made = payload["results"][0].pop("order")
    assert made["totalAmount"] == "1.00"
    assert payload["results"][0] == {"index": 0, "errors": []}
    assert [error["code"] for error in payload["results"][1]["errors"]] == ["REFERENCE_NOT_FOUND", "CHECK"]
    assert await count(shop) == (2, 2, 3)
    assert (await stocks(shop))["A"] == 7


MOST = 2**31 - 1


@pytest.mark.parametrize(
    ("field", "given", "place"),
    [
        ("transitionOrder", {"id": "Order:1", "to": "CANCELLED"}, "input"),
        ("deleteOrder", {"id": "Order:1"}, "input"),
        ("deleteOrders", {"all": True}, "input"),
        ("deleteCustomer", {"id": "Customer:1"}, "input"),
        ("updateOrder", {"id": "Order:1", "items": {"remove": ["OrderItem:1"]}}, "input.items.remove.0"),
        ("updateOrder", {"id": "Order:1", "items": {"update": [{"id": "OrderItem:1", "quantity": 1}]}}, "input.items.update.0"),
    ],
)
async def test_what_a_counter_cannot_hold_does_not_come_back(shop: Ask, field: str, given: dict[str, Any], place: str) -> None:
    await done(shop, "updateItem", {"id": "Item:1", "stock": MOST})
    assert await refusals(shop, field, given) == [("INVALID_INPUT", place)]
    assert await stocks(shop) == {"A": MOST, "B": None, "C": 4}
    await done(shop, "updateItem", {"id": "Item:1", "stock": MOST - 2})
    await done(shop, field, given)
    assert (await stocks(shop))["A"] in (MOST, MOST - 1)


async def test_an_upsert_does_not_add_more_than_a_counter_holds(shop: Ask) -> None:
    given = {"sku": "A", "name": "A", "price": "1", "stockDelta": MOST - 7}
    assert await refusals(shop, "upsertItem", given) == [("INVALID_INPUT", "input.stockDelta")]
    items = [{"sku": "C", "name": "C", "price": "1", "stockDelta": 1}, given]
    payload = await mutate(shop, "upsertItems", {"items": items}, "results { errors { code path } }")
    told = [[(error["code"], error["path"][2:]) for error in result["errors"]] for result in payload["results"]]
    assert told == [[("ROLLED_BACK", [])], [("INVALID_INPUT", ["1", "stockDelta"])]]
    assert await stocks(shop) == {"A": 8, "B": None, "C": 4}
    await done(shop, "upsertItem", {**given, "stockDelta": MOST - 8})
    assert (await stocks(shop))["A"] == MOST


@pytest.mark.parametrize("quantity", [-1, -MOST - 1, MOST])
async def test_a_quantity_beyond_its_check_moves_no_stock(shop: Ask, quantity: int) -> None:
    refused = [("CHECK", "quantity"), *([("OUT_OF_STOCK", "quantity")] if quantity > 0 else [])]
    for field, given, place in (
        ("createOrder", {"customer": {"id": "Customer:2"}, "items": [line("A", quantity)]}, "input.items.0"),
        (
            "updateOrder",
            {"id": "Order:1", "items": {"update": [{"id": "OrderItem:1", "quantity": quantity}]}},
            "input.items.update.0",
        ),
    ):
        found = [each for each in await refusals(shop, field, given) if each[1].startswith(place)]
        assert found == [(code, f"{place}.{name}") for code, name in refused]
    assert await stocks(shop) == {"A": 8, "B": None, "C": 4}


async def test_pieces_that_no_int_holds_are_asked_for_in_vain(shop: Ask) -> None:
    lines = [line("A", MOST), line("A", MOST)]
    payload = await mutate(shop, "createOrder", {"customer": {"id": "Customer:1"}, "items": lines})
    assert [e["requested"] for e in payload["errors"] if e["code"] == "OUT_OF_STOCK"] == [MOST]
    payload = await mutate(shop, "adjustStock", {"item": {"sku": "A"}, "delta": -MOST - 1})
    assert [(e["code"], e["requested"], e["available"]) for e in payload["errors"]] == [("OUT_OF_STOCK", MOST, 8)]
    given = {"sku": "A", "name": "A", "price": "1", "stockDelta": -MOST - 1}
    payload = await mutate(shop, "upsertItem", given)
    assert [(e["code"], e["requested"], e["available"]) for e in payload["errors"]] == [("OUT_OF_STOCK", MOST, 8)]

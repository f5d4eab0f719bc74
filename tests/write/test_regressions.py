"""Bugs that random mutations, crossing writers and failing statements found in writes, each named after what went wrong."""

from __future__ import annotations

from typing import Any

import pytest

from tests.conftest import Ask
from tests.stock import customer, item, line
from tests.words import ITEM, done, mutate, refusals

LINES = "order { version totalAmount items { id position } }"


#: Ada with an order of two lines, of an item whose stock is counted.
SHOP = [item("A", 1, 10), customer("Ada", [line("A"), line("A")])]


@pytest.mark.parametrize("lines", [{}, {"items": []}])
async def test_an_order_without_lines_takes_no_discount(shop: Ask, lines: dict[str, Any]) -> None:
    given = {"customer": {"id": "Customer:1"}, "discount": "0.01", **lines}
    assert await refusals(shop, "createOrder", given) == [("CHECK", "input.discount")]


REORDER = {"id": "Order:1", "items": {"replace": [{"id": "OrderItem:2"}, {"id": "OrderItem:1"}]}}


async def test_lines_can_be_put_in_another_order_and_nothing_else(shop: Ask) -> None:
    order = (await done(shop, "updateOrder", REORDER, LINES))["order"]
    assert [(line["id"], line["position"]) for line in order["items"]] == [("OrderItem:2", 3), ("OrderItem:1", 4)]
    assert order["version"] == 2


async def test_lines_are_put_in_another_order_only_while_it_is_pending(shop: Ask) -> None:
    await done(shop, "transitionOrder", {"id": "Order:1", "to": "PAID"})
    assert await refusals(shop, "updateOrder", REORDER) == [("NOT_EDITABLE", "input.items")]


async def test_another_spelling_of_an_address_is_no_change(shop: Ask) -> None:
    given = {"id": "Customer:1", "email": " ADA@Example.com"}
    assert (await done(shop, "updateCustomer", given, "customer { version email }"))["customer"] == {
        "version": 1,
        "email": "ada@example.com",
    }


async def test_an_upsert_tells_a_shortage_and_a_bad_price_together(shop: Ask) -> None:
    given = {"sku": "A", "name": "A", "price": "-1", "stockDelta": -11}
    told = await mutate(shop, "upsertItem", given, f"item {ITEM}")
    assert sorted((error["code"], error["path"][-1]) for error in told["errors"]) == [
        ("CHECK", "price"),
        ("OUT_OF_STOCK", "stockDelta"),
    ]

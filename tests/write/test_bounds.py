"""Checks: what they allow is told from one place, and what follows from another refusal is not told beside it."""

from __future__ import annotations

import re
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy import CheckConstraint

from graph.base import Base, Bounds, Choice, between
from graph.database import Database
from graph.models import OrderItem
from graph.write.bounds import allowed
from tests.conftest import Ask
from tests.stock import customer, item, line
from tests.words import count, done, mutate, refusals

#: Items A (1.00, 10 in stock) and B (2.00, not tracked); Ada with an order of A and B, 3.00.
SHOP = [item("A", 1, 10), item("B", 2), customer("Ada", [line("A"), line("B")])]


def made(quantity: int = 1, **more: Any) -> dict[str, Any]:
    return {"item": {"create": {"sku": "N", "name": "n", "price": "1", **more}}, "quantity": quantity}


def order(*lines: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"customer": {"id": "Customer:1"}, "items": list(lines), **more}


LARGEST = "9999999999.99"
PRICE = ("0.00", LARGEST, "from 0.00 to 9,999,999,999.99")
QUANTITY = ("1", "100000", "from 1 to 100,000")

BOUNDS: dict[str, tuple[str, dict[str, Any], str, tuple[str | None, str | None, str]]] = {
    "a quantity": ("createOrder", order(line("A", 0)), "quantity", QUANTITY),
    "a quantity that changes": (
        "updateOrder",
        {"id": "Order:1", "items": {"update": [{"id": "OrderItem:2", "quantity": 100_001}]}},
        "quantity",
        QUANTITY,
    ),
    "a price": ("createItem", {"sku": "N", "name": "n", "price": "-0.01"}, "price", PRICE),
    "a price of a plain row": ("insertItems", {"rows": [{"sku": "N", "name": "n", "price": "-1"}]}, "price", PRICE),
    "a price paid": ("createOrder", order(line("A", pricePaid="-1")), "pricePaid", PRICE),
    "a stock": ("updateItem", {"id": "Item:1", "stock": -1}, "stock", ("0", None, "at least 0")),
    "a negative discount": ("createOrder", order(line("A"), discount="-1"), "discount", ("0.00", None, "at least 0.00")),
    "a discount above the subtotal": (
        "createOrder",
        order(line("A", 7), discount="7.01"),
        "discount",
        (None, "7.00", "at most the subtotal, 7.00"),
    ),
    "lines taken away under the discount": (
        "updateOrder",
        {"id": "Order:1", "discount": "2.50", "items": {"remove": ["OrderItem:1"]}},
        "discount",
        (None, "2.00", "at most the subtotal, 2.00"),
    ),
    "a negative discount of many": (
        "updateOrders",
        {"where": {"number": {"startsWith": "SO-"}}, "set": {"discount": "-1"}},
        "discount",
        ("0.00", None, "at least 0.00"),
    ),
    "more than an order may come to": (
        "createOrder",
        order(*[line("A", 100_000, pricePaid=LARGEST)] * 11),
        "subtotal",
        (None, "10000000000000000.00", "at most 10,000,000,000,000,000.00"),
    ),
}


@pytest.mark.parametrize("name", BOUNDS)
async def test_a_check_says_what_it_allows(shop: Ask, name: str) -> None:
    field, given, what, (minimum, maximum, words) = BOUNDS[name]
    before = await count(shop)
    (error,) = [each for each in (await mutate(shop, field, given))["errors"] if each["code"] != "OUT_OF_STOCK"]
    assert (error["code"], error["minimum"], error["maximum"]) == ("CHECK", minimum, maximum)
    assert error["message"] == f"{what} must be {words}"
    assert await count(shop) == before


async def test_what_many_orders_allow_is_what_all_of_them_do(shop: Ask) -> None:
    await done(shop, "createOrder", order(line("B", 5)))
    await done(shop, "createOrder", order(line("B", 2), discount="1"))
    given = {"where": {"number": {"startsWith": "SO-"}}, "set": {"discount": "3.01"}}
    (error,) = (await mutate(shop, "updateOrders", given))["errors"]
    assert (error["path"], error["minimum"], error["maximum"]) == (["input", "set", "discount"], None, "3.00")
    await done(shop, "updateOrders", {**given, "set": {"discount": "3.00"}})


DERIVED: dict[str, tuple[str, dict[str, Any], list[tuple[str, str]]]] = {
    "a subtotal of a negative price": ("createOrder", order(line("B", pricePaid="-1")), [("CHECK", "input.items.0.pricePaid")]),
    "a total of a negative quantity": ("createOrder", order(line("B", -1)), [("CHECK", "input.items.0.quantity")]),
    "a discount above the subtotal of no pieces": (
        "createOrder",
        order(line("B", 0), discount="1"),
        [("CHECK", "input.items.0.quantity")],
    ),
    "a subtotal of too many pieces": (
        "createOrder",
        order(*[line("B", 2**31 - 1, pricePaid=LARGEST)] * 2),
        [("CHECK", "input.items.0.quantity"), ("CHECK", "input.items.1.quantity")],
    ),
    "a price paid that is that of an item made in place": (
        "createOrder",
        order(made(price="-1"), discount="1"),
        [("CHECK", "input.items.0.item.create.price")],
    ),
    "a price paid that was sent, too": (
        "createOrder",
        order({**made(price="-1"), "pricePaid": "-1"}),
        [("CHECK", "input.items.0.item.create.price"), ("CHECK", "input.items.0.pricePaid")],
    ),
    "lines that change": (
        "updateOrder",
        {"id": "Order:1", "items": {"update": [{"id": "OrderItem:1", "quantity": -100}], "create": [line("B", -1)]}},
        [("CHECK", "input.items.create.0.quantity"), ("CHECK", "input.items.update.0.quantity")],
    ),
    "orders of a new customer, the second of which is too cheap": (
        "createCustomer",
        {
            "name": "Eve",
            "email": "eve@example.com",
            "orders": [{"items": [line("B", 0)]}, {"discount": "3", "items": [line("B")]}],
        },
        [("CHECK", "input.orders.0.items.0.quantity"), ("CHECK", "input.orders.1.discount")],
    ),
    "a refusal that has nothing to do with the discount": (
        "createOrder",
        order(made(stock=-1, sku="A"), discount="2"),
        [("CHECK", "input.discount"), ("UNIQUE", "input.items.0.item.create.sku"), ("CHECK", "input.items.0.item.create.stock")],
    ),
}


@pytest.mark.parametrize("name", DERIVED)
async def test_what_follows_from_another_refusal_is_not_told_beside_it(shop: Ask, name: str) -> None:
    field, given, expected = DERIVED[name]
    before = await count(shop)
    assert sorted(await refusals(shop, field, given)) == sorted(expected)
    assert await count(shop) == before


def checks() -> list[CheckConstraint]:
    """The checks of all tables, but for those of choices, which GraphQL's enums keep."""
    found = [
        check for table in Base.metadata.tables.values() for check in table.constraints if isinstance(check, CheckConstraint)
    ]
    choices = {
        f"ck_{c.table.name}_{c.name}" for t in Base.metadata.tables.values() for c in t.columns if isinstance(c.type, Choice)
    }
    return sorted((check for check in found if check.name not in choices), key=lambda check: str(check.name))


def test_every_check_says_its_bounds() -> None:
    assert len(checks()) > 10
    assert [check.name for check in checks() if not isinstance(check.info.get("bounds"), Bounds)] == []


async def test_the_database_has_the_bounds_that_are_told(database: Database) -> None:
    async with database.engine.connect() as connection:
        for check in checks():
            there = await connection.run_sync(lambda c, table=check.table: sa.inspect(c).get_check_constraints(table.name))  # type: ignore[misc]  # mypy drops the default
            (text,) = [each["sqltext"] for each in there if each["name"] == check.name]
            assert re.findall(r"\b\d+\b", text) == re.findall(r"\b\d+\b", str(check.sqltext)), text


def test_descriptions_take_their_bounds_from_the_checks() -> None:
    assert allowed(OrderItem, "quantity") == "from 1 to 100,000"
    assert str(between("size", 1, 9).sqltext) == "size >= 1 AND size <= 9"
    assert (str(between("size", 1).sqltext), str(between("size", maximum=9, sql="a + b").sqltext)) == ("size >= 1", "a + b <= 9")

"""Amounts: sums and means are exact however large, what is shown can be asked for, and what is stored has its limit."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from decimal import ROUND_HALF_UP, Decimal
from itertools import count
from typing import Any

import pytest
import sqlalchemy as sa
from hypothesis import example, given, settings
from hypothesis import strategies as st

from graph.base import MAX_SUBTOTAL, utc_now
from graph.database import Database
from graph.models import Customer, Order, OrderStatus
from tests.both import Both, both_before
from tests.conftest import Ask
from tests.engines import Postgres, Sqlite
from tests.examples import examples
from tests.walk import Row, found, global_id, load, shown
from tests.words import count as rows_of
from tests.words import done, mutate, refusals

SHOP = "varied"

DEAREST = "9999999999.99"
SUMS = "count lineTotal totalAmount { sum avg min max }"
NUMBERS = count(1)


def cents(amount: int) -> str:
    return f"{'-' if amount < 0 else ''}{abs(amount) // 100}.{abs(amount) % 100:02}"


async def test_many_lawful_orders_have_an_exact_sum(ask: Ask) -> None:
    await done(ask, "createItem", {"sku": "GOLD", "name": "Gold", "price": DEAREST})
    line = {"item": {"sku": "GOLD"}, "quantity": 100_000}
    for email in ("ada@example.com", "bob@example.com"):
        await done(ask, "createCustomer", {"name": "Rich", "email": email, "orders": [{"items": [line] * 10}] * 11})
    for number in range(1, 23):
        await done(ask, "transitionOrder", {"id": f"Order:{number}", "to": "PAID"})
    each = 999_999_999_999 * 100_000 * 10
    figures = {"sum": cents(22 * each), "avg": cents(each), "min": cents(each), "max": cents(each)}
    data = await ask.data(
        f"""{{ orderSummary {{ {SUMS} }} status: orderSummary(groupBy: [STATUS]) {{ {SUMS} }}
        customer: orderSummary(groupBy: [CUSTOMER]) {{ lineTotal quantity }}
        item: orderSummary(groupBy: [ITEM]) {{ lineTotal quantity }}
        customers {{ nodes {{ totalSpent }} }} }}"""
    )
    assert data["orderSummary"] == data["status"] == [{"count": 22, "lineTotal": cents(22 * each), "totalAmount": figures}]
    assert data["customer"] == [{"lineTotal": cents(11 * each), "quantity": "11000000"}] * 2
    assert data["item"] == [{"lineTotal": cents(22 * each), "quantity": "22000000"}]
    assert data["customers"]["nodes"] == [{"totalSpent": cents(11 * each)}] * 2
    spent = "query($w: CustomerWhere!) { customers(where: $w) { totalCount } }"
    for operator, value, expected in (
        ("eq", 11 * each, 2),
        ("ne", 11 * each, 0),
        ("in", [11 * each, 0], 2),
        ("notIn", [11 * each], 0),
        ("gt", 11 * each - 1, 2),
        ("gt", 11 * each, 0),
        ("gte", 11 * each, 2),
        ("lt", 11 * each + 1, 2),
        ("lt", 11 * each, 0),
        ("lte", 2**63, 0),
        ("gt", -1, 2),
        ("lt", -(2**70), 0),
        ("lt", 10**30 - 1, 2),
    ):
        given_ = [cents(v) for v in value] if isinstance(value, list) else cents(value)
        assert (await ask.data(spent, {"w": {"totalSpent": {operator: given_}}}))["customers"]["totalCount"] == expected, operator


@pytest.fixture
def both(sqlite_engines: Sqlite, postgres_engines: Postgres) -> Iterator[Both]:
    with both_before(sqlite_engines, postgres_engines, "empty", audited=False) as both:  # the orders have no lines
        yield both


async def insert(database: Database, number: int, amounts: list[int]) -> None:
    """A customer with orders of these totals."""
    async with database.session() as session, session.begin():
        stamps = {"created_at": utc_now(), "updated_at": utc_now()}
        customer = {"name": "Ada", "email": f"ada{number}@example.com", "version": 1, **stamps}
        key = (await session.execute(sa.insert(Customer).values(customer).returning(Customer.id))).scalar_one()
        order = {"customer_id": key, "version": 1, "status": OrderStatus.PAID, "order_date": utc_now(), "discount": 0, **stamps}
        await session.execute(sa.insert(Order), [{**order, "total_amount": amount} for amount in amounts])


AMOUNTS = st.one_of(st.integers(0, MAX_SUBTOTAL), st.integers(0, 5), st.sampled_from([10**9 - 1, 10**9, MAX_SUBTOTAL]))
TOTALS = """query($e: String!, $spent: Decimal!) {
  customer(by: {email: $e}) { totalSpent }
  orderSummary(where: {customer: {email: {eq: $e}}}) { count lineTotal totalAmount { sum avg min max } }
  customers(where: {email: {eq: $e}, totalSpent: {lt: $spent}}) { totalCount } }"""


@settings(max_examples=examples(20))
@given(amounts=st.lists(AMOUNTS, min_size=1, max_size=12), spent=st.integers(-5, 10**20))
@example(amounts=[1, 2], spent=3)
@example(amounts=[1, 1, 2], spent=4)
@example(amounts=[MAX_SUBTOTAL] * 12, spent=12 * MAX_SUBTOTAL)
@example(amounts=[MAX_SUBTOTAL] * 12, spent=12 * MAX_SUBTOTAL + 1)
def test_generated_amounts_have_exact_sums_and_means(both: Both, amounts: list[int], spent: int) -> None:
    number = next(NUMBERS)
    for ask in both.asks:
        both.runner.run(insert(ask.app.state.database, number, amounts))
    data = both.data(TOTALS, {"e": f"ada{number}@example.com", "spent": cents(spent)})
    mean = int((Decimal(sum(amounts)) / len(amounts)).quantize(Decimal(1), ROUND_HALF_UP))
    figures = {"sum": cents(sum(amounts)), "avg": cents(mean), "min": cents(min(amounts)), "max": cents(max(amounts))}
    assert data["customer"]["totalSpent"] == cents(sum(amounts))
    assert data["orderSummary"] == [{"count": len(amounts), "lineTotal": cents(sum(amounts)), "totalAmount": figures}]
    assert data["customers"]["totalCount"] == (sum(amounts) < spent)


# ---- summaries

WHERES: list[dict[str, Any]] = [
    {},
    {"status": {"eq": "PAID"}},
    {"customer": {"id": {"eq": "Customer:1"}}},
    {"totalAmount": {"gte": "1000"}, "note": {"isNull": True}},
    {"note": {"eq": "nobody wrote this"}},
]
GROUPINGS = [
    *([], ["STATUS"], ["MONTH"], ["DAY"], ["CUSTOMER"], ["CUSTOMER", "STATUS"], ["MONTH", "STATUS"], ["DAY", "CUSTOMER"]),
    *(["ITEM"], ["STATUS", "ITEM"]),
]
SUMMARY = """query($w: OrderWhere, $g: [OrderGroup!]) { orderSummary(where: $w, groupBy: $g, first: 1000) {
  status month day customer { id } item { id } count quantity lineTotal totalAmount { sum avg min max } } }"""


def key_in_id(order: Row, line: Row, group: str) -> Any:
    """The value of a group, and what it sorts by."""
    match group:
        case "STATUS":
            return str(order.status)
        case "MONTH":
            return shown(order, "orderDate")[:7]
        case "DAY":
            return shown(order, "orderDate")[:10]
        case "CUSTOMER":
            return order.customer_id
    return None if line is None else line.item_id


def summed(orders: list[Row], groups: list[str]) -> list[dict[str, Any]]:
    """A summary as a walk over the orders gives it."""
    by_item = "ITEM" in groups
    found_: dict[tuple[Any, ...], list[tuple[Row, Row]]] = defaultdict(list)
    if not groups:
        found_[()] = []
    for order in orders:
        for line in order.items if by_item else [None]:
            found_[tuple(key_in_id(order, line, group) for group in groups)].append((order, line))
    result = []
    for key, members in sorted(found_.items()):
        values: dict[str, Any] = dict.fromkeys(["status", "month", "day", "customer", "item"])
        for group, value in zip(groups, key, strict=True):
            entity = {"CUSTOMER": "Customer", "ITEM": "Item"}.get(group)
            values[group.lower()] = value if entity is None else {"id": f"{entity}:{value}"}
        rows = list({order.id: order for order, _ in members}.values())
        lines = [line for _, line in members] if by_item else [line for order in rows for line in order.items]
        totals = [order.total_amount for order in rows]
        worth = sum(line.line_total for line in lines) if by_item else sum(order.subtotal for order in rows)
        mean = Decimal(sum(totals)) / len(totals) if totals else Decimal(0)
        figures = [sum(totals), int(mean.quantize(Decimal(1), ROUND_HALF_UP)), min(totals, default=0), max(totals, default=0)]
        result.append(
            {
                **values,
                "count": len(rows),
                "quantity": str(sum(line.quantity for line in lines)) if lines else None,
                "lineTotal": cents(worth) if members else None,
                "totalAmount": {
                    name: cents(figure) if rows and not by_item else None
                    for name, figure in zip(("sum", "avg", "min", "max"), figures, strict=True)
                },
            }
        )
    return result


async def test_a_summary_is_what_a_walk_over_the_orders_gives(shop: Ask) -> None:
    rows = await load(shop.database)
    assert {global_id(order) for order in rows["Order"] if not order.items}, "an order without lines belongs to the case"
    for where in WHERES:
        orders = found(rows["Order"], where)
        for groups in GROUPINGS:
            answer = await shop.data(SUMMARY, {"w": where, "g": groups})
            assert answer["orderSummary"] == summed(orders, groups), (where, groups)


async def test_a_summary_is_cut_after_the_first_groups(shop: Ask) -> None:
    rows = await load(shop.database)
    query = SUMMARY.replace("first: 1000", "first: 3")
    for where in WHERES:
        for groups in GROUPINGS:
            answer = await shop.data(query, {"w": where, "g": groups})
            assert answer["orderSummary"] == summed(found(rows["Order"], where), groups)[:3], (where, groups)


# ---- limits


#: The operators that hold for an amount less than all, and for one more than all.
LESS, MORE = {"ne", "gt", "gte", "notIn"}, {"ne", "lt", "lte", "notIn"}


PLACES = ("totalAmount", "subtotal", "items.some.lineTotal")


@pytest.mark.parametrize("operator", ["eq", "ne", "lt", "lte", "gt", "gte", "in", "notIn"])
async def test_a_filter_takes_every_amount_that_can_be_shown(ask: Ask, operator: str) -> None:
    await done(ask, "createItem", {"sku": "A", "name": "Apple", "price": "10"})
    await done(
        ask,
        "createCustomer",
        {"name": "Ada", "email": "ada@example.com", "orders": [{"items": [{"item": {"sku": "A"}, "quantity": 1}]}]},
    )
    for text in ("19999999999.98", "92233720368547758.08", "9" * 28 + ".99", "-" + "9" * 28):
        value = [text] if operator in ("in", "notIn") else text
        expected = int(operator in (LESS if text[0] == "-" else MORE))
        condition = {operator: value}
        where = {
            "totalAmount": condition,
            "subtotal": condition,
            "items": {"some": {"lineTotal": condition}},
        }
        query = "query($w: OrderWhere!) { orders(where: $w) { totalCount } }"
        assert (await ask.data(query, {"w": where}))["orders"]["totalCount"] == expected, text
        bulk = {"where": where, "set": {"note": text}}
        if operator in ("ne", "notIn") and text != "19999999999.98":
            # No row can hold it: a condition that all rows pass is not taken for one.
            told = await refusals(ask, "updateOrders", bulk)
            assert told
            assert set(told) <= {("INVALID_INPUT", f"input.where.{name}.{operator}") for name in PLACES}, text
        else:
            assert (await done(ask, "updateOrders", bulk, "count"))["count"] == expected, text


async def test_an_amount_that_cannot_be_shown_is_refused(ask: Ask) -> None:
    for value in ("1" + "0" * 28, "1e28", 10**28, "-1e300", "0.001", "1e-3", "1." + "0" * 31 + "1"):
        answer = await ask("query($v: Decimal!) { orders(where: {totalAmount: {gt: $v}}) { totalCount } }", {"v": value})
        (error,) = answer["errors"]
        assert error["extensions"]["code"] == "BAD_USER_INPUT", value
        assert error["extensions"]["path"] == ["where", "totalAmount", "gt"], value


LINE = {"item": {"sku": "A"}, "quantity": 1}
PENDING = {"status": {"eq": "PENDING"}}
TOO_MUCH = "10000000000.00"
ORDER = {"customer": {"email": "ada@example.com"}}
STORED: dict[str, tuple[str, dict[str, Any], str]] = {
    "an item": ("createItem", {"sku": "N", "name": "n", "price": TOO_MUCH}, "input.price"),
    "an item of a line": (
        "createOrder",
        {**ORDER, "items": [{"item": {"create": {"sku": "N", "name": "n", "price": "9" * 20}}, "quantity": 1}]},
        "input.items.0.item.create.price",
    ),
    "plain rows": ("insertItems", {"rows": [{"sku": "N", "name": "n", "price": "1e27"}]}, "input.rows.0.price"),
    "a change": ("updateItem", {"id": "Item:1", "price": TOO_MUCH}, "input.price"),
    "an upsert": ("upsertItem", {"sku": "A", "name": "n", "price": TOO_MUCH}, "input.price"),
    "a price paid": ("createOrder", {**ORDER, "items": [{**LINE, "pricePaid": "-1e27"}]}, "input.items.0.pricePaid"),
    "a discount": ("createOrder", {**ORDER, "discount": "1e27", "items": [LINE]}, "input.discount"),
    "a new discount": ("updateOrder", {"id": "Order:1", "discount": "1e27"}, "input.discount"),
    "many discounts": ("updateOrders", {"where": PENDING, "set": {"discount": "1e27"}}, "input.set.discount"),
}


@pytest.mark.parametrize("case", STORED)
async def test_a_stored_amount_has_ten_digits_before_the_point(ask: Ask, case: str) -> None:
    await done(ask, "createItem", {"sku": "A", "name": "Apple", "price": DEAREST})
    await done(ask, "createCustomer", {"name": "Ada", "email": "ada@example.com", "orders": [{"items": [LINE]}]})
    everything = "{ items { nodes { sku name price version } } orders { nodes { totalAmount discount version } } }"
    before, numbers = await ask.data(everything), await rows_of(ask)
    field, input_, path = STORED[case]
    assert await refusals(ask, field, input_) == [("INVALID_INPUT", path)]
    assert (await ask.data(everything), await rows_of(ask)) == (before, numbers)


async def test_all_refusals_of_amounts_come_together(ask: Ask) -> None:
    payload = await mutate(ask, "createItem", {"sku": " ", "name": "n", "price": TOO_MUCH})
    assert [(error["path"], error.get("reason")) for error in payload["errors"]] == [
        (["input", "sku"], "must not be blank"),
        (["input", "price"], "must have at most 10 digits before the point"),
    ]

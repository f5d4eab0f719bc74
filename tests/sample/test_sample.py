"""The Northwind sample: what is loaded is what the shipped files say."""

from __future__ import annotations

from datetime import datetime
from decimal import ROUND_HALF_UP, Decimal

import pytest
import sqlalchemy as sa

from graph import sample
from graph.models import Customer, Item, Order, OrderItem, OrderStatus
from graph.sample import northwind as reader
from tests import northwind
from tests.conftest import Ask

SHOP = "northwind"

CENT = Decimal("0.01")


def gross(line: dict[str, str]) -> Decimal:
    return Decimal(line["unit_price"]) * int(line["quantity"])


def discount(lines: list[dict[str, str]]) -> Decimal:
    return sum((gross(line) * Decimal(line["discount"]) for line in lines), Decimal()).quantize(CENT, ROUND_HALF_UP)


async def test_counts_and_totals_are_those_of_the_files(shop: Ask) -> None:
    lines: dict[str, list[dict[str, str]]] = {}
    for line in northwind.rows("order_details"):
        lines.setdefault(line["order_id"], []).append(line)
    expected_gross = sum((gross(line) for order in lines.values() for line in order), Decimal())
    expected_net = expected_gross - sum((discount(order) for order in lines.values()), Decimal())
    assert (expected_gross, expected_net) == (Decimal("1354458.59"), Decimal("1265792.83"))

    async with shop.database.session() as session:
        counts = [await session.scalar(sa.select(sa.func.count()).select_from(m)) for m in (Customer, Item, Order, OrderItem)]
        stored_gross = await session.scalar(sa.select(sa.func.sum(OrderItem.quantity * OrderItem.price_paid)))
        stored_net = await session.scalar(sa.select(sa.func.sum(Order.total_amount)))
    assert counts == [91, 77, 830, 2155]
    assert counts == [len(northwind.rows(name)) for name in ("customers", "products", "orders", "order_details")]
    assert (stored_gross, stored_net) == (int(expected_gross * 100), int(expected_net * 100))


async def test_every_order_keeps_the_rule_of_its_total(shop: Ask) -> None:
    subtotal = (
        sa.select(sa.func.sum(OrderItem.quantity * OrderItem.price_paid)).where(OrderItem.order_id == Order.id).scalar_subquery()
    )
    broken = sa.select(sa.func.count()).select_from(Order).where(Order.total_amount != subtotal - Order.discount)
    async with shop.database.session() as session:
        assert await session.scalar(broken) == 0


async def test_rows_say_what_the_files_say(shop: Ask) -> None:
    async with shop.database.session() as session:
        stored = (await session.execute(sa.select(Customer.email, Customer.name, Customer.archived_at))).all()
        assert {(email, name) for email, name, _ in stored} == {
            (f"{row['customer_id'].lower()}@northwind.example", row["company_name"]) for row in northwind.rows("customers")
        }
        items = (await session.execute(sa.select(Item.sku, Item.name, Item.price, Item.stock, Item.archived_at))).all()
        assert set(items) == {
            (f"NW-{row['product_id']}", row["product_name"], int(Decimal(row["unit_price"]) * 100), None, None)
            for row in northwind.rows("products")
        }
        assert all(archived_at is None for *_, archived_at in stored)
        orders = (
            await session.execute(
                sa.select(Customer.email, Order.order_date, Order.status, Order.discount).join(Order.customer).order_by(Order.id)
            )
        ).all()
    assert len(orders) == 830
    for (email, order_date, status, cents), row in zip(orders, northwind.rows("orders"), strict=True):
        assert email == f"{row['customer_id'].lower()}@northwind.example"
        assert order_date == datetime.fromisoformat(f"{row['order_date']}T00:00:00+00:00")
        assert status == (OrderStatus.SHIPPED if row["shipped_date"] else OrderStatus.PENDING)
        assert cents >= 0


async def test_a_database_with_rows_is_left_alone(shop: Ask) -> None:
    with pytest.raises(sample.NotEmpty, match="customer"):
        await sample.load(shop.database)
    async with shop.database.session() as session:
        assert await session.scalar(sa.select(sa.func.count()).select_from(Customer)) == 91


@pytest.mark.parametrize(("exponent", "price"), [(0, 10), (2, 980), (3, 9800)])
def test_amounts_follow_the_currency(exponent: int, price: int) -> None:
    assert reader.read(exponent).orders[0].lines[1].price_paid == price


async def test_one_customers_orders_with_items_answer_what_the_files_say(shop: Ask) -> None:
    answer = await shop(
        """
        query ($email: String!) {
          customer(by: {email: $email}) {
            name
            orders(first: 100) {
              totalCount
              nodes {
                status orderDate discount totalAmount
                customer { email }
                items { position quantity pricePaid item { sku name } }
              }
            }
          }
        }
        """,
        {"email": "SAVEA@northwind.example"},
    )
    assert "errors" not in answer
    customer = answer["data"]["customer"]
    orders = northwind.orders_of("SAVEA")
    assert customer["name"] == "Save-a-lot Markets"
    assert customer["orders"]["totalCount"] == len(orders) == 31
    for node, row in zip(customer["orders"]["nodes"], orders, strict=True):
        lines = northwind.lines_of(row["order_id"])
        assert node["status"] == ("SHIPPED" if row["shipped_date"] else "PENDING")
        assert datetime.fromisoformat(node["orderDate"]) == datetime.fromisoformat(f"{row['order_date']}T00:00:00+00:00")
        assert node["discount"] == northwind.money(discount(lines))
        assert node["totalAmount"] == northwind.money(sum(map(gross, lines), Decimal()) - discount(lines))
        assert node["customer"] == {"email": "savea@northwind.example"}
        assert node["items"] == [
            {
                "position": position,
                "quantity": int(line["quantity"]),
                "pricePaid": northwind.money(Decimal(line["unit_price"])),
                "item": {"sku": f"NW-{line['product_id']}", "name": line["product_name"]},
            }
            for position, line in enumerate(lines, start=1)
        ]

"""A shop for the tests of reads: Northwind, made less even, and the same on both databases to the microsecond.

What goes in: a database with Northwind in it. What comes out: the same rows with stocks, notes, archived rows, statuses,
equal names, times of their own and an order without lines, all computed from the ids.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from sqlalchemy import select

from graph.database import Database
from graph.models import Customer, Item, Order, OrderStatus

START = datetime(2020, 1, 1, tzinfo=UTC)

NOTES = [
    None,
    "50% off",
    "50 percent off",
    "under_score",
    "underXscore",
    r"back\slash",
    "quote \" and ' and `",
    "emoji 👩‍👩‍👧 😀",
    "שלום, مرحبا",
    "e\u0301 is not é",
    "tab\tline\nreturn\rbell\u0007escape\u001b delete\u007f separator\u2028",
    "ÄÖÜ äöü İ ß",
    "",
    " PLEASE leave at the Door ",
    "'; DROP TABLE orders; --",
]

ARCHIVED_CUSTOMERS = {7: "Ida", 40: None}
ARCHIVED_ITEMS = {9: "Ida", 24: None}


def moment(step: int) -> datetime:
    """A time that several ids share, with a fraction of a second of every length."""
    return START + timedelta(hours=step // 2, microseconds=[0, 500_000, 120_000, 7][step // 2 % 4])


async def vary(database: Database) -> None:
    """Make the rows of the sample uneven."""
    async with database.session() as session, session.begin():
        for customer in await session.scalars(select(Customer)):
            customer.created_at, customer.updated_at = moment(customer.id), moment(200 - customer.id)
            if customer.id in (11, 12, 13):
                customer.name = "Drillinge"
            if customer.id in ARCHIVED_CUSTOMERS:
                customer.archived_at, customer.archived_by = moment(customer.id + 300), ARCHIVED_CUSTOMERS[customer.id]
        for item in await session.scalars(select(Item)):
            item.created_at, item.updated_at = moment(item.id), moment(200 - item.id)
            item.stock = None if item.id % 3 == 0 else item.id * 7 % 13
            if item.id in ARCHIVED_ITEMS:
                item.archived_at, item.archived_by = moment(item.id + 300), ARCHIVED_ITEMS[item.id]
        for order in await session.scalars(select(Order)):
            order.created_at, order.updated_at = moment(order.id), moment(1000 - order.id)
            order.note = NOTES[order.id % len(NOTES)]
            if order.id % 10 == 0:
                order.status = OrderStatus.PAID
            if order.id % 17 == 0:
                order.status = OrderStatus.CANCELLED
        empty = {"order_date": START, "created_at": START, "updated_at": START}
        session.add(Order(customer_id=1, note="no lines yet", **empty))

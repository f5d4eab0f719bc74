"""Fills an empty database with the Northwind sample.

What goes in: a migrated, empty database. What comes out: 91 customers, 77 items, 830 orders, 2,155 lines, in one
transaction, which also tells of them. What may be refused here: a database that holds any of these already raises
`NotEmpty`, and nothing changes.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncSession

from graph.base import Base
from graph.database import Database
from graph.feed import outbox
from graph.models import Customer, Item, Order, OrderItem, OrderStatus
from graph.sample import northwind
from graph.settings import Settings
from graph.write.errors import Row
from graph.write.record import Change, Kind


class NotEmpty(Exception):
    """The database holds rows already; the message says of what."""


@dataclass(frozen=True, slots=True)
class Loaded:
    """How many rows were written."""

    customers: int
    items: int
    orders: int
    lines: int

    def __str__(self) -> str:
        return f"{self.customers} customers, {self.items} items, {self.orders} orders, {self.lines} lines"


async def load(database: Database) -> Loaded:
    """Write the sample. Raises `NotEmpty`."""
    sample = northwind.read(database.settings.currency_exponent)
    async with database.session() as session:
        return await database.transaction(session, lambda: _write(session, sample))


async def load_into(settings: Settings, shop: str | None = None) -> Loaded:
    """Write the sample, into a shop's database where there are many, over connections of its own. Raises `NotEmpty`."""
    database = Database(settings, shop)
    try:
        return await load(database)
    finally:
        await database.close()


async def _write(session: AsyncSession, sample: northwind.Sample) -> Loaded:
    for model in (Customer, Item):
        if await session.scalar(sa.select(sa.exists().select_from(model))):
            raise NotEmpty(f"the {model.__tablename__} table has rows already")
    customers = await _insert(session, Customer, [{"name": c.name, "email": c.email} for c in sample.customers])
    items = await _insert(session, Item, [{"sku": i.sku, "name": i.name, "price": i.price} for i in sample.items])
    customer_ids = dict(zip((c.email for c in sample.customers), customers, strict=True))
    item_ids = dict(zip((i.sku for i in sample.items), items, strict=True))
    orders = await _insert(
        session,
        Order,
        [
            {
                "customer_id": customer_ids[order.email],
                "status": OrderStatus.SHIPPED if order.shipped else OrderStatus.PENDING,
                "order_date": order.order_date,
                "discount": order.discount,
                "total_amount": order.total_amount,
            }
            for order in sample.orders
        ],
    )
    lines = await _insert(
        session,
        OrderItem,
        [
            {
                "order_id": order_id,
                "position": position,
                "item_id": item_ids[line.sku],
                "quantity": line.quantity,
                "price_paid": line.price_paid,
            }
            for order_id, order in zip(orders, sample.orders, strict=True)
            for position, line in enumerate(order.lines, start=1)
        ],
    )
    await outbox.keep(
        session,
        [
            *_told("Customer", customers, customers),
            *_told("Item", items),
            *_told("Order", orders, [customer_ids[order.email] for order in sample.orders]),
            Change("OrderItem", None, Kind.MANY, Row("Order", 0), None, count=len(lines)),
        ],
    )
    return Loaded(len(customers), len(items), len(orders), len(lines))


def _told(type_: str, keys: Sequence[int], owners: Iterable[int | None] = itertools.repeat(None)) -> list[Change]:
    """New roots as changes."""
    return [
        Change(type_, key, Kind.CREATED, Row(type_, key), 1, owner_after=owner) for key, owner in zip(keys, owners, strict=False)
    ]


async def _insert(session: AsyncSession, model: type[Base], rows: list[dict[str, Any]]) -> Sequence[int]:
    """The keys of the rows inserted, in the order given (the table's sentinel matches them)."""
    table = model.metadata.tables[model.__tablename__]
    return (await session.scalars(sa.insert(table).returning(table.c.id, sort_by_parameter_order=True), rows)).all()

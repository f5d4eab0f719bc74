"""A batch written: customers, items, or orders with their lines, in the transaction of a unit, through the write door.

What goes in: entries without faults. What comes out: an `Arrival`: what was made, what was there already. What may be refused
here: references to what is not there, an order that is there and was made of something else, more pieces than are in stock.

An import adds, and changes nothing that is there.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain, repeat
from typing import Any

import sqlalchemy as sa

from graph.base import Base
from graph.exchange import order_sources
from graph.exchange.entries import Entry, Fault, Order, Person, Product
from graph.models import Customer, Item, OrderItem
from graph.models import Order as OrderRow
from graph.orders.reservations import HOLDING, lock_stock
from graph.read.rows import rows
from graph.scope import SERVER
from graph.write import door
from graph.write.column_rows import insert_values
from graph.write.columns import start_of
from graph.write.drawn_keys import next_keys
from graph.write.errors import ROOT
from graph.write.images import among
from graph.write.locks import Lock, locked
from graph.write.sight import Keyed
from graph.write.unit import Unit


@dataclass(slots=True)
class Arrival:
    """What became of a batch: how many of each were `made`, or were `there`; what was `refused`, with why."""

    made: Counter[str] = field(default_factory=Counter)
    there: Counter[str] = field(default_factory=Counter)
    refused: list[tuple[Entry, Fault]] = field(default_factory=list)

    def refuse(self, entry: Entry, code: str, reason: str, row: int = 0) -> None:
        """Refuse an entry."""
        self.refused.append((entry, Fault(row, code, reason)))


async def write_people(unit: Unit, people: Sequence[Person]) -> Arrival:
    """Customers, by their addresses."""
    names = ("email", "name", "archived_at", "archived_by")
    first = _first(people, lambda each: each.email)
    made = await _insert(unit, Customer, "email", {name: [getattr(each, name) for each in first] for name in names})
    return Arrival(Counter(customers=made), Counter(customers=len(people) - made))


async def write_products(unit: Unit, products: Sequence[Product]) -> Arrival:
    """Items, by their codes."""
    names = ("sku", "name", "price", "stock", "archived_at", "archived_by")
    first = _first(products, lambda each: each.sku)
    made = await _insert(unit, Item, "sku", {name: [getattr(each, name) for each in first] for name in names})
    return Arrival(Counter(items=made), Counter(items=len(products) - made))


def _first(entries: Sequence[Any], key: Callable[[Any], str]) -> list[Any]:
    """Of each key the first entry, in the order of the keys: so writers of the same rows do not wait in a ring."""
    found = {key(each): each for each in reversed(entries)}
    return [found[name] for name in sorted(found)]


async def _insert(unit: Unit, model: type[Base], key: str, values: dict[str, list[Any]]) -> int:
    """Insert rows by columns, but for those whose key is taken; how many were."""
    if not values[key]:
        return 0
    statement = insert_values(unit, model, values, start_of(model).values(unit.now))
    return await door.insert(unit, Keyed(model, key, values[key], lambda _: ROOT), statement, skip=True)


async def write_orders(unit: Unit, orders: Sequence[Order]) -> Arrival:
    """Orders that are not there yet, each whole or not at all."""
    arrival = Arrival()
    fresh = await _fresh(unit, orders, arrival)
    customers = await _customers(unit, fresh, arrival)
    items = await _items(unit, fresh, arrival)
    fresh = _with_references(fresh, customers, items, arrival)
    fresh = await _reserve(unit, fresh, items, arrival)
    lines = sum(len(order.skus) for order in fresh)
    keys = await next_keys(unit.context, unit.dialect, {OrderRow: len(fresh), OrderItem: lines})
    if fresh:
        await _insert_orders(unit, fresh, keys[OrderRow], customers)
        await order_sources.keep(unit, fresh, keys[OrderRow])
    if lines:
        await _insert_lines(unit, fresh, keys, items)
    arrival.made += Counter(orders=len(fresh), lines=lines)
    return arrival


async def _fresh(unit: Unit, orders: Sequence[Order], arrival: Arrival) -> list[Order]:
    """The orders that are not there. One that is there and was made of the same is passed over."""
    known = await order_sources.fingerprints(unit, orders)
    own = await order_sources.own(unit, [order for order in orders if order.key not in known])
    fresh: list[Order] = []
    for order in orders:
        there = known.get(order.key)
        if there is None and order.key not in own:
            known[order.key] = order.fingerprint
            fresh.append(order)
        elif there in (None, order.fingerprint):
            arrival.there += Counter(orders=1, lines=len(order.skus))
        else:
            arrival.refuse(order, "UNIQUE", f"order {order.number} of {order.source} is there already, made of something else")
    return fresh


async def _customers(unit: Unit, orders: Sequence[Order], arrival: Arrival) -> dict[str, int]:
    """The keys of customers by address; those that are not there are made where the file says what they are called."""
    wanted = sorted({order.email for order in orders})
    row = rows(Customer, SERVER)

    async def look_up(emails: Sequence[str]) -> dict[str, int]:
        found = sa.select(row.email, row.id).where(among(unit, row.email, emails))
        return {str(email): int(key) for email, key in await unit.rows(locked(found, row, Lock.POINT_TO))}

    there = await look_up(wanted) if wanted else {}
    new = {order.email: order.customer_name for order in reversed(orders) if order.customer_name and order.email not in there}
    if new:
        emails = sorted(new)
        made = await _insert(unit, Customer, "email", {"email": emails, "name": [new[email] for email in emails]})
        arrival.made["customers"] += made
        there |= await look_up(emails)
    return there


async def _items(unit: Unit, orders: Sequence[Order], arrival: Arrival) -> dict[str, tuple[int, bool]]:
    """The keys of items by code, and whether they count their stock; those that are not there are made of their first line."""
    wanted = sorted(set(chain.from_iterable(order.skus for order in orders)))
    row = rows(Item, SERVER)

    async def look_up(skus: Sequence[str]) -> dict[str, tuple[int, bool]]:
        found = sa.select(row.sku, row.id, row.stock.is_not(None)).where(among(unit, row.sku, skus))
        return {sku: (key, bool(counted)) for sku, key, counted in await unit.rows(locked(found, row, Lock.POINT_TO))}

    there = await look_up(wanted) if wanted else {}
    missing = set(wanted).difference(there)
    if missing:
        first: dict[str, tuple[str, int]] = {}
        for order in orders:
            for sku, name, price in zip(order.skus, order.names, order.prices, strict=True):
                # A line without a description names its item by the code: a later one may tell.
                if sku in missing and name and (sku not in first or (first[sku][0] == sku != name)):
                    first[sku] = (name, first.get(sku, (name, price))[1])
        new = sorted(first)
        values: dict[str, list[Any]] = {
            "sku": new,
            "name": [first[sku][0] for sku in new],
            "price": [first[sku][1] for sku in new],
        }
        arrival.made["items"] += await _insert(unit, Item, "sku", values)
        there |= await look_up(new)
    return there


def _with_references(
    orders: Sequence[Order], customers: Mapping[str, int], items: Mapping[str, Any], arrival: Arrival
) -> list[Order]:
    """The orders that point to nothing that is not there, and is not made."""
    kept: list[Order] = []
    missing = set(chain.from_iterable(order.skus for order in orders)).difference(items)
    for order in orders:
        lost = [index for index, sku in enumerate(order.skus) if sku in missing] if missing else []
        if order.email not in customers:
            arrival.refuse(order, "REFERENCE_NOT_FOUND", f"there is no customer {order.email}")
        for index in lost:
            arrival.refuse(order, "REFERENCE_NOT_FOUND", f"there is no item {order.skus[index]}", order.at[index])
        if order.email in customers and not lost:
            kept.append(order)
    return kept


async def _reserve(unit: Unit, orders: Sequence[Order], items: Mapping[str, tuple[int, bool]], arrival: Arrival) -> list[Order]:
    """Take from stock what PENDING and PAID orders hold; those for which there is enough, and all others."""
    holding = [order for order in orders if order.status in HOLDING]
    counted = {items[sku][0]: None for order in holding for sku in order.skus if items[sku][1]}
    if not counted:
        return list(orders)
    held = await lock_stock(unit, counted)
    left = {key: row.stock for key, row in held.items()}
    taken: dict[int, int] = defaultdict(int)
    kept: list[Order] = []
    for order in orders:
        wanted: dict[int, int] = defaultdict(int)
        short: Fault | None = None
        for index, sku in enumerate(order.skus if order.status in HOLDING else ()):
            key = items[sku][0]
            if key in left:
                wanted[key] += order.quantities[index]
                if wanted[key] > left[key]:
                    short = Fault(order.at[index], "OUT_OF_STOCK", f"{wanted[key]} of {sku} wanted, {left[key]} in stock")
        if short is not None:
            arrival.refused.append((order, short))
            continue
        kept.append(order)
        for key, pieces in wanted.items():
            left[key] -= pieces
            taken[key] -= pieces
    await door.add(unit, Item, "stock", dict(taken), held)
    return kept


async def _insert_orders(unit: Unit, orders: Sequence[Order], keys: Sequence[int], customers: Mapping[str, int]) -> None:
    values: dict[str, list[Any]] = {
        "id": list(keys),
        "customer_id": [customers[order.email] for order in orders],
        "status": [order.status for order in orders],
        "order_date": [order.order_date for order in orders],
        "discount": [order.discount for order in orders],
        "total_amount": [order.subtotal - order.discount for order in orders],
        "note": [order.note for order in orders],
    }
    await door.insert_keyed(unit, OrderRow, keys, values, start_of(OrderRow).values(unit.now))


async def _insert_lines(
    unit: Unit, orders: Sequence[Order], keys: Mapping[type[Base], Sequence[int]], items: Mapping[str, tuple[int, bool]]
) -> None:
    column = chain.from_iterable
    counts = [len(order.skus) for order in orders]
    values: dict[str, list[Any]] = {
        "id": list(keys[OrderItem]),
        "order_id": list(column(map(repeat, keys[OrderRow], counts))),
        "position": list(column(range(1, count + 1) for count in counts)),
        "item_id": [items[sku][0] for sku in column(order.skus for order in orders)],
        "quantity": list(column(order.quantities for order in orders)),
        "price_paid": list(column(order.prices for order in orders)),
    }
    await door.insert_keyed(unit, OrderItem, keys[OrderItem], values, start_of(OrderItem).values(unit.now))

"""Stock: lines of PENDING and PAID orders hold pieces of the items that track theirs.

What goes in: what a flush is about to write, or orders that a statement is about to delete. What comes out: the items' stock
moved, items locked in id order, one UPDATE. What is refused here: more pieces than there are, as OUT_OF_STOCK, one error for
an item, at the last of its lines; more than a counter holds, as INVALID_INPUT.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from typing import Any

import sqlalchemy as sa
from sqlalchemy import ColumnElement
from sqlalchemy.orm.attributes import instance_state

from graph.base import Base
from graph.models import Item, Order, OrderItem, OrderStatus
from graph.orders.rules import moved
from graph.read.rows import rows
from graph.scope import SERVER
from graph.stock import MOST_PIECES, out_of_stock, over_stocked
from graph.write import door
from graph.write.errors import ROOT, Refused
from graph.write.locks import Lock, locked
from graph.write.pending import PendingRows, former_value, parent_of
from graph.write.unit import Unit

HOLDING = (OrderStatus.PENDING, OrderStatus.PAID)

#: Stock holds over all rows, whoever writes.
ALL: Any = rows(Item, SERVER)
TRACKED = sa.select(ALL.id, ALL.stock, ALL.version).where(ALL.id.in_(sa.bindparam("ids", expanding=True)), ALL.stock.is_not(None))
LOCK = locked(TRACKED, ALL, Lock.CHANGE)


async def move_stock(unit: Unit, changes: PendingRows) -> None:
    """Take what new lines hold, give back what removed, reduced and cancelled ones held."""
    taken: dict[int, int] = defaultdict(int)
    lines: dict[int, list[Base]] = defaultdict(list)
    causes: dict[int, list[Base]] = defaultdict(list)
    for line in changes.touched(OrderItem):
        for item_id, pieces in _moves(unit, changes, line):
            taken[item_id] += pieces
            causes[item_id].append(line)
            if pieces > 0:
                lines[item_id].append(line)
    for order in changes.dirty:
        if isinstance(order, Order) and moved(order) and order.status is OrderStatus.CANCELLED:
            for line in order.items:
                taken[line.item_id] -= line.quantity
                causes[line.item_id].append(order)
    wanted = {item_id: pieces for item_id, pieces in taken.items() if pieces}
    if not wanted:
        return
    stock = await lock_stock(unit, wanted)
    for item_id, item in stock.items():
        available = item.stock
        if wanted[item_id] > available:
            unit.refuse(out_of_stock(unit.scope, wanted[item_id], available, unit.place(unit.last(lines[item_id]), "quantity")))
            del wanted[item_id]
        elif available - wanted[item_id] > MOST_PIECES:
            unit.refuse(over_stocked(unit.origin(unit.last(causes[item_id])).path))
            del wanted[item_id]
    await door.add(unit, Item, "stock", {item_id: -pieces for item_id, pieces in wanted.items() if item_id in stock}, stock)


def _moves(unit: Unit, changes: PendingRows, line: OrderItem) -> list[tuple[int, int]]:
    """Pieces that a line takes (positive) and gives back (negative), by item."""
    target = unit.target(line, "item")
    quantity = max(0, line.__dict__.get("quantity") or 0)  # what is below is refused by its CHECK
    if instance_state(line).key is None:
        if isinstance(target, Item):
            _take_from_new(unit, line, target, quantity)
            return []
        # A row looked up a moment ago says whether its stock is tracked at all.
        item_id = line.__dict__.get("item_id")
        return [] if item_id is None or (target is not None and target.stock is None) else [(item_id, quantity)]
    before = (former_value(line, "item_id"), former_value(line, "quantity"))
    if line in changes.deleted:
        order = parent_of(unit.session.sync_session, line, "order")
        return [(before[0], -before[1])] if order.status in HOLDING else []
    if isinstance(target, Item):
        _take_from_new(unit, line, target, quantity)
        return [(before[0], -before[1])]
    return [] if before == (line.item_id, quantity) else [(before[0], -before[1]), (line.item_id, quantity)]


def _take_from_new(unit: Unit, line: OrderItem, item: Item, quantity: int) -> None:
    """The item is made in the same input: its stock is still in our hands."""
    if item.__dict__.get("stock") is None:
        return
    assert item.stock is not None
    if quantity > item.stock >= 0:
        unit.refuse(out_of_stock(unit.scope, quantity, item.stock, unit.place(line, "quantity")))
    elif quantity > 0:
        item.stock -= quantity


async def lock_stock(unit: Unit, item_ids: Mapping[int, Any]) -> dict[int, Any]:
    """Those items that track their stock, with it and their version, locked in id order until the transaction ends."""
    return {row.id: row for row in await unit.rows(LOCK, {"ids": sorted(item_ids)})}


async def release(unit: Unit, orders: ColumnElement[bool]) -> None:
    """Give back what the lines of orders hold that are about to be deleted."""
    line, order = rows(OrderItem, SERVER), rows(Order, SERVER)
    held = (
        sa.select(line.item_id, sa.func.sum(line.quantity))
        .join(order, order.id == line.order_id)
        .where(orders, order.status.in_(HOLDING))
        .group_by(line.item_id)
    )
    pieces: dict[int, int] = {row[0]: int(row[1]) for row in await unit.rows(held)}
    if pieces:
        stock = await lock_stock(unit, pieces)
        if any(item.stock + pieces[item_id] > MOST_PIECES for item_id, item in stock.items()):
            raise Refused([over_stocked(ROOT)])
        await door.add(unit, Item, "stock", {item_id: n for item_id, n in pieces.items() if item_id in stock}, stock)

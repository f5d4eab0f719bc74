"""What holds for every order, whichever mutation writes it.

What goes in: what a flush is about to write. What comes out: lines with a price and a position, orders with their total. What is
refused here: archived items and customers (ARCHIVED), changes of the lines or the discount of an order that is not PENDING and
the removal of PAID and SHIPPED orders through their customer (NOT_EDITABLE).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from graph.models import Customer, Order, OrderItem, OrderStatus
from graph.orders.errors import not_editable
from graph.scope import BOUND
from graph.write.answers import row_of
from graph.write.errors import ROOT, ArchivedError, Row
from graph.write.pending import PendingRows, changed_columns, former_parent, parent_of, put
from graph.write.unit import Unit

#: Inputs can multiply to more than a BIGINT; what is over this is refused by the constraint on the subtotal anyway.
MOST = 2 * 10**18
#: What a line needs to count in a total.
PRICED = frozenset({"quantity", "price_paid"})


async def keep_orders(unit: Unit, changes: PendingRows) -> None:
    """Prices, positions and totals, in this order."""
    session = unit.session.sync_session
    orders: dict[int, Order] = {id(order): order for order in changes.written(Order)}
    gone = {id(row) for row in changes.deleted}
    for line in changes.touched(OrderItem):
        order = parent_of(session, line, "order")
        if id(order) in gone:
            continue
        orders[id(order)] = order
        former = former_parent(session, line, "order")
        if former is not None:
            orders[id(former)] = former
        if order.status is not OrderStatus.PENDING:
            unit.refuse(not_editable(order, unit.place(order, "items")))
        target = unit.target(line, "item")
        if target is not None:
            refuse_archived(unit, line, "item", target)
            # Who may not say a price does not keep that of another item. That of an item made in place may be refused itself.
            anew = unit.scope.kind == BOUND and "item_id" in changed_columns(line)
            if (anew or "price_paid" not in line.__dict__) and target.price is not None:
                put(line, "price_paid", target.price)
    # A list that is replaced is numbered again though none of its lines changes otherwise: so it is put in another order.
    for order in [unit.origins[key].row for key, relation in unit.replaced if relation == "items"]:
        if isinstance(order, Order) and order.items and id(order) not in gone:
            orders[id(order)] = order
            if order.status is not OrderStatus.PENDING:
                unit.refuse(not_editable(order, unit.place(order, "items")))
    for order in orders.values():
        if order.status is not OrderStatus.PENDING and "discount" in changed_columns(order):
            unit.refuse(not_editable(order, unit.place(order, "discount")))
        refuse_archived(unit, order, "customer", unit.target(order, "customer") or _added_to(order, changes))
        # A new order without lines has its total too, or any discount would pass.
        if "items" in order.__dict__ or "id" not in order.__dict__:
            _number(order, changes, unit.sees, again=(id(order), "items") in unit.replaced)
            if all(line.__dict__.keys() >= PRICED for line in order.items):
                put(order, "total_amount", total(order))
    for order in (row for row in changes.deleted if isinstance(row, Order)):
        if order.status in (OrderStatus.PAID, OrderStatus.SHIPPED) and unit.origin(order).path != ROOT:
            unit.refuse(not_editable(order, unit.origin(order).path))


def _added_to(order: Order, changes: PendingRows) -> Customer | None:
    """The customer who was there before and gets a new order."""
    customer: Customer | None = order.__dict__.get("customer")
    return customer if customer is not None and customer not in changes.new and order in changes.new else None


def refuse_archived(unit: Unit, row: Any, relation: str, target: Any) -> None:
    """An archived row cannot be pointed to any more."""
    if target is None or target.archived_at is None:
        return
    type_ = relation.capitalize()
    unit.refuse(
        ArchivedError(
            message=f"This {relation} is archived",
            path=unit.place(row, relation),
            row=row_of(target) if isinstance(target, Customer) else Row(type_, target.id),
        )
    )


def _number(order: Order, changes: PendingRows, sees: Callable[[OrderItem], bool], *, again: bool) -> None:
    """New lines follow the highest position there was; gaps stay. A replaced list is numbered again, after all others;
    lines that the writer does not see keep theirs."""
    removed = [line.position for line in changes.deleted if isinstance(line, OrderItem) and line.order_id == order.id]
    highest = max([0, *removed, *(line.__dict__.get("position", 0) for line in order.items)])
    for line in order.items:
        if (again and sees(line)) or "position" not in line.__dict__:
            highest += 1
            put(line, "position", highest)


def total(order: Order) -> int:
    """What the customer pays. All lines must be loaded."""
    subtotal = sum(line.quantity * line.price_paid for line in order.items)
    return max(-MOST, min(MOST, subtotal - order.discount))


def moved(order: Order) -> bool:
    """Whether this flush changes the status of an order."""
    return "status" in changed_columns(order)

"""The transfer: pieces of a line to another order, both totals together or not at all.

What goes in: the input of `moveOrderItem`. What comes out: the line that has the pieces now and both orders. What is
refused here: orders that are not PENDING or not of one customer, more pieces than the line has, a discount that would
exceed a subtotal.
"""

from __future__ import annotations

import sqlalchemy as sa

from graph.models import Order, OrderItem, OrderStatus
from graph.orders.errors import not_editable
from graph.orders.inputs import MoveOrderItemInput
from graph.orders.payloads import MoveOrderItemPayload
from graph.write.answers import Answer, answer
from graph.write.columns import key_in_id, missing
from graph.write.errors import ROOT, Path, Refused, invalid
from graph.write.mutation_inputs import ABSENT, given
from graph.write.origins import Origin
from graph.write.resolvers import mutation
from graph.write.unit import Unit, check_versions

LINE: Path = (*ROOT, "id")
TO: Path = (*ROOT, "toOrder")


@mutation("Move pieces of a line to another PENDING order of the same customer; both totals follow.", scope="write")
async def move_order_item(unit: Unit, input: MoveOrderItemInput) -> Answer[MoveOrderItemPayload]:
    line, source, target = await _load(unit, input)
    check_versions(
        (source, given(input, "expected_version"), (*ROOT, "expectedVersion")),
        (target, given(input, "to_expected_version"), (*ROOT, "toExpectedVersion")),
    )
    sent = given(input, "quantity")
    quantity = line.quantity if sent is ABSENT or sent is None else sent
    place = ROOT if sent is ABSENT or sent is None else (*ROOT, "quantity")
    for order, path in ((source, LINE), (target, TO)):
        unit.origins[id(order)] = Origin(order, place)
        if order.status is not OrderStatus.PENDING:
            unit.refuse(not_editable(order, path))
    if source is target:
        _refuse(unit, TO, "must be another order")
    elif source.customer_id != target.customer_id:
        _refuse(unit, TO, "must be an order of the same customer")
    if not 0 < quantity <= line.quantity:
        _refuse(unit, place, f"must be from 1 to {line.quantity}, which is what the line has")
    if unit.errors:
        raise Refused(unit.errors)
    if quantity == line.quantity:
        source.items.remove(line)
        unit.adopt(target, "items", line)
        line.position = 1 + max([0, *(other.position for other in target.items if other is not line)])
    else:
        line.quantity -= quantity
        line = OrderItem(item_id=line.item_id, quantity=quantity, price_paid=line.price_paid)
        unit.adopt(target, "items", line)
    await unit.flush()
    return answer(order_item=line, from_order=source, to_order=target)


async def _load(unit: Unit, input: MoveOrderItemInput) -> tuple[OrderItem, Order, Order]:
    """The line and both orders, locked in id order. Raises `Refused` where one is not there."""
    key, to = key_in_id(OrderItem, input.id), key_in_id(Order, input.to_order)
    while True:
        row, rows = unit.seen(OrderItem), unit.seen(Order)
        found = None if key is None else await unit.session.scalar(sa.select(row.order_id).where(row.id == key))
        wanted = [id_ for id_ in (found, to) if id_ is not None]
        loaded = await unit.load_all(unit.locked(rows, rows.id.in_(sorted(wanted))), rows, "items")
        orders: dict[int, Order] = {order.id: order for order in loaded}
        absent = []
        if found is None:
            absent.append(missing("OrderItem", input.id, LINE))
        if to not in orders:
            absent.append(missing("Order", input.to_order, TO))
        if absent:
            raise Refused(absent)
        assert found is not None
        assert to is not None
        line = next((line for line in orders[found].items if line.id == key), None) if found in orders else None
        if line is not None:
            return line, orders[found], orders[to]
        # Somebody moved the line between the two statements: look again.


def _refuse(unit: Unit, path: Path, reason: str) -> None:
    unit.refuse(invalid(path, reason))

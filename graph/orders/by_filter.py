"""Orders by filter: changed, discounted, deleted in single statements that keep totals, versions and stock.

What goes in: which orders, and what to do. What comes out: which of them it was done to, and how many; an order that is as it
should be already is none of them. What is refused here: a discount above one of the subtotals or for an order that is not
PENDING, a required value cleared, a percentage out of range.
"""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from sqlalchemy import ColumnElement

from graph.models import Order, OrderItem, OrderStatus
from graph.orders.errors import NotEditableError
from graph.orders.inputs import DeleteOrdersInput, DiscountOrdersInput, UpdateOrdersInput
from graph.orders.payloads import DeletedWithOrder, DeleteOrdersPayload, DiscountOrdersPayload, UpdateOrdersPayload
from graph.write.answers import Answer, answer
from graph.write.bulk import delete_rows, seen_below, update_rows
from graph.write.errors import ROOT, Path, Refused, invalid
from graph.write.images import among
from graph.write.locks import Lock
from graph.write.matching import asked, ids_of, judge, lock_matching
from graph.write.mutation_inputs import sent
from graph.write.new_rows import new_row
from graph.write.resolvers import mutation
from graph.write.unit import Unit

TABLE: Any = sa.inspect(Order).local_table
#: A percentage is an integer of hundredths.
WHOLE = 100 * 100


@mutation("Change the orders that match a filter, or all of them.", scope="admin")
async def update_orders(unit: Unit, input: UpdateOrdersInput) -> Answer[UpdateOrdersPayload]:
    new = new_row(Order, {})
    places: dict[str, Path] = {}
    for field, value in sent(input.set):
        places[field.attribute] = (*ROOT, "set", field.name)
        if unit.fits(TABLE.columns[field.attribute], value, places[field.attribute]):
            unit.assign(new, field.attribute, value, places[field.attribute])
    values: dict[str, Any] = {name: new.__dict__[name] for name in places if name in new.__dict__}

    def differs(order: Any) -> ColumnElement[bool]:
        return sa.or_(sa.false(), *(getattr(order, name).is_distinct_from(value) for name, value in values.items()))

    keys = await lock_matching(unit, Order, input, differs)
    if keys:
        if "discount" in values:
            await _refuse_discount(unit, keys, values["discount"], places["discount"])
            discount = sa.literal(values["discount"], TABLE.c.discount.type)
            values["total_amount"] = TABLE.c.total_amount + TABLE.c.discount - discount
        await update_rows(unit, Order, keys, values, places)
    if unit.errors:
        raise Refused(unit.errors)
    return answer({"count": len(keys), **ids_of(unit, "ids", (("Order", key) for key in keys))})


async def _refuse_discount(unit: Unit, keys: list[int], discount: int, place: Path) -> None:
    """The discount of an order that is not PENDING stays as it is."""
    order = unit.seen(Order)
    fixed = sa.and_(order.status != OrderStatus.PENDING, order.discount != discount)
    found = sa.select(order.status).where(among(unit, order.id, keys), fixed).order_by(order.id).limit(1)
    status = await unit.session.scalar(found)
    if status is not None:
        message = f"An order among them is {status} and does not take another discount"
        unit.refuse(NotEditableError(message=message, path=list(place), status=status))


@mutation(
    "Take a percentage off the totals of all PENDING orders that match a filter, rounded half up.", scope="admin", unbound=True
)
async def discount_orders(unit: Unit, input: DiscountOrdersInput) -> Answer[DiscountOrdersPayload]:
    percent = input.percent
    if not 0 < percent <= WHOLE:
        unit.refuse(invalid((*ROOT, "percent"), "must be above 0 and at most 100"))
        judge(unit, input)
        raise Refused(unit.errors)

    def off(total: Any) -> Any:
        # Whole parts and rest apart, or the product would leave a BIGINT.
        return (total // WHOLE) * percent + ((total % WHOLE) * percent + WHOLE // 2) // WHOLE

    def discounted(order: Any) -> ColumnElement[bool]:
        return sa.and_(order.status == OrderStatus.PENDING, off(order.total_amount) > 0)

    keys = await lock_matching(unit, Order, input, discounted)
    if keys:
        amount = off(TABLE.c.total_amount)
        values = {"discount": TABLE.c.discount + amount, "total_amount": TABLE.c.total_amount - amount}
        await update_rows(unit, Order, keys, values, {"discount": (*ROOT, "percent")})
    return answer({"count": len(keys), **ids_of(unit, "ids", (("Order", key) for key in keys))})


@mutation("Delete the orders that match a filter, or all of them, with their lines.", scope="admin", unbound=True)
async def delete_orders(unit: Unit, input: DeleteOrdersInput) -> Answer[DeleteOrdersPayload]:
    keys = await lock_matching(unit, Order, input, lock=Lock.DELETE)
    lines: list[int] = []
    if keys:
        if asked(unit, "deletedIds") or asked(unit, "deleted"):
            lines = await seen_below(unit, OrderItem.order_id, keys)
        await delete_rows(unit, Order, keys)
    counts = DeletedWithOrder(orders=len(keys), order_items=len(lines))
    gone = [*(("Order", key) for key in keys), *(("OrderItem", key) for key in lines)]
    return answer({"count": len(keys), "deleted": counts, **ids_of(unit, "deleted_ids", gone)})

"""Orders by filter: changed, discounted, deleted in single statements that keep totals, versions and stock.

What goes in: the `where` of the input and what to do. What comes out: how many orders it was done to. What is refused here: a
discount above one of the subtotals, a required value cleared, a percentage out of range.
"""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa

from graph.models import Order, OrderItem, OrderStatus
from graph.orders.payloads import DeletedWithOrder
from graph.write.answers import Answer, answer
from graph.write.bulk import among, lock_matching, update_rows
from graph.write.columns import required
from graph.write.errors import ROOT, InvalidInputError, Path, Refused
from graph.write.inputs import sent
from graph.write.unit import Info, Unit

TABLE: Any = sa.inspect(Order).local_table
#: A percentage is an integer of hundredths.
WHOLE = 100 * 100


async def update_matching(info: Info, unit: Unit, set_: Any) -> Answer:
    """Set columns of the orders that match."""
    values: dict[str, Any] = {}
    places: dict[str, Path] = {}
    for field, value in sent(set_):
        places[field.attribute] = (*ROOT, "set", field.name)
        if value is None and not TABLE.columns[field.attribute].nullable:
            unit.refuse(required(TABLE.columns[field.attribute], places[field.attribute]))
        values[field.attribute] = value
    if unit.errors:
        raise Refused(unit.errors)
    if "discount" in values:
        values["total_amount"] = TABLE.c.total_amount + TABLE.c.discount - sa.literal(values["discount"], TABLE.c.discount.type)
    keys = await lock_matching(info, unit, Order)
    if keys and values:
        await update_rows(unit, Order, keys, values, places)
    return answer({"count": len(keys) if values else 0})


async def discount_matching(info: Info, unit: Unit, percent: int) -> Answer:
    """Take a percentage off the totals of the PENDING orders that match."""
    if not 0 < percent <= WHOLE:
        reason = "must be above 0 and at most 100"
        raise Refused([InvalidInputError(message=f"percent {reason}", path=[*ROOT, "percent"], reason=reason)])
    keys = await lock_matching(info, unit, Order, lambda order: order.status == OrderStatus.PENDING)
    # Whole parts and rest apart, or the product would leave a BIGINT.
    total = TABLE.c.total_amount
    off = (total // WHOLE) * percent + ((total % WHOLE) * percent + WHOLE // 2) // WHOLE
    if keys:
        values = {"discount": TABLE.c.discount + off, "total_amount": total - off}
        await update_rows(unit, Order, keys, values, {"discount": (*ROOT, "percent")})
    return answer({"count": len(keys)})


async def delete_matching(info: Info, unit: Unit) -> Answer:
    """Delete the orders that match; their lines go with them, and what PENDING and PAID ones hold returns."""
    keys = await lock_matching(info, unit, Order)
    lines = 0
    if keys:
        counted = sa.select(sa.func.count()).select_from(OrderItem).where(among(unit, OrderItem.order_id, keys))
        lines = (await unit.session.scalar(counted)) or 0
        await unit.depart(Order, among(unit, Order.id, keys))
        await unit.session.execute(sa.delete(TABLE).where(among(unit, TABLE.c.id, keys)))
    return answer({"count": len(keys), "deleted": DeletedWithOrder(orders=len(keys), order_items=lines)})

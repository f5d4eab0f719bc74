"""The price of a line is that of the day on which its pieces were ordered.

What goes in: what a flush is about to write. What comes out: nothing. What is refused here, of viewers who belong to a customer
and so never say a price: more pieces of a line whose item has another price by now (FORBIDDEN). They order these as a line of
their own, at the price of today; fewer pieces keep the price that was agreed on.
"""

from __future__ import annotations

import sqlalchemy as sa

from graph.models import Item, OrderItem
from graph.scope import BOUND
from graph.write.errors import ForbiddenError
from graph.write.pending import PendingRows, former_value
from graph.write.unit import Unit

MESSAGE = "The item has another price by now; more pieces of it are a line of their own"


async def keep_prices(unit: Unit, changes: PendingRows) -> None:
    """Nobody buys more at a price that is past."""
    if unit.scope.kind != BOUND:
        return
    raised = [line for line in changes.dirty if isinstance(line, OrderItem) and has_more(line)]
    if not raised:
        return
    item = unit.seen(Item)
    now = sa.select(item.id, item.price).where(item.id.in_({line.item_id for line in raised}))
    prices: dict[int, int] = {row.id: row.price for row in await unit.rows(now)}
    for line in raised:
        if line.price_paid != prices.get(line.item_id):
            unit.refuse(ForbiddenError(message=MESSAGE, path=list(unit.place(line, "quantity")), type="OrderItem"))


def has_more(line: OrderItem) -> bool:
    """Whether a line gets more pieces of the item that it had."""
    before: int = former_value(line, "quantity")
    return former_value(line, "item_id") == line.item_id and line.quantity > before

"""What subscribers are told of orders: their states."""

from __future__ import annotations

from typing import Annotated

import strawberry

from graph.orders.types import Order
from graph.read.types.fields import event_field


@strawberry.type(description="A state of an order, told after it changed.")
class OrderChange:
    cursor: str = strawberry.field(description="The place of this event, for `after`.")
    order_id: strawberry.ID | None = strawberry.field(
        description="The id of the order; null where so many changed at once that each would take too long: read again."
    )
    order: Annotated[Order, strawberry.lazy("graph.orders.types")] | None = strawberry.field(
        description="The order as it is now; null where it is gone, and where many changed."
    )


@strawberry.type
class OrderSubscriptions:
    order_changed: OrderChange = event_field(
        "What orders have become, their lines included. It tells states: of changes in a short time perhaps the last alone.",
        ("order", strawberry.ID, "Only this order."),
        ("customer", strawberry.ID, "Only orders of this customer, those that leave him included."),
        scope="read",
    )

"""The status of an order as GraphQL shows it: whoever names it in a type takes it from here.

What goes in: the enum of the models. What comes out: the same class, known to Strawberry. Nothing is refused here.
"""

from __future__ import annotations

from typing import Any

import strawberry

from graph.models import OrderStatus

__all__ = ["OrderStatus"]

VALUES = {
    OrderStatus.PENDING: "Entered; its lines may still change.",
    OrderStatus.PAID: "Paid; waits to be shipped.",
    OrderStatus.SHIPPED: "On its way; final.",
    OrderStatus.CANCELLED: "Called off; final.",
}
_shown: Any = strawberry.enum(
    OrderStatus, description="Where an order stands: PENDING to PAID to SHIPPED, or CANCELLED before that."
)
for _value in _shown.__strawberry_definition__.values:
    _value.description = VALUES[_value.value]

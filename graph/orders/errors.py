"""What can be wrong with orders beyond what every row can have wrong."""

from __future__ import annotations

from collections.abc import Iterable

import strawberry

from graph import models
from graph.orders.status import OrderStatus
from graph.write.errors import ErrorCode, ForbiddenError, MutationError, discriminator


@strawberry.type(description="An order cannot become this from where it stands.")
class TransitionError(MutationError):
    code: ErrorCode = discriminator(ErrorCode.TRANSITION)
    from_: OrderStatus = strawberry.field(name="from", description="Where the order stands.")
    to: OrderStatus = strawberry.field(description="Where it was sent.")
    allowed: list[OrderStatus] = strawberry.field(description="Where it can go from here.")


@strawberry.type(description="An order does not take this change in its status.")
class NotEditableError(MutationError):
    code: ErrorCode = discriminator(ErrorCode.NOT_EDITABLE)
    status: OrderStatus = strawberry.field(description="The status that forbids it.")


def not_yours(order: models.Order, path: Iterable[str]) -> ForbiddenError:
    """The order's status does not allow the change to viewers who belong to a customer."""
    message = f"An order that is {order.status} is not yours to change so"
    return ForbiddenError(message=message, path=list(path), type="Order")


def not_editable(order: models.Order, path: Iterable[str]) -> NotEditableError:
    """The order's status does not allow the change."""
    message = f"An order that is {order.status} does not take this change"
    return NotEditableError(message=message, path=list(path), status=order.status)

"""What order mutations answer."""

from __future__ import annotations

import strawberry

from graph.orders.types import Order, OrderItem
from graph.write.answers import Payload
from graph.write.batches import EntryResult


@strawberry.type(description="What `createOrder` answers.")
class CreateOrderPayload(Payload):
    order: Order | None = strawberry.field(default=None, description="The new order; null if there are errors.")


@strawberry.type(description="What became of one order of `createOrders`.")
class CreateOrderResult(EntryResult):
    order: Order | None = strawberry.field(default=None, description="The new order; null if there are errors.")


@strawberry.type(description="What `createOrders` answers.")
class CreateOrdersPayload(Payload):
    results: list[CreateOrderResult] = strawberry.field(default_factory=list, description="One result for each order sent.")


@strawberry.type(description="What `updateOrder` answers.")
class UpdateOrderPayload(Payload):
    order: Order | None = strawberry.field(default=None, description="The order after the change; null if there are errors.")


@strawberry.type(description="How many rows went with orders.")
class DeletedWithOrder:
    orders: int = strawberry.field(description="Orders that are gone.")
    order_items: int = strawberry.field(description="Order lines that are gone.")


@strawberry.type(description="What `deleteOrder` answers.")
class DeleteOrderPayload(Payload):
    deleted_ids: list[strawberry.ID] = strawberry.field(
        default_factory=list, description="The global ids of all that is gone: the order and its lines."
    )
    deleted: DeletedWithOrder | None = strawberry.field(default=None, description="How many rows of each type are gone.")


@strawberry.type(description="What `transitionOrder` answers.")
class TransitionOrderPayload(Payload):
    order: Order | None = strawberry.field(default=None, description="The order in its new status; null if there are errors.")


@strawberry.type(description="What `moveOrderItem` answers.")
class MoveOrderItemPayload(Payload):
    order_item: OrderItem | None = strawberry.field(default=None, description="The line that has the pieces now.")
    from_order: Order | None = strawberry.field(default=None, description="The order they come from.")
    to_order: Order | None = strawberry.field(default=None, description="The order they went to.")


@strawberry.type(description="What `updateOrders` answers.")
class UpdateOrdersPayload(Payload):
    count: int = strawberry.field(default=0, description="How many orders were changed; those that had the values are not.")
    ids: list[strawberry.ID] = strawberry.field(default_factory=list, description="The global ids of those orders.")


@strawberry.type(description="What `discountOrders` answers.")
class DiscountOrdersPayload(Payload):
    count: int = strawberry.field(default=0, description="How many orders have another discount now.")
    ids: list[strawberry.ID] = strawberry.field(default_factory=list, description="The global ids of those orders.")


@strawberry.type(description="What `deleteOrders` answers.")
class DeleteOrdersPayload(Payload):
    count: int = strawberry.field(default=0, description="How many orders are gone.")
    deleted_ids: list[strawberry.ID] = strawberry.field(
        default_factory=list, description="The global ids of all that is gone: the orders and their lines."
    )
    deleted: DeletedWithOrder | None = strawberry.field(default=None, description="How many rows of each type are gone.")

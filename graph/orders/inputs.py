"""Inputs of order mutations."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import strawberry

from graph.models import OrderItem
from graph.orders.status import OrderStatus
from graph.read.types.filter_inputs import generated
from graph.read.types.permissions import BOUND_VIEWERS, NOT_SENT, only_sent
from graph.read.types.scalars import DateTime, Money, Percent
from graph.write.batches import OnError
from graph.write.bounds import allowed
from graph.write.matching import Matching
from graph.write.mutation_inputs import NEEDED

if TYPE_CHECKING:
    from graph.catalog.inputs import ItemReference
    from graph.customers.inputs import CustomerReference

    OrderWhere = Any
else:
    OrderWhere = generated("OrderWhere")

PIECES = allowed(OrderItem, "quantity")
AT_ITS_PRICE = f"{BOUND_VIEWERS.capitalize()} raise it only while the item has the line's price."
VERSION = "Refuse the change if the order is not at this version any more."


@strawberry.input(description="A new order line.")
class OrderItemInput:
    item: Annotated[ItemReference, strawberry.lazy("graph.catalog.inputs")] = strawberry.field(description="What is ordered.")
    quantity: int = strawberry.field(description=f"How many pieces, {PIECES}.")
    price_paid: strawberry.Maybe[Money | None] = strawberry.field(
        description="The price of one piece; the item's price when left out or null.", metadata=NOT_SENT
    )


@strawberry.input(description="A new order. It starts as PENDING.")
class OrderInput:
    order_date: strawberry.Maybe[DateTime | None] = strawberry.field(
        description="When the order was placed; now when left out or null."
    )
    discount: strawberry.Maybe[Money | None] = strawberry.field(
        description="What is taken off the subtotal; nothing when left out or null.", metadata=NOT_SENT
    )
    note: strawberry.Maybe[str | None] = strawberry.field(description="A free text.")
    items: list[OrderItemInput] = strawberry.field(default_factory=list, description="The lines, in the order wanted.")


@strawberry.input(description="The order to make. It starts as PENDING.")
class CreateOrderInput(OrderInput):
    customer: Annotated[CustomerReference, strawberry.lazy("graph.customers.inputs")] = strawberry.field(
        description="Who orders."
    )


@strawberry.input(description="The orders to make.")
class CreateOrdersInput:
    orders: list[CreateOrderInput] = strawberry.field(description="The orders; each has its result at the same place.")
    on_error: OnError = strawberry.field(default=OnError.ROLLBACK, description="What happens to the others when one is refused.")


@strawberry.input(description="A change of one line; what is left out stays.")
class UpdateOrderItemInput:
    id: strawberry.ID = strawberry.field(description="The global id of the line.")
    item: strawberry.Maybe[Annotated[ItemReference, strawberry.lazy("graph.catalog.inputs")] | None] = strawberry.field(
        description="What is ordered."
    )
    quantity: strawberry.Maybe[int | None] = strawberry.field(description=f"How many pieces, {PIECES}. {AT_ITS_PRICE}")
    price_paid: strawberry.Maybe[Money | None] = strawberry.field(description="The price of one piece.", metadata=NOT_SENT)


@strawberry.input(description="A line as it should be: with an id one that is there, else a new one.")
class ReplaceOrderItemInput:
    id: strawberry.Maybe[strawberry.ID | None] = strawberry.field(description="The global id of a line to keep.")
    item: strawberry.Maybe[Annotated[ItemReference, strawberry.lazy("graph.catalog.inputs")] | None] = strawberry.field(
        description="What is ordered; a new line needs it.", metadata={NEEDED: True}
    )
    quantity: strawberry.Maybe[int | None] = strawberry.field(
        description=f"How many pieces, {PIECES}; a new line needs it. {AT_ITS_PRICE}", metadata={NEEDED: True}
    )
    price_paid: strawberry.Maybe[Money | None] = strawberry.field(
        description="The price of one piece; the item's price for a new line.", metadata=NOT_SENT
    )


@strawberry.input(description="Changes of an order's lines. Lines that are not named stay, unless `replace` is sent.")
class OrderItemsInput:
    create: list[OrderItemInput] = strawberry.field(default_factory=list, description="Lines to add, after the others.")
    update: list[UpdateOrderItemInput] = strawberry.field(default_factory=list, description="Lines to change.")
    remove: list[strawberry.ID] = strawberry.field(default_factory=list, description="Global ids of lines to delete.")
    replace: strawberry.Maybe[list[ReplaceOrderItemInput] | None] = strawberry.field(
        description="All lines in the order wanted; lines left out are deleted. Cannot be sent with the other lists."
    )


@strawberry.input(description="A change of one of a customer's orders; what is left out stays.")
class ChangeOrderInput:
    id: strawberry.ID = strawberry.field(description="The global id.")
    order_date: strawberry.Maybe[DateTime | None] = strawberry.field(description="When the order was placed.")
    discount: strawberry.Maybe[Money | None] = strawberry.field(
        description="What is taken off the subtotal; changes only while the order is PENDING.", metadata=NOT_SENT
    )
    note: strawberry.Maybe[str | None] = strawberry.field(description="A free text; null clears it.")
    items: strawberry.Maybe[OrderItemsInput | None] = strawberry.field(
        description="Changes of the lines, while the order is PENDING."
    )


@strawberry.input(description="An order as it should be: with an id one that is there, else a new one.")
class ReplaceOrderInput:
    id: strawberry.Maybe[strawberry.ID | None] = strawberry.field(description="The global id of an order to keep.")
    order_date: strawberry.Maybe[DateTime | None] = strawberry.field(description="When the order was placed.")
    discount: strawberry.Maybe[Money | None] = strawberry.field(
        description="What is taken off the subtotal; changes only while the order is PENDING.", metadata=NOT_SENT
    )
    note: strawberry.Maybe[str | None] = strawberry.field(description="A free text; null clears it.")
    items: strawberry.Maybe[OrderItemsInput | None] = strawberry.field(description="Changes of the lines.")


@strawberry.input(description="Changes of a customer's orders. Orders that are not named stay, unless `replace` is sent.")
class CustomerOrdersInput:
    create: list[OrderInput] = strawberry.field(default_factory=list, description="Orders to add.")
    update: list[ChangeOrderInput] = strawberry.field(default_factory=list, description="Orders to change.")
    remove: list[strawberry.ID] = strawberry.field(
        default_factory=list, description="Global ids of orders to delete, none of them PAID or SHIPPED."
    )
    replace: strawberry.Maybe[list[ReplaceOrderInput] | None] = strawberry.field(
        description="All orders of the customer; orders left out are deleted. Cannot be sent with the other lists."
    )


@strawberry.input(description="A change of one order; what is left out stays.")
class UpdateOrderInput(ChangeOrderInput):
    expected_version: strawberry.Maybe[int | None] = strawberry.field(description=VERSION)


@strawberry.input(description="The order to delete.")
class DeleteOrderInput:
    id: strawberry.ID = strawberry.field(description="The global id.")
    expected_version: strawberry.Maybe[int | None] = strawberry.field(description=VERSION)


@strawberry.input(description="Where to send an order.")
class TransitionOrderInput:
    id: strawberry.ID = strawberry.field(description="The global id.")
    to: OrderStatus = strawberry.field(description="The status it should have.", metadata=only_sent("CANCELLED"))
    expected_version: strawberry.Maybe[int | None] = strawberry.field(description=VERSION)


@strawberry.input(description="Pieces to move from one order to another of the same customer, both PENDING.")
class MoveOrderItemInput:
    id: strawberry.ID = strawberry.field(description="The global id of the line.")
    to_order: strawberry.ID = strawberry.field(description="The global id of the order that gets them.")
    quantity: strawberry.Maybe[int | None] = strawberry.field(description="How many pieces; all of the line when left out.")
    expected_version: strawberry.Maybe[int | None] = strawberry.field(description="The version the line's order must have.")
    to_expected_version: strawberry.Maybe[int | None] = strawberry.field(description="The version the other order must have.")


@strawberry.input(description="New values for many orders; what is left out stays.")
class OrderSet:
    order_date: strawberry.Maybe[DateTime | None] = strawberry.field(description="When the orders were placed.")
    discount: strawberry.Maybe[Money | None] = strawberry.field(
        description="What is taken off each subtotal; refused if it changes one that is not PENDING.", metadata=NOT_SENT
    )
    note: strawberry.Maybe[str | None] = strawberry.field(description="A free text; null clears it.")


@strawberry.input(description="Which orders to change, and how.")
class UpdateOrdersInput(Matching):
    where: strawberry.Maybe[OrderWhere | None] = strawberry.field(description="The orders to change.")
    set: OrderSet = strawberry.field(description="Their new values.")


@strawberry.input(description="Which orders to delete.")
class DeleteOrdersInput(Matching):
    where: strawberry.Maybe[OrderWhere | None] = strawberry.field(description="The orders to delete, whatever their status.")


@strawberry.input(description="Which orders to discount, and by how much.")
class DiscountOrdersInput(Matching):
    where: strawberry.Maybe[OrderWhere | None] = strawberry.field(description="The orders to discount; only PENDING ones are.")
    percent: Percent = strawberry.field(description="How much of each total is taken off, above 0 and at most 100.")

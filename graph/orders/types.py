"""Order and OrderItem: their types and queries."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import strawberry

from graph import models
from graph.feed.types import ToldChange, of_root, own_changes
from graph.orders.status import OrderStatus
from graph.read.rows import Door, everything
from graph.read.types.fields import Connection, connection, one_by
from graph.read.types.mirror import Node, mirror
from graph.read.types.scalars import DateTime, Money
from graph.scope import BOUND

if TYPE_CHECKING:
    from graph.catalog.types import Item
    from graph.customers.types import Customer


# Whoever sees an order sees its lines: a row is seen where its parents are.
@mirror(models.OrderItem, visible=everything, sorts=("position", "quantity", "price_paid"))
@strawberry.type(description="A line of an order: so many pieces of an item at a price.")
class OrderItem(Node):
    position: int = strawberry.field(description="The place of the line in its order, from 1; gaps are allowed.")
    quantity: int = strawberry.field(description="How many pieces.")
    price_paid: Money = strawberry.field(description="The price of one piece in this order.")
    line_total: Money = strawberry.field(description="Quantity times the price paid.")
    order: Annotated[Order, strawberry.lazy("graph.orders.types")] = strawberry.field(description="The order of the line.")
    item: Annotated[Item, strawberry.lazy("graph.catalog.types")] = strawberry.field(description="What is ordered.")


def of_his_customer(order: Any, viewer: Door) -> Any:
    """A viewer who belongs to a customer sees his orders."""
    return order.customer_id == viewer.value("customer", order.customer_id) if viewer.kind == BOUND else None


@mirror(
    models.Order,
    links={"changes": of_root("Order")},
    owner="customer_id",
    visible=of_his_customer,
    sorts=("number", "order_date", "total_amount", "status", "created_at", "updated_at", "customer.name"),
    search=("number", "note", "customer.name", "customer.email"),
)
@strawberry.type(description="What a customer orders at one time.")
class Order(Node):
    version: int = strawberry.field(description="Rises by one with every change of the order or its lines.")
    number: str = strawberry.field(description='The readable number, unique, such as "SO-42".')
    status: OrderStatus = strawberry.field(description="Where the order stands.")
    allowed_transitions: list[OrderStatus] = strawberry.field(description="What the order may become next.")
    order_date: DateTime = strawberry.field(description="When the order was placed.")
    subtotal: Money = strawberry.field(description="The sum of the lines, before the discount.")
    discount: Money = strawberry.field(description="What is taken off the subtotal.")
    total_amount: Money = strawberry.field(description="What the customer pays: subtotal less discount; kept by the server.")
    note: str | None = strawberry.field(description="A free text.")
    created_at: DateTime = strawberry.field(description="When the order was entered.")
    updated_at: DateTime = strawberry.field(description="When the order or its lines were last changed.")
    customer: Annotated[Customer, strawberry.lazy("graph.customers.types")] = strawberry.field(description="Who ordered.")
    items: list[OrderItem] = strawberry.field(description="The lines, in position order.")
    changes: Connection[ToldChange] = own_changes("The changes of the order and its lines that are kept, oldest first.")


@strawberry.input(description="Finds one order by one of its unique keys.", one_of=True)
class OrderBy:
    id: strawberry.Maybe[strawberry.ID] = strawberry.field(description="The global id.")
    number: strawberry.Maybe[str] = strawberry.field(description="The number that people read, such as `SO-1042`.")


@strawberry.type
class OrderQueries:
    order: Order | None = one_by(OrderBy, "The order with this key, or null.", scope="read")
    orders: Connection[Order] = connection("Order", "All orders.", searchable=True, scope="read")

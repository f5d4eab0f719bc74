"""Customer: its type and its queries."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import strawberry

from graph import models
from graph.feed.types import ToldChange, of_root, own_changes
from graph.read.rows import Door
from graph.read.types.fields import Connection, connection, one_by
from graph.read.types.mirror import Node, mirror
from graph.read.types.permissions import NOT_TOLD
from graph.read.types.scalars import DateTime, Money
from graph.scope import BOUND

if TYPE_CHECKING:
    from graph.orders.types import Order


def his_own(customer: Any, viewer: Door) -> Any:
    """A viewer who belongs to a customer sees that one."""
    return customer.id == viewer.value("customer", customer.id) if viewer.kind == BOUND else None


@mirror(
    models.Customer,
    links={"changes": of_root("Customer")},
    owner="id",
    visible=his_own,
    sorts=("name", "email", "created_at", "updated_at"),
    search=("name", "email"),
    hidden_unless_mentioned="archived",
)
@strawberry.type(description="Somebody who orders.")
class Customer(Node):
    version: int = strawberry.field(description="Rises by one with every change of the customer.")
    name: str = strawberry.field(description="The name of the person or company.")
    email: str = strawberry.field(description="The e-mail address, unique, in one spelling: lower case, the domain in Unicode.")
    created_at: DateTime = strawberry.field(description="When the customer was made.")
    updated_at: DateTime = strawberry.field(description="When the customer was last changed.")
    archived: bool = strawberry.field(description="Whether the customer is archived and can no longer order.")
    archived_at: DateTime | None = strawberry.field(description="When the customer was archived.")
    archived_by: str | None = strawberry.field(description="Who archived the customer.", metadata=NOT_TOLD)
    order_count: int = strawberry.field(description="How many orders the customer has, whatever their status.")
    total_spent: Money = strawberry.field(description="The sum over the customer's paid and shipped orders.")
    orders: Connection[Annotated[Order, strawberry.lazy("graph.orders.types")]] = connection("Order", "The customer's orders.")
    changes: Connection[ToldChange] = own_changes("The changes of the customer's own fields that are kept, oldest first.")


@strawberry.input(description="Finds one customer by one of its unique keys.", one_of=True)
class CustomerBy:
    id: strawberry.Maybe[strawberry.ID] = strawberry.field(description="The global id.")
    email: strawberry.Maybe[str] = strawberry.field(description="The e-mail address, in any spelling.")


@strawberry.type
class CustomerQueries:
    customer: Customer | None = one_by(CustomerBy, "The customer with this key, or null.", scope="read")
    customers: Connection[Customer] = connection(
        "Customer", "All customers; archived ones only if the filter mentions `archived`.", searchable=True, scope="read"
    )

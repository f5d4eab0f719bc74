"""Item: its type and its queries."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import strawberry

from graph import models
from graph.feed.types import ToldChange, of_root, own_changes
from graph.read.rows import everything
from graph.read.types.fields import Connection, connection, one_by
from graph.read.types.mirror import Node, mirror
from graph.read.types.permissions import NOT_TOLD
from graph.read.types.scalars import DateTime, Money

if TYPE_CHECKING:
    from graph.orders.types import OrderItem


@mirror(
    models.Item,
    links={"changes": of_root("Item")},
    visible=everything,
    sorts=("sku", "name", "price", "stock", "created_at", "updated_at"),
    search=("sku", "name"),
    hidden_unless_mentioned="archived",
)
@strawberry.type(description="Something that can be ordered.")
class Item(Node):
    version: int = strawberry.field(description="Rises by one with every change; stock does not count.")
    sku: str = strawberry.field(description="The stock keeping unit: the shop's own unique code.")
    name: str = strawberry.field(description="What people read.")
    price: Money = strawberry.field(description="The list price of one piece now.")
    stock: int | None = strawberry.field(description="Pieces in stock; null where stock is not tracked.", metadata=NOT_TOLD)
    created_at: DateTime = strawberry.field(description="When the item was made.")
    updated_at: DateTime = strawberry.field(description="When the item was last changed; stock does not count.")
    archived: bool = strawberry.field(description="Whether the item is archived: kept for old orders, no longer sold.")
    archived_at: DateTime | None = strawberry.field(description="When the item was archived.")
    archived_by: str | None = strawberry.field(description="Who archived the item.", metadata=NOT_TOLD)
    order_items: Connection[Annotated[OrderItem, strawberry.lazy("graph.orders.types")]] = connection(
        "OrderItem", "The order lines that sell this item."
    )
    changes: Connection[ToldChange] = own_changes("The changes of the item that are kept, its stock's included, oldest first.")


@strawberry.input(description="Finds one item by one of its unique keys.", one_of=True)
class ItemBy:
    id: strawberry.Maybe[strawberry.ID] = strawberry.field(description="The global id.")
    sku: strawberry.Maybe[str] = strawberry.field(description="The stock keeping unit.")


@strawberry.type
class CatalogQueries:
    item: Item | None = one_by(ItemBy, "The item with this key, or null.", scope="read")
    items: Connection[Item] = connection(
        "Item", "All items; archived ones only if the filter mentions `archived`.", searchable=True, scope="read"
    )

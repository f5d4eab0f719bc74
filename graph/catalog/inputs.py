"""Inputs of item mutations, and how others point to an item."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import strawberry

from graph.read.types.filter_inputs import generated
from graph.read.types.permissions import NOT_SENT
from graph.read.types.scalars import Money
from graph.write.batches import OnError
from graph.write.matching import Matching
from graph.write.plain_rows import OnConflict

if TYPE_CHECKING:
    ItemWhere = Any
else:
    ItemWhere = generated("ItemWhere")

VERSION = "Refuse the change if the item is not at this version any more."


@strawberry.input(description="A new item.")
class ItemInput:
    sku: str = strawberry.field(description="The stock keeping unit: unique, not blank, nothing invisible in it; kept trimmed.")
    name: str = strawberry.field(description="What people read, not blank; kept trimmed.")
    price: Money = strawberry.field(description="The list price of one piece.")
    stock: strawberry.Maybe[int | None] = strawberry.field(
        description="Pieces in stock; leave it out where stock is not tracked."
    )


@strawberry.input(description="The item to make.")
class CreateItemInput(ItemInput):
    pass


@strawberry.input(description="The items to make.")
class CreateItemsInput:
    items: list[ItemInput] = strawberry.field(description="The items; each has its result at the same place.")
    on_error: OnError = strawberry.field(default=OnError.ROLLBACK, description="What happens to the others when one is refused.")


@strawberry.input(description="Many items at once.")
class InsertItemsInput:
    rows: list[ItemInput] = strawberry.field(description="The items.")
    on_conflict: OnConflict = strawberry.field(default=OnConflict.ERROR, description="What happens when a sku is taken.")


@strawberry.input(description="Points to an item that is there, or makes one in place.", one_of=True)
class ItemReference:
    id: strawberry.Maybe[strawberry.ID] = strawberry.field(description="The global id.")
    sku: strawberry.Maybe[str] = strawberry.field(description="The stock keeping unit.")
    create: strawberry.Maybe[ItemInput] = strawberry.field(description="A new item.", metadata=NOT_SENT)


@strawberry.input(description="Points to an item that is there.", one_of=True)
class ItemKey:
    id: strawberry.Maybe[strawberry.ID] = strawberry.field(description="The global id.")
    sku: strawberry.Maybe[str] = strawberry.field(description="The stock keeping unit.")


@strawberry.input(description="A change of one item; what is left out stays.")
class UpdateItemInput:
    id: strawberry.ID = strawberry.field(description="The global id.")
    expected_version: strawberry.Maybe[int | None] = strawberry.field(description=VERSION)
    sku: strawberry.Maybe[str | None] = strawberry.field(
        description="The stock keeping unit: unique, not blank, nothing invisible in it; kept trimmed."
    )
    name: strawberry.Maybe[str | None] = strawberry.field(description="What people read, not blank; kept trimmed.")
    price: strawberry.Maybe[Money | None] = strawberry.field(
        description="The list price of one piece; orders keep what was paid."
    )
    stock: strawberry.Maybe[int | None] = strawberry.field(
        description="Pieces in stock, counted anew; null ends the tracking. `adjustStock` adds and takes."
    )


@strawberry.input(description="The item to make, or to change if the sku is known.")
class UpsertItemInput:
    sku: str = strawberry.field(description="The stock keeping unit, by which the item is found.")
    name: str = strawberry.field(description="What people read, not blank; kept trimmed.")
    price: Money = strawberry.field(description="The list price of one piece.")
    stock_delta: strawberry.Maybe[int | None] = strawberry.field(
        description="Pieces to add to the stock, or to take if negative; starts the tracking where there is none."
    )


@strawberry.input(description="The items to make, or to change where the sku is known.")
class UpsertItemsInput:
    items: list[UpsertItemInput] = strawberry.field(description="The items, each sku once.")


@strawberry.input(description="How many pieces come or go.")
class AdjustStockInput:
    item: ItemKey = strawberry.field(description="The item, which must track its stock.")
    delta: int = strawberry.field(description="Pieces to add, or to take if negative.")


@strawberry.input(description="The item to delete.")
class DeleteItemInput:
    id: strawberry.ID = strawberry.field(description="The global id.")
    expected_version: strawberry.Maybe[int | None] = strawberry.field(description=VERSION)


@strawberry.input(description="The item to archive.")
class ArchiveItemInput:
    id: strawberry.ID = strawberry.field(description="The global id.")
    expected_version: strawberry.Maybe[int | None] = strawberry.field(description=VERSION)


@strawberry.input(description="The item to bring back.")
class RestoreItemInput:
    id: strawberry.ID = strawberry.field(description="The global id.")
    expected_version: strawberry.Maybe[int | None] = strawberry.field(description=VERSION)


@strawberry.input(description="Which items to archive.")
class ArchiveItemsInput(Matching):
    where: strawberry.Maybe[ItemWhere | None] = strawberry.field(
        description="The items to archive; archived ones stay as they are."
    )

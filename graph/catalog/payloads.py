"""What item mutations answer."""

from __future__ import annotations

import strawberry

from graph.catalog.types import Item
from graph.write.answers import Payload
from graph.write.batches import EntryResult


@strawberry.type(description="What `createItem` answers.")
class CreateItemPayload(Payload):
    item: Item | None = strawberry.field(default=None, description="The new item; null if there are errors.")


@strawberry.type(description="What became of one item of `createItems`.")
class CreateItemResult(EntryResult):
    item: Item | None = strawberry.field(default=None, description="The new item; null if there are errors.")


@strawberry.type(description="What `createItems` answers.")
class CreateItemsPayload(Payload):
    results: list[CreateItemResult] = strawberry.field(default_factory=list, description="One result for each item sent.")


@strawberry.type(description="What `insertItems` answers.")
class InsertItemsPayload(Payload):
    inserted: int = strawberry.field(default=0, description="How many items are new.")
    updated: int = strawberry.field(default=0, description="How many were there and took the new values.")
    skipped: int = strawberry.field(default=0, description="How many were left out because their sku was taken.")


@strawberry.type(description="What `updateItem` answers.")
class UpdateItemPayload(Payload):
    item: Item | None = strawberry.field(default=None, description="The item after the change; null if there are errors.")


@strawberry.type(description="What `upsertItem` answers.")
class UpsertItemPayload(Payload):
    item: Item | None = strawberry.field(default=None, description="The item; null if there are errors.")
    created: bool | None = strawberry.field(default=None, description="Whether the item is new; null if there are errors.")


@strawberry.type(description="What became of one item of `upsertItems`.")
class UpsertItemResult(EntryResult):
    item: Item | None = strawberry.field(default=None, description="The item; null if there are errors.")
    created: bool | None = strawberry.field(default=None, description="Whether the item is new; null if there are errors.")


@strawberry.type(description="What `upsertItems` answers.")
class UpsertItemsPayload(Payload):
    results: list[UpsertItemResult] = strawberry.field(default_factory=list, description="One result for each item sent.")


@strawberry.type(description="What `adjustStock` answers.")
class AdjustStockPayload(Payload):
    item: Item | None = strawberry.field(default=None, description="The item with its new stock; null if there are errors.")


@strawberry.type(description="What `archiveItem` answers.")
class ArchiveItemPayload(Payload):
    item: Item | None = strawberry.field(default=None, description="The archived item; null if there are errors.")


@strawberry.type(description="What `restoreItem` answers.")
class RestoreItemPayload(Payload):
    item: Item | None = strawberry.field(default=None, description="The item, no longer archived; null if there are errors.")


@strawberry.type(description="What `archiveItems` answers.")
class ArchiveItemsPayload(Payload):
    count: int = strawberry.field(default=0, description="How many items were archived.")
    ids: list[strawberry.ID] = strawberry.field(default_factory=list, description="The global ids of those items.")


@strawberry.type(description="What `deleteItem` answers.")
class DeleteItemPayload(Payload):
    deleted_ids: list[strawberry.ID] = strawberry.field(
        default_factory=list, description="The global id of the item that is gone."
    )

"""Mutations of items."""

from __future__ import annotations

import dataclasses

import strawberry

from graph import models
from graph.catalog.inputs import (
    AdjustStockInput,
    ArchiveItemInput,
    ArchiveItemsInput,
    CreateItemInput,
    CreateItemsInput,
    DeleteItemInput,
    InsertItemsInput,
    RestoreItemInput,
    UpdateItemInput,
    UpsertItemInput,
    UpsertItemsInput,
)
from graph.catalog.payloads import (
    AdjustStockPayload,
    ArchiveItemPayload,
    ArchiveItemsPayload,
    CreateItemPayload,
    CreateItemsPayload,
    DeleteItemPayload,
    InsertItemsPayload,
    RestoreItemPayload,
    UpdateItemPayload,
    UpsertItemPayload,
    UpsertItemsPayload,
)
from graph.catalog.stock_adjustment import adjust_stock
from graph.read.types.scalars import global_id
from graph.write.answers import Answer, answer
from graph.write.batches import create_all
from graph.write.mutation import Input
from graph.write.mutation_inputs import given
from graph.write.perform import perform
from graph.write.plain_rows import Counter, Plain, insert_rows, upsert_rows
from graph.write.soft_delete import archive, archive_matching
from graph.write.unit import Info, Unit

STOCK = Counter("stock", "stock_delta", "stockDelta")


@strawberry.type
class CatalogMutations:
    @strawberry.mutation(description="Make an item.")
    async def create_item(self, info: Info, input: Input[CreateItemInput]) -> CreateItemPayload:
        async def work(unit: Unit) -> Answer:
            item = unit.create(models.Item, input)
            await unit.insert(item)
            return answer(item=item)

        return await perform(info, CreateItemPayload, work)

    @strawberry.mutation(description="Make several items.")
    async def create_items(self, info: Info, input: Input[CreateItemsInput]) -> CreateItemsPayload:
        async def work(unit: Unit) -> Answer:
            return await create_all(unit, models.Item, "items", input.items, input.on_error)

        return await perform(info, CreateItemsPayload, work, entries=("items", len(input.items)))

    @strawberry.mutation(description="Insert many items fast, up to 10,000, in one transaction.")
    async def insert_items(self, info: Info, input: Input[InsertItemsInput]) -> InsertItemsPayload:
        async def work(unit: Unit) -> Answer:
            written = await insert_rows(Plain(unit, models.Item, "rows", input.rows, "sku"), input.on_conflict)
            return answer(dataclasses.asdict(written))

        return await perform(info, InsertItemsPayload, work)

    @strawberry.mutation(description="Change an item.")
    async def update_item(self, info: Info, input: Input[UpdateItemInput]) -> UpdateItemPayload:
        async def work(unit: Unit) -> Answer:
            item = await unit.load(models.Item, input.id, expected=given(input, "expected_version"))
            unit.fill(item, input)
            await unit.flush()
            return answer(item=item)

        return await perform(info, UpdateItemPayload, work)

    @strawberry.mutation(description="Make an item, or change the one with this sku. It does not restore an archived one.")
    async def upsert_item(self, info: Info, input: Input[UpsertItemInput]) -> UpsertItemPayload:
        async def work(unit: Unit) -> Answer:
            (result,) = await upsert_rows(Plain(unit, models.Item, None, [input], "sku"), STOCK)
            return answer({"created": result.values["created"]}, item=result.row)

        return await perform(info, UpsertItemPayload, work)

    @strawberry.mutation(description="Make or change several items by their skus, all or none.")
    async def upsert_items(self, info: Info, input: Input[UpsertItemsInput]) -> UpsertItemsPayload:
        async def work(unit: Unit) -> Answer:
            return Answer(results=await upsert_rows(Plain(unit, models.Item, "items", input.items, "sku"), STOCK))

        return await perform(info, UpsertItemsPayload, work, entries=("items", len(input.items)))

    @strawberry.mutation(description="Add pieces to an item's stock, or take them; never below zero.")
    async def adjust_stock(self, info: Info, input: Input[AdjustStockInput]) -> AdjustStockPayload:
        return await perform(info, AdjustStockPayload, lambda unit: adjust_stock(unit, input))

    @strawberry.mutation(description="Archive an item, which then cannot be ordered and is left out of lists.")
    async def archive_item(self, info: Info, input: Input[ArchiveItemInput]) -> ArchiveItemPayload:
        return await perform(info, ArchiveItemPayload, lambda unit: archive(unit, models.Item, "item", input, archived=True))

    @strawberry.mutation(description="Bring an archived item back.")
    async def restore_item(self, info: Info, input: Input[RestoreItemInput]) -> RestoreItemPayload:
        return await perform(info, RestoreItemPayload, lambda unit: archive(unit, models.Item, "item", input, archived=False))

    @strawberry.mutation(description="Archive the items that match a filter, or all of them.")
    async def archive_items(self, info: Info, input: Input[ArchiveItemsInput]) -> ArchiveItemsPayload:
        return await perform(info, ArchiveItemsPayload, lambda unit: archive_matching(info, unit, models.Item, input))

    @strawberry.mutation(description="Delete an item that was never ordered; one that was can only be archived.")
    async def delete_item(self, info: Info, input: Input[DeleteItemInput]) -> DeleteItemPayload:
        async def work(unit: Unit) -> Answer:
            item = await unit.load(models.Item, input.id, expected=given(input, "expected_version"))
            await unit.delete(item)
            return answer({"deleted_ids": [global_id("Item", item.id)]})

        return await perform(info, DeleteItemPayload, work)

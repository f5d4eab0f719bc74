"""Mutations of items."""

from __future__ import annotations

import dataclasses

from graph import models
from graph.catalog.inputs import (
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
from graph.stock import MOST_PIECES, out_of_stock, over_stocked
from graph.write.answers import Answer, answer
from graph.write.batches import create_all
from graph.write.locks import Lock, for_input
from graph.write.mutation_inputs import given
from graph.write.plain_rows import Plain, insert_rows
from graph.write.resolvers import mutation
from graph.write.soft_delete import archive, archive_matching
from graph.write.unit import Unit
from graph.write.upserts import Counter, upsert_rows

STOCK = Counter("stock", "stock_delta", "stockDelta", MOST_PIECES, out_of_stock, over_stocked)


@mutation("Make an item.", scope="write", unbound=True)
async def create_item(unit: Unit, input: CreateItemInput) -> Answer[CreateItemPayload]:
    item = unit.create(models.Item, input)
    await unit.insert(item)
    return answer(item=item)


@mutation("Make several items.", scope="write", unbound=True)
async def create_items(unit: Unit, input: CreateItemsInput) -> Answer[CreateItemsPayload]:
    return await create_all(unit, models.Item, "items", input.items, input.on_error)


@mutation("Insert many items fast, up to 10,000, in one transaction.", scope="admin", unbound=True)
async def insert_items(unit: Unit, input: InsertItemsInput) -> Answer[InsertItemsPayload]:
    written = await insert_rows(Plain(unit, models.Item, "rows", input.rows, "sku"), input.on_conflict)
    return answer(dataclasses.asdict(written))


@mutation("Change an item.", scope="write", unbound=True)
async def update_item(unit: Unit, input: UpdateItemInput) -> Answer[UpdateItemPayload]:
    lock = for_input(models.Item, input)
    item = await unit.load(models.Item, input.id, expected=given(input, "expected_version"), lock=lock)
    unit.fill(item, input)
    await unit.flush()
    return answer(item=item)


@mutation("Make an item, or change the one with this sku. It does not restore an archived one.", scope="write", unbound=True)
async def upsert_item(unit: Unit, input: UpsertItemInput) -> Answer[UpsertItemPayload]:
    (result,) = await upsert_rows(Plain(unit, models.Item, None, [input], "sku"), STOCK)
    return answer({"created": result.values["created"]}, item=result.row)


@mutation("Make or change several items by their skus, all or none.", scope="write", unbound=True)
async def upsert_items(unit: Unit, input: UpsertItemsInput) -> Answer[UpsertItemsPayload]:
    return Answer(results=await upsert_rows(Plain(unit, models.Item, "items", input.items, "sku"), STOCK))


@mutation("Archive an item, which then cannot be ordered and is left out of lists.", scope="write", unbound=True)
async def archive_item(unit: Unit, input: ArchiveItemInput) -> Answer[ArchiveItemPayload]:
    return await archive(unit, models.Item, "item", input, archived=True)


@mutation("Bring an archived item back.", scope="write", unbound=True)
async def restore_item(unit: Unit, input: RestoreItemInput) -> Answer[RestoreItemPayload]:
    return await archive(unit, models.Item, "item", input, archived=False)


@mutation("Archive the items that match a filter, or all of them.", scope="admin", unbound=True)
async def archive_items(unit: Unit, input: ArchiveItemsInput) -> Answer[ArchiveItemsPayload]:
    return await archive_matching(unit, models.Item, input)


@mutation("Delete an item that was never ordered; one that was can only be archived.", scope="write", unbound=True)
async def delete_item(unit: Unit, input: DeleteItemInput) -> Answer[DeleteItemPayload]:
    item = await unit.load(models.Item, input.id, expected=given(input, "expected_version"), lock=Lock.DELETE)
    await unit.delete(item)
    return answer({"deleted_ids": [global_id("Item", item.id)]})


MUTATIONS = (
    create_item,
    create_items,
    insert_items,
    update_item,
    upsert_item,
    upsert_items,
    adjust_stock,
    archive_item,
    restore_item,
    archive_items,
    delete_item,
)

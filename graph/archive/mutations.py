"""The end of what is archived: customers with their orders, and items that were never sold.

What goes in: a time. What comes out: how many rows are gone, how many sold items are kept. Nothing is refused here.
"""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
import strawberry

from graph.models import Customer, Item, Order, OrderItem
from graph.read.scalars import DateTime
from graph.write.answers import Answer, answer
from graph.write.bulk import among
from graph.write.payloads import Input, Payload
from graph.write.perform import perform
from graph.write.unit import Info, Unit


@strawberry.input(description="What to delete for good.")
class PurgeArchivedInput:
    before: DateTime = strawberry.field(description="Only what was archived before this moment.")


@strawberry.type(description="What `purgeArchived` answers.")
class PurgeArchivedPayload(Payload):
    count: int = strawberry.field(default=0, description="How many customers and items are gone.")
    customers: int = strawberry.field(default=0, description="How many customers are gone, with all their orders.")
    items: int = strawberry.field(default=0, description="How many items are gone.")
    items_kept: int = strawberry.field(default=0, description="How many archived items stay because they were sold.")


async def purge(unit: Unit, before: DateTime) -> Answer:
    """Delete what was archived before a time."""
    session = unit.session
    old = sa.select(Customer.id).where(Customer.archived_at < before).order_by(Customer.id).with_for_update()
    customers = list((await session.scalars(old)).all())
    if customers:
        orders = sa.select(Order.id).where(among(unit, Order.customer_id, customers)).order_by(Order.id).with_for_update()
        await session.execute(orders)
        await unit.depart(Order, among(unit, Order.customer_id, customers))
        table: Any = sa.inspect(Customer).local_table
        await session.execute(sa.delete(table).where(among(unit, table.c.id, customers)))
    item: Any = sa.inspect(Item).local_table
    archived = list(
        (await session.scalars(sa.select(Item.id).where(Item.archived_at < before).order_by(Item.id).with_for_update())).all()
    )
    gone = 0
    if archived:
        sold = sa.select(OrderItem.id).where(OrderItem.item_id == item.c.id).exists()
        deleted = await session.execute(sa.delete(item).where(among(unit, item.c.id, archived), ~sold).returning(item.c.id))
        gone = len(deleted.all())
    counts = {"count": len(customers) + gone, "customers": len(customers), "items": gone, "items_kept": len(archived) - gone}
    return answer(counts)


@strawberry.type
class ArchiveMutations:
    @strawberry.mutation(description="Delete for good what was archived before a moment; items that were sold stay.")
    async def purge_archived(self, info: Info, input: Input[PurgeArchivedInput]) -> PurgeArchivedPayload:  # noqa: A002
        return await perform(info, PurgeArchivedPayload, lambda unit: purge(unit, input.before))

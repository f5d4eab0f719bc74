"""The end of what is archived: customers with their orders, and items that were never sold.

What goes in: a time. What comes out: which rows are gone and how many, how many sold items are kept. What is refused here: more
rows than the input allows.
"""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
import strawberry
from sqlalchemy import ColumnElement
from sqlalchemy.ext.asyncio import AsyncSession

from graph.models import Customer, Item, Order, OrderItem
from graph.read.rows import rows
from graph.read.types.scalars import DateTime
from graph.scope import SERVER
from graph.write.answers import Answer, Payload, answer
from graph.write.bulk import delete_rows, delete_rows_where, seen_below
from graph.write.errors import Refused
from graph.write.images import among
from graph.write.locks import Lock, locked
from graph.write.matching import Capped, asked, hold, ids_of, judge_cap
from graph.write.resolvers import mutation
from graph.write.unit import Unit


@strawberry.input(description="What to delete for good.")
class PurgeArchivedInput(Capped):
    before: DateTime = strawberry.field(description="Only what was archived before this moment.")


@strawberry.type(description="What `purgeArchived` answers.")
class PurgeArchivedPayload(Payload):
    count: int = strawberry.field(default=0, description="How many customers and items are gone.")
    customers: int = strawberry.field(default=0, description="How many customers are gone, with all their orders.")
    items: int = strawberry.field(default=0, description="How many items are gone.")
    items_kept: int = strawberry.field(
        default=0, description="How many archived items stay because they were sold, or in use just now."
    )
    deleted_ids: list[strawberry.ID] = strawberry.field(
        default_factory=list,
        description="The global ids of all that is gone: the customers, their orders, the orders' lines, the items.",
    )


@mutation("Delete for good what was archived before a moment; items that were sold stay.", scope="admin", unbound=True)
async def purge_archived(unit: Unit, input: PurgeArchivedInput) -> Answer[PurgeArchivedPayload]:
    judge_cap(unit, input)
    if unit.errors:
        raise Refused(unit.errors)
    session = unit.session
    customer, order, item = unit.seen(Customer), rows(Order, SERVER), unit.seen(Item)
    customers, orders, lines = await _hold(session, customer, customer.archived_at < input.before), [], []
    if customers:
        orders = await _hold(session, order, among(unit, order.customer_id, customers))
        if orders and asked(unit, "deletedIds"):
            lines = await seen_below(unit, OrderItem.order_id, orders)
            orders = list(await unit.seen_keys(Order, orders))
        await delete_rows(unit, Customer, customers)
    # An item that somebody has at hand stays: to wait for one while others are held would be out of turn.
    free, items = await _hold(session, item, item.archived_at < input.before, skip=True), []
    if free:
        line, sold_item = rows(OrderItem, SERVER), rows(Item, SERVER)  # what is sold stays, whoever may see the order
        sold = sa.select(line.id).where(line.item_id == sold_item.id).exists()
        items = await delete_rows_where(unit, Item, free, ~sold)
    kept = await session.scalar(sa.select(sa.func.count()).select_from(item).where(item.archived_at < input.before))
    # Which items were sold is known only now that their lines are gone; a refusal undoes it all.
    hold(unit, input, len(customers) + len(items))
    counts = {"customers": len(customers), "items": len(items), "items_kept": kept}
    gone = {"Customer": customers, "Order": orders, "OrderItem": lines, "Item": items}
    ids = ids_of(unit, "deleted_ids", ((name, key) for name, keys in gone.items() for key in keys))
    return answer({"count": len(customers) + len(items), **counts, **ids})


async def _hold(session: AsyncSession, row: Any, where: ColumnElement[bool], *, skip: bool = False) -> list[int]:
    """The keys of the rows that match, locked to be deleted; with `skip` without those that somebody else has locked."""
    return list((await session.scalars(locked(sa.select(row.id).where(where), row, Lock.DELETE, skip=skip))).all())


MUTATIONS = (purge_archived,)

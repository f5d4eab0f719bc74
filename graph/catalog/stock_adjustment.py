"""The stock of one item, moved by one statement that cannot take it below zero, whatever runs beside it.

What goes in: the input of `adjustStock`. What comes out: the item. What is refused here: an item that is not there or tracks no
stock, more pieces than there are, more than the counter holds.
"""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa

from graph.catalog.inputs import AdjustStockInput
from graph.catalog.payloads import AdjustStockPayload
from graph.models import Item
from graph.scope import Scope
from graph.stock import MOST_PIECES, out_of_stock, over_stocked
from graph.write import door
from graph.write.answers import Answer, answer
from graph.write.columns import key_in_id, missing
from graph.write.errors import ROOT, MutationError, Refused, Row, invalid
from graph.write.mutation_inputs import chosen
from graph.write.resolvers import mutation
from graph.write.unit import Unit


@mutation("Add pieces to an item's stock, or take them; never below zero.", scope="write", unbound=True)
async def adjust_stock(unit: Unit, input: AdjustStockInput) -> Answer[AdjustStockPayload]:
    field, sent = chosen(input.item)
    table: Any = sa.inspect(Item).local_table
    key = (key_in_id(Item, sent) or 0) if field.attribute == "id" else sent
    where = table.columns[field.attribute] == key
    after = sa.cast(table.c.stock, sa.BigInteger) + input.delta
    # Somebody may move the stock between a refusal and its explanation: then nothing explains it, and it is tried again.
    moved = door.counted(Item, "stock", input.delta)
    allowed, path = (after >= 0, after <= MOST_PIECES), (*ROOT, "delta")
    while not (found := await door.update_where(unit, Item, where, moved, *allowed, path=path)):
        row = unit.seen(Item)
        rows = await unit.rows(sa.select(row.stock).where(getattr(row, field.attribute) == key))
        if not rows:
            raise Refused([missing("Item", str(sent), (*ROOT, "item", field.name), field.name)])
        stock = rows[0].stock
        if stock is None or not 0 <= stock + input.delta <= MOST_PIECES:
            raise Refused([_refusal(unit.scope, stock, input.delta)])
    return answer(item=Row("Item", found[0]))


def _refusal(scope: Scope, stock: int | None, delta: int) -> MutationError:
    path = (*ROOT, "delta")
    if stock is None:
        return invalid((*ROOT, "item"), "must be one that tracks its stock")
    return out_of_stock(scope, -delta, stock, path) if stock + delta < 0 else over_stocked(path)

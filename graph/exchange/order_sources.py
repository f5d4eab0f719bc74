"""Which order came from where: the table `order_source`, by which an import knows the orders that it has made already.

What goes in: orders of files, or keys of orders. What comes out: what is known of them. What may be refused here: nothing.

A row lives as long as its order. The fingerprint says of what the order was made: the same again is passed over, anything else
under the same number is refused.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import sqlalchemy as sa

from graph.base import Base, KeyType
from graph.exchange.entries import Order
from graph.models import Customer
from graph.models import Order as OrderRow
from graph.read.rows import rows
from graph.scope import SERVER
from graph.texts import CodePointText
from graph.write.images import among
from graph.write.object_graph import Graph

#: The source that an export names for orders which came by no import: their own number is theirs.
OWN = "ordergraph"

ORDER_SOURCE = sa.Table(
    "order_source",
    Base.metadata,
    sa.Column("source", CodePointText, nullable=False),
    sa.Column("number", CodePointText, nullable=False),
    sa.Column("order_id", KeyType, sa.ForeignKey("orders.id", ondelete="CASCADE"), nullable=False),
    sa.Column("fingerprint", CodePointText, nullable=False),
    sa.PrimaryKeyConstraint("source", "number"),
    sa.UniqueConstraint("order_id"),
)


async def fingerprints(graph: Graph, orders: Sequence[Order]) -> dict[tuple[str, str], str]:
    """The fingerprints of those orders that are there, by source and number."""
    found: dict[tuple[str, str], str] = {}
    table = ORDER_SOURCE.c
    for source in sorted({order.source for order in orders}):
        numbers = [order.number for order in orders if order.source == source]
        there = sa.select(table.number, table.fingerprint).where(table.source == source, among(graph, table.number, numbers))
        found |= {(source, number): print_ for number, print_ in await graph.session.execute(there)}
    return found


async def own(graph: Graph, orders: Iterable[Order]) -> set[tuple[str, str]]:
    """Source and number of those orders that are this database's own: it exported them. Number, customer and time agree."""
    wanted = {order.number: order for order in orders if order.source == OWN}
    if not wanted:
        return set()
    order, customer = rows(OrderRow, SERVER), rows(Customer, SERVER)
    there = (
        sa.select(order.number, customer.email, order.order_date)
        .join(customer, customer.id == order.customer_id)
        .where(among(graph, order.number, list(wanted)))
    )
    return {
        (OWN, number)
        for number, email, date in await graph.session.execute(there)
        if (wanted[number].email, wanted[number].order_date) == (email, date)
    }


async def keep(graph: Graph, orders: Sequence[Order], keys: Sequence[int]) -> None:
    """Note where orders came from."""
    made = [
        {"source": order.source, "number": order.number, "order_id": key, "fingerprint": order.fingerprint}
        for order, key in zip(orders, keys, strict=True)
    ]
    await graph.session.execute(sa.insert(ORDER_SOURCE), made)


async def names(graph: Graph, keys: Sequence[int]) -> dict[int, tuple[str, str]]:
    """Source and number of orders by their keys, of those that came by an import."""
    table = ORDER_SOURCE.c
    there = sa.select(table.order_id, table.source, table.number).where(among(graph, table.order_id, keys))
    return {key: (source, number) for key, source, number in await graph.session.execute(there)}

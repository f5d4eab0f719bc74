"""An export: what a shop holds, page by page, by the compiled reads that answer clients.

What goes in: an engine and its database, a filter of orders in the API's own words. What comes out: rows for files, with natural
keys and in an order that does not depend on others: imported into an empty database and exported again they are the same. What
may be refused here: a filter that is none, as `RequestRefused`.

A page is one statement; while others write, two pages may be of two moments. The stock of an item is what lies there: what open
orders hold is counted in, since an import takes it away again.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import replace
from typing import Any

import orjson
import sqlalchemy as sa

from graph.context import Context
from graph.exchange import order_sources
from graph.exchange.tables import CUSTOMERS, ITEMS, LINES, ORDER_ITEMS, ORDERS
from graph.models import Order, OrderItem
from graph.operations.engine import Engine
from graph.orders.reservations import HOLDING
from graph.read.rows import rows
from graph.read.types.scalars import parse_id
from graph.scope import SERVER
from graph.settings import Settings
from graph.write.images import among
from graph.write.object_graph import Graph

#: Rows of a page.
PAGE = 500
#: What the files of an export hold: what an import asks for, but for what it only makes other values of.
COLUMNS = {
    layout: tuple(name for name in layout.names if name not in ("shipped", "discount_rate"))
    for layout in (CUSTOMERS, ITEMS, ORDERS, ORDER_ITEMS, LINES)
}
COLUMNS[ORDERS] = tuple(name for name in COLUMNS[ORDERS] if name != "customer_name")
COLUMNS[ORDER_ITEMS] = tuple(name for name in COLUMNS[ORDER_ITEMS] if name != "item_name")

CUSTOMER_PAGES = """query ($after: String, $first: Int) {
  page: customers(first: $first, after: $after, orderBy: [{field: EMAIL}]%s) {
    nodes { email name archived_at: archivedAt archived_by: archivedBy } pageInfo { endCursor hasNextPage }
  }
}"""
ITEM_PAGES = """query ($after: String, $first: Int) {
  page: items(first: $first, after: $after, orderBy: [{field: SKU}]%s) {
    nodes { id sku name price stock archived_at: archivedAt archived_by: archivedBy } pageInfo { endCursor hasNextPage }
  }
}"""
ORDER_PAGES = """query ($after: String, $first: Int) {
  page: orders(first: $first, after: $after%s) {
    nodes {
      id number order_date: orderDate status discount note customer { email name }
      items { quantity price_paid: pricePaid item { sku name } }
    }
    pageInfo { endCursor hasNextPage }
  }
}"""
#: Lists leave out what is archived where nobody mentions it.
ARCHIVED_TOO = "{or: [{archived: {eq: true}}, {archived: {eq: false}}]}"


def for_pages(settings: Settings) -> Settings:
    """Settings under which an engine answers pages of an export."""
    return replace(settings, max_page_size=PAGE, max_cost=2**31, max_answer_bytes=2**28, trusted_documents="")


class Export:
    """One export of the rows that `where` lets pass, a filter of orders: those orders, their customers and items."""

    def __init__(self, engine: Engine, context: Context, where: str | None) -> None:
        self.engine = engine
        self.context = context
        self.where = where

    async def customers(self) -> AsyncIterator[dict[str, Any]]:
        """Customers by the names of their file."""
        async for page in self._pages(CUSTOMER_PAGES, "{orders: {some: %s}}"):
            for node in page:
                yield node

    async def items(self) -> AsyncIterator[dict[str, Any]]:
        """Items by the names of their file."""
        async for page in self._pages(ITEM_PAGES, "{orderItems: {some: {order: %s}}}"):
            held = await self._held([_key(node) for node in page])
            for node in page:
                stock = node["stock"]
                yield {**node, "stock": None if stock is None else stock + held.get(_key(node), 0)}

    async def orders(self) -> AsyncIterator[dict[str, Any]]:
        """Orders by the names of their file, and their lines as `items`."""
        async for page in self._pages(ORDER_PAGES, "%s"):
            names = await self._transaction(lambda graph, page=page: order_sources.names(graph, [_key(node) for node in page]))
            for node in page:
                source, number = names.get(_key(node), (order_sources.OWN, node["number"]))
                customer = node["customer"]
                told = {"email": customer["email"], "customer_name": customer["name"]}
                lines = [{**line, "sku": line["item"]["sku"], "item_name": line["item"]["name"]} for line in node["items"]]
                yield {**node, **told, "source": source, "number": number, "items": lines}

    async def _pages(self, document: str, filter_: str) -> AsyncIterator[list[dict[str, Any]]]:
        parts = [] if self.where is None else [filter_ % self.where]
        if document is not ORDER_PAGES:
            parts.append(ARCHIVED_TOO)
        text = document % (f", where: {{and: [{', '.join(parts)}]}}" if parts else "")
        after: str | None = None
        while True:
            answer = await self.engine.run(text, {"after": after, "first": PAGE}, None, self.context)
            page = orjson.loads(answer.data or b"")["page"]
            yield page["nodes"]
            if not page["pageInfo"]["hasNextPage"]:
                return
            after = page["pageInfo"]["endCursor"]

    async def _held(self, keys: Sequence[int]) -> dict[int, int]:
        """The pieces of items that open orders hold."""
        line, order = rows(OrderItem, SERVER), rows(Order, SERVER)

        async def work(graph: Graph) -> dict[int, int]:
            held = (
                sa.select(line.item_id, sa.func.sum(line.quantity))
                .join(order, order.id == line.order_id)
                .where(among(graph, line.item_id, keys), order.status.in_(HOLDING))
                .group_by(line.item_id)
            )
            return {key: int(pieces) for key, pieces in await graph.session.execute(held)}

        found: dict[int, int] = await self._transaction(work)
        return found

    async def _transaction(self, work: Any) -> Any:
        context = Context(self.context.database, scope=SERVER)
        try:
            return await context.database.transaction(context.session, lambda: work(Graph(context)))
        finally:
            await context.close()


def _key(node: dict[str, Any]) -> int:
    parsed = parse_id(node["id"])
    assert parsed is not None, "an id that was just read"
    return parsed[1]


def flat(order: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """The rows of an order in a flat file; one without lines has one."""
    for line in order["items"] or [{}]:
        yield {**order, **line}


def cells(columns: Sequence[str], node: dict[str, Any]) -> list[Any]:
    """A row of a CSV file."""
    return ["" if node.get(name) is None else node[name] for name in columns]


def said(columns: Sequence[str], node: dict[str, Any]) -> dict[str, Any]:
    """An object of an NDJSON file: what there is, and nothing that is empty."""
    return {name: node[name] for name in columns if node.get(name) not in (None, "")}

"""Rows that a viewer may not see: rules for tests, and pairs of databases of which one lacks what the rules hide.

What goes in: a kind of viewer. What comes out: the rules, as the door asks them and, written down a second time, as Python over
objects; and the answers of an operation, asked by a viewer of that kind.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import pytest
import sqlalchemy as sa

from graph.context import Context
from graph.database import Database
from graph.models import Customer, Item, Order, OrderItem, OrderStatus
from graph.read import rows
from graph.schema import schema
from graph.scope import OPEN, Scope
from graph.serve.responses import answer_body, refusal_body
from graph.settings import Settings
from tests.conftest import made
from tests.engines import Engines
from tests.walk import load

SCOPES = {
    "thirds": Scope("thirds"),
    "skus": Scope("skus"),
    "states": Scope("states"),
    "own": Scope("own", {"customer": 5}),
    "both": Scope("both"),
}


def customers(row: Any, viewer: rows.Door) -> Any:
    if viewer.kind == "own":
        return row.id == viewer.value("customer", row.id)
    return row.id % 3 != 0 if viewer.kind in ("thirds", "both") else None


def items(row: Any, viewer: rows.Door) -> Any:
    return ~row.sku.like("NW-1%") if viewer.kind in ("skus", "both") else None


def orders(row: Any, viewer: rows.Door) -> Any:
    return row.status != OrderStatus.CANCELLED if viewer.kind == "states" else None


RULES: dict[type[Any], Any] = {Customer: customers, Item: items, Order: orders}

#: The same once more, over objects.
SEEN: dict[str, Callable[[Any], bool]] = {
    "Customer thirds": lambda customer: customer.id % 3 != 0,
    "Customer both": lambda customer: customer.id % 3 != 0,
    "Customer own": lambda customer: customer.id == 5,
    "Item skus": lambda item: not item.sku.startswith("NW-1"),
    "Item both": lambda item: not item.sku.startswith("NW-1"),
    "Order states": lambda order: order.status is not OrderStatus.CANCELLED,
}


def is_seen(row: Any, kind: str) -> bool:
    """Whether a viewer of a kind may see a row, its parents loaded."""
    parents = {Order: ("customer",), OrderItem: ("order", "item")}.get(type(row), ())
    own = SEEN.get(f"{type(row).__name__} {kind}", lambda _: True)(row)
    return own and all(is_seen(getattr(row, name), kind) for name in parents)


@contextmanager
def rules() -> Iterator[None]:
    """The rules hold."""
    with pytest.MonkeyPatch.context() as patch:
        for model, rule in RULES.items():
            patch.setitem(rows.RULES, model, rule)
        yield


async def hide(database: Database, kind: str) -> None:
    """Delete the rows that a viewer may not see, past the product."""
    found = await load(database)
    async with database.session() as session, session.begin():
        for model in (OrderItem, Order, Item, Customer):
            gone = [row.id for row in found[model.__name__] if not is_seen(row, kind)]
            for start in range(0, len(gone), 500):
                table: Any = model.__table__
                await session.execute(sa.delete(table).where(table.c.id.in_(gone[start : start + 500])))


@dataclass
class Asked:
    """A database and who asks it."""

    database: Database
    scope: Scope

    async def raw(self, query: str, variables: dict[str, Any] | None = None) -> bytes:
        """The body of the answer."""
        context = Context(self.database, scope=self.scope)
        try:
            answer = await schema.engine(self.database).run(query, variables or {}, None, context)
        except Exception as error:  # what is refused has an answer, too
            return refusal_body(error, "request")[1]
        finally:
            await context.close()
        return answer_body(answer, "request", with_cost=True)[1]


@dataclass
class Pair:
    """The same shop whole, asked by a viewer, and without what is hidden from him, asked by anybody."""

    runner: asyncio.Runner
    whole: Asked
    less: Asked
    rows: dict[str, list[Any]]

    def answers(self, query: str, variables: dict[str, Any] | None = None) -> tuple[bytes, bytes]:
        whole, less = (self.runner.run(asked.raw(query, variables)) for asked in (self.whole, self.less))
        return whole, less


@contextmanager
def pair(engines: Engines, kind: str) -> Iterator[Pair]:
    """A pair for a kind of viewer. Reads of tests are not refused for their cost."""
    with (
        rules(),
        made(engines, "shop", audited=False) as one,
        made(engines, "shop", audited=False) as other,
        asyncio.Runner() as runner,
    ):
        whole, less = (Database(Settings(database_url=url, max_cost=10**9, max_aliases=1000)) for url in (one, other))
        runner.run(hide(less, kind))
        yield Pair(runner, Asked(whole, SCOPES[kind]), Asked(less, OPEN), runner.run(load(whole)))
        runner.run(whole.close())
        runner.run(less.close())

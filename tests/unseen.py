"""Rows that a viewer may not see: rules for tests, and pairs of databases of which one lacks what the rules hide.

What goes in: a kind of viewer. What comes out: the rules, as the door asks them and, written down a second time, as Python over
objects; and the answers of an operation, asked by a viewer of that kind.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, replace
from datetime import timedelta
from functools import partial
from typing import Any

import pytest
import sqlalchemy as sa

from graph.context import Context
from graph.database import Database
from graph.models import Customer, Item, Order, OrderItem, OrderStatus
from graph.operations.engine import Engine
from graph.read import rows
from graph.schema import schema
from graph.scope import BOUND, OPEN, Scope, Viewer
from graph.serve.responses import answer_body, refusal_body
from tests.conftest import made
from tests.engines import TEMPLATES, Engines
from tests.unhurried import unhurried
from tests.viewers import viewer
from tests.walk import load

#: What is done to the hidden rows of the other shop of a pair.
Change = Callable[[Database, str], Coroutine[Any, Any, None]]

SCOPES = {
    "thirds": Scope("thirds"),
    "skus": Scope("skus"),
    "states": Scope("states"),
    "own": Scope("own", {"customer": 5}),
    "both": Scope("both"),
}


#: Everybody of these is asked about the rules for tests. Who is bound to a customer is asked about the shop's own.
VIEWERS = {**SCOPES, BOUND: Scope(BOUND, {"customer": 5})}


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
    f"Customer {BOUND}": lambda customer: customer.id == 5,
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


async def scramble(database: Database, kind: str) -> None:
    """Change everything about the rows that a viewer may not see but their keys and where they belong, past the product.

    What a visible order comes to stays: a line of it that is hidden keeps its product.
    """
    found = await load(database)
    changes = defaultdict[tuple[type[Any], tuple[str, ...]], list[dict[str, Any]]](list)
    async with database.session() as session, session.begin():
        for row in (row for found_ in found.values() for row in found_ if not is_seen(row, kind)):
            values: dict[str, Any] = {}
            if isinstance(row, OrderItem):
                values = {"quantity": 1, "price_paid": row.quantity * row.price_paid}
                if not is_seen(row.order, kind):
                    values = {"quantity": row.quantity % 7 + 1, "price_paid": 0}
            else:
                values |= {"version": row.version + 3, "created_at": row.created_at + timedelta(days=400)}
            if isinstance(row, Order):
                values |= {"note": "hidden", "discount": 0, "total_amount": 0}
                if kind != "states":
                    values["status"] = OrderStatus.SHIPPED
            if isinstance(row, Customer | Item):
                archived = None if row.archived_at else row.updated_at
                values |= {"name": f"Hidden {row.id}", "archived_at": archived}
            if isinstance(row, Item):
                values |= {"price": 1, "stock": row.id % 5}
            changes[type(row), tuple(values)].append({"_id": row.id, **{f"_{name}": value for name, value in values.items()}})
        for (model, names), rows_ in changes.items():
            table: Any = model.__table__
            statement = sa.update(table).where(table.c.id == sa.bindparam("_id"))
            statement = statement.values({name: sa.bindparam(f"_{name}") for name in names})
            await (await session.connection()).execute(statement, rows_)


@dataclass
class Asked:
    """A database and who asks it: a viewer, or somebody of whom only his scope is known."""

    database: Database
    scope: Scope
    viewer: Viewer | None = None

    async def raw(self, query: str, variables: dict[str, Any] | None = None) -> bytes:
        """The body of the answer."""
        context = Context(self.database, viewer=self.viewer, scope=self.scope)
        try:
            answer = await schema.engine(self.database).run(query, variables or {}, None, context)
        except Exception as error:  # what is refused has an answer, too
            return refusal_body(error, "request")[1]
        finally:
            await context.close()
        return answer_body(answer, "request", 2**24, with_cost=True)[1]


#: Who is bound to a customer, and may do whatever such a one may.
BEA = viewer("admin", customer=5)


@dataclass
class Pair:
    """A shop asked by a viewer, and one that differs in what is hidden from him. `rows` are those of the first."""

    runner: asyncio.Runner
    whole: Asked
    other: Asked
    rows: dict[str, list[Any]]

    @property
    def kind(self) -> str:
        return self.whole.scope.kind

    def answers(self, query: str, variables: dict[str, Any] | None = None) -> tuple[bytes, bytes]:
        whole, other = (self.runner.run(asked.raw(query, variables)) for asked in (self.whole, self.other))
        return whole, other


async def changed(change: Change, kind: str, url: str) -> None:
    """Fill the template of the other shop of a pair."""
    database = Database(unhurried(url))
    await change(database, kind)
    await database.close()


#: The engine of these shops for each kind of database: its documents and plans are kept from test to test.
KNOWING: dict[str, Engine] = {}


@contextmanager
def pair(engines: Engines, kind: str, change: Change = hide) -> Iterator[Pair]:
    """A pair for a kind of viewer. Reads of tests are not refused for their cost.

    Where the other shop lacks the hidden rows, anybody asks it; where it only has others, the viewer does.
    """
    name = f"{change.__name__} {kind}"
    TEMPLATES[name] = ("varied", partial(changed, change, kind))
    with (
        nullcontext() if kind == BOUND else rules(),
        made(engines, "varied", audited=False) as one,
        made(engines, name, audited=False) as two,
        asyncio.Runner() as runner,
    ):
        whole, other = (Database(unhurried(url, max_cost=10**9, max_aliases=1000)) for url in (one, two))
        KNOWING[whole.dialect.name] = schema.engine(whole)
        who = Asked(whole, VIEWERS[kind], BEA if kind == BOUND else None)
        yield Pair(runner, who, Asked(other, OPEN) if change is hide else replace(who, database=other), runner.run(load(whole)))
        runner.run(whole.close())
        runner.run(other.close())

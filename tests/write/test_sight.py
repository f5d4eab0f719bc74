"""The write door afterwards: nobody writes a row out of his own sight, by any way in which rows are written.

Rules for tests hold for the viewer `clerk`. Each refusal leaves every row as it was, and tells listeners nothing.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from functools import partial
from typing import Any

import orjson
import pytest
import sqlalchemy as sa

from graph.base import utc_now
from graph.context import Context
from graph.database import Database
from graph.models import Customer, Item, Order, OrderItem, OrderStatus
from graph.read import rows
from graph.scope import OPEN, Scope
from graph.write import door
from graph.write.column_rows import insert_of
from graph.write.errors import Refused
from graph.write.object_graph import Graph
from graph.write.record import Change, recorded, savepoint
from graph.write.sight import Keyed
from graph.write.unit import Unit
from tests import stock
from tests.conftest import Ask, Statements
from tests.snapshots import Snapshots
from tests.unseen import Asked

SHOP = [
    stock.item("A", 1, 99, name="Anvil"),
    stock.item("B", 1, name="Bolt"),
    stock.customer("Ada", [stock.line("A", 9)], [], email="ada@x.io"),
]
CLERK = Scope("clerk")
ERRORS = "errors { code path ... on ForbiddenError { type } }"


def clerks(condition: Any) -> Any:
    """A rule for the clerk alone."""
    return lambda row, viewer: condition(row) if viewer.kind == "clerk" else None


RULES: dict[type[Any], Any] = {
    Customer: clerks(lambda row: sa.and_(~row.name.like("X%"), row.archived_at.is_(None))),
    Item: clerks(lambda row: sa.and_(row.price < 10000, sa.or_(row.stock.is_(None), row.stock.between(1, 99)))),
    Order: clerks(lambda row: sa.and_(row.note.is_distinct_from("gone"), row.status != OrderStatus.CANCELLED)),
    OrderItem: clerks(lambda row: row.quantity < 50),
}


@pytest.fixture
def ruled() -> Iterator[pytest.MonkeyPatch]:
    """The rules hold."""
    with pytest.MonkeyPatch.context() as patch:
        for model, rule in RULES.items():
            patch.setitem(rows.RULES, model, rule)
        yield patch


def allow(patch: pytest.MonkeyPatch, model: type[Any], rule: Any) -> None:
    """Say which rows of a class the clerk may leave behind, seen or not."""
    rules: dict[type[Any], Any] = rows.WRITABLE
    patch.setitem(rules, model, rule)


class Clerk:
    """Who asks the shop as the clerk; `heard` is what its listeners are told."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self.snapshots = Snapshots(database.settings.database_url)
        self.heard: list[Sequence[Change]] = []

    async def mutate(self, field: str, input_: Any, selection: str = "", scope: Scope = CLERK, how: str = "") -> dict[str, Any]:
        type_ = f"{field[0].upper()}{field[1:]}Input"
        query = f"mutation ($input: {type_}!) {how} {{ {field}(input: $input) {{ {selection} {ERRORS} }} }}"
        answer = orjson.loads(await Asked(self.database, scope).raw(query, {"input": input_}))
        assert "errors" not in answer, answer
        payload: dict[str, Any] = answer["data"][field]
        return payload


@pytest.fixture
async def clerk(shop: Ask, ruled: pytest.MonkeyPatch) -> AsyncIterator[Clerk]:
    clerk = Clerk(shop.app.state.database)
    clerk.database.listeners.append(clerk.heard.append)
    yield clerk
    await clerk.snapshots.close()


NEW = {"name": "Eve", "email": "eve@x.io"}
ROW = {"sku": "C", "name": "Cog", "price": "1.00"}
DEAR, GONE, MANY = {"price": "200.00"}, {"note": "gone"}, {"item": {"sku": "B"}, "quantity": 50}
BLIND = {"name": "X"}

#: Mutation, input, and where which row goes out of sight.
CASES: list[tuple[str, dict[str, Any], list[tuple[str, str]]]] = [
    ("createCustomer", {**NEW, **BLIND}, [("input", "Customer")]),
    ("createCustomer", {**NEW, "orders": [{}, GONE]}, [("input.orders.1", "Order")]),
    ("createCustomer", {**NEW, **BLIND, "orders": [{}]}, [("input", "Customer")]),
    ("createCustomers", {"customers": [NEW, {**BLIND, "email": "x@x.io"}]}, [("input.customers.1", "Customer")]),
    ("updateCustomer", {"id": "Customer:1", **BLIND, "email": "x@x.io"}, [("input", "Customer")]),
    (
        "updateCustomer",
        {"id": "Customer:1", "orders": {"update": [{"id": "Order:2", **GONE}]}},
        [("input.orders.update.0", "Order")],
    ),
    (
        "updateCustomer",
        {"id": "Customer:1", "orders": {"create": [{"items": [MANY]}]}},
        [("input.orders.create.0.items.0", "OrderItem")],
    ),
    ("upsertCustomer", {**BLIND, "email": "ada@x.io"}, [("input", "Customer")]),
    ("upsertCustomer", {**BLIND, "email": "x@x.io"}, [("input", "Customer")]),
    ("insertCustomers", {"rows": [NEW, {**BLIND, "email": "x@x.io"}]}, [("input.rows.1", "Customer")]),
    ("archiveCustomer", {"id": "Customer:1"}, [("input", "Customer")]),
    ("archiveCustomers", {"all": True}, [("input", "Customer")]),
    ("createOrder", {"customer": {"id": "Customer:1"}, **GONE}, [("input", "Order")]),
    ("createOrder", {"customer": {"id": "Customer:1"}, "items": [MANY]}, [("input.items.0", "OrderItem")]),
    ("createOrder", {"customer": {"create": {**NEW, **BLIND}}}, [("input.customer.create", "Customer")]),
    (
        "createOrder",
        {"customer": {"id": "Customer:1"}, "items": [{"item": {"create": {**ROW, **DEAR}}, "quantity": 1}]},
        [("input.items.0.item.create", "Item")],
    ),
    ("createOrders", {"orders": [{"customer": {"id": "Customer:1"}, **GONE}]}, [("input.orders.0", "Order")]),
    (
        "updateOrder",
        {"id": "Order:1", "items": {"update": [{"id": "OrderItem:1", "quantity": 50}]}},
        [("input.items.update.0", "OrderItem")],
    ),
    ("updateOrder", {"id": "Order:1", "items": {"replace": [MANY]}}, [("input.items.replace.0", "OrderItem")]),
    ("transitionOrder", {"id": "Order:1", "to": "CANCELLED"}, [("input", "Order")]),
    ("updateOrders", {"all": True, "set": GONE}, [("input.set.note", "Order")]),
    ("createItem", {**ROW, **DEAR}, [("input", "Item")]),
    ("createItems", {"items": [ROW, {**ROW, "sku": "D", **DEAR}]}, [("input.items.1", "Item")]),
    ("updateItem", {"id": "Item:2", **DEAR}, [("input", "Item")]),
    ("upsertItem", {**ROW, "sku": "A", **DEAR}, [("input", "Item")]),
    ("upsertItem", {**ROW, "sku": "A", "stockDelta": 10}, [("input", "Item")]),
    ("upsertItems", {"items": [ROW, {**ROW, "sku": "A", **DEAR}]}, [("input.items.1", "Item")]),
    ("insertItems", {"rows": [ROW, {**ROW, "sku": "D", **DEAR}]}, [("input.rows.1", "Item")]),
    ("insertItems", {"rows": [ROW, {**ROW, "sku": "D", **DEAR}], "onConflict": "SKIP"}, [("input.rows.1", "Item")]),
    ("insertItems", {"rows": [ROW, {**ROW, "sku": "A", **DEAR}], "onConflict": "UPDATE"}, [("input.rows.1", "Item")]),
    ("adjustStock", {"item": {"sku": "A"}, "delta": 50}, [("input.delta", "Item")]),
]


async def test_no_write_leaves_a_row_that_its_writer_does_not_see(clerk: Clerk) -> None:
    before = await clerk.snapshots.take()
    for number, (field, input_, expected) in enumerate(CASES):
        for how in ("", "@atomic", "@dryRun") if number % 4 == 0 else ("",):
            payload = await clerk.mutate(field, input_, how=how)
            found = [(".".join(error["path"]), error["type"]) for error in payload["errors"] if error["code"] == "FORBIDDEN"]
            assert (found, len(payload["errors"])) == (expected, len(expected)), (field, input_, payload)
        assert await clerk.snapshots.take() == before, (field, input_)
    assert clerk.heard == []
    for field, input_, _ in CASES[::4]:  # nothing was wrong with them but that
        assert (await clerk.mutate(field, input_, scope=OPEN, how="@dryRun"))["errors"] == [], field


async def test_a_row_that_is_refused_alone_leaves_the_others(clerk: Clerk) -> None:
    customers = [{**BLIND, "email": "x@x.io"}, NEW]
    payload = await clerk.mutate(
        "createCustomers", {"customers": customers, "onError": "CONTINUE"}, "results { customer { name } errors { code path } }"
    )
    assert payload["results"] == [
        {"customer": None, "errors": [{"code": "FORBIDDEN", "path": ["input", "customers", "0"]}]},
        {"customer": {"name": "Eve"}, "errors": []},
    ]
    assert [(change.type, change.kind.name) for call in clerk.heard for change in call] == [("Customer", "CREATED")]


async def test_accounts_of_the_server_may_take_a_row_out_of_sight(clerk: Clerk, ruled: pytest.MonkeyPatch) -> None:
    """Whoever gives pieces back, or buys the last ones, writes an order; the stock follows."""
    assert (await clerk.mutate("adjustStock", {"item": {"sku": "A"}, "delta": 9}))["errors"] == []
    assert (await clerk.mutate("deleteOrder", {"id": "Order:1"}))["errors"] == []
    assert (await clerk.mutate("adjustStock", {"item": {"sku": "A"}, "delta": 1}))["errors"][0]["code"] == "NOT_FOUND"
    assert (await clerk.snapshots.take())["Item", 1]["stock"] == 108
    assert (await clerk.mutate("adjustStock", {"item": {"sku": "A"}, "delta": -18}, scope=OPEN))["errors"] == []
    line = {"item": {"sku": "A"}, "quantity": 45}
    order = {"customer": {"id": "Customer:1"}, "items": [line, line]}
    # A line whose item is out of sight is so, too, unless the item's rule lets it go.
    assert [error["code"] for error in (await clerk.mutate("createOrder", order))["errors"]] == ["FORBIDDEN", "FORBIDDEN"]
    assert (await clerk.snapshots.take())["Item", 1]["stock"] == 90
    allow(ruled, Item, lambda row, viewer: None)
    assert (await clerk.mutate("createOrder", order))["errors"] == []
    assert (await clerk.snapshots.take())["Item", 1]["stock"] == 0


async def test_a_rule_may_allow_it(clerk: Clerk, ruled: pytest.MonkeyPatch) -> None:
    allow(ruled, Customer, clerks(lambda row: ~row.name.like("XX%")))
    change = {"id": "Customer:1", "name": "X", "orders": {"update": [{"id": "Order:2", "note": "soon"}]}}
    assert await clerk.mutate("updateCustomer", change, "customer { id }") == {"customer": None, "errors": []}
    assert (await clerk.snapshots.take())["Order", 2]["note"] == "soon"  # it goes with its customer, who may go
    made = await clerk.mutate("upsertCustomer", {"name": "X", "email": "x@x.io"}, "created customer { id }")
    assert made == {"created": True, "customer": None, "errors": []}
    for name in ("XX", "X"):
        payload = await clerk.mutate("createCustomer", {"name": name, "email": f"{name}@y.io"})
        assert [error["code"] for error in payload["errors"]] == ["FORBIDDEN"] * (name == "XX")


async def test_it_is_asked_only_where_a_rule_is(clerk: Clerk, ruled: pytest.MonkeyPatch, statements: Statements) -> None:
    """One statement for each type that was written and has rules for this viewer; none without."""
    order = {"customer": {"id": "Customer:1"}, "items": [{"item": {"sku": "B"}, "quantity": 1}]}
    rows_ = {"rows": [ROW], "onConflict": "UPDATE"}
    counts: dict[str, list[int]] = {}
    for who in (CLERK, OPEN, Scope("nobody")):
        counts[who.kind] = []
        for field, input_ in (("createOrder", order), ("insertItems", rows_)):
            for _ in range(2):
                statements.clear()
                assert (await clerk.mutate(field, input_, scope=who, how="@dryRun"))["errors"] == []
            counts[who.kind].append(len(statements))
    ruled.undo()
    for _ in range(2):
        statements.clear()
        await clerk.mutate("createOrder", order, scope=OPEN, how="@dryRun")
    assert counts["open"] == counts["nobody"]
    assert counts["open"][0] == len(statements)
    # Orders and lines; and for plain rows that none of the keys is a hidden row's, and what they have become.
    assert [with_rule - without for with_rule, without in zip(counts["clerk"], counts["open"], strict=True)] == [2, 2]


async def test_no_verb_of_the_door_reaches_a_row_that_is_not_seen(clerk: Clerk) -> None:
    """Mutations look before they write; what does not look reaches no further, and lets the row be as it is."""
    assert (await clerk.mutate("createItem", {**ROW, **DEAR}, scope=OPEN))["errors"] == []
    before = await clerk.snapshots.take()
    clerk.heard.clear()
    context = Context(clerk.database, scope=CLERK)
    times = {"created_at": utc_now(), "updated_at": utc_now()}
    refused = list[str]()

    async def work() -> None:
        graph = Graph(context)
        table: Any = Item.__table__
        keyed = Keyed(Item, "sku", ["C"], lambda _: ("input",))
        offered = insert_of(graph, Item).values({"sku": "C", "name": "Mine", "price": 1, "version": 1, **times})
        dear = {"name": "Mine", "price": 20_000, "version": 1}
        writes: dict[str, Callable[[], Awaitable[object]]] = {
            "update": partial(door.update, graph, Item, [3], {"name": "Mine"}),
            "merge": partial(door.merge, graph, keyed, offered, {"name": "Mine"}),
            "insert_keyed": partial(door.insert_keyed, graph, Item, [9], {"id": [9], "sku": ["D"]}, {**dear, **times}),
            "update_where": partial(door.update_where, graph, Item, table.c.sku == "C", {"name": "Mine"}),
            "delete_where": partial(door.delete_where, graph, Item, [3]),
            "delete": partial(door.delete, graph, Item, [3]),
        }
        for name, write in writes.items():
            try:
                async with savepoint(context.session):
                    assert await write() in (None, [])
            except Refused:
                refused.append(name)

    await recorded(context, work)
    await context.close()
    assert refused == ["update", "merge", "insert_keyed"]  # they name rows that must be there afterwards
    assert await clerk.snapshots.take() == before
    assert clerk.heard == []


async def test_a_part_that_was_not_seen_before_may_be_written_by_what_holds_over_all(clerk: Clerk) -> None:
    more = {"create": [{"item": {"sku": "B"}, "quantity": 50}]}
    assert (await clerk.mutate("updateOrder", {"id": "Order:1", "items": more}, scope=OPEN))["errors"] == []
    context = Context(clerk.database, scope=CLERK)

    async def work() -> None:
        unit = Unit(context, explaining=False)
        order = await unit.load(Order, "Order:1", "items")
        for line in order.items:
            line.price_paid += 100
        await unit.flush()

    await recorded(context, work)
    await context.close()
    after = await clerk.snapshots.take()
    assert [after["OrderItem", key]["price_paid"] for key in (1, 2)] == [200, 200]

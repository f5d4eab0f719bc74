"""The outbox: what a transaction changed stands there once it is committed. `Ask` holds every mutation's against snapshots."""

from __future__ import annotations

import json
from typing import Any

import pytest
import sqlalchemy as sa

from graph.context import Context
from graph.database import Database
from graph.feed.outbox import ChangeRow, field_names
from graph.sample import load
from graph.schema import schema
from tests.conftest import Ask
from tests.words import done, mutate
from tests.write.test_record import refuse_once


async def outbox(database: Database) -> list[Any]:
    async with database.session() as session:
        return list((await session.execute(sa.select(ChangeRow.__table__).order_by(ChangeRow.id))).all())


def short(rows: list[Any]) -> list[str]:
    return [f"{row.kind} {row.type}:{row.key}@{row.version}" for row in rows]


async def test_a_change_says_what_where_when_and_by_which_mutation(ask: Ask) -> None:
    database = ask.app.state.database
    await done(ask, "createCustomer", {"name": "Ada", "email": "ada@x.io", "orders": [{}]})
    await done(ask, "updateOrder", {"id": "Order:1", "note": "soon", "discount": "0.00"})
    made, changed = (await outbox(database))[:2], (await outbox(database))[2:]
    assert {(row.type, row.root_type, row.root, row.mutation) for row in made} == {
        ("Customer", "Customer", 1, "createCustomer"),
        ("Order", "Order", 1, "createCustomer"),
    }
    (order,) = changed
    assert (order.kind, order.key, order.version, order.owner_before, order.owner_after) == ("UPDATED", 1, 2, 1, 1)
    assert (order.mutation, order.by, order.count) == ("updateOrder", None, 1)
    assert json.loads(order.changed) == ["version", "note", "updatedAt"]
    found = await ask.data('{ order(by: {id: "Order:1"}) { updatedAt } }')
    assert order.at.isoformat() >= found["order"]["updatedAt"].replace("Z", "+00:00")
    if database.capabilities.one_writer:
        assert [row.position for row in await outbox(database)] == [row.id for row in await outbox(database)] == [1, 2, 3]


def test_fields_are_told_by_the_names_that_clients_know() -> None:
    """Those that show a column, those that are computed of it, and the relation that a foreign key leads along."""
    for type_, attributes, names in (
        ("Order", {"total_amount"}, ["subtotal", "totalAmount"]),
        ("Order", {"status"}, ["status", "allowedTransitions"]),
        ("Order", {"customer_id"}, ["customer"]),
        ("OrderItem", {"quantity", "order_id"}, ["quantity", "lineTotal", "order"]),
        ("Customer", {"archived_at", "archived_by"}, ["archived", "archivedAt", "archivedBy"]),
        ("Item", {"stock"}, ["stock"]),
    ):
        assert json.loads(field_names(type_, frozenset(attributes))) == names


async def test_what_is_not_committed_is_not_there(ask: Ask, monkeypatch: pytest.MonkeyPatch) -> None:
    """Refused, dry, rolled back with its siblings, undone with its savepoint, tried in vain."""
    database = ask.app.state.database
    await done(ask, "createItem", {"sku": "A", "name": "Anvil", "price": "1.00", "stock": 10})
    await mutate(ask, "createItem", {"sku": "A", "name": "Other", "price": "1.00"})
    for how in ("@dryRun", "@dryRun @atomic", "@atomic"):
        await ask.data(f"""mutation {how} {{
          a: adjustStock(input: {{item: {{sku: "A"}}, delta: 1}}) {{ errors {{ code }} }}
          b: updateItem(input: {{id: "Item:9"}}) {{ errors {{ code }} }}
        }}""")
    assert short(await outbox(database)) == ["CREATED Item:1@1"]
    items = [{"sku": sku, "name": "N", "price": "1.00"} for sku in ("B", "A", "C")]
    payload = await mutate(ask, "createItems", {"items": items, "onError": "CONTINUE"}, "results { item { id } }")
    made = [entry["item"]["id"] for entry in payload["results"] if entry["item"]]
    assert short(await outbox(database))[1:] == [f"CREATED {id_}@1" for id_ in made]
    tries = refuse_once(ask, monkeypatch)
    await done(ask, "adjustStock", {"item": {"sku": "A"}, "delta": -1})
    assert len(tries) == 2
    (told,) = (await outbox(database))[3:]
    assert (told.kind, told.key, told.version, json.loads(told.changed)) == ("UPDATED", 1, 1, ["stock"])


async def test_fields_of_one_transaction_are_told_together(ask: Ask) -> None:
    await done(ask, "createItem", {"sku": "A", "name": "Anvil", "price": "1.00", "stock": 10})
    await ask.data("""mutation @atomic {
      a: adjustStock(input: {item: {sku: "A"}, delta: 1}) { errors { code } }
      b: createItem(input: {sku: "B", name: "B", price: "1"}) { errors { code } }
      c: archiveItem(input: {id: "Item:1"}) { errors { code } }
    }""")
    rows = (await outbox(ask.app.state.database))[1:]
    assert [(row.kind, row.key, row.mutation) for row in rows] == [
        ("UPDATED", 1, "archiveItem"),
        ("CREATED", 2, "createItem"),
    ]


async def test_what_no_payload_shows_is_kept_once_whatever_the_fields_after_it_read(ask: Ask) -> None:
    """The next field draws keys and shows what it made, each by a statement of its own."""
    await ask.data("""mutation {
      a: createItem(input: {sku: "A", name: "Anvil", price: "1"}) { errors { code } }
      b: createCustomer(input: {name: "Ada", email: "ada@x.io", orders: [{}]}) { customer { id } errors { code } }
    }""")
    told = [f"{row.type}:{row.key}" for row in await outbox(ask.database)]
    assert sorted(told) == ["Customer:1", "Item:1", "Order:1"]


@pytest.mark.parametrize("number", [1_000, 1_001])
async def test_many_rows_of_one_statement_are_one_change(ask: Ask, number: int) -> None:
    """Of an insert, a change by filter, an upsert, and of a cascade, each in its own statement."""
    database, told = ask.app.state.database, 0
    rows = [{"name": f"N{n}", "email": f"n{n}@x.io"} for n in range(number)]

    async def heard() -> list[tuple[str, str, Any, int]]:
        nonlocal told
        found = (await outbox(database))[told:]
        told += len(found)
        return [(row.kind, row.type, row.root, row.count) for row in found]

    def expected(kind: str, type_: str) -> list[tuple[str, str, Any, int]]:
        one = [(kind, type_, root, 1) for root in range(1, number + 1)]
        return [("MANY", type_, 0, number)] if number > 1_000 else one

    await done(ask, "insertCustomers", {"rows": rows})
    assert await heard() == expected("CREATED", "Customer")
    await done(ask, "insertCustomers", {"rows": rows, "onConflict": "SKIP"})
    assert await heard() == []
    await done(ask, "insertCustomers", {"rows": [{**row, "name": "M"} for row in rows], "onConflict": "UPDATE"})
    assert await heard() == expected("UPDATED", "Customer")
    await done(ask, "archiveCustomers", {"all": True})
    assert await heard() == expected("UPDATED", "Customer")
    await done(ask, "purgeArchived", {"before": "2999-01-01T00:00:00Z"})
    assert await heard() == expected("DELETED", "Customer")


async def test_a_write_without_the_app_is_told_too(database: Database) -> None:
    query = 'mutation { createItem(input: {sku: "A", name: "A", price: "1"}) { errors { code } } }'
    for context in (database, Context(database)):
        found = await schema.execute(query, context_value=context)
        assert found.errors is None
        if isinstance(context, Context):
            await context.close()
    assert short(await outbox(database)) == ["CREATED Item:1@1"]


async def test_the_sample_is_told(database: Database) -> None:
    loaded = await load(database)
    rows = await outbox(database)
    singly = loaded.customers + loaded.items + loaded.orders
    assert len(rows) == singly + 1
    assert [(row.type, row.kind, row.root_type, row.root, row.count) for row in rows[singly:]] == [
        ("OrderItem", "MANY", "Order", 0, loaded.lines)
    ]
    assert {row.type for row in rows if row.owner_after is None} == {"Item", "OrderItem"}


async def test_many_rows_of_a_flush_are_one_change(ask_with: Any) -> None:
    async with ask_with(max_input_list=1_001, max_nested_rows=1_001, max_cost=100_000) as ask:
        items = [{"sku": f"S{n}", "name": "N", "price": "1"} for n in range(1_001)]
        await done(ask, "createItems", {"items": items})
        (row,) = await outbox(ask.app.state.database)
    assert (row.kind, row.type, row.root, row.count, row.mutation) == ("MANY", "Item", 0, 1_001, "createItems")


async def test_many_rows_of_a_cascade_are_one_change(ask: Ask) -> None:
    database = ask.app.state.database
    await load(database)
    before = len(await outbox(database))
    await done(ask, "deleteOrders", {"all": True})
    *orders, lines = (await outbox(database))[before:]
    assert {(row.kind, row.type, row.version) for row in orders} == {("DELETED", "Order", None)}
    assert len({row.key for row in orders}) == 830
    assert (lines.kind, lines.type, lines.root_type, lines.root, lines.count) == ("MANY", "OrderItem", "Order", 0, 2_155)

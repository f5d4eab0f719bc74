"""The record of changes: what listeners hear of a transaction, and when. `Ask` holds every mutation's against snapshots."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest
import sqlalchemy as sa
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncSession

from graph.base import utc_now
from graph.context import Context
from graph.database import Database
from graph.database.failures import CommitUnknown
from graph.models import Customer, Item, Order
from graph.write import door
from graph.write.errors import Row
from graph.write.idempotency import KEYS
from graph.write.images import Image, note
from graph.write.object_graph import Graph
from graph.write.record import Change, Kind, Record, Written, record_of, recorded
from tests.conftest import Ask, Statements, opened
from tests.snapshots import Snapshots, compare, difference
from tests.words import done, mutate, refusals

ITEM, ORDER, LINE, CUSTOMER = Row("Item", 1), Row("Order", 1), Row("OrderItem", 1), Row("Customer", 1)
ADA: dict[str, Any] = {
    "name": "Ada",
    "email": "ada@x.io",
    "orders": [{"items": [{"item": {"sku": "A"}, "quantity": 2}, {"item": {"sku": "A"}, "quantity": 1}]}],
}


@pytest.fixture
def heard(ask: Ask) -> Iterator[list[list[Change]]]:
    """What a listener hears, call by call."""
    calls: list[list[Change]] = []

    def listen(changes: Sequence[Change]) -> None:
        calls.append(list(changes))

    ask.app.state.database.listeners.append(listen)
    yield calls
    ask.app.state.database.listeners.remove(listen)


async def stocked(ask: Ask, heard: list[list[Change]]) -> None:
    """An item with ten pieces, and Ada with an order of three of them."""
    await done(ask, "createItem", {"sku": "A", "name": "Anvil", "price": "1.00", "stock": 10})
    await done(ask, "createCustomer", ADA)
    heard.clear()


def short(changes: Sequence[Change]) -> set[tuple[str, str, int | None]]:
    return {(f"{change.type}:{change.key}", change.kind.name, change.version) for change in changes}


async def test_a_record_says_what_became_of_every_row(ask: Ask, heard: list[list[Change]]) -> None:
    await done(ask, "createItem", {"sku": "A", "name": "Anvil", "price": "1.00", "stock": 10})
    await done(ask, "createCustomer", ADA)
    made, ordered = heard
    assert made == [Change("Item", 1, Kind.CREATED, ITEM, 1)]
    assert set(ordered) == {
        Change("Item", 1, Kind.UPDATED, ITEM, 1, frozenset({"stock"})),
        Change("Customer", 1, Kind.CREATED, CUSTOMER, 1, owner_after=1),
        Change("Order", 1, Kind.CREATED, ORDER, 1, owner_after=1),
        Change("OrderItem", 1, Kind.CREATED, ORDER, 1, owner_after=1),
        Change("OrderItem", 2, Kind.CREATED, ORDER, 1, owner_after=1),
    }
    heard.clear()
    changed = {"update": [{"id": "OrderItem:1", "quantity": 5}], "remove": ["OrderItem:2"]}
    await done(ask, "updateOrder", {"id": "Order:1", "note": "soon", "items": changed})
    of_order = frozenset({"note", "version", "total_amount", "updated_at"})
    assert set(heard[0]) == {
        Change("Item", 1, Kind.UPDATED, ITEM, 1, frozenset({"stock"})),
        Change("Order", 1, Kind.UPDATED, ORDER, 2, of_order, 1, 1),
        Change("OrderItem", 1, Kind.UPDATED, ORDER, 2, frozenset({"quantity"}), 1, 1),
        Change("OrderItem", 2, Kind.DELETED, ORDER, 2, owner_before=1),
    }


@pytest.mark.parametrize("way", ["delete", "purge"])
async def test_what_the_database_deletes_by_itself_is_told(ask: Ask, heard: list[list[Change]], way: str) -> None:
    await stocked(ask, heard)
    if way == "delete":
        await done(ask, "deleteCustomer", {"id": "Customer:1"})
    else:
        await done(ask, "archiveCustomer", {"id": "Customer:1"})
        heard.clear()
        await done(ask, "purgeArchived", {"before": "2999-01-01T00:00:00Z"})
    assert set(heard[0]) == {
        Change("Item", 1, Kind.UPDATED, ITEM, 1, frozenset({"stock"})),
        Change("Customer", 1, Kind.DELETED, CUSTOMER, None, owner_before=1),
        Change("Order", 1, Kind.DELETED, ORDER, None, owner_before=1),
        Change("OrderItem", 1, Kind.DELETED, ORDER, None, owner_before=1),
        Change("OrderItem", 2, Kind.DELETED, ORDER, None, owner_before=1),
    }


async def written(ask: Ask, write: Callable[[Graph], Awaitable[None]]) -> None:
    """Write by the verbs of the door, in a transaction that is recorded."""
    context = Context(ask.database)
    await recorded(context, lambda: write(Graph(context)))
    await context.close()


async def test_a_statement_that_deletes_some_of_its_rows_tells_what_fell_with_them(ask: Ask, heard: list[list[Change]]) -> None:
    await stocked(ask, heard)
    await done(ask, "createCustomer", {"name": "Bob", "email": "bob@x.io", "orders": [{}]})
    heard.clear()
    table: Any = Customer.__table__

    async def write(graph: Graph) -> None:
        assert await door.delete_where(graph, Customer, [1, 2], table.c.name == "Ada") == [1]

    await written(ask, write)
    assert set(heard[0]) == {
        Change("Customer", 1, Kind.DELETED, CUSTOMER, None, owner_before=1),
        Change("Order", 1, Kind.DELETED, ORDER, None, owner_before=1),
        Change("OrderItem", 1, Kind.DELETED, ORDER, None, owner_before=1),
        Change("OrderItem", 2, Kind.DELETED, ORDER, None, owner_before=1),
    }


async def test_what_leaves_a_parent_that_goes_has_not_gone_with_it(ask: Ask, heard: list[list[Change]]) -> None:
    await stocked(ask, heard)
    await done(ask, "createCustomer", {"name": "Bob", "email": "bob@x.io"})
    heard.clear()

    async def write(graph: Graph) -> None:
        ada, order = await graph.session.get_one(Customer, 1), await graph.session.get_one(Order, 1)
        order.customer_id = 2
        await graph.session.delete(ada)
        await door.flush(graph, [ada])

    await written(ask, write)
    assert short(heard[0]) == {("Customer:1", "DELETED", None), ("Order:1", "UPDATED", 1)}
    (moved,) = (change for change in heard[0] if change.type == "Order")
    assert (moved.owner_before, moved.owner_after) == (1, 2)
    assert "customer_id" in moved.fields


async def test_a_statement_waits_for_no_row_that_it_may_not_write(postgres_url: str) -> None:
    """Where there is one writer at a time nobody holds a row while another writes."""
    table: Any = Item.__table__
    row = {"sku": "A", "name": "Anvil", "price": 100, "version": 1, "created_at": utc_now(), "updated_at": utc_now()}
    async with opened(postgres_url) as database, database.session() as other:
        await other.execute(sa.insert(table).values(row))
        await other.commit()
        database.listeners.append(lambda _: None)
        await other.execute(sa.select(table.c.id).with_for_update())
        context = Context(database)

        async def write() -> list[int]:
            return await door.update_where(Graph(context), Item, table.c.sku == "A", {"name": "Axe"}, table.c.price > 100)

        assert await recorded(context, write) == []
        await context.close()
        await other.rollback()


def test_two_writes_of_a_row_are_told_as_one() -> None:
    """Also where the first of them has given it to somebody else: whose it was before both, and whose it is after them."""
    record = Record()
    record.add(Written(ORDER, {"customer_id": 1, "note": "a"}, {"customer_id": 2, "note": "b"}, ORDER, 2, 1, 2))
    record.add(Written(ORDER, {"note": "b", "discount": 0}, {"note": "a", "discount": 5}, ORDER, 3, 2, 2))
    assert record.changes() == [Change("Order", 1, Kind.UPDATED, ORDER, 3, frozenset({"customer_id", "discount"}), 1, 2)]
    record.add(Written(ORDER, {"customer_id": 2}, None, ORDER, None, 2))
    assert record.changes() == [Change("Order", 1, Kind.DELETED, ORDER, None, frozenset(), 1)]


async def test_what_changes_nothing_tells_nothing(ask: Ask, heard: list[list[Change]]) -> None:
    await stocked(ask, heard)
    await done(ask, "updateCustomer", {"id": "Customer:1", "name": "Ada"})
    await done(ask, "insertItems", {"rows": [{"sku": "A", "name": "Other", "price": "2.00"}], "onConflict": "SKIP"})
    await done(ask, "updateOrders", {"where": {"note": {"eq": "no such"}}, "set": {"note": "x"}})
    await done(ask, "adjustStock", {"item": {"sku": "A"}, "delta": 1})
    assert [short(changes) for changes in heard] == [{("Item:1", "UPDATED", 1)}]


async def test_a_dry_run_and_a_refusal_tell_nothing(ask: Ask, heard: list[list[Change]]) -> None:
    await stocked(ask, heard)
    for how in ("@dryRun", "@dryRun @atomic", "@atomic"):
        fields = '{ a: archiveItem(input: {id: "Item:1"}) { errors { code } } '
        fields += 'b: deleteItem(input: {id: "Item:1"}) { errors { code } } }'
        answer = await ask.data(f"mutation {how} {fields}")
        assert answer["b"]["errors"] == [{"code": "STILL_REFERENCED"}]
    assert await refusals(ask, "deleteItem", {"id": "Item:1"}) == [("STILL_REFERENCED", "input.id")]
    assert heard == []


async def test_fields_of_one_transaction_are_one_record(ask: Ask, heard: list[list[Change]]) -> None:
    await stocked(ask, heard)
    fields = """{
      a: updateOrder(input: {id: "Order:1", note: "a"}) { errors { code } }
      b: createOrder(input: {customer: {id: "Customer:1"}}) { errors { code } }
      c: updateOrder(input: {id: "Order:1", note: null}) { errors { code } }
      d: deleteOrders(input: {where: {totalAmount: {eq: "0.00"}}}) { count errors { code } }
    }"""
    await ask.data(f"mutation @atomic {fields}")
    (changes,) = heard
    # The note is what it was, and the order that came and went never was.
    assert changes == [Change("Order", 1, Kind.UPDATED, ORDER, 3, frozenset({"version", "updated_at"}), 1, 1)]
    heard.clear()
    await ask.data(f"mutation {fields}")
    assert [short(changes) for changes in heard] == [
        {("Order:1", "UPDATED", 4)},
        {("Order:3", "CREATED", 1)},
        {("Order:1", "UPDATED", 5)},
        {("Order:3", "DELETED", None)},
    ]


async def test_rows_that_a_savepoint_undoes_are_not_told(ask: Ask, heard: list[list[Change]]) -> None:
    rows = (("A", "1.00"), ("A", "1.00"), ("B", "-1.00"), ("C", "1.00"))
    items = [{"sku": sku, "name": "N", "price": price} for sku, price in rows]
    payload = await mutate(ask, "createItems", {"items": items, "onError": "CONTINUE"}, "results { item { id } }")
    made = [result["item"]["id"] for result in payload["results"] if result["item"]]
    assert [short(changes) for changes in heard] == [{(id_, "CREATED", 1) for id_ in made}]
    assert len(made) == 2


async def test_pieces_that_a_savepoint_gives_back_are_not_told(ask: Ask, heard: list[list[Change]]) -> None:
    await stocked(ask, heard)
    customers = [ADA, {**ADA, "email": "eve@x.io", "orders": []}]
    payload = await mutate(ask, "createCustomers", {"customers": customers, "onError": "CONTINUE"}, "results { customer { id } }")
    assert [entry["customer"] is None for entry in payload["results"]] == [True, False]
    assert [(change.type, change.kind) for changes in heard for change in changes] == [("Customer", Kind.CREATED)]


async def test_a_retry_begins_a_new_record(ask: Ask, heard: list[list[Change]], monkeypatch: pytest.MonkeyPatch) -> None:
    await stocked(ask, heard)
    tries = refuse_once(ask, monkeypatch)
    await done(ask, "updateCustomer", {"id": "Customer:1", "name": "Bea"})
    assert len(tries) == 2
    assert [short(changes) for changes in heard] == [{("Customer:1", "UPDATED", 2)}]


def refuse_once(ask: Ask, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The next COMMIT is refused for a passing reason. A list that gets longer with each."""
    commit, tries = AsyncSession.commit, list[int]()

    async def refused_once(session: AsyncSession) -> None:
        if record_of(session) is not None:  # else it is what a server does by itself
            tries.append(1)
        if record_of(session) is not None and len(tries) == 1:
            raise DBAPIError("COMMIT", None, _busy(ask.app.state.database))
        await commit(session)

    monkeypatch.setattr(AsyncSession, "commit", refused_once)
    return tries


def _busy(database: Database) -> Exception:
    """An error that a database means only for this moment."""
    if database.dialect.name == "sqlite":
        import sqlite3

        error = sqlite3.OperationalError("database is locked")
        error.sqlite_errorcode = sqlite3.SQLITE_BUSY
        return error
    from asyncpg.exceptions import SerializationError

    return SerializationError("could not serialize access")


async def test_an_unanswered_commit_is_not_told(ask: Ask, heard: list[list[Change]], monkeypatch: pytest.MonkeyPatch) -> None:
    await stocked(ask, heard)
    commit = AsyncSession.commit

    async def unanswered(session: AsyncSession) -> None:
        await commit(session)
        raise CommitUnknown("no answer")

    monkeypatch.setattr(AsyncSession, "commit", unanswered)
    assert await refusals(ask, "updateCustomer", {"id": "Customer:1", "name": "Bea"}) == [("COMMIT_UNKNOWN", "input")]
    monkeypatch.undo()
    assert (await ask.data('{ customer(by: {id: "Customer:1"}) { name } }'))["customer"] == {"name": "Bea"}
    assert heard == []


async def test_a_listener_is_called_when_the_commit_is_known(database: Database) -> None:
    order: list[str] = []
    database.listeners.append(lambda changes: order.append(f"told {len(changes)}"))
    context = Context(database)
    commit = context.session.commit

    async def work() -> str:
        record: Record = context.session.info["record"]
        record.add(Written(ITEM, None, {}, ITEM, 1))
        return "done"

    async def committed() -> None:
        await commit()
        order.append("committed")

    context.session.commit = committed  # type: ignore[method-assign]  # to see the order
    assert await recorded(context, work, undone=False) == "done"
    await context.close()
    assert order == ["committed", "told 1"]


@pytest.fixture
def outbox(ask: Ask) -> Iterator[list[list[Change]]]:
    """What is awaited before a COMMIT is told, call by call. Each call leaves a row in a table that is no part of the shop."""
    calls: list[list[Change]] = []

    async def add(session: AsyncSession, changes: Sequence[Change]) -> None:
        record = record_of(session)
        assert record is not None
        assert record.changes() == changes
        row = {"client": "outbox", "key": uuid4().hex, "fingerprint": str(len(changes)), "created_at": utc_now(), "answer": ""}
        await session.execute(KEYS.insert().values(row))
        calls.append(list(changes))

    ask.app.state.database.before_commit.append(add)
    yield calls
    ask.app.state.database.before_commit.remove(add)


async def left(ask: Ask) -> list[int]:
    """How many changes each row tells of that the outbox left."""
    async with ask.app.state.database.session() as session:
        return [int(found) for found in await session.scalars(sa.select(KEYS.c.fingerprint).order_by(KEYS.c.created_at))]


async def test_what_is_written_before_a_commit_is_in_it(ask: Ask, heard: list[list[Change]], outbox: list[list[Change]]) -> None:
    await done(ask, "createItem", {"sku": "A", "name": "Anvil", "price": "1.00", "stock": 10})
    await done(ask, "createCustomer", ADA)
    await ask.data("""mutation @atomic {
      a: updateOrder(input: {id: "Order:1", note: "a"}) { errors { code } }
      b: archiveItem(input: {id: "Item:1"}) { errors { code } }
    }""")
    items = [{"sku": sku, "name": "N", "price": "1.00"} for sku in ("A", "B")]
    payload = await mutate(ask, "createItems", {"items": items, "onError": "CONTINUE"})
    assert [error["code"] for error in payload["errors"]] == ["UNIQUE"]
    assert outbox == heard
    assert await left(ask) == [len(changes) for changes in heard] == [1, 5, 2, 1]


async def test_nothing_is_added_to_what_is_not_committed(ask: Ask, outbox: list[list[Change]]) -> None:
    await done(ask, "createItem", {"sku": "A", "name": "Anvil", "price": "1.00"})
    for how in ("@dryRun", "@dryRun @atomic", "@atomic"):
        answer = await ask.data(f"""mutation {how} {{
          a: archiveItem(input: {{id: "Item:1"}}) {{ errors {{ code }} }}
          b: updateItem(input: {{id: "Item:9"}}) {{ errors {{ code }} }}
        }}""")
        assert answer["b"]["errors"] == [{"code": "NOT_FOUND"}]
    await done(ask, "updateItem", {"id": "Item:1", "name": "Anvil"})  # as it is
    assert await refusals(ask, "createItem", {"sku": "A", "name": "Other", "price": "1.00"}) == [("UNIQUE", "input.sku")]
    assert len(outbox) == len(await left(ask)) == 1


async def test_each_try_adds_anew(
    ask: Ask, heard: list[list[Change]], outbox: list[list[Change]], monkeypatch: pytest.MonkeyPatch
) -> None:
    await stocked(ask, heard)
    outbox.clear()
    refuse_once(ask, monkeypatch)
    await done(ask, "updateCustomer", {"id": "Customer:1", "name": "Bea"})
    assert [short(changes) for changes in outbox] == [{("Customer:1", "UPDATED", 2)}] * 2
    assert outbox[1:] == heard
    assert await left(ask) == [1, 5, 1]


@pytest.mark.parametrize("how", ["", "@atomic"])
@pytest.mark.parametrize("breaks", ["itself", "a constraint"])
async def test_what_fails_before_a_commit_undoes_it(ask: Ask, heard: list[list[Change]], how: str, breaks: str) -> None:
    """It is a bug, and is masked and logged as one: neither the rows of the input nor a passing trouble is to blame."""
    tries = list[int]()

    async def fail(session: AsyncSession, changes: Sequence[Change]) -> None:
        tries.append(1)
        if breaks == "itself":
            raise LookupError("no room")
        await session.execute(KEYS.insert().values(dict.fromkeys(("client", "key", "fingerprint", "created_at"))))

    ask.app.state.database.before_commit.append(fail)
    answer = await ask(
        f'mutation {how} {{ createItem(input: {{sku: "A", name: "Anvil", price: "1.00"}}) {{ errors {{ code }} }} }}'
    )
    ask.app.state.database.before_commit.remove(fail)
    assert (answer.get("data"), answer["errors"][0]["message"]) == (
        None if how else {"createItem": None},
        "Internal server error",
    )
    assert (await ask.data("{ items { totalCount } }"))["items"]["totalCount"] == 0
    assert len(tries) == 1
    assert heard == []


async def test_a_listener_that_fails_is_logged_and_keeps_nobody_from_the_answer(
    ask: Ask, heard: list[list[Change]], caplog: pytest.LogCaptureFixture
) -> None:
    def fail(changes: Sequence[Change]) -> None:
        raise LookupError("no room")

    ask.app.state.database.listeners.insert(0, fail)
    with caplog.at_level(logging.ERROR, "ordergraph.write"):
        await done(ask, "createItem", {"sku": "A", "name": "Anvil", "price": "1.00"})
    ask.app.state.database.listeners.remove(fail)
    assert [record.getMessage() for record in caplog.records] == ["A listener to changes failed"]
    assert [short(changes) for changes in heard] == [{("Item:1", "CREATED", 1)}]


async def test_the_statements_of_a_record_are_few(ask: Ask, statements: Statements) -> None:
    hooks = (ask.app.state.database.before_commit, ask.app.state.database.listeners)
    there = [list(hook) for hook in hooks]
    for hook in hooks:
        hook.clear()
    counts: dict[bool, list[int]] = {}
    for listens in (False, True):
        if listens:
            for hook, those in zip(hooks, there, strict=True):
                hook.extend(those)
        counts[listens] = []
        for field, input_ in (
            ("createItem", {"sku": f"A{listens}", "name": "Anvil", "price": "1.00", "stock": 9}),
            ("createCustomer", {"name": "Ada", "email": f"{listens}@x.io", "orders": []}),
            ("archiveCustomers", {"where": {"name": {"eq": "Ada"}}}),
            ("purgeArchived", {"before": "2999-01-01T00:00:00Z"}),
        ):
            statements.clear()
            await done(ask, field, input_)
            counts[listens].append(len(statements))
        item = (await done(ask, "createItem", {"sku": f"L{listens}", "name": "Lamp", "price": "1.00"}, "item { id }"))["item"]
        lines = {"items": [{"item": item, "quantity": 1}]}
        await done(ask, "createCustomer", {"name": "Bea", "email": f"bea{listens}@x.io", "orders": [lines, lines]})
        for field, key in (("deleteOrder", "Order"), ("deleteCustomer", "Customer")):
            page = await ask.data(f"{{ page: {key.lower()}s(last: 1) {{ nodes {{ id }} }} }}")
            statements.clear()
            await done(ask, field, {"id": page["page"]["nodes"][0]["id"]})
            counts[listens].append(len(statements))
    # One for the outbox. Rows that a flush writes say themselves what they were; what a statement writes is read before and
    # after it, and of what the database deletes by itself each level before.
    assert [now - before for before, now in zip(counts[False], counts[True], strict=True)] == [1, 1, 3, 3, 2, 3]


@pytest.mark.parametrize(
    "wrong",
    [
        lambda changes: changes[1:],
        lambda changes: [*changes, Change("Item", 99, Kind.CREATED, Row("Item", 99), 1)],
        lambda changes: [*changes, changes[0]],
        lambda changes: [replace(changes[0], version=7), *changes[1:]],
        lambda changes: [replace(changes[0], fields=frozenset({"name"})), *changes[1:]],
        lambda changes: [replace(changes[0], owner_before=7), *changes[1:]],
        lambda changes: [replace(changes[0], root=Row("Item", 7)), *changes[1:]],
        lambda changes: [replace(changes[0], former=Row("Item", 7)), *changes[1:]],
        lambda changes: [replace(changes[0], kind=Kind.DELETED), *changes[1:]],
    ],
)
async def test_the_comparison_sees_what_is_wrong(ask: Ask, heard: list[list[Change]], wrong: Any) -> None:
    snapshots = Snapshots(ask.app.state.database.settings.database_url)
    before = await snapshots.take()
    await stocked(ask, [])
    changes = [change for call in heard for change in call]
    after = await snapshots.take()
    await snapshots.close()
    assert len(difference(before, after)) == 5
    compare(before, after, heard)
    once = [change for change in changes if (change.type, change.kind) != ("Item", Kind.UPDATED)]
    compare(before, after, [once])
    with pytest.raises(AssertionError):
        compare(before, after, [wrong(once)])


async def test_who_gives_up_waiting_takes_nothing_from_the_listeners(database: Database) -> None:
    told: list[int] = []
    database.listeners.append(lambda changes: told.append(len(changes)))
    context = Context(database)

    async def work() -> None:
        context.session.info["record"].add(Written(ITEM, None, {}, ITEM, 1))

    task = asyncio.create_task(recorded(context, work, undone=False))
    commit = context.session.commit

    async def then_cancelled() -> None:
        await commit()
        asyncio.get_running_loop().call_soon(task.cancel)

    context.session.commit = then_cancelled  # type: ignore[method-assign]  # the moment is the point
    with suppress(asyncio.CancelledError):
        await task
    await context.close()
    assert told == [1]


@pytest.mark.parametrize("place", [1, 2])
async def test_a_line_that_moves_is_told_with_both_orders(ask: Ask, heard: list[list[Change]], place: int) -> None:
    await stocked(ask, heard)
    two = [{"item": {"sku": "A"}, "quantity": 1}] * (place - 1)
    await done(ask, "createOrder", {"customer": {"id": "Customer:1"}, "items": two})
    heard.clear()
    payload = await done(
        ask, "moveOrderItem", {"id": "OrderItem:1", "toOrder": "Order:2"}, "fromOrder { totalAmount } toOrder { totalAmount }"
    )
    assert payload["fromOrder"] == {"totalAmount": "1.00"}
    assert payload["toOrder"] == {"totalAmount": f"{place + 1}.00"}
    moved = frozenset({"order_id"} if place == 1 else {"order_id", "position"})
    of_order = frozenset({"version", "total_amount", "updated_at"})
    assert set(heard[0]) == {
        Change("Order", 1, Kind.UPDATED, ORDER, 2, of_order, 1, 1),
        Change("Order", 2, Kind.UPDATED, Row("Order", 2), 2, of_order, 1, 1),
        Change("OrderItem", 1, Kind.UPDATED, Row("Order", 2), 2, moved, 1, 1, former=ORDER),
    }


def test_several_writes_of_a_row_are_told_as_one_from_the_first_to_the_last() -> None:
    record = Record()
    for n in (1, 2, 3):  # an order goes from one customer to the next
        record.add(Written(ORDER, {"customer_id": n}, {"customer_id": n + 1, "note": f"{n}"}, ORDER, n + 1, n, n + 1))
    assert record.changes() == [Change("Order", 1, Kind.UPDATED, ORDER, 4, frozenset({"customer_id", "note"}), 1, 4)]
    record.add(Written(ORDER, {"customer_id": 4}, None, ORDER, None, 4, None))
    assert record.changes() == [Change("Order", 1, Kind.DELETED, ORDER, None, owner_before=1)]
    record.back_to(3)
    record.add(Written(ORDER, {"customer_id": 4}, {"customer_id": 1, "note": None}, ORDER, 5, 4, 1))
    (change,) = record.changes()
    assert (change.fields, change.owner_before, change.owner_after, change.version) == (frozenset({"note"}), 1, 1, 5)


@pytest.mark.parametrize(
    "then",
    [
        'updateOrder(input: {id: "Order:2", items: {remove: ["OrderItem:1"]}})',
        'deleteOrder(input: {id: "Order:2"})',
        'deleteOrders(input: {where: {id: {eq: "Order:2"}}})',
        'deleteCustomer(input: {id: "Customer:1"})',
    ],
)
async def test_what_moved_before_it_went_is_told_where_it_was(ask: Ask, heard: list[list[Change]], then: str) -> None:
    await stocked(ask, heard)
    await done(ask, "createOrder", {"customer": {"id": "Customer:1"}})
    heard.clear()
    move = 'moveOrderItem(input: {id: "OrderItem:1", toOrder: "Order:2"})'
    answer = await ask.data(f"mutation @atomic {{ a: {move} {{ errors {{ code }} }} b: {then} {{ errors {{ code }} }} }}")
    assert answer == {"a": {"errors": []}, "b": {"errors": []}}
    version = None if then.startswith("deleteCustomer") else 2
    assert Change("OrderItem", 1, Kind.DELETED, ORDER, version, owner_before=1) in heard[0]


def test_a_part_belongs_to_whom_its_root_belonged_before_and_belongs_to_afterwards() -> None:
    """Whenever in the transaction the root went from one to the other."""
    to_ada = Written(ORDER, {"customer_id": 1}, {"customer_id": 2}, ORDER, 2, 1, 2)
    to_eve = Written(ORDER, {"customer_id": 2}, {"customer_id": 3}, ORDER, 3, 2, 3)
    line = Written(LINE, {"quantity": 1}, {"quantity": 2}, ORDER, 2, 2, 2)
    gone = Written(Row("OrderItem", 2), {"quantity": 1}, None, ORDER, 2, 2)
    record = Record()
    for written in (to_ada, line, gone, to_eve):
        record.add(written)
    assert record.changes()[1:] == [
        Change("OrderItem", 1, Kind.UPDATED, ORDER, 3, frozenset({"quantity"}), 1, 3),
        Change("OrderItem", 2, Kind.DELETED, ORDER, 3, owner_before=1),
    ]


def test_a_part_that_moves_to_a_root_of_somebody_else_belonged_to_whom_the_first_did() -> None:
    other = Row("Order", 2)
    record = Record()
    record.add(Written(ORDER, {"note": "a"}, {"note": "b"}, ORDER, 2, 1, 1))
    record.add(Written(LINE, {"order_id": 1}, {"order_id": 2}, other, 2, 2, 2, former=ORDER))
    record.add(Written(other, {"note": "a"}, {"note": "b"}, other, 2, 2, 2))
    assert record.changes()[1] == Change("OrderItem", 1, Kind.UPDATED, other, 2, frozenset({"order_id"}), 1, 2, former=ORDER)


def test_what_moves_and_stays_is_told_with_the_root_it_has_left() -> None:
    """From the first to the last: what moves on leaves the first, and what moves there and back none."""
    record = Record()
    for was, now in ((1, 2), (2, 3)):
        there, then = Row("Order", was), Row("Order", now)
        record.add(Written(LINE, {"order_id": was}, {"order_id": now}, then, 2, 1, 1, former=there))
    moved = Change("OrderItem", 1, Kind.UPDATED, Row("Order", 3), 2, frozenset({"order_id"}), 1, 1, former=ORDER)
    assert record.changes() == [moved]
    record.add(
        Written(LINE, {"order_id": 3, "quantity": 1}, {"order_id": 1, "quantity": 2}, ORDER, 3, 1, 1, former=Row("Order", 3))
    )
    assert record.changes() == [Change("OrderItem", 1, Kind.UPDATED, ORDER, 3, frozenset({"quantity"}), 1, 1)]
    record.add(Written(LINE, {"quantity": 2}, None, ORDER, 4, 1, former=ORDER))
    assert [change.former for change in record.changes()] == [None]


def test_the_version_of_a_root_is_its_highest() -> None:
    """A part may be noted with the version that its root had before another write of the same flush."""
    record = Record()
    for version in (1, 3, 2):
        record.add(Written(Row("OrderItem", version), None, {}, ORDER, version, 1, 1))
    assert [change.version for change in record.changes()] == [3, 3, 3]


@pytest.mark.parametrize("made", ["by this statement", "by somebody else"])
def test_a_row_that_somebody_else_made_in_between_is_told_as_changed(made: str) -> None:
    """It was not there when the statement began, and an upsert has set columns of it."""
    now = utc_now()
    created = now if made == "by this statement" else now - timedelta(seconds=1)
    values = {"id": 1, "name": "Anvil", "price": 100, "created_at": created}
    record = Record()
    note(record, Item, {}, {1: Image(values, ITEM, 2, None)}, now=now, sets=["name"])
    note(record, Item, {}, {2: Image({**values, "created_at": now}, Row("Item", 2), 1, None)}, now=now, sets=["name"])
    changed = Change("Item", 1, Kind.UPDATED, ITEM, 2, frozenset({"name"}))
    first = Change("Item", 1, Kind.CREATED, ITEM, 2) if made == "by this statement" else changed
    assert record.changes() == [first, Change("Item", 2, Kind.CREATED, Row("Item", 2), 1)]

"""Many writers at once on real connections: nothing is lost, nothing is oversold, everybody gets an answer.

Isolation is READ COMMITTED on PostgreSQL and one writer at a time on SQLite. It suffices because a write locks its roots in id
order before it reads anything of them, counters move in one UPDATE of the database's own value, and a read is one statement and
so one snapshot. The list-append test looks for what would follow if that were not so.
"""

from __future__ import annotations

import asyncio
import gc
import random
import sqlite3
from collections import Counter
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from itertools import count, pairwise
from pathlib import Path
from typing import Any, TypeVar

import asyncpg
import httpx2
import orjson
import pytest
from sqlalchemy import event
from sqlalchemy.util import await_only

from graph.context import Context
from graph.database import Database
from graph.database.failures import Unavailable
from graph.database.turns import Turns
from graph.schema import schema
from graph.serve.responses import result_body
from tests.audit import audit, checked_out, pieces, rows_of
from tests.conftest import Ask
from tests.faults import Places, places
from tests.servers import Client, serving
from tests.words import CUSTOMER, ERRORS, ITEM, ORDER, done, mutate

T = TypeVar("T")
Payload = dict[str, Any]
AskWith = Callable[..., AbstractAsyncContextManager[Ask]]

STOCK = 1_000


async def at_once(*calls: Coroutine[Any, Any, T]) -> list[T]:
    """What all calls answer that start together."""
    return list(await asyncio.gather(*calls))


async def keyed(ask: Ask, key: str, field: str, input_: Payload, selection: str) -> Payload:
    """The payload of a mutation under an idempotency key."""
    type_ = f"{field[0].upper()}{field[1:]}Input"
    query = f"""mutation ($input: {type_}!, $key: String!) {{
        a: {field}(input: $input) @idempotent(key: $key) {{ {selection} {ERRORS} }} }}"""
    payload: Payload = (await ask.data(query, {"input": input_, "key": key}))["a"]
    return payload


def codes(payload: Payload) -> list[str]:
    return [error["code"] for error in payload["errors"]]


def line(sku: str, quantity: int = 1, **more: Any) -> Payload:
    return {"item": {"sku": sku}, "quantity": quantity, **more}


def nested(name: str) -> Payload:
    orders = [{"note": f"{name}/{n}", "items": [line("A"), line("B", 2), line("A", 3)]} for n in range(2)]
    return {"name": name, "email": f"{name}@example.com", "orders": orders}


ADA = {"id": "Customer:1"}

#: Ends every other connection to the database.
KILL = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"


@pytest.fixture
async def shop(ask: Ask) -> Ask:
    """Ada with two orders of one line of item A, which is counted, and an item B, which is not."""
    await done(ask, "createItem", {"sku": "A", "name": "A", "price": "1.50", "stock": STOCK})
    await done(ask, "createItem", {"sku": "B", "name": "B", "price": "2"})
    orders = [{"items": [line("A", 4)]}, {"items": [line("A", 6)]}]
    await done(ask, "createCustomer", {"name": "Ada", "email": "ada@example.com", "orders": orders})
    return ask


async def check_nested(url: str, names: list[str]) -> None:
    """Every one of these customers is there with two orders of three lines, and nobody else's."""
    (notes,) = await rows_of(
        url,
        "SELECT c.name, o.note, count(*), sum(l.quantity * l.price_paid) FROM customer AS c "
        "JOIN orders AS o ON o.customer_id = c.id JOIN order_item AS l ON l.order_id = o.id "
        "WHERE o.note IS NOT NULL GROUP BY c.name, o.note",
    )
    assert sorted((name, note, lines, int(total)) for name, note, lines, total in notes) == sorted(
        (name, f"{name}/{n}", 3, 1000) for name in names for n in range(2)
    )
    assert await pieces(url) == {"A": STOCK}


async def test_sixteen_nested_creates_at_once_are_all_there(shop: Ask, empty_url: str) -> None:
    names = [f"n{n}" for n in range(16)]
    made = await at_once(*(done(shop, "createCustomer", nested(name), f"customer {CUSTOMER}") for name in names))
    for name, payload in zip(names, made, strict=True):
        orders = payload["customer"]["orders"]["nodes"]
        assert [(order["note"], order["totalAmount"]) for order in orders] == [(f"{name}/0", "10.00"), (f"{name}/1", "10.00")]
    await check_nested(empty_url, names)


async def test_nobody_waits_while_others_write_again_and_again(shop: Ask) -> None:
    """Clients that never pause do not pass the one that waits: of the writes around a write only a few are others'."""
    ended = count()
    passed: list[int] = []

    async def write() -> None:
        for _ in range(15):
            before = next(ended)
            await done(shop, "adjustStock", {"item": {"sku": "A"}, "delta": 1})
            passed.append(next(ended) - before)

    await at_once(*(write() for _ in range(4)))
    assert len(passed) == 60
    if shop.app.state.database.dialect.name == "sqlite":  # PostgreSQL hands its row locks out as it sees fit
        assert max(passed) <= 2 * 3 * 4, sorted(passed)  # beginnings are counted too


@asynccontextmanager
async def two_servers(url: str, folder: Path, **settings: str) -> AsyncIterator[list[Client]]:
    """Clients of two processes before one database."""
    async with serving(url, folder, 2, **settings) as servers, httpx2.AsyncClient() as http:
        yield [Client(http, served.url) for served in servers]


async def test_eight_writers_in_two_processes_meet_no_error(shop: Ask, empty_url: str, tmp_path: Path) -> None:
    """One SQLite file takes writers of several processes; nobody sees that it is busy. Nor that a key is used next door."""

    async def write(client: Client, writer: int) -> None:
        for n in range(5):
            name = f"w{writer}x{n}"
            await done(client, "createCustomer", nested(name))
            await done(client, "adjustStock", {"item": {"sku": "A"}, "delta": 1})
            await done(client, "updateOrder", {"id": "Order:1", "items": {"create": [line("B")]}})

    async with two_servers(empty_url, tmp_path) as clients:
        await at_once(*(write(clients[writer % 2], writer) for writer in range(8)))
        order = {"customer": ADA, "note": "once", "items": [line("A")]}
        told = await at_once(*(keyed(clients[n % 2], "key", "createOrder", order, "order { id }") for n in range(20)))
    await done(shop, "adjustStock", {"item": {"sku": "A"}, "delta": -40})
    check_agreement(told, "order")
    lines, once = await rows_of(
        empty_url, "SELECT count(*) FROM order_item WHERE order_id = 1", "SELECT count(*) FROM orders WHERE note = 'once'"
    )
    assert (lines, once) == ([(1 + 40,)], [(1,)])
    await done(shop, "deleteOrders", {"where": {"note": {"eq": "once"}}})
    await check_nested(empty_url, [f"w{writer}x{n}" for writer in range(8) for n in range(5)])


# Versions


WRITES: dict[str, tuple[str, Payload]] = {
    "a note": ("updateOrder", {"id": "Order:1", "note": "mine"}),
    "a line": ("updateOrder", {"id": "Order:1", "items": {"update": [{"id": "OrderItem:1", "quantity": 9}]}}),
    "a new line": ("updateOrder", {"id": "Order:1", "items": {"create": [line("B")]}}),
    "a status": ("transitionOrder", {"id": "Order:1", "to": "PAID"}),
    "a transfer": ("moveOrderItem", {"id": "OrderItem:1", "toOrder": "Order:2", "quantity": 1}),
}


@pytest.mark.parametrize("name", WRITES)
async def test_of_many_writers_with_one_version_one_wins(shop: Ask, name: str) -> None:
    field, input_ = WRITES[name]
    told = await at_once(*(mutate(shop, field, {**input_, "expectedVersion": 1}) for _ in range(10)))
    assert sorted(map(codes, told)) == [[]] + [["STALE_VERSION"]] * 9
    for payload in told:
        for error in payload["errors"]:
            assert (error["path"], error["expected"], error["actual"]) == (["input", "expectedVersion"], 1, 2)
            assert error["current"]["id"] == "Order:1"
    assert (await shop.data('{ order(by: {id: "Order:1"}) { version } }'))["order"]["version"] == 2


async def test_of_many_different_writers_with_one_version_one_wins(shop: Ask) -> None:
    deletes = ("deleteOrder", {"id": "Order:1"})
    told = await at_once(
        *(mutate(shop, field, {**given, "expectedVersion": 1}) for field, given in [*WRITES.values(), deletes] * 2)
    )
    assert Counter(code for payload in told for code in codes(payload) or ["done"])["done"] == 1
    assert {code for payload in told for code in codes(payload)} <= {"STALE_VERSION", "NOT_FOUND"}


MOVES: dict[str, tuple[str, str, Payload]] = {
    "a line through its order": ("Order:1", *WRITES["a line"]),
    "a transfer from it": ("Order:1", *WRITES["a transfer"]),
    "a transfer to it": ("Order:1", "moveOrderItem", {"id": "OrderItem:2", "toOrder": "Order:1", "quantity": 1}),
    "a line through the customer": (
        "Order:1",
        "updateCustomer",
        {"id": "Customer:1", "orders": {"update": [{"id": "Order:1", "items": {"remove": ["OrderItem:1"]}}]}},
    ),
    "an update by filter": ("Order:1", "updateOrders", {"all": True, "set": {"note": "all"}}),
    "a discount by filter": (
        "Order:1",
        "discountOrders",
        {"where": {"customer": {"email": {"eq": "ada@example.com"}}}, "percent": "10"},
    ),
    "an archive of customers": ("Customer:1", "archiveCustomers", {"all": True}),
    "an archive of items": ("Item:1", "archiveItems", {"all": True}),
    "an upsert of a customer": ("Customer:1", "upsertCustomer", {"email": "ADA@example.com", "name": "Ada L."}),
    "an upsert of an item": ("Item:1", "upsertItem", {"sku": "A", "name": "A", "price": "7"}),
    "an insert that updates": (
        "Item:1",
        "insertItems",
        {"rows": [{"sku": "A", "name": "changed", "price": "1"}], "onConflict": "UPDATE"},
    ),
}


@pytest.mark.parametrize("name", MOVES)
async def test_a_version_moves_with_children_and_by_filter(shop: Ask, name: str) -> None:
    id_, field, input_ = MOVES[name]
    await done(shop, field, input_)
    type_ = id_.partition(":")[0]
    change: Payload = {"id": id_, "expectedVersion": 1}
    told = await mutate(shop, f"update{type_}", change | ({"note": "late"} if type_ == "Order" else {"name": "late"}))
    assert codes(told) == ["STALE_VERSION"]
    assert told["errors"][0]["actual"] == 2


async def test_selling_and_counting_do_not_move_an_item_s_version(shop: Ask) -> None:
    await done(shop, "createOrder", {"customer": ADA, "items": [line("A", 2)]})
    await done(shop, "adjustStock", {"item": {"sku": "A"}, "delta": -2})
    await done(shop, "deleteOrder", {"id": "Order:1"})
    await done(shop, "updateItem", {"id": "Item:1", "name": "still mine", "expectedVersion": 1})


# Stock


def buyers(ask: Ask, number: int, sku: str) -> list[Coroutine[Any, Any, Payload]]:
    """Everybody wants one piece, each in one of five ways."""
    ways: list[Callable[[int], Coroutine[Any, Any, Payload]]] = [
        lambda n: mutate(ask, "createOrder", {"customer": ADA, "items": [line(sku)]}),
        lambda n: mutate(ask, "createCustomer", {"name": "B", "email": f"b{n}@example.com", "orders": [{"items": [line(sku)]}]}),
        lambda n: mutate(ask, "updateOrder", {"id": "Order:1", "items": {"create": [line(sku)]}}),
        lambda n: mutate(ask, "updateOrder", {"id": "Order:2", "items": {"create": [line(sku)]}}),
        lambda n: mutate(ask, "adjustStock", {"item": {"sku": sku}, "delta": -1}),
    ]
    return [ways[n % len(ways)](n) for n in range(number)]


@pytest.mark.parametrize("ways", ["one", "five"])
async def test_of_thirty_two_buyers_of_ten_pieces_ten_succeed(shop: Ask, empty_url: str, ways: str) -> None:
    await done(shop, "createItem", {"sku": "T", "name": "Ten", "price": "1", "stock": 10})
    order = {"customer": ADA, "items": [line("T")]}
    calls = buyers(shop, 32, "T") if ways == "five" else [mutate(shop, "createOrder", order) for _ in range(32)]
    told = await at_once(*calls)
    assert Counter(tuple(codes(payload)) for payload in told) == {(): 10, ("OUT_OF_STOCK",): 22}
    for payload in told:
        for error in payload["errors"]:
            assert (error["requested"], error["available"]) == (1, 0)
            assert error["path"][-1] in ("quantity", "delta")
    adjusted = sum(1 for n, payload in enumerate(told) if ways == "five" and n % 5 == 4 and not payload["errors"])
    assert (await shop.data('{ item(by: {sku: "T"}) { stock version } }'))["item"] == {"stock": 0, "version": 1}
    assert (await pieces(empty_url))["T"] == 10 - adjusted


async def test_pieces_come_back_once_whoever_gives_them_back(shop: Ask, empty_url: str) -> None:
    """Cancelled, deleted, bulk-deleted, emptied and gone with the customer, all at once."""
    await done(shop, "createItem", {"sku": "T", "name": "Ten", "price": "1", "stock": 100})
    orders = [{"note": "t", "items": [line("T", 2), line("T", 3)]} for _ in range(6)]
    await done(shop, "createCustomer", {"name": "Bob", "email": "bob@example.com", "orders": orders})
    ids = [f"Order:{n}" for n in range(3, 9)]
    calls = [mutate(shop, "transitionOrder", {"id": id_, "to": "CANCELLED"}) for id_ in ids]
    calls += [mutate(shop, "deleteOrder", {"id": id_}) for id_ in ids[:4]]
    calls += [mutate(shop, "updateOrder", {"id": id_, "items": {"replace": []}}) for id_ in ids]
    calls += [mutate(shop, "deleteOrders", {"where": {"id": {"in": ids[2:]}}}) for _ in range(2)]
    calls += [mutate(shop, "deleteCustomer", {"id": "Customer:2"}) for _ in range(2)]
    random.Random(4).shuffle(calls)
    told = await at_once(*calls)
    assert {code for payload in told for code in codes(payload)} <= {"NOT_FOUND", "TRANSITION", "NOT_EDITABLE"}
    assert (await shop.data('{ item(by: {sku: "T"}) { stock } }'))["item"]["stock"] == 100
    assert await pieces(empty_url) == {"A": STOCK, "T": 100}


async def test_a_counter_loses_no_step(shop: Ask) -> None:
    """Every step reads back a value of its own."""
    calls = [mutate(shop, "adjustStock", {"item": {"sku": "A"}, "delta": 1}, f"item {ITEM}") for _ in range(30)]
    upsert = {"sku": "A", "name": "A", "price": "1.50", "stockDelta": 1}
    calls += [mutate(shop, "upsertItem", upsert, f"item {ITEM} created") for _ in range(30)]
    told = await at_once(*calls)
    assert [codes(payload) for payload in told] == [[]] * 60
    first = STOCK - 10
    assert sorted(payload["item"]["stock"] for payload in told) == list(range(first + 1, first + 61))


async def test_of_many_who_make_the_same_one_does(shop: Ask) -> None:
    upserts = [mutate(shop, "upsertItem", {"sku": "U", "name": "U", "price": "1", "stockDelta": 1}, "created") for _ in range(10)]
    creates = [mutate(shop, "createCustomer", {"name": "C", "email": email}) for email in ["c@example.com", " C@Example.com"] * 5]
    rows = {"rows": [{"sku": sku, "name": "I", "price": "1"} for sku in "XYZ"], "onConflict": "SKIP"}
    inserts = [mutate(shop, "insertItems", rows, "inserted skipped") for _ in range(6)]
    told = await at_once(*upserts, *creates, *inserts)
    assert Counter(payload["created"] for payload in told[:10]) == {True: 1, False: 9}
    assert (await shop.data('{ item(by: {sku: "U"}) { stock } }'))["item"]["stock"] == 10
    assert sorted(map(codes, told[10:20])) == [[]] + [["UNIQUE"]] * 9
    existing = {error["existing"]["id"] for payload in told[10:20] for error in payload["errors"]}
    assert existing == {"Customer:2"} or len(existing) == 1
    assert sum(payload["inserted"] for payload in told[20:]) == 3


# Transfers, deadlocks, other writers in the way


async def test_a_hundred_transfers_back_and_forth_keep_the_sum(shop: Ask) -> None:
    """Ten clients move a line each ten times, half of them starting from the other side, while somebody watches."""
    quantities = [[line("B", n + 1) for n in range(0, 10, 2)], [line("B", n + 1) for n in range(1, 10, 2)]]
    await done(
        shop, "createCustomer", {"name": "M", "email": "m@example.com", "orders": [{"items": side} for side in quantities]}
    )
    side = "{ version totalAmount items { id } }"
    query = f'{{ a: order(by: {{id: "Order:3"}}) {side} b: order(by: {{id: "Order:4"}}) {side} }}'
    before = await shop.data(query)
    lines = [(row["id"], side) for side in "ab" for row in before[side]["items"]]
    assert len(lines) == 10

    async def move(id_: str, side: str) -> None:
        for _ in range(10):
            side = "b" if side == "a" else "a"
            await done(shop, "moveOrderItem", {"id": id_, "toOrder": "Order:4" if side == "b" else "Order:3"})

    moving = asyncio.gather(*(move(*one) for one in lines))
    seen = set()
    while not moving.done():
        data = await shop.data(query)
        assert len(data["a"]["items"]) + len(data["b"]["items"]) == 10
        seen.add(float(data["a"]["totalAmount"]))
        assert float(data["a"]["totalAmount"]) + float(data["b"]["totalAmount"]) == 110
    await moving
    after = await shop.data(query)
    assert {row["id"] for row in after["a"]["items"]} == {row["id"] for row in before["a"]["items"]}
    assert [after[side]["version"] for side in "ab"] == [101, 101]
    assert len(seen) > 1


async def test_crossing_writers_both_come_through(shop: Ask) -> None:
    """Two transactions lock one row each and want the other's: the database ends one of them, which is done again."""
    database: Database = shop.app.state.database
    meeting = asyncio.Barrier(2 if database.dialect.name == "postgresql" else 1)  # SQLite has one writer at a time
    updates: list[str] = []

    def meet(connection: Any, cursor: Any, statement: str, *rest: Any) -> None:
        if statement.startswith("UPDATE item"):
            updates.append(statement)
            if len(updates) <= 2:
                await_only(meeting.wait())

    def crossing(*skus: str) -> str:
        fields = [
            f'{sku}: adjustStock(input: {{item: {{sku: "{sku}"}}, delta: -1}}) {{ item {{ stock }} {ERRORS} }}' for sku in skus
        ]
        return f"mutation @atomic {{ {' '.join(fields)} }}"

    await done(shop, "updateItem", {"id": "Item:2", "stock": 50})
    event.listen(database.engine.sync_engine, "after_cursor_execute", meet)
    told = await at_once(shop.data(crossing("A", "B")), shop.data(crossing("B", "A")))
    event.remove(database.engine.sync_engine, "after_cursor_execute", meet)
    assert [answer[sku]["errors"] for answer in told for sku in "AB"] == [[]] * 4
    data = await shop.data('{ a: item(by: {sku: "A"}) { stock } b: item(by: {sku: "B"}) { stock } }')
    assert (data["a"]["stock"], data["b"]["stock"]) == (STOCK - 12, 48)
    assert len(updates) == (5 if database.dialect.name == "postgresql" else 4)


@asynccontextmanager
async def another_writer(url: str, statement: str) -> AsyncIterator[Callable[[], Coroutine[Any, Any, None]]]:
    """Somebody else is in a transaction and holds locks; call what is yielded to end it."""
    if url.startswith("sqlite"):
        connection = sqlite3.connect(url.removeprefix("sqlite:///"), isolation_level=None)
        connection.execute("BEGIN IMMEDIATE")
        connection.execute(statement)

        async def end() -> None:
            connection.execute("COMMIT")

        try:
            yield end
        finally:
            connection.close()
        return
    other = await asyncpg.connect(url)
    transaction = other.transaction()
    await transaction.start()
    await other.execute(statement)
    try:
        yield transaction.commit
    finally:
        await other.close()


@pytest.mark.parametrize("ends", [True, False])
async def test_who_waits_too_long_for_a_lock_tries_again(
    shop: Ask, ask_with: AskWith, empty_url: str, monkeypatch: pytest.MonkeyPatch, ends: bool
) -> None:
    """Another program holds the rows: the write waits, is given up and done again, three times at most."""
    monkeypatch.setattr("graph.database.transactions.JITTER_SECONDS", (0.02, 0.02))
    refused: list[str] = []
    noticed = asyncio.Event()

    def notice(context: Any) -> None:
        refused.append(str(context.original_exception))
        noticed.set()

    async def leave(end: Callable[[], Coroutine[Any, Any, None]]) -> None:
        await noticed.wait()
        if ends:
            await end()

    async with (
        ask_with(lock_timeout_seconds=0.05) as ask,
        another_writer(empty_url, "UPDATE item SET stock = stock - 1 WHERE sku = 'A'") as end,
    ):
        engine = ask.app.state.database.engine.sync_engine
        event.listen(engine, "handle_error", notice)
        order = {"customer": ADA, "note": "late", "items": [line("A", 5), line("B", 2)]}
        told, _ = await asyncio.gather(mutate(ask, "createOrder", order, f"order {ORDER}"), leave(end))
        event.remove(engine, "handle_error", notice)
        await audit(ask.app.state.database)
    if ends:
        assert told["errors"] == []
        assert [row["quantity"] for row in told["order"]["items"]] == [5, 2]
        assert told["order"]["totalAmount"] == "11.50"
        assert await pieces(empty_url) == {"A": STOCK - 1}
    else:
        assert [(error["code"], error["path"], error["retryable"]) for error in told["errors"]] == [
            ("TRY_AGAIN", ["input"], True)
        ]
        assert len(refused) == 3
        assert await pieces(empty_url) == {"A": STOCK}


async def test_a_shortage_that_is_over_before_it_is_explained_is_no_other_error(shop: Ask, empty_url: str) -> None:
    """The counter refuses to go below zero; before the refusal finds its words somebody puts pieces back."""
    database: Database = shop.app.state.database
    await done(shop, "createItem", {"sku": "T", "name": "Ten", "price": "1", "stock": 1})
    refilled: list[str] = []

    async def refill() -> None:
        async with another_writer(empty_url, "UPDATE item SET stock = 5 WHERE sku = 'T'") as end:
            await end()

    def explain(place: Places) -> None:
        if place.seen[-1].startswith("SELECT item.stock") and not refilled and database.dialect.name == "postgresql":
            refilled.append(place.seen[-1])
            await_only(refill())

    with places(database, explain):
        told = await mutate(shop, "adjustStock", {"item": {"sku": "T"}, "delta": -3}, "item { stock }")
    if codes(told) == []:
        assert told["item"] == {"stock": 2}
    else:
        assert codes(told) == ["OUT_OF_STOCK"]
        assert told["errors"][0]["requested"] > told["errors"][0]["available"]


async def test_an_entry_of_the_pool_without_a_connection_is_filled_again(shop: Ask) -> None:
    """It is left when a connection is dropped. Nothing may be begun that nobody waits for: that is a warning, and so an error."""
    create = 'mutation { createItem(input: {sku: "Z", name: "Z", price: "1"}) { item { id } } }'
    for query in ("{ items { totalCount } }", create):
        async with shop.app.state.database.engine.connect() as connection:
            await connection.invalidate()
        assert None not in (await shop.data(query)).values()
    gc.collect()


@pytest.mark.parametrize("directive", ["", "@atomic", "@dryRun"])
async def test_connections_that_died_while_nobody_used_them_are_replaced(shop: Ask, empty_url: str, directive: str) -> None:
    query = f"""mutation ($input: CreateOrderInput!) {directive} {{
        createOrder(input: $input) {{ order {{ totalAmount }} {ERRORS} }} }}"""
    for _ in range(3):
        if not empty_url.startswith("sqlite"):
            await rows_of(empty_url, KILL)
        data = await shop.data(query, {"input": {"customer": ADA, "items": [line("A")]}})
        assert data["createOrder"] == {"order": {"totalAmount": "1.50"}, "errors": []}


@pytest.mark.parametrize("directive", ["", "@atomic"])
async def test_a_statement_over_its_time_is_to_be_tried_again(ask_with: AskWith, empty_url: str, directive: str) -> None:
    async with ask_with(lock_timeout_seconds=1, statement_timeout_seconds=0.2) as ask:
        await done(ask, "createItem", {"sku": "A", "name": "A", "price": "1", "stock": 5})
        async with another_writer(empty_url, "UPDATE item SET stock = 4"):
            stock = f'adjustStock(input: {{item: {{sku: "A"}}, delta: -1}}) {{ item {{ stock }} {ERRORS} }}'
            data = await ask.data(f"mutation {directive} {{ {stock} }}")
        assert codes(data["adjustStock"]) == ["TRY_AGAIN"]
        assert await pieces(empty_url) == {"A": 5}


@pytest.mark.parametrize("directive", ["", "@atomic"])
async def test_a_connection_lost_before_the_commit_is_an_answer_and_leaves_nothing(
    shop: Ask, empty_url: str, directive: str
) -> None:
    database: Database = shop.app.state.database
    if database.dialect.name == "sqlite":
        return  # a file has no connection to lose
    before = await rows_of(empty_url, "SELECT id, version, stock FROM item ORDER BY id", "SELECT count(*) FROM orders")
    ended: list[str] = []

    def end(place: Places) -> None:
        if place.seen[-1].startswith("INSERT INTO order_item"):
            ended.append(place.seen[-1])
            await_only(rows_of(empty_url, KILL))

    with places(database, end):
        query = f"""mutation ($input: CreateCustomerInput!) {directive} {{
            createCustomer(input: $input) {{ customer {{ id }} {ERRORS} }} }}"""
        told = await shop(query, {"input": nested("lost")})
    assert [error["extensions"]["code"] for error in told["errors"]] == ["SERVICE_UNAVAILABLE"]
    assert len(ended) == 3
    assert await rows_of(empty_url, "SELECT id, version, stock FROM item ORDER BY id", "SELECT count(*) FROM orders") == before
    await done(shop, "createCustomer", nested("found"))
    await check_nested(empty_url, ["found"])


# List-append, after Jepsen and Elle


@dataclass(frozen=True)
class Seen:
    """What one client saw of the lists, between two ticks of a common counter, and what it appended to them."""

    began: int
    ended: int
    lists: dict[str, list[int]]
    appended: int | None = None


LISTS = ["Order:3", "Order:4", "Order:5"]


def append(name: str, order: str, value: int) -> str:
    """A field that appends a line; its quantity is the value."""
    items = f'{{create: [{{item: {{sku: "B"}}, quantity: {value}}}]}}'
    return f'{name}: updateOrder(input: {{id: "{order}", items: {items}}}) {{ order {{ id items {{ quantity }} }} {ERRORS} }}'


async def play(shop: Ask, client: int, ticks: Iterator[int], history: list[Seen]) -> None:
    """Append to one list, append to two at once, or read all three."""
    chance = random.Random(client)
    for step in range(10):
        value, began = 1 + client * 100 + step, next(ticks)
        orders = sorted(chance.sample(LISTS, chance.choice([0, 1, 1, 2])))  # in one order, or they would wait for each other
        if orders:
            directive = "@atomic" if len(orders) > 1 else ""
            data = await shop.data(
                f"mutation {directive} {{ {' '.join(append(f'a{n}', order, value) for n, order in enumerate(orders))} }}"
            )
            assert [payload["errors"] for payload in data.values()] == [[]] * len(orders)
            found = [payload["order"] for payload in data.values()]
        else:
            fields = [f'a{n}: order(by: {{id: "{order}"}}) {{ id items {{ quantity }} }}' for n, order in enumerate(LISTS)]
            found = list((await shop.data(f"{{ {' '.join(fields)} }}")).values())
        lists = {order["id"]: [row["quantity"] for row in order["items"]] for order in found}
        history.append(Seen(began, next(ticks), lists, value if orders else None))


async def test_clients_that_append_and_read_see_one_history(shop: Ask) -> None:
    """No append is lost, none is seen and gone, atomic ones are seen together, and a later reader sees what was told before."""
    await done(shop, "createCustomer", {"name": "L", "email": "l@example.com", "orders": [{}, {}, {}]})
    history: list[Seen] = []
    ticks = count()
    await at_once(*(play(shop, client, ticks, history) for client in range(8)))
    fields = [f'a{n}: order(by: {{id: "{order}"}}) {{ items {{ quantity }} }}' for n, order in enumerate(LISTS)]
    data = await shop.data(f"{{ {' '.join(fields)} }}")
    final = {order: [row["quantity"] for row in data[f"a{n}"]["items"]] for n, order in enumerate(LISTS)}
    writes = [seen for seen in history if seen.appended is not None]
    reads = [seen for seen in history if seen.appended is None]
    assert len(writes) > 20
    assert len(reads) > 5
    # What was acknowledged is there once, and nothing else is.
    assert {order: sorted(final[order]) for order in LISTS} == {
        order: sorted(seen.appended for seen in writes if order in seen.lists and seen.appended is not None) for order in LISTS
    }
    for seen in history:
        for order, values in seen.lists.items():
            assert values == final[order][: len(values)], "not a beginning of what the list became"
            assert seen.appended is None or values[-1] == seen.appended, "its own append is not the last thing it saw"
    # Reads of all lists can be put in one order: of two, one has seen no more of any list than the other.
    lengths = sorted(tuple(len(seen.lists[order]) for order in LISTS) for seen in reads)
    assert all(a <= b for before, after in pairwise(lengths) for a, b in zip(before, after, strict=True))
    # What was appended together is seen together.
    for read in reads:
        for write in writes:
            assert len({write.appended in read.lists[order] for order in write.lists}) == 1
    # What was told before an operation began is seen by it.
    for seen in history:
        for write in writes:
            if write.ended < seen.began:
                assert all(write.appended in values for order, values in seen.lists.items() if order in write.lists)


# Exactly once


def check_agreement(told: list[Payload], field: str) -> None:
    """All say the same, or that the request is running; at least one says it."""
    assert {tuple(codes(payload)) for payload in told} <= {(), ("IDEMPOTENCY_IN_PROGRESS",)}
    answers = [payload[field] for payload in told if not payload["errors"]]
    assert answers
    assert all(answer == answers[0] for answer in answers)
    assert all(error["retryable"] for payload in told for error in payload["errors"])


ONCE: dict[str, tuple[str, Payload, str, str]] = {
    "a nested create": ("createCustomer", nested("once"), "customer", CUSTOMER),
    "an order": ("createOrder", {"customer": ADA, "items": [line("A", 5)]}, "order", ORDER),
    "a line": ("updateOrder", {"id": "Order:1", "items": {"create": [line("A", 5)]}}, "order", ORDER),
    "a counter": ("adjustStock", {"item": {"sku": "A"}, "delta": -5}, "item", ITEM),
    "a transfer": ("moveOrderItem", {"id": "OrderItem:1", "toOrder": "Order:2", "quantity": 1}, "toOrder", ORDER),
    "a delete": ("deleteOrder", {"id": "Order:2"}, "deletedIds", ""),
    "a discount by filter": ("discountOrders", {"all": True, "percent": "10"}, "count", ""),
}


@pytest.mark.parametrize("name", ONCE)
async def test_twenty_requests_with_one_key_are_one(shop: Ask, empty_url: str, name: str) -> None:
    field, input_, entity, selection = ONCE[name]
    alone = [
        "SELECT id, version, total_amount FROM orders ORDER BY id",
        "SELECT id, stock FROM item ORDER BY id",
        "SELECT quantity, order_id FROM order_item ORDER BY id",
        "SELECT count(*) FROM customer",
    ]
    told = await at_once(*(keyed(shop, "key", field, input_, f"{entity} {selection}") for _ in range(20)))
    check_agreement(told, entity)
    found = await rows_of(empty_url, *alone, "SELECT count(*) FROM idempotency_key")
    assert found[-1] == [(1,)]
    # Another key does it again: only then does anything change.
    again = await keyed(shop, "key", field, input_, f"{entity} {selection}")
    answer = next(payload for payload in told if not payload["errors"])
    assert again == answer
    assert (await rows_of(empty_url, *alone)) == found[:-1]
    await keyed(shop, "other", field, input_, f"{entity} {selection}")
    assert (await rows_of(empty_url, *alone)) != found[:-1] or name in ("a delete", "a nested create")


async def test_one_key_with_many_inputs_is_used_by_one_of_them(shop: Ask, empty_url: str) -> None:
    told = await at_once(
        *(keyed(shop, "key", "createOrder", {"customer": ADA, "note": f"n{n}"}, "order { note }") for n in range(20))
    )
    said = Counter(tuple(codes(payload)) for payload in told)
    assert said[()] == 1
    assert set(said) <= {(), ("IDEMPOTENCY_KEY_REUSED",), ("IDEMPOTENCY_IN_PROGRESS",)}
    assert (await rows_of(empty_url, "SELECT count(*) FROM orders")) == [[(3,)]]


async def test_a_key_whose_request_is_running_says_so(ask_with: AskWith, empty_url: str) -> None:
    running = "INSERT INTO idempotency_key (client, key, fingerprint, created_at) VALUES ('', 'key', '', '2999-01-01 00:00:00')"
    item = {"sku": "A", "name": "A", "price": "1"}
    async with ask_with(lock_timeout_seconds=0.05) as ask:
        async with another_writer(empty_url, running):
            told = await keyed(ask, "key", "createItem", item, "item { id }")
        on_sqlite = ask.app.state.database.dialect.name == "sqlite"
        # One writer holds a SQLite file, whatever it writes.
        (error,) = told["errors"]
        assert error["code"] == ("TRY_AGAIN" if on_sqlite else "IDEMPOTENCY_IN_PROGRESS")
        assert (error["path"], error["retryable"], told["item"]) == (["input"], True, None)
        assert await rows_of(empty_url, "SELECT count(*) FROM item", "SELECT count(*) FROM idempotency_key") == [[(0,)], [(0,)]]
        # The other never ended; now the key is free.
        assert codes(await keyed(ask, "key", "createItem", item, "item { id }")) == []


async def test_a_key_without_an_answer_is_of_a_running_request(shop: Ask, empty_url: str) -> None:
    item = {"sku": "N", "name": "N", "price": "1"}
    async with another_writer(
        empty_url,
        "INSERT INTO idempotency_key (client, key, fingerprint, created_at) VALUES ('', 'key', '', '2999-01-01 00:00:00')",
    ) as end:
        await end()
    told = await keyed(shop, "key", "createItem", item, "item { id }")
    assert [(e["code"], e["path"], e["retryable"]) for e in told["errors"]] == [("IDEMPOTENCY_IN_PROGRESS", ["input"], True)]
    assert await rows_of(empty_url, "SELECT count(*) FROM item") == [[(2,)]]
    async with another_writer(empty_url, "DELETE FROM idempotency_key") as end:
        await end()
    assert codes(await keyed(shop, "key", "createItem", item, "item { id }")) == []


async def test_keys_of_clients_do_not_meet(shop: Ask, empty_url: str) -> None:
    database: Database = shop.app.state.database
    engine = schema.engine(database)
    query = f"""mutation ($note: String!) {{
        createOrder(input: {{customer: {{id: "Customer:1"}}, note: $note}}) @idempotent(key: "key") {{
            order {{ id note }} {ERRORS} }} }}"""

    async def order(client: str, note: str) -> Payload:
        context = Context(database, client)
        try:
            answer = await engine.run(query, {"note": note}, None, context)
        finally:
            await context.close()
        assert answer.result is not None
        payload: Payload = orjson.loads(result_body(answer.result, "", 2**24)[1])["data"]["createOrder"]
        return payload

    told = await at_once(*(order(client, client) for client in ("a", "b", "a", "b")))
    assert [payload["errors"] for payload in told] == [[]] * 4
    assert told[0] == told[2] != told[1] == told[3]
    assert [payload["order"]["note"] for payload in told[:2]] == ["a", "b"]
    assert codes(await order("a", "b")) == ["IDEMPOTENCY_KEY_REUSED"]
    assert await rows_of(empty_url, "SELECT count(*) FROM orders", "SELECT client FROM idempotency_key ORDER BY client") == [
        [(4,)],
        [("a",), ("b",)],
    ]


# Clients that go away


@pytest.mark.parametrize("moment", ["before", "during"])
async def test_a_request_that_ends_at_any_statement_leaves_all_or_nothing(
    shop: Ask, empty_url: str, moment: str, caplog: pytest.LogCaptureFixture
) -> None:
    """The request is cancelled, as by its timeout, before statement n is sent or while it runs, for every n in turn."""
    caplog.set_level("CRITICAL")
    database: Database = shop.app.state.database
    query = f"""mutation ($input: CreateCustomerInput!) {{
        a: createCustomer(input: $input) @idempotent(key: "once") {{ customer {CUSTOMER} {ERRORS} }} }}"""
    for n in range(1, 100):

        def cancel(place: Places, n: int = n) -> None:
            if place.last == n:
                task = asyncio.current_task()
                assert task is not None
                if moment == "before":
                    task.cancel()
                else:
                    asyncio.get_running_loop().call_soon(task.cancel)

        with places(database, cancel) as passed:
            asked = asyncio.create_task(shop(query, {"input": nested("gone")}))
            await asyncio.wait([asked])
        assert checked_out(database) == 0, passed.seen[-1]
        ((number,),), ((held,),) = await rows_of(
            empty_url, "SELECT count(*) FROM order_item", "SELECT count(*) FROM idempotency_key"
        )
        assert (number, held) in ((2, 0), (8, 1)), passed.seen[-1]
        await audit(database)
        if database.dialect.name == "postgresql":
            assert await rows_of(empty_url, IN_TRANSACTION) == [[(0,)]], passed.seen[-1]
        if number == 8:
            break
    assert n > 5
    # A new request with the same key answers what the other was not told.
    told = await keyed(shop, "once", "createCustomer", nested("gone"), "customer { orderCount }")
    assert told["customer"] == {"orderCount": 2}
    await check_nested(empty_url, ["gone"])


IN_TRANSACTION = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND state LIKE 'idle in transaction%'"


async def test_clients_that_hang_up_leave_all_or_nothing_and_no_connection(shop: Ask, empty_url: str, tmp_path: Path) -> None:
    """They send a whole request or a part of it to a real server and close, at once or a moment later."""
    chance = random.Random(7)
    document = "mutation ($input: CreateCustomerInput!) { createCustomer(input: $input) { errors { code } } }"

    async def hang_up(port: int, n: int) -> None:
        body = orjson.dumps({"query": document, "variables": {"input": nested(f"gone{n}")}})
        head = f"POST /graphql HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n"
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(head.encode() + (body if n % 4 else body[: chance.randrange(len(body))]))
        await writer.drain()
        if n % 8 == 7:
            await reader.read(1)
        await asyncio.sleep(chance.choice([0, 0.002, 0.005, 0.01, 0.02]))
        if n % 2:
            writer.transport.abort()
        else:
            writer.close()

    async with serving(empty_url, tmp_path, 1, ORDERGRAPH_POOL_SIZE="2") as (served,), httpx2.AsyncClient() as http:
        for first in range(0, 40, 8):
            await at_once(*(hang_up(served.port, n) for n in range(first, first + 8)))
        client = Client(http, served.url)
        await at_once(*(done(client, "adjustStock", {"item": {"sku": "A"}, "delta": 0}) for _ in range(8)))
        if empty_url.startswith("postgresql"):
            assert await rows_of(empty_url, IN_TRANSACTION) == [[(0,)]]
    (names,) = await rows_of(empty_url, "SELECT name FROM customer WHERE id > 1")
    assert {name for (name,) in names} >= {f"gone{n}" for n in range(7, 40, 8)}
    await check_nested(empty_url, [name for (name,) in names])
    assert not {name for (name,) in names} & {f"gone{n}" for n in range(0, 40, 4)}


async def test_turns_come_in_order() -> None:
    turns, came, leave = Turns(2, 60), list[int](), asyncio.Event()

    async def stay(number: int) -> None:
        async with turns:
            came.append(number)
            await leave.wait()

    waiting = [asyncio.create_task(stay(number)) for number in range(6)]
    await asyncio.sleep(0)
    waiting[2].cancel()
    await asyncio.sleep(0)
    assert came == [0, 1]
    leave.set()
    waiting.append(asyncio.create_task(stay(6)))  # a turn is free, and others wait for it
    await asyncio.gather(*waiting, return_exceptions=True)
    assert came == [0, 1, 3, 4, 5, 6]


async def test_who_waits_too_long_for_a_turn_is_told_and_takes_none() -> None:
    turns = Turns(1, 0.05)
    async with turns:
        for _ in range(3):
            with pytest.raises(Unavailable):
                await turns.__aenter__()
    for _ in range(2):
        async with turns:
            pass

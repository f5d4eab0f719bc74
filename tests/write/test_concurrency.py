"""Many writers at once on real connections: nothing is lost, nothing is oversold, everybody gets an answer.

Isolation is READ COMMITTED on PostgreSQL and one writer at a time on SQLite. It suffices because a write locks its roots in id
order before it reads anything of them, counters move in one UPDATE of the database's own value, and a read is one statement and
so one snapshot. The list-append test looks for what would follow if that were not so.
"""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from itertools import count, pairwise
from pathlib import Path
from typing import Any

import httpx2
import pytest

from tests.audit import pieces, rows_of
from tests.conftest import Ask
from tests.servers import PATIENT, Client, serving
from tests.stock import line
from tests.words import CUSTOMER, ERRORS, ITEM, done, mutate
from tests.write.crowd import ADA, ADA_AND_TWO_ITEMS, STOCK, Payload, at_once, check_agreement, check_nested, codes, keyed, nested

SHOP = ADA_AND_TWO_ITEMS


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
async def two_servers(url: str, folder: Path) -> AsyncIterator[list[Client]]:
    """Clients of two processes before one database."""
    async with serving(url, folder, 2, **PATIENT) as servers, httpx2.AsyncClient(verify=False) as http:
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


# List-append, after Jepsen and Elle


@dataclass(frozen=True)
class Seen:
    """What one client saw of the lists, between two ticks of a common counter, and what it appended to them."""

    began: int
    ended: int
    lists: dict[str, list[int]]
    appended: int | None = None


LISTS = ["Order:3", "Order:4", "Order:5"]


def append(name: str, order: str) -> str:
    """A field that appends a line; its quantity is the value."""
    items = '{create: [{item: {sku: "B"}, quantity: $value}]}'
    return f'{name}: updateOrder(input: {{id: "{order}", items: {items}}}) {{ order {{ id items {{ quantity }} }} {ERRORS} }}'


async def play(shop: Ask, client: int, ticks: Iterator[int], history: list[Seen]) -> None:
    """Append to one list, append to two at once, or read all three."""
    chance = random.Random(client)
    for step in range(10):
        value, began = 1 + client * 100 + step, next(ticks)
        orders = sorted(chance.sample(LISTS, chance.choice([0, 1, 1, 2])))  # in one order, or they would wait for each other
        if orders:
            directive = "@atomic" if len(orders) > 1 else ""
            appended = " ".join(append(f"a{n}", order) for n, order in enumerate(orders))
            data = await shop.data(f"mutation ($value: Int!) {directive} {{ {appended} }}", {"value": value})
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

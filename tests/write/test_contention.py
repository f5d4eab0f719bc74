"""Others in the way: locks that are held, deadlocks, connections that die. A write waits, is done again, or is answered."""

from __future__ import annotations

import asyncio
import gc
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from sqlalchemy import event
from sqlalchemy.util import await_only

from graph.database import Database
from tests.audit import audit, pieces, rows_of
from tests.conftest import Ask
from tests.faults import Places, places
from tests.later import WHOLE_REQUEST, end_of_transactions
from tests.stock import line
from tests.words import ERRORS, ORDER, done, mutate
from tests.write.crowd import ADA, ADA_AND_TWO_ITEMS, KILL, STOCK, AskWith, another_writer, at_once, check_nested, codes, nested
from tests.write.test_locks import waits

SHOP = ADA_AND_TWO_ITEMS


async def test_crossing_writers_both_come_through(shop: Ask) -> None:
    """Two transactions lock one row each and want the other's: the database ends one of them, which is done again.

    The rows of a filter are not known before its field runs; those that inputs name are locked in order (`test_locks`).
    """
    database: Database = shop.app.state.database
    meeting = asyncio.Barrier(2 if database.dialect.name == "postgresql" else 1)  # SQLite has one writer at a time
    updates: list[str] = []

    def meet(connection: Any, cursor: Any, statement: str, *rest: Any) -> None:
        if statement.startswith("UPDATE orders"):
            updates.append(statement)
            if len(updates) <= 2:
                await_only(meeting.wait())

    def crossing(*keys: int) -> str:
        fields = [
            f'o{key}: updateOrders(input: {{where: {{id: {{eq: "Order:{key}"}}}}, set: {{note: "{keys}"}}}}) {{ count {ERRORS} }}'
            for key in keys
        ]
        return f"mutation @atomic {{ {' '.join(fields)} }}"

    event.listen(database.engine.sync_engine, "after_cursor_execute", meet)
    told = await at_once(shop.data(crossing(1, 2)), shop.data(crossing(2, 1)))
    event.remove(database.engine.sync_engine, "after_cursor_execute", meet)
    assert told == [{f"o{key}": {"count": 1, "errors": []} for key in keys} for keys in ((1, 2), (2, 1))]
    notes = await shop.data('{ a: order(by: {id: "Order:1"}) { note } b: order(by: {id: "Order:2"}) { note } }')
    assert notes["a"] == notes["b"]
    assert len(updates) == (5 if database.dialect.name == "postgresql" else 4)


@pytest.mark.usefixtures("tried_again_at_once")
@pytest.mark.parametrize("ends", [True, False])
async def test_who_waits_too_long_for_a_lock_tries_again(shop: Ask, ask_with: AskWith, empty_url: str, ends: bool) -> None:
    """Another program holds the rows: the write waits, is given up and done again, three times at most."""
    refused: list[str] = []

    async with (
        ask_with(lock_timeout_seconds=0.05) as ask,
        another_writer(empty_url, "UPDATE item SET stock = stock - 1 WHERE sku = 'A'") as end,
    ):

        def notice(context: Any) -> None:
            refused.append(str(context.original_exception))
            if ends:
                await_only(end())  # before it is done again

        engine = ask.app.state.database.engine.sync_engine
        event.listen(engine, "handle_error", notice)
        order = {"customer": ADA, "note": "late", "items": [line("A", 5), line("B", 2)]}
        told = await mutate(ask, "createOrder", order, f"order {ORDER}")
        event.remove(engine, "handle_error", notice)
        await audit(ask.app.state.database)
    if ends:
        assert told["errors"] == []
        assert len(refused) == 1
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
    async with ask_with() as ask:
        await done(ask, "createItem", {"sku": "A", "name": "A", "price": "1", "stock": 5})
    async with ask_with(lock_timeout_seconds=0.4, statement_timeout_seconds=0.2) as ask:
        async with another_writer(empty_url, "UPDATE item SET stock = 4"):
            stock = f'adjustStock(input: {{item: {{sku: "A"}}, delta: -1}}) {{ item {{ stock }} {ERRORS} }}'
            data = await ask.data(f"mutation {directive} {{ {stock} }}")
        assert codes(data["adjustStock"]) == ["TRY_AGAIN"]
        assert await pieces(empty_url) == {"A": 5}


@pytest.mark.parametrize("directive", ["", "@atomic"])
async def test_who_is_over_his_time_before_the_commit_may_try_again(ask_with: AskWith, empty_url: str, directive: str) -> None:
    if empty_url.startswith("sqlite"):
        return  # where who waits for a lock has not begun
    async with ask_with(**WHOLE_REQUEST) as ask:
        await done(ask, "createItem", {"sku": "A", "name": "A", "price": "1", "stock": 5})
        stock = f'adjustStock(input: {{item: {{sku: "A"}}, delta: -1}}) {{ item {{ stock }} {ERRORS} }}'
        await ask.data(f"mutation {directive} {{ {stock} }}")  # known from here on
        async with another_writer(empty_url, "UPDATE item SET name = 'B'"):
            asked = asyncio.create_task(ask(f"mutation {directive} {{ {stock} }}"))
            await waits(empty_url)
            end_of_transactions()
            answer = await asked
        assert codes(answer["data"]["adjustStock"]) == ["TRY_AGAIN"]
        assert await pieces(empty_url) == {"A": 4}


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
        if "INSERT INTO order_item" in place.seen[-1]:
            ended.append(place.seen[-1])
            with ThreadPoolExecutor(1) as beside:
                beside.submit(asyncio.run, rows_of(empty_url, KILL)).result()

    with places(database, end):
        query = f"""mutation ($input: CreateCustomerInput!) {directive} {{
            createCustomer(input: $input) {{ customer {{ id }} {ERRORS} }} }}"""
        told = await shop(query, {"input": nested("lost")})
    assert [error["extensions"]["code"] for error in told["errors"]] == ["SERVICE_UNAVAILABLE"]
    assert len(ended) == 3
    assert await rows_of(empty_url, "SELECT id, version, stock FROM item ORDER BY id", "SELECT count(*) FROM orders") == before
    await done(shop, "createCustomer", nested("found"))
    await check_nested(empty_url, ["found"])

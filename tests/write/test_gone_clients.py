"""Clients that go away: a request that ends at any moment leaves all or nothing, and gives its connection back."""

from __future__ import annotations

import asyncio
import random
from pathlib import Path
from typing import Any

import aiosqlite
import httpx2
import orjson
import pytest

from graph.database import Database
from tests.audit import audit, checked_out, rows_of
from tests.conftest import Ask
from tests.faults import Places, places
from tests.servers import PATIENT, Client, serving
from tests.words import CUSTOMER, ERRORS, done
from tests.write.crowd import ADA_AND_TWO_ITEMS, at_once, check_nested, keyed, nested

SHOP = ADA_AND_TWO_ITEMS


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
            await nobody_in_transaction(empty_url)
        if number == 8:
            break
    assert n > 5
    # A new request with the same key answers what the other was not told.
    told = await keyed(shop, "once", "createCustomer", nested("gone"), "customer { orderCount }")
    assert told["customer"] == {"orderCount": 2}
    await check_nested(empty_url, ["gone"])


async def test_a_write_that_is_given_up_between_its_rows_holds_no_lock(shop: Ask, empty_url: str) -> None:
    """Its cursor is open, and somebody still holds it."""
    database: Database = shop.app.state.database
    update = "UPDATE item SET name = 'gone' RETURNING id"
    async with database.session() as session:
        driver = await database.primary.begin(session)
        if isinstance(driver, aiosqlite.Connection):
            cursor: Any = await driver.execute(update)
            assert await cursor.fetchone()
        else:
            await driver.start()
            cursor = await driver.cursor(update)
            assert await cursor.fetch(1)
        await database.give_up(session)
    assert checked_out(database) == 0
    async with asyncio.timeout(30):
        await done(shop, "adjustStock", {"item": {"sku": "A"}, "delta": 0})
    assert await rows_of(empty_url, "SELECT count(*) FROM item WHERE name = 'gone'") == [[(0,)]]
    del cursor


async def nobody_in_transaction(url: str) -> None:
    """See that no transaction stays open. One that was given up is ended by a connection beside it, in a moment."""
    for _ in range(3_000):
        if await rows_of(url, IN_TRANSACTION) == [[(0,)]]:
            return
        await asyncio.sleep(0.01)
    raise AssertionError("a transaction stayed open")


IN_TRANSACTION = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND state LIKE 'idle in transaction%'"


async def test_clients_that_hang_up_leave_all_or_nothing_and_no_connection(shop: Ask, empty_url: str, tmp_path: Path) -> None:
    """They send a whole request or a part of it to a real server and close, at once or a moment later."""
    chance = random.Random(7)
    document = "mutation ($input: CreateCustomerInput!) { createCustomer(input: $input) { errors { code } } }"

    async def hang_up(port: int, n: int) -> None:
        body = orjson.dumps({"query": document, "variables": {"input": nested(f"gone{n}")}})
        head = (
            f"POST /graphql HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n"
        )
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

    settings = {**PATIENT, "ORDERGRAPH_POOL_SIZE": "2"}
    async with serving(empty_url, tmp_path, 1, **settings) as (served,), httpx2.AsyncClient(verify=False) as http:
        for first in range(0, 40, 8):
            await at_once(*(hang_up(served.port, n) for n in range(first, first + 8)))
        client = Client(http, served.url)
        await at_once(*(done(client, "adjustStock", {"item": {"sku": "A"}, "delta": 0}) for _ in range(8)))
        if empty_url.startswith("postgresql"):
            await nobody_in_transaction(empty_url)
    (names,) = await rows_of(empty_url, "SELECT name FROM customer WHERE id > 1")
    assert {name for (name,) in names} >= {f"gone{n}" for n in range(7, 40, 8)}
    await check_nested(empty_url, [name for (name,) in names])
    assert not {name for (name,) in names} & {f"gone{n}" for n in range(0, 40, 4)}

"""Idempotency keys under fire: however many send one key at once, its mutation is done once, and all are told the same."""

from __future__ import annotations

from collections import Counter

import orjson
import pytest

from graph.context import Context
from graph.database import Database
from graph.schema import schema
from graph.serve.responses import result_body
from tests.audit import rows_of
from tests.conftest import Ask
from tests.stock import line
from tests.words import CUSTOMER, ERRORS, ITEM, ORDER
from tests.write.crowd import (
    ADA,
    ADA_AND_TWO_ITEMS,
    AskWith,
    Payload,
    another_writer,
    at_once,
    check_agreement,
    codes,
    keyed,
    nested,
)

SHOP = ADA_AND_TWO_ITEMS

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
        context = Context(database, client=client)
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

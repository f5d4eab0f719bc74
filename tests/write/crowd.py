"""Many clients at once: what they ask, and what the shop must be when they are done.

What goes in: an `Ask`, its database. What comes out: payloads; another program that holds locks.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any, TypeVar

import asyncpg

from tests.audit import pieces, rows_of
from tests.conftest import Ask
from tests.stock import customer, item, line
from tests.words import ERRORS

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


def nested(name: str) -> Payload:
    orders = [{"note": f"{name}/{n}", "items": [line("A"), line("B", 2), line("A", 3)]} for n in range(2)]
    return {"name": name, "email": f"{name}@example.com", "orders": orders}


ADA = {"id": "Customer:1"}

#: Ends every other connection to the database.
KILL = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"


#: Ada with two orders of one line of item A, which is counted, and an item B, which is not.
ADA_AND_TWO_ITEMS = [item("A", "1.50", STOCK), item("B", 2), customer("Ada", [line("A", 4)], [line("A", 6)])]


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


def check_agreement(told: list[Payload], field: str) -> None:
    """All say the same, or that the request is running; at least one says it."""
    assert {tuple(codes(payload)) for payload in told} <= {(), ("IDEMPOTENCY_IN_PROGRESS",)}
    answers = [payload[field] for payload in told if not payload["errors"]]
    assert answers
    assert all(answer == answers[0] for answer in answers)
    assert all(error["retryable"] for payload in told for error in payload["errors"])

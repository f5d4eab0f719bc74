"""A damaged file: what comes from it is JSON or a refusal, and never an answer that nobody can read."""

from __future__ import annotations

import logging
import random
import re
import sqlite3
from collections.abc import AsyncIterator, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import orjson
import pytest
from sqlalchemy.engine import make_url

from graph.settings import Settings
from tests.conftest import Ask, asking
from tests.engines import Sqlite

pytestmark = pytest.mark.usefixtures("by_hand")

READS = (
    "{ items(first: 100) { nodes { id sku name price stock version createdAt updatedAt archivedAt } } }",
    "{ orders(first: 100) { totalCount nodes { id number version status note totalAmount createdAt customer { name } } } }",
    "{ orders(first: 1) { edges { cursor node { id version note createdAt status customer { id } items { quantity } } } } }",
)
#: Every order is damaged alike, so that each of them shows.
DAMAGE = (
    "UPDATE orders SET created_at = '2026-01-0' || char(2) || ' 10:00:00.000000'",
    "UPDATE orders SET created_at = '2026-01-02 \"10:00:00.000000'",
    "UPDATE orders SET created_at = '2026-01-02 10:00:00.00\\000'",
    "UPDATE orders SET created_at = X'ff00'",
    "UPDATE orders SET status = 'SHIP' || char(16) || 'ED'",
    "UPDATE orders SET version = '1e'",
    "UPDATE orders SET note = CAST(X'41c3' AS TEXT)",
    "DELETE FROM customer",
)


@pytest.fixture
def file(sqlite_engines: Sqlite) -> Iterator[Path]:
    url = sqlite_engines.new("varied")
    path = Path(make_url(url).database or "")
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA journal_mode=DELETE")  # all is in the one file
    yield path
    sqlite_engines.drop(url)


@pytest.fixture
async def ask(file: Path) -> AsyncIterator[Ask]:
    async with asking(Settings(database_url=f"sqlite:///{file}")) as asker:
        yield asker


def damage(file: Path, statement: str) -> None:
    with closing(sqlite3.connect(file, isolation_level=None)) as connection:
        connection.execute("PRAGMA ignore_check_constraints = ON")
        assert connection.execute(statement).rowcount


def rows_of_file(file: Path, query: str) -> list[tuple[Any, ...]]:
    with closing(sqlite3.connect(file)) as connection:
        connection.text_factory = bytes
        return connection.execute(query).fetchall()


def whole_file(file: Path) -> bytes:
    return file.read_bytes()


def replace(file: Path, content: bytes) -> None:
    file.write_bytes(content)


async def judged(ask: Ask, query: str) -> tuple[int, str]:
    """Status and code of an answer, which is JSON whatever it says."""
    answer = await ask.client.post("/graphql", json={"query": query})
    body = orjson.loads(answer.content)
    code = body["errors"][0]["extensions"]["code"] if "errors" in body else ""
    assert (answer.status_code == 200) == (code == ""), answer.content
    return answer.status_code, code


@pytest.mark.parametrize("statement", DAMAGE)
@pytest.mark.parametrize("long", [False, True])
async def test_damage_that_sqlite_passes_on_is_refused(ask: Ask, file: Path, statement: str, long: bool) -> None:
    """Answers are looked through in two ways, short ones and long ones."""
    query = READS[2].replace("first: 1", "first: 9") if long else READS[2]
    assert await judged(ask, query) == (200, "")
    damage(file, statement)
    assert await judged(ask, query) == (503, "SERVICE_UNAVAILABLE")


#: Columns that hold something in every row, and what shows them.
THERE = (
    ("item", "name", "{ items(first: 9) { nodes { name } } }"),
    ("item", "name", '{ item(by: {id: "Item:1"}) { name } }'),
    ("item", "price", "{ items(first: 9) { edges { node { price } } } }"),
    ("item", "version", '{ node(id: "Item:1") { ... on Item { version } } }'),
    ("orders", "status", "{ orders(last: 9) { nodes { status } } }"),
    ("orders", "order_date", "{ customers { nodes { orders { nodes { orderDate } } } } }"),
    ("orders", "total_amount", "{ orders { nodes { totalAmount } } }"),
    ("orders", "customer_id", "{ orders { nodes { customer { name } } } }"),
    ("customer", "email", "{ orders { nodes { customer { email } } } }"),
    ("order_item", "quantity", "{ orders { nodes { items { quantity } } } }"),
)


def lack(file: Path, table: str, column: str) -> None:
    """Damage a table as no statement can: its rows have no value in a column that must have one."""
    with closing(sqlite3.connect(file, isolation_level=None)) as connection:
        ((whole,),) = connection.execute("SELECT sql FROM sqlite_schema WHERE type = 'table' AND name = ?", (table,))
        loose = re.sub(rf"(\b{column}\b [^,]*?) NOT NULL", r"\1", whole)
        assert loose != whole
        for statement in (f"UPDATE {table} SET {column} = NULL", None):
            connection.execute("PRAGMA writable_schema = ON")
            connection.execute("UPDATE sqlite_schema SET sql = ? WHERE type = 'table' AND name = ?", (loose, table))
            connection.execute("PRAGMA writable_schema = RESET")
            if statement:
                connection.execute("PRAGMA ignore_check_constraints = ON")
                assert connection.execute(statement).rowcount
            loose = whole


@pytest.mark.parametrize(("table", "column", "query"), THERE)
async def test_a_row_without_what_every_row_has_is_refused(ask: Ask, file: Path, table: str, column: str, query: str) -> None:
    assert await judged(ask, query) == (200, "")
    lack(file, table, column)
    with closing(sqlite3.connect(file)) as connection, pytest.raises(sqlite3.IntegrityError):
        connection.execute(f"UPDATE {table} SET {column} = NULL")  # its columns are as they were
    assert await judged(ask, query) == (503, "SERVICE_UNAVAILABLE")


async def test_a_payload_of_damaged_rows_is_refused_and_nothing_is_written(ask: Ask, file: Path) -> None:
    [order] = (await ask.data("{ orders(first: 1) { nodes { id } } }"))["orders"]["nodes"]
    change = f'updateOrder(input: {{id: "{order["id"]}", note: "changed"}}) {{ order {{ items {{ item {{ createdAt }} }} }} }}'
    damage(file, DAMAGE[0].replace("orders", "item"))
    assert await judged(ask, f"mutation {{ {change} }}") == (503, "SERVICE_UNAVAILABLE")
    with closing(sqlite3.connect(file)) as connection:
        assert connection.execute("SELECT count(*) FROM orders WHERE note = 'changed'").fetchone() == (0,)


WRITES = (
    'updateOrder(input: {id: "Order:%d", note: "changed"}) { order { totalAmount } errors { code } }',
    'transitionOrder(input: {id: "Order:%d", to: CANCELLED}) { order { totalAmount } errors { code } }',
    "discountOrders(input: {all: true, percent: 10}) { count errors { code } }",
)
#: What a mutation loads into objects, and makes something else of.
LOADED = (
    "UPDATE order_item SET price_paid = 'x1e'",
    "UPDATE order_item SET quantity = CAST(X'41c3' AS TEXT)",
    "UPDATE orders SET order_date = 'x1e'",
    "UPDATE orders SET created_at = X'ff00'",
    "UPDATE orders SET status = 'PENDIN'",
    "UPDATE orders SET note = X'ff00'",
    "UPDATE orders SET version = '1e'",
)


async def test_what_a_mutation_loads_is_what_was_written_or_it_is_refused(
    ask: Ask, file: Path, caplog: pytest.LogCaptureFixture
) -> None:
    rows_of_file(file, "PRAGMA journal_mode=WAL")  # as the server has it
    whole = whole_file(file)
    [(pending,)] = rows_of_file(file, "SELECT id FROM orders WHERE status = 'PENDING' LIMIT 1")
    writes = [f"mutation {{ {write % pending if '%' in write else write} }}" for write in WRITES]
    refused = dict.fromkeys(writes, 0)
    for number, statement in enumerate(LOADED):
        for write in writes:
            rows_of_file(file, "PRAGMA wal_checkpoint(TRUNCATE)")  # what the last one wrote is in no other file
            replace(file, whole[:24] + (number + 1_000_000).to_bytes(4, "big") + whole[28:])
            damage(file, statement)
            damaged = rows_of_file(file, "SELECT * FROM orders")
            caplog.clear()
            if (await judged(ask, write))[0] == 503:
                refused[write] += 1
                told = [record for record in caplog.records if record.name != "ordergraph.slow" and record.levelno > logging.INFO]
                assert len(told) == 1
                assert not any(part in told[0].getMessage() for part in ("x1e", "PENDIN", "1e", "A\ufffd"))
                assert rows_of_file(file, "SELECT * FROM orders") == damaged
    assert refused[writes[0]] >= 4
    assert refused[writes[1]] == len(LOADED)


async def test_no_bytes_that_are_changed_at_random_make_an_answer_that_is_no_json(ask: Ask, file: Path) -> None:
    whole, chance = whole_file(file), random.Random(7)
    seen = set()
    for number in range(60):
        changed = bytearray(whole)
        for _ in range((1, 20, 200)[number % 3]):
            at = chance.randrange(2 * 4_096, len(whole))
            changed[at] ^= 1 << chance.randrange(8)
        changed[24:28] = (number + 1_000_000).to_bytes(4, "big")  # by which SQLite sees that what it has read is old
        replace(file, bytes(changed))
        for query in READS:
            seen.add(await judged(ask, query))
    assert {(200, ""), (503, "SERVICE_UNAVAILABLE")} <= seen

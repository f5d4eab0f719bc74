"""Seeded data of any size: a tenth as many customers as orders, a tenth as many items, four lines an order.

What goes in: a migrated, empty database and a number of orders. What comes out: the same rows on every run.
"""

from __future__ import annotations

import random
import sqlite3
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import asyncpg

EPOCH = datetime(2020, 1, 1, tzinfo=UTC)
DAYS = 6 * 365
LINES = (1, 7)
STATUSES = ("PENDING", "PAID", "SHIPPED", "CANCELLED")
WORDS = (
    "amber birch cedar delta ember flint grove hazel ivory jasper kelp larch maple north olive pearl quartz river slate".split()
)

COLUMNS = {
    "customer": "id version name email created_at updated_at",
    "item": "id version sku name price stock created_at updated_at",
    "orders": "id version customer_id status order_date discount total_amount created_at updated_at",
    "order_item": "id order_id position item_id quantity price_paid",
}


def sizes(orders: int) -> tuple[int, int]:
    """How many customers and items go with so many orders."""
    return max(orders // 10, 20), max(orders // 10, 20)


def tables(orders: int) -> dict[str, list[tuple[Any, ...]]]:
    """The rows of every table, parents first."""
    chance = random.Random(1)
    customers, items = sizes(orders)

    def words(count: int) -> str:
        return " ".join(chance.choice(WORDS).title() for _ in range(count))

    rows: dict[str, list[tuple[Any, ...]]] = {name: [] for name in COLUMNS}
    for key in range(1, customers + 1):
        rows["customer"].append((key, 1, words(2), f"customer{key}@example.com", EPOCH, EPOCH))
    prices = [chance.randrange(100, 100_000) for _ in range(items)]
    for key, price in enumerate(prices, 1):
        stock = chance.choice((None, chance.randrange(1000)))
        rows["item"].append((key, 1, f"SKU-{key:06}", words(3), price, stock, EPOCH, EPOCH))
    line = 0
    for key in range(1, orders + 1):
        total = 0
        for position in range(1, chance.randint(*LINES) + 1):
            item, quantity, line = chance.randint(1, items), chance.randint(1, 20), line + 1
            total += quantity * prices[item - 1]
            rows["order_item"].append((line, key, position, item, quantity, prices[item - 1]))
        date = EPOCH + timedelta(days=chance.randrange(DAYS), seconds=chance.randrange(86_400))
        rows["orders"].append((key, 1, chance.randint(1, customers), chance.choice(STATUSES), date, 0, total, EPOCH, EPOCH))
    return rows


async def fill_postgresql(url: str, orders: int) -> None:
    """Copy the rows into PostgreSQL."""
    connection = await asyncpg.connect(url)
    try:
        for table, rows in tables(orders).items():
            await connection.copy_records_to_table(table, records=rows, columns=COLUMNS[table].split())
            await connection.execute(f"SELECT setval(pg_get_serial_sequence('{table}', 'id'), (SELECT max(id) FROM {table}))")
        await connection.execute("VACUUM ANALYZE")
    finally:
        await connection.close()


def fill_sqlite(path: str, orders: int) -> None:
    """Insert the rows into an SQLite file."""
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("BEGIN")
    for table, rows in tables(orders).items():
        names = COLUMNS[table].split()
        marks = ", ".join("?" * len(names))
        connection.executemany(f"INSERT INTO {table} ({', '.join(names)}) VALUES ({marks})", stored(rows))
    connection.execute("COMMIT")
    connection.execute("ANALYZE")
    connection.close()


def stored(rows: Iterable[tuple[Any, ...]]) -> Iterator[list[Any]]:
    """Rows as SQLite holds them: times are texts in UTC."""
    for row in rows:
        yield [f"{value:%Y-%m-%d %H:%M:%S.%f}" if isinstance(value, datetime) else value for value in row]

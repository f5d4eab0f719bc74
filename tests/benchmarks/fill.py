"""Fill a database with the benchmark's TPC-H data: fill.py SOURCE TARGET.

SOURCE is the benchmark's own database: a PostgreSQL URL, or an SQLite file. TARGET is a DATABASE_URL of the same kind, which
is migrated first and must be empty.
"""

from __future__ import annotations

import asyncio
import sqlite3
import sys
import tempfile
from pathlib import Path

import asyncpg

from graph import migrate

STATUS = "CASE status WHEN 'O' THEN 'PENDING' WHEN 'P' THEN 'PAID' ELSE 'SHIPPED' END"
POSITION = "row_number() OVER (PARTITION BY order_id ORDER BY id)"
STAMP = {"postgresql": "now()", "sqlite": "'2026-01-01 00:00:00.000000'"}
DATE = {"postgresql": "order_date::timestamptz", "sqlite": "order_date || ' 00:00:00.000000'"}
CENTS = {"postgresql": "({} * 100)::bigint", "sqlite": "CAST(round({} * 100) AS INTEGER)"}


def queries(kind: str) -> dict[str, tuple[str, str]]:
    """For each table its columns and the query over the source that gives them."""
    now, date, cents = STAMP[kind], DATE[kind], CENTS[kind].format
    return {
        "customer": (
            "id, version, name, email, created_at, updated_at",
            f"SELECT id, 1, name, email, {now}, {now} FROM SOURCE.customer",
        ),
        "item": (
            "id, version, sku, name, price, created_at, updated_at",
            f"SELECT id, 1, 'TPCH-' || id, name, {cents('price')}, {now}, {now} FROM SOURCE.item",
        ),
        "orders": (
            "id, version, customer_id, status, order_date, discount, total_amount, created_at, updated_at",
            f"SELECT id, 1, customer_id, {STATUS}, {date}, 0, {cents('total')}, {now}, {now} FROM SOURCE.orders",
        ),
        "order_item": (
            "id, order_id, position, item_id, quantity, price_paid",
            f"SELECT id, order_id, {POSITION}, item_id, quantity, {cents('price_paid')} FROM SOURCE.order_item",
        ),
    }


async def fill_postgresql(source: str, target: str) -> None:
    origin, goal = await asyncpg.connect(source), await asyncpg.connect(target)
    for table, (columns, query) in queries("postgresql").items():
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / "rows"
            # The benchmark's own tables only: its load runs leave rows of theirs at the end.
            await origin.copy_from_query(query.replace("SOURCE.", ""), output=file)
            await goal.copy_to_table(table, source=file, columns=columns.split(", "))
        await goal.execute(f"SELECT setval(pg_get_serial_sequence('{table}', 'id'), (SELECT max(id) FROM {table}))")
    await goal.execute("VACUUM ANALYZE")
    await origin.close()
    await goal.close()


def fill_sqlite(source: str, target: str) -> None:
    connection = sqlite3.connect(target, isolation_level=None)
    connection.execute("ATTACH ? AS source", (source,))
    for table, (columns, query) in queries("sqlite").items():
        connection.execute(f"INSERT INTO {table} ({columns}) {query.replace('SOURCE', 'source')}")
    connection.execute("ANALYZE")
    connection.close()


def main() -> None:
    source, target = sys.argv[1:]
    asyncio.run(migrate.upgrade(target))
    if target.startswith("sqlite"):
        fill_sqlite(source, target.removeprefix("sqlite:///"))
    else:
        asyncio.run(fill_postgresql(source, target))


if __name__ == "__main__":
    main()

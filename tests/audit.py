"""What must be true of a shop after every test, whatever was written, refused, killed or crossed in it.

What goes in: the URL of a database, or a `Database`. What comes out: nothing, or an `AssertionError` that shows every rule that
is broken with the rows that break it. A database that is not migrated holds no shop, and so nothing is wrong with it.
"""

from __future__ import annotations

import sqlite3
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, closing
from typing import Any

import asyncpg
from sqlalchemy import make_url
from sqlalchemy.pool import QueuePool

from graph.database import Database

Connection = sqlite3.Connection | asyncpg.Connection

#: Each finds the rows that break a rule; the same text on both databases.
RULES = {
    "an order's total is the sum of its lines minus the discount": """
        SELECT o.id, o.total_amount, o.discount, sum(l.quantity * l.price_paid)
        FROM orders AS o LEFT JOIN order_item AS l ON l.order_id = o.id GROUP BY o.id, o.total_amount, o.discount
        HAVING o.total_amount <> coalesce(sum(l.quantity * l.price_paid), 0) - o.discount""",
    "a discount is from nothing to the subtotal": "SELECT id FROM orders WHERE discount < 0 OR total_amount < 0",
    "an order has a customer": "SELECT id FROM orders WHERE customer_id NOT IN (SELECT id FROM customer)",
    "a line has an order and an item": """
        SELECT id FROM order_item WHERE order_id NOT IN (SELECT id FROM orders) OR item_id NOT IN (SELECT id FROM item)""",
    "positions are unique in an order": """
        SELECT order_id, position FROM order_item GROUP BY order_id, position HAVING count(*) > 1""",
    "positions start at 1": "SELECT id, position FROM order_item WHERE position < 1",
    "a line has 1 to 100,000 pieces at no negative price": """
        SELECT id FROM order_item WHERE quantity < 1 OR quantity > 100000 OR price_paid < 0""",
    "versions start at 1": """
        SELECT id, version FROM customer WHERE version < 1 UNION ALL SELECT id, version FROM item WHERE version < 1
        UNION ALL SELECT id, version FROM orders WHERE version < 1""",
    "stock and prices are not negative": "SELECT id, stock, price FROM item WHERE stock < 0 OR price < 0",
    "an order's number comes from its key": "SELECT id, number FROM orders WHERE number <> 'SO-' || id",
    "a kept idempotency key has its answer": "SELECT client, key FROM idempotency_key WHERE answer IS NULL",
}
EMAILS = "SELECT email FROM customer"

#: All pieces of each item that tracks its stock: on the shelf and in orders that hold or shipped them.
PIECES = """
    SELECT i.sku, i.stock + coalesce(sum(CASE WHEN o.status <> 'CANCELLED' THEN l.quantity END), 0)
    FROM item AS i LEFT JOIN order_item AS l ON l.item_id = i.id LEFT JOIN orders AS o ON o.id = l.order_id
    WHERE i.stock IS NOT NULL GROUP BY i.id, i.sku, i.stock"""


@asynccontextmanager
async def connected(url: str) -> AsyncIterator[Connection]:
    """A connection that the product knows nothing of."""
    where = make_url(url)
    if where.get_backend_name() == "sqlite":
        with closing(sqlite3.connect(str(where.database), isolation_level=None)) as file:
            yield file
        return
    connection = await asyncpg.connect(url)
    try:
        yield connection
    finally:
        await connection.close()


async def fetch(connection: Connection, query: str) -> Sequence[Any]:
    """The rows that a query finds."""
    if isinstance(connection, sqlite3.Connection):
        return connection.execute(query).fetchall()
    return [tuple(row) for row in await connection.fetch(query)]


async def rows_of(url: str, *queries: str) -> list[Sequence[Any]]:
    """What queries find, on a connection of their own."""
    async with connected(url) as connection:
        return [await fetch(connection, query) for query in queries]


async def audit_url(url: str) -> None:
    """Hold a database against all rules."""
    async with connected(url) as connection:
        await audit_by(connection)


async def audit_by(connection: Connection) -> None:
    """Hold the database of a connection against all rules: one statement tells which are broken."""
    is_sqlite = isinstance(connection, sqlite3.Connection)
    tables = "sqlite_master WHERE type = 'table' AND name" if is_sqlite else "pg_tables WHERE tablename"
    if not await fetch(connection, f"SELECT 1 FROM {tables} = 'idempotency_key'"):
        return
    (flags,) = await fetch(connection, f"SELECT {', '.join(f'EXISTS ({query})' for query in RULES.values())}")
    broken = {name: await fetch(connection, RULES[name]) for name, flag in zip(RULES, flags, strict=True) if flag}
    for check in ("PRAGMA integrity_check", "PRAGMA foreign_key_check") if is_sqlite else ():
        rows = await fetch(connection, check)
        if rows and list(rows) != [("ok",)]:
            broken[check] = rows
    emails = await fetch(connection, EMAILS)
    normal = Counter(email.strip().lower() for (email,) in emails)
    wrong = [email for (email,) in emails if email != email.strip().lower() or normal[email] > 1]
    if wrong:
        broken["addresses are unique in their normal form"] = wrong
    assert not broken, broken


def checked_out(database: Database) -> int:
    """How many connections of the pool somebody holds."""
    pool = database.engine.sync_engine.pool
    assert isinstance(pool, QueuePool)
    return pool.checkedout()


async def audit(database: Database) -> None:
    """Hold a shop against all rules while it is open: nobody is in a transaction, so nothing may be checked out."""
    assert checked_out(database) == 0, "a connection was not given back"
    await audit_url(database.settings.database_url)


async def pieces(url: str) -> dict[str, int]:
    """All pieces of each item, by sku. Orders, moves and cancellations do not change it."""
    return {sku: int(number) for sku, number in (await rows_of(url, PIECES))[0]}

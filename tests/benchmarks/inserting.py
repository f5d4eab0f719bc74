"""Rows a second of many new customers: `insertCustomers` against the ORM, in the product and alone.

What goes in: a running project server and its database's URL. What comes out: rows a second of 10,000 customers in one request,
of the same through the ORM in requests of `createCustomers`, and of a bare session that adds all of them.
"""

from __future__ import annotations

import asyncio
import json
import statistics
import time
from itertools import count
from typing import Any

from graph.database import Database
from graph.models import Customer
from graph.settings import Settings
from tests.benchmarks.serving import Running

ROWS = 10_000
BY_ORM = 250  # rows of a request through the ORM: as many as one may have
ROUNDS = 5

INSERT = """mutation ($input: InsertCustomersInput!) { insertCustomers(input: $input) { inserted errors { code } } }"""
CREATE = """mutation ($input: CreateCustomersInput!) { createCustomers(input: $input) { results { index } errors { code } } }"""
NUMBERS = count()


def rows(number: int) -> list[dict[str, str]]:
    """New customers."""
    return [{"name": f"Customer {n}", "email": f"inserted-{n}@example.com"} for n, _ in zip(NUMBERS, range(number), strict=False)]


def ask(server: Running, query: str, input_: dict[str, Any], field: str) -> float:
    """Seconds of one request that must not be refused."""
    body = json.dumps({"query": query, "variables": {"input": input_}})
    started = time.perf_counter()
    answer = json.loads(server.ask(body))
    taken = time.perf_counter() - started
    assert answer["data"][field]["errors"] == [], answer
    return taken


async def add_all(url: str) -> float:
    """Seconds of a session that adds all rows and commits."""
    database = Database(Settings(database_url=url))
    try:
        async with database.session() as session:
            await session.connection()
            started = time.perf_counter()
            session.add_all([Customer(**row) for row in rows(ROWS)])
            await session.commit()
            return time.perf_counter() - started
    finally:
        await database.close()


def table(server: Running, url: str) -> str:
    """The table as text: medians over rounds in which all take their turn, and each round's ratio to the ORM path."""
    found: dict[str, list[float]] = {"insertCustomers": [], "createCustomers": [], "session.add_all": []}
    for _ in range(ROUNDS):
        found["insertCustomers"].append(ROWS / ask(server, INSERT, {"rows": rows(ROWS)}, "insertCustomers"))
        parts = [ask(server, CREATE, {"customers": rows(BY_ORM)}, "createCustomers") for _ in range(ROWS // BY_ORM)]
        found["createCustomers"].append(ROWS / sum(parts))
        found["session.add_all"].append(ROWS / asyncio.run(add_all(url)))
    lines = [f"{'way':<18} {'rows/s':>8} {'of createCustomers':>19}"]
    for way, rates in found.items():
        ratio = statistics.median(mine / its for mine, its in zip(rates, found["createCustomers"], strict=True))
        lines.append(f"{way:<18} {statistics.median(rates):>8,.0f} {ratio:>19.1f}")
    return "\n".join(lines)

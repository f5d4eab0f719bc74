"""How the time of a nested read grows with its rows: run inside this process, through the engine and the driver.

What goes in: the URL of a filled database. What comes out: for 10, 100, 1,000 and 10,000 orders with customer, lines and items,
the time and the time per order.
"""

from __future__ import annotations

import asyncio
import statistics
import time
from dataclasses import dataclass

from graph.context import Context
from graph.database import Database
from graph.schema import schema
from graph.settings import Settings

QUERY = "{orders(first:%d){nodes{id number customer{name} items{quantity pricePaid item{name}}}}}"
ROWS = (10, 100, 1_000, 10_000)
SECONDS = 2.0
LIMITS = {"max_page_size": 100_000, "max_cost": 10_000_000, "statement_timeout_seconds": 60.0}


@dataclass(frozen=True)
class Step:
    """The median over `runs` runs for so many orders."""

    rows: int
    runs: int
    seconds: float
    bytes: int

    @property
    def microseconds_per_row(self) -> float:
        return self.seconds / self.rows * 1e6


async def measure(url: str, orders: int) -> list[Step]:
    """Measure each size for about `SECONDS`, after a warm-up. Sizes beyond the data are left out."""
    database = Database(Settings(database_url=url, **LIMITS))  # type: ignore[arg-type]  # numbers, each of its field's type
    engine = schema.engine(database)
    steps = []
    try:
        for rows in (rows for rows in ROWS if rows <= orders):
            times: list[float] = []
            text = b""
            until = time.perf_counter() + SECONDS
            while len(times) < 8 or time.perf_counter() < until:
                started = time.perf_counter()
                answer = await engine.run(QUERY % rows, {}, None, Context(database))
                times.append(time.perf_counter() - started)
                text = answer.data or b""
            assert text.count(b'"id":"Order:') == rows
            # The first runs prepare the statement, and PostgreSQL settles on its plan at the sixth.
            steps.append(Step(rows, len(times) - 6, statistics.median(times[6:]), len(text)))
    finally:
        await database.close()
    return steps


def table(url: str, orders: int) -> str:
    """The growth table as text."""
    lines = [f"{'orders':>8} {'runs':>6} {'ms':>9} {'us/order':>9} {'bytes':>10}"]
    lines += [
        f"{step.rows:>8,} {step.runs:>6} {step.seconds * 1000:>9.2f} {step.microseconds_per_row:>9.1f} {step.bytes:>10,}"
        for step in asyncio.run(measure(url, orders))
    ]
    return "\n".join(lines)

"""What costs really cost: `python -m tests.benchmarks.costs`, in this process, on both databases.

What goes in: a number of orders. What comes out: for costs up to 200,000 the rows, bytes and milliseconds of three shapes of
query, and the natural first query on the sample.
"""

from __future__ import annotations

import asyncio
import json
import statistics
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from graph import migrate, sample
from graph.context import Context
from graph.database import Database
from graph.schema import schema
from graph.settings import Settings
from tests import postgres
from tests.benchmarks import data

COSTS = (1_000, 5_000, 10_000, 20_000, 50_000, 100_000, 200_000)
LIMITS = {"max_page_size": 1_000_000, "max_cost": 10_000_000, "statement_timeout_seconds": 60.0, "request_timeout_seconds": 60.0}
#: A query, the cost of one of its roots' rows, and how many of these the data of 20,000 orders has.
SHAPES = {
    "customers, 10 orders, lines, items": (
        "{customers(first:%d){nodes{id name orders(first:10){nodes{id number items{id quantity item{id name}}}}}}}",
        1 + 10 * (1 + 10 * 2),
        2_000,
    ),
    "orders with all fields, customer": (
        (
            "{orders(first:%d){nodes{id version number status allowedTransitions orderDate subtotal discount totalAmount note"
            " createdAt updatedAt customer{id name email createdAt updatedAt archived}}}}"
        ),
        2,
        20_000,
    ),
    "customers with their sums": ("{customers(first:%d){nodes{id orderCount totalSpent}}}", 1, 2_000),
}
NATURAL = "{customers{nodes{name orders{nodes{number items{quantity item{name}}}}}}}"


def rows_in(value: Any) -> int:
    """The rows in an answer: objects that are no page."""
    if isinstance(value, list):
        return sum(map(rows_in, value))
    if isinstance(value, dict):
        return ("nodes" not in value) + sum(map(rows_in, value.values()))
    return 0


async def measure(url: str, query: str) -> tuple[int, int, int, float]:
    """Cost, rows, bytes and the median of the milliseconds of a query, warmed."""
    database = Database(Settings(database_url=url, **LIMITS))  # type: ignore[arg-type]  # numbers, each of its field's type
    engine = schema.engine(database)
    try:
        times: list[float] = []
        until = time.perf_counter() + 1.5
        while len(times) < 5 or (time.perf_counter() < until and len(times) < 100):
            started = time.perf_counter()
            answer = await engine.run(query, {}, None, Context(database))
            times.append(time.perf_counter() - started)
        text = answer.data or b""
        return (
            answer.cost().total if answer.cost else 0,
            rows_in(json.loads(text)) - 1,
            len(text),
            statistics.median(times[2:]) * 1000,
        )
    finally:
        await database.close()


def table(urls: Sequence[str], samples: Sequence[str]) -> None:
    """Print a line for each query, with the milliseconds on each of the databases."""
    click.echo("| query | cost | rows | bytes | ms PostgreSQL | ms SQLite |\n|---|---|---|---|---|---|")
    for name, (query, each, least) in SHAPES.items():
        for number in (round(cost / each) for cost in COSTS):
            if number <= least:  # there are no more rows
                show(name, [asyncio.run(measure(url, query % number)) for url in urls])
    show("sample", [asyncio.run(measure(url, NATURAL)) for url in samples])


def show(name: str, found: Sequence[tuple[int, int, int, float]]) -> None:
    """One line of the table. Cost, rows and bytes are the same on both databases."""
    assert len({each[:3] for each in found}) == 1
    cells = [name, *(f"{each:,}" for each in found[0][:3]), *(f"{each[3]:,.1f}" for each in found)]
    click.echo(f"| {' | '.join(cells)} |")


def fill(url: str) -> str:
    asyncio.run(migrate.upgrade(url))
    return url


@click.command()
@click.option("--orders", default=20_000, show_default=True, type=click.IntRange(50), help="Orders in the data.")
def main(orders: int) -> None:
    """Measure costs on SQLite and PostgreSQL."""
    with tempfile.TemporaryDirectory() as folder, postgres.server() as server:
        paths = [Path(folder) / "costs.db", Path(folder) / "sample.db"]
        sqlite, sqlite_sample = (fill(f"sqlite:///{path}") for path in paths)
        data.fill_sqlite(str(paths[0]), orders)
        names = [postgres.new_name(), postgres.new_name()]
        try:
            postgresql, postgresql_sample = (fill(server.create(name)) for name in names)
            asyncio.run(data.fill_postgresql(postgresql, orders))
            for url in (sqlite_sample, postgresql_sample):
                asyncio.run(sample.load_into(Settings(database_url=url)))
            table((postgresql, sqlite), (postgresql_sample, sqlite_sample))
        finally:
            for name in names:
                server.drop(name)


if __name__ == "__main__":
    main()

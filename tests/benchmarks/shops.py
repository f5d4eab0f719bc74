"""Many shops in one database: `python -m tests.benchmarks.shops`, what a point read costs the more of them there are.

What goes in: options. What comes out: the median time of the point read of a deployment without shops, and of one process that
reads from one shop, from 20 and from all, each with a pool of 15 connections of its own, in blocks by turns; what each is to that
of one shop; how much memory the sessions of the server have in the end. The exit status is 1 where 20 shops take more than 1.3
times what one takes, all of them more than twice, or a session has more memory than a connection may make it have. What is
refused here: an answer with errors.
"""

from __future__ import annotations

import asyncio
import math
import random
import statistics
import time
from dataclasses import dataclass, field
from typing import Any

import asyncpg
import click

from graph import migrate
from graph.context import Context
from graph.database import Database, shop_pool
from graph.database.shop_names import schema_of_shop
from graph.database.shop_pool import MOST_SHOPS
from graph.database.shops import Databases
from graph.schema import schema
from graph.settings import Settings
from tests import postgres
from tests.benchmarks import data
from tests.benchmarks.operations import OPERATIONS, Facts
from tests.deployments import deployment

#: Orders of each shop, and reads that follow each other before another way has its turn.
ORDERS, BLOCK = 100, 500
#: What the medians may be to that of one shop, and how many megabytes a session may take.
MOST = {"20 shops": 1.3, "all shops": 2.0}
MOST_MEGABYTES = 80.0
CHANCE, FACTS = random.Random(16), Facts(ORDERS, *data.sizes(ORDERS), [])
(READ,) = [each for each in OPERATIONS if each.name == "order by id"]


@dataclass
class Way:
    """Reads from some shops on a pool of its own."""

    databases: Databases
    shops: list[str | None]
    medians: list[float] = field(default_factory=list)

    async def block(self, at_once: int, number: int) -> list[float]:
        """So many reads, each from a shop drawn at random; the time of each in microseconds."""
        left, times = iter(range(number)), list[float]()

        async def reader() -> None:
            for _ in left:
                shop = random.choice(self.shops)
                began = time.perf_counter()
                await read(self.databases.of(shop))
                times.append((time.perf_counter() - began) * 1e6)

        await asyncio.gather(*(reader() for _ in range(at_once)))
        return times

    async def megabytes(self) -> list[float]:
        """The memory of each session of the pool."""
        sql = "SELECT sum(total_bytes) / 1e6 FROM pg_catalog.pg_backend_memory_contexts"
        pool: Any = self.databases.main.primary.engine.pool
        pool._take_back()  # those that reads hand on
        found: list[float] = []
        async with asyncio.TaskGroup() as group:
            ready = asyncio.Barrier(pool.checkedin())

            async def ask() -> None:
                async with self.databases.main.engine.connect() as connection:
                    found.append(float((await connection.exec_driver_sql(sql)).scalar_one()))
                    await ready.wait()

            for _ in range(ready.parties):
                group.create_task(ask())
        return found


async def read(database: Database) -> None:
    """The point read of one order."""
    variables, _ = READ.values(CHANCE, FACTS, "")
    context = Context(database)
    answer = await schema.engine(database).run(READ.query, variables, None, context)
    assert answer.data is not None
    assert b'"errors"' not in answer.data, answer.data
    assert b":null" not in answer.data, answer.data


async def fill(url: str, names: list[str]) -> None:
    """The same orders in each shop."""
    await data.fill_postgresql(url, ORDERS)
    connection = await asyncpg.connect(url)
    for name in names:
        for table, columns in data.COLUMNS.items():
            listed = ", ".join(columns.split())
            there = f'"{schema_of_shop(name)}".{table}'
            await connection.execute(f"INSERT INTO {there} ({listed}) SELECT {listed} FROM public.{table}")
    await connection.close()


async def measure(url: str, number: int, at_once: int, rounds: int) -> dict[str, Way]:
    names = [f"s{each}" for each in range(number)]
    await migrate.upgrade(url)
    began = time.perf_counter()
    await deployment(url, *names)
    click.echo(f"{len(names):,} shops made in {time.perf_counter() - began:.0f} s")
    await fill(url, names)
    settings = Settings(database_url=url, shops=True)
    ways = {
        "no shops": Way(Databases(Settings(database_url=url)), [None]),
        "one shop": Way(Databases(settings), list(names[:1])),
        "20 shops": Way(Databases(settings), list(names[:20])),
        "all shops": Way(Databases(settings), list(names)),
    }
    for way in ways.values():  # a plan is kept once it was run five times
        await way.block(at_once, max(2_000, 12 * len(way.shops)))
    for _ in range(rounds):
        for way in random.sample(list(ways.values()), len(ways)):
            way.medians.append(statistics.median(await way.block(at_once, BLOCK)))
    return ways


def told(ways: dict[str, Way], memory: dict[str, list[float]]) -> tuple[list[str], bool]:
    """A line for each way, and whether each is within what it may take."""
    one = statistics.median(ways["one shop"].medians)
    lines, within = [], True
    for name, way in ways.items():
        median, most = statistics.median(way.medians), max(memory[name])
        lines.append(
            f"{name:<10} {median:>8,.0f} us {median / one:>6.2f} {len(memory[name]):>4} sessions {most:>7.1f} MB at most"
        )
        within = within and median / one <= MOST.get(name, math.inf) and most <= MOST_MEGABYTES
    return lines, within


async def run(url: str, number: int, at_once: int, rounds: int) -> bool:
    ways = await measure(url, number, at_once, rounds)
    lines, within = told(ways, {name: await way.megabytes() for name, way in ways.items()})
    click.echo("\n".join(lines))
    for way in ways.values():
        await way.databases.close()
    return within


@click.command()
@click.option("--shops", "number", default=1_000, show_default=True, type=click.IntRange(20), help="Shops.")
@click.option("--a-connection", default=MOST_SHOPS, show_default=True, type=click.IntRange(1), help="Shops that one serves.")
@click.option("--at-once", default=15, show_default=True, type=click.IntRange(1), help="Readers beside each other.")
@click.option("--rounds", default=40, show_default=True, type=click.IntRange(1), help=f"Blocks of {BLOCK} reads of each way.")
def main(number: int, a_connection: int, at_once: int, rounds: int) -> None:
    """Measure what a point read costs the more shops there are."""
    shop_pool.MOST_SHOPS = a_connection
    options = ("max_connections=100", "shared_buffers=256MB", "max_locks_per_transaction=256")
    with postgres.started(postgres.binaries(), *options) as own:
        raise SystemExit(0 if asyncio.run(run(own.url, number, at_once, rounds)) else 1)


if __name__ == "__main__":
    main()

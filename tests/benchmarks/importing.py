"""Rows a second of an import against the bare load of the same rows: `python -m tests.benchmarks.importing [PATH]`.

What goes in: a file or folder to import, or none: then the week of Online Retail several times over. What comes out: for each
kind of database, rows a second of the import, of COPY (PostgreSQL) or executemany (SQLite) of the rows that it made, and the
ratio; and how much memory grew. Of several rounds the one with the median ratio is shown: what takes half a second depends on
whatever else the machine does.

The import reads, judges and puts together the rows of the file, and tells its changes; the bare load has them ready and tells
nothing. Both commit, with all constraints and indexes there.
"""

from __future__ import annotations

import asyncio
import csv
import gzip
import resource
import sqlite3
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import asyncpg
import click

from graph import migrate
from graph.database import Database
from graph.exchange.imports import Import
from graph.exchange.incoming import Form, Reading
from graph.exchange.presets import PRESETS, Terms
from graph.exchange.rejects import Rejects
from graph.schema import schema
from graph.settings import Settings
from tests import postgres

WEEK = Path(__file__).parents[1] / "exchange" / "data" / "online_retail_week.csv.gz"
TABLES = ("customer", "item", "orders", "order_item", "order_source")
#: The database makes it.
COMPUTED = {"number"}


def repeated(times: int, into: Path) -> Path:
    """The week several times over, each time with other invoices."""
    with gzip.open(WEEK, "rt", encoding="utf-8", newline="") as week, into.open("w", encoding="utf-8", newline="") as file:
        header, *rows = csv.reader(week)
        writer = csv.writer(file)
        writer.writerow(header)
        for time_ in range(times):
            writer.writerows([f"{invoice}/{time_}", *rest] for invoice, *rest in rows)
    return into


async def imported(url: str, path: Path, terms: Terms, scratch: Path) -> tuple[int, float, int]:
    """Rows made, seconds, and megabytes that memory grew by."""
    await migrate.upgrade(url)
    database = Database(Settings(database_url=url))
    schema.engine(database)
    rejects = Rejects(scratch / "rejects", folder=not path.suffix)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    try:
        started = time.perf_counter()
        tally = await Import(database, Reading(str(path), terms, Form(), rejects)).run()
        taken = time.perf_counter() - started
    finally:
        rejects.close()
        await database.close()
    return sum(tally.made.values()), taken, (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024


def columns(table: str, names: list[str]) -> list[str]:
    return [name for name in names if not (table == "orders" and name in COMPUTED)]


def executemany(path: Path) -> float:
    """Seconds of a bare load of the rows of a file into its empty tables."""
    with closing(sqlite3.connect(path, isolation_level=None)) as file:
        rows: dict[str, tuple[list[str], list[Any]]] = {}
        for table in TABLES:
            names = columns(table, [row[1] for row in file.execute(f"PRAGMA table_info({table})")])
            rows[table] = names, file.execute(f"SELECT {', '.join(names)} FROM {table}").fetchall()
        for table in reversed(TABLES):
            file.execute(f"DELETE FROM {table}")
        file.execute("VACUUM")
        file.execute("PRAGMA journal_mode=WAL")
        file.execute("PRAGMA synchronous=NORMAL")
        file.execute("PRAGMA foreign_keys=ON")
        started = time.perf_counter()
        file.execute("BEGIN IMMEDIATE")
        for table, (names, held) in rows.items():
            file.executemany(f"INSERT INTO {table} ({', '.join(names)}) VALUES ({', '.join('?' * len(names))})", held)
        file.execute("COMMIT")
        return time.perf_counter() - started


async def copied(url: str) -> float:
    """Seconds of a bare COPY of the rows of a database into its empty tables."""
    connection = await asyncpg.connect(url)
    try:
        rows: dict[str, tuple[list[str], list[Any]]] = {}
        for table in TABLES:
            found = await connection.fetch(f"SELECT * FROM {table} LIMIT 0")
            statement = await connection.prepare(f"SELECT * FROM {table}")
            names = columns(table, [each.name for each in statement.get_attributes()])
            found = await connection.fetch(f"SELECT {', '.join(names)} FROM {table}")
            rows[table] = names, [tuple(row) for row in found]
        await connection.execute(f"TRUNCATE {', '.join(TABLES)}")
        started = time.perf_counter()
        async with connection.transaction():
            for table, (names, held) in rows.items():
                await connection.copy_records_to_table(table, records=held, columns=names)
        return time.perf_counter() - started
    finally:
        await connection.close()


async def emptied(url: str) -> None:
    """Make a database as new."""
    connection = await asyncpg.connect(url)
    try:
        await connection.execute("DROP SCHEMA public CASCADE; CREATE SCHEMA public")
    finally:
        await connection.close()


@dataclass(frozen=True, slots=True)
class Round:
    """Rows that were made, the seconds of the import and of the bare load, megabytes that memory grew by."""

    rows: int
    taken: float
    bare: float
    grown: int

    @property
    def ratio(self) -> float:
        return self.bare / self.taken


def show(name: str, rounds: Sequence[Round]) -> None:
    by_ratio = sorted(rounds, key=lambda each: each.ratio)
    middle = by_ratio[len(rounds) // 2]
    speeds = f"{middle.rows / middle.taken:>14,.0f} {middle.rows / middle.bare:>12,.0f} {middle.ratio:>6.2f}"
    span = f"{by_ratio[0].ratio:.2f} to {by_ratio[-1].ratio:.2f}"
    click.echo(f"{name:<12} {middle.rows:>9,} {speeds} {span:>12} {max(each.grown for each in rounds):>10}")


@click.command()
@click.argument("path", required=False, type=click.Path(exists=True, path_type=Path))
@click.option("--preset", default="online-retail", type=click.Choice(sorted(PRESETS)))
@click.option("--times", default=24, help="How often the week is repeated.")
@click.option("--rounds", default=1, help="How often all is done.")
def main(path: Path | None, preset: str, times: int, rounds: int) -> None:
    """Import PATH and load the same rows without the product."""
    with tempfile.TemporaryDirectory() as folder:
        scratch = Path(folder)
        source = path or repeated(times, scratch / "weeks.csv")
        titles = f"{'import rows/s':>14} {'bare rows/s':>12} {'ratio':>6} {'from, to':>12} {'memory MB':>10}"
        click.echo(f"{'database':<12} {'rows':>9} {titles}")

        def one(url: str, bare: Callable[[], float]) -> Round:
            rows, taken, grown = asyncio.run(imported(url, source, PRESETS[preset], scratch))
            return Round(rows, taken, bare(), grown)

        files = [scratch / f"shop{number}.db" for number in range(rounds)]
        show("SQLite", [one(f"sqlite:///{file}", partial(executemany, file)) for file in files])
        found = []
        with postgres.started(postgres.binaries()) as server:
            for _ in range(rounds):
                asyncio.run(emptied(server.url))
                found.append(one(server.url, lambda: asyncio.run(copied(server.url))))
        show("PostgreSQL", found)


if __name__ == "__main__":
    main()

"""The project against the limit of this machine: `python -m tests.benchmarks`.

What goes in: options. What comes out: a table of operations with LIMIT and project side by side, the rows a second of a large
insert, and how the time of a nested read grows. What is refused here: servers whose answers differ are not measured.
"""

from __future__ import annotations

import asyncio
import json
import random
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import click

from graph import migrate
from graph.context import Context
from graph.database import Database
from graph.schema import schema
from graph.settings import Settings
from tests import postgres
from tests.benchmarks import data, growth, inserting
from tests.benchmarks.load import Job, Measured
from tests.benchmarks.operations import EVERY_DATE, OPERATIONS, Facts, Operation
from tests.benchmarks.serving import Running, running, share_cores
from tests.benchmarks.statements import SQLITE

BODIES = 500
WRITES_PER_SECOND = 20_000
WARM_UP_SECONDS = 1.0
SETTINGS = {"ORDERGRAPH_MAX_PAGE_SIZE": "10000", "ORDERGRAPH_MAX_COST": "1000000", "ORDERGRAPH_POOL_SIZE": "10"}
LIMIT = ["-m", "uvicorn", "tests.benchmarks.limit:app", "--no-access-log", "--log-level", "warning"]
PROJECT = ["-m", "graph", "serve", "--no-sample"]


@dataclass(frozen=True)
class Round:
    """One server under one operation for some seconds."""

    rate: float
    p50: float
    p99: float
    cpu_microseconds: float | None


@click.command()
@click.option("--orders", default=20_000, show_default=True, type=click.IntRange(50), help="Orders in the data.")
@click.option("--rounds", default=5, show_default=True, type=click.IntRange(1), help="Rounds; medians are shown.")
@click.option("--seconds", default=2.0, show_default=True, type=click.FloatRange(0.1), help="Time of one measurement.")
@click.option("--connections", default=32, show_default=True, type=click.IntRange(1), help="Connections of the load.")
@click.option("--sqlite", is_flag=True, help="Measure on SQLite instead of PostgreSQL.")
@click.option("--only", default="", metavar="WORDS", help="Only operations whose names contain one of these, comma-separated.")
def main(orders: int, rounds: int, seconds: float, connections: int, sqlite: bool, only: str) -> None:
    """Measure the project against hand-written SQL behind a bare server, on this machine."""
    core = share_cores()
    chosen = [operation for operation in OPERATIONS if any(word in operation.name for word in only.split(","))]
    if sqlite:
        chosen = [operation for operation in chosen if operation.name in SQLITE]
    with database(orders, sqlite) as url:
        facts = asyncio.run(learn(url, orders))
        environment = {"DATABASE_URL": url, **SETTINGS}
        with running("LIMIT", LIMIT, environment, core) as limit, running("project", PROJECT, environment, core) as project:
            for operation in chosen:
                compare(operation, facts, limit, project)
            results = {
                operation.name: rival(operation, facts, (limit, project), rounds, seconds, connections) for operation in chosen
            }
            report(results, (limit, project))
            click.echo(f"\nMany new customers\n{inserting.table(project, url)}")
        click.echo(f"\nGrowth of a nested read\n{growth.table(url, orders)}")


@contextmanager
def database(orders: int, sqlite: bool) -> Iterator[str]:
    """A migrated and filled database of our own."""
    if sqlite:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "benchmark.db"
            url = f"sqlite:///{path}"
            asyncio.run(migrate.upgrade(url))
            data.fill_sqlite(str(path), orders)
            yield url
        return
    with postgres.server() as server:
        name = postgres.new_name()
        url = server.create(name)
        try:
            asyncio.run(migrate.upgrade(url))
            asyncio.run(data.fill_postgresql(url, orders))
            yield url
        finally:
            server.drop(name)


async def learn(url: str, orders: int) -> Facts:
    """The sizes of the data, and the cursors after some orders by date."""
    chance = random.Random(2)
    opened = Database(Settings(database_url=url))
    places = []
    try:
        for _ in range(100):
            key = chance.randint(1, orders)
            query = f'{{orders(where:{{id:{{eq:"Order:{key}"}}}},{EVERY_DATE}){{edges{{cursor node{{orderDate}}}}}}}}'
            answer = await schema.engine(opened).run(query, {}, None, Context(opened))
            edge = json.loads(answer.data or b"")["orders"]["edges"][0]
            places.append((key, edge["node"]["orderDate"], edge["cursor"]))
    finally:
        await opened.close()
    return Facts(orders, *data.sizes(orders), places)


def bodies(operation: Operation, facts: Facts, count: int, seed: str) -> tuple[list[str], list[str]]:
    """The same requests for LIMIT and for the project."""
    chance = random.Random(seed)
    pairs = [operation.values(chance, facts, f"{seed}-{index}") for index in range(count)]
    return (
        [json.dumps({"op": operation.name, "arguments": arguments}) for _, arguments in pairs],
        [json.dumps({"query": operation.query, "variables": variables}) for variables, _ in pairs],
    )


def compare(operation: Operation, facts: Facts, limit: Running, project: Running) -> None:
    """Ask both servers the same; their answers must be equal. Cursors are the server's own, and so are the ids of new rows."""
    asked = bodies(operation, facts, 1 if operation.writes else 10, "compare")
    if operation.writes:
        asked = (asked[0], bodies(operation, facts, 1, "compare-project")[1])
    for mine, theirs in zip(*asked, strict=True):
        wanted, found = (json.loads(server.ask(body)) for server, body in ((limit, mine), (project, theirs)))
        if bare(wanted, operation.writes) != bare(found, operation.writes):
            raise click.ClickException(
                f"answers to {operation.name} differ:\n{json.dumps(wanted)[:2000]}\n{json.dumps(found)[:2000]}"
            )


def bare(value: Any, without_ids: bool) -> Any:
    if isinstance(value, dict):
        own = ("endCursor", "id") if without_ids else ("endCursor",)
        return {key: key if key in own else bare(part, without_ids) for key, part in value.items()}
    return [bare(part, without_ids) for part in value] if isinstance(value, list) else value


def rival(
    operation: Operation, facts: Facts, servers: Sequence[Running], rounds: int, seconds: float, connections: int
) -> dict[str, list[Round]]:
    """Rounds of one operation, the servers in turn."""
    found: dict[str, list[Round]] = {server.name: [] for server in servers}
    for number in range(rounds + 1):
        for index, server in enumerate(servers):
            time = seconds if number else WARM_UP_SECONDS
            count = int(WRITES_PER_SECOND * time) if operation.writes else BODIES
            seed = f"{operation.name.replace(' ', '')}-{number}" + (f"-{index}" if operation.writes else "")
            sent = bodies(operation, facts, count, seed)[index]
            measured = measure(server, Job(server.port, time, connections, sent, once=operation.writes))
            if number:
                found[server.name].append(measured)
    return found


def measure(server: Running, job: Job) -> Round:
    """One server under a job."""
    before = server.cpu_seconds()
    measured = drive(job)
    after = server.cpu_seconds()
    used = None if before is None or after is None else (after - before) / measured.answers * 1e6
    return Round(measured.answers / measured.seconds, measured.p50, measured.p99, used)


def drive(job: Job) -> Measured:
    """Run a job in a process of its own."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.benchmarks.load"],
        input=json.dumps(asdict(job)),
        capture_output=True,
        text=True,
        cwd=Path(__file__).parents[2],
        check=False,
        timeout=job.seconds + 60,
    )
    if done.returncode:
        raise click.ClickException(done.stderr)
    return Measured(**json.loads(done.stdout))


def report(results: dict[str, dict[str, list[Round]]], servers: Sequence[Running]) -> None:
    """The table: medians over the rounds, and the median of each round's ratio to LIMIT."""
    click.echo(f"{'operation':<24} {'server':<8} {'req/s':>8} {'p50 ms':>8} {'p99 ms':>8} {'CPU us':>8} {'of LIMIT':>8}")
    for name, by_server in results.items():
        base = by_server[servers[0].name]
        for server in servers:
            found = by_server[server.name]
            ratio = statistics.median(mine.rate / its.rate for mine, its in zip(found, base, strict=True))
            used = [each.cpu_microseconds for each in found if each.cpu_microseconds is not None]
            click.echo(
                f"{name:<24} {server.name:<8} {statistics.median(r.rate for r in found):>8,.0f} "
                f"{statistics.median(r.p50 for r in found):>8.2f} {statistics.median(r.p99 for r in found):>8.2f} "
                f"{f'{statistics.median(used):,.0f}' if used else '-':>8} {ratio:>8.2f}"
            )
    for server in servers:
        resident = server.resident_mb()
        click.echo(f"{server.name}: {'-' if resident is None else f'{resident:.0f}'} MB resident after the run")


if __name__ == "__main__":
    main()

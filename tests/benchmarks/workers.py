"""Several workers against one: `python -m tests.benchmarks.workers`, on PostgreSQL, behind one port.

What goes in: options. What comes out: requests a second of one worker on one core, of one on two cores, of two on two, in turn,
with the processor time of a request in the workers, in the database and in the load; `--out` keeps them for `docs/capacity.md`.
What is refused here: a machine with one core, or one that does not let processes be kept on some; an answer that is not a 200
with data.

On two cores nothing can be apart: the workers, PostgreSQL and the load share the cores they are given, and each setting gives all
of them the same ones. So the ratio is that of the whole, the load is a process of its own whose time is told, and beside the rate
on the clock stands the one that its processor time allows, which others who use the machine do not change.
"""

from __future__ import annotations

import asyncio
import json
import os
import resource
import statistics
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import asyncpg
import click

from tests.benchmarks.__main__ import PROJECT, SETTINGS, bodies, database, drive, learn
from tests.benchmarks.load import Job
from tests.benchmarks.operations import OPERATIONS
from tests.benchmarks.processes import below, cpu_of_all, parent_of, pinned
from tests.benchmarks.serving import Running, running

RESULTS = Path(__file__).with_name("workers.json")
CHOSEN = {"order by id": "point read", "page of 50": "list", "nested create": "nested create"}
#: How many workers there are on how many cores.
PLACES = {"one worker, one core": (1, 1), "one worker, two cores": (1, 2), "two workers, two cores": (2, 2)}
ORDERS, WRITES_PER_SECOND, WARM_SECONDS = 5_000, 2_500, 1.0


@dataclass(frozen=True)
class Took:
    """A round: requests a second, milliseconds, microseconds of processor a request, and how much of the work each worker did."""

    rate: float
    p50: float
    p99: float
    server: float
    database: float
    load: float
    least_share: float

    def allowed(self, cores: int) -> float:
        """The requests a second that so many cores have time for."""
        return cores / (self.server + self.database + self.load) * 1e6


async def postmaster(url: str) -> int:
    """The process whose children serve a database of this machine."""
    connection = await asyncpg.connect(url)
    try:
        return parent_of(await connection.fetchval("SELECT pg_backend_pid()"))
    finally:
        await connection.close()


def load_seconds() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


@contextmanager
def kept_on(cores: list[int], server: Running, database_pid: int) -> Iterator[None]:
    """Keep a server, the database and the load, which this process begins, on some cores."""
    with pinned([*below(server.pid), *below(database_pid), os.getpid()], set(cores)):
        yield


def to_begin(port: int, body: str) -> float:
    """The processor time that the load takes before it sends: that of a process and its imports."""
    before = load_seconds()
    drive(Job(port, 0.05, 1, [body]))
    return load_seconds() - before


def measured(server: Running, database_pid: int, job: Job, beginning: float) -> Took:
    pids = [server.pid, database_pid]
    workers = list(below(server.pid))[1:] or [server.pid]
    before, each, load = [cpu_of_all(pid) for pid in pids], [cpu_of_all(pid) for pid in workers], load_seconds()
    found = drive(job)
    used = [(cpu_of_all(pid) - past) / found.answers * 1e6 for pid, past in zip(pids, before, strict=True)]
    did = [cpu_of_all(pid) - past for pid, past in zip(workers, each, strict=True)]
    load = max(0.0, load_seconds() - load - beginning) / found.answers * 1e6
    share = min(did) / max(sum(did), 1e-9)
    return Took(found.answers / found.seconds, found.p50, found.p99, used[0], used[1], load, share)


def machine() -> dict[str, Any]:
    """What it was measured on."""
    names = [line for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name")]
    return {"cores": os.cpu_count(), "processor": names[0].partition(": ")[2] if names else "unknown"}


def mid(rounds: list[dict[str, float]], name: str) -> float:
    return statistics.median(each[name] for each in rounds)


def table(found: dict[str, Any]) -> str:
    """The table of the page: medians, and medians of each round's ratio to one worker on one core."""
    lines = [
        "| operation | | requests/s | of one | p50, p99 ms | workers us | database us | load us | by processor time | of one |\n",
        "|---|---|---|---|---|---|---|---|---|---|\n",
    ]
    for operation, places in found["results"].items():
        first = places[next(iter(PLACES))]
        for place, (_, cores) in PLACES.items():
            rounds = places[place]
            rates = [mine["rate"] / its["rate"] for mine, its in zip(rounds, first, strict=True)]
            allowed = [[Took(**each).allowed(on) for each in of] for of, on in ((rounds, cores), (first, 1))]
            ratios = [mine / its for mine, its in zip(*allowed, strict=True)]
            cells = [
                operation,
                place,
                f"{mid(rounds, 'rate'):,.0f}",
                f"{statistics.median(rates):.2f}",
                f"{mid(rounds, 'p50'):.1f} / {mid(rounds, 'p99'):.1f}",
                *(f"{mid(rounds, name):,.0f}" for name in ("server", "database", "load")),
                f"{statistics.median(allowed[0]):,.0f}",
                f"{statistics.median(ratios):.2f}",
            ]
            lines.append(f"| {' | '.join(cells)} |\n")
    shares = [each["least_share"] for places in found["results"].values() for each in places["two workers, two cores"]]
    return (
        f"{''.join(lines)}\nOf the work of two workers the one with less to do did {statistics.median(shares):.0%}, "
        f"the median of all rounds;\n{min(shares):.0%} in the round where it was least.\n"
    )


@click.command()
@click.option("--rounds", default=5, show_default=True, type=click.IntRange(1), help="Rounds; medians are shown.")
@click.option("--seconds", default=2.0, show_default=True, type=click.FloatRange(0.1), help="Time of one measurement.")
@click.option("--connections", default=16, show_default=True, type=click.IntRange(2), help="Connections of the load.")
@click.option("--out", type=click.Path(dir_okay=False, path_type=Path), help=f"Keep what was found, such as in {RESULTS.name}.")
def main(rounds: int, seconds: float, connections: int, out: Path | None) -> None:
    """Measure what a second worker buys."""
    cores = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_setaffinity") else []
    if len(cores) < 2:
        raise click.ClickException("two cores are needed, and a system that keeps processes on some")
    results: dict[str, dict[str, list[dict[str, float]]]] = {}
    with database(ORDERS, sqlite=False) as url, ExitStack() as stack:
        facts = asyncio.run(learn(url, ORDERS))
        database_pid = asyncio.run(postmaster(url))
        environment = {"DATABASE_URL": url, **SETTINGS}
        servers = {
            number: stack.enter_context(running(f"{number}", [*PROJECT, "--workers", str(number)], environment, None))
            for number in sorted({number for number, _ in PLACES.values()})
        }
        beginning = min(to_begin(server.port, '{"query":"{__typename}"}') for server in servers.values())
        for operation in (each for each in OPERATIONS if each.name in CHOSEN):
            mine = results.setdefault(CHOSEN[operation.name], {place: [] for place in PLACES})
            for turn in range(rounds + 1):
                for place, (number, on) in PLACES.items():
                    time = seconds if turn else WARM_SECONDS
                    seed = f"{operation.name.replace(' ', '')}{turn}{number}{on}"
                    sent = bodies(operation, facts, int(WRITES_PER_SECOND * time) if operation.writes else 500, seed)[1]
                    with kept_on(cores[:on], servers[number], database_pid):
                        job = Job(servers[number].port, time, connections, sent, operation.writes)
                        took = measured(servers[number], database_pid, job, beginning)
                    if turn:
                        mine[place].append(asdict(took))
    found = {"machine": machine(), "connections": connections, "seconds": seconds, "results": results}
    click.echo(table(found))
    if out is not None:
        out.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()

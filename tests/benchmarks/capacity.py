"""What a machine holds: `python -m tests.benchmarks.capacity`, measured costs and a simulation that is made of them.

What goes in: options. What comes out: what each kind of operation costs, what a worker, a connection, a subscriber and a backend
hold in memory; a real run beside the same run simulated; and what machines answer for two profiles of a shop. `--out` keeps all
of it for `docs/capacity.md`. The exit status is 1 where the simulation is further from the real run than `RATE_FACTOR` and
`P99_FACTOR`. What is refused here: an answer with errors.

Costs are processor time, which others who use the machine change least. In the real run of an otherwise idle machine the server,
the database and the load have it to themselves; where they had less of it, the simulation is given as much less.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import statistics
import time
from contextlib import AsyncExitStack
from dataclasses import asdict
from pathlib import Path
from typing import Any

import asyncpg
import click

from graph.base import Base
from graph.database import Database
from graph.feed.sequence import number_some
from graph.settings import Settings
from tests.benchmarks import told
from tests.benchmarks.__main__ import PROJECT, SETTINGS, database, drive, learn
from tests.benchmarks.kinds import KINDS, Connection, Measured, connected, measure, posted
from tests.benchmarks.load import Job
from tests.benchmarks.operations import Facts
from tests.benchmarks.page import P99_FACTOR, RATE_FACTOR, TABLES
from tests.benchmarks.processes import below, command_of, cpu_of_all, pinned, proportional_mb
from tests.benchmarks.serving import Running, running, share_cores
from tests.benchmarks.simulation import Cost, Load, Machines, bound, most, simulate
from tests.benchmarks.workers import load_seconds, machine, postmaster, to_begin
from tests.subscribers import socket

RESULTS = Path(__file__).with_name("capacity.json")
ORDERS = 5_000
#: What goes with one new order.
PROFILES = {
    "storefront": {
        "point read": 30.0,
        "kept answer, 304": 30.0,
        "list of 50": 20.0,
        "20 nested orders": 1.0,
        "stock move": 0.2,
        "nested create": 1.0,
    },
    "back office": {
        "point read": 10.0,
        "list of 50": 10.0,
        "20 nested orders": 10.0,
        "summary of a month": 1.0,
        "update": 4.0,
        "bulk change of 100": 0.1,
        "nested create": 1.0,
    },
}
#: Cores of the workers, a worker each, and cores of the database.
SHAPES = ((1, 1), (2, 2), (4, 4), (8, 8), (16, 16))
#: How long a COMMIT waits for its disk, and within which time 99 of 100 are to be answered.
COMMIT_SECONDS, WITHIN_SECONDS = 0.001, 0.1
#: A shop to count by: its orders a day, and the part of them in its busiest hour.
ORDERS_A_DAY, BUSIEST = 1_000, 0.1
#: The real run: kinds and their weights, and connections.
REAL, CLIENTS = {"point read": 12.0, "list of 50": 6.0, "20 nested orders": 2.0, "update": 1.0, "nested create": 1.0}, 12
CONNECTIONS, SUBSCRIBERS, WRITES_A_SECOND = 400, 200, 5.0


# ---- what is measured


def costs_of(found: dict[str, dict[str, Any]]) -> dict[str, Cost]:
    """What the simulation is told of each kind."""
    return {
        name: Cost(
            each["server_us"] / 1e6,
            each["database_us"] / 1e6,
            each["statements"],
            each["locks_at"],
            commits=KINDS[name].writes,
        )
        for name, each in found.items()
    }


def middle(rounds: list[Measured]) -> dict[str, Any]:
    """Medians over the rounds of what differs from one to the other."""
    names = ("server_us", "database_us", "answer_bytes", "log_bytes", "changes")
    return asdict(rounds[0]) | {name: statistics.median(getattr(each, name) for each in rounds) for name in names}


async def held_by_clients(server: Running) -> tuple[float, float]:
    """Kilobytes that a server which has served nobody holds for a silent connection, and for a subscriber."""

    def held() -> float:
        return sum(proportional_mb(pid) or 0.0 for pid in below(server.pid)) * 1024

    async def first(connection: Connection) -> None:
        await connection.ask(posted("{ __typename }", {}))

    async with AsyncExitStack() as stack:
        await first(await connected(server.port))
        before = held()
        idle = [await connected(server.port) for _ in range(CONNECTIONS)]
        for each in idle:
            await first(each)
        silent = (held() - before) / CONNECTIONS
        before = held()
        for _ in range(SUBSCRIBERS):
            client = await stack.enter_async_context(socket(server.port, open_timeout=60))
            await (await client.init()).subscribe("1", told.TOLD)
        await asyncio.sleep(1)
        subscribers = (held() - before) / SUBSCRIBERS
        for each in idle:
            each.writer.close()
    return silent, subscribers


def held_by_a_backend(database_pid: int) -> float:
    """Megabytes of a connection to the database, at the database."""
    backends = [pid for pid in below(database_pid) if "[local]" in command_of(pid)]
    return statistics.median(proportional_mb(pid) or 0.0 for pid in backends) if backends else 0.0


def events(server: Running, item: str, rounds: int, seconds: float) -> float:
    """Microseconds of the server's processor for one event at one more subscriber."""
    found = []
    for _ in range(rounds):
        alone, _, written = asyncio.run(told.measure(server, item, 1, WRITES_A_SECOND, 2 * seconds, polling=False))
        used, heard, wrote = asyncio.run(told.measure(server, item, SUBSCRIBERS, WRITES_A_SECOND, 2 * seconds, polling=False))
        found.append((used - wrote * alone / written) / (len(heard.seconds) - wrote) * 1e6)
    return max(1.0, statistics.median(found))


async def sequencing(url: str, database_pid: int, rows: int = 20_000) -> float:
    """Microseconds of processor, the process's and the database's, to give one change its place."""
    columns = ", ".join(
        f'"{each.name}"' for each in Base.metadata.tables["changes"].columns if each.name not in ("id", "position")
    )
    connection = await asyncpg.connect(url)
    opened = Database(Settings(database_url=url))
    try:
        while await number_some(opened):
            pass
        some = f"(SELECT {columns} FROM changes ORDER BY id LIMIT 200) AS copied, generate_series(1, {rows // 200})"
        await connection.execute(f"INSERT INTO changes ({columns}) SELECT {columns} FROM {some}")
        before, own, numbered = cpu_of_all(database_pid), time.process_time(), 0
        while found := await number_some(opened):
            numbered += found
        return (cpu_of_all(database_pid) - before + time.process_time() - own) / numbered * 1e6
    finally:
        await opened.close()
        await connection.close()


# ---- the simulation beside a real run


def real(
    server: Running, facts: Facts, database_pid: int, seconds: float, kinds: dict[str, float], seed: str
) -> dict[str, float]:
    """A run of a mix of kinds: requests a second, milliseconds, the processor time of the load, and how many cores were busy."""
    chance, names = random.Random(seed), list(kinds)
    sent = []
    for number in range(int(4_000 * seconds)):
        kind = KINDS[chance.choices(names, list(kinds.values()))[0]]
        variables = kind.variables(chance, facts, f"{seed}-{number}")
        sent.append(json.dumps({"query": kind.query, "variables": variables}))
    beginning = to_begin(server.port, '{"query":"{__typename}"}')
    before, load = [cpu_of_all(pid) for pid in (server.pid, database_pid)], load_seconds()
    found = drive(Job(server.port, seconds, CLIENTS, sent, once=True))
    used = [cpu_of_all(pid) - past for pid, past in zip((server.pid, database_pid), before, strict=True)]
    load = max(0.0, load_seconds() - load - beginning)
    return {
        "rate": found.answers / found.seconds,
        "p50": found.p50,
        "p99": found.p99,
        "client_us": load / found.answers * 1e6,
        "cores_used": (sum(used) + load) / found.seconds,
        "busy_us": sum(used) / found.answers * 1e6,
    }


def simulated(costs: dict[str, Cost], ran: dict[str, float], kinds: dict[str, float], cores: int) -> dict[str, float]:
    """The same run simulated, on as much of the machine as the real one had."""
    machines = Machines(cores, 1, connections=int(SETTINGS["ORDERGRAPH_POOL_SIZE"]), client=ran["client_us"] / 1e6)
    found = simulate(costs, machines, Load(kinds, clients=CLIENTS), answers=6_000)
    had = min(1.0, ran["cores_used"] / (found.busy["cores of the workers"] * cores))
    return {
        "rate": found.rate * had,
        "p50": found.percentile(0.5) * 1e3 / had,
        "p99": found.percentile(0.99) * 1e3 / had,
        "had": had,
    }


def validated(costs: dict[str, Cost], rounds: list[dict[str, float]], kinds: dict[str, float], cores: int) -> dict[str, Any]:
    """Medians of the rounds, real and simulated, and how far they are from each other."""
    played = [simulated(costs, ran, kinds, cores) for ran in rounds]
    of = {
        name: {each: statistics.median(ran[each] for ran in runs) for each in ("rate", "p50", "p99")}
        for name, runs in (("real", rounds), ("simulated", played))
    }
    ratios = {
        each: statistics.median(mine[each] / its[each] for mine, its in zip(played, rounds, strict=True))
        for each in ("rate", "p99")
    }
    return {**of, "had": statistics.median(each["had"] for each in played), "ratios": ratios}


def holds(found: dict[str, Any]) -> bool:
    """Whether the simulation is as near to the real run as it has to be."""
    near = {"rate": RATE_FACTOR, "p99": P99_FACTOR}
    return all(1 / factor <= found["validation"]["ratios"][name] <= factor for name, factor in near.items())


# ---- what follows


def followed(costs: dict[str, Cost], found: dict[str, Any]) -> list[dict[str, Any]]:
    """What each machine answers for each profile."""
    rows = []
    for profile, mix in PROFILES.items():
        for workers, cores in SHAPES:
            machines = Machines(workers, workers, 15, cores, COMMIT_SECONDS)
            answered = most(costs, machines, Load(mix), within=WITHIN_SECONDS)
            total, each = sum(mix.values()), answered.rate
            orders = each * mix["nested create"] / total
            measured = found["costs"]
            rows.append(
                {
                    "profile": profile,
                    "workers": workers,
                    "database_cores": cores,
                    "rate": each,
                    "orders": orders,
                    "shops": orders / (ORDERS_A_DAY * BUSIEST / 3600),
                    "p99": answered.percentile(0.99) * 1e3,
                    "of_bound": each / bound(costs, machines, mix),
                    "fullest": "workers" if "worker" in answered.fullest else answered.fullest,
                    "database_busy": answered.busy.get("cores of the database", 0.0),
                    "log_mb": sum(part / total * measured[kind]["log_bytes"] for kind, part in mix.items()) * each / 1e6,
                    "changes": sum(part / total * measured[kind]["changes"] for kind, part in mix.items()) * each,
                }
            )
    return rows


def hot(costs: dict[str, Cost]) -> dict[str, float]:
    """Orders a second of one item, whatever the machine: constant times, and a COMMIT that waits for its disk."""
    machines = Machines(64, 64, 15, 64, COMMIT_SECONDS)
    found = {}
    for name in ("nested create", "stock move"):
        outcome = simulate(costs, machines, Load({name: 1.0}, clients=128, hot=1.0), answers=3_000)
        found[name] = outcome.rate
    return found


# ---- the command


def item_of(server: Running) -> str:
    found: str = json.loads(server.ask('{"query":"{ items(first: 1) { nodes { id } } }"}'))["data"]["items"]["nodes"][0]["id"]
    return found


async def plenty(url: str) -> None:
    """Every item is tracked, and there is enough of it."""
    connection = await asyncpg.connect(url)
    await connection.execute("UPDATE item SET stock = 100000000")
    await connection.execute("VACUUM ANALYZE")
    await connection.close()


def measured(rounds: int, seconds: float) -> dict[str, Any]:
    """All that is measured. The server has a core of its own, but in the real run, which has all of them."""
    every = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else set()
    core = share_cores()
    with database(ORDERS, sqlite=False) as url:
        asyncio.run(plenty(url))
        facts, database_pid = asyncio.run(learn(url, ORDERS)), asyncio.run(postmaster(url))
        with running("unused", PROJECT, {"DATABASE_URL": url, **SETTINGS}, core) as server:
            silent, subscriber = asyncio.run(held_by_clients(server))
        with running("capacity", PROJECT, {"DATABASE_URL": url, **SETTINGS}, core) as server:
            found: dict[str, list[Measured]] = {name: [] for name in KINDS}
            for turn in range(rounds):
                for number, (name, kind) in enumerate(KINDS.items()):
                    seed = f"{turn}-{number}"
                    found[name].append(asyncio.run(measure(kind, facts, server, url, database_pid, seconds, seed)))
            kinds = {name: middle(each) for name, each in found.items()}
            memories = {
                "worker_mb": proportional_mb(server.pid) or 0.0,
                "connection_kb": silent,
                "subscriber_kb": subscriber,
                "backend_mb": held_by_a_backend(database_pid),
            }
            event = events(server, item_of(server), rounds, seconds)
            with pinned([os.getpid(), *below(server.pid), *below(database_pid)], every or None):
                ran = [real(server, facts, database_pid, 2 * seconds, REAL, f"real{turn}") for turn in range(rounds)]
        sequenced = asyncio.run(sequencing(url, database_pid))
    return {
        "machine": machine(),
        "costs": kinds,
        "memory": memories,
        "event_us": event,
        "sequencing_us": sequenced,
        "ran": ran,
    }


def computed(found: dict[str, Any]) -> dict[str, Any]:
    """With what is computed of it."""
    costs = costs_of(found["costs"])
    validation = validated(costs, found["ran"], REAL, found["machine"]["cores"])
    return {**found, "validation": validation, "hot": hot(costs), "followed": followed(costs, found)}


@click.command()
@click.option("--rounds", default=3, show_default=True, type=click.IntRange(1), help="Rounds; medians are shown.")
@click.option("--seconds", default=2.0, show_default=True, type=click.FloatRange(0.1), help="Time of one measurement.")
@click.option(
    "--again", type=click.Path(exists=True, dir_okay=False, path_type=Path), help="Compute anew from what was measured."
)
@click.option("--out", type=click.Path(dir_okay=False, path_type=Path), help=f"Keep what was found, such as in {RESULTS.name}.")
def main(rounds: int, seconds: float, again: Path | None, out: Path | None) -> None:
    """Measure what operations cost, and compute what machines hold."""
    found = computed(json.loads(again.read_text(encoding="utf-8")) if again else measured(rounds, seconds))
    for made in TABLES.values():
        click.echo(made(found))
    if out is not None:
        out.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    raise SystemExit(0 if holds(found) else 1)


if __name__ == "__main__":
    main()

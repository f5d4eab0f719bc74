"""What it costs to be watched: `python -m tests.benchmarks.watched`, the point read of one server in several settings, in turn.

What goes in: options. What comes out: for each setting the processor time of a request and its ratio to `deaf`, a server in which
nothing is observed at all. `plain` is the server as it is started; `metrics` counts, `access` writes a line a request, `traces`
makes two spans of each, for a collector that is not there. What is refused here: an answer that is not a 200 with data.

Processor time is what noise hurts least; rounds are interleaved, and ratios are medians of each round's.
"""

from __future__ import annotations

import asyncio
import statistics
import sys
from contextlib import ExitStack
from typing import Any

import click

from tests.benchmarks.__main__ import SETTINGS, Round, bodies, database, drive, learn
from tests.benchmarks.load import Job
from tests.benchmarks.operations import OPERATIONS
from tests.benchmarks.serving import running, share_cores

DEAF = "deaf"
SERVERS: dict[str, dict[str, str]] = {
    DEAF: {},
    "plain": {},
    "metrics": {"ORDERGRAPH_METRICS": "true"},
    "access": {"ORDERGRAPH_METRICS": "true", "ORDERGRAPH_ACCESS_LOG": "true"},
    "traces": {"ORDERGRAPH_METRICS": "true", "ORDERGRAPH_TRACES": "true", "OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:9"},
}
POINT = "order by id"


@click.command()
@click.option("--rounds", default=9, show_default=True, type=click.IntRange(1), help="Rounds; medians are shown.")
@click.option("--seconds", default=2.0, show_default=True, type=click.FloatRange(0.1), help="Time of one measurement.")
@click.option("--connections", default=8, show_default=True, type=click.IntRange(1), help="Connections of the load.")
@click.option("--sqlite", is_flag=True, help="Measure on SQLite instead of PostgreSQL.")
def main(rounds: int, seconds: float, connections: int, sqlite: bool) -> None:
    """Measure what observation costs a point read."""
    core = share_cores()
    (operation,) = [each for each in OPERATIONS if each.name == POINT]
    with database(2_000, sqlite) as url, ExitStack() as stack:
        facts = asyncio.run(learn(url, 2_000))
        servers = []
        for name, more in SERVERS.items():
            command = ["-m", "tests.benchmarks.watched" if name == DEAF else "graph", "serve", "--no-sample"]
            servers.append(stack.enter_context(running(name, command, {"DATABASE_URL": url, **SETTINGS, **more}, core)))
        found: dict[str, list[Round]] = {server.name: [] for server in servers}
        for number in range(rounds + 1):
            for server in servers:
                sent = bodies(operation, facts, 500, f"{number}")[1]
                before = server.cpu_seconds()
                measured = drive(Job(server.port, seconds if number else 1.0, connections, sent))
                cpu = ((server.cpu_seconds() or 0) - (before or 0)) / measured.answers * 1e6
                if number:
                    found[server.name].append(Round(measured.answers / measured.seconds, measured.p50, measured.p99, cpu))
    click.echo(f"{'server':<8} {'req/s':>8} {'p50 ms':>8} {'CPU us':>8} {'of deaf':>8}")
    for name, its in found.items():
        ratio = statistics.median(used(mine) / used(theirs) for mine, theirs in zip(its, found[DEAF], strict=True))
        rate, p50, cpu = (statistics.median(map(of, its)) for of in (lambda each: each.rate, lambda each: each.p50, used))
        click.echo(f"{name:<8} {rate:>8,.0f} {p50:>8.2f} {cpu:>8,.0f} {ratio:>8.3f}")


def used(measured: Round) -> float:
    """The processor time of a request."""
    return measured.cpu_microseconds or 0.0


def serve_deaf() -> None:
    """`serve`, where nothing is observed."""
    from graph.__main__ import main as command
    from graph.database.telling import Watch
    from graph.observations import Operation

    nothing: Any = lambda self, *_: self  # noqa: E731  # it stands for several
    operation: Any = Operation
    operation.__enter__, operation.__exit__ = nothing, lambda *_: None
    watch: Any = Watch
    watch.__init__ = lambda self, *_: setattr(self, "answered", 0.0)
    watch.began = watch.ended = nothing
    command(prog_name="ordergraph")


if __name__ == "__main__":
    serve_deaf() if sys.argv[1:2] == ["serve"] else main()

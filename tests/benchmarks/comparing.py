"""Servers under the same load in turn, and what a request costs each of them.

What goes in: servers, what each is asked in a round, the options of a run. What comes out: a table with the rate, the time and
the processor time of a request on each server, and the ratio of that to the first one's. What is refused here: an answer that is
not a 200 with data, and a system that does not tell processor time.

Processor time is what noise hurts least; rounds are interleaved, and ratios are medians of each round's.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from typing import TypeVar

import click

from tests.benchmarks.__main__ import WARM_UP_SECONDS, Round, measure
from tests.benchmarks.load import Job
from tests.benchmarks.serving import Running

F = TypeVar("F", bound=Callable[..., None])

OPTIONS = (
    click.option("--rounds", default=9, show_default=True, type=click.IntRange(1), help="Rounds; medians are shown."),
    click.option("--seconds", default=2.0, show_default=True, type=click.FloatRange(0.1), help="Time of one measurement."),
    click.option("--connections", default=8, show_default=True, type=click.IntRange(1), help="Connections of the load."),
    click.option("--sqlite", is_flag=True, help="Measure on SQLite instead of PostgreSQL."),
)


def options(command: F) -> F:
    """The options of a command that compares servers."""
    for option in reversed(OPTIONS):
        command = option(command)
    return command


def compare(
    servers: Sequence[Running], asked: Callable[[str, int], tuple[list[str], str]], rounds: int, seconds: float, connections: int
) -> None:
    """Measure the servers and print the table. `asked` are the bodies for one in a round, and what they say of their sender."""
    found: dict[str, list[Round]] = {server.name: [] for server in servers}
    for number in range(rounds + 1):
        for server in servers:
            bodies, sender = asked(server.name, number)
            time = seconds if number else WARM_UP_SECONDS
            measured = measure(server, Job(server.port, time, connections, bodies, authorization=sender))
            if number:
                found[server.name].append(measured)
    base = servers[0].name
    click.echo(f"{'server':<8} {'req/s':>8} {'p50 ms':>8} {'CPU us':>8} {f'of {base}':>8}")
    for name, its in found.items():
        ratio = statistics.median(used(mine) / used(theirs) for mine, theirs in zip(its, found[base], strict=True))
        rate, p50, cpu = (statistics.median(map(of, its)) for of in (lambda each: each.rate, lambda each: each.p50, used))
        click.echo(f"{name:<8} {rate:>8,.0f} {p50:>8.2f} {cpu:>8,.0f} {ratio:>8.3f}")


def used(measured: Round) -> float:
    """The processor time of a request, in microseconds."""
    if measured.cpu_microseconds is None:
        raise click.ClickException("this system does not tell the processor time of another process")
    return measured.cpu_microseconds

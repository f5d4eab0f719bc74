"""What it costs to be somebody: `python -m tests.benchmarks.viewers`, one point read as asked by each kind of viewer, in turn.

What goes in: options. What comes out: for each kind the processor time of a request and its ratio to `open`, a server that asks
nobody who he is. `scoped` has a token with scopes, `bound` one that belongs to the customer whose orders all of them read. What
is refused here: an answer that is not a 200 with data.

Processor time is what noise hurts least; rounds are interleaved, and ratios are medians of each round's.
"""

from __future__ import annotations

import asyncio
import json
import statistics
import time
from contextlib import ExitStack

import click
import jwt

from graph.context import Context
from graph.database import Database
from graph.schema import schema
from graph.settings import Settings
from tests.benchmarks.__main__ import PROJECT, SETTINGS, database, drive
from tests.benchmarks.load import Job
from tests.benchmarks.operations import ORDER
from tests.benchmarks.serving import running, share_cores

SECRET, AUDIENCE = "of the benchmark, and long enough", "benchmark"
AUTH = {"ORDERGRAPH_AUTH": "on", "ORDERGRAPH_JWT_SECRET": SECRET, "ORDERGRAPH_JWT_AUDIENCE": AUDIENCE}
OPEN = "open"
CUSTOMER = 'query { customer(by: {id: "Customer:1"}) { id orders(first: 100) { nodes { id } } } }'
READ = f"query($id: ID!) {{ order(by: {{id: $id}}) {{ {ORDER} }} }}"


@click.command()
@click.option("--rounds", default=9, show_default=True, type=click.IntRange(1), help="Rounds; medians are shown.")
@click.option("--seconds", default=2.0, show_default=True, type=click.FloatRange(0.1), help="Time of one measurement.")
@click.option("--connections", default=8, show_default=True, type=click.IntRange(1), help="Connections of the load.")
@click.option("--sqlite", is_flag=True, help="Measure on SQLite instead of PostgreSQL.")
def main(rounds: int, seconds: float, connections: int, sqlite: bool) -> None:
    """Measure what a token costs a point read."""
    core = share_cores()
    with database(2_000, sqlite) as url, ExitStack() as stack:
        customer, orders = asyncio.run(of_one_customer(url))
        bodies = [json.dumps({"query": READ, "variables": {"id": order}}) for order in orders]
        tokens = {OPEN: "", "scoped": token(), "bound": token(customer=customer)}
        servers = {}
        for name, sent in tokens.items():
            known = (
                {"ORDERGRAPH_AUTH": "on", "ORDERGRAPH_JWT_SECRET": SECRET, "ORDERGRAPH_JWT_AUDIENCE": AUDIENCE} if sent else {}
            )
            servers[name] = stack.enter_context(running(name, PROJECT, {"DATABASE_URL": url, **SETTINGS, **known}, core))
        found: dict[str, list[tuple[float, float]]] = {name: [] for name in servers}
        for number in range(rounds + 1):
            for name, server in servers.items():
                before = server.cpu_seconds()
                job = Job(server.port, seconds if number else 1.0, connections, bodies, authorization=tokens[name])
                measured = drive(job)
                used = ((server.cpu_seconds() or 0) - (before or 0)) / measured.answers * 1e6
                if number:
                    found[name].append((measured.answers / measured.seconds, used))
    click.echo(f"{'viewer':<8} {'req/s':>8} {'CPU us':>8} {'of open':>8}")
    for name, its in found.items():
        ratio = statistics.median(mine / theirs for (_, mine), (_, theirs) in zip(its, found[OPEN], strict=True))
        rate, used = (statistics.median(each[place] for each in its) for place in (0, 1))
        click.echo(f"{name:<8} {rate:>8,.0f} {used:>8,.0f} {ratio:>8.3f}")


def token(**claims: str) -> str:
    """What `Authorization` says for an hour."""
    given = {"sub": "somebody", "scope": "read", "aud": AUDIENCE, "exp": int(time.time()) + 3_600, **claims}
    return f"Bearer {jwt.encode(given, SECRET, 'HS256')}"


async def of_one_customer(url: str) -> tuple[str, list[str]]:
    """A customer and his orders, by their ids."""
    opened = Database(Settings(database_url=url))
    try:
        answer = await schema.engine(opened).run(CUSTOMER, {}, None, Context(opened))
    finally:
        await opened.close()
    customer = json.loads(answer.data or b"")["customer"]
    return customer["id"], [order["id"] for order in customer["orders"]["nodes"]]


if __name__ == "__main__":
    main()

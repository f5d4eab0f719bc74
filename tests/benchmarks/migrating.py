"""What it takes to bring many shops to one schema: `python -m tests.benchmarks.migrating`.

What goes in: how many shops. What comes out: seconds for making them, for finding that nothing is to be done, and for migrating
all of them over one and over all migrations, each by the command that an operator runs. Nothing is refused here.
"""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from time import perf_counter

import click

from graph import migrate
from graph.settings import Settings
from graph.shops.deployment import Deployment
from tests import postgres


def run(url: str, *arguments: str) -> float:
    """The seconds that a command takes, its start included."""
    began = perf_counter()
    environment = {**os.environ, "DATABASE_URL": url, "ORDERGRAPH_SHOPS": "on"}
    subprocess.run([sys.executable, "-m", "graph", *arguments], env=environment, check=True, stdout=subprocess.DEVNULL)
    return perf_counter() - began


async def make(url: str, number: int) -> float:
    deployment = Deployment(Settings(database_url=url, shops=True))
    began = perf_counter()
    for each in range(number):
        await deployment.create(f"shop-{each:05}", [f"shop-{each}.example"])
    return perf_counter() - began


@click.command()
@click.option("--shops", default=1_000, show_default=True, help="How many shops.")
def main(shops: int) -> None:
    """Measure the migrations of many shops on a PostgreSQL that is made for it."""
    before, first = migrate.revisions()[1], migrate.revisions()[-1]
    with postgres.server() as server:

        def told(what: str, seconds: float) -> None:
            load = os.getloadavg()[0]
            click.echo(f"{what:<40} {seconds:>7.1f} s  {seconds / shops * 1_000:>6.1f} ms a shop  (load {load:.1f})")

        told(f"{shops:,} shops made, a connection each", asyncio.run(make(server.url, shops)))
        told("nothing to do", run(server.url, "migrate"))
        for revision in (before, first, "base"):
            run(server.url, "migrate", "--down-to", revision)
            told(f"from {revision} to {migrate.head()}", run(server.url, "migrate"))


if __name__ == "__main__":
    main()

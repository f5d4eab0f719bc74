"""Reads from a standby: `python -m tests.benchmarks.replicas`, whether any is stale, and what it costs to bring a token.

What goes in: options. What comes out: of so many pairs of a write and the read that brings its token, while the replay of the
standby is held and let go at random, how many were stale and how many the standby answered. Then the point read with and without
a token in turn, and the one of a server that has no replicas: processor time of this process, which is the server and its client,
and time on the clock, medians. At last the primary, whose writes wait for the standby, is ended under load and the standby
promoted: after how long a write is acknowledged again, how many acknowledged ones are lost, how many queries were refused. The
exit status is 1 where any is stale, lost or refused. What is refused here: an answer with errors, where nothing was ended.
"""

from __future__ import annotations

import asyncio
import itertools
import random
import statistics
import time
from collections import Counter
from dataclasses import dataclass
from typing import Any

import asyncpg
import click
import orjson
from starlette.applications import Starlette

from graph.serve.app import create_app, tune_collector
from graph.settings import Settings
from tests.audit import rows_of
from tests.benchmarks import data
from tests.benchmarks.__main__ import bodies, learn
from tests.benchmarks.operations import OPERATIONS
from tests.remote import send
from tests.standbys import CREATE, FIND, Pair, paired, replicated

TOKEN = b"x-ordergraph-read-after"
#: Orders in the data, and requests that follow each other before another way has its turn.
ORDERS, BLOCK = 2_000, 50


async def ask(app: Starlette, body: bytes, token: bytes = b"") -> tuple[dict[bytes, bytes], bytes]:
    """The headers and the body of an answer, without a socket."""
    headers = [(b"content-type", b"application/json"), *([(TOKEN, token)] if token else [])]
    sent: list[Any] = []

    async def receive() -> Any:
        return {"type": "http.request", "body": body, "more_body": False}

    async def send(message: Any) -> None:
        sent.append(message)

    await app({"type": "http", "method": "POST", "path": "/graphql", "query_string": b"", "headers": headers}, receive, send)
    assert b'"errors":[{' not in sent[1]["body"], sent[1]["body"]
    return dict(sent[0]["headers"]), sent[1]["body"]


async def hold(pair: Pair) -> None:
    """Hold the replay and let it go at random, until cancelled."""
    connection = await asyncpg.connect(pair.standby.url)
    drawn = random.Random(16)
    try:
        while True:
            await connection.execute("SELECT pg_wal_replay_pause()")
            await asyncio.sleep(drawn.uniform(0, 0.05))
            await connection.execute("SELECT pg_wal_replay_resume()")
            await asyncio.sleep(drawn.uniform(0, 0.05))
    finally:
        await connection.execute("SELECT pg_wal_replay_resume()")
        await connection.close()


async def pairs(pair: Pair, number: int, writers: int) -> tuple[int, Counter[str]]:
    """How many of so many reads were stale, and what became of them at the standby."""
    stale = 0
    left = iter(range(number))
    async with replicated(pair) as (asked, told):
        app = asked.app

        async def writer() -> None:
            nonlocal stale
            for each in left:
                variables = {"sku": f"P{each}"}
                headers, _ = await ask(app, orjson.dumps({"query": CREATE, "variables": variables}))
                await asyncio.sleep(random.choice((0, 0.02)))  # some at once, some later
                _, found = await ask(app, orjson.dumps({"query": FIND, "variables": variables}), headers[TOKEN])
                stale += found != b'{"data":{"item":{"sku":"P%d"}}}' % each

        holding = asyncio.create_task(hold(pair))
        async with asyncio.TaskGroup() as group:
            for _ in range(writers):
                group.create_task(writer())
        holding.cancel()
        await asyncio.wait([holding])
        return stale, Counter(told)


async def cost(pair: Pair, rounds: int) -> dict[str, tuple[float, float, float]]:
    """For each way of the point read processor time and time of one, in microseconds, and the first's ratio to no token."""
    (operation,) = [each for each in OPERATIONS if each.name == "order by id"]
    asked = [body.encode() for body in bodies(operation, await learn(pair.primary.url, ORDERS), 500, "replicas")[1]]
    alone = create_app(Settings(database_url=pair.primary.url))
    found: dict[str, list[tuple[float, float]]] = {"no replicas": [], "no token": [], "token": []}
    async with replicated(pair) as (there, told), alone.router.lifespan_context(alone):
        headers, _ = await ask(there.app, orjson.dumps({"query": CREATE, "variables": {"sku": "COST"}}))
        await pair.caught_up()
        tune_collector()
        ways = {"no replicas": (alone, b""), "no token": (there.app, b""), "token": (there.app, headers[TOKEN])}
        for number in range(rounds + 5):
            for name in random.sample(list(ways), len(ways)):
                app, token = ways[name]
                chosen = random.sample(asked, BLOCK)
                processor, began = time.thread_time(), time.perf_counter()
                for body in chosen:
                    await ask(app, body, token)
                if number >= 5:
                    found[name].append(
                        ((time.thread_time() - processor) / BLOCK * 1e6, (time.perf_counter() - began) / BLOCK * 1e6)
                    )
        assert set(told) == {"answered"}, Counter(told)
    return {
        name: (
            statistics.median(used for used, _ in blocks),
            statistics.median(passed for _, passed in blocks),
            statistics.median(used / other for (used, _), (other, _) in zip(blocks, found["no token"], strict=True)),
        )
        for name, blocks in found.items()
    }


@dataclass
class Failover:
    """What a failover did to those who wrote and read. Times are seconds from the end of the primary."""

    promoted: float = 0.0
    writes_again: float = 0.0
    acknowledged: int = 0
    lost: int = 0
    reads: int = 0
    reads_refused: int = 0


async def fail_over(pair: Pair, writers: int) -> Failover:
    """End the primary under load and promote the standby."""
    await rows_of(pair.primary.url, "ALTER SYSTEM SET synchronous_standby_names = '*'", "SELECT pg_reload_conf()")
    found, ended, over = Failover(), 0.0, False
    times: dict[str, float] = {}
    async with replicated(pair, database_url=pair.url) as (there, _):

        async def write(number: int) -> None:
            for each in itertools.count():
                sku = f"F{number}-{each}"
                answer = await send(there, CREATE, {"sku": sku})
                if answer.status == 200 and answer.body["data"]["createItem"]["item"]:
                    times[sku] = time.perf_counter()
                if over:
                    return

        async def read() -> None:
            while not over:
                answer = await send(there, FIND, {"sku": "P0"})
                found.reads += 1
                found.reads_refused += answer.status != 200 or answer.body != {"data": {"item": {"sku": "P0"}}}
                await asyncio.sleep(0.005)

        tasks = [asyncio.create_task(each) for each in (*map(write, range(writers)), read(), read())]
        await asyncio.sleep(2)
        ended = time.perf_counter()
        await asyncio.to_thread(pair.primary.stop, "immediate")
        await asyncio.to_thread(pair.promote)
        found.promoted = time.perf_counter() - ended
        await asyncio.sleep(8)
        over = True
        await asyncio.gather(*tasks)
    [rows] = await rows_of(pair.standby.url, "SELECT sku FROM item WHERE sku LIKE 'F%'")
    found.writes_again = min(at for at in times.values() if at > ended + found.promoted / 2) - ended
    found.acknowledged, found.lost = len(times), len(times.keys() - {sku for (sku,) in rows})
    return found


@click.command()
@click.option("--pairs", "number", default=10_000, show_default=True, type=click.IntRange(1), help="Pairs of a write and a read.")
@click.option("--writers", default=8, show_default=True, type=click.IntRange(1), help="Writers beside each other.")
@click.option("--rounds", default=200, show_default=True, type=click.IntRange(1), help=f"Blocks of {BLOCK} reads of each way.")
def main(number: int, writers: int, rounds: int) -> None:
    """Measure whether reads from a standby are stale, and what a token costs."""
    with paired() as pair:
        asyncio.run(data.fill_postgresql(pair.primary.url, ORDERS))
        stale, told = asyncio.run(pairs(pair, number, writers))
        click.echo(
            f"{number:,} pairs: {stale} stale; the standby answered {told['answered'] / number:.1%}, of the rest {dict(told)}"
        )
        click.echo(f"{'point read':<12} {'CPU us':>8} {'us':>8} {'CPU, of no token':>17}")
        for name, (used, passed, ratio) in asyncio.run(cost(pair, rounds)).items():
            click.echo(f"{name:<12} {used:>8,.0f} {passed:>8,.0f} {ratio:>17.3f}")
        over = asyncio.run(fail_over(pair, writers))
        click.echo(
            f"failover: promoted after {over.promoted:.2f} s, the next write acknowledged after {over.writes_again:.2f} s;"
        )
        click.echo(f"{over.lost} of {over.acknowledged:,} writes lost, {over.reads_refused} of {over.reads:,} queries refused")
    raise SystemExit(1 if stale or over.lost or over.reads_refused else 0)


if __name__ == "__main__":
    main()

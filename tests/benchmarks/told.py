"""What it costs to be told of changes: `python -m tests.benchmarks.told`, subscribers of one server while somebody writes.

What goes in: options. What comes out: for so many subscribers of one document the events a second that reach them, what one costs
the server's processor beyond the writes themselves, and how long after the mutation was sent they come; the same for clients that
ask once a second instead (`--how` chooses). What is refused here: nothing; what was missed within ten seconds is counted.

Writes come at a fixed rate, each of another version, by which its time is known. Clients and writer share the core that the
server does not have, so with a thousand subscribers much of the time is the clients' own.
"""

from __future__ import annotations

import asyncio
import re
import statistics
import time
from collections.abc import AsyncIterator, Coroutine, Iterable
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

import click
import orjson

from tests.benchmarks.__main__ import database
from tests.benchmarks.serving import Running, running, share_cores
from tests.subscribers import socket

TOLD = "subscription { changes(types: [Item]) { cursor version node { ... on Item { name } } } }"
LISTED = """query ($after: String) {
  changes(after: $after, types: [Item], first: 100) { nodes { cursor version node { ... on Item { name } } } }
}"""
WRITE = 'mutation ($name: String!) {{ updateItem(input: {{id: "{}", name: $name}}) {{ errors {{ code }} }} }}'
VERSION = '{{ item(by: {{id: "{}"}}) {{ version }} }}'
MARK = re.compile(r'"version":(\d+)')
POLL_SECONDS = 1.0
#: How clients hear of what changes: they are told, or ask every `POLL_SECONDS`.
WAYS = ("subscribe", "poll")


@dataclass
class Heard:
    """What the clients of a run have heard, all together."""

    sent: dict[int, float] = field(default_factory=dict)  # by version
    seconds: list[float] = field(default_factory=list)

    def note(self, text: str) -> int:
        """How many events a text holds. Those of writes before this run, told late where nobody listened, have no time."""
        now = time.perf_counter()
        found = [int(version) for version in MARK.findall(text)]
        self.seconds += [now - self.sent[version] for version in found if version in self.sent]
        return len(found)


class Connection:
    """One connection to the server that asks over and over."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    async def ask(self, query: str, **variables: object) -> bytes:
        body = orjson.dumps({"query": query, "variables": variables})
        head = b"POST /graphql HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n"
        self.writer.write(head + b"content-length: %d\r\n\r\n" % len(body) + body)
        answered = (await self.reader.readuntil(b"\r\n\r\n")).lower()
        size = answered.partition(b"content-length: ")[2].partition(b"\r")[0]
        return await self.reader.readexactly(int(size))


@asynccontextmanager
async def connected(port: int) -> AsyncIterator[Connection]:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        yield Connection(reader, writer)
    finally:
        writer.transport.abort()


async def listen(port: int, heard: Heard, ready: asyncio.Semaphore) -> None:
    async with socket(port, open_timeout=60) as client:
        await client.init()
        asked = {"1": TOLD, "2": "{ __typename }"}
        for name, query in asked.items():
            await client.subscribe(name, query)
        async for message in client.connection:
            text = str(message)
            heard.note(text)
            if '"type":"error"' in text:  # as who is overloaded asks for
                await asyncio.sleep(POLL_SECONDS)
                name = orjson.loads(text)["id"]
                await client.subscribe(name, asked[name])
            elif '"id":"2"' in text and '"next"' in text:
                ready.release()


async def poll(port: int, number: int, heard: Heard, ready: asyncio.Semaphore) -> None:
    async with connected(port) as connection:
        await asyncio.sleep(POLL_SECONDS * (number % 100) / 100)  # not all at once
        last = "{ changes(last: 1) { nodes { cursor } } }"
        while b'"data"' not in (answer := await connection.ask(last)):  # noqa: ASYNC110  # who is refused is told nothing later
            await asyncio.sleep(POLL_SECONDS)  # as who is overloaded asks for
        found = orjson.loads(answer)["data"]["changes"]["nodes"]
        after = found[-1]["cursor"] if found else None
        ready.release()
        while True:
            answer = await connection.ask(LISTED, after=after)
            if heard.note(answer.decode()):
                after = orjson.loads(answer)["data"]["changes"]["nodes"][-1]["cursor"]
            await asyncio.sleep(POLL_SECONDS)


@asynccontextmanager
async def together(clients: Iterable[Coroutine[Any, Any, None]]) -> AsyncIterator[None]:
    """Let clients go on while this block runs. It ends where one of them breaks."""
    async with asyncio.TaskGroup() as group:
        running = [group.create_task(client) for client in clients]
        yield
        for client in running:
            client.cancel()


async def measure(
    server: Running, item: str, number: int, rate: float, seconds: float, *, polling: bool
) -> tuple[float, Heard, int]:
    """The processor's time that the server used, what was heard, and how much was written."""
    heard, ready = Heard(), asyncio.Semaphore(0)
    async with AsyncExitStack() as stack:
        clients = (
            poll(server.port, each, heard, ready) if polling else listen(server.port, heard, ready) for each in range(number)
        )
        await stack.enter_async_context(together(clients))
        for _ in range(number):
            await ready.acquire()
        writer = await stack.enter_async_context(connected(server.port))
        await asyncio.sleep(0.5)
        before, written, until = server.cpu_seconds() or 0.0, 0, time.perf_counter() + seconds
        version = orjson.loads(await writer.ask(VERSION.format(item)))["data"]["item"]["version"]
        while (now := time.perf_counter()) < until:
            written += 1
            heard.sent[version + written] = now
            await writer.ask(WRITE.format(item), name=f"{now!r}")
            await asyncio.sleep(max(0.0, 1 / rate - (time.perf_counter() - now)))
        with suppress(TimeoutError):
            async with asyncio.timeout(10):
                while len(heard.seconds) < written * number:  # noqa: ASYNC110  # they tell nobody
                    await asyncio.sleep(0.05)
        return (server.cpu_seconds() or 0.0) - before, heard, written


@click.command()
@click.option("--subscribers", default="1,100,1000", show_default=True, help="How many, comma-separated.")
@click.option("--rate", default=20.0, show_default=True, type=click.FloatRange(0.1), help="Writes a second.")
@click.option("--seconds", default=5.0, show_default=True, type=click.FloatRange(0.1), help="Time of one measurement.")
@click.option("--how", type=click.Choice([*WAYS, "both"]), default="both", show_default=True, help="How clients are told.")
@click.option("--sqlite", is_flag=True, help="Measure on SQLite instead of PostgreSQL.")
def main(subscribers: str, rate: float, seconds: float, how: str, sqlite: bool) -> None:
    """Measure what it costs to tell subscribers, and to be asked by as many clients instead."""
    core = share_cores()
    click.echo(f"{'how':<12} {'clients':>8} {'events/s':>9} {'CPU us':>8} {'p50 ms':>8} {'p99 ms':>8} {'missed':>7}")
    with (
        database(2_000, sqlite) as url,
        running("told", ["-m", "graph", "serve", "--no-sample"], {"DATABASE_URL": url}, core) as server,
    ):
        item = orjson.loads(server.ask('{"query":"{ items(first: 1) { nodes { id } } }"}'))["data"]["items"]["nodes"][0]["id"]
        asyncio.run(measure(server, item, 0, rate, 1.0, polling=False))
        alone, _, written = asyncio.run(measure(server, item, 0, rate, seconds, polling=False))
        each_write = alone / written
        for way in WAYS if how == "both" else (how,):
            for number in map(int, subscribers.split(",")):
                used, heard, written = asyncio.run(measure(server, item, number, rate, seconds, polling=way == "poll"))
                events = len(heard.seconds)
                cost = (used - written * each_write) / max(1, events) * 1e6
                found = sorted(heard.seconds) or [0.0]
                p50, p99 = statistics.median(found) * 1e3, found[int(len(found) * 0.99)] * 1e3
                missed = written * number - events
                click.echo(f"{way:<12} {number:>8} {events / seconds:>9,.0f} {cost:>8,.1f} {p50:>8.1f} {p99:>8.1f} {missed:>7}")


if __name__ == "__main__":
    main()

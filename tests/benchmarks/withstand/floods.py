"""Faults of clients: more than can be served, what is heavy, what is slow, what is never read."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

import httpx2
from graphql import get_introspection_query

from graph.settings import Settings
from tests.benchmarks.withstand.load import CREATE_ONE, NUMBERS, Lean, Load, closed_loop, new_customer, open_loop
from tests.benchmarks.withstand.scene import (
    READ,
    REQUEST_SECONDS,
    STOCK,
    Outcome,
    Reply,
    Scene,
    fault,
    slowest,
    summary,
)
from tests.slow_readers import CREATE, CUSTOMERS, LARGE, asking_without_reading, resident
from tests.subscribers import Socket, socket


@fault("a hundred clients read nothing of large answers")
@fault("a hundred clients read nothing of large answers, on SQLite", file=True)
async def nobody_reads(scene: Scene) -> Outcome:
    for customer in CUSTOMERS:
        await scene.send(CREATE, {"input": customer})
    large = await scene.send(LARGE)
    before = resident(scene.served.process.pid) or 0
    most, points = 0, list[Reply]()
    async with asking_without_reading(scene.served.port, LARGE, 100):
        for _ in range(50):
            points.append(await scene.send('{ order(by: {id: "Order:1"}) { status } }'))
            most = max(most, resident(scene.served.process.pid) or 0)
            await asyncio.sleep(0.1)
        began = time.monotonic()
        scene.served.process.terminate()
        await asyncio.to_thread(scene.served.process.wait, 6 * REQUEST_SECONDS)
        ended = time.monotonic() - began
    grown = (most - before) / 2**20
    outcome = Outcome(f"{grown:.0f} MB more; a point read took {slowest(points):.2f} s at most; it ended after {ended:.1f} s")
    outcome.must(len(large.body.get("data", {}).get("orders", {}).get("nodes", ())) == 100, "there was nothing to be read")
    outcome.must(grown < 300, "memory grew")
    outcome.must({reply.code for reply in points} == {"OK"}, "others were not served")
    outcome.must(ended <= REQUEST_SECONDS + 5, "it did not end")
    return outcome


@fault("five times the load that can be served")
async def overload(scene: Scene) -> Outcome:
    port = scene.served.port
    await closed_loop(port, 16, 2, new_customer)  # warm
    alone = await closed_loop(port, 1, 6, new_customer)
    peak = len((await closed_loop(port, 16, 4, new_customer)).seconds) / 4
    load = await open_loop(port, 5 * peak, 20, new_customer)
    served = len(load.seconds) / 20
    refused, lost = load.statuses[503], load.statuses.total() - load.statuses[503] - load.statuses[200]
    outcome = Outcome(
        f"creates: peak {peak:.0f}/s, p99 alone {alone.p(0.99):.0f} ms; at five times that {served:.0f}/s served, p50"
        f" {load.p(0.5):.0f}, p99 {load.p(0.99):.0f} ms, {refused} refused at once, {lost} lost"
    )
    outcome.must(served >= 0.8 * peak, "less than 0.8 of the peak is served")
    outcome.must(load.p(0.99) <= 4 * alone.p(0.99), "the p99 of those let in is more than four times that of one alone")
    outcome.must(not lost, "connections were reset")
    return outcome


@fault("a flood of operations on WebSockets")
async def sockets(scene: Scene) -> Outcome:
    port, load, beside, health = scene.served.port, Load(), Load(), list[int]()
    await closed_loop(port, 16, 2, new_customer)  # warm
    alone = await closed_loop(port, 1, 4, new_customer)
    peak = len((await closed_loop(port, 16, 4, new_customer)).seconds) / 4
    until_ = time.monotonic() + 10
    began: dict[tuple[int, str], float] = {}

    async def flood(number: int) -> None:
        """A socket with forty creates at once, and another for each that ended, however it did."""
        async with socket(port) as client:
            await client.init()
            for _ in range(40):
                await ask(client, number)
            while time.monotonic() < until_:
                message = await client.hear()
                since = began[number, message["id"]]
                if message["type"] == "next":
                    load.add(200, time.monotonic() - since)
                else:
                    load.add(503 if message["type"] == "error" else 0, 0.0)
                    await ask(client, number)

    async def ask(client: Socket, number: int) -> None:
        name = f"socket{next(NUMBERS)}"
        began[number, name] = time.monotonic()
        await client.subscribe(name, CREATE_ONE, variables={"name": name, "email": f"{name}@x.example"})

    async def watch() -> None:
        """Whoever asks now and then by HTTP."""
        lean = Lean(port)
        async with httpx2.AsyncClient(base_url=scene.served.url, timeout=REQUEST_SECONDS) as client:
            while (since := time.monotonic()) < until_:
                beside.add(await new_customer(lean), time.monotonic() - since)
                health.append((await client.get("/livez")).status_code)
                await asyncio.sleep(0.05)
        lean.close()

    await asyncio.gather(watch(), *(flood(number) for number in range(50)))
    served, refused = len(load.seconds) / 10, load.statuses[503]
    outcome = Outcome(
        f"50 sockets, 40 creates each at once: peak {peak:.0f}/s, p99 alone {alone.p(0.99):.0f} ms; {served:.0f}/s served,"
        f" {refused} refused; by HTTP beside them {len(beside.seconds)} answered, p99 {beside.p(0.99):.0f} ms,"
        f" {beside.statuses[503]} refused"
    )
    outcome.must(served >= 0.6 * peak, "less than 0.6 of the peak is served")
    outcome.must(refused > 0, "nothing was refused")
    outcome.must(set(health) == {200}, "/livez was not answered")
    return outcome


@fault("a flood of new documents")
async def new_documents(scene: Scene) -> Outcome:
    port = scene.served.port
    known, flood = (
        '{ item(by: {sku: "A"}) { id name price } }',
        "orders(first: 3) { nodes { id note customer { name } items { quantity } } }",
    )
    await closed_loop(port, 1, 1, lambda client: client.ask(known))
    idle = await closed_loop(port, 1, 3, lambda client: client.ask(known))
    beside, new = await asyncio.gather(
        closed_loop(port, 1, 6, lambda client: client.ask(known)),
        closed_loop(port, 64, 6, lambda client: client.ask(f"{{ a{next(NUMBERS)}: {flood} }}")),
    )
    outcome = Outcome(
        f"a known point read's p99: {idle.p(0.99):.1f} ms alone, {beside.p(0.99):.1f} ms beside it;"
        f" {new.statuses[200]} new ones answered, {new.statuses[503]} refused"
    )
    outcome.must(beside.p(0.99) <= 10 * idle.p(0.99), "the known one's p99 is more than ten times as long")
    outcome.must(set(beside.statuses) == {200}, "a known one was refused")
    return outcome


@fault("the heaviest requests, while the loop is watched")
async def stalls(scene: Scene) -> Outcome:
    """`/livez` needs nothing but the loop; what it takes is what the loop is held up."""
    port, ended = scene.served.port, False
    longest = 0.0
    schema = get_introspection_query()
    documents = [
        schema,
        schema.replace("__schema", "a: __schema", 1),
        "{ " + " ".join(f"a{n}: __schema {{ types {{ name }} }}" for n in range(20)) + " }",
        "#" + "x" * 3_000_000 + "\n" + READ,
        '{ customer(by: {email: """' + "x" * 1_000_000 + '"""}) { id } }',
        "{ items { nodes { " + " ".join(f"unknown{n}" for n in range(1_900)) + " } } }",
    ]

    async def watch() -> None:
        nonlocal longest
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        while not ended:
            began = time.monotonic()
            writer.write(b"GET /livez HTTP/1.1\r\nhost: localhost\r\n\r\n")
            await reader.readuntil(b"ok\n")
            longest = max(longest, time.monotonic() - began)
        writer.close()

    watching = asyncio.create_task(watch())
    for document in documents * 2:
        await Lean(port).ask(document)
    ended = True
    await watching
    outcome = Outcome(f"longest {longest * 1_000:.0f} ms")
    outcome.must(longest <= 0.1, "the loop was held up for more than 100 ms")
    return outcome


def descriptors(pid: int) -> int:
    """How many files and sockets a process has open; 0 where the system does not tell."""
    place = Path(f"/proc/{pid}/fd")
    return len(list(place.iterdir())) if place.exists() else 0


@fault("2,000 silent connections, as many slow heads, a head of 128 MB")
async def silent_connections(scene: Scene) -> Outcome:
    port, opened = scene.served.port, list[asyncio.StreamWriter]()
    for start_of_head in (b"", b"POST /graphql HTTP/1.1\r\na:"):
        for _ in range(2_000):
            opened.append((await asyncio.open_connection("127.0.0.1", port))[1])
            opened[-1].write(start_of_head)
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"POST /graphql HTTP/1.1\r\na: " + b"x" * 2**27)
    status = (await reader.readuntil(b"\r\n")).split()[1].decode()
    replies = await scene.all([READ, STOCK] * 10)
    await asyncio.sleep(Settings().head_timeout_seconds + 3)
    left = descriptors(scene.served.process.pid)
    for each in (*opened, writer):
        each.transport.abort()
    outcome = Outcome(f"the head {status}; others {summary(replies)}; descriptors left after 13 s: {left}")
    outcome.must(status == "431", "the head was not refused")
    outcome.must(all(reply.code == "OK" for reply in replies), "others were not served")
    outcome.must(left < 200, "connections were not closed")
    return outcome

"""Faults of clients that an SQLite file must bear."""

from __future__ import annotations

import asyncio
import time
from typing import Any

from tests.benchmarks.withstand.load import Lean
from tests.benchmarks.withstand.scene import (
    READ,
    Outcome,
    Reply,
    Scene,
    fault,
    summary,
)
from tests.slow_readers import CREATE


@fault("four clients read what takes long, on SQLite", file=True)
async def long_reads(scene: Scene) -> Outcome:
    insert = "mutation($rows: [ItemInput!]!) { insertItems(input: {rows: $rows}) { inserted errors { code } } }"
    for part in range(5):
        rows = [{"sku": f"L{part}-{number}", "name": f"item {number}", "price": 1} for number in range(8_000)]
        await scene.send(insert, {"rows": rows})
    wanted = ", ".join(f'{{name: {{contains: "zq{number}"}}}}' for number in range(8))
    long = "{ " + " ".join(f"i{number}: items(where: {{or: [{wanted}]}}) {{ totalCount }}" for number in range(12)) + " }"

    async def points(seconds: float) -> int:
        began, count = time.monotonic(), 0
        while time.monotonic() < began + seconds:
            count += (await scene.send(READ)).code == "OK"
        return count

    alone = await points(5)
    over = asyncio.Event()

    async def go_on() -> list[Reply]:
        replies: list[Reply] = []
        while not over.is_set():
            replies.append(await scene.send(long))
        return replies

    clients = [asyncio.ensure_future(go_on()) for _ in range(4)]
    beside = await points(5)
    over.set()
    replies = [reply for each in await asyncio.gather(*clients) for reply in each]
    outcome = Outcome(f"{beside / 5:.0f} point reads a second beside them, {alone / 5:.0f} alone; they {summary(replies)}")
    outcome.must(beside * 10 >= alone, "short reads were starved")
    return outcome


def someone(name: str) -> dict[str, Any]:
    """A customer with an order."""
    return {"name": name, "email": f"c{name}@x.example", "orders": [{"note": "n"}]}


@fault("a thousand clients write, on SQLite", file=True)
async def crowd(scene: Scene) -> Outcome:
    async def writes(clients: int, seconds: float) -> float:
        over = time.monotonic() + seconds

        async def client(number: int) -> int:
            lean = Lean(scene.served.port)
            count = tries = 0
            while time.monotonic() < over:
                tries += 1
                await lean.ask(CREATE, input=someone(f"{clients}-{number}-{tries}"))
                count += b'"errors":[]' in lean.body
            lean.close()
            return count

        return sum(await asyncio.gather(*map(client, range(clients)))) / seconds

    async def longest_stall() -> float:
        """`/livez` needs nothing but the loop, on a connection that is there before the crowd is."""
        reader, writer = await asyncio.open_connection("127.0.0.1", scene.served.port)
        longest, over = 0.0, time.monotonic() + 12
        while (began := time.monotonic()) < over:
            writer.write(b"GET /livez HTTP/1.1\r\nhost: localhost\r\n\r\n")
            await reader.readuntil(b"ok\n")
            longest = max(longest, time.monotonic() - began)
            await asyncio.sleep(0.01)
        writer.close()
        return longest

    few = await writes(64, 8)
    many, stall = await asyncio.gather(writes(1_000, 12), longest_stall())
    outcome = Outcome(f"{many:.0f} writes a second by 1,000 clients, {few:.0f} by 64; longest stall {stall * 1_000:.0f} ms")
    outcome.must(many * 2 >= few, "a crowd writes less than half of what few do")
    outcome.must(stall < 0.25, "the loop was held up for more than 250 ms")
    return outcome

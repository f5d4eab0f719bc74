"""Clients without a library's weight, each a connection that is kept."""

from __future__ import annotations

import asyncio
import itertools
import json
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any


@dataclass
class Lean:
    """A client that writes bytes and reads an answer."""

    port: int
    reader: asyncio.StreamReader | None = None
    writer: asyncio.StreamWriter | None = None
    body: bytes = b""

    async def ask(self, query: str, **variables: Any) -> int:
        """The status of the answer; 0 where there is none."""
        self.body = b""
        try:
            if self.reader is not None and self.reader.at_eof():  # it was closed while nobody used it
                self.close()
            if self.writer is None:
                self.reader, self.writer = await asyncio.open_connection("127.0.0.1", self.port)
            assert self.reader is not None
            body = json.dumps({"query": query, "variables": variables}).encode()
            head = b"POST /graphql HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n"
            self.writer.write(head % len(body) + body)
            answer = (await self.reader.readuntil(b"\r\n\r\n")).lower()
            self.body = await self.reader.readexactly(int(answer.partition(b"content-length: ")[2].split(b"\r", 1)[0]))
        except (OSError, EOFError):
            self.close()
            return 0
        return int(answer.split(b" ", 2)[1])

    def close(self) -> None:
        if self.writer is not None:
            self.writer.transport.abort()
            self.writer = None


@dataclass
class Load:
    """How often each status came, and what the answers with 200 took."""

    statuses: Counter[int] = field(default_factory=Counter)
    seconds: list[float] = field(default_factory=list)

    def add(self, status: int, seconds: float) -> None:
        self.statuses[status] += 1
        if status == 200:
            self.seconds.append(seconds)

    def p(self, share: float) -> float:
        """A percentile, in milliseconds."""
        return sorted(self.seconds)[int(len(self.seconds) * share)] * 1_000 if self.seconds else 0.0


async def closed_loop(port: int, clients: int, seconds: float, ask: Callable[[Lean], Awaitable[int]]) -> Load:
    """Clients that ask again as soon as they are answered."""
    load, until_ = Load(), time.monotonic() + seconds

    async def work() -> None:
        client = Lean(port)
        while (began := time.monotonic()) < until_:
            load.add(await ask(client), time.monotonic() - began)
        client.close()

    await asyncio.gather(*(work() for _ in range(clients)))
    return load


async def open_loop(port: int, rate: float, seconds: float, ask: Callable[[Lean], Awaitable[int]]) -> Load:
    """Requests that come at their time, however those before them fare."""
    load, free, running = Load(), list[Lean](), set[asyncio.Task[None]]()

    async def work(due: float) -> None:
        client = free.pop() if free else Lean(port)
        load.add(await ask(client), time.monotonic() - due)
        free.append(client)

    began = time.monotonic()
    for number in range(int(rate * seconds)):
        due = began + number / rate
        await asyncio.sleep(max(0.0, due - time.monotonic()))
        task = asyncio.create_task(work(due))
        running.add(task)
        task.add_done_callback(running.discard)
    await asyncio.gather(*running)
    for client in free:
        client.close()
    return load


NUMBERS = itertools.count()
CREATE_ONE = """mutation ($name: String!, $email: String!) { createCustomer(
  input: {name: $name, email: $email, orders: [{items: [{item: {sku: "B"}, quantity: 1}]}]}
) { customer { id orders { nodes { totalAmount } } } errors { code } } }"""


def new_customer(client: Lean) -> Awaitable[int]:
    """A known mutation."""
    name = f"load{next(NUMBERS)}"
    return client.ask(CREATE_ONE, name=name, email=f"{name}@x.example")

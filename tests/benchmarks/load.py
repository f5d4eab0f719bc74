"""The load: requests over kept-alive connections, in a process of its own so that it costs the server nothing.

What goes in: a `Job` as JSON on standard input. What comes out: a `Measured` as JSON on standard output. What is refused here:
an answer that is not a 200 with data ends the run with that answer.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True)
class Job:
    """What to send. Bodies are sent in turn, and from the start again unless each may be sent `once` only.

    `authorization` is what each says of its sender, if it is to say something.
    """

    port: int
    seconds: float
    connections: int
    bodies: list[str]
    once: bool = False
    authorization: str = ""


@dataclass(frozen=True)
class Measured:
    """What came back: times are in milliseconds."""

    answers: int
    seconds: float
    p50: float
    p99: float


class Client(asyncio.Protocol):
    """One connection: sends a request, reads its answer, sends the next."""

    def __init__(self, requests: Iterator[bytes], until: float, times: list[float]) -> None:
        self.requests, self.until, self.times = requests, until, times
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.sent = 0.0
        self.missing = 0
        self.head = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport: Any = transport  # uvloop's is no `asyncio.Transport`
        self.send()

    def send(self) -> None:
        now = time.perf_counter()
        request = next(self.requests, None) if now < self.until else None
        if request is None:
            self.transport.close()
            return
        self.sent = now
        self.transport.write(request)

    def data_received(self, data: bytes) -> None:
        if self.missing:
            self.missing -= len(data)
        else:
            self.head += data
            head, found, body = self.head.partition(b"\r\n\r\n")
            if not found:
                return
            lower = head.lower()
            start = lower.find(b"content-length:") + 15
            # The first bytes tell: parsing a megabyte here would measure the client.
            if not (head.startswith(b"HTTP/1.1 200") and start > 14 and (not body or body.startswith(b'{"data":{'))):
                self.done.set_exception(RuntimeError(self.head[:1000].decode(errors="replace")))
                self.transport.abort()
                return
            end = lower.find(b"\r\n", start)
            self.missing = int(lower[start : end if end > 0 else None]) - len(body)
            self.head = b""
        if self.missing == 0:
            self.times.append(time.perf_counter() - self.sent)
            self.send()

    def connection_lost(self, error: Exception | None) -> None:
        if not self.done.done():
            self.done.set_result(None)


def request(body: str, authorization: str = "") -> bytes:
    """An HTTP request as bytes."""
    text = body.encode()
    lines = [
        "POST /graphql HTTP/1.1",
        "Host: localhost",
        "Content-Type: application/json",
        f"Content-Length: {len(text)}",
        *([f"Authorization: {authorization}"] if authorization else []),
    ]
    return "\r\n".join([*lines, "", ""]).encode() + text


async def drive(job: Job) -> Measured:
    """Send for so many seconds over so many connections."""
    prepared = [request(body, job.authorization) for body in job.bodies]

    def endless() -> Iterator[bytes]:
        while True:
            yield from prepared

    requests = iter(prepared) if job.once else endless()
    times: list[float] = []
    loop = asyncio.get_running_loop()
    started = time.perf_counter()
    clients = []
    for _ in range(job.connections):
        _, client = await loop.create_connection(lambda: Client(requests, started + job.seconds, times), "127.0.0.1", job.port)
        clients.append(client)
    await asyncio.gather(*(client.done for client in clients))
    seconds = time.perf_counter() - started
    times.sort()
    return Measured(len(times), seconds, 1000 * times[len(times) // 2], 1000 * times[len(times) * 99 // 100])


def main() -> None:
    job = Job(**json.load(sys.stdin))
    try:
        import uvloop
    except ImportError:
        measured = asyncio.run(drive(job))
    else:
        measured = uvloop.run(drive(job))
    json.dump(asdict(measured), sys.stdout)


if __name__ == "__main__":
    main()

"""Real servers: processes of their own before one database, and clients that write to them.

What goes in: the URL of a database. What comes out: a `Served` with its address, until it is stopped or killed.
"""

from __future__ import annotations

import asyncio
import resource
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2

from tests.conftest import Ask
from tests.forks import Forked, environment, shared
from tests.test_commands import free_port

#: Settings of a server that waits for its database, its clients and its end as long as a test does.
PATIENT = {
    f"ORDERGRAPH_{name}_SECONDS": "3600"
    for name in ("REQUEST_TIMEOUT", "STATEMENT_TIMEOUT", "LOCK_TIMEOUT", "POOL_TIMEOUT", "HEAD_TIMEOUT", "DRAIN")
}


@dataclass
class Served:
    """A running server."""

    process: subprocess.Popen[bytes] | Forked
    port: int

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def kill(self) -> None:
        """End it as a power cut would."""
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()


async def start(url: str, folder: Path, descriptors: int | None = None, workers: int = 1, **settings: str) -> Served:
    """A server before a database, ready to answer; it may have only so many files and sockets open.

    One that has no limit is forked off a process that has imported all.
    """
    if descriptors is not None:
        return await start_anew(url, folder, descriptors, workers, **settings)
    port = free_port()
    log = folder / f"server-{port}.log"
    asked = arguments(port, *(("--workers", str(workers)) if workers > 1 else ()))
    process = shared().start_logging(folder, asked, environment(DATABASE_URL=url, **settings), log)
    return await answering(Served(process, port), log)


async def start_anew(
    url: str, folder: Path, descriptors: int | None = None, workers: int = 1, code: str = "", **settings: str
) -> Served:
    """A server as a user starts it, or by some lines of Python that are given the command's arguments."""

    def limit() -> None:
        if descriptors is not None:
            resource.setrlimit(resource.RLIMIT_NOFILE, (descriptors, descriptors))

    port = free_port()
    path = folder / f"server-{port}.log"
    with path.open("wb") as log:
        process = subprocess.Popen(  # noqa: ASYNC220  # it starts in no time
            [sys.executable, *(["-c", code] if code else ["-m", "graph"]), *arguments(port, "--workers", str(workers))],
            cwd=folder,
            env=environment(DATABASE_URL=url, **settings),
            stdout=log,
            stderr=log,
            preexec_fn=limit,  # noqa: PLW1509  # no threads
        )
    return await answering(Served(process, port), path)


def arguments(port: int, *more: str) -> list[str]:
    return ["serve", "--no-sample", "--port", str(port), *more]


async def answering(served: Served, log: Path) -> Served:
    """A server that was started, when it answers."""
    try:
        async with httpx2.AsyncClient(verify=False) as client:
            for _ in range(6_000):
                assert served.process.poll() is None, f"see {log}"
                try:
                    await client.get(f"{served.url}/livez")
                except httpx2.TransportError:
                    await asyncio.sleep(0.02)
                else:
                    return served
        raise AssertionError("the server did not come up")
    except BaseException:
        served.kill()
        raise


@asynccontextmanager
async def serving(url: str, folder: Path, number: int, **settings: str) -> AsyncIterator[list[Served]]:
    """Several servers before one database, stopped at the end."""
    async with AsyncExitStack() as stack:
        servers: list[Served] = []

        async def add() -> None:
            served = await start(url, folder, None, 1, **settings)
            stack.callback(served.kill)
            servers.append(served)

        async with asyncio.TaskGroup() as group:
            for _ in range(number):
                group.create_task(add())
        yield servers


class Client(Ask):
    """`ask` before a real server."""

    def __init__(self, client: httpx2.AsyncClient, url: str) -> None:
        self.client = client
        self.url = url

    async def raw(self, query: str, variables: dict[str, Any] | None = None, **more: Any) -> bytes:
        """The bytes of the answer."""
        body = {"query": query, "variables": variables or {}, **more}
        return (await self.client.post(f"{self.url}/graphql", json=body, timeout=90)).content

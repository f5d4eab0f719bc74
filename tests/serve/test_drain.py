"""The end of a server: what runs is answered, what comes is refused, nobody holds it up, and its log shows no stack.

Fault 22 of docs/reliability.md.
"""

from __future__ import annotations

import asyncio
import re
import signal
import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import asyncpg
import httpx2
import pytest

from graph.database.backends import database_url
from tests.conftest import Ask
from tests.servers import PATIENT, Served, start
from tests.sockets import PATIENCE
from tests.stock import customer
from tests.subscribers import socket as opened_socket

SHOP = [customer("Ada", email="ada@example.org")]
WATCHED = {**PATIENT, "ORDERGRAPH_METRICS": "true"}
RENAME = 'mutation { updateCustomer(input: {id: "Customer:1", name: "Eve"}) { customer { name } errors { code } } }'
HALF_A_BODY = b"POST /graphql HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length: 100\r\n\r\n{"


@asynccontextmanager
async def locked(url: str) -> AsyncIterator[None]:
    """A customer that somebody else is writing to."""
    if url.startswith("sqlite"):
        file = sqlite3.connect(url.removeprefix("sqlite:///"), isolation_level=None)
        file.execute("BEGIN IMMEDIATE")
        try:
            yield
        finally:
            file.close()
        return
    connection: Any = await asyncpg.connect(database_url(url).shown)
    try:
        async with connection.transaction():
            await connection.execute("SELECT 1 FROM customer FOR UPDATE")
            yield
    finally:
        await connection.close()


def log_of(served: Served, folder: Path) -> str:
    return (folder / f"server-{served.port}.log").read_text()


async def ended(served: Served) -> int:
    """The exit status."""
    async with asyncio.timeout(PATIENCE):
        while (status := served.process.poll()) is None:  # noqa: ASYNC110  # nothing tells of it
            await asyncio.sleep(0.02)
    return status


async def answers(http: httpx2.AsyncClient, path: str) -> tuple[int, Any, str]:
    """Status, body and `connection` of the answer on a connection of its own."""
    if path == "/graphql":
        found = await http.post(path, json={"query": "{ __typename }"})
    else:
        found = await http.get(path)
    return found.status_code, found.json(), found.headers.get("connection", "")


async def until_running(served: Served, number: int) -> None:
    """Wait until a server, in all its processes, has so many requests that are not answered. Its metrics tell."""
    async with asyncio.timeout(PATIENCE), client_of(served) as http:
        while f"ordergraph_operations_running {number}.0" not in (await http.get("/metrics")).text:  # noqa: ASYNC110  # nobody tells
            await asyncio.sleep(0.05)


def client_of(served: Served, **more: Any) -> httpx2.AsyncClient:
    """A client that waits as long as a test does."""
    return httpx2.AsyncClient(verify=False, base_url=served.url, timeout=PATIENCE, **more)


async def draining(http: httpx2.AsyncClient) -> tuple[int, Any, str]:
    """What is answered to who asks how a server is, once that is that it ends."""
    async with asyncio.timeout(PATIENCE):
        while True:
            with suppress(httpx2.RemoteProtocolError):  # a connection on which nothing was asked yet, when it began to end
                if (found := await answers(http, "/readyz"))[0] == 503:
                    return found


#: Clients whose connections are not used again.
FRESH: dict[str, Any] = {"limits": httpx2.Limits(max_keepalive_connections=0)}


async def test_a_server_that_is_told_to_end_answers_what_runs_and_refuses_what_comes(
    empty_url: str, shop: Ask, tmp_path: Path
) -> None:
    """Fault 22: half heads, idle connections and one in a transaction do not keep it from ending in good order."""
    served = await start(empty_url, tmp_path, None, 1, **WATCHED)
    try:
        async with client_of(served) as client, client_of(served, **FRESH) as fresh:
            assert (await answers(fresh, "/readyz"))[:2] == (200, {"status": "ready"})
            silent = [await asyncio.open_connection("127.0.0.1", served.port) for _ in range(2)]
            silent[0][1].write(HALF_A_BODY[:30])
            async with opened_socket(served.port) as socket, locked(empty_url):
                running = asyncio.create_task(client.post("/graphql", json={"query": RENAME}))
                await until_running(served, 1)
                served.process.send_signal(signal.SIGTERM)
                ends = {"status": "unready", "reasons": ["The server ends."]}
                assert await draining(fresh) == (503, ends, "close")
                status, body, connection = await answers(fresh, "/graphql")
                assert (status, connection) == (503, "close")
                assert body["errors"][0]["extensions"]["code"] == "SERVICE_UNAVAILABLE"
                assert (await fresh.get("/livez")).text == "ok\n"
                assert (await socket.closed())[0] == 1012
                assert not running.done()
            answer = await running
            assert answer.json() == {"data": {"updateCustomer": {"customer": {"name": "Eve"}, "errors": []}}}
            assert answer.headers["connection"] == "close"
            assert await ended(served) == 0
            for reader, writer in silent:
                assert await reader.read() == b""
                writer.close()
    finally:
        served.kill()
    said = log_of(served, tmp_path)
    assert "The time to end is over" not in said
    assert "Traceback" not in said
    assert " ERROR " not in said


async def test_what_is_not_done_in_time_is_cut_off_and_undone(empty_url: str, shop: Ask, tmp_path: Path) -> None:
    """One whose client has sent half of it, and one in a transaction."""
    served = await start(empty_url, tmp_path, None, 1, **{**WATCHED, "ORDERGRAPH_DRAIN_SECONDS": "1"})
    try:
        async with client_of(served) as client:
            reader, writer = await asyncio.open_connection("127.0.0.1", served.port)
            writer.write(HALF_A_BODY)
            async with locked(empty_url):
                running = asyncio.create_task(client.post("/graphql", json={"query": RENAME}))
                await until_running(served, 2)
                served.process.send_signal(signal.SIGTERM)
                assert await ended(served) == 0
            with pytest.raises(httpx2.TransportError):
                await running
            with suppress(ConnectionError):
                assert await reader.read() == b""
            writer.close()
    finally:
        served.kill()
    assert await shop.data('{ customer(by: {id: "Customer:1"}) { name } }') == {"customer": {"name": "Ada"}}
    said = log_of(served, tmp_path)
    # The second where the process itself had stood still.
    assert re.search("The time to end is over: (2 requests are cut off|the process ends as it is)", said)
    assert "Traceback" not in said
    assert "Exception" not in said


@pytest.mark.parametrize("engines", ["sqlite"], indirect=True)
async def test_a_second_signal_ends_at_once_and_an_idle_server_with_the_first(empty_url: str, tmp_path: Path) -> None:
    for half, status in ((True, 1), (False, 0)):
        served = await start(empty_url, tmp_path, None, 1, **WATCHED)
        try:
            _, writer = await asyncio.open_connection("127.0.0.1", served.port)
            if half:
                writer.write(HALF_A_BODY)
                await until_running(served, 1)
            served.process.send_signal(signal.SIGTERM)
            if half:
                async with client_of(served, **FRESH) as fresh:
                    await draining(fresh)
                served.process.send_signal(signal.SIGTERM)
            assert await ended(served) == status
            writer.close()
        finally:
            served.kill()
        assert "Traceback" not in log_of(served, tmp_path)

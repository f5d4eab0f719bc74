"""Clients that do not read: answers and events hold bounded memory, answers for a bounded time; others are served (fault 30)."""

from __future__ import annotations

import asyncio
import signal
import socket
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import httpx2
import pytest

from graph.serve.http1 import BoundedProtocol
from graph.serve.responses import RETRY_AFTER_SECONDS
from tests.servers import Client, serving
from tests.slow_readers import CREATE, CUSTOMERS, LARGE, NOTE, asking_without_reading, resident
from tests.sockets import PATIENCE, listening, request, until
from tests.subscribers import socket as subscriber

pytestmark = pytest.mark.long

SIZE = 8 * 2**20


async def large(scope: Any, receive: Any, send: Any) -> None:
    """An application with an answer in pieces, as the view has them."""
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", str(SIZE).encode())]})
    for sent in range(2**18, SIZE + 1, 2**18):
        await send({"type": "http.response.body", "body": b"x" * 2**18, "more_body": sent < SIZE})


async def test_an_answer_that_nobody_reads_ends_and_so_does_what_made_it() -> None:
    async with listening(large, send_timeout_seconds=0.3) as server:
        silent, dripping = await server.connect(), await server.connect()
        for peer in (silent, dripping):
            peer.writer.transport.get_extra_info("socket").setsockopt(
                socket.SOL_SOCKET, socket.SO_RCVBUF, 2**14
            )  # a small window
            peer.reader._transport.pause_reading()  # type: ignore[attr-defined]  # the stream would read ahead
            peer.send(request() * 2)  # the second one waits behind the first
        await until(lambda: len(server.state.tasks) == 2)
        stream: Any = dripping.reader
        stream._limit = SIZE  # it is paused and resumed here alone

        def is_cut_off() -> bool:
            return stream._eof or stream.exception() is not None

        while not is_cut_off() and len(stream._buffer) < SIZE:  # to read now and then does not make the time longer
            enough = len(stream._buffer) + SIZE // 4
            stream._transport.resume_reading()  # a little
            async with asyncio.timeout(PATIENCE):
                while not is_cut_off() and len(stream._buffer) < enough:  # noqa: ASYNC110  # nothing tells of it
                    await asyncio.sleep(0)
            stream._transport.pause_reading()  # and no more
            await asyncio.sleep(0.2)
        assert len(stream._buffer) < SIZE
        await until(lambda: not server.state.tasks and not server.state.connections)


async def test_an_answer_that_is_read_arrives_and_the_connection_stays() -> None:
    async with listening(large, send_timeout_seconds=20.0) as server:
        peer = await server.connect()
        for _ in range(2):
            peer.send(request())
            status, body = await peer.answer()
            assert (status, len(body)) == (200, SIZE)
        (connection,) = server.state.connections
        assert isinstance(connection, BoundedProtocol)
        assert connection.sending is None


async def told(ask: Client, query: str, variables: dict[str, Any] | None = None) -> Any:
    """The data of an answer. While the crowd comes in one may be told to come back after a second, but not again and again."""
    for _ in range(3):
        answer = await ask(query, variables)
        if "errors" not in answer:
            return answer["data"]
        assert [error["extensions"]["code"] for error in answer["errors"]] == ["SERVICE_UNAVAILABLE"]
        await asyncio.sleep(RETRY_AFTER_SECONDS)
    raise AssertionError("refused for three seconds")


async def test_clients_that_read_nothing_take_neither_memory_nor_service_from_others(empty_url: str, tmp_path: Path) -> None:
    short = {"REQUEST": "4", "STATEMENT": "3", "LOCK": "1", "POOL": "1"}
    settings = {f"ORDERGRAPH_{name}_TIMEOUT_SECONDS": value for name, value in short.items()}
    settings["ORDERGRAPH_MAX_OPERATION_BYTES"] = str(4 * 2**20)  # in which the notes come
    async with serving(empty_url, tmp_path, 1, **settings) as (served,), httpx2.AsyncClient(verify=False) as http:
        ask = Client(http, served.url)
        for customer in CUSTOMERS:
            assert (await ask.data(CREATE, {"input": customer}))["createCustomer"] == {"errors": []}
        assert len(await ask.raw(LARGE)) > 10 * 2**20
        before = resident(served.process.pid)
        async with asking_without_reading(served.port, LARGE, 100):
            for _ in range(8):
                assert await told(ask, '{ order(by: {id: "Order:1"}) { status } }') == {"order": {"status": "PENDING"}}
                now = resident(served.process.pid)
                assert before is None or now is None or now - before < 300 * 2**20
                await asyncio.sleep(0.1)
            served.process.send_signal(signal.SIGTERM)
            async with asyncio.timeout(PATIENCE):
                while served.process.poll() is None:  # noqa: ASYNC110  # nothing tells of it
                    await asyncio.sleep(0.05)
        log = (tmp_path / f"server-{served.port}.log").read_text()
        assert log.count("running task(s)") <= 1  # where some were cut off
        assert "CancelledError" not in log


BEGIN = b'["Change position+",0]'.hex().upper()
#: Each event has 50 KB.
EVENTS = f'subscription {{ changes(after: "{BEGIN}", types: [Order]) {{ version node {{ ... on Order {{ note }} }} }} }}'
WRITE = 'mutation ($note: String!) { updateOrder(input: {id: "Order:1", note: $note}) { errors { code } } }'


async def test_subscribers_that_read_nothing_take_no_memory(empty_url: str, tmp_path: Path) -> None:
    """A hundred events for thirty of them are 150 MB; an event is one text for all, and few of them may wait."""
    async with (
        serving(empty_url, tmp_path, 1) as (served,),
        httpx2.AsyncClient(verify=False) as http,
        asking_without_reading(served.port, EVENTS, 15, "text/event-stream"),
        AsyncExitStack() as stack,
    ):
        ask = Client(http, served.url)
        await ask.data(CREATE, {"input": {"name": "Ada", "email": "ada@example.com", "orders": [{}]}})
        silent = [await stack.enter_async_context(subscriber(served.port, close_timeout=0.1)) for _ in range(15)]
        reader = await stack.enter_async_context(subscriber(served.port))
        for client in (*silent, reader):
            await (await client.init()).subscribe("1", EVENTS)
        assert (await reader.hears("1"))["data"]["changes"]["version"] == 1
        before = resident(served.process.pid)
        for version in range(2, 102):
            await told(ask, WRITE, {"note": f"{version}{NOTE}"})
            assert (await reader.hears("1"))["data"]["changes"]["version"] == version
            now = resident(served.process.pid)
            assert before is None or now is None or now - before < 75 * 2**20

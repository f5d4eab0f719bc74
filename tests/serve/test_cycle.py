"""Answers on a connection: how many writes they take, and what no head may hold."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from uvicorn import Config
from uvicorn.server import ServerState

from graph.serve.cycle import JOINED_BYTES
from graph.serve.http1 import protocol_of
from graph.settings import Settings

GET = b"GET /livez HTTP/1.1\r\nHost: here\r\n%b\r\n"


class Written(asyncio.Transport):
    """A transport that keeps what it is given to write."""

    def __init__(self) -> None:
        super().__init__({"peername": ("127.0.0.1", 1), "sockname": ("127.0.0.1", 2)})
        self.writes: list[bytes] = []
        self.closed = False

    def write(self, data: Any) -> None:
        self.writes.append(bytes(data))

    def is_closing(self) -> bool:
        return self.closed

    def close(self) -> None:
        self.closed = True

    def pause_reading(self) -> None: ...

    def resume_reading(self) -> None: ...


async def answered(*messages: dict[str, Any], request: bytes = GET % b"") -> Written:
    """What an application that sends these messages puts on the connection."""
    ended = asyncio.Event()

    async def app(_: Any, __: Any, send: Any) -> None:
        try:
            for message in messages:
                await send(message)
        finally:
            asyncio.get_running_loop().call_soon(ended.set)

    config = Config(app, http=protocol_of(Settings()), lifespan="off", server_header=False, date_header=False, log_config=None)
    config.load()
    transport = Written()
    made: Any = config.http_protocol_class
    protocol = made(config=config, server_state=ServerState(), app_state={})
    protocol.access_log = False
    protocol.connection_made(transport)
    protocol.data_received(request)
    await ended.wait()
    await asyncio.sleep(0)
    protocol.connection_lost(None)
    return transport


def start(*headers: tuple[bytes, bytes], status: int = 200) -> dict[str, Any]:
    return {"type": "http.response.start", "status": status, "headers": headers}


def body(text: bytes, *, more: bool = False) -> dict[str, Any]:
    return {"type": "http.response.body", "body": text, "more_body": more}


def length(size: int) -> tuple[bytes, bytes]:
    return b"content-length", b"%d" % size


async def test_an_answer_that_is_there_as_a_whole_leaves_in_one_write() -> None:
    written = await answered(start(length(4), (b"x-request-id", b"one")), body(b"true"))
    assert written.writes == [b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\nx-request-id: one\r\n\r\ntrue"]
    assert (await answered(start(length(0), status=204), body(b""))).writes == [
        b"HTTP/1.1 204 No Content\r\ncontent-length: 0\r\n\r\n"
    ]
    last = await answered(start(length(4)), body(b"true"), request=GET % b"Connection: close\r\n")
    assert last.writes == [b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\nconnection: close\r\n\r\ntrue"]
    assert last.closed


async def test_a_head_does_not_wait_for_a_body_that_comes_in_pieces() -> None:
    stream = await answered(start((b"content-type", b"text/event-stream")), body(b":\n", more=True), body(b""))
    assert len(stream.writes) == 3
    assert stream.writes[0].endswith(b"\r\n\r\n")
    pieces = await answered(start(length(4)), body(b"tr", more=True), body(b"ue"))
    assert pieces.writes == [b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\n", b"tr", b"ue"]
    large = b"x" * (JOINED_BYTES + 1)
    assert (await answered(start(length(len(large))), body(large))).writes[1] == large
    told = await answered(start(length(4)), body(b""), request=(GET % b"").replace(b"GET", b"HEAD"))
    assert told.writes == [b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\n"]


@pytest.mark.parametrize(
    "header", [(b"x-a", b"1\r\nx-b: 2"), (b"x-a", b"1\n"), (b"x-a", b"\0"), (b"x-a: 1\r\nx-b", b"2"), (b"", b"1"), (b"x a", b"1")]
)
async def test_a_header_that_would_be_two_is_none(header: tuple[bytes, bytes]) -> None:
    written = b"".join((await answered(start(length(4), header), body(b"true"))).writes)
    assert written.startswith(b"HTTP/1.1 500 ")
    assert b"x-b" not in written
    assert b"true" not in written


async def test_a_body_of_another_length_is_never_taken_for_the_whole() -> None:
    for sent in (b"tru", b"trueX"):
        assert (await answered(start(length(4)), body(sent))).closed

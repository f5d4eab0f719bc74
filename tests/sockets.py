"""The server's protocol before an application, in this process, and clients that send bytes as they like.

What goes in: an ASGI application, settings. What comes out: a `Listening` with its port and connections; `Peer`s.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Any

import uvicorn
from starlette.applications import Starlette
from uvicorn.server import ServerState

from graph.serve.http1 import BoundedProtocol, protocol_of
from graph.settings import Settings

#: How long anything may take before a test fails instead of hanging, on a machine that is slow and busy.
PATIENCE = 120.0
#: A time that is never over, for what a test is not about: a machine may stand still for seconds.
NEVER = 3_600.0


async def until(holds: Callable[[], bool]) -> None:
    """Wait until something holds that nobody tells."""
    async with asyncio.timeout(PATIENCE):
        while not holds():  # noqa: ASYNC110  # nothing to be woken by
            await asyncio.sleep(0.01)


@dataclass
class Peer:
    """A client that speaks no HTTP by itself."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    @property
    def gone(self) -> bool:
        """Whether the server has closed the connection."""
        return self.reader.at_eof() or self.writer.transport.is_closing()

    def send(self, data: bytes) -> None:
        self.writer.write(data)

    async def close(self) -> None:
        self.writer.transport.abort()
        with suppress(OSError):
            await self.writer.wait_closed()

    async def head(self) -> tuple[int, dict[str, str]]:
        """Status and headers of the next answer."""
        async with asyncio.timeout(PATIENCE):
            lines = (await self.reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
        return int(lines[0].split()[1]), {k.lower(): v for k, _, v in (line.partition(": ") for line in lines[1:] if line)}

    async def answer(self) -> tuple[int, bytes]:
        """Status and body of the next answer."""
        status, headers = await self.head()
        async with asyncio.timeout(PATIENCE):
            return status, await self.reader.readexactly(int(headers["content-length"]))

    async def rest(self) -> bytes:
        """What still comes until the server closes the connection."""
        async with asyncio.timeout(PATIENCE):
            with suppress(ConnectionError):
                return await self.reader.read()
            return b""


@dataclass
class Listening:
    """A server in this process."""

    port: int
    state: ServerState
    protocol: type[BoundedProtocol]
    stack: AsyncExitStack

    async def connect(self, said: bytes = b"") -> Peer:
        """A client. What it has said already is there when the server takes its connection, and so before any time is over."""
        made = socket.create_connection(("127.0.0.1", self.port))
        made.sendall(said)
        peer = Peer(*await asyncio.open_connection(sock=made))
        self.stack.push_async_callback(peer.close)
        return peer

    async def asked(self, *parts: bytes) -> tuple[int, bytes]:
        """The answer to these bytes on a connection of their own."""
        peer = await self.connect()
        for part in parts:
            peer.send(part)
        return await peer.answer()


@asynccontextmanager
async def listening(app: Any, *, idle_seconds: float = NEVER, **settings: Any) -> AsyncIterator[Listening]:
    """Serve an application for a while, and end what is idle for longer. At the end no connection is left."""
    protocol: Any = protocol_of(Settings(**settings), app.state.admission if isinstance(app, Starlette) else None)
    config = uvicorn.Config(app, http=protocol, log_config=None, access_log=False, server_header=False)
    config.timeout_keep_alive = idle_seconds  # type: ignore[assignment]  # the loop takes parts of seconds, too
    config.load()
    state = ServerState()
    server = await asyncio.get_running_loop().create_server(
        lambda: protocol(config=config, server_state=state, app_state={}), "127.0.0.1", 0
    )
    async with AsyncExitStack() as stack:
        yield Listening(server.sockets[0].getsockname()[1], state, protocol, stack)
    server.close()
    await until(lambda: not state.connections and not state.tasks)
    assert not protocol.clients.silent


def request(body: bytes = b"", *headers: bytes, method: bytes = b"POST", path: bytes = b"/") -> bytes:
    """The bytes of a request."""
    lines: Sequence[bytes] = [b"%s %s HTTP/1.1" % (method, path), b"host: x", b"content-length: %d" % len(body), *headers]
    return b"\r\n".join([*lines, b"", body])


def handshake(path: bytes = b"/graphql", *headers: bytes) -> bytes:
    """The bytes of a request for a WebSocket."""
    lines = [
        b"GET %b HTTP/1.1" % path,
        b"host: x",
        b"connection: upgrade",
        b"upgrade: websocket",
        b"sec-websocket-version: 13",
        b"sec-websocket-key: AAAAAAAAAAAAAAAAAAAAAA==",
        b"sec-websocket-protocol: graphql-transport-ws",
        *headers,
    ]
    return b"\r\n".join([*lines, b"", b""])

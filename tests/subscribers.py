"""Clients that listen: over a WebSocket, and over an event stream.

What goes in: the port of a server. What comes out: messages and events as they come, each within `PATIENCE`.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any

import orjson
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed
from websockets.typing import Origin, Subprotocol

from tests.sockets import PATIENCE

PROTOCOL = "graphql-transport-ws"


class Socket:
    """A client of `graphql-transport-ws` that can say anything."""

    def __init__(self, connection: ClientConnection) -> None:
        self.connection = connection

    async def send(self, message: Any) -> None:
        await self.connection.send(message if isinstance(message, (str, bytes)) else orjson.dumps(message).decode())

    async def say(self, type_: str, **more: Any) -> None:
        await self.send({"type": type_, **more})

    async def subscribe(self, name: str, query: str, **payload: Any) -> None:
        await self.say("subscribe", id=name, payload={"query": query, **payload})

    async def hear(self) -> Any:
        """The next message, which is text."""
        async with asyncio.timeout(PATIENCE):
            message = await self.connection.recv()
        assert isinstance(message, str)
        return orjson.loads(message)

    async def hears(self, name: str) -> Any:
        """The payload of the next message, which is one of an operation's answers."""
        message = await self.hear()
        assert (message["type"], message["id"]) == ("next", name), message
        return message["payload"]

    async def init(self) -> Socket:
        await self.say("connection_init")
        assert await self.hear() == {"type": "connection_ack"}
        return self

    async def closed(self) -> tuple[int, str]:
        """Code and reason by which the server closes; what it says before is passed over."""
        with suppress(ConnectionClosed):
            async with asyncio.timeout(PATIENCE):
                while True:
                    await self.connection.recv()
        return self.connection.close_code or 0, self.connection.close_reason or ""


@asynccontextmanager
async def socket(port: int, *protocols: str, origin: str | None = None, **more: Any) -> AsyncIterator[Socket]:
    """A socket that is open and has said nothing."""
    wanted = [Subprotocol(name) for name in protocols or (PROTOCOL,)]
    made = connect(
        f"ws://127.0.0.1:{port}/graphql",
        subprotocols=wanted,
        origin=None if origin is None else Origin(origin),
        max_size=None,
        proxy=None,
        ping_interval=None,
        **more,
    )
    async with made as connection:
        yield Socket(connection)

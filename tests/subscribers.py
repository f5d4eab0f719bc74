"""Clients that listen: over a WebSocket, and over an event stream.

What goes in: the port of a server. What comes out: messages and events as they come, each within `PATIENCE`.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any

import httpx2
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

    async def hears_any(self) -> Any:
        """What the one field of the next event holds, whichever operation it is of."""
        message = await self.hear()
        assert message["type"] == "next", message
        (told,) = message["payload"]["data"].values()
        return told

    async def init(self, **more: Any) -> Socket:
        await self.say("connection_init", **more)
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
async def socket(
    port: int, *protocols: str, origin: str | None = None, name: str = "127.0.0.1", **more: Any
) -> AsyncIterator[Socket]:
    """A socket that is open and has said nothing. `name` is what it calls this machine."""
    wanted = [Subprotocol(name) for name in protocols or (PROTOCOL,)]
    made = connect(
        f"ws://{name}:{port}/graphql",
        host="127.0.0.1",
        subprotocols=wanted,
        origin=None if origin is None else Origin(origin),
        max_size=None,
        proxy=None,
        ping_interval=None,
        **{"open_timeout": PATIENCE, "close_timeout": PATIENCE, **more},
    )
    async with made as connection:
        yield Socket(connection)


class EventStream:
    """A client of an event stream, as a browser's EventSource reads it."""

    def __init__(self, lines: AsyncIterator[str]) -> None:
        self.lines = lines
        self.last = ""

    async def hear(self) -> tuple[str, Any]:
        """The next event and its data; comments are passed over. The end of the stream is `("", None)`."""
        event, data = "", list[str]()
        async with asyncio.timeout(PATIENCE):
            async for line in self.lines:
                if not line and (event or data):
                    return event, orjson.loads(data[0]) if data and data[0] else None
                name, _, value = line.partition(":")
                value = value.removeprefix(" ")
                if name == "event":
                    event = value
                elif name == "data":
                    data.append(value)
                elif name == "id":
                    self.last = value
        return "", None

    async def hears(self) -> Any:
        """The response in the next event."""
        event, data = await self.hear()
        assert event == "next", (event, data)
        return data


@asynccontextmanager
async def event_stream(
    port: int, query: str, after: str = "", *, method: str = "POST", head: dict[str, str] | None = None, **more: Any
) -> AsyncIterator[EventStream]:
    """An event stream that is open."""
    headers = {"accept": "text/event-stream", **({"last-event-id": after} if after else {}), **(head or {})}
    url = f"http://127.0.0.1:{port}/graphql"
    async with httpx2.AsyncClient(verify=False, timeout=PATIENCE, headers=headers) as client:
        if method == "POST":
            sent = client.stream("POST", url, json={"query": query, **more})
        else:
            texts = {name: orjson.dumps(value).decode() if isinstance(value, dict) else value for name, value in more.items()}
            sent = client.stream("GET", url, params={"query": query, **texts})
        async with sent as response:
            assert response.status_code == 200, await response.aread()
            assert response.headers["content-type"] == "text/event-stream; charset=utf-8"
            yield EventStream(response.aiter_lines())

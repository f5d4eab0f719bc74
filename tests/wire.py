"""A server that speaks as much of PostgreSQL's protocol as shows what a client says before it is let in, and then refuses it.

What goes in: whether it has TLS. What comes out: what each client said, and over what.
"""

from __future__ import annotations

import asyncio
import ssl
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

#: A certificate for `localhost` that has signed itself, its key, and the key under a password.
CERTIFICATE, KEY, ENCRYPTED_KEY = (
    Path(__file__).parent / "tls" / f"localhost.{name}" for name in ("crt", "key", "encrypted.key")
)
KEY_PASSWORD = "k&y p@ss"

SSL_REQUEST = 80877103


@dataclass
class Said:
    """What one client said."""

    asked_for_tls: bool = False
    over_tls: bool = False
    shown_a_certificate: bool = False
    startup: dict[str, str] = field(default_factory=dict)
    password: str | None = None


@dataclass
class Doorkeeper:
    """Where the server listens, and what its clients said."""

    port: int = 0
    heard: list[Said] = field(default_factory=list)


@asynccontextmanager
async def doorkeeper(*, tls: bool = False) -> AsyncIterator[Doorkeeper]:
    """The server on a port of the loopback, for a while."""
    keeper = Doorkeeper()
    meetings: list[Any] = []

    async def meet(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        said = Said()
        keeper.heard.append(said)
        meetings.append(asyncio.current_task())
        transport = writer.transport
        with suppress(OSError, asyncio.IncompleteReadError):
            await converse(reader, writer, said, tls=tls)
        with suppress(OSError):
            writer.close()
            await writer.wait_closed()
        transport.abort()  # a handshake that failed leaves it open

    server = await asyncio.start_server(meet, "127.0.0.1", 0)
    keeper.port = server.sockets[0].getsockname()[1]
    async with server:
        yield keeper
        await asyncio.gather(*meetings)
    await asyncio.sleep(0)  # transports close at the loop's next turn


async def converse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, said: Said, *, tls: bool) -> None:
    async def packet() -> bytes:
        (length,) = struct.unpack("!i", await reader.readexactly(4))
        return await reader.readexactly(length - 4)

    start = await packet()
    if struct.unpack("!i", start[:4]) == (SSL_REQUEST,):
        said.asked_for_tls = True
        writer.write(b"S" if tls else b"N")
        if tls:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(CERTIFICATE, KEY)
            context.load_verify_locations(CERTIFICATE)
            context.verify_mode = ssl.CERT_OPTIONAL
            await writer.start_tls(context)
            said.over_tls = True
            said.shown_a_certificate = bool(writer.get_extra_info("peercert"))
        start = await packet()
    texts = start[4:].decode().split("\0")
    said.startup = dict(zip(texts[::2], texts[1::2], strict=False))
    writer.write(b"R" + struct.pack("!ii", 8, 3))  # a password in clear, please
    assert await reader.readexactly(1) == b"p"
    said.password = (await packet()).rstrip(b"\0").decode()
    refusal = b"SFATAL\0C28P01\0Mnobody is let in\0\0"
    writer.write(b"E" + struct.pack("!i", len(refusal) + 4) + refusal)
    await writer.drain()

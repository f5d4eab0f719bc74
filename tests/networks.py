"""A network between the product and PostgreSQL, which can lose what is sent over it: a proxy that swallows packets.

What goes in: the URL of a database. What comes out: a `Network` with the URL that leads through it. A connection that is silent
takes what it is given and passes nothing on, in either direction, as one that a firewall forgot or whose host is gone. Neither
side is told, also when the other ends it. Where no server listens a connection is taken and ended, as proxies do. What a server
says beside its answer can be put before that, too.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field

from sqlalchemy import URL, make_url

#: How PostgreSQL's protocol says goodbye.
GOODBYE = b"X\x00\x00\x00\x04"


@dataclass(eq=False)
class Wire:
    """One connection. `last` is how many more messages of the client get through, and `answers` whether the server's do then."""

    client: asyncio.StreamWriter
    server: asyncio.StreamWriter
    last: int | None = None
    answers: bool = False
    #: Silent from the client's message on that holds this, behind it and `more` that follow it, or before it.
    behind: bytes | None = None
    before: bytes | None = None
    more: int = 0
    sent: int = 0
    silent: bool = False
    #: Whether the client said something that has no answer, and did not only leave.
    heard: bool = False
    #: What the server says before its next answer.
    beside: bytes = b""

    def passes(self, data: bytes) -> bool:
        """Whether a message of the client gets through."""
        if self.silent or (self.before is not None and self.before in data):
            self.silent = True
            self.heard |= data != GOODBYE
            return False
        if data == GOODBYE:  # has no answer, so nobody waits for one
            return True
        if self.last is not None and self.sent >= self.last:
            self.silent = self.heard = True
            return False
        self.sent += 1
        if self.behind is not None and self.behind in data:
            self.behind, self.last = None, self.sent + self.more
        if self.last == self.sent and not self.answers:
            self.silent = self.heard = True
        return True


def happened() -> asyncio.Event:
    """An event that nobody waits for any more."""
    event = asyncio.Event()
    event.set()
    return event


@dataclass
class Network:
    """All connections over it, in the order in which they were opened."""

    url: str
    wires: list[Wire] = field(default_factory=list)
    #: Whether a connection that is opened now is silent from the beginning.
    dark: bool = False
    #: What a connection that is opened waits for until it gets through.
    turn: asyncio.Event = field(default_factory=happened)
    #: What a wire that is opened now is silent behind, or before.
    behind: bytes | None = None
    before: bytes | None = None
    more: int = 0
    #: The client's message whose answer has something beside it, and what that is.
    asked: bytes = b""
    beside: bytes = b""

    async def connected(self, target: URL) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """A connection to the server, when it has its turn."""
        await self.turn.wait()
        return await connected(target)

    def silence(self) -> int:
        """Forget the connections there are; how many of them were open."""
        open_ = [wire for wire in self.wires if not wire.client.is_closing()]
        for wire in open_:
            wire.silent = True
        return len(open_)

    def lose(self, *, behind: bytes | None = None, before: bytes | None = None, more: int = 0) -> None:
        """From now on be silent on a connection behind a client's message that holds these bytes and `more`, or before it.

        A statement that is not known yet is sent in two messages: its text, and its values.
        """
        self.behind, self.before, self.more = behind, before, more
        for wire in self.wires:
            wire.behind, wire.before, wire.more = behind, before, more


def notice(**fields: str) -> bytes:
    """What a server says beside its answers: a WARNING with these fields, by the letters of the protocol."""
    told = {"S": "WARNING", "V": "WARNING", "C": "01000", **fields}
    body = b"".join(letter.encode() + text.encode() + b"\0" for letter, text in told.items()) + b"\0"
    return b"N" + (len(body) + 4).to_bytes(4, "big") + body


async def connected(target: URL) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """A connection to the server of a URL."""
    folder = target.query.get("host")
    if folder:
        return await asyncio.open_unix_connection(f"{folder}/.s.PGSQL.{target.port or 5432}")
    return await asyncio.open_connection(target.host or "127.0.0.1", target.port or 5432)


@asynccontextmanager
async def network(url: str) -> AsyncIterator[Network]:
    """A network before the server of a database."""
    target = make_url(url)
    tasks: set[asyncio.Task[None]] = set()

    async def to_server(reader: asyncio.StreamReader, wire: Wire) -> None:
        with suppress(OSError):  # it was reset
            while data := await reader.read(1 << 20):
                if wire.passes(data):
                    if made.asked and made.asked in data:
                        wire.beside = made.beside
                    wire.server.write(data)
        if not wire.silent:
            wire.server.close()

    async def to_client(reader: asyncio.StreamReader, wire: Wire) -> None:
        with suppress(OSError):
            while data := await reader.read(1 << 20):
                if not wire.silent:
                    said, wire.beside = wire.beside, b""
                    wire.client.write(said + data)
        if not wire.silent:
            wire.client.close()

    async def take(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        kept(asyncio.current_task())
        try:
            upstream, server = await made.connected(target)
        except OSError:  # nobody is there
            writer.close()
            return
        wire = Wire(writer, server, behind=made.behind, before=made.before, more=made.more, silent=made.dark)
        made.wires.append(wire)
        for pump in (to_server(reader, wire), to_client(upstream, wire)):
            kept(asyncio.ensure_future(pump))

    def kept(task: asyncio.Task[None] | None) -> None:
        assert task is not None
        tasks.add(task)
        task.add_done_callback(tasks.discard)

    listener = await asyncio.start_server(take, "127.0.0.1", 0)
    port = listener.sockets[0].getsockname()[1]
    through = target.set(host="127.0.0.1", port=port, query={"sslmode": "disable"})
    made = Network(through.render_as_string(hide_password=False))
    try:
        yield made
    finally:
        listener.close()
        made.turn.set()
        while True:
            for wire in made.wires:
                wire.client.close()
                wire.server.close()
            if not tasks:
                break
            await asyncio.wait(tasks, timeout=0.1)  # who was taken at last has a wire by then
        await asyncio.sleep(0)  # what is closed is let go in the next turn of the loop

"""WebSocket on a connection: uvicorn's protocol, bounded as HTTP on one is.

What goes in: bytes of a connection after its upgrade. What comes out: messages for the application, and what it says. What is
refused here: a message that is too large (closed with 1009), text that is not UTF-8 (1007). A client that does not read is
dropped after a while, and one that answers no ping.

Nothing is compressed: a message goes to many, and each connection would compress it anew.
"""

from __future__ import annotations

from typing import Any, ClassVar

from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from websockets.server import ServerProtocol

from graph.serve.unread import Unread
from graph.settings import Settings


class BoundedSocket(Unread, WebSocketsSansIOProtocol):
    """uvicorn's protocol with limits. `bounded_socket` makes the class that knows them."""

    settings: ClassVar[Settings]

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self.conn = ServerProtocol(max_size=self.settings.max_message_bytes, logger=self.logger)
        self.ping_interval = self.ping_timeout = self.settings.heartbeat_seconds

    def handle_ping(self) -> None:
        """Answer a ping, unless the client leaves what it was answered before unread: it could ask for ever."""
        answer = self.conn.data_to_send()
        if self.writable.is_set():
            self.transport.write(b"".join(answer))

    async def send(self, message: Any) -> None:
        await self.writable.wait()
        closed = self.close_sent
        if closed:  # by the server itself, for a frame that is none or a ping that nobody answered
            raise ConnectionAbortedError
        await super().send(message)
        if self.initial_response is not None and self.close_sent:
            self.handshake_complete = True  # it was refused, which is no fault of the application's


def bounded_socket(settings: Settings) -> type[BoundedSocket]:
    """The protocol of a server with these settings."""
    return type("Socket", (BoundedSocket,), {"settings": settings})

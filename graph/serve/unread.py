"""A client that does not read: it has a while to take what lies here for it, and is cut off then.

What goes in: what the transport says of its buffer. What comes out: the end of the connection when the time is over.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, ClassVar

from graph.settings import Settings

if TYPE_CHECKING:
    Base = asyncio.Protocol
else:
    Base = object


class Unread(Base):
    """What uvicorn's protocols of HTTP and WebSocket lack alike."""

    settings: ClassVar[Settings]
    loop: Any
    transport: Any
    sending: asyncio.TimerHandle | None = None

    def pause_writing(self) -> None:
        """More lies here than the network takes."""
        super().pause_writing()
        if self.sending is None:
            self.sending = self.loop.call_later(self.settings.send_timeout_seconds, self.transport.abort)

    def resume_writing(self) -> None:
        super().resume_writing()
        if self.is_taken():
            self._sent()

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        self._sent()

    def is_taken(self) -> bool:
        """Whether nothing more belongs to what the client has read of it."""
        return True

    def _sent(self) -> None:
        """Nobody waits for the client any more."""
        if self.sending is not None:
            self.sending.cancel()
            self.sending = None

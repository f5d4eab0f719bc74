"""A connection that sheds: who is too slow, how an answer leaves that no application made, what is done with what still comes.

What goes in: what is wrong with a message. What comes out: a refusal on the connection, in its turn among the answers. What is
refused here: whatever `graph.serve.http1` finds too much, too slow or no HTTP; what is told stands in `graph.serve.turned_away`.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, ClassVar

from graph.operations.request_errors import RequestRefused
from graph.serve.admission import Admission
from graph.serve.clients import Clients
from graph.serve.responses import RETRY_AFTER_SECONDS
from graph.serve.turned_away import HEAD_TOO_SLOW, NO_ROOM, turned_away, whole_response
from graph.settings import Settings

if TYPE_CHECKING:
    from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol as Base
else:
    Base = object

#: How long what a client still sends is read and thrown away once it was refused: closed at once, it might miss the answer.
LINGER_SECONDS = 2.0


class Shedding(Base):
    """What uvicorn's protocol lacks to refuse a message, or a connection, by itself."""

    settings: ClassVar[Settings]
    clients: ClassVar[Clients]
    #: Headers by which a page may read what it is refused with, of those that have come.
    readable_by: ClassVar[Any]
    admission: ClassVar[Admission]
    in_message: bool  # from its first byte to its last
    head_due: bool  # a head, or the rest of it
    has_room = True  # this connection
    timer: asyncio.TimerHandle | None = None
    refused: RequestRefused | None = None  # and what comes now is thrown away
    skipping = False  # the message that is being read is refused, and its body thrown away
    owed = False  # its refusal is kept back
    come_back = 0.0  # when a client who was refused may ask again

    def _wait(self, seconds: float | None) -> None:
        """Close the connection after a while; `None`: not any more."""
        if self.timer is not None:
            self.timer.cancel()
            self.timer = None
        if seconds is not None:
            self.timer = self.loop.call_later(seconds, self._too_slow)

    def _too_slow(self) -> None:
        self.timer = None
        if self.transport.is_closing():
            return
        if not self.has_room and not self.refused:
            self._refuse(NO_ROOM)
        elif self.owed or (self.head_due and self.flow.read_paused):  # it is not the client who is slow
            self._wait(self.settings.head_timeout_seconds)
        elif self.head_due and self.in_message and not self.refused:
            self._refuse(HEAD_TOO_SLOW)
        else:
            self.transport.abort()

    def _is_ready(self) -> bool:
        """Whether an answer may be written as it is: none is on its way, and the connection and its client take one."""
        is_over = self.cycle is None or self.cycle.response_complete
        can_take = self.parser.should_keep_alive() and not self.flow.write_paused
        is_page = any(name == b"origin" for name, _ in self.headers)  # whose browser wants more headers
        return is_over and can_take and not is_page and self.parser.get_method() != b"HEAD"

    def _turn_away(self) -> None:
        """Refuse a message by its head, and throw its body away. It costs as little as can be: others want that time."""
        self.skipping = self.owed = True
        self._wait(self.settings.head_timeout_seconds)
        if self.loop.time() < self.come_back:
            self.flow.pause_reading()
            self.admission.early.add(self._tell)
        else:
            self._tell()

    def _tell(self) -> None:
        """Write the refusal that is owed, if there is one."""
        if not self.owed or self.transport.is_closing():
            return
        self.owed = False
        self.come_back = self.loop.time() + RETRY_AFTER_SECONDS
        self.transport.write(turned_away())
        self.flow.resume_reading()
        if not self.in_message:
            self._wait_for_next()

    def shutdown(self) -> None:
        self._tell()
        super().shutdown()

    def _wait_for_next(self) -> None:
        self.clients.silent[self] = None
        self.timeout_keep_alive_task = self.loop.call_later(self.timeout_keep_alive, self.timeout_keep_alive_handler)

    def _refuse(self, error: RequestRefused) -> None:
        """Answer what never reached the application, and read no further; earlier requests are answered first."""
        self._tell()
        self.refused = error
        self._wait(None)
        cycle = self.cycle
        if cycle is None or cycle.response_complete:
            self._end(error)
        elif cycle.more_body and (self.pipeline or cycle.response_started):
            self.transport.close()
        elif cycle.more_body:
            self._end(error)

    def _end(self, error: RequestRefused) -> None:
        self.transport.write(whole_response(error, (b"connection", b"close"), *self.readable_by(self.headers or ())))
        if self.transport.can_write_eof():
            self.transport.write_eof()
            self._wait(LINGER_SECONDS)
        else:
            self.transport.close()

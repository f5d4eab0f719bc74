"""HTTP on a connection: uvicorn's protocol, whose parser takes heads of any size for ever, and what bounds it.

What goes in: bytes of a connection. What comes out: requests for the application, and its answers. What is refused here: a head
that is too large (431) or too slow (408), a URL that is too long (414), what is no HTTP or names no host, or two (400), CONNECT
(405), a connection for which there is no room (503), a request to `/graphql` that would wait too long (503,
`graph.serve.admission`). A connection that says nothing is closed, and one whose client does not read. Where there are too many,
the one that has been silent for longest gives way; where none is silent, some of those that come are told so once their head is
here, the others at once.

An offer to go on in another protocol than WebSocket, such as HTTP/2, is passed over, as RFC 9110 allows: the request is answered
as it is.
"""

from __future__ import annotations

import asyncio
import re
from functools import partial
from typing import Any, ClassVar

import httptools
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from graph.operations.request_errors import RequestRefused
from graph.serve.admission import Admission
from graph.serve.browsers import readable_by
from graph.serve.clients import clients_of
from graph.serve.cycle import Cycle
from graph.serve.frames import BoundedSocket, bounded_socket
from graph.serve.hosts import middleware
from graph.serve.load import Load
from graph.serve.shedding import Shedding
from graph.serve.turned_away import (
    ENDING,
    NO_HOST,
    NO_HTTP,
    NO_ROOM,
    NO_TUNNEL,
    OVERLOADED,
    answer_refusal,
    head_too_large,
    url_too_long,
)
from graph.serve.unread import Unread
from graph.settings import Settings

#: Bytes that the frames of a chunked body may have for each byte in it: a chunk of one byte takes six.
FRAME_BYTES = 8
#: What stands in a head only between a client and the next server, and belongs to the offer of another protocol.
OF_UPGRADE = (b"upgrade", b"http2-settings")

#: Connections beyond those for which there is room that are read as far as their head: a page may read what it is told only when
#: it has said whose it is, and a client that still sends may miss an answer behind which the connection is closed.
TOLD_BY_HEAD = 16
#: How long such a head may take.
NO_ROOM_SECONDS = 1.0

#: How URLs begin that name no host; and one that does, as proxies are asked: its host, and the rest.
ORIGINS = (b"/", b"*")
WHOLE_URL = re.compile(rb"(?:https?|wss?)://([^/?#@]+)((?:[/?][^#]*)?)", re.IGNORECASE)

#: What is refused under too much load; whoever asks how the server does is always answered.
BOUNDED_PATH = b"/graphql"


class BadHead(Exception):
    """Raised in the parser's hands, which then reads no further: what is wrong with a head."""

    def __init__(self, error: RequestRefused) -> None:
        super().__init__()
        self.error = error


class BoundedProtocol(Shedding, Load, Unread, HttpToolsProtocol):
    """uvicorn's protocol with limits. `protocol_of` makes the class that knows them."""

    #: What answers who is refused, as far as a page of another origin must be able to read it.
    overloaded: ClassVar[Any]
    ending: ClassVar[Any]
    crowded: ClassVar[Any]
    long: ClassVar[Any]
    #: Whether the server ends: it takes no request any more, and each connection is closed behind an answer.
    draining: ClassVar[bool] = False
    socket: ClassVar[type[BoundedSocket]]

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self.ws_protocol_class = self.socket
        self.in_message = False  # from its first byte to its last
        self.head_due = True  # a head, or the rest of it
        self.room = self.settings.max_head_bytes  # for bytes of this message that are not its body
        self.feeding = 0  # bytes in the parser's hands
        self.ended = False  # whether a message ended in them
        self.admitted = True  # the message that is being read
        self.answering: Any = None  # the cycle that runs; `cycle` is that of the message that came last

    # ---- the connection

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn has it
        super().connection_made(transport)
        clients = self.clients
        if len(self.connections) <= clients.most or clients.drop_one():
            clients.silent[self] = None
            self._wait(self.settings.head_timeout_seconds)
        elif len(self.connections) <= clients.most + TOLD_BY_HEAD:
            self.has_room = False
            self._wait(min(NO_ROOM_SECONDS, self.settings.head_timeout_seconds))
        else:
            self._refuse(NO_ROOM)
            self.transport.close()

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        self.clients.silent.pop(self, None)
        self._wait(None)
        self._forget()
        if self.answering is not None:  # uvicorn tells the last one
            self.answering.disconnected = True
            self.answering.message_event.set()

    # ---- a client that does not read

    def is_taken(self) -> bool:
        """While there is more of an answer its time goes on; an event stream has no end."""
        cycle = self.answering
        return cycle is None or cycle.response_complete or not cycle.response_started or bool(cycle.chunked_encoding)

    # ---- bytes

    def data_received(self, data: bytes) -> None:
        if self.refused:
            return
        self._unset_keepalive_if_required()
        if not self.in_message:
            self.head_due, self.room = True, self.settings.max_head_bytes
        fed = 0
        try:
            while len(data) - fed > (step := self.room if self.head_due else self.settings.max_head_bytes):
                self._feed(data[fed : fed + step])
                fed += step
                if (self.head_due and not self.room) or (self.in_message and self.room < 0):
                    self._refuse(head_too_large(self.settings.max_head_bytes))
                    return
            self._feed(data[fed:] if fed else data)
        except httptools.HttpParserUpgrade as stopped:
            self._upgrade(data[fed + stopped.args[0] :])
        except httptools.HttpParserError as error:
            bad = error.__context__
            self._refuse(bad.error if isinstance(bad, BadHead) else NO_HTTP)
        else:
            if self.room < 0 and self.in_message:
                self._refuse(head_too_large(self.settings.max_head_bytes))
            elif self.head_due and self.timer is None:
                self._wait(self.settings.head_timeout_seconds)

    def _feed(self, data: bytes) -> None:
        self.feeding, self.ended = len(data), False
        self.parser.feed_data(data)
        self.room -= len(data)

    def _upgrade(self, rest: bytes) -> None:
        """Go on after a head that offers another protocol; the parser takes what follows for that."""
        if self._should_upgrade():
            if len(self.url) > self.settings.max_url_bytes:
                self._refuse(url_too_long(self.settings.max_url_bytes))
                return
            if self.cycle is not None and (not self.cycle.response_complete or self.flow.write_paused):
                self._refuse(NO_HTTP)  # answers to earlier requests are not through
                return
            self.clients.silent.pop(self, None)
            self._wait(None)
            self.handle_websocket_upgrade()
        elif self.scope["method"] == "CONNECT":
            self._refuse(NO_TUNNEL)
        else:
            version = self.scope["http_version"].encode()
            head = [b"%s %s HTTP/%s\r\n" % (self.scope["method"].encode(), self.url, version)]
            head += [b"%s: %s\r\n" % header for header in self.headers if header[0] not in OF_UPGRADE]
            self.parser = httptools.HttpRequestParser(self)
            self.in_message = False
            self.data_received(b"".join([*head, b"\r\n", rest]))

    # ---- what the parser finds

    def on_message_begin(self) -> None:
        self._tell()  # answers have an order
        self._unset_keepalive_if_required()
        super().on_message_begin()
        self.in_message = self.head_due = True
        self.room = self.settings.max_head_bytes + (self.feeding if self.ended else 0)

    def on_header(self, name: bytes, value: bytes) -> None:
        if self.head_due:  # what stands behind a chunked body is nothing that anybody here asks for
            super().on_header(name, value)

    def on_headers_complete(self) -> None:
        self.head_due = False
        if self.timer is not None:
            self._wait(None)
        hosts = [name for name, _ in self.headers].count(b"host")
        if hosts != 1 and (hosts or self.parser.get_http_version() == "1.1"):
            raise BadHead(NO_HOST)
        if not self.url.startswith(ORIGINS) and self.parser.get_method() != b"CONNECT":
            self._take_host()
        if not self.has_room:
            if self.parser.get_method() != b"OPTIONS":
                raise BadHead(NO_ROOM)
            self._answer_last_by(self.crowded)
            return
        if self.parser.should_upgrade() and not self._should_upgrade():
            self.scope["method"] = self.parser.get_method().decode("ascii")
            self.scope["http_version"] = self.parser.get_http_version()
            return
        if len(self.url) > self.settings.max_url_bytes and not self.parser.should_upgrade():
            self.admitted, self.url = False, self.url[: self.settings.max_url_bytes]
            self._answer_by(self.long)
            return
        is_bounded = self.url.startswith(BOUNDED_PATH) and not self.parser.should_upgrade()
        if self.draining:
            self._answer_last_by(self.ending if is_bounded else self.app)
            return
        self.admitted = not is_bounded or self.admission.admits()
        if self.admitted:
            super().on_headers_complete()
            return
        if self._is_ready():
            self._turn_away()
            return
        self._answer_by(self.overloaded)

    def _take_host(self) -> None:
        """Take the host from a URL that names one, whatever `Host` says (RFC 9112, section 3.2.2): a cache before us does."""
        found = WHOLE_URL.fullmatch(self.url)
        if found is None:
            raise BadHead(NO_HTTP)
        host, path = found.groups()
        self.headers[:] = [*((name, value) for name, value in self.headers if name != b"host"), (b"host", host)]
        self.url = path if path.startswith(b"/") else b"/" + path

    def _answer_by(self, app: Any) -> None:
        """Let another application answer the message whose head is there."""
        usual, self.app = self.app, app
        super().on_headers_complete()
        self.app = usual

    def _answer_last_by(self, app: Any) -> None:
        """The same, and close the connection behind the answer."""
        self.admitted = app is self.app
        self._answer_by(app)
        self.cycle.keep_alive = False

    def on_body(self, body: bytes) -> None:
        self.room += len(body) * (1 + FRAME_BYTES)
        if not self.skipping:
            super().on_body(body)

    def on_message_complete(self) -> None:
        self.in_message, self.ended = False, True
        if self.parser.should_upgrade():
            return
        if self.skipping:
            self.skipping = False
            self._wait(None)
            self.clients.silent.pop(self, None)
            if not self.owed:
                self._wait_for_next()
            return
        super().on_message_complete()
        self.clients.silent.pop(self, None)
        if self.cycle.response_complete:  # refused before it was whole
            self._wait(None)
            self._wait_for_next()
        elif self.admitted:
            self._asked()

    # ---- answers

    def _start_asgi_task(self, cycle: Any, app: Any) -> None:
        cycle.__class__ = Cycle  # uvicorn makes its own, and asks nobody
        self.answering = cycle
        super()._start_asgi_task(cycle, app)

    def on_response_complete(self) -> None:
        super().on_response_complete()
        self._answered()
        if not self.flow.write_paused:
            self._sent()
        if self.transport.is_closing() or not self.cycle.response_complete:
            return
        if self.refused:
            self._unset_keepalive_if_required()
            self._end(self.refused)
            return
        if self.in_message:  # and waited for by the timer of its head, or of what is left of it
            self._unset_keepalive_if_required()
        if self.in_message and not self.head_due:  # the rest is read and thrown away, for a while
            self._wait(self.settings.head_timeout_seconds)
        else:
            self.clients.silent[self] = None


def protocol_of(settings: Settings, admission: Admission | None = None) -> type[BoundedProtocol]:
    """The protocol of a server with these settings; `admission` is that of an application which sockets lead to, too."""
    clients = clients_of(settings)
    errors = {"overloaded": OVERLOADED, "ending": ENDING, "crowded": NO_ROOM, "long": url_too_long(settings.max_url_bytes)}
    refusals: dict[str, Any] = {name: partial(answer_refusal, error) for name, error in errors.items()}
    for each in reversed(middleware(settings)):  # or a page of another origin could not read what is wrong
        refusals = {name: each.cls(app, *each.args, **each.kwargs) for name, app in refusals.items()}
    known = {
        "settings": settings,
        "clients": clients,
        "admission": admission or Admission(settings.pool_timeout_seconds),
        **{name: staticmethod(app) for name, app in refusals.items()},
        "readable_by": staticmethod(readable_by(settings)),
        "socket": bounded_socket(settings),
    }
    return type("Protocol", (BoundedProtocol,), known)

"""A request and its answer on a connection: uvicorn's cycle, which lets an answer that is there as a whole leave in one write.

What goes in: ASGI messages. What comes out: bytes on the transport. What may be refused here: a header that would be two.

uvicorn writes a head as soon as it is there, and the body behind it. That is two calls of the system, two packets, and a client
that is woken twice. Here a head that says how long its body is waits for it; that of a stream leaves at once.
"""

from __future__ import annotations

import re
from http import HTTPStatus
from typing import Any

from uvicorn.protocols.http.httptools_impl import RequestResponseCycle

from graph.operations.aside import aside

#: A body up to this size leaves with its head; to copy a larger one costs more than a second write.
JOINED_BYTES = 2**16

STATUS_LINES = {status.value: b"HTTP/1.1 %d %b\r\n" % (status, status.phrase.encode()) for status in HTTPStatus}
#: The lines of a head: names and values, none of which may hold the end of a line.
LINES = re.compile(rb"(?:[!#$%&'*+.^_`|~0-9A-Za-z-]+: [^\r\n\0]*\r\n)*")


class Cycle(RequestResponseCycle):
    """uvicorn's, for answers whose length is known before."""

    head: bytes | None = None  # waits for its body
    length = 0  # of that

    async def send(self, message: Any) -> None:
        if self.flow.write_paused and not self.disconnected and not self.chunked_encoding:
            with aside():  # whose client does not read keeps nobody waiting but himself; a stream is aside as a whole
                await self.flow.drain()
        if not self.response_started and not self.disconnected and not self.access_log:
            if message["type"] == "http.response.start":
                self.head = self._head(message)
                if self.head is not None:
                    return
            elif self.head is not None:
                body = message.get("body", b"")
                if not message.get("more_body") and len(body) == self.length <= JOINED_BYTES and self.scope["method"] != "HEAD":
                    self._write(self.head, body)
                    return
                self._begin(self.head)
        await super().send(message)

    def _head(self, message: Any) -> bytes | None:
        """The head of an answer, if it says how long its body is, and nothing else of how it is sent."""
        status = message["status"]
        length, lines = None, []
        for name, value in (*self.default_headers, *message.get("headers", ())):
            if name == b"content-length":
                length = int(value)
            elif name in (b"connection", b"transfer-encoding"):
                return None
            lines.append(b"%b: %b\r\n" % (name, value))
        if length is None or status not in STATUS_LINES:
            return None
        head = b"".join(lines)
        if not LINES.fullmatch(head) or head.count(b"\n") != len(lines):
            raise RuntimeError("a header of this answer is none")
        self.length = length
        return STATUS_LINES[status] + head

    def _started(self, head: bytes) -> bytes:
        self.response_started, self.waiting_for_100_continue, self.head = True, False, None
        return head + (b"\r\n" if self.keep_alive else b"connection: close\r\n\r\n")

    def _begin(self, head: bytes) -> None:
        """Send the head; the body comes in pieces, or never."""
        self.chunked_encoding, self.expected_content_length = False, self.length
        self.transport.write(self._started(head))

    def _write(self, head: bytes, body: bytes) -> None:
        """Send all of the answer."""
        self.transport.write(self._started(head) + body)
        self.response_complete = True
        self.message_event.set()
        if not self.keep_alive:
            self.transport.close()
        self.on_response()

"""Answers to requests that the application never sees: no HTTP, too large, too slow, too many.

What goes in: what is wrong. What comes out: a whole response in bytes, or an application that answers with it; each tells that a
request was shed. What may be refused here: everything.
"""

from __future__ import annotations

import os
from http import HTTPStatus

from starlette.types import Receive, Scope, Send

from graph.observations import RequestShed
from graph.operations.request_errors import RequestRefused, refused
from graph.serve.responses import METHODS, RETRY_AFTER_SECONDS, headers_of, refusal_body

NO_HTTP = refused("BAD_REQUEST", "The request is not HTTP/1.1, or its method is not known.", 400)
NO_HOST = refused("BAD_REQUEST", "A request by HTTP/1.1 has one `Host`.", 400)
NO_TUNNEL = refused("METHOD_NOT_ALLOWED", "Send GET, POST or QUERY.", 405)
HEAD_TOO_SLOW = refused("REQUEST_TIMEOUT", "The head of the request took too long to arrive.", 408)
ENDING = refused("SERVICE_UNAVAILABLE", "The server ends; try again.", 503)
NO_ROOM = refused("SERVICE_UNAVAILABLE", "The service has too many connections; try again.", 503)
OVERLOADED = refused("SERVICE_UNAVAILABLE", "The service is overloaded; try again.", 503, retryAfter=RETRY_AFTER_SECONDS)


def head_too_large(limit: int) -> RequestRefused:
    return refused("HEAD_TOO_LARGE", f"The head of a request may have at most {limit} bytes.", 431, limit=limit)


def url_too_long(limit: int) -> RequestRefused:
    return refused("URL_TOO_LONG", f"A URL may have at most {limit} bytes; send the request in a body.", 414, limit=limit)


def shed(error: RequestRefused, request_id: str = "") -> tuple[int, bytes, str]:
    """Status, body and request id of a refusal, which is told."""
    request_id = request_id or os.urandom(8).hex()
    status, body = refusal_body(error, request_id)
    if RequestShed.listeners:
        RequestShed(str((error.errors[0].extensions or {}).get("code", "")), status).tell()
    return status, body, request_id


async def answer_refusal(error: RequestRefused, scope: Scope, receive: Receive, send: Send) -> None:
    """An application that answers with a refusal, without looking at the request."""
    status, body, request_id = shed(error)
    await send({"type": "http.response.start", "status": status, "headers": headers_of(status, len(body), request_id)})
    await send({"type": "http.response.body", "body": body})


def whole_response(error: RequestRefused, *more: tuple[bytes, bytes], request_id: str = "") -> bytes:
    """A whole HTTP response."""
    status, body, request_id = shed(error, request_id)
    head = b"HTTP/1.1 %d %b\r\n" % (status, HTTPStatus(status).phrase.encode())
    headers = [*headers_of(status, len(body), request_id), *more]
    if status == 405:
        headers.append((b"allow", METHODS))
    return b"".join([head, *(b"%b: %b\r\n" % header for header in headers), b"\r\n", body])


#: The response to whoever is turned away under load, in pieces between which the id of his request stands.
_NO_ID = "-" * 16
TURNED_AWAY = whole_response(OVERLOADED, request_id=_NO_ID).split(_NO_ID.encode())


def turned_away() -> bytes:
    """The response to whoever is turned away under load."""
    if RequestShed.listeners:
        RequestShed("SERVICE_UNAVAILABLE", 503).tell()
    return os.urandom(8).hex().encode().join(TURNED_AWAY)

"""Requests: what an HTTP message asks the engine to run.

What goes in: ASGI scopes and messages. What comes out: an `Asked`. What is refused here: other methods and media types,
bodies that are too large, not UTF-8, not JSON or no GraphQL request, each a `RequestRefused` with its HTTP status.
"""

from __future__ import annotations

import json
import re
from codecs import BOM_UTF8
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import parse_qs

from starlette.types import Receive, Scope

from graph.operations.documents import Document
from graph.operations.persisted import Persisted
from graph.operations.request_errors import RequestRefused, refused
from graph.read.types.amounts import NumberText
from graph.serve.negotiation import kept


@dataclass(frozen=True, slots=True)
class Asked:
    """A GraphQL request."""

    query: str
    variables: dict[str, Any]
    operation_name: str | None
    extensions: dict[str, Any]
    size: int
    #: The name of a document that is known by it; `query` is empty where the name is all that came, until it is `with_text`.
    document_id: str = ""


def only_declared(asked: Asked, document: Document) -> Asked:
    """What of a request is worth keeping while its events are told: the variables that its document declares."""
    named = {variable.name for variable in document.variables}
    return replace(asked, variables={name: value for name, value in asked.variables.items() if name in named}, extensions={})


#: Digits of a `Content-Length` that are read as a number.
LONGEST_LENGTH = 18


class ClientGone(Exception):
    """The client closed the connection before its request was whole."""


async def read_body(receive: Receive, limit: int) -> bytes:
    """The body, refused while it streams in once it is too large."""
    message = await receive()
    if message["type"] == "http.disconnect":
        raise ClientGone
    body: bytes = message.get("body", b"")
    if len(body) <= limit and not message.get("more_body", False):
        return body
    parts, size = [body], len(body)
    while size <= limit:
        if not message.get("more_body", False):
            return b"".join(parts)
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientGone
        part = message.get("body", b"")
        parts.append(part)
        size += len(part)
    raise too_large(limit, size)


def check_length(declared: str, limit: int) -> None:
    """Refuse a body by the length that its head says, before any of it is asked for."""
    if len(declared) <= LONGEST_LENGTH and declared.isdecimal() and int(declared) > limit:
        raise too_large(limit, int(declared))


def too_large(limit: int, size: int) -> RequestRefused:
    return refused("BODY_TOO_LARGE", f"A request body may have at most {limit} bytes.", 413, limit=limit, value=size)


def header(scope: Scope, name: bytes) -> str:
    """A header's value, or nothing; one that stands there several times is one list."""
    found = b""
    for key, value in scope["headers"]:
        if key == name:
            found = b"%b, %b" % (found, value) if found else value
    return str(found, "latin-1") if found else ""


def check_media_type(content_type: str, encoding: str) -> None:
    """Refuse a body that is not plain JSON in UTF-8."""
    if encoding and encoding.strip().lower() != "identity":
        raise refused("UNSUPPORTED_MEDIA_TYPE", "Send the body without a content encoding.", 415)
    if wanted := wanted_instead(content_type):
        raise refused("UNSUPPORTED_MEDIA_TYPE", wanted, 415)


@kept
def wanted_instead(content_type: str) -> str:
    """What to send instead of a body of this type; nothing where it is JSON in UTF-8."""
    media, _, parameters = content_type.partition(";")
    if media.strip().lower() not in ("application/json", "application/graphql+json"):
        return "Send the request as application/json."
    for parameter in parameters.split(";"):
        name, _, charset = parameter.strip().partition("=")
        if name.strip().lower() == "charset" and charset.strip('" ').lower() not in ("utf-8", "utf8"):
            return "Send JSON in UTF-8."
    return ""


#: Values that the JSON of a body may hold: 10,000 plain rows with ten columns each.
MAX_VALUES = 100_000
STRINGS = re.compile(rb'"(?:[^"\\]|\\.)*+"', re.DOTALL)


def check_values(body: bytes) -> None:
    """Refuse JSON that would become too many objects, before it does. To count marks and strings takes next to no time."""
    if marks(body) <= MAX_VALUES:
        return
    strings = (body.count(b'"') - body.count(b'\\"')) // 2
    values = strings if strings > 2 * MAX_VALUES else marks(STRINGS.sub(b"", body))
    if values > MAX_VALUES:
        raise refused("BODY_TOO_LARGE", f"A request may hold at most {MAX_VALUES} values.", 413, limit=MAX_VALUES, value=values)


def marks(body: bytes) -> int:
    return body.count(b",") + body.count(b"[") + body.count(b"{")


def _no_constant(text: str) -> Any:
    raise ValueError(f"{text} is no JSON")


#: Made once: `json.loads` with options makes a decoder each time.
DECODER = json.JSONDecoder(parse_float=NumberText, parse_constant=_no_constant)


def decode(body: bytes, what: str = "The body") -> Any:
    """JSON; numbers with a point keep their text, so that money is exact. Refused where it is none."""
    try:
        return DECODER.decode(body.removeprefix(BOM_UTF8).decode())
    except (ValueError, RecursionError):
        raise refused("BAD_REQUEST", f"{what} is not JSON in UTF-8.", 400) from None


def read_post(body: bytes) -> Asked:
    """The request in the body of a POST or a QUERY."""
    check_values(body)
    return asked_in(decode(body), len(body))


def read_get(scope: Scope) -> Asked:
    """The request in the query string of a GET."""
    given = {
        name: values[-1] for name, values in parse_qs(scope["query_string"].decode("latin-1"), keep_blank_values=True).items()
    }
    data: dict[str, Any] = {key: given[key] for key in ("query", "operationName", "documentId") if key in given}
    for name in ("variables", "extensions"):
        if given.get(name):
            data[name] = decode(given[name].encode(), f"`{name}`")
    return asked_in(data, len(scope["query_string"]))


def asked_in(data: Any, size: int) -> Asked:
    """The request in decoded JSON."""
    if isinstance(data, list):
        raise refused("BAD_REQUEST", "Batches of operations are not served; send one operation a request.")
    if not isinstance(data, dict):
        raise refused("BAD_REQUEST", "The body must be a JSON object with a `query`.")
    query, name = data.get("query"), data.get("operationName")
    variables, extensions = data.get("variables"), data.get("extensions")
    name_of_document = document_id(data.get("documentId"), extensions)
    if query is None and name_of_document:
        query = ""
    if not isinstance(query, str):
        raise refused("BAD_REQUEST", "`query` must be the text of a GraphQL document.")
    if not isinstance(name, (str, type(None))):
        raise refused("BAD_REQUEST", "`operationName` must be a string or null.")
    if not isinstance(variables, (dict, type(None))):
        raise refused("BAD_REQUEST", "`variables` must be an object or null.")
    if not isinstance(extensions, (dict, type(None))):
        raise refused("BAD_REQUEST", "`extensions` must be an object or null.")
    return Asked(query, variables or {}, name or None, extensions or {}, size, name_of_document)


def document_id(given: Any, extensions: Any) -> str:
    """The name of a document, as `documentId` or as Apollo's clients send it; nothing where there is none."""
    persisted = extensions.get("persistedQuery") if isinstance(extensions, dict) else None
    names = [] if given is None else [given]
    if persisted is not None:
        names.append(persisted.get("sha256Hash") if isinstance(persisted, dict) and persisted.get("version") == 1 else None)
    if not names:
        return ""
    if not all(isinstance(name, str) and name for name in names) or len({*names}) > 1:
        raise refused("BAD_REQUEST", "A document has one name: `documentId`, or `persistedQuery` {version: 1, sha256Hash}.")
    return str(names[0])


def with_text(asked: Asked, persisted: Persisted) -> Asked:
    """The request with the text of the document that it names. Raises `RequestRefused`."""
    text = persisted.text(asked.query, asked.document_id)
    return asked if text is asked.query else replace(asked, query=text)

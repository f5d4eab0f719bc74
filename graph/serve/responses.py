"""Responses: JSON bytes, the errors a client may see, and the status that fits.

What goes in: answers and exceptions. What comes out: `(status, body)`. An exception that is no refusal is logged, once, under
the request's id and shown as a generic message: no SQL, path or stack reaches a client.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any

import orjson
from graphql import ExecutionResult, GraphQLError

from graph.database.failures import Overloaded, Unavailable
from graph.observations import running
from graph.operations.engine import Response
from graph.operations.request_errors import RequestRefused
from graph.read.payloads.fragments import splice
from graph.read.refusals import Forbidden, all_of, each_cause_once, is_refusal, root
from graph.serve.negotiation import GRAPHQL_RESPONSE, JSON

#: What a response has beside its data: errors, an id.
LEFT_FOR_ERRORS = 2**14

logger = logging.getLogger("ordergraph.serve")


MEDIA = {media: f"{media}; charset=utf-8".encode() for media in (GRAPHQL_RESPONSE, JSON)}
#: Seconds until whoever was refused for want of time or room may ask again.
RETRY_AFTER_SECONDS = 1


#: Whatever is sent depends on these headers of a request.
VARY = (b"vary", b"Accept, Accept-Encoding, Authorization")
NOSNIFF = (b"x-content-type-options", b"nosniff")
#: An answer with data and errors (GraphQL over HTTP). Clients of the older media type know 200 alone.
PARTIAL = 294
METHODS = b"GET, HEAD, OPTIONS, POST, QUERY"


def headers_of(status: int, length: int, request_id: str, media: str = GRAPHQL_RESPONSE) -> list[tuple[bytes, bytes]]:
    """What stands above every answer of /graphql. `application/json` with another status than 2xx could be from anybody."""
    headers = [
        (b"content-type", MEDIA[media if status < 300 else GRAPHQL_RESPONSE]),
        (b"content-length", b"%d" % length),
        (b"x-request-id", request_id.encode()),
        VARY,
        NOSNIFF,
    ]
    if status == 503:
        headers.append((b"retry-after", b"%d" % RETRY_AFTER_SECONDS))
    return headers


def answer_body(
    answer: Response, request_id: str, max_bytes: int, *, with_cost: bool, more: dict[str, Any] | None = None
) -> tuple[int, bytes]:
    """The response to an operation that ran, its cost where that was asked for, and `more` extensions."""
    extensions = {"cost": answer.cost().report} if with_cost and answer.cost is not None else None
    if more:
        extensions = {**(extensions or {}), **more}
    if answer.data is not None:
        told = b',"extensions":%b' % orjson.dumps(extensions) if extensions else b""
        return 200, b'{"data":%b%b}' % (answer.data, told)
    assert answer.result is not None
    result = answer.result if extensions is None else ExecutionResult(answer.result.data, answer.result.errors, extensions)
    return result_body(result, request_id, max_bytes)


def result_body(result: ExecutionResult, request_id: str, max_bytes: int) -> tuple[int, bytes]:
    """The response to a mutation, fragments spliced in.

    Rows are counted while they are read, before anything is committed. What is too large here tells the client his own input in
    errors, again and again: a field that does is null.
    """
    body = _body(result, request_id)
    if len(body[1]) > max_bytes and result.data:
        sizes = {key: len(orjson.dumps(value, default=splice)) for key, value in result.data.items()}
        data, errors = dict(result.data), list(result.errors or ())
        for key in sorted(sizes, key=lambda key: sizes[key], reverse=True):
            if sum(sizes.values()) + LEFT_FOR_ERRORS <= max_bytes:
                break
            del sizes[key]
            data[key] = None
            errors = [error for error in errors if not error.path or error.path[0] != key]
            errors.append(unsent(key, max_bytes))
        body = _body(ExecutionResult(data, errors, result.extensions), request_id)
    return body


def unsent(key: str, max_bytes: int) -> GraphQLError:
    """A field of a mutation whose answer cannot be sent; what it wrote stays."""
    message = f"What this field answers has more than {max_bytes:,} bytes. Read what became of it."
    return GraphQLError(message, path=[key], extensions={"code": "ANSWER_TOO_LARGE", "limit": max_bytes})


def _body(result: ExecutionResult, request_id: str) -> tuple[int, bytes]:
    body: dict[str, Any] = {"data": result.data}
    if result.extensions:
        body["extensions"] = result.extensions
    if not result.errors:
        return 200, orjson.dumps(body, default=splice)
    errors = told(result.errors, request_id)
    unavailable = all(error["extensions"]["code"] == "SERVICE_UNAVAILABLE" for error in errors)
    if unavailable and (result.data is None or not any(result.data.values())):
        return 503, orjson.dumps({"errors": errors})  # nothing was done, and the client is asked to try again
    return PARTIAL, orjson.dumps({"errors": errors, **body}, default=splice)


def refusal_body(error: Exception, request_id: str) -> tuple[int, bytes]:
    """The response to a request that did not run."""
    status, errors = 500, [GraphQLError("Internal server error", original_error=error)]
    if isinstance(error, RequestRefused):
        status, errors = error.status, error.errors
    elif isinstance(error, GraphQLError) and is_refusal(error):
        status, errors = 403 if isinstance(error, Forbidden) else 422, all_of(error)
    elif isinstance(error, (Unavailable, TimeoutError)):
        status = 503
    return status, orjson.dumps({"errors": told(errors, request_id)})


def told(errors: Sequence[GraphQLError], request_id: str) -> list[dict[str, Any]]:
    """Errors as clients may see them; those that are no refusals go to the log, each cause in one line."""
    of_request = {"request_id": request_id}
    for error in each_cause_once(errors):
        cause = root(error)
        if isinstance(cause, Overloaded):
            continue  # as little as those who are refused at the door are
        if isinstance(cause, Unavailable):
            logger.warning("The database does not serve: %s", cause, extra=of_request)
        elif isinstance(cause, TimeoutError):
            logger.warning("A request took longer than it may", extra=of_request)
        elif not is_refusal(cause):
            logger.error("A request failed", exc_info=cause, extra=of_request)
    answered = [shown(error, request_id) for error in errors]
    if (operation := running()) is not None:
        operation.codes += [error["extensions"]["code"] for error in answered]
    return answered


def shown(error: GraphQLError, request_id: str) -> dict[str, Any]:
    """A GraphQL error as clients may see it."""
    cause = root(error)
    if is_refusal(cause):
        formatted: dict[str, Any] = dict(error.formatted)
        formatted["extensions"] = {**(error.extensions or {}), "requestId": request_id}
        return formatted
    message, code = "Internal server error", "INTERNAL_SERVER_ERROR"
    if isinstance(cause, (Unavailable, TimeoutError)):
        message, code = "The service cannot answer now; try again.", "SERVICE_UNAVAILABLE"
    masked: dict[str, Any] = {"message": message, "extensions": {"code": code, "requestId": request_id}}
    if error.path:
        masked["path"] = error.path
    return masked

"""Responses: JSON bytes, the errors a client may see, and the status that fits.

What goes in: answers and exceptions. What comes out: `(status, body)`. An exception that is no refusal is logged under the
request's id and shown as a generic message: no SQL, path or stack reaches a client.
"""

from __future__ import annotations

import logging
from typing import Any

import orjson
from graphql import ExecutionResult, GraphQLError

from graph.database.errors import Unavailable
from graph.operations.documents import RequestRefused
from graph.operations.engine import Answer
from graph.read.payload import splice

logger = logging.getLogger("ordergraph.serve")


def answer_body(answer: Answer, request_id: str, *, with_cost: bool) -> tuple[int, bytes]:
    """The response to an operation that ran."""
    if answer.data is not None:
        extensions = f',"extensions":{{"cost":{answer.cost}}}' if with_cost else ""
        return 200, f'{{"data":{answer.data}{extensions}}}'.encode()
    assert answer.result is not None
    return result_body(answer.result, request_id)


def result_body(result: ExecutionResult, request_id: str) -> tuple[int, bytes]:
    """The response to a mutation, fragments spliced in."""
    if not result.errors:
        return 200, orjson.dumps({"data": result.data}, default=splice)
    errors = [shown(error, request_id) for error in result.errors]
    unavailable = all(error["extensions"]["code"] == "SERVICE_UNAVAILABLE" for error in errors)
    nothing = result.data is None or not any(result.data.values())
    body: dict[str, Any] = {"errors": errors, "data": result.data}
    return 503 if unavailable and nothing else 200, orjson.dumps(body, default=splice)


def refusal_body(error: Exception, request_id: str) -> tuple[int, bytes]:
    """The response to a request that did not run."""
    status, errors = 500, [GraphQLError("Internal server error", original_error=error)]
    if isinstance(error, RequestRefused):
        status, errors = error.status, error.errors
    elif isinstance(error, GraphQLError):
        status, errors = 400, [error]
    elif isinstance(error, (Unavailable, TimeoutError)):
        status = 503
    return status, orjson.dumps({"errors": [shown(each, request_id) for each in errors]})


def shown(error: GraphQLError, request_id: str) -> dict[str, Any]:
    """A GraphQL error as clients may see it."""
    original = error.original_error
    while isinstance(original, GraphQLError) and original.original_error is not None:
        original = original.original_error
    if original is None or isinstance(original, GraphQLError):
        formatted: dict[str, Any] = dict(error.formatted)
        formatted["extensions"] = {"code": "BAD_REQUEST", **(error.extensions or {}), "requestId": request_id}
        return formatted
    masked: dict[str, Any] = {
        "message": "Internal server error",
        "extensions": {"code": "INTERNAL_SERVER_ERROR", "requestId": request_id},
    }
    if isinstance(original, (Unavailable, TimeoutError)):
        logger.warning("request %s: database unavailable: %s", request_id, original)
        masked["message"] = "The service cannot answer now; try again."
        masked["extensions"]["code"] = "SERVICE_UNAVAILABLE"
    else:
        logger.error("request %s failed", request_id, exc_info=original)
    if error.path:
        masked["path"] = error.path
    return masked

"""What is answered where no route answers: nothing here, another method, a bug.

What goes in: the error that Starlette made of it. What comes out: a page for browsers, a line of plain text for others.
"""

from __future__ import annotations

from html import escape
from http import HTTPStatus

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response

from graph.serve.pages.shell import framed, prefers_page, root_of, shown_page

WORDS = {
    404: "There is nothing here; GraphQL is served at /graphql.",
    405: "This address is only read: send GET.",
    500: "This is a bug, and the log has it.",
}


async def mistake(request: Request, error: Exception) -> Response:
    """The answer to a request that failed on its way to a route, or in one."""
    status = error.status_code if isinstance(error, HTTPException) else 500
    answer = told_as_page(request, status) if prefers_page(request.scope) else PlainTextResponse(f"{sentence(status)}\n", status)
    answer.headers.update({"vary": "Accept", **(getattr(error, "headers", None) or {})})
    return answer


def sentence(status: int) -> str:
    """What is the matter, and where to go."""
    return WORDS.get(status, HTTPStatus(status).description or HTTPStatus(status).phrase)


def told_as_page(request: Request, status: int) -> Response:
    """An error as a page, with the way back."""
    root = escape(root_of(request.scope))
    body = (
        f'<p class="lead">{status}</p><h1>{escape(HTTPStatus(status).phrase)}</h1><p>{escape(sentence(status))}</p>'
        f'<p class="row"><a class="button main" href="{root}/">To the start</a><a class="button" href="{root}/docs">Docs</a></p>'
    )
    return shown_page(framed(f"{status} · ordergraph", body, root_of(request.scope)), status)

"""What is answered where no route answers: nothing here, another method, a bug.

What goes in: the error that Starlette made of it. What comes out: a page for browsers, a line of plain text for others.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from html import escape
from http import HTTPStatus
from typing import Any

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response

from graph.serve.pages.shell import Website, framed, prefers_page, shown_page, website_of
from graph.settings import Settings

WORDS = {
    404: "There is nothing here; GraphQL is served at /graphql.",
    405: "This address is only read: send GET.",
    500: "This is a bug, and the log has it.",
}


def handlers(settings: Settings) -> dict[Any, Callable[..., Any]]:
    """Starlette's handlers of exceptions, by status."""
    return dict.fromkeys(WORDS, partial(mistake, settings))


async def mistake(settings: Settings, request: Request, error: Exception) -> Response:
    """The answer to a request that failed on its way to a route, or in one."""
    status = error.status_code if isinstance(error, HTTPException) else 500
    if prefers_page(request.scope):
        answer: Response = told_as_page(website_of(request.scope, settings), status, sentence(status))
    else:
        answer = PlainTextResponse(f"{sentence(status)}\n", status)
    answer.headers.update({"vary": "Accept", **(getattr(error, "headers", None) or {})})
    return answer


def sentence(status: int) -> str:
    """What is the matter, and where to go."""
    return WORDS.get(status, HTTPStatus(status).description or HTTPStatus(status).phrase)


def told_as_page(site: Website, status: int, what: str) -> Response:
    """An error as a page, with the way back where there is one."""
    root = escape(site.root)
    body = f'<p class="lead">{status}</p><h1>{escape(HTTPStatus(status).phrase)}</h1><p>{escape(what)}</p>'
    if site.places:
        ways = f'<a class="button main" href="{root}/">To the start</a><a class="button" href="{root}/docs">Docs</a>'
        body += f'<p class="row">{ways}</p>'
    return shown_page(framed(f"{status} · ordergraph", body, site), status)

"""Pages for operators, which are everybody's where nobody is asked who he is, and else an administrator's.

What goes in: a page, and who lets senders in. What comes out: the page, guarded. What is refused here: who does not show who
he is (401), and who is no administrator of all (403).
"""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable, Collection

from starlette.requests import Request
from starlette.responses import Response

from graph.access.gatekeeper import Gatekeeper
from graph.database.failures import Unavailable
from graph.operations.authorization import insufficient
from graph.operations.request_errors import RequestRefused, refused
from graph.serve.requests import header
from graph.serve.responses import headers_of, refusal_body

Page = Callable[[Request], Awaitable[Response]]


def not_yours(scopes: Collection[str]) -> RequestRefused:
    """The refusal of who has these scopes and is no administrator of all."""
    error = refused("FORBIDDEN", "This takes the scope `admin`, and no customer.", 403)
    return error if "admin" in scopes else RequestRefused(error.errors, error.status, insufficient(["admin"]))


def guarded(page: Page, gatekeeper: Gatekeeper | None) -> Page:
    """The page, for whoever may see it."""
    if gatekeeper is None or gatekeeper.credentials is None:
        return page

    async def answer(request: Request) -> Response:
        try:
            viewer = (await gatekeeper.admit(header(request.scope, b"authorization"), request.client)).viewer
            if viewer is not None and not viewer.is_operator:
                raise not_yours(viewer.scopes)
        except (RequestRefused, Unavailable) as error:
            return whole_refusal(error)
        return await page(request)

    return answer


def whole_refusal(error: RequestRefused | Unavailable) -> Response:
    """The response to who is not let in."""
    request_id = os.urandom(8).hex()
    status, body = refusal_body(error, request_id)
    answer = Response(body, status)
    more = error.headers if isinstance(error, RequestRefused) else ()
    answer.raw_headers = [*headers_of(status, len(body), request_id), *more]
    return answer

"""Under which names the server is called, and what else stands before a route that browsers call.

What goes in: settings, what a request's head says. What comes out: Starlette's middleware for what is set, none for what is not.
What is refused here: another name in `Host` (400), to a browser as a page, to others as a GraphQL error.
"""

from __future__ import annotations

from functools import partial

from starlette.middleware import Middleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from graph.operations.request_errors import refused
from graph.serve.browsers import cors, nothing
from graph.serve.guarded import whole_refusal
from graph.serve.pages.mistakes import told_as_page
from graph.serve.pages.shell import Website, prefers_page, root_of
from graph.settings import Settings

WORDS = "This server is not called by the `Host` of the request (ORDERGRAPH_HOSTS)."
#: How many names are remembered: where one of the settings has a star, clients make them up.
KEPT_NAMES = 1_000
OTHER_NAME = refused("BAD_REQUEST", WORDS, 400)


def middleware(settings: Settings) -> list[Middleware]:
    """What stands before a route that browsers call, the first outermost. A route without it answers everybody."""
    found = []
    if settings.hosts:
        names = [f"[{host}]" if ":" in host else host for host in settings.hosts]
        found.append(Middleware(NamedHosts, hosts=[*settings.hosts, *names]))
    if settings.cors_origins:
        found.append(Middleware(partial(cors, settings)))
    return found


class NotNamed(Exception):
    """What Starlette would refuse."""


class NamedHosts:
    """An application that answers requests to these names alone: Starlette judges, and its answer is told in our words.

    A name that it let pass is not judged again, as it would be with every point read.
    """

    def __init__(self, app: ASGIApp, hosts: list[str]) -> None:
        self.app = app
        self.passed: set[tuple[bytes, ...]] = set()
        self.judge = TrustedHostMiddleware(nothing, allowed_hosts=hosts, www_redirect=False)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        called = tuple(value for name, value in scope["headers"] if name == b"host")
        if called not in self.passed:
            try:
                await self.judge(scope, receive, not_named)
            except NotNamed:
                await other_name(scope)(scope, receive, send)
                return
            if len(self.passed) < KEPT_NAMES:
                self.passed.add(called)
        await self.app(scope, receive, send)


async def not_named(message: Message) -> None:
    """In place of what sends the answer of whoever judges."""
    raise NotNamed


def other_name(scope: Scope) -> Response:
    """The response to a request to another name; none of its links would lead anywhere."""
    if scope["type"] == "http" and prefers_page(scope):
        return told_as_page(Website(root_of(scope)), 400, WORDS)
    return whole_refusal(OTHER_NAME)

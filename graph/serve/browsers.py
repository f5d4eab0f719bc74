"""Browsers: which pages may call, and what the pages that the server sends may do.

What goes in: settings, and what a request's head says. What comes out: Starlette's middleware; headers. What is refused here: a
page of an origin that is not named is answered without the headers by which its browser would let it read the answer, and its
preflights are refused (400).
"""

from __future__ import annotations

import re
from base64 import b64encode
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from hashlib import sha256

from starlette.datastructures import MutableHeaders
from starlette.middleware.cors import CORSMiddleware
from starlette.types import ASGIApp, Receive, Scope, Send

from graph.serve.own_writes import HEADER as READ_AFTER
from graph.settings import Settings

METHODS = ("GET", "HEAD", "POST", "QUERY")
#: What a page may read of an answer's head beside what every page may.
EXPOSED = ("ETag", "Retry-After", "WWW-Authenticate", "X-Request-Id")
#: How long a browser need not ask again; Chromium takes no more.
PREFLIGHT_SECONDS = 7_200

INLINE = re.compile(r"<script>(.*?)</script>", re.DOTALL)
SCRIPT = re.compile(r"<script[^>]*?\ssrc=")


def cors(settings: Settings, app: ASGIApp) -> CORSMiddleware:
    """What tells browsers which pages may call an application."""
    return CORSMiddleware(
        app,
        allow_origins=settings.cors_origins,
        allow_methods=METHODS,
        allow_headers=["*"],  # a browser adds none that gives a right: a page that sends a token has it
        allow_credentials=settings.cors_credentials,
        expose_headers=(*EXPOSED, READ_AFTER) if settings.replica_urls else EXPOSED,
        max_age=PREFLIGHT_SECONDS,
    )


def readable_by(settings: Settings) -> Callable[[Sequence[tuple[bytes, bytes]]], Sequence[tuple[bytes, bytes]]]:
    """What makes, of the headers of a request as far as they came, those by which its page may read an answer.

    For answers that are given before the application and what stands before it see the request.
    """
    if not settings.cors_origins:
        return lambda _: ()
    named = cors(settings, nothing)

    def read_by(headers: Sequence[tuple[bytes, bytes]]) -> Sequence[tuple[bytes, bytes]]:
        origin = dict(headers).get(b"origin", b"").decode("latin-1")
        if not origin or not named.is_allowed_origin(origin):
            return ()
        made = MutableHeaders(named.simple_headers)
        if not named.allow_all_origins:
            named.allow_explicit_origin(made, origin)
        return made.raw

    return read_by


async def nothing(scope: Scope, receive: Receive, send: Send) -> None:
    """No application: what stands before one is asked for its headers alone."""


def may_open(settings: Settings, headers: Mapping[str, str]) -> bool:
    """Whether who sends this head may open a WebSocket, as browsers let every page: its own origin, a named one, no page."""
    origin = headers.get("origin")
    if origin is None or "*" in settings.cors_origins or origin in settings.cors_origins:
        return True
    _, separator, host = origin.partition("://")
    return bool(separator) and host == headers.get("host", "").lower()


@lru_cache(64)
def page_headers(html: str) -> dict[str, str]:
    """What stands above a page: it runs the scripts in its text, loads and calls its own origin alone, and stands in no frame."""
    inline = [f"'sha256-{b64encode(sha256(script.encode()).digest()).decode()}'" for script in INLINE.findall(html)]
    own = ["'self'"] if SCRIPT.search(html) else []
    policy = {
        "default-src": "'none'",
        "script-src": " ".join([*inline, *own]) or "'none'",
        "style-src": "'self' 'unsafe-inline'",  # editors place what they show by attributes
        "img-src": "'self' data:",
        "font-src": "'self' data:",
        "worker-src": "'self'",
        "connect-src": "'self'",
        "base-uri": "'none'",
        "form-action": "'none'",
        "frame-ancestors": "'none'",
    }
    return {
        "content-security-policy": "; ".join(f"{name} {value}" for name, value in policy.items()),
        "cache-control": "no-cache",
        "referrer-policy": "no-referrer",
        "x-content-type-options": "nosniff",
        "x-frame-options": "DENY",
    }

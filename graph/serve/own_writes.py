"""Own writes, read from replicas: what an answer says of what it wrote, and what a request brings of it.

What goes in: a request, or a context whose operation has run. What comes out: what its queries must see; the header and the
cookie by which the next request brings that. What may be refused here: nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from http.cookies import CookieError, SimpleCookie
from typing import Any

from starlette.types import Scope

from graph.database.read_after import ReadAfter, read_after
from graph.serve.requests import header
from graph.settings import Settings

HEADER = "X-Ordergraph-Read-After"
NAME = HEADER.lower().encode()
#: In `extensions`, of requests and of answers.
EXTENSION = "readAfter"
COOKIE = "ordergraph-read-after"
#: By then every replica that may be asked shows what was written, unless one may be further behind than that.
COOKIE_SECONDS = 3_600


def brought(settings: Settings, scope: Scope, extensions: Mapping[str, Any], shop: str | None = None) -> ReadAfter | None:
    """What a request says that its queries must see."""
    found: list[Any] = [text] if (text := header(scope, NAME)) else []
    if extensions.get(EXTENSION) is not None:
        found.append(extensions[EXTENSION])
    if settings.read_after_cookie and COOKIE in (cookies := header(scope, b"cookie")):
        found += in_cookies(cookies, cookie_of(shop))
    return read_after(*found) if found else None


def in_extensions(extensions: Mapping[str, Any]) -> ReadAfter | None:
    """What the extensions of a request say alone."""
    return read_after(extensions[EXTENSION]) if extensions.get(EXTENSION) is not None else None


def cookie_of(shop: str | None) -> str:
    """What the cookie is called: shops that a header or a token tells apart have one host, and its cookies, in common."""
    return COOKIE if shop is None else f"{COOKIE}-{shop}"


def in_cookies(text: str, name: str) -> list[str | None]:
    """What a browser has kept, if it has."""
    try:
        morsel = SimpleCookie(text.replace(", ", "; ")).get(name)
    except CookieError:
        return [None]
    return [] if morsel is None else [morsel.value]


def told(settings: Settings, scope: Scope, wrote: ReadAfter | None, shop: str | None = None) -> list[tuple[bytes, bytes]]:
    """The headers by which a client learns what his next queries must see."""
    if wrote is None:
        return []
    headers = [(NAME, str(wrote).encode())]
    if settings.read_after_cookie:
        age = max(COOKIE_SECONDS, int(settings.replica_max_lag_seconds))
        path = scope.get("root_path", "") + "/graphql"
        # Pages of other origins send it where they may send cookies at all.
        site = "None" if settings.cors_credentials else "Lax"
        secure = "; Secure" if settings.cors_credentials or scope.get("scheme") == "https" else ""
        cookie = f"{cookie_of(shop)}={wrote}; Path={path}; Max-Age={age}; HttpOnly; SameSite={site}{secure}"
        headers.append((b"set-cookie", cookie.encode()))
    return headers


def varies(settings: Settings) -> list[tuple[bytes, bytes]]:
    """What caches are told: who must see more is not given what another was answered."""
    if not settings.replica_urls:
        return []
    return [(b"vary", NAME + b", cookie" if settings.read_after_cookie else NAME)]

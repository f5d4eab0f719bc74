"""Tokens for tests: settings under which everybody must say who he is, and headers that do.

What goes in: claims. What comes out: settings for a shop, tokens signed by HS256, headers.
"""

from __future__ import annotations

import base64
import hmac
from collections.abc import Iterator
from contextlib import contextmanager
from time import time
from typing import Any

import jwt

from graph.access.credentials import Credentials
from graph.settings import Settings
from tests.conftest import Ask

SECRET = "a secret that only tests know, and long enough"
#: `shop_with(**AUTH)`
AUTH: dict[str, Any] = {"auth": True, "jwt_secret": SECRET}
#: A claim that is left out.
LEFT_OUT = object()


def token(
    scope: Any = "read", *, key: Any = SECRET, algorithm: str = "HS256", head: dict[str, Any] | None = None, **claims: Any
) -> str:
    """A token that is good for a day unless its claims say otherwise: `token("write", sub="ada", customer="Customer:1")`."""
    given = {"sub": "ada", "exp": int(time()) + 86_400, "scope": scope, **claims}
    kept = {name: value for name, value in given.items() if value is not LEFT_OUT}
    return jwt.encode(kept, key, algorithm, headers=head)


def raw(head: str | bytes, claims: str | bytes, *, key: str = SECRET) -> str:
    """A token whose parts are as they are given, signed by HS256 whatever they say."""
    parts = [text_of(part if isinstance(part, bytes) else part.encode()) for part in (head, claims)]
    signature = hmac.digest(key.encode(), ".".join(parts).encode(), "sha256")
    return ".".join([*parts, text_of(signature)])


def text_of(part: bytes) -> str:
    return base64.urlsafe_b64encode(part).rstrip(b"=").decode()


def credentials_of(settings: Settings) -> Credentials:
    """What finds out whose credentials are."""
    return Credentials(settings)


def bearer(*scope: Any, **claims: Any) -> dict[str, str]:
    """The header by which a token is sent."""
    return {"authorization": f"Bearer {token(*scope, **claims)}"}


@contextmanager
def speaking_as(ask: Ask, scope: Any = "read", **claims: Any) -> Iterator[Ask]:
    """`ask`, by which somebody asks as long as this block runs."""
    headers = ask.client.headers
    before = headers.get("authorization")
    headers["authorization"] = bearer(scope, **claims)["authorization"]
    try:
        yield ask
    finally:
        del headers["authorization"]
        if before is not None:
            headers["authorization"] = before

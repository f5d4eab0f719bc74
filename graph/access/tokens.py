"""Tokens: a JWT found good becomes a viewer.

What goes in: the text of a token. What comes out: a `Viewer`, the key that verified the token, and when it is over. What is
refused here: `BadCredentials` for everything else, which says no more than whether the token was good once.

The key decides on the algorithm, never the token. Everything in a token is as hostile as whoever made it, until its signature is
found good; and after that a claim that is not what it should be is refused, not passed over: it was meant to say something.
"""

from __future__ import annotations

import json
from base64 import urlsafe_b64decode
from collections.abc import Sequence
from typing import Any

import jwt

from graph.access.verifying import KeyRing, VerifyingKey
from graph.read.types.scalars import parse_id
from graph.scope import IMPLIED, Viewer
from graph.settings import Settings

#: Characters of a token, and of a name.
LONGEST_TOKEN, LONGEST_NAME = 8_192, 255
#: Identities that begin so are those of API keys.
OF_KEYS = "key:"
#: The last moment that a token may name: the year 9999.
LAST_SECOND = 253_402_300_799
TIMES = ("exp", "nbf", "iat")


class BadCredentials(Exception):
    """Credentials that are not good; `expired` says that they were."""

    def __init__(self, *, expired: bool = False) -> None:
        super().__init__("expired" if expired else "no good")
        self.expired = expired


class Tokens:
    """Verifies tokens as the settings say. Raises `SettingsError` where there are no keys to do it by."""

    def __init__(self, settings: Settings) -> None:
        self.keys = KeyRing(settings)
        self.audience = settings.jwt_audience or None
        self.issuer = settings.jwt_issuer or None
        self.leeway = settings.jwt_leeway_seconds
        self.needed = ["exp", "sub", *(["iss"] if self.issuer else []), *(["aud"] if self.audience else [])]

    def read(self, text: str) -> tuple[Viewer, VerifyingKey, float]:
        """Who has this token, the key that it was verified by, and until when it holds. Raises `BadCredentials`."""
        if len(text) > LONGEST_TOKEN:
            raise BadCredentials
        parts = text.split(".")
        if len(parts) != 3:
            raise BadCredentials
        head, claims = part_of(parts[0]), part_of(parts[1])
        name = head.get("kid")
        key = self.keys.named(name) if name is None or isinstance(name, str) else None
        if key is None or "crit" in head or "b64" in head:  # an extension that must be understood is not
            raise BadCredentials
        check_times(claims)
        try:
            jwt.decode(
                text,
                key.material,
                algorithms=[key.algorithm],
                audience=self.audience,
                issuer=self.issuer,
                leeway=self.leeway,
                options={"require": self.needed},
            )
        except jwt.ExpiredSignatureError:
            raise BadCredentials(expired=True) from None
        except jwt.PyJWTError:
            raise BadCredentials from None
        check_parties(claims, self.audience)
        return viewer_of(claims), key, claims["exp"] + self.leeway


def part_of(text: str) -> dict[str, Any]:
    """The JSON object in a part of a token, in which no name stands twice. Raises `BadCredentials`."""
    try:
        found = json.loads(urlsafe_b64decode(text + "=" * (-len(text) % 4)), object_pairs_hook=once, parse_constant=no_number)
    except (ValueError, RecursionError):
        raise BadCredentials from None
    if not isinstance(found, dict):
        raise BadCredentials
    return found


def once(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("a name stands twice")
    return found


def no_number(text: str) -> Any:
    raise ValueError(f"{text} is no JSON")


def check_times(claims: dict[str, Any]) -> None:
    """Refuse times that are none: libraries take texts for numbers here."""
    for name in TIMES:
        value = claims.get(name, 0)
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value <= LAST_SECOND:
            raise BadCredentials


def check_parties(claims: dict[str, Any], audience: str | None) -> None:
    """Refuse an audience where none is expected, and an issuer that is no text: libraries pass over what is false there."""
    if ("aud" in claims and audience is None) or not isinstance(claims.get("iss", ""), str):
        raise BadCredentials


def viewer_of(claims: dict[str, Any]) -> Viewer:
    """Whom the claims of a good token name. Raises `BadCredentials`."""
    identity = claims["sub"]
    if not is_name(identity) or identity.startswith(OF_KEYS):
        raise BadCredentials
    customer = customer_in(claims["customer"]) if "customer" in claims else None
    return Viewer(identity, identity, scopes_in(claims.get("scope", "")), customer, claims["exp"])


def is_name(value: Any) -> bool:
    """Whether a value can name somebody, in logs and in rows too."""
    return isinstance(value, str) and 0 < len(value) <= LONGEST_NAME and value.isprintable() and value == value.strip()


def scopes_in(value: Any) -> frozenset[str]:
    """The words that hold where these are given. Raises `BadCredentials` for one that nobody knows."""
    if not isinstance(value, str):
        raise BadCredentials
    words = value.split(" ") if value else []
    if any(word not in IMPLIED for word in words):
        raise BadCredentials
    return frozenset().union(*(IMPLIED[word] for word in words))


def customer_in(value: Any) -> int:
    """The key of the customer that a global id names. Raises `BadCredentials`: null is no customer, and not everybody's."""
    found = parse_id(value) if isinstance(value, str) else None
    if found is None or found[0] != "Customer":
        raise BadCredentials
    return found[1]

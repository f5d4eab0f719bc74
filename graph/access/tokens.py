"""Tokens: a JWT found good becomes a viewer.

What goes in: the text of a token. What comes out: whose it is, the key that verified it, when it is over. What is
refused here: `BadCredentials` for everything else, which says no more than whether the token was good once.

The key decides on the algorithm, never the token. Everything in a token is as hostile as whoever made it, until its signature is
found good; and after that a claim that is not what it should be is refused, not passed over: it was meant to say something.
"""

from __future__ import annotations

import json
from base64 import urlsafe_b64decode
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import jwt

from graph.access.claims import OF_KEYS, BadCredentials, customer_in, is_name, scopes_in, shop_in
from graph.access.verifying import KeyRing, VerifyingKey
from graph.scope import Viewer
from graph.settings import Settings

#: Characters of a token.
LONGEST_TOKEN = 8_192
#: The last moment that a token may name: the year 9999.
LAST_SECOND = 253_402_300_799
TIMES = ("exp", "nbf", "iat")


@dataclass(frozen=True, slots=True)
class Verified:
    """Who has a token, by which key it was found good, until when it is, and at which shop where there are several."""

    viewer: Viewer
    key: VerifyingKey
    until: float
    shop: str | None = None


class Tokens:
    """Verifies tokens as the settings say. Raises `SettingsError` where there are no keys to do it by."""

    def __init__(self, settings: Settings) -> None:
        self.keys = KeyRing(settings)
        self.audience = settings.jwt_audience or None
        self.issuer = settings.jwt_issuer or None
        self.leeway = settings.jwt_leeway_seconds
        self.shops = settings.shops
        self.needed = ["exp", "sub", *(["iss"] if self.issuer else []), *(["aud"] if self.audience else [])]

    def read(self, text: str) -> Verified:
        """What this token says, which is good. Raises `BadCredentials`."""
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
        shop = shop_in(claims["shop"]) if self.shops and "shop" in claims else None
        return Verified(viewer_of(claims), key, claims["exp"] + self.leeway, shop)


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

"""Credentials: what a request says in `Authorization` becomes a grant, which holds for a while.

What goes in: the value of the header. What comes out: a `Grant` of a viewer; one that was found good is remembered, so that known
credentials cost one look-up. What is refused here: credentials that are missing or not good (401 `UNAUTHENTICATED`), which says
nothing of why, but that they are over.
"""

from __future__ import annotations

from dataclasses import dataclass
from time import time

from graphql import GraphQLError

from graph.access.tokens import BadCredentials, Tokens
from graph.access.verifying import VerifyingKey
from graph.operations.recent import Recent
from graph.operations.request_errors import RequestRefused
from graph.scope import Viewer
from graph.settings import Settings

#: Credentials that are remembered, and their characters together.
KEPT, KEPT_CHARACTERS = 10_000, 10_000_000
SCHEME = "bearer"


@dataclass(slots=True, eq=False, weakref_slot=True)
class Grant:
    """Credentials that were found good: whose they are, until when that holds, and by what they were found so."""

    viewer: Viewer
    until: float
    basis: VerifyingKey

    def holds(self) -> bool:
        """Whether they still are."""
        return time() < self.until


class Credentials:
    """Finds out whose credentials are. Raises `SettingsError` where settings leave no way to do it."""

    def __init__(self, settings: Settings) -> None:
        self.tokens = Tokens(settings) if settings.jwt_secret or settings.jwks_file else None
        self._known: Recent[str, Grant] = Recent(KEPT, KEPT_CHARACTERS)

    async def grant(self, authorization: str) -> Grant:
        """What these credentials grant. Raises `RequestRefused`."""
        known = self._known.get(authorization)
        if known is not None and known.holds():
            return known
        scheme, _, text = authorization.partition(" ")
        if not text:
            raise unauthenticated(MISSING)
        try:
            if scheme.lower() != SCHEME:
                raise BadCredentials
            grant = await self._find(text.strip(" "))
        except BadCredentials as error:
            raise unauthenticated(EXPIRED if error.expired else INVALID) from None
        self._known.put(authorization, grant, len(authorization))
        return grant

    async def _find(self, text: str) -> Grant:
        if self.tokens is None:
            raise BadCredentials
        viewer, key, until = self.tokens.read(text)
        return Grant(viewer, until, key)


#: What `WWW-Authenticate` says (RFC 6750, section 3): of nothing, of what is no good, of what was.
MISSING = b"Bearer"
INVALID = b'Bearer error="invalid_token"'
EXPIRED = b'Bearer error="invalid_token", error_description="The credentials have expired"'
OVER = "The credentials have expired."
NEEDED = "Say who you are, by `Authorization: Bearer` and credentials that are good."


def unauthenticated(challenge: bytes) -> RequestRefused:
    """The refusal of who has not shown who he is."""
    error = GraphQLError(OVER if challenge is EXPIRED else NEEDED, extensions={"code": "UNAUTHENTICATED"})
    return RequestRefused([error], 401, ((b"www-authenticate", challenge),))

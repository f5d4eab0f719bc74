"""Credentials: what a request says in `Authorization` becomes a grant, which holds for a while.

What goes in: the value of the header. What comes out: a `Grant` of a viewer; one that was found good is remembered, so that known
credentials cost one look-up. What is refused here: credentials that are missing or not good (401 `UNAUTHENTICATED`), which says
nothing of why, but that they are over.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from time import time
from weakref import WeakSet

from graphql import GraphQLError

from graph.access.tokens import BadCredentials, Tokens
from graph.access.verifying import VerifyingKey
from graph.operations.recent import Recent
from graph.operations.request_errors import RequestRefused
from graph.scope import Viewer
from graph.settings import Settings

#: Credentials that are remembered, and their characters together.
KEPT, KEPT_CHARACTERS = 10_000, 10_000_000
#: How often it is looked whether what was granted still holds.
LOOK_SECONDS = 1.0
SCHEME = "bearer"


@dataclass(slots=True, eq=False, weakref_slot=True)
class Grant:
    """Credentials that were found good: whose they are, until when that holds, and by what they were found so."""

    viewer: Viewer
    until: float
    basis: VerifyingKey
    _watchers: list[Callable[[], None]] = field(default_factory=list)

    def holds(self) -> bool:
        """Whether they still are."""
        return time() < self.until

    def end(self) -> None:
        """They are no good any more; whoever relies on them for longer than a request is told."""
        self.until = 0.0
        told, self._watchers = self._watchers, []
        for tell in told:
            tell()

    @contextmanager
    def watched(self, tell: Callable[[], None]) -> Iterator[None]:
        """Call `tell` when they end while this block runs."""
        self._watchers.append(tell)
        if not self.holds():
            self.end()
        try:
            yield
        finally:
            if tell in self._watchers:
                self._watchers.remove(tell)

    def fault(self) -> RequestRefused:
        """The refusal of who still relies on them."""
        is_over = self.viewer.expires is not None and self.viewer.expires <= time()
        return unauthenticated(EXPIRED if is_over else INVALID)


class Credentials:
    """Finds out whose credentials are. Raises `SettingsError` where settings leave no way to do it."""

    def __init__(self, settings: Settings) -> None:
        self.tokens = Tokens(settings) if settings.jwt_secret or settings.jwks_file else None
        self._known: Recent[str, Grant] = Recent(KEPT, KEPT_CHARACTERS)
        self._granted: WeakSet[Grant] = WeakSet()

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
        self._granted.add(grant)
        return grant

    async def _find(self, text: str) -> Grant:
        if self.tokens is None:
            raise BadCredentials
        viewer, key, until = self.tokens.read(text)
        return Grant(viewer, until, key)

    async def keep(self) -> None:
        """End what was granted when it is over or taken back, until cancelled."""
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            await self.look()

    async def look(self) -> None:
        """See what of all that was granted still holds."""
        if self.tokens is not None:
            await asyncio.to_thread(self.tokens.keys.refresh)
        for grant in [grant for grant in self._granted if not self._is_good(grant)]:
            self._granted.discard(grant)
            grant.end()

    def _is_good(self, grant: Grant) -> bool:
        return grant.holds() and self.tokens is not None and self.tokens.keys.has(grant.basis)


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

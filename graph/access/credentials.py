"""Credentials: what a request says in `Authorization` becomes a grant, which holds for a while.

What goes in: the value of the header. What comes out: a `Grant` of a viewer; one that was found good is remembered, so that known
credentials cost one look-up. What is refused here: credentials that are missing or not good (401 `UNAUTHENTICATED`), which says
nothing of why, but that they are over; `Unavailable` where it takes the database to know, which does not say.

What is remembered is looked at again as time passes: a token's key in the file, and all API keys by one statement. Where the
database does not answer, an API key counts no longer than if it had been taken back.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from time import time
from typing import TYPE_CHECKING
from weakref import WeakSet

from graphql import GraphQLError

from graph.access.api_keys import prefix_of
from graph.access.claims import BadCredentials
from graph.access.key_lookup import KeyLookup
from graph.database.failures import Unavailable
from graph.operations.recent import Recent
from graph.operations.request_errors import RequestRefused
from graph.scope import Viewer
from graph.settings import Settings

if TYPE_CHECKING:
    from graph.access.tokens import Tokens
    from graph.access.verifying import VerifyingKey

logger = logging.getLogger("ordergraph.access")

#: Credentials that are remembered, and their characters together.
KEPT, KEPT_CHARACTERS = 10_000, 10_000_000
#: How often it is looked whether what was granted still holds, and how long the database may take to say so of API keys; for how
#: long one counts that was looked up.
LOOK_SECONDS, ANSWER_SECONDS, SURE_SECONDS = 1.0, 2.0, 5.0
#: In place of where API keys are looked up: at whichever shop a token is good. API keys do not say theirs.
ANY_SHOP = "any"
#: Databases at which API keys are looked up at the same time.
AT_ONCE = 4
SCHEME = "bearer"
FOREVER = float("inf")


@dataclass(slots=True, eq=False, weakref_slot=True)
class Grant:
    """Credentials that were found good: whose they are, until when that holds, and by what they were found so.

    The basis is the key of a token, or the prefix of an API key and where that is looked up. `shop` is the one where they are
    good, where there are several.
    """

    viewer: Viewer
    until: float
    basis: VerifyingKey | tuple[KeyLookup, str]
    shop: str | None = None
    revoked: bool = False
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

    def fault(self) -> Exception:
        """What is raised to whoever still relies on them."""
        if self.viewer.expires is not None and self.viewer.expires <= time():
            return unauthenticated(EXPIRED)
        return unauthenticated(INVALID) if self.revoked else Unavailable("API keys cannot be looked up")

    def renew(self, asked: float) -> None:
        """An API key was good when this was asked."""
        self.until = min(asked + SURE_SECONDS, self.viewer.expires or FOREVER)


class Credentials:
    """Finds out whose credentials are, at any database. Raises `SettingsError` where settings leave no way to do it."""

    def __init__(self, settings: Settings) -> None:
        self.tokens: Tokens | None = None
        if settings.jwt_secret or settings.jwks_file:
            from graph.access.tokens import Tokens  # brings cryptography along, a tenth of what a process holds

            self.tokens = Tokens(settings)
        self._known: Recent[tuple[KeyLookup | str | None, str], Grant] = Recent(KEPT, KEPT_CHARACTERS)
        self._granted: WeakSet[Grant] = WeakSet()
        self._failing: WeakSet[KeyLookup] = WeakSet()

    async def grant(self, authorization: str, api_keys: KeyLookup | None) -> Grant:
        """What these credentials grant where API keys are looked up so, or are none. Raises `RequestRefused`, `Unavailable`."""
        known = self._known.get((api_keys, authorization))
        if known is not None and known.holds():
            return known
        return await self._new(authorization, api_keys)

    async def shop_of(self, authorization: str) -> str:
        """The shop that a token is bound to. Raises `RequestRefused`."""
        known = self._known.get((ANY_SHOP, authorization))
        if known is None or not known.holds():
            known = await self._new(authorization, ANY_SHOP)
        return known.shop or ""

    def forget(self, api_keys: KeyLookup) -> None:
        """What was granted where API keys are looked up so is over."""
        self._known.drop(lambda key: key[0] is api_keys)
        for grant in [*self._granted]:
            if isinstance(grant.basis, tuple) and grant.basis[0] is api_keys:
                self._granted.discard(grant)
                grant.end()

    async def _new(self, authorization: str, where: KeyLookup | str | None) -> Grant:
        scheme, _, text = authorization.partition(" ")
        if not text:
            raise unauthenticated(MISSING)
        try:
            if scheme.lower() != SCHEME:
                raise BadCredentials
            grant = await self._find(text.strip(" "), where)
        except BadCredentials as error:
            raise unauthenticated(EXPIRED if error.expired else INVALID) from None
        self._known.put((where, authorization), grant, len(authorization))
        self._granted.add(grant)
        return grant

    async def _find(self, text: str, where: KeyLookup | str | None) -> Grant:
        shop = where.database.shop if isinstance(where, KeyLookup) else None
        if prefix_of(text) is not None:
            if not isinstance(where, KeyLookup):
                raise BadCredentials
            asked = time()
            viewer, prefix = await where.find(text)
            grant = Grant(viewer, 0.0, (where, prefix), shop)
            grant.renew(asked)
            return grant
        if self.tokens is None:
            raise BadCredentials
        found = self.tokens.read(text)
        if (found.shop is None) if where is ANY_SHOP else (found.shop != shop):
            raise BadCredentials
        return Grant(found.viewer, found.until, found.key, found.shop)

    async def keep(self) -> None:
        """End what was granted when it is over or taken back, until cancelled."""
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            try:
                await self.look()
            except Exception:  # a bug; whoever stopped looking would let everybody stay
                logger.exception("It could not be looked whether credentials still hold; tried again as time passes")

    async def look(self) -> None:
        """See what of all that was granted still holds."""
        if self.tokens is not None and self.tokens.keys.path:
            await asyncio.to_thread(self.tokens.keys.refresh)
        await self._look_up()
        for grant in list(self._granted):
            if not isinstance(grant.basis, tuple):
                grant.revoked = self.tokens is None or not self.tokens.keys.has(grant.basis)
            if grant.revoked or not grant.holds():
                self._granted.discard(grant)
                grant.end()

    async def _look_up(self) -> None:
        """Look up the API keys that were granted again, those of each database by one statement."""
        asked: dict[KeyLookup, dict[str, list[Grant]]] = {}
        for grant in self._granted:
            if isinstance(grant.basis, tuple) and not grant.basis[0].is_idle:
                api_keys, prefix = grant.basis
                asked.setdefault(api_keys, {}).setdefault(prefix, []).append(grant)
        turns = asyncio.Semaphore(AT_ONCE)
        await asyncio.gather(*(self._look_up_at(api_keys, grants, turns) for api_keys, grants in asked.items()))

    async def _look_up_at(self, api_keys: KeyLookup, grants: Mapping[str, Sequence[Grant]], turns: asyncio.Semaphore) -> None:
        """Look up the keys of these prefixes at one database. Where that cannot be done the log tells it once."""
        of_shop = {"measured": {"shop": api_keys.database.shop}}
        async with turns:
            asked = time()
            try:
                async with asyncio.timeout(ANSWER_SECONDS):
                    found = await api_keys.stored(grants.keys())
            except Exception as error:
                if api_keys not in self._failing:
                    bug = None if isinstance(error, (Unavailable, TimeoutError)) else error
                    told = "API keys cannot be looked up; tried again as time passes: %s"
                    logger.warning(told, error, exc_info=bug, extra=of_shop)
                self._failing.add(api_keys)
                return
        if api_keys in self._failing:
            logger.info("API keys are looked up again", extra=of_shop)
        self._failing.discard(api_keys)
        for prefix, some in grants.items():
            for grant in some:
                grant.revoked = prefix not in found
                if not grant.revoked:
                    grant.renew(asked)


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

"""Who is let in: the one place that transports ask.

What goes in: what a request says of its sender. What comes out: a `Sender`. What is refused here: what
`graph.access.credentials` refuses, and what `graph.access.allowances` does when a `Sender` spends.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from functools import partial
from typing import Any

from graph.access.allowances import Allowances, who_is_at
from graph.access.credentials import Credentials, Grant
from graph.access.key_lookup import KeyLookup
from graph.database import Database
from graph.scope import Viewer
from graph.settings import Settings


@dataclass(frozen=True, slots=True)
class Sender:
    """Who sends a request, and by which right; without a grant nobody has to say who he is.

    `spend` takes the cost of an operation from what he may spend, where that is bounded.
    """

    grant: Grant | None = None
    spend: Callable[[int], None] | None = None

    @property
    def viewer(self) -> Viewer | None:
        return None if self.grant is None else self.grant.viewer

    def check(self) -> None:
        """Refuse who was let in once and would not be now. Raises `RequestRefused`, `Unavailable`."""
        if self.grant is not None and not self.grant.holds():
            raise self.grant.fault()

    def watched(self, tell: Callable[[], None]) -> AbstractContextManager[None]:
        """Call `tell` when his right ends while this block runs."""
        return nullcontext() if self.grant is None else self.grant.watched(tell)


#: Everybody, where nobody is asked.
ANYBODY = Sender()


class Gatekeeper:
    """Lets senders in at one database, or where there is none and API keys are no good."""

    def __init__(self, credentials: Credentials | None, allowances: Allowances | None, api_keys: KeyLookup | None) -> None:
        self.credentials = credentials
        self.allowances = allowances
        self.api_keys = api_keys

    async def admit(self, authorization: str, client: Any) -> Sender:
        """Who sends this header from this address. Raises `RequestRefused`, `Unavailable`."""
        grant = None if self.credentials is None else await self.credentials.grant(authorization, self.api_keys)
        if self.allowances is None:
            return Sender(grant)
        who = who_is_at(client) if grant is None else grant.viewer.identity
        if grant is not None and grant.shop is not None:
            who = f"{grant.shop} {who}"
        return Sender(grant, partial(self.allowances.spend, who))


class Entrance:
    """What the gatekeepers of a process have in common: what is known of credentials, and what each sender has left to spend.

    Raises `SettingsError`.
    """

    def __init__(self, settings: Settings) -> None:
        self.credentials = Credentials(settings) if settings.auth else None
        self.allowances = Allowances(settings.budget_per_second) if settings.budget_per_second else None

    def gatekeeper(self, database: Database | None) -> Gatekeeper | None:
        """The one of a database; None where it would let in everybody, and nobody need be asked."""
        if self.credentials is None and self.allowances is None:
            return None
        return Gatekeeper(self.credentials, self.allowances, KeyLookup(database) if database is not None else None)

    def forget(self, gatekeeper: Gatekeeper | None) -> None:
        """A database is left, and what was granted there with it."""
        if self.credentials is not None and gatekeeper is not None and gatekeeper.api_keys is not None:
            self.credentials.forget(gatekeeper.api_keys)

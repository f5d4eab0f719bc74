"""Whether this process is well, for those who start it again or send it requests.

What goes in: what is to be looked at. What comes out: the answers of `/livez` and `/readyz`. What may be refused
here: nothing; `/readyz` answers 503 with the reasons, in a bounded time, whatever the database does.

However many ask, the database is asked once a second, by one statement on one connection.
"""

from __future__ import annotations

import asyncio
from datetime import datetime
from time import perf_counter
from typing import Protocol

from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response

from graph import migrate
from graph.database import Database
from graph.database.failures import Unavailable
from graph.feed.sequence import waiting_since

#: How long what was found holds.
KEPT_SECONDS = 1.0
#: How long the database may take to answer one who asks how it is.
PROBE_SECONDS = 1.0
#: A process whose database answered somebody so lately is busy, and no less ready for it.
BUSY_SECONDS = 2.0

#: How long the same change may be seen to wait for its place in the feed. It takes a second at most.
BEHIND_SECONDS = 10.0

REVISION = 'SELECT version_num FROM "[shop]".alembic_version'

REGISTRY = 'SELECT number FROM "[shop]".shop_changes'

DRAINING = "The server ends."
UNREACHABLE = "The database does not answer."
BEHIND = "Changes have waited for their place in the feed for too long."
NOT_MIGRATED = "The database does not have the schema of this version."
NO_REGISTRY = "The database does not have the list of shops."


class Checkup(Protocol):
    """What is looked at."""

    @property
    def database(self) -> Database:
        """Where the look is taken."""

    async def look(self) -> str | None:
        """Why no request should be sent here, if that is so. Raises whatever its statements raise."""


class SchemaCheckup:
    """A database that has one shop: it should have the schema of this version, and a feed that goes on."""

    def __init__(self, database: Database) -> None:
        self.database = database
        #: The oldest change without a place in the feed, and when it was first seen.
        self._waiting: tuple[datetime | None, float] = (None, 0.0)

    async def look(self) -> str | None:
        """Why no request should be sent here, if that is so."""
        answer = await self.database.fetch(self.database.text(REVISION), ())
        is_behind = self._is_behind(await waiting_since(self.database))
        revision = answer.decode() if isinstance(answer, bytes) else None
        # One that this version does not know is a later one's, which was migrated for those that follow.
        is_migrated = revision is not None and revision not in migrate.revisions()[1:]
        return NOT_MIGRATED if not is_migrated else BEHIND if is_behind else None

    def _is_behind(self, since: datetime | None) -> bool:
        """Whether the feed stands still. What a long transaction commits is old when it is first seen, and then has its place."""
        if since is None or since != self._waiting[0]:
            self._waiting = (since, perf_counter())
        return since is not None and perf_counter() - self._waiting[1] > BEHIND_SECONDS


class RegistryCheckup:
    """A database that has the list of shops. One of these that is not well is no reason to send requests for others elsewhere."""

    def __init__(self, database: Database) -> None:
        self.database = database

    async def look(self) -> str | None:
        """Why no request should be sent here, if that is so."""
        try:
            found = await self.database.fetch(self.database.text(REGISTRY), ())
        except (Unavailable, TimeoutError):
            raise
        except Exception:  # there is no such table
            return NO_REGISTRY
        return NO_REGISTRY if found is None else None


class Health:
    """How a process is. `draining` is set when it is about to end."""

    def __init__(self, of: Checkup, draining: asyncio.Event) -> None:
        self.of = of
        self.draining = draining
        self._asking: asyncio.Task[str | None] | None = None
        self._found: tuple[float, str | None] = (-KEPT_SECONDS, None)

    async def reasons(self) -> list[str]:
        """Why no request should be sent here; empty where they may."""
        if self.draining.is_set():
            return [DRAINING]
        found = await self._of_database()
        return [found] if found else []

    async def _of_database(self) -> str | None:
        when, found = self._found
        if perf_counter() - when < KEPT_SECONDS:
            return found
        if self._asking is None or self._asking.done():
            self._asking = asyncio.create_task(self._ask())
        return await asyncio.shield(self._asking)  # who goes away leaves the others theirs

    async def _ask(self) -> str | None:
        found: str | None
        try:
            async with asyncio.timeout(PROBE_SECONDS):
                found = await self.of.look()
        except Exception:  # whatever it is, it was asked for nothing that could be wrong
            found = None if perf_counter() - self.of.database.watch.answered < BUSY_SECONDS else UNREACHABLE
        self._found = (perf_counter(), found)
        return found

    async def stop(self) -> None:
        """Leave nothing that runs."""
        if self._asking is not None:
            self._asking.cancel()
            await asyncio.wait([self._asking])

    async def ready(self, request: Request) -> Response:
        """Whether requests should be sent here: 200, or 503 with the reasons."""
        reasons = await self.reasons()
        body = {"status": "unready", "reasons": reasons} if reasons else {"status": "ready"}
        return JSONResponse(body, 503 if reasons else 200, headers={"cache-control": "no-store"})


async def alive(request: Request) -> Response:
    """Whether the process serves; says nothing of the database."""
    return PlainTextResponse("ok\n")

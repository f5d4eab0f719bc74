"""API keys as servers look them up: many by one statement, and one statement at a time.

What goes in: texts of keys, prefixes of those that were found before. What comes out: whose they are; which are still good. What
is refused here: `BadCredentials`; `Unavailable` where the database does not say.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from hmac import compare_digest
from time import time

import orjson

from graph.access.api_keys import digest_of, identity_of, prefix_of
from graph.access.claims import BadCredentials, scopes_in
from graph.database import Database
from graph.scope import Viewer

#: The keys of some prefixes that were not taken back, as one text.
POSTGRES = """
SELECT coalesce(json_agg(json_build_array(prefix, digest, name, scopes, customer, expires_at)), '[]')::text
FROM "[shop]".api_key WHERE prefix = ANY($1::text[]) AND revoked_at IS NULL
"""
SQLITE = """
SELECT json_group_array(json_array(prefix, digest, name, scopes, customer, expires_at))
FROM api_key WHERE prefix IN (SELECT value FROM json_each(?1)) AND revoked_at IS NULL
"""


@dataclass(frozen=True, slots=True)
class StoredKey:
    """A key that was not taken back."""

    digest: str
    viewer: Viewer


class KeyLookup:
    """Finds keys. Who asks while others are being looked up waits for the next look, which all who wait have together."""

    def __init__(self, database: Database) -> None:
        self.database = database
        #: Whether nobody has brought a key for some time: then it is not looked up whether those that were good still are.
        self.is_idle = False
        self._asked: set[str] = set()
        self._next: asyncio.Task[Mapping[str, StoredKey]] | None = None
        self._running: asyncio.Task[Mapping[str, StoredKey]] | None = None

    async def find(self, text: str) -> tuple[Viewer, str]:
        """Who has this key, and its prefix. Raises `BadCredentials`, `Unavailable`."""
        prefix = prefix_of(text)
        if prefix is None:
            raise BadCredentials
        found = (await self.stored([prefix])).get(prefix)
        # A prefix that nobody has takes as long as a wrong secret does.
        if not compare_digest(digest_of(text), found.digest if found else digest_of("")) or found is None:
            raise BadCredentials
        if found.viewer.expires is not None and found.viewer.expires <= time():
            raise BadCredentials(expired=True)
        return found.viewer, prefix

    async def stored(self, prefixes: Collection[str]) -> Mapping[str, StoredKey]:
        """Those of these prefixes that were not taken back, and maybe others. Raises `Unavailable`."""
        if self._next is None:
            self._asked = set()
            self._next = asyncio.create_task(self._after(self._running))
            self._next.add_done_callback(retrieved)  # whoever asked may be gone
        self._asked.update(prefixes)
        return await asyncio.shield(self._next)

    async def _after(self, running: asyncio.Task[Mapping[str, StoredKey]] | None) -> Mapping[str, StoredKey]:
        if running is not None:
            await asyncio.wait((running,))
        self._running, self._next = self._next, None
        prefixes = sorted(self._asked)
        is_array = self.database.capabilities.arrays
        sql, argument = (POSTGRES, prefixes) if is_array else (SQLITE, orjson.dumps(prefixes).decode())
        listed = orjson.loads(await self.database.fetch(self.database.text(sql), [argument]))
        return {prefix: key for prefix, *row in listed if (key := of_row(*row)) is not None}


def of_row(digest: str, name: str, scopes: str, customer: int | None, expires_at: str | None) -> StoredKey | None:
    """A key as it is stored; None where that is nothing which this version understands."""
    try:
        expires = None if expires_at is None else moment_of(expires_at)
        return StoredKey(digest, Viewer(identity_of(name), name, scopes_in(scopes), customer, expires))
    except (BadCredentials, ValueError):
        return None


def moment_of(text: str) -> float:
    """A moment as a database writes it in JSON, in seconds since 1970; without an offset it is UTC."""
    found = datetime.fromisoformat(text)
    return (found.replace(tzinfo=UTC) if found.tzinfo is None else found).timestamp()


def retrieved(done: asyncio.Task[Mapping[str, StoredKey]]) -> None:
    """Take note of how a task ended."""
    if not done.cancelled():
        done.exception()

"""API keys as servers look them up: many by one statement, and one statement at a time.

What goes in: texts of keys, prefixes of those that were found before. What comes out: whose they are; which are still good. What
is refused here: `BadCredentials`; `Unavailable` where the database does not say.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from hmac import compare_digest
from time import time

import orjson
import sqlalchemy as sa

from graph.access.api_keys import API_KEYS, digest_of, identity_of, prefix_of
from graph.access.claims import BadCredentials, scopes_in
from graph.database import Database, once_a_kind
from graph.read.planning.arguments import Given
from graph.read.sql.bound_lists import member, unchanged
from graph.read.sql.constructs import JoinedRows
from graph.read.sql.json import as_null, joined, json_list, json_tuple
from graph.read.sql.statement import Statement
from graph.read.sql.writer import Writer
from graph.read.types.codec import escaped, moment
from graph.scope import SERVER, Viewer


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
        statement = keys_of_prefixes(self.database.dialect)
        arguments = statement.arguments({"prefixes": sorted(self._asked)})
        listed = orjson.loads(await self.database.fetch(statement.sql, arguments))
        return {prefix: key for prefix, *row in listed if (key := of_row(*row)) is not None}


@once_a_kind
def keys_of_prefixes(dialect: sa.Dialect) -> Statement:
    """The keys of some prefixes that were not taken back, as one text."""
    writer, key = Writer(dialect, SERVER), API_KEYS.c
    asked = member(dialect, key.prefix, unchanged, partial(writer.bind, Given(("prefixes",))), keys=True)
    texts = [escaped(each) for each in (key.prefix, key.digest, key.name, key.scopes)]
    row = joined(json_tuple([*texts, as_null([key.customer], nullable=True), as_null(moment(key.expires_at), nullable=True)]))
    found = sa.select(JoinedRows(row)).where(asked, key.revoked_at.is_(None)).scalar_subquery()
    return writer.spelled(sa.select(joined(json_list(found))))


def of_row(digest: str, name: str, scopes: str, customer: int | None, expires_at: str | None) -> StoredKey | None:
    """A key as it is stored; None where that is nothing which this version understands."""
    try:
        expires = None if expires_at is None else datetime.fromisoformat(expires_at).timestamp()
        return StoredKey(digest, Viewer(identity_of(name), name, scopes_in(scopes), customer, expires))
    except (BadCredentials, ValueError):
        return None


def retrieved(done: asyncio.Task[Mapping[str, StoredKey]]) -> None:
    """Take note of how a task ended."""
    if not done.cancelled():
        done.exception()

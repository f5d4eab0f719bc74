"""API keys: made, listed and taken back by an operator, and looked up by the servers.

What goes in: a `Database`, and for a new key its name, scopes, customer and expiry. What comes out: the key's text, which is told
once, since only its SHA-256 is stored; a list; how a key is called that was taken back. What is refused here: `KeyRefused`, in a
sentence, for a name that was given once, a customer that is not there, and a key that is not there.

A key has a name, which is its identity in all that is recorded: no other key ever gets it. Its prefix finds it, and is no secret.
"""

from __future__ import annotations

import asyncio
import hashlib
import re
import secrets
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TypeVar

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncSession

from graph.access.claims import OF_KEYS, BadCredentials, customer_in, is_name
from graph.base import Base, UtcDateTime, utc_now
from graph.database import Database
from graph.models import Customer
from graph.read.rows import rows
from graph.read.types.scalars import global_id, id_form
from graph.scope import SERVER
from graph.texts import CodePointText

T = TypeVar("T")

API_KEYS = sa.Table(
    "api_key",
    Base.metadata,
    sa.Column("prefix", CodePointText, primary_key=True),
    sa.Column("digest", CodePointText, nullable=False),
    sa.Column("name", CodePointText, nullable=False, unique=True),
    sa.Column("scopes", CodePointText, nullable=False),
    sa.Column("customer", sa.BigInteger, nullable=True),
    sa.Column("created_at", UtcDateTime, nullable=False),
    sa.Column("expires_at", UtcDateTime, nullable=True),
    sa.Column("revoked_at", UtcDateTime, nullable=True),
)

#: A key's text: what it is, its prefix, its secret of 256 bits. Whoever scans texts for secrets finds one by this.
FORM = re.compile(r"ogk_([0-9a-f]{12})_[0-9a-f]{64}")
#: Characters of a name.
LONGEST = 100


class KeyRefused(Exception):
    """What was asked of the keys cannot be done; the message is a sentence without its full stop."""


@dataclass(frozen=True, slots=True)
class ApiKey:
    """A key as a list shows it."""

    prefix: str
    name: str
    scopes: str
    customer: str
    created_at: datetime
    expires_at: datetime | None
    revoked_at: datetime | None

    @property
    def state(self) -> str:
        if self.revoked_at is not None:
            return "revoked"
        return "expired" if self.expires_at is not None and self.expires_at <= utc_now() else "good"


def digest_of(text: str) -> str:
    """What is stored of a key. It is no password: nobody tries out 256 bits."""
    return hashlib.sha256(text.encode()).hexdigest()


def prefix_of(text: str) -> str | None:
    """By what a key is found; None where a text is no key."""
    found = FORM.fullmatch(text)
    return None if found is None else found[1]


async def create(
    database: Database, name: str, scopes: Sequence[str], customer: str | None = None, expires_at: datetime | None = None
) -> str:
    """Make a key; its text, which nobody is told again. Raises `KeyRefused`."""
    if not is_name(name) or len(name) > LONGEST:
        raise KeyRefused(f"a name has 1 to {LONGEST} characters that can be seen, and no blanks around them")
    now = utc_now()
    if expires_at is not None and expires_at <= now:
        raise KeyRefused("it would have expired already")
    try:
        owner = None if customer is None else customer_in(customer)
    except BadCredentials:
        raise KeyRefused(f"the customer must be a {id_form('Customer')}") from None
    prefix, secret = secrets.token_hex(6), secrets.token_hex(32)
    text = f"ogk_{prefix}_{secret}"
    row = {
        "prefix": prefix,
        "digest": digest_of(text),
        "name": name,
        "scopes": " ".join(dict.fromkeys(scopes)),
        "customer": owner,
        "created_at": now,
        "expires_at": expires_at,
    }

    async def work(session: AsyncSession) -> None:
        seen = rows(Customer, SERVER)
        if owner is not None and (await session.execute(sa.select(seen.id).where(seen.id == owner))).first() is None:
            raise KeyRefused(f"there is no {customer}")
        made = database.capabilities.insert(API_KEYS).values(row).on_conflict_do_nothing(index_elements=["name"])
        if (await session.execute(made.returning(API_KEYS.c.prefix))).first() is None:
            raise KeyRefused(f"there is a key named {name!r} already, or was once: records name it")

    await _in_transaction(database, work)
    return text


async def every(database: Database) -> list[ApiKey]:
    """All keys, the oldest first, also those that are no good any more."""
    columns = [API_KEYS.c[name] for name in ("prefix", "name", "scopes", "customer", "created_at", "expires_at", "revoked_at")]

    async def work(session: AsyncSession) -> list[ApiKey]:
        found = await session.execute(sa.select(*columns).order_by(API_KEYS.c.created_at, API_KEYS.c.name))
        return [
            ApiKey(prefix, name, scopes, "" if customer is None else global_id("Customer", customer), *times)
            for prefix, name, scopes, customer, *times in found
        ]

    return await _in_transaction(database, work)


async def revoke(database: Database, which: str) -> str:
    """Take back the key of this prefix or name; its name. Raises `KeyRefused`."""

    async def work(session: AsyncSession) -> str:
        named = sa.or_(API_KEYS.c.prefix == which, API_KEYS.c.name == which)
        found = (await session.execute(sa.select(API_KEYS.c.prefix, API_KEYS.c.name, API_KEYS.c.revoked_at).where(named))).all()
        if len(found) != 1:
            raise KeyRefused(f"{'several keys are' if found else 'no key is'} called {which!r}")
        prefix, name, revoked_at = found[0]
        if revoked_at is not None:
            raise KeyRefused(f"{name!r} was revoked already")
        await session.execute(sa.update(API_KEYS).where(API_KEYS.c.prefix == prefix).values(revoked_at=utc_now()))
        return str(name)

    return await _in_transaction(database, work)


async def _in_transaction(database: Database, work: Callable[[AsyncSession], Awaitable[T]]) -> T:
    deadline = asyncio.get_running_loop().time() + database.settings.request_timeout_seconds
    async with database.session() as session:
        return await database.transaction(session, lambda: work(session), deadline)


def identity_of(name: str) -> str:
    """The identity of whoever has the key of this name."""
    return f"{OF_KEYS}{name}"

"""Exactly once: a key that the client chose, kept in the same transaction with what its request answered.

What goes in: `field @idempotent(key: "...")` and the field's coerced input. What comes out: the kept answer when the key was
used before. What is refused here: a key used with another mutation or input, a key whose request is running now.

Keys belong to a client. A request that is refused as a whole keeps nothing, so it may be sent again.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from datetime import timedelta

import sqlalchemy as sa
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncSession

from graph.base import Base, UtcDateTime, utc_now
from graph.context import Context
from graph.database import Database
from graph.read.payloads.running import RunningField, RunningMutation
from graph.read.refusals import BadUserInput, Over
from graph.texts import CodePointText
from graph.write.errors import ROOT, ErrorCode, IdempotencyError, Refused

MAX_KEY_LENGTH = 255

KEYS = sa.Table(
    "idempotency_key",
    Base.metadata,
    sa.Column("client", CodePointText, primary_key=True),
    sa.Column("key", CodePointText, primary_key=True),
    sa.Column("fingerprint", CodePointText, nullable=False),
    sa.Column("created_at", UtcDateTime, nullable=False, index=True),
    sa.Column("answer", CodePointText, nullable=True),
)


@dataclass(frozen=True, slots=True)
class IdempotencyKey:
    """A client's key and what it stands for."""

    client: str
    text: str
    fingerprint: str


def check_keys(running: RunningMutation) -> None:
    """Hold the form of every key of a mutation against what may be kept. Raises `BadUserInput`."""
    for field in running.fields.values():
        values = field.directives.get("idempotent")
        if values is not None and not 0 < len(values["key"]) <= MAX_KEY_LENGTH:
            message = f"An idempotency key must have 1 to {MAX_KEY_LENGTH} characters."
            raise BadUserInput(Over(message, MAX_KEY_LENGTH, len(values["key"])), ("key",))


def key_of(context: Context, field: RunningField) -> IdempotencyKey | None:
    """The idempotency key of a field, if it has one."""
    values = field.directives.get("idempotent")
    if values is None:
        return None
    meant = json.dumps([field.name, field.arguments], sort_keys=True, default=str)
    return IdempotencyKey(context.client, values["key"], hashlib.sha256(meant.encode()).hexdigest())


async def claim(session: AsyncSession, database: Database, key: IdempotencyKey) -> str | None:
    """Take the key for this transaction, or return the answer it has. Raises `Refused`."""
    now = utc_now()
    row = {"client": key.client, "key": key.text, "fingerprint": key.fingerprint, "created_at": now, "answer": None}
    insert = database.capabilities.insert(KEYS)
    oldest = now - timedelta(seconds=database.settings.idempotency_seconds)
    fresh = {name: insert.excluded[name] for name in ("fingerprint", "created_at", "answer")}
    # A key past its time is as good as none. Who holds the row meanwhile is waited for.
    taken = insert.on_conflict_do_update(index_elements=["client", "key"], set_=fresh, where=KEYS.c.created_at < oldest)
    try:
        mine = (await session.execute(taken.values(row).returning(KEYS.c.key))).first()
    except DBAPIError as error:
        if getattr(error.orig, "sqlstate", None) != "55P03":
            raise
        raise Refused([_error(ErrorCode.IDEMPOTENCY_IN_PROGRESS, key.text)]) from error
    if mine is not None:
        return None
    where = sa.and_(KEYS.c.client == key.client, KEYS.c.key == key.text)
    kept = (await session.execute(sa.select(KEYS.c.fingerprint, KEYS.c.answer).where(where))).first()
    if kept is None or kept.answer is None:
        raise Refused([_error(ErrorCode.IDEMPOTENCY_IN_PROGRESS, key.text)])
    if kept.fingerprint != key.fingerprint:
        raise Refused([_error(ErrorCode.IDEMPOTENCY_KEY_REUSED, key.text)])
    return str(kept.answer)


async def store(session: AsyncSession, key: IdempotencyKey, answer: str) -> None:
    """Keep what the request answers."""
    where = sa.and_(KEYS.c.client == key.client, KEYS.c.key == key.text)
    await session.execute(sa.update(KEYS).where(where).values(answer=answer))


MESSAGES = {
    ErrorCode.IDEMPOTENCY_KEY_REUSED: ("The key was used with another mutation or input", False),
    ErrorCode.IDEMPOTENCY_IN_PROGRESS: ("A request with this key is running; ask again", True),
}


def _error(code: ErrorCode, key: str) -> IdempotencyError:
    message, retryable = MESSAGES[code]
    return IdempotencyError(code=code, message=message, path=list(ROOT), retryable=retryable, key=key)

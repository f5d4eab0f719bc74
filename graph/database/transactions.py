"""Transactions that are tried again.

What goes in: a session and the work to be done in it. What comes out: what the work came to, committed. What may be refused
here: `TransientError` when the database refused for a passing reason (serialization, deadlock, busy) on every try, or the time
was over before a COMMIT, `Unavailable` when it does not serve or the time was over before anything began, `CommitUnknown` when a
COMMIT was not answered.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import TypeVar

from sqlalchemy.ext.asyncio import AsyncSession

from graph.database.failures import CommitUnknown, TransientError, Unavailable, is_stale, told, verdict_of
from graph.database.protocol import Connections
from graph.database.telling import Watch
from graph.observations import TransactionRetried

logger = logging.getLogger("ordergraph.database")

T = TypeVar("T")

#: How often a transaction is run at most, and how long it waits between two tries.
ATTEMPTS = 3
JITTER_SECONDS = (0.02, 0.2)


async def transaction(
    connections: Connections, session: AsyncSession, work: Callable[[], Awaitable[T]], deadline: float | None
) -> T:
    """Run `work` in one transaction of `session` and commit it; run it again after a passing refusal.

    `work` starts each time with an empty session. Raises `TransientError` after `ATTEMPTS`, `Unavailable` when the database
    does not serve, either where `deadline`, a time of the event loop, has come, `CommitUnknown` where a COMMIT was not answered,
    and whatever `work` raises, always after the rollback.
    """
    began = committing = False
    try:
        async with asyncio.timeout_at(deadline) as limit:
            for attempt in range(1, ATTEMPTS + 1):
                if any(True for _ in session):
                    session.expunge_all()
                begun = False
                try:
                    is_first = attempt == 1 and "committed" not in session.info
                    async with connections.turns.first if is_first else connections.turns:
                        try:
                            driver = session.info["driver"] = await connections.begin(session)
                            begun = began = True
                            result = await work()
                            if session.new or session.dirty or session.deleted:
                                await session.flush()  # or the COMMIT would be said to be sent with these statements
                            connections.check(driver)
                            committing = session.info["committed"] = True  # from here on nobody may say that nothing was
                            await _commit(connections, session)
                        except BaseException as error:
                            await _undo(connections, session, error)
                            raise
                    return result
                except Exception as error:
                    verdict = verdict_of(error, begun=begun, committing=committing, last=attempt == ATTEMPTS)
                    if verdict is error:
                        raise
                    if verdict is not None:
                        raise verdict from error
                    logger.debug("try %d of a transaction was refused for a passing reason: %s", attempt, told(error))
                    if TransactionRetried.listeners:
                        TransactionRetried(attempt).tell()
                committing = False
                await asyncio.sleep(random.uniform(*JITTER_SECONDS))
    except TimeoutError as error:
        if not limit.expired():
            raise
        if committing:
            raise CommitUnknown("the time was over") from error
        if began:
            logger.warning("A transaction was not over when the time of its request was, and is undone")
            raise TransientError("the request took longer than it may") from error
        raise Unavailable("the request took longer than it may") from error
    raise AssertionError("unreachable")


async def _commit(connections: Connections, session: AsyncSession) -> None:
    """Commit, and tell how long it took: what waits for a disk or a standby waits here."""
    watch: Watch = session.info["watch"]
    began = watch.began("COMMIT", direct=False)
    try:
        await connections.commit(session)
    except BaseException as error:
        watch.ended("COMMIT", began, error)
        raise
    watch.ended("COMMIT", began)


async def _undo(connections: Connections, session: AsyncSession, error: BaseException) -> None:
    """Undo a transaction that met an error: by a ROLLBACK where its connection answers, else by giving the connection up.

    Whoever was cancelled or met silence in the middle of a statement cannot know whether it answers, and does not wait for it.
    SQLAlchemy has seen nothing of that where the driver was asked directly.
    """
    undone = False
    try:
        if isinstance(error, Exception) and not is_stale(error):
            with suppress(Exception):  # the first error is the one to be told
                await session.rollback()
                undone = True
    finally:
        if not undone:
            await connections.give_up(session)
    if is_stale(error):
        connections.distrust()

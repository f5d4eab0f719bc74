"""The pool of a server: connections that go from read to read, and when they are given back."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import sqlalchemy as sa

from graph.database import Database
from graph.database.pool import Pool, pool_of
from tests.unhurried import unhurried

PID = sa.text("SELECT pg_backend_pid()")


@pytest.fixture
async def two(postgres_url: str) -> AsyncIterator[Database]:
    """A database with two connections."""
    database = Database(unhurried(postgres_url, pool_size=2))
    yield database
    await database.close()


async def backend(database: Database) -> str:
    """The process that answers a read."""
    found: bytes = await database.fetch("SELECT pg_backend_pid()::text", [])
    return found.decode()


def lying(pool: Pool) -> tuple[int, int]:
    return pool.checkedout(), len(pool._handed_on)


async def test_a_read_hands_its_connection_on_and_who_writes_may_have_it(two: Database) -> None:
    pool = pool_of(two.engine)
    pid = await backend(two)
    assert (await backend(two), lying(pool)) == (pid, (0, 1))
    # A session takes it over rather than to open another, and reads go on beside it.
    async with two.session() as session:
        assert str(await two.transaction(session, lambda: session.scalar(PID))) == pid
    assert lying(pool) == (0, 0)
    async with two.engine.connect() as first:
        assert str(await first.scalar(PID)) == pid
        assert await backend(two) != pid
        async with two.engine.connect() as second:
            assert str(await second.scalar(PID)) != pid
            assert lying(pool) == (2, 0)
    assert lying(pool) == (0, 0)


async def test_a_connection_that_is_not_trusted_is_not_handed_on(two: Database) -> None:
    pool = pool_of(two.engine)
    pid = await backend(two)
    pool.distrust()
    assert lying(pool) == (0, 0)
    assert await backend(two) != pid

    # Nor one that was at work meanwhile, once it is free.
    era, taken = pool.era, await pool.for_read(None)
    pool.distrust()
    pool.hand_on(taken, era)
    assert lying(pool) == (0, 0)
    await two.close()
    assert pool.checkedin() == 0

"""The pool that many shops share: a shop meets the connection that knows it, and none knows too many."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
import sqlalchemy as sa

from graph.database import Database
from graph.database import shop_pool as pools
from graph.database.pool import pool_of
from graph.database.shops import Databases
from tests.unhurried import unhurried

SHOPS = [f"s{number}" for number in range(5)]


@pytest.fixture
async def shops(postgres_url: str) -> AsyncIterator[Databases]:
    """Shops whose tables nobody asks for, before two connections."""
    databases = Databases(unhurried(postgres_url, shops=True, pool_size=2))
    yield databases
    await databases.close()


async def backend(database: Database, seconds: float = 0.0) -> str:
    """The process that answers a read."""
    found: bytes = await database.fetch(f"SELECT pg_backend_pid()::text FROM pg_sleep({seconds})", [])
    return found.decode()


async def writer(database: Database) -> str:
    """The process that runs a transaction."""
    async with database.session() as session:
        return str(await database.transaction(session, lambda: session.scalar(sa.text("SELECT pg_backend_pid()"))))


async def hold(database: Database, begun: asyncio.Event, end: asyncio.Event) -> None:
    """A transaction that takes its time."""
    async with database.session() as session:

        async def work() -> None:
            begun.set()
            await end.wait()

        await database.transaction(session, work)


def known(databases: Databases) -> list[set[str]]:
    """The schemas that each connection has served."""
    pool: Any = pool_of(databases.main.engine)
    pool._take_back()
    records = [pool._pool.get_nowait() for _ in range(pool.checkedin())]
    for record in records:
        pool._pool.put_nowait(record)
    return [set(pools.served(record)) for record in records]


async def test_a_shop_meets_the_connection_that_has_served_it(shops: Databases) -> None:
    one, other = shops.of("s0"), shops.of("s1")
    first, second = await asyncio.gather(backend(one, 0.1), backend(other, 0.1))
    assert first != second
    for database, pid in [(one, first), (other, second), (other, second), (one, first), (one, first)]:
        assert await backend(database) == pid
        assert await writer(database) == pid
        assert await backend(database) == pid
    # Where it is at work nobody waits for it.
    assert set(await asyncio.gather(backend(one, 0.1), backend(one, 0.1))) == {first, second}


async def test_a_new_shop_is_given_to_the_connection_that_knows_the_fewest(shops: Databases) -> None:
    await asyncio.gather(backend(shops.of("s0"), 0.1), backend(shops.of("s1"), 0.1))
    await backend(shops.of("s2"))
    await writer(shops.of("s3"))
    assert sorted(map(len, known(shops))) == [2, 2]


@pytest.mark.parametrize("ask", [backend, writer])
async def test_a_connection_that_has_served_too_many_is_replaced(
    shops: Databases, ask: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pools, "MOST_SHOPS", 2)
    pids = [await ask(shops.of(shop)) for shop in SHOPS]
    # Two serve two each, the second one opened when the first had enough; then one is closed for the fifth.
    assert pids[0] == pids[1] != pids[2] == pids[3] != pids[4] != pids[0]
    assert sorted(map(len, known(shops))) == [1, 2]
    assert {await ask(shops.of(shop)) for shop in SHOPS[4:]} == {pids[4]}
    for _ in range(3):
        for shop in SHOPS:
            await asyncio.gather(*(ask(shops.of(shop)) for _ in range(2)))
            assert max(map(len, known(shops))) <= 2
    assert pool_of(shops.main.engine).checkedout() == 0


async def test_what_is_no_shops_takes_any_connection(shops: Databases) -> None:
    pid = await backend(shops.of("s0"))
    async with shops.main.engine.connect() as connection:
        assert str(await connection.scalar(sa.text("SELECT pg_backend_pid()"))) == pid


async def test_who_finds_its_connection_at_work_waits_for_it_but_not_for_long(
    shops: Databases, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, other = shops.of("s0"), shops.of("s1")
    first, second = await asyncio.gather(backend(one, 0.1), backend(other, 0.1))
    pool: Any = pool_of(shops.main.engine)
    monkeypatch.setattr(pools, "PATIENCE_SECONDS", 60)
    # While the other connection knows few shops it learns one more at once.
    assert set(await asyncio.gather(backend(one, 0.1), backend(one, 0.1))) == {first, second}
    one, other = shops.of("s3"), shops.of("s4")
    first, second = await asyncio.gather(backend(one, 0.1), backend(other, 0.1))
    monkeypatch.setattr(pools, "MOST_SHOPS", 5)
    asked = [asyncio.create_task(ask(shop)) for shop in (one, other, one) for ask in (backend, writer, backend)]
    given_up = asyncio.create_task(backend(one))
    await asyncio.sleep(0)
    given_up.cancel()
    assert await asyncio.gather(*asked) == [*[first] * 3, *[second] * 3, *[first] * 3]
    # What nobody has served is waited for by nobody.
    running = asyncio.create_task(backend(one, 0.3))
    await asyncio.sleep(0)
    assert await backend(shops.of("s2")) == second
    await running
    monkeypatch.setattr(pools, "PATIENCE_SECONDS", 0.01)
    begun, end = asyncio.Event(), asyncio.Event()
    holding = asyncio.create_task(hold(one, begun, end))
    await begun.wait()
    assert await backend(one) == second
    end.set()
    await holding
    assert pool._waiting == []

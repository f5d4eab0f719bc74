"""What is done at every shop as time passes, whoever wrote there and whether anybody asks for it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

import pytest
import sqlalchemy as sa

from graph.base import utc_now
from graph.context import Context
from graph.database import Database
from graph.database.shops import Databases
from graph.feed.leftovers import Leftovers, leftovers
from graph.feed.outbox import ChangeRow
from graph.feed.sequence import waiting_since
from graph.schema import schema
from graph.serve import slow_turns
from graph.serve.slow_turns import take_turns
from graph.write.idempotency import KEYS
from tests.conftest import Statements
from tests.many_shops import Shops, many_shops
from tests.sockets import NEVER, PATIENCE, until
from tests.unhurried import unhurried

CREATE = """mutation ($sku: String!) {
    createItem(input: {sku: $sku, name: $sku, price: "1"}) @idempotent(key: $sku) { errors { code } }
}"""
LONG_AGO = timedelta(days=30)


@pytest.fixture
async def shops(shops_url: str, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Shops]:
    """Three shops, whose turns are for tests to give; what is done there beside waits, too."""
    monkeypatch.setattr(slow_turns, "ROUND_SECONDS", NEVER)
    monkeypatch.setattr("graph.shops.directory.REFRESH_SECONDS", NEVER)
    async with many_shops(unhurried(shops_url, shops=True), "acme", "bolt", "cork") as made:
        await asyncio.sleep(0)  # the server's own round has begun, and takes its hour
        yield made


@asynccontextmanager
async def turning(shops: Shops) -> AsyncIterator[None]:
    """Give shops their turns while this block runs."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(slow_turns, "ROUND_SECONDS", 0)
        patch.setattr(slow_turns, "BETWEEN_SECONDS", 0.005)
        task = asyncio.create_task(take_turns(shops.kept))
        try:
            yield
        finally:
            task.cancel()
            await asyncio.wait([task])


async def of_another_process(shops: Shops, shop: str, *skus: str) -> None:
    """Write as a process does that is killed at once."""
    databases = Databases(shops.settings)
    try:
        for sku in skus:
            context = Context(databases.of(shop))
            try:
                answer = await schema.execute(CREATE, {"sku": sku}, context)
            finally:
                await context.close()
            assert answer.errors is None, answer.errors
    finally:
        await databases.close()


async def rows(database: Database, table: Any) -> int:
    async with database.session() as session:
        return int(await session.scalar(sa.select(sa.func.count()).select_from(table)) or 0)


async def make_old(database: Database) -> None:
    """Set back the times of all that is deleted some day."""
    async with database.engine.begin() as connection:
        await connection.execute(sa.update(KEYS).values(created_at=utc_now() - LONG_AGO))
        await connection.execute(sa.update(ChangeRow).values(at=utc_now() - LONG_AGO))


async def test_what_a_process_leaves_that_is_killed_is_put_into_order(shops: Shops) -> None:
    await of_another_process(shops, "bolt", "A", "B")
    database = shops.premises.databases.of("bolt")
    assert (await leftovers(database)).unnumbered != database.capabilities.one_writer
    async with turning(shops):
        async with asyncio.timeout(PATIENCE):
            while await waiting_since(database) is not None:  # noqa: ASYNC110  # nobody tells
                await asyncio.sleep(0.02)


async def test_keys_and_changes_past_their_time_are_deleted_everywhere(shops: Shops) -> None:
    """But for a shop's last change, which says where its feed is."""
    for shop in ("acme", "cork"):
        for sku in "ABC":
            await shops.data(shop, CREATE, {"sku": sku})
        front = await shops.kept.named(shop)
        await front.subscriptions.outlook.bounds()  # all have their positions
    database, fresh = shops.premises.databases.of("acme"), shops.premises.databases.of("cork")
    assert await leftovers(database) == Leftovers(unnumbered=False, keys=False, changes=False)
    await make_old(database)
    assert await leftovers(database) == Leftovers(unnumbered=False, keys=True, changes=True)
    async with turning(shops):
        async with asyncio.timeout(PATIENCE):
            while (await rows(database, KEYS), await rows(database, ChangeRow)) != (0, 1):  # noqa: ASYNC110  # nobody tells
                await asyncio.sleep(0.02)
    assert await leftovers(database) == Leftovers(unnumbered=False, keys=False, changes=False)
    assert (await rows(fresh, KEYS), await rows(fresh, ChangeRow)) == (3, 3)


async def test_a_turn_is_one_statement_where_there_is_nothing_to_do(shops: Shops, statements: Statements) -> None:
    """Of shops that are served, and as many are open as before."""
    await shops.deployment.archive("cork")
    await shops.told()
    turns = list[str]()
    visited = shops.kept.visited

    def counted(name: str) -> Any:
        turns.append(name)
        return visited(name)

    shops.kept.visited = counted  # type: ignore[method-assign]  # to see whose turn it is
    statements.clear()
    async with turning(shops):
        await until(lambda: len(turns) > 20)
    assert set(turns) == {"acme", "bolt"}
    assert len(turns) - 1 <= len(statements) <= len(turns)
    shops.kept.look()
    await until(lambda: shops.kept.fronts() == [])


async def test_a_shop_that_cannot_be_kept_in_order_is_told_of_and_keeps_no_other_waiting(
    shops: Shops, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    asked: list[str | None] = []

    async def broken(database: Database) -> Leftovers:
        asked.append(database.shop)
        if len(asked) < 5:
            raise RuntimeError("odd")
        return Leftovers(unnumbered=False, keys=False, changes=False)

    monkeypatch.setattr(slow_turns, "leftovers", broken)
    async with turning(shops):
        await until(lambda: len(asked) > 10)
    assert set(asked) == {"acme", "bolt", "cork"}
    (told,) = [record for record in caplog.records if record.levelname == "WARNING"]
    assert getattr(told, "measured", None) == {"shop": asked[0]}

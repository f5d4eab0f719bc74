"""Shops and standbys: a shop's queries are answered by a standby that shows what they must see, whoever asks as which role."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress
from itertools import count
from typing import Any

import pytest

from graph.context import Context
from graph.database import Database
from graph.database.read_after import ReadAfter
from graph.database.shops import Databases
from graph.observations import ReplicaAsked, StatementBegan, listening
from graph.schema import schema
from tests.database.test_shops import CREATE, ITEMS
from tests.deployments import deployment
from tests.standbys import Pair, beaten

NUMBERS = count(1)


@pytest.fixture(params=[False, True], ids=["one role", "a role a shop"])
async def shops(request: pytest.FixtureRequest, pair: Pair) -> AsyncIterator[tuple[Database, Database]]:
    """Two shops on a primary and a standby, once a heart has beaten."""
    names = [f"replicated-{next(NUMBERS)}" for _ in range(2)]
    more: dict[str, Any] = {"replica_urls": (pair.standby.url,), "replica_max_lag_seconds": 600.0}
    databases = Databases(await deployment(pair.primary.url, *names, shop_roles=request.param, **more))
    beating = asyncio.create_task(databases.beat())
    await beaten(databases.main, pair)
    yield databases.of(names[0]), databases.of(names[1])
    beating.cancel()
    with suppress(asyncio.CancelledError):
        await beating
    await databases.close()


async def asked(database: Database, query: str, after: ReadAfter | None = None, **variables: Any) -> tuple[Any, ReadAfter | None]:
    """The data of an answer, and what it wrote."""
    context = Context(database, read_after=after)
    try:
        answer = await schema.execute(query, variables, context)
    finally:
        await context.close()
    assert answer.errors is None, answer.errors
    return answer.data, context.wrote


async def test_a_shops_queries_are_answered_by_the_standby(pair: Pair, shops: tuple[Database, Database]) -> None:
    one, other = shops
    told: list[ReplicaAsked] = []
    sent: list[StatementBegan] = []

    def outcomes() -> list[str]:
        found = [each.outcome for each in told]
        told.clear()
        return found

    with listening(ReplicaAsked, told.append), listening(StatementBegan, sent.append):
        assert (await asked(other, ITEMS))[0]["items"]["totalCount"] == 0
        assert outcomes() == ["answered"]
        [statement] = [each for each in sent if "heartbeat" in each.sql]
        assert '"ordergraph".heartbeat' in statement.sql
        assert f'"shop_{other.shop}".changes' in statement.sql
        assert f"shop_{one.shop}" not in statement.sql
        await pair.pause()
        try:
            made, wrote = await asked(one, CREATE, sku="A")
            assert made["createItem"]["errors"] == []
            assert wrote is not None
            assert (await asked(one, ITEMS, wrote))[0]["items"]["totalCount"] == 1
            assert outcomes() == ["behind"]
            # What a token of one shop says holds in no other.
            assert (await asked(other, ITEMS, wrote))[0]["items"]["totalCount"] == 0
            assert outcomes() == ["behind"]
        finally:
            await pair.resume()
        await pair.caught_up()
        assert (await asked(one, ITEMS, wrote))[0]["items"]["totalCount"] == 1
        assert outcomes() == ["answered"]
        assert (await asked(other, ITEMS, wrote))[0]["items"]["totalCount"] == 0
        assert outcomes() == ["behind"]

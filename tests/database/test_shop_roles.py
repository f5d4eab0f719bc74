"""A role for each shop: the database itself lets nothing of one shop reach another, directly and through PgBouncer."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress
from typing import Any

import asyncpg
import pytest
import sqlalchemy as sa

from graph.database import Database
from graph.database.failures import TransientError, Unavailable
from graph.database.pool import pool_of
from graph.database.shops import Databases
from graph.settings import Settings
from tests.database.test_shops import CREATE, ITEMS, data
from tests.deployments import deployment
from tests.engines import Postgres
from tests.pgbouncer import pooler

WHO = "SELECT concat(current_user, ' ', count(*)) FROM \"[shop]\".item"
NAMES = ("acme", "north-wind")


@pytest.fixture(params=["direct", pytest.param("pooled", marks=pytest.mark.pgbouncer)])
def place(request: pytest.FixtureRequest, postgres_engines: Postgres) -> Iterator[Settings]:
    """Where shops are that have roles: the settings of a deployment with two of them."""
    url = postgres_engines.new("nothing")
    made = asyncio.run(deployment(url, *NAMES, shop_roles=True))
    if request.param == "direct":
        yield made
    else:
        with pooler(url) as through:
            yield Settings(database_url=through, shops=True, shop_roles=True, pgbouncer=True)
    postgres_engines.drop(url)


@pytest.fixture
async def shops(place: Settings) -> AsyncIterator[Databases]:
    databases = Databases(place)
    yield databases
    assert pool_of(databases.main.engine).checkedout() == 0
    await databases.close()


async def within(database: Database, sql: str) -> Any:
    """The first value of a statement in a transaction."""
    async with database.session() as session:

        async def work() -> Any:
            return (await database.rows_within(session, sql, []))[0][0]

        return await database.transaction(session, work)


async def test_what_a_shop_runs_runs_as_its_role(shops: Databases) -> None:
    for name in (*NAMES, *NAMES):
        database = shops.of(name)
        await data(database, CREATE, sku=f"{name}{len((await data(database, ITEMS))['items']['nodes'])}")
        count = (await data(database, ITEMS))["items"]["totalCount"]
        for found in await asyncio.gather(*(database.fetch(WHO, []) for _ in range(3))):
            assert found.decode() == f"shop_{name} {count}"
        assert await within(database, WHO) == f"shop_{name} {count}"
    assert (await shops.main.fetch("SELECT session_user = current_user", [])) is True


async def test_the_database_refuses_what_would_reach_another_shop(shops: Databases) -> None:
    acme = shops.of("acme")
    await data(shops.of("north-wind"), CREATE, sku="A")
    for sql in ('SELECT count(*) FROM "shop_north-wind".item', 'DELETE FROM "shop_north-wind".item RETURNING id'):
        for ask in (acme.fetch(sql, []), within(acme, sql)):
            with pytest.raises((Unavailable, TransientError), match="permission denied for schema shop_north-wind"):
                await ask
    assert (await acme.fetch(WHO, [])).decode() == "shop_acme 0"
    assert (await shops.of("north-wind").fetch(WHO, [])).decode() == "shop_north-wind 1"


async def test_nothing_makes_a_connection_forget_whose_role_it_has(shops: Databases) -> None:
    """Rollbacks, savepoints, cancellations and connections that are killed, one shop beside the other."""
    for name in NAMES:
        await data(shops.of(name), CREATE, sku=name)

    async def rolls_back(database: Database) -> None:
        async with database.session() as session:

            async def work() -> None:
                await session.execute(sa.text("SELECT 1"))
                with suppress(Exception):
                    async with session.begin_nested():
                        await session.execute(sa.text("SELECT 1 / 0"))
                raise RuntimeError

            with suppress(RuntimeError):
                await database.transaction(session, work)

    async def cancelled(database: Database) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(0.02):
                await database.fetch("SELECT pg_sleep(1)", [])

    async def killed(database: Database) -> None:
        with suppress(Unavailable):
            await database.fetch("SELECT pg_terminate_backend(pg_backend_pid())", [])

    async def looks(database: Database) -> None:
        for ask in (database.fetch(WHO, []), within(database, WHO)):
            found = await ask
            assert (found.decode() if isinstance(found, bytes) else found) == f"shop_{database.shop} 1"

    async def player(name: str, number: int) -> None:
        steps = [rolls_back, looks, cancelled, looks, killed, looks, looks]
        for step in steps[number % 3 :] + steps:
            await step(shops.of(name))

    await asyncio.gather(*(player(name, number) for name in NAMES for number in range(4)))


async def test_a_role_is_said_once_for_a_connection_that_keeps_it(shops: Databases) -> None:
    acme = shops.of("acme")
    if acme.settings.pgbouncer:
        return
    pool: Any = pool_of(shops.main.engine)
    await acme.fetch(WHO, [])
    [connection] = pool._handed_on
    link: asyncpg.Connection = connection.driver_connection
    sent: list[str] = []
    link.add_query_logger(lambda record: sent.append(record.query))
    await acme.fetch(WHO, [])
    await shops.of("north-wind").fetch(WHO, [])
    await shops.of("north-wind").fetch(WHO, [])
    assert [sql for sql in sent if "ROLE" in sql] == ['SET ROLE "shop_north-wind"']

"""Shops with roles on PostgreSQL: the owner makes them, the servers' role becomes them, and none has what another has."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from itertools import count
from os import getpid
from typing import Any

import asyncpg
import pytest
from asyncpg.exceptions import InsufficientPrivilegeError
from sqlalchemy import make_url

from graph import migrate
from graph.access import api_keys
from graph.commands.common import with_database
from graph.database import Database
from graph.database.shops import Databases
from graph.settings import Settings
from graph.shops.deployment import Deployment
from graph.shops.directory import Directory
from tests import postgres
from tests.engines import Postgres

NUMBERS = count(1)


@pytest.fixture
def names() -> tuple[str, str]:
    """Shops whose roles no other test has: roles are the server's."""
    number = f"{getpid()}-{next(NUMBERS)}"
    return f"acme-{number}", f"other-{number}"


@pytest.fixture
def owner_url(postgres_engines: Postgres) -> Iterator[str]:
    """A database whose owner is no superuser, made as docs/production/roles.sql says."""
    name, server = postgres.new_name(), postgres_engines.server
    server.execute(f'CREATE ROLE "{name}_owner" LOGIN CREATEROLE')
    server.execute(f'CREATE ROLE "{name}_app" LOGIN')
    url = server.create(name)
    server.execute(f'ALTER DATABASE "{name}" OWNER TO "{name}_owner"')
    yield make_url(url).set(username=f"{name}_owner").render_as_string(hide_password=False)
    server.drop(name)
    for role in ("owner", "app"):
        server.execute(f'DROP ROLE "{name}_{role}"')


def app_of(url: str) -> str:
    return url.replace("_owner@", "_app@")


async def execute(url: str, *statements: str) -> None:
    connection = await asyncpg.connect(url)
    try:
        for statement in statements:
            await connection.execute(statement)
    finally:
        await connection.close()


async def rights(url: str) -> None:
    app = make_url(app_of(url)).username
    await execute(
        url,
        f'ALTER DEFAULT PRIVILEGES GRANT SELECT, INSERT, UPDATE, DELETE ON TABLES TO "{app}"',
        f'ALTER DEFAULT PRIVILEGES GRANT USAGE ON SEQUENCES TO "{app}"',
        f'ALTER DEFAULT PRIVILEGES GRANT USAGE ON SCHEMAS TO "{app}"',
    )


@pytest.fixture
async def made(owner_url: str, names: tuple[str, str]) -> AsyncIterator[Deployment]:
    """Two shops with roles."""
    await rights(owner_url)
    deployment = Deployment(Settings(database_url=owner_url, shops=True, shop_roles=True))
    for name in names:
        await deployment.create(name)
    yield deployment
    for shop in await deployment.every():
        if shop.archived_at is None:
            await deployment.archive(shop.name)
        await deployment.drop(shop.name)


INSERT = "INSERT INTO \"shop_{}\".item (version, sku, name, price, created_at, updated_at) VALUES (1, 'a', 'a', 1, now(), now())"


async def test_the_servers_role_has_nothing_before_it_becomes_a_shop_s(
    made: Deployment, owner_url: str, names: tuple[str, str]
) -> None:
    acme, other = names
    app = await asyncpg.connect(app_of(owner_url))
    try:
        for name in names:
            with pytest.raises(InsufficientPrivilegeError):
                await app.fetch(f'SELECT * FROM "shop_{name}".item')
        await app.execute(f'SET ROLE "shop_{acme}"')
        await app.execute(INSERT.format(acme))
        for statement in (f'SELECT * FROM "shop_{other}".item', INSERT.format(other), "SELECT * FROM ordergraph.shop"):
            with pytest.raises(InsufficientPrivilegeError):
                await app.execute(statement)
        with pytest.raises(InsufficientPrivilegeError):
            await app.execute(f'CREATE TABLE "shop_{acme}".mine (id int)')
        await app.execute("RESET ROLE")
        assert await app.fetchval("SELECT count(*) FROM ordergraph.shop") == 2
        for table in ("shop", "shop_host", "shop_changes"):
            with pytest.raises(InsufficientPrivilegeError):
                await app.execute(f"DELETE FROM ordergraph.{table}")
    finally:
        await app.close()


async def test_commands_about_a_shop_run_as_the_servers_role_too(
    made: Deployment, owner_url: str, names: tuple[str, str]
) -> None:
    settings = Settings(database_url=app_of(owner_url), shops=True, shop_roles=True)

    async def at(shop: str, work: Callable[[Database], Coroutine[Any, Any, Any]]) -> Any:
        return await asyncio.to_thread(with_database, work, settings, shop)

    acme, other = names
    await at(acme, lambda database: api_keys.create(database, "front", ["read"], None, None))
    assert [key.name for key in await at(acme, api_keys.every)] == ["front"]
    assert await at(other, api_keys.every) == []


#: What a role may use of what is there beside its own schema and those of the server.
BEYOND = """
SELECT nspname || '.' || relname FROM pg_class JOIN pg_namespace ON pg_namespace.oid = relnamespace
WHERE nspname <> $1 AND nspname !~ '^pg_' AND nspname <> 'information_schema' AND CASE
    WHEN relkind = 'S' THEN has_sequence_privilege(pg_class.oid, 'USAGE, SELECT, UPDATE')
    ELSE has_any_column_privilege(pg_class.oid, 'SELECT, INSERT, UPDATE, REFERENCES')
        OR has_table_privilege(pg_class.oid, 'DELETE, TRUNCATE, TRIGGER') END
UNION ALL SELECT nspname FROM pg_namespace WHERE has_schema_privilege(oid, 'CREATE')
"""
#: What the server's own tables tell of others' rows, statements and counts.
TOLD = """
SELECT tablename FROM pg_stats WHERE schemaname = $1
UNION ALL SELECT query FROM pg_stat_activity WHERE query LIKE '%secret%' AND pid <> pg_backend_pid()
UNION ALL SELECT sequencename FROM pg_sequences WHERE schemaname = $1 AND last_value IS NOT NULL
"""


async def test_a_shop_s_role_has_no_table_sequence_or_schema_beside_its_own(
    made: Deployment, owner_url: str, names: tuple[str, str]
) -> None:
    acme, other = names
    app, beside = await asyncpg.connect(app_of(owner_url)), await asyncpg.connect(app_of(owner_url))
    try:
        await beside.execute(f'SET ROLE "shop_{other}"')
        await beside.execute(INSERT.format(other))
        await execute(owner_url, f'ANALYZE "shop_{other}".item')
        await beside.fetch(f"SELECT 'secret' FROM \"shop_{other}\".item")
        assert len(await beside.fetch(TOLD.replace("AND pid <> pg_backend_pid()", ""), f"shop_{other}")) > 2
        await app.execute(f'SET ROLE "shop_{acme}"')
        # The time that a standby was told; and it finds its own.
        assert [name for (name,) in await app.fetch(BEYOND, f"shop_{acme}")] == ["ordergraph.heartbeat"]
        assert len(await app.fetch(BEYOND, "none")) > 10
        assert await app.fetch(TOLD, f"shop_{other}") == []
    finally:
        await app.close()
        await beside.close()


async def test_tables_of_later_migrations_are_the_role_s_too(made: Deployment, owner_url: str, names: tuple[str, str]) -> None:
    acme, _ = names
    assert await made.migrate([acme], "0006") == {}
    assert await made.migrate([acme]) == {}
    app = await asyncpg.connect(app_of(owner_url))
    try:
        with pytest.raises(InsufficientPrivilegeError):
            await app.fetch(f'SELECT * FROM "shop_{acme}".api_key')
        await app.execute(f'SET ROLE "shop_{acme}"')
        assert await app.fetch(f'SELECT * FROM "shop_{acme}".api_key') == []
    finally:
        await app.close()


async def test_shops_that_were_made_without_roles_get_them_by_migrating(owner_url: str, names: tuple[str, str]) -> None:
    await rights(owner_url)
    acme, other = names
    without = Deployment(Settings(database_url=owner_url, shops=True))
    for name in names:
        await without.create(name)
    app = await asyncpg.connect(app_of(owner_url))
    try:
        assert await app.fetch(f'SELECT * FROM "shop_{acme}".item') == []
        deployment = Deployment(Settings(database_url=owner_url, shops=True, shop_roles=True))
        assert await deployment.waiting() == [acme, other]
        assert await deployment.migrate([acme]) == {}
        assert await deployment.waiting() == [other]
        with pytest.raises(InsufficientPrivilegeError):
            await app.fetch(f'SELECT * FROM "shop_{acme}".item')
        assert await app.fetch(f'SELECT * FROM "shop_{other}".item') == []
    finally:
        await app.close()
    for name in names:
        await deployment.archive(name)
        await deployment.drop(name)
    assert await deployment.every() == []


async def test_a_restored_shop_is_taken_from_the_servers_role_by_migrating(
    made: Deployment, owner_url: str, names: tuple[str, str]
) -> None:
    """A schema that is made anew by a copy has what default privileges grant."""
    acme, _ = names
    app = make_url(app_of(owner_url)).username
    await execute(owner_url, f'GRANT USAGE ON SCHEMA "shop_{acme}" TO "{app}"')
    assert await made.waiting() == [acme]
    assert await made.migrate([acme]) == {}
    assert await made.waiting() == []
    with pytest.raises(InsufficientPrivilegeError):
        await execute(app_of(owner_url), f'SELECT * FROM "shop_{acme}".item')
    await execute(app_of(owner_url), f'SET ROLE "shop_{acme}"', f'SELECT * FROM "shop_{acme}".item')


async def test_a_dropped_shop_leaves_no_role(made: Deployment, owner_url: str, names: tuple[str, str]) -> None:
    acme, other = names
    await made.archive(acme)
    await made.drop(acme)
    connection = await asyncpg.connect(owner_url)
    try:
        roles = await connection.fetch("SELECT rolname FROM pg_roles WHERE rolname = ANY($1)", [f"shop_{acme}", f"shop_{other}"])
        assert [role["rolname"] for role in roles] == [f"shop_{other}"]
    finally:
        await connection.close()


async def test_a_server_finds_shops_as_its_own_role(made: Deployment, owner_url: str, names: tuple[str, str]) -> None:
    databases = Databases(Settings(database_url=app_of(owner_url), shops=True, shop_roles=True))
    directory = Directory(databases.main)
    try:
        assert (await directory.find(names[0])).revision == migrate.head()
        async with databases.of(names[0]).session() as session:
            driver = await databases.of(names[0]).primary.begin(session)
            assert await driver.fetchval("SELECT current_user") == f"shop_{names[0]}"
            await session.rollback()
    finally:
        await directory.close()
        await databases.close()

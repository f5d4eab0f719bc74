"""Shops on PostgreSQL: a schema each, beside that of the registry.

What goes in: settings; names of shops. What comes out: schemas with the tables of this version, each made, migrated and dropped
in one transaction that writes the registry as well. What may be refused here: what a database refuses of a migration;
`ShopRefused` for a schema that is gone.

In its transaction a migration finds its shop's schema and no other: a table that is missing there is missing, and `public`
answers for nobody. Who migrates a shop locks it, and nobody else, until COMMIT.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from typing import Any

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from graph import migrate
from graph.database import capabilities
from graph.database.backends import configured
from graph.database.failures import sqlstate
from graph.database.heartbeat import HEARTBEATS
from graph.database.shop_names import PREFIX, REGISTRY_SCHEMA, role_of_shop, schema_of_shop
from graph.settings import Settings
from graph.shops import registry
from graph.shops.homes import GONE, Migrate
from graph.shops.registry import ShopRefused

#: Shops whose revision one statement asks for.
AT_ONCE = 500
#: Shops that one connection migrates: what a server remembers of their tables is in its memory until the connection ends.
A_CONNECTION = 200
#: Seconds that whoever drops a shop waits for those who use it.
DROP_SECONDS = 10

#: DROP ROLE where something is left that the role may use.
DEPENDED_ON = "2BP01"

#: Makes those wait who change the same shop.
LOCK = sa.text("SELECT pg_advisory_xact_lock(hashtextextended('ordergraph ' || :schema, 0))")
#: Of a schema that is not there nobody complains: tables would be made among the temporary ones.
IS_THERE = sa.text("SELECT nspname FROM pg_namespace WHERE nspname = :schema")
#: Where a table without a schema is looked for: nowhere else, and among temporary ones last.
WITHIN = sa.text("SELECT set_config('search_path', quote_ident(:schema) || ', pg_temp', true)")
#: Which schemas of shops have the table that tells a revision.
VERSIONED = sa.text(
    "SELECT nspname FROM pg_class JOIN pg_namespace ON pg_namespace.oid = relnamespace"
    " WHERE relname = 'alembic_version' AND nspname = ANY(:schemas)"
)
#: Who may use a schema without owning it: by the default privileges of its owner.
USERS = sa.text(
    "SELECT DISTINCT rolname FROM pg_namespace, aclexplode(nspacl), pg_roles"
    " WHERE nspname = :schema AND pg_roles.oid = grantee AND grantee <> nspowner"
)
#: Who may write tables without owning them, likewise.
WRITERS = sa.text(
    "SELECT DISTINCT rolname FROM pg_class, aclexplode(relacl), pg_roles WHERE relnamespace = CAST(:schema AS regnamespace)"
    " AND relname = ANY(:tables) AND pg_roles.oid = grantee AND grantee <> relowner"
)
#: Schemas that others than their owner and the role of the same name may use, as one may that a copy has made anew.
UNGUARDED = sa.text(
    "SELECT DISTINCT nspname FROM pg_namespace, aclexplode(nspacl), pg_roles"
    " WHERE nspname = ANY(:schemas) AND pg_roles.oid = grantee AND grantee <> nspowner AND rolname <> nspname"
)
#: Whoever migrates may become a role, too, if he is no superuser, who may anyway.
MIGRATOR = sa.text("SELECT rolname FROM pg_roles WHERE rolname = current_user AND NOT rolsuper")
WITHOUT_ROLE = sa.text("SELECT name FROM unnest(CAST(:names AS text[])) AS name WHERE to_regrole(quote_ident(name)) IS NULL")


class SchemaHomes:
    """The schemas of shops in one database."""

    def __init__(self, settings: Settings) -> None:
        self.target = configured(settings)
        self._roles = settings.shop_roles
        self._scripts = migrate.Scripts()

    @asynccontextmanager
    async def opened(self, *, make: bool = False) -> AsyncIterator[AsyncConnection]:
        """A connection in a transaction, on which the tables of the registry are found."""
        async with migrate.connected(self.target) as connection, connection.begin():
            await _within(connection, REGISTRY_SCHEMA)
            if make and not await registry.is_made(connection):
                lock = capabilities(connection.dialect).schema_lock
                assert lock is not None, "a server makes those wait who change the same tables"
                await connection.execute(lock)
                await connection.exec_driver_sql(f"CREATE SCHEMA IF NOT EXISTS {REGISTRY_SCHEMA}")
                await connection.run_sync(partial(HEARTBEATS.create, checkfirst=True))
                await registry.make(connection)
                await _keep_registry(connection)
            yield connection

    async def make(self, connection: AsyncConnection, name: str) -> None:
        """Make a shop's tables, in the transaction of `opened`."""
        schema = schema_of_shop(name)
        await connection.execute(LOCK, {"schema": schema})
        await connection.exec_driver_sql(f"CREATE SCHEMA {_quoted(schema)}")
        await _within(connection, schema)
        await self._build(connection, None)
        if self._roles:
            await _grant(connection, name)
        await _within(connection, REGISTRY_SCHEMA)

    async def made(self, name: str) -> None:
        """What is left to do once the transaction is committed: nothing."""

    async def drop(self, connection: AsyncConnection, name: str) -> None:
        """Drop a shop's tables, in the transaction of `opened`."""
        schema, role = schema_of_shop(name), role_of_shop(name)
        await connection.exec_driver_sql(f"SET LOCAL lock_timeout = '{DROP_SECONDS}s'")
        await connection.execute(LOCK, {"schema": schema})
        await connection.exec_driver_sql(f"DROP SCHEMA IF EXISTS {_quoted(schema)} CASCADE")
        if not (await connection.scalars(WITHOUT_ROLE, {"names": [role]})).all():
            await _drop_role(connection, role)

    async def dropped(self, name: str) -> None:
        """As `made`."""

    async def revisions(self, names: Sequence[str]) -> dict[str, str | None]:
        """The revisions that shops have, all asked for at once."""
        found: dict[str, str | None] = dict.fromkeys(names)
        async with migrate.connected(self.target) as connection:
            versioned = (await connection.scalars(VERSIONED, {"schemas": [schema_of_shop(name) for name in names]})).all()
            for start in range(0, len(versioned), AT_ONCE):
                for row in await connection.execute(_revisions_of(versioned[start : start + AT_ONCE])):
                    found[row.schema.removeprefix(PREFIX)] = row.version_num
        return found

    async def unfinished(self, names: Sequence[str]) -> set[str]:
        """Shops that lack something beside their tables: a role that alone may use them, where shops have some."""
        if not self._roles:
            return set()
        async with migrate.connected(self.target) as connection:
            without = (await connection.scalars(WITHOUT_ROLE, {"names": [role_of_shop(name) for name in names]})).all()
            unguarded = (await connection.scalars(UNGUARDED, {"schemas": [schema_of_shop(name) for name in names]})).all()
            return {found.removeprefix(PREFIX) for found in (*without, *unguarded)}

    @asynccontextmanager
    async def migrating(self) -> AsyncIterator[Migrate]:
        """What brings one shop after another to a revision, over a connection that is renewed now and then."""
        async with AsyncExitStack() as stack:
            served = 0
            connection: AsyncConnection | None = None

            async def bring(name: str, down_to: str | None) -> list[str]:
                nonlocal served, connection
                if connection is None or connection.invalidated or served >= A_CONNECTION:
                    await stack.aclose()
                    connection, served = await stack.enter_async_context(migrate.connected(self.target)), 0
                served += 1
                async with connection.begin():
                    return await self._migrate(connection, name, down_to)

            yield bring

    async def _migrate(self, connection: AsyncConnection, name: str, down_to: str | None) -> list[str]:
        said: list[str] = []
        schema = schema_of_shop(name)
        await connection.execute(LOCK, {"schema": schema})
        if await connection.scalar(IS_THERE, {"schema": schema}) is None:
            raise ShopRefused(f"there is no schema {schema}: {GONE}")
        await _within(connection, schema)
        before = await connection.run_sync(migrate.revision_of)
        if down_to is not None:
            said = await connection.run_sync(self._scripts.downgrade, down_to)
        elif before != migrate.head():
            if before is None:
                await connection.exec_driver_sql("DROP TABLE IF EXISTS alembic_version")  # without a row: all was taken down
            elif before not in self._scripts.unlooking:
                before = self._scripts.unlooking[-1]
                said = await connection.run_sync(self._scripts.upgrade, before)
            await self._build(connection, before)
        after = await connection.run_sync(migrate.revision_of)
        if self._roles:
            await _grant(connection, name)
        await _within(connection, REGISTRY_SCHEMA)
        await registry.change(connection, name, {"revision": after})
        return said

    async def _build(self, connection: AsyncConnection, before: str | None) -> None:
        """Run the text that leads from a revision to this version: many statements in one message, which the driver takes."""
        text = self._scripts.text(before)
        if text is not None:
            raw = await connection.get_raw_connection()
            driver: Any = raw.driver_connection
            await driver.execute(text)


def _revisions_of(schemas: Sequence[str]) -> sa.CompoundSelect[tuple[str, str]]:
    """The revisions of schemas, by one statement."""
    tables = [sa.table("alembic_version", sa.column("version_num", sa.String()), schema=schema) for schema in schemas]
    return sa.union_all(*(sa.select(sa.literal(str(table.schema)).label("schema"), table.c.version_num) for table in tables))


async def _within(connection: AsyncConnection, schema: str) -> None:
    """Look for tables in a schema, until the transaction ends."""
    await connection.execute(WITHIN, {"schema": schema})


async def _keep_registry(connection: AsyncConnection) -> None:
    """Have servers read the list of shops, and nobody but its owner write it: who leads a host elsewhere takes a shop."""
    tables = [table.name for table in registry.METADATA.sorted_tables]
    named = ", ".join(f"{REGISTRY_SCHEMA}.{table}" for table in tables)
    for user in await connection.scalars(WRITERS, {"schema": REGISTRY_SCHEMA, "tables": tables}):
        await connection.exec_driver_sql(f"REVOKE INSERT, UPDATE, DELETE, TRUNCATE ON {named} FROM {_quoted(user)}")


async def _grant(connection: AsyncConnection, name: str) -> None:
    """Have a shop's role use the shop's tables; whoever could use them by himself may become that role instead.

    Roles are the server's, so another database may have made this one.
    """
    role, schema = role_of_shop(name), schema_of_shop(name)
    if (await connection.scalars(WITHOUT_ROLE, {"names": [role]})).all():
        await connection.exec_driver_sql(f"CREATE ROLE {_quoted(role)} NOLOGIN")
    users = [_quoted(user) for user in (await connection.scalars(USERS, {"schema": schema})).all() if user != role]
    members = [*users, *map(_quoted, await connection.scalars(MIGRATOR))]
    place, to = f"SCHEMA {_quoted(schema)}", _quoted(role)
    uninherited = await _uninherited(connection)
    for statement in (
        *(f"REVOKE ALL ON {place} FROM {user}" for user in users),
        *(f"GRANT {to} TO {member}{uninherited}" for member in members),
        f"GRANT USAGE ON {place} TO {to}",
        f"GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN {place} TO {to}",
        f"GRANT USAGE ON ALL SEQUENCES IN {place} TO {to}",
        f"ALTER DEFAULT PRIVILEGES IN {place} GRANT SELECT, INSERT, UPDATE, DELETE ON TABLES TO {to}",
        f"ALTER DEFAULT PRIVILEGES IN {place} GRANT USAGE ON SEQUENCES TO {to}",
        # What it reads from a standby asks there for the heartbeat of the server.
        f"GRANT USAGE ON SCHEMA {REGISTRY_SCHEMA} TO {to}",
        f"GRANT SELECT ON {REGISTRY_SCHEMA}.{HEARTBEATS.name} TO {to}",
    ):
        await connection.exec_driver_sql(statement)


async def _uninherited(connection: AsyncConnection) -> str:
    """Whoever may become a shop's role has none of its rights before; up to PostgreSQL 15 by NOINHERIT of his own role alone."""
    version = await connection.scalar(sa.text("SELECT current_setting('server_version_num')::int"))
    return " WITH INHERIT FALSE" if int(version or 0) >= 160_000 else ""


async def _drop_role(connection: AsyncConnection, role: str) -> None:
    """Drop a shop's role, unless another database of the server has a shop of this name."""
    try:
        async with connection.begin_nested():
            for place in (f"SCHEMA {REGISTRY_SCHEMA}", f"{REGISTRY_SCHEMA}.{HEARTBEATS.name}"):
                await connection.exec_driver_sql(f"REVOKE ALL ON {place} FROM {_quoted(role)}")
            await connection.exec_driver_sql(f"DROP ROLE {_quoted(role)}")
    except sa.exc.DBAPIError as error:
        if sqlstate(error) != DEPENDED_ON:
            raise


def _quoted(name: str) -> str:
    """A name in SQL. Those of shops hold no quote; those of other roles may."""
    return '"' + name.replace('"', '""') + '"'

"""What Alembic runs for every command.

What goes in: a connection in `config.attributes` (from `graph.migrate`), else the `DATABASE_URL` of the environment; `within`
says that somebody else begins, locks and ends the transaction.
What comes out: migrations applied, or the difference between the tables and the database. What may be refused here:
whatever a database refuses of a migration; all migrations of one run are one transaction on both databases.
"""

import asyncio
from contextlib import nullcontext
from typing import Any, Literal

import sqlalchemy as sa
from alembic import context
from alembic.autogenerate import render
from alembic.script import ScriptDirectory
from alembic.util import CommandError

import graph.access.api_keys  # it declares a table
import graph.exchange.order_sources  # it too
import graph.feed.outbox  # and it
import graph.models  # every module that declares tables is imported here
import graph.write.idempotency  # noqa: F401  # it declares a table
from graph.base import Base
from graph.database.backends import capabilities, configured
from graph.environment import current
from graph.migrate import connected
from graph.settings import SettingsError


def render_item(kind: str, thing: Any, autogenerating: Any) -> str | Literal[False]:
    """A type of ours is written as what it is in the database: a migration keeps the types it was written with."""
    if kind == "type" and isinstance(thing, sa.TypeDecorator):
        return render._repr_type(thing.impl_instance, autogenerating)  # noqa: SLF001  # no public way writes variants
    return False


def number(_: Any, __: Any, made: Any) -> None:
    """Revisions are numbered, so that a folder shows them in order."""
    head = ScriptDirectory.from_config(context.config).get_current_head()
    made[0].rev_id = f"{int(head or 0) + 1:04}"


# Defaults are not compared here: on SQLite Alembic takes every identity for a difference, and it cannot compare generated
# columns. tests/test_migrations.py compares them, with all the rest, between the migrations and the tables declared.
OPTIONS: dict[str, Any] = {
    "target_metadata": Base.metadata,
    "compare_server_default": False,
    "transactional_ddl": True,
    "render_item": render_item,
    "process_revision_directives": number,
}


WITHIN = context.config.attributes.get("within", False)


def run(connection: sa.Connection) -> None:
    can = capabilities(connection.dialect)
    context.configure(connection=connection, render_as_batch=can.copies_tables, **OPTIONS)
    with context.begin_transaction():
        if can.schema_lock is not None and not WITHIN:
            connection.execute(can.schema_lock)  # who comes second waits here, and finds nothing left to do
        context.run_migrations()


async def run_alone() -> None:
    try:
        where = configured(current())
    except SettingsError as error:
        raise CommandError(str(error)) from None  # Alembic tells it in one line
    async with connected(where, make=True) as connection:
        await connection.run_sync(run)


if context.is_offline_mode():
    context.configure(dialect_name="postgresql", literal_binds=True, **OPTIONS)
    with nullcontext() if WITHIN else context.begin_transaction():
        context.run_migrations()
elif "connection" in context.config.attributes:
    run(context.config.attributes["connection"])
else:
    asyncio.run(run_alone())

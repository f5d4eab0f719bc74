"""The schema of a database: bring it to a revision, or ask which one it has.

What goes in: a database, as the settings name it (`graph.database.backends.configured`), or its URL where no pooler stands
before it. What comes out: a migrated database, or its revision; `Scripts`, for whoever migrates many. What may be refused here:
a URL that cannot be used raises `DatabaseUrlError`, a database that cannot be `Unavailable`, the driver's or SQLAlchemy's
error, an unknown revision `alembic.util.CommandError`.
"""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import cache, cached_property, partial
from io import StringIO
from pathlib import Path
from typing import Any, TextIO, TypeVar

import sqlalchemy as sa
from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.runtime.environment import EnvironmentContext
from alembic.script import ScriptDirectory
from sqlalchemy.ext.asyncio import AsyncConnection

from graph.database.backends import backend_of, database_url
from graph.database.protocol import DatabaseUrl

T = TypeVar("T")

Where = str | DatabaseUrl

HERE = Path(__file__).parent


def scripts() -> Path:
    """The folder of the migrations: inside the package when installed, beside it in a checkout."""
    installed = HERE / "migrations"
    return installed if installed.is_dir() else HERE.parent / "migrations"


def config(said: TextIO | None = None) -> Config:
    """Alembic's configuration, whatever the working directory. Migrations list there what people should look at."""
    found = Config(stdout=said or sys.stdout)  # Alembic takes that of its import
    found.set_main_option("script_location", str(scripts()).replace("%", "%%"))
    return found


class Scripts:
    """All migrations, read once and run in many databases, each in a transaction that somebody else begins and ends."""

    def __init__(self) -> None:
        self._scripts = ScriptDirectory.from_config(config())
        self._texts: dict[str | None, str | None] = {}

    def upgrade(self, connection: sa.Connection, revision: str = "head") -> list[str]:
        """Bring the database of a connection up to `revision`, which nobody else may be doing; what the migrations list."""
        return self._run(partial(self._scripts._upgrade_revs, revision), revision, connection)  # noqa: SLF001  # as Alembic's own commands

    def downgrade(self, connection: sa.Connection, revision: str) -> list[str]:
        """Take it down to `revision`."""
        return self._run(partial(self._scripts._downgrade_revs, revision), revision, connection)  # noqa: SLF001  # as above

    def text(self, before: str | None) -> str | None:
        """The SQL that brings a database from a revision to this version, as Alembic writes it for people who run it themselves.

        Nothing where a migration on the way looks at rows; where there are no tables yet there are none. Sent as one message it
        takes one round trip, where `upgrade` takes three a statement and writes each anew.
        """
        if before not in self._texts:
            written = StringIO()
            if before is None or before in self.unlooking:
                self._run(partial(self._scripts._upgrade_revs, "head"), "head", start=before, written=written)  # noqa: SLF001  # as above
            self._texts[before] = written.getvalue() or None
        return self._texts[before]

    @cached_property
    def unlooking(self) -> tuple[str, ...]:
        """The revisions from which on no migration looks at rows, the latest first."""
        steps = [*self._scripts.walk_revisions()]
        looking = [index for index, step in enumerate(steps) if getattr(step.module, "looks_at_rows", False)]
        return tuple(step.revision for step in steps[: looking[0] + 1 if looking else None])

    def _run(
        self,
        steps: Callable[[Any], Any],
        revision: str,
        connection: sa.Connection | None = None,
        start: str | None = None,
        written: StringIO | None = None,
    ) -> list[str]:
        said = StringIO()
        settings = config(said)
        settings.output_buffer = written
        settings.attributes.update(connection=connection, within=True)
        with EnvironmentContext(
            settings,
            self._scripts,
            fn=lambda now, _: steps(now),
            as_sql=connection is None,
            starting_rev=start,
            destination_rev=revision,
        ):
            self._scripts.run_env()
        return said.getvalue().splitlines()


def revision_of(connection: sa.Connection, schema: str | None = None) -> str | None:
    """The revision of the database of a connection, or of a schema in it; `None` before the first."""
    return MigrationContext.configure(connection, opts={"version_table_schema": schema}).get_current_revision()


@asynccontextmanager
async def connected(where: Where, *, make: bool = False) -> AsyncIterator[AsyncConnection]:
    """A connection for changing the schema, not one of a `Database`: nothing cuts a long migration.

    `make` says that a file may be made where there is none.
    """
    target = database_url(where) if isinstance(where, str) else where
    engine = await backend_of(target).schema_engine(target, make=make)
    try:
        async with engine.connect() as connection:
            yield connection
    finally:
        await engine.dispose()


async def upgrade(where: Where, revision: str = "head") -> None:
    """Bring the database up to `revision`."""
    await _command(where, command.upgrade, revision, make=True)


async def downgrade(where: Where, revision: str) -> None:
    """Take the database down to `revision`; `base` is before the first."""
    await _command(where, command.downgrade, revision)


async def check(where: Where) -> None:
    """Raise `alembic.util.AutogenerateDiffsDetected` when the tables declared and the database differ."""
    await _command(where, command.check)


async def current(where: Where) -> str | None:
    """The revision of the database, `None` before the first."""
    schema, role = (None, None) if isinstance(where, str) else (where.schema, where.role)
    async with connected(where) as connection:
        if role is not None:
            await connection.scalar(sa.select(sa.func.set_config("role", role, True)))  # until the transaction ends
        return await connection.run_sync(lambda c: revision_of(c, schema))


@cache
def revisions() -> tuple[str, ...]:
    """The revisions that this version of the package knows, the latest first."""
    return tuple(script.revision for script in ScriptDirectory.from_config(config()).walk_revisions())


def head() -> str:
    """The revision that this version of the package works with."""
    return revisions()[0]


async def is_current(where: Where) -> bool:
    """Whether the database has the schema that this version of the package works with."""
    return await current(where) == head()


async def _command(where: Where, function: Callable[..., Any], *arguments: str, make: bool = False) -> None:
    def run(connection: sa.Connection) -> None:
        settings = config()
        settings.attributes["connection"] = connection
        function(settings, *arguments)

    async with connected(where, make=make) as connection:
        await connection.run_sync(run)

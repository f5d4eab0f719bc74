"""What commands share: settings of the environment, a database that is seen to serve, mistakes told in one line.

What goes in: the environment through `graph.environment`, work to be done. What comes out: what the work came to. What may be
refused here: settings that cannot be used, a database that cannot be reached or is not migrated, each as a
`click.ClickException`: one line on the error stream and exit status 1, no traceback.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Coroutine
from typing import TYPE_CHECKING, Any, TypeVar

import click

if TYPE_CHECKING:
    from graph.settings import Settings

T = TypeVar("T")


class Misused(click.ClickException):
    """Arguments that do not fit what is there: exit status 2, as for those that click itself refuses."""

    exit_code = 2


class Commands(click.Group):
    """Commands whose settings may be found unusable anywhere, also while their modules are imported: one line, no traceback."""

    def invoke(self, ctx: click.Context) -> Any:
        from graph.settings import SettingsError

        try:
            return super().invoke(ctx)
        except SettingsError as error:
            raise click.ClickException(str(error)) from None


def examples(*lines: str) -> str:
    """The end of a command's help: lines to copy."""
    return "\b\nExamples:\n" + "\n".join(f"  {line}" for line in lines)


def usable_settings() -> Settings:
    """The settings of the environment, the database's URL understood."""
    from graph.database.backends import configured
    from graph.environment import current

    settings = current()
    configured(settings)
    return settings


def is_embedded(settings: Settings) -> bool:
    """Whether the database belongs to this process."""
    from graph.database.backends import backend_of, configured

    return backend_of(configured(settings)).CAPABILITIES.embedded


async def probe(settings: Settings) -> None:
    """See that the connections that will serve are what the settings say. Raises `Unavailable`."""
    from graph.database import Database

    database = Database(settings)
    try:
        await database.probe()
    finally:
        await database.close()


async def prepare(settings: Settings) -> None:
    """A database that belongs to this process is migrated; a server belongs to its operator."""
    from graph import migrate as migrations
    from graph.database.backends import configured

    if is_embedded(settings):
        await migrations.upgrade(configured(settings))
    else:
        await see_migrated(settings)


async def see_migrated(settings: Settings) -> None:
    """See that the database has the schema of this version, whoever it belongs to."""
    from graph import migrate as migrations
    from graph.database.backends import configured

    await probe(settings)
    if not await migrations.is_current(configured(settings)):
        raise click.ClickException("the database does not have the schema of this version: run `ordergraph migrate`")


def finished(work: Coroutine[Any, Any, T], settings: Settings) -> T:
    """What `work` comes to; a database that refuses is told in one line."""
    from alembic.util import CommandError
    from sqlalchemy.exc import SQLAlchemyError

    from graph.database.backends import database_url
    from graph.database.failures import DATABASE_ERRORS, CommitUnknown, TransientError, Unavailable

    try:
        return asyncio.run(work)
    except (CommandError, SQLAlchemyError, CommitUnknown, TransientError, Unavailable, *DATABASE_ERRORS) as error:
        reason = str(getattr(error, "orig", None) or error).strip() or type(error).__name__
        reason = re.sub(r"\[Errno -?\d+\] ", "", reason)  # Python's own prefix
        shown = database_url(settings.database_url).shown
        raise click.ClickException(f"cannot use {shown}: {reason.splitlines()[0]}") from None


def with_database(work: Any, settings: Settings) -> Any:
    """What `work(database)` comes to, on a migrated database that is closed afterwards."""
    from graph.database import Database

    async def opened() -> Any:
        await see_migrated(settings)
        database = Database(settings)
        try:
            return await work(database)
        finally:
            await database.close()

    return finished(opened(), settings)

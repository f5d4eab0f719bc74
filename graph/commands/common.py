"""What commands share: settings of the environment, a database that is seen to serve, mistakes told in one line.

What goes in: the environment through `graph.environment`, work to be done. What comes out: what the work came to. What may be
refused here: settings that cannot be used, a database that cannot be reached or is not migrated, each as a
`click.ClickException`: one line on the error stream and exit status 1, no traceback.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import replace
from datetime import datetime
from typing import TYPE_CHECKING, Any, TypeVar

import click

if TYPE_CHECKING:
    from graph.settings import Settings

T = TypeVar("T")

DAY = "%Y-%m-%d"


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


def of_shop(command: Callable[..., Any]) -> Callable[..., Any]:
    """The option `--shop` of a command that is about one shop, where there are many."""
    return click.option("--shop", metavar="NAME", help="Which shop, where there are many (ORDERGRAPH_SHOPS).")(command)


def settings_for(shop: str | None) -> Settings:
    """The settings of the environment, for a command about a shop. Raises `Misused` where one must be named, or cannot be."""
    settings = usable_settings()
    if settings.shops and shop is None:
        raise Misused("there are many shops (ORDERGRAPH_SHOPS): say which one by --shop NAME")
    if shop is not None:
        see_shops(settings)
    return settings


def see_shops(settings: Settings) -> None:
    """Raise `Misused` where there is one shop, which has no name."""
    if not settings.shops:
        raise Misused("there is one shop, which has no name: ORDERGRAPH_SHOPS=on is for many")


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


async def prepare(settings: Settings, shop: str | None = None) -> None:
    """A database that belongs to this process is migrated; a server belongs to its operator."""
    from graph import migrate as migrations
    from graph.database.backends import configured

    if is_embedded(settings) and shop is None:
        await migrations.upgrade(configured(settings))
    else:
        await see_migrated(settings, shop)


async def see_one_shop(settings: Settings) -> None:
    """See that a server where no one shop was ever migrated is not that of many shops. Raises `Unavailable`."""
    from graph import migrate as migrations
    from graph.database.backends import configured
    from graph.database.failures import Unavailable
    from graph.shops.deployment import Deployment

    if is_embedded(settings):  # a file is one shop's
        return
    is_empty = await migrations.current(configured(settings)) is None
    if is_empty and await Deployment(replace(settings, shops=True)).is_there():
        raise Unavailable("it holds many shops, which takes ORDERGRAPH_SHOPS=on")


async def see_named(settings: Settings, shop: str) -> None:
    """See that there is a shop of this name. Raises `ShopRefused`."""
    from graph.shops.deployment import Deployment

    await Deployment(settings).named(shop)


async def see_migrated(settings: Settings, shop: str | None = None) -> None:
    """See that the database, or that of a shop, has the schema of this version, whoever it belongs to."""
    from graph import migrate as migrations
    from graph.database.backends import configured

    if shop is not None:
        await see_named(settings, shop)
    else:
        await probe(settings)
    if not await migrations.is_current(configured(settings, shop)):
        if shop is None:
            await see_one_shop(settings)
        what = "database" if shop is None else f"shop {shop}"
        raise click.ClickException(f"the {what} does not have the schema of this version: run `ordergraph migrate`")


def finished(work: Coroutine[Any, Any, T], settings: Settings) -> T:
    """What `work` comes to; a database that refuses is told in one line."""
    from alembic.util import CommandError
    from sqlalchemy.exc import SQLAlchemyError

    from graph.database.backends import database_url
    from graph.database.failures import DATABASE_ERRORS, CommitUnknown, TransientError, Unavailable
    from graph.shops.registry import ShopRefused

    try:
        return asyncio.run(work)
    except ShopRefused as error:
        raise click.ClickException(str(error)) from None
    except (CommandError, SQLAlchemyError, CommitUnknown, TransientError, Unavailable, *DATABASE_ERRORS) as error:
        reason = str(getattr(error, "orig", None) or error).strip() or type(error).__name__
        reason = re.sub(r"\[Errno -?\d+\] ", "", reason)  # Python's own prefix
        shown = database_url(settings.database_url).shown
        raise click.ClickException(f"cannot use {shown}: {reason.splitlines()[0]}") from None


def with_database(work: Any, settings: Settings, shop: str | None = None) -> Any:
    """What `work(database)` comes to, on a migrated database, or that of a shop, which is closed afterwards."""
    from graph.database import Database

    async def opened() -> Any:
        await see_migrated(settings, shop)
        database = Database(settings, shop)
        try:
            return await work(database)
        finally:
            await database.close()

    return finished(opened(), settings)


def table(titles: Sequence[str], lines: Sequence[Sequence[str]]) -> None:
    """Print lines of texts below their titles."""
    widths = [max(map(len, column)) for column in zip(titles, *lines, strict=True)]
    for line in (titles, *lines):
        click.echo("  ".join(part.ljust(width) for part, width in zip(line, widths, strict=True)).rstrip())


def shown_day(moment: datetime | None) -> str:
    """A day, in a table."""
    return "-" if moment is None else moment.strftime(DAY)

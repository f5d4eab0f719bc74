"""The command line: serve, migrate, sample, purge-keys, purge-changes, schema.

What goes in: arguments, and the environment through `graph.settings`. What comes out: a running server, a migrated or
filled database, the schema's text. What may be refused here: settings that cannot be used, a port that is taken, a database
that cannot be reached or is not migrated, a schema that is none: one line on the error stream and exit status 1, no traceback.
"""

from __future__ import annotations

import asyncio
import re
import sys
from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any, TypeVar

import click

if TYPE_CHECKING:
    from graph.database import Database
    from graph.settings import Settings

T = TypeVar("T")


class NotForFiles(click.ClickException):
    """An option that a database in a file has no use for."""

    exit_code = 2


class Commands(click.Group):
    """Commands whose settings may be found unusable anywhere, also while their modules are imported: one line, no traceback."""

    def invoke(self, ctx: click.Context) -> Any:
        from graph.settings import SettingsError

        try:
            return super().invoke(ctx)
        except SettingsError as error:
            raise click.ClickException(str(error)) from None


@click.group(cls=Commands)
@click.version_option(package_name="ordergraph")
def main() -> None:
    """A GraphQL order backend. DATABASE_URL names its database (an SQLite file unless set); the README lists all settings."""


@main.command()
@click.option("--host", default="127.0.0.1", show_default=True, help="The address to listen on.")
@click.option(
    "--port", default=8000, show_default=True, type=click.IntRange(0, 65535), help="The port to listen on; 0 takes a free one."
)
@click.option("--root-path", default="", metavar="PATH", help="The path that a proxy takes away before it hands a request on.")
@click.option("--no-sample", is_flag=True, help="Leave an empty SQLite database empty.")
@click.option("--workers", default=1, show_default=True, type=click.IntRange(1, 64), help="Processes that serve, on PostgreSQL.")
def serve(host: str, port: int, root_path: str, no_sample: bool, workers: int) -> None:
    """Serve /graphql.

    An SQLite file is made, migrated and, when empty, filled with the Northwind sample. On PostgreSQL run
    `ordergraph migrate` first.
    """
    from graph.serve import logs
    from graph.serve.listening import CannotListen, listen, served_url
    from graph.serve.processes import serve_alone, serve_together

    settings = usable_settings()
    if workers > 1 and is_embedded(settings):
        raise NotForFiles("--workers needs a PostgreSQL: a file on SQLite has one writer, and one process serves it best")
    try:
        sockets = listen(host, port)  # before the database is touched: where another server runs, nothing happens
    except CannotListen as error:
        raise click.ClickException(str(error)) from None
    finished(prepare(settings), settings)
    if not no_sample and is_embedded(settings):
        finished(fill_if_empty(settings), settings)
    logs.configure(settings)

    def serving() -> None:
        click.echo(f"Serving {served_url(host, sockets)}", err=True)
        if settings.production and not settings.trusted_documents:
            click.echo(
                "Any document runs within the limits; ORDERGRAPH_TRUSTED_DOCUMENTS=FILE leaves those of your own clients.",
                err=True,
            )

    if workers == 1:
        serve_alone(settings, sockets, root_path, serving)
    else:
        sys.exit(serve_together(workers, settings, sockets, root_path, serving))


@main.command()
@click.option("--down-to", metavar="REVISION", help="Go back to this revision instead (`base`: before the first); data is lost.")
def migrate(down_to: str | None) -> None:
    """Bring the database to the schema of this version."""
    from graph import migrate as migrations
    from graph.database.backends import configured

    settings = usable_settings()

    async def work() -> str | None:
        await probe(settings)
        where = configured(settings)
        if down_to is None:
            await migrations.upgrade(where)
        else:
            await migrations.downgrade(where, down_to)
        return await migrations.current(where)

    click.echo(f"The database is at revision {finished(work(), settings) or 'base'}.")


@main.command()
def sample() -> None:
    """Fill an empty database with the Northwind sample."""
    from graph.sample import NotEmpty, load_into

    settings = usable_settings()
    finished(prepare(settings), settings)
    try:
        click.echo(f"Loaded the Northwind sample: {finished(load_into(settings), settings)}.")
    except NotEmpty as error:
        raise click.ClickException(f"the sample needs an empty database: {error}") from None


@main.command()
def purge_keys() -> None:
    """Delete idempotency keys that are past their time (ORDERGRAPH_IDEMPOTENCY_SECONDS)."""
    from graph.write.expired_keys import purge

    click.echo(f"Deleted {purged(purge)} idempotency keys.")


@main.command()
def purge_changes() -> None:
    """Delete changes that are past their time (ORDERGRAPH_CHANGES_SECONDS)."""
    from graph.feed import purge

    click.echo(f"Deleted {purged(purge.purge)} changes.")


def purged(purge: Callable[[Database], Coroutine[Any, Any, int]]) -> int:
    """How much `purge` has deleted of the database of the environment."""
    from graph.database import Database

    settings = usable_settings()

    async def work() -> int:
        await see_migrated(settings)
        database = Database(settings)
        try:
            return await purge(database)
        finally:
            await database.close()

    return finished(work(), settings)


@main.command()
@click.option(
    "--check",
    "place",
    is_flag=False,
    flag_value="schema.graphql",
    metavar="[FILE|URL]",
    help="Compare with this file (schema.graphql), or with the server at this URL, and name the changes.",
)
@click.option(
    "--fail-on",
    type=click.Choice(["breaking", "dangerous", "any"]),
    help="Which changes make the exit status 1: breaking ones, dangerous ones as well, or any (as without this option).",
)
def schema(place: str | None, fail_on: str | None) -> None:
    """Print the GraphQL schema."""
    from graph.comparison import NoSchema, SchemaChange, Weight, changes, is_url, read, shown, understood
    from graph.schema import schema as assembled

    text = assembled.as_str() + "\n"
    if place is None:
        if fail_on is not None:
            raise click.UsageError("--fail-on needs --check")
        click.echo(text, nl=False)
        return
    try:
        before = read(place)
        found = [] if before == text else changes(understood(before, place), understood(text, "the code"))
    except NoSchema as error:
        raise click.ClickException(str(error)) from None
    if before == text or (is_url(place) and not found):
        click.echo(f"{shown(place)} is up to date.")
        return
    for change in found or [SchemaChange(Weight.SAFE, "order only")]:
        click.echo(change)
    heaviest = found[0].weight if found else Weight.SAFE
    if heaviest >= {"breaking": Weight.BREAKING, "dangerous": Weight.DANGEROUS}.get(fail_on or "any", Weight.SAFE):
        remedy = "" if is_url(place) else f": review, then `ordergraph schema > {place}`"
        raise click.ClickException(f"{shown(place)} differs from the code{remedy}")


def usable_settings() -> Settings:
    """The settings of the environment, the database's URL understood."""
    from graph.database.backends import configured
    from graph.settings import current

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


async def fill_if_empty(settings: Settings) -> None:
    from graph.sample import NotEmpty, load_into

    try:
        loaded = await load_into(settings)
    except NotEmpty:
        return
    click.echo(f"The database was empty: loaded the Northwind sample ({loaded}). --no-sample starts without.", err=True)


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


if __name__ == "__main__":
    main(prog_name="ordergraph")

"""The command line: serve, migrate, sample, schema.

What goes in: arguments, and the environment through `graph.settings`. What comes out: a running server, a migrated or
filled database, the schema's text. What may be refused here: settings that cannot be used, a database that cannot be
reached or is not migrated: one line on the error stream and exit status 1, no traceback.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

if TYPE_CHECKING:
    from graph.settings import Settings

T = TypeVar("T")


@click.group()
@click.version_option(package_name="ordergraph")
def main() -> None:
    """A GraphQL order backend. DATABASE_URL names its database (an SQLite file unless set); the README lists all settings."""


@main.command()
@click.option("--host", default="127.0.0.1", show_default=True, help="The address to listen on.")
@click.option("--port", default=8000, show_default=True, type=click.IntRange(1, 65535), help="The port to listen on.")
@click.option("--no-sample", is_flag=True, help="Leave an empty SQLite database empty.")
def serve(host: str, port: int, no_sample: bool) -> None:
    """Serve /graphql.

    An SQLite file is made, migrated and, when empty, filled with the Northwind sample. On PostgreSQL run
    `ordergraph migrate` first.
    """
    import uvicorn

    from graph.serve import logs

    settings = usable_settings()
    finished(prepare(settings), settings)
    if not no_sample and is_sqlite(settings):
        finished(fill_if_empty(settings), settings)
    click.echo(f"Serving http://{host}:{port}/graphql", err=True)
    logs.configure()
    uvicorn.run(
        "graph.serve.app:create_app",
        factory=True,
        host=host,
        port=port,
        access_log=False,
        server_header=False,
        log_config=None,
    )


@main.command()
@click.option("--down-to", metavar="REVISION", help="Go back to this revision instead (`base`: before the first); data is lost.")
def migrate(down_to: str | None) -> None:
    """Bring the database to the schema of this version."""
    from graph import migrate as migrations

    settings = usable_settings()
    if down_to is None:
        finished(migrations.upgrade(settings.database_url), settings)
    else:
        finished(migrations.downgrade(settings.database_url, down_to), settings)
    click.echo(f"The database is at revision {finished(migrations.current(settings.database_url), settings) or 'base'}.")


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
    from graph.database import Database
    from graph.write.idempotency import purge

    settings = usable_settings()

    async def work() -> int:
        await prepare(settings)
        database = Database(settings)
        try:
            return await purge(database)
        finally:
            await database.close()

    click.echo(f"Deleted {finished(work(), settings)} idempotency keys.")


@main.command()
@click.option(
    "--check",
    "committed",
    is_flag=False,
    flag_value="schema.graphql",
    metavar="[FILE]",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Compare with this file (schema.graphql) and name the changes; exit status 1 if there are any.",
)
def schema(committed: Path | None) -> None:
    """Print the GraphQL schema."""
    from graph.schema import schema as assembled

    text = assembled.as_str() + "\n"
    if committed is None:
        click.echo(text, nl=False)
        return
    before = committed.read_text(encoding="utf-8")
    if before == text:
        click.echo(f"{committed} is up to date.")
        return
    for line in changes(before, text) or ["descriptions or order only"]:
        click.echo(line)
    raise click.ClickException(f"{committed} differs from the code: review, then `ordergraph schema > {committed}`")


def changes(before: str, after: str) -> list[str]:
    """What clients notice between two schemas, the breaking changes first."""
    from graphql import build_schema
    from graphql.utilities import BreakingChange, DangerousChange, find_schema_changes

    found = find_schema_changes(build_schema(before), build_schema(after))
    kinds = {BreakingChange: "BREAKING", DangerousChange: "DANGEROUS"}
    order = ["BREAKING", "DANGEROUS", "SAFE"]
    named = [(kinds.get(type(change), "SAFE"), change.description) for change in found]
    return [f"{kind}: {description}" for kind, description in sorted(named, key=lambda pair: order.index(pair[0]))]


def usable_settings() -> Settings:
    """The settings of the environment, the database's URL understood."""
    from graph.database.url import database_url
    from graph.settings import SettingsError, current

    try:
        settings = current()
        database_url(settings.database_url)
    except SettingsError as error:
        raise click.ClickException(str(error)) from None
    return settings


def is_sqlite(settings: Settings) -> bool:
    from graph.database.url import database_url

    return database_url(settings.database_url).dialect_name == "sqlite"


async def prepare(settings: Settings) -> None:
    """An SQLite file belongs to this process, so it is migrated; a PostgreSQL server belongs to its operator."""
    from graph import migrate as migrations

    if is_sqlite(settings):
        await migrations.upgrade(settings.database_url)
    elif not await migrations.is_current(settings.database_url):
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

    from graph.database.errors import DATABASE_ERRORS, TransientError, Unavailable
    from graph.database.url import database_url

    try:
        return asyncio.run(work)
    except (CommandError, SQLAlchemyError, TransientError, Unavailable, *DATABASE_ERRORS) as error:
        reason = str(getattr(error, "orig", None) or error).strip() or type(error).__name__
        shown = database_url(settings.database_url).shown
        raise click.ClickException(f"cannot use {shown}: {reason.splitlines()[0]}") from None


if __name__ == "__main__":
    main(prog_name="ordergraph")

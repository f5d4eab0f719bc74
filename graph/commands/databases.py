"""Commands for the database as a whole: `migrate`, `sample`, `backup`, `purge-keys`, `purge-changes`.

What goes in: the database of the environment. What comes out: one line that says what was done. What may be refused here: a
revision that nobody knows, a database that is not empty, a backup of a server.
"""

from __future__ import annotations

import shlex
from pathlib import Path

import click

from graph.commands.common import (
    examples,
    finished,
    is_embedded,
    of_shop,
    prepare,
    probe,
    see_named,
    see_one_shop,
    settings_for,
    usable_settings,
    with_database,
)
from graph.commands.shop_migrations import migrate_shops


@click.command(epilog=examples("ordergraph migrate", "ordergraph migrate --down-to 0006"))
@click.option("--down-to", metavar="REVISION", help="Go back to this revision instead (`base`: before the first); data is lost.")
def migrate(down_to: str | None) -> None:
    """Bring the database to the schema of this version.

    Where there are many shops (ORDERGRAPH_SHOPS) all of them are, as by `ordergraph shop migrate`.
    """
    from graph import migrate as migrations
    from graph.database.backends import configured

    settings = usable_settings()
    if settings.shops:
        migrate_shops(settings, (), down_to)
        return

    async def work() -> str | None:
        await probe(settings)
        await see_one_shop(settings)
        where = configured(settings)
        if down_to is None:
            await migrations.upgrade(where)
        else:
            await migrations.downgrade(where, down_to)
        return await migrations.current(where)

    click.echo(f"The database is at revision {finished(work(), settings) or 'base'}.")


@click.command(epilog=examples("ordergraph sample"))
@of_shop
def sample(shop: str | None) -> None:
    """Fill an empty database with the Northwind sample."""
    from graph.sample import NotEmpty, load_into

    settings = settings_for(shop)
    finished(prepare(settings, shop), settings)
    try:
        click.echo(f"Loaded the Northwind sample: {finished(load_into(settings, shop), settings)}.")
    except NotEmpty as error:
        raise click.ClickException(f"the sample needs an empty database: {error}") from None


@click.command(
    short_help="Copy an SQLite file while it serves.",
    epilog=examples("ordergraph backup monday.db", "ordergraph backup /var/backups/orders-$(date +%F).db"),
)
@click.argument("file", type=click.Path(dir_okay=False, path_type=Path))
@of_shop
def backup(file: Path, shop: str | None) -> None:
    """Copy the SQLite file of DATABASE_URL to FILE, while others use it, and verify the copy.

    A PostgreSQL is backed up by its own tools: the command names the line.
    """
    from graph.database.backends import configured
    from graph.database.backup import copy
    from graph.database.failures import Unavailable

    settings = settings_for(shop)
    where = configured(settings, shop)
    if not is_embedded(settings):
        part = f"--schema={where.schema} " if where.schema else ""
        place = f"where the schema {where.schema} was dropped" if where.schema else "into an empty database"
        after = f"\n  ordergraph shop migrate {shop}" if shop else ""
        raise click.ClickException(
            "PostgreSQL makes its own backups, and none was made here. Run:\n"
            f'  pg_dump --format=custom {part}--file={shlex.quote(str(file))} "$DATABASE_URL"\n'
            f"and to restore it {place}:\n"
            f'  pg_restore --exit-on-error --dbname="$DATABASE_URL" {shlex.quote(str(file))}{after}'
        )
    if shop is not None:
        finished(see_named(settings, shop), settings)
    try:
        size = copy(where.url.database or "", file)
    except Unavailable as error:
        raise click.ClickException(f"cannot back up {where.shown}: {error}") from None
    click.echo(f"Copied {where.shown} to {file} ({size:,} bytes) and read the copy through.")


@click.command(
    short_help="Delete idempotency keys that are old.",
    epilog=examples("ordergraph purge-keys"),
)
@of_shop
def purge_keys(shop: str | None) -> None:
    """Delete idempotency keys that are past their time (ORDERGRAPH_IDEMPOTENCY_SECONDS)."""
    from graph.write.expired_keys import purge

    click.echo(f"Deleted {with_database(purge, settings_for(shop), shop)} idempotency keys.")


@click.command(
    short_help="Delete changes that are old.",
    epilog=examples("ordergraph purge-changes"),
)
@of_shop
def purge_changes(shop: str | None) -> None:
    """Delete changes that are past their time (ORDERGRAPH_CHANGES_SECONDS)."""
    from graph.feed import purge

    click.echo(f"Deleted {with_database(purge.purge, settings_for(shop), shop)} changes.")

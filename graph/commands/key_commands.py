"""The commands `key create`, `key list`, `key revoke`.

What goes in: the database of the environment, names, scopes. What comes out: a new key's text on the output and nowhere else, a
list, one line that says what was done. What may be refused here: what `graph.access.api_keys` refuses.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import click

from graph.commands.common import DAY, examples, finished, of_shop, prepare, settings_for, shown_day, table, with_database

TITLES = ("NAME", "PREFIX", "SCOPES", "CUSTOMER", "STATE", "CREATED", "EXPIRES")


@click.group(short_help="Make, list and take back API keys.")
def key() -> None:
    """Make, list and take back API keys: credentials of programs, sent as tokens are."""


@key.command(
    epilog=examples(
        "ordergraph key create nightly --scope read", "ordergraph key create shop-42 --scope write --customer Customer:42"
    )
)
@click.argument("name")
@click.option(
    "--scope", "scopes", multiple=True, required=True, type=click.Choice(["read", "write", "admin"]), help="What it may do."
)
@click.option("--customer", metavar="ID", help="The customer whose it is, such as Customer:42; else it sees everybody's.")
@click.option(
    "--expires", type=click.DateTime([DAY]), help="The day from which on it is no good, in UTC; else it is until it is revoked."
)
@of_shop
def create(name: str, scopes: tuple[str, ...], customer: str | None, expires: datetime | None, shop: str | None) -> None:
    """Make an API key called NAME and print it. It is shown this once."""
    from graph.access import api_keys

    settings = settings_for(shop)
    finished(prepare(settings, shop), settings)
    end = None if expires is None else expires.replace(tzinfo=UTC)
    click.echo(run(lambda database: api_keys.create(database, name, scopes, customer, end), shop))
    if not settings.auth:
        click.echo("It opens nothing until servers run with ORDERGRAPH_AUTH=on: they ask nobody who he is.", err=True)


@key.command("list", epilog=examples("ordergraph key list"))
@of_shop
def list_(shop: str | None) -> None:
    """List all API keys, those that are no good any more too."""
    from graph.access import api_keys

    lines = [
        (
            each.name,
            each.prefix,
            each.scopes,
            each.customer or "-",
            each.state,
            shown_day(each.created_at),
            shown_day(each.expires_at),
        )
        for each in run(api_keys.every, shop)
    ]
    table(TITLES, lines)


@key.command(epilog=examples("ordergraph key revoke nightly", "ordergraph key revoke 0f3a99c1d2e4"))
@click.argument("which", metavar="NAME|PREFIX")
@of_shop
def revoke(which: str, shop: str | None) -> None:
    """Take an API key back. Servers refuse it within five seconds."""
    from graph.access import api_keys

    name = run(lambda database: api_keys.revoke(database, which), shop)
    click.echo(f"Revoked {name}: servers refuse it within five seconds.")


def run(work: Any, shop: str | None) -> Any:
    """What `work(database)` comes to; what is refused of keys is told in one line."""
    from graph.access.api_keys import KeyRefused

    try:
        return with_database(work, settings_for(shop), shop)
    except KeyRefused as error:
        raise click.ClickException(str(error)) from None

"""The command `schema`.

What goes in: a file or a URL to compare with. What comes out: the schema's text, or what changed. What may be refused here: a
schema that is none, or that differs by more than is allowed.
"""

from __future__ import annotations

import click

from graph.commands.common import examples


@click.command(
    epilog=examples(
        "ordergraph schema > schema.graphql",
        "ordergraph schema --check",
        "ordergraph schema --check https://shop.example/graphql --fail-on breaking",
    )
)
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

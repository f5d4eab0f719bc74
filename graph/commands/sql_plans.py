"""The command `explain`.

What goes in: a file with a GraphQL document, and its variables. What comes out: the operation's cost, its SQL and the plan that
the database makes. What may be refused here: what would not run, each reason in a line.
"""

from __future__ import annotations

import json
from typing import IO, TYPE_CHECKING, Any

import click

from graph.commands.common import Misused, examples, of_shop, settings_for, with_database

if TYPE_CHECKING:
    from graphql import GraphQLError

    from graph.operations.explain import Explanation


@click.command(
    short_help="Show an operation's cost, SQL and plan.",
    epilog=examples(
        "ordergraph explain orders.graphql",
        """ordergraph explain order.graphql --variables '{"number": "SO-1"}'""",
        "echo '{ items { nodes { sku } } }' | ordergraph explain -",
    ),
)
@click.argument("file", type=click.File(encoding="utf-8"))
@click.option("--variables", default="{}", metavar="JSON", help="The values of the operation's variables.")
@click.option("--operation", metavar="NAME", help="Which operation, where the document has several.")
@of_shop
def explain(file: IO[str], variables: str, operation: str | None, shop: str | None) -> None:
    """Show the cost of an operation, its SQL and the database's plan. FILE holds the document; - is standard input.

    Nothing is run. Of a mutation the statements are those that read its payloads.
    """
    try:
        given, text = json.loads(variables), file.read()
    except UnicodeDecodeError:
        raise click.ClickException(f"{file.name} is no text in UTF-8") from None
    except ValueError as error:
        raise Misused(f"--variables is no JSON: {error}") from None
    if not isinstance(given, dict):
        raise Misused("""--variables must be a JSON object, such as {"number": "SO-1"}""")
    show(_explanation(text, given, operation, shop))


def _explanation(text: str, variables: dict[str, Any], operation: str | None, shop: str | None) -> Explanation:
    from graph.context import Context
    from graph.database import Database
    from graph.operations.explain import explain
    from graph.operations.request_errors import RequestRefused
    from graph.read.refusals import BadUserInput, all_of
    from graph.schema import schema

    async def work(database: Database) -> Explanation:
        context = Context(database)
        try:
            return await explain(schema.engine(database), context, text, variables, operation)
        finally:
            await context.close()

    try:
        found: Explanation = with_database(work, settings_for(shop), shop)
    except RequestRefused as refusal:
        raise click.ClickException("\n".join(map(_told, refusal.errors))) from None
    except BadUserInput as error:
        raise click.ClickException("\n".join(map(_told, all_of(error)))) from None
    return found


def _told(error: GraphQLError) -> str:
    """An error, and where in the document it is."""
    places = " and ".join(f"line {place.line}, column {place.column}" for place in error.locations or ())
    return f"{places}: {error.message}" if places else error.message


def show(found: Explanation) -> None:
    """Print an explanation. What is no SQL is a comment of SQL, so that it can be piped on."""
    cost = found.cost
    click.secho(f"-- cost {cost.total:,} of {cost.limit:,}", bold=True)
    for path, own in cost.fields:
        click.echo(f"--   {own:>7,}  {'.'.join(path)}")
    for statement in found.statements:
        click.echo()
        if statement.path:
            click.secho(f"-- {'.'.join(statement.path)}", bold=True)
        click.echo(f"{statement.sql};")
        for line in statement.plan:
            click.secho(f"--   {line}", dim=True)

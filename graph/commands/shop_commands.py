"""The commands for shops, where there are many.

What goes in: names, hosts. What comes out: shops made, listed, migrated, archived, dropped. What may be refused here: what
`graph.shops.deployment` refuses; anything where there is one shop.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any, TypeVar

import click
import orjson

from graph.commands.common import Misused, examples, finished, see_shops, shown_day, table, usable_settings
from graph.commands.exchange_files import export_shop, of_export
from graph.commands.shop_migrations import migrate_shops

if TYPE_CHECKING:
    from graph.settings import Settings
    from graph.shops.deployment import Deployment

T = TypeVar("T")

TITLES = ("NAME", "HOSTS", "REVISION", "CREATED", "ARCHIVED")


@click.group(short_help="Make, list, migrate and archive shops.")
def shop() -> None:
    """Make, list, migrate and archive shops, where there are many (ORDERGRAPH_SHOPS=on).

    Each is a schema of the PostgreSQL in DATABASE_URL, or a file in the folder that it names on SQLite.
    """


@shop.command(
    epilog=examples("ordergraph shop create north", "ordergraph shop create acme --host acme.example --host www.acme.example")
)
@click.argument("name")
@click.option("--host", "hosts", multiple=True, help="A host name that leads to it (ORDERGRAPH_SHOP_FROM=host).")
def create(name: str, hosts: tuple[str, ...]) -> None:
    """Make a shop called NAME, without rows: all of it, or nothing. Servers find it at once."""
    made = run(lambda deployment: deployment.create(name, hosts))
    leads = f", to which {', '.join(made.hosts)} {lead(made.hosts)}" if made.hosts else ""
    click.echo(f"Made the shop {made.name}{leads}.")


@shop.command("list", epilog=examples("ordergraph shop list", "ordergraph shop list --json"))
@click.option("--json", "as_json", is_flag=True, help="Print a JSON array.")
def list_(as_json: bool) -> None:
    """List all shops, archived ones too."""
    found = run(lambda deployment: deployment.every())
    if as_json:
        told = [
            {
                "name": each.name,
                "hosts": each.hosts,
                "revision": each.revision,
                "createdAt": each.created_at,
                "archivedAt": each.archived_at,
            }
            for each in found
        ]
        click.echo(orjson.dumps(told, option=orjson.OPT_INDENT_2 | orjson.OPT_UTC_Z).decode())
        return
    lines = [
        (each.name, ",".join(each.hosts) or "-", each.revision or "base", shown_day(each.created_at), shown_day(each.archived_at))
        for each in found
    ]
    table(TITLES, lines)


@shop.command(epilog=examples("ordergraph shop hosts acme acme.example www.acme.example", "ordergraph shop hosts acme --none"))
@click.argument("name")
@click.argument("hosts", metavar="[HOST]...", nargs=-1)
@click.option("--none", is_flag=True, help="No host leads to it.")
def hosts(name: str, hosts: tuple[str, ...], none: bool) -> None:
    """Have these hosts lead to the shop NAME, and no others. Servers follow within two seconds."""
    if bool(hosts) is none:
        raise Misused("name the hosts that lead to the shop, or say --none")
    found = run(lambda deployment: deployment.set_hosts(name, hosts))
    click.echo(f"To the shop {name} {lead(found.hosts)} {', '.join(found.hosts) or 'no host'}.")


@shop.command(
    epilog=examples("ordergraph shop migrate", "ordergraph shop migrate acme", "ordergraph shop migrate --down-to 0008 north")
)
@click.argument("names", metavar="[NAME]...", nargs=-1)
@click.option("--down-to", metavar="REVISION", help="Go back to this revision instead (`base`: before the first); data is lost.")
def migrate(names: tuple[str, ...], down_to: str | None) -> None:
    """Bring all shops, or those that are named, to the schema of this version.

    One after another, each in a transaction: servers serve those that are there. One that cannot be migrated stays as it is, is
    told at the end and holds up no other; run it again to go on with those that are left.
    """
    migrate_shops(settings(), names, down_to)


@shop.command(epilog=examples("ordergraph shop archive acme", "ordergraph shop archive acme --restore"))
@click.argument("name")
@click.option("--restore", is_flag=True, help="Have an archived shop served again.")
def archive(name: str, restore: bool) -> None:
    """Have the shop NAME served no more. Nothing of it is lost. Servers follow within two seconds."""
    if restore:
        run(lambda deployment: deployment.restore(name))
        click.echo(f"Restored the shop {name}: servers serve it at once.")
    else:
        run(lambda deployment: deployment.archive(name))
        click.echo(f"Archived the shop {name}: servers serve it no more within two seconds.")


@shop.command(epilog=examples("ordergraph shop drop north --yes"))
@click.argument("name")
@click.option("--yes", is_flag=True, help="It is meant: all that the shop holds is lost.")
def drop(name: str, yes: bool) -> None:
    """Delete the archived shop NAME and all that it holds."""
    if not yes:
        raise Misused(f"all that the shop {name} holds would be lost: say --yes, after `ordergraph shop export {name}`")
    run(lambda deployment: deployment.drop(name))
    click.echo(f"Dropped the shop {name}.")


@shop.command(epilog=examples("ordergraph shop export acme > acme.ndjson", "ordergraph shop export acme --format csv acme/"))
@click.argument("name")
@of_export
def export(name: str, **options: Any) -> None:
    """Write what the shop NAME holds, as `ordergraph export --shop NAME` does."""
    export_shop(shop=name, **options)


def lead(hosts: tuple[str, ...]) -> str:
    """What hosts do, in a sentence; no host does as one."""
    return "lead" if len(hosts) > 1 else "leads"


def settings() -> Settings:
    """The settings of a deployment with many shops."""
    found = usable_settings()
    see_shops(found)
    return found


def run(work: Callable[[Deployment], Coroutine[Any, Any, T]]) -> T:
    """What `work(deployment)` comes to."""
    from graph.shops.deployment import Deployment

    found = settings()
    return finished(work(Deployment(found)), found)

"""Many shops brought to one schema, as `migrate` and `shop migrate` do it.

What goes in: settings, names of shops. What comes out: shops at a revision, a line that is written over meanwhile, and a line
that says what was done. What may be refused here: a shop that is not there; at the end, that some could not be migrated.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

from graph.commands.common import finished, probe
from graph.commands.progress import Progress

if TYPE_CHECKING:
    from graph.settings import Settings

#: The exit status of who was stopped by Ctrl-C.
STOPPED = 130


def migrate_shops(settings: Settings, names: Sequence[str], down_to: str | None = None, *, quiet: bool = False) -> None:
    """Bring all shops, or some, to the schema of this version, or down to a revision. One that fails holds up no other.

    `quiet`: for a server, which serves the others and says nothing where all went well.
    """
    from graph import migrate
    from graph.shops.deployment import Deployment

    deployment = Deployment(settings)
    done = 0

    async def chosen() -> tuple[list[str], int]:
        await probe(settings)
        await deployment.prepare()
        there = [shop.name for shop in await deployment.every()]
        return await deployment.waiting(names, down_to), len(set(names) or there)

    waiting, total = finished(chosen(), settings)
    progress = Progress(len(waiting), "shops")

    def told(number: int) -> None:
        nonlocal done
        done = number
        progress.show(number, number)

    def listed(line: str) -> None:
        progress.clear()
        click.echo(line, err=quiet)

    try:
        failed: dict[str, str] = finished(deployment.migrate(waiting, down_to, told, listed), settings)
    except (KeyboardInterrupt, asyncio.CancelledError):
        click.echo(f"Stopped. Migrated {done:,} of {len(waiting):,} shops that waited; run it again to go on.", err=True)
        raise SystemExit(STOPPED) from None
    finally:
        progress.clear()
    for name, reason in failed.items():
        click.echo(f"{name}: {reason}", err=True)
    if quiet:
        return
    click.echo(
        f"{counted(total - len(failed))} at revision {down_to or migrate.head()}; {len(waiting) - len(failed):,} migrated."
    )
    if failed:
        raise click.ClickException(f"{len(failed):,} of {len(waiting):,} shops could not be migrated")


def counted(number: int) -> str:
    """How many shops are."""
    return "1 shop is" if number == 1 else f"{number:,} shops are"

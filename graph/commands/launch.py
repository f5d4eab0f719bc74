"""The command `serve`.

What goes in: addresses and numbers. What comes out: a running server. What may be refused here: a port that is taken, several
processes on a file, an address that others reach where nobody is asked who he is, keys that verify no token.
"""

from __future__ import annotations

import sys
from dataclasses import replace
from typing import TYPE_CHECKING

import click

from graph.commands.common import Misused, examples, finished, is_embedded, prepare, probe, usable_settings
from graph.commands.shop_migrations import migrate_shops

if TYPE_CHECKING:
    from graph.settings import Settings


@click.command(
    epilog=examples(
        "ordergraph serve", "ordergraph serve --port 0 --no-sample", "DATABASE_URL=postgresql://... ordergraph serve --workers 4"
    )
)
@click.option("--host", default="127.0.0.1", show_default=True, help="The address to listen on.")
@click.option(
    "--port", default=8000, show_default=True, type=click.IntRange(0, 65535), help="The port to listen on; 0 takes a free one."
)
@click.option("--root-path", default="", metavar="PATH", help="The path that a proxy takes away before it hands a request on.")
@click.option("--no-sample", is_flag=True, help="Leave an empty SQLite database empty.")
@click.option("--workers", default=1, show_default=True, type=click.IntRange(1, 64), help="Processes that serve, on PostgreSQL.")
@click.option("--open", "is_open", is_flag=True, help="Let everybody who reaches the server do everything, whoever that is.")
def serve(host: str, port: int, root_path: str, no_sample: bool, workers: int, is_open: bool) -> None:
    """Serve /graphql.

    An SQLite file is made, migrated and, when empty, filled with the Northwind sample. On PostgreSQL run
    `ordergraph migrate` first. Where there are many shops (ORDERGRAPH_SHOPS) those that are migrated are served.
    Another address than this machine's own takes ORDERGRAPH_AUTH=on, or --open.
    """
    from graph.serve import logs
    from graph.serve.listening import CannotListen, is_private, listen, local_names, served_url
    from graph.serve.playground.page import kind_of_page
    from graph.serve.processes import serve_alone, serve_together
    from graph.serve.which_shop import way_of

    settings = usable_settings()
    if workers > 1 and is_embedded(settings):
        raise Misused("--workers needs a PostgreSQL: a file on SQLite has one writer, and one process serves it best")
    if settings.jwt_secret or settings.jwks_file:
        from graph.access.tokens import Tokens

        Tokens(settings)  # what is wrong with the keys is told once, before anything is done
    if is_open and settings.auth:
        raise Misused(
            "--open lets everybody do everything, and ORDERGRAPH_AUTH=on asks everybody who he is: leave one of them out"
        )
    try:
        if not (settings.auth or is_open or is_private(host)):
            raise Misused(
                f"nobody is asked who he is, so only this machine is served and not {host or 'all networks'}: "
                "set ORDERGRAPH_AUTH=on, or say --open to let everybody there do everything"
            )
        if not (settings.auth or is_open or settings.hosts or settings.shop_from == "host"):  # shops have other names
            settings = replace(settings, hosts=local_names(host))
        sockets = listen(host, port)  # before the database is touched: where another server runs, nothing happens
    except CannotListen as error:
        raise click.ClickException(str(error)) from None
    if settings.shops:
        prepare_shops(settings)
    else:
        finished(prepare(settings), settings)
    if not no_sample and is_embedded(settings) and not settings.shops:
        finished(fill_if_empty(settings), settings)
    logs.configure(settings)

    def serving() -> None:
        shown = f", in a browser {kind_of_page()}" if settings.playground else ""
        click.echo(f"Serving {served_url(host, sockets)}{shown}", err=True)
        if settings.shops:
            click.echo(f"Many shops are served: {way_of(settings)}.", err=True)
        if is_open:
            click.echo(
                "Nobody is asked who he is (--open): whoever reaches this server may read and change everything.", err=True
            )
        if settings.production and not settings.trusted_documents:
            click.echo(
                "Any document runs within the limits; ORDERGRAPH_TRUSTED_DOCUMENTS=FILE leaves those of your own clients.",
                err=True,
            )

    if workers == 1:
        serve_alone(settings, sockets, root_path, serving)
    else:
        sys.exit(serve_together(workers, settings, sockets, root_path, serving))


def prepare_shops(settings: Settings) -> None:
    """Files are migrated; of a server it is told how many shops wait for whoever migrates them. The others are served."""
    from graph.shops.deployment import Deployment

    if is_embedded(settings):
        migrate_shops(settings, (), quiet=True)
        return

    async def work() -> int:
        await probe(settings)
        return await Deployment(settings).behind()

    behind = finished(work(), settings)
    if behind:
        waiting = "1 shop waits" if behind == 1 else f"{behind:,} shops wait"
        click.echo(f"{waiting} for `ordergraph migrate`; until then the answer there is 503.", err=True)


async def fill_if_empty(settings: Settings) -> None:
    from graph.sample import NotEmpty, load_into

    try:
        loaded = await load_into(settings)
    except NotEmpty:
        return
    click.echo(f"The database was empty: loaded the Northwind sample ({loaded}). --no-sample starts without.", err=True)

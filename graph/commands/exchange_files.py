"""The commands `import` and `export`.

What goes in: files, and how they are to be understood. What comes out: rows in the database, or files; at the end a count of
what was made, was there, and was refused. What may be refused here: a file that cannot be read; rows are refused into a file of
rejects.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO
from zoneinfo import ZoneInfo

import click

from graph.commands.common import Misused, examples, finished, of_shop, prepare, settings_for, with_database
from graph.commands.progress import Progress

if TYPE_CHECKING:
    from graph.database import Database
    from graph.exchange.exports import Export
    from graph.exchange.imports import Import, Tally
    from graph.exchange.presets import Terms
    from graph.exchange.rejects import Rejects

#: Exit statuses of an import: some rows were refused; it was stopped.
REFUSED, STOPPED = 3, 130


@click.command(
    "import",
    short_help="Bring in customers, items and orders from files.",
    epilog=examples(
        "ordergraph import orders.csv",
        "ordergraph import --preset online-retail online_retail.csv.gz",
        "ordergraph import --preset northwind northwind/",
        "ordergraph import --map number=Order --map email={Client}@shop.example --zone Europe/Berlin sales.csv",
        "zcat dump.ndjson.gz | ordergraph import --format ndjson -",
        "ordergraph import orders.rejects.csv          (what was refused before, mended)",
    )
    + "\n\n\b\nExit status:\n  0  all rows are in, or there are none\n"
    "  1  it could not be done, or not to the end\n  2  the arguments are wrong\n"
    "  3  some rows were refused, and are in the file of rejects\n  130  stopped by Ctrl-C: run it again to go on",
)
@click.argument("path", metavar="PATH")
@click.option("--preset", type=click.Choice(["northwind", "online-retail"]), help="A data set whose columns are known.")
@click.option("--map", "maps", multiple=True, metavar="NAME=COLUMN", help="Which column holds a value; {COLUMN} within a text.")
@click.option(
    "--format", "kind", type=click.Choice(["csv", "ndjson"]), help="How the file is written, where its name does not say."
)
@click.option("--delimiter", default=",", show_default=True, help="What stands between two values of CSV.")
@click.option("--encoding", default="utf-8", show_default=True, help="The encoding of the text.")
@click.option("--source", help="Whose order numbers these are; the same numbers of another source are other orders.")
@click.option("--guest", metavar="EMAIL", help="The customer of orders that name none; without it they are refused.")
@click.option("--zone", help="The time zone of times without an offset, such as Europe/Berlin.")
@click.option("--decimals", type=click.Choice(["refuse", "round"]), help="What becomes of prices with too many decimals.")
@click.option("--negative", type=click.Choice(["refuse", "leave-out"]), help="What becomes of lines of fewer pieces than none.")
@click.option("--rejects", type=click.Path(path_type=Path), help="Where refused rows go; next to the command by default.")
@click.option("--dry-run", is_flag=True, help="Do all and undo it: what would be made and refused.")
@of_shop
def import_(path: str, rejects: Path | None, dry_run: bool, shop: str | None, **options: Any) -> None:
    """Import customers, items and orders from PATH: a file, a folder, or - for standard input.

    Orders are made whole or not at all, and nothing that is there is changed: run it again, and it goes on where it was. Rows
    that are refused go to a file with line, code and reason, which can be imported when it is mended.
    """
    from graph.exchange.openings import CannotRead
    from graph.exchange.rejects import Rejects

    if len(options["delimiter"]) != 1 or options["delimiter"] in '"\r\n':
        raise Misused("--delimiter takes one character, such as ';'")
    terms = _terms(**{name: options[name] for name in ("preset", "maps", "source", "guest", "zone", "decimals", "negative")})
    settings = settings_for(shop)
    finished(prepare(settings, shop), settings)
    refused = Rejects(rejects or _rejects_of(path), folder=Path(path).is_dir())
    done: list[Import] = []
    try:
        with_database(lambda database: _run(database, path, terms, options, refused, dry_run, done), settings, shop)
    except CannotRead as error:
        raise click.ClickException(str(error)) from None
    except (KeyboardInterrupt, asyncio.CancelledError):
        told = _told(done[0].tally) if done else "nothing"
        click.echo(f"Stopped. Imported {told}; run it again to go on.", err=True)
        raise SystemExit(STOPPED) from None
    finally:
        refused.close()
    _report(path, done[0].tally, refused, dry_run=dry_run)


async def _run(
    database: Database, path: str, terms: Terms, options: dict[str, Any], refused: Rejects, dry_run: bool, done: list[Import]
) -> None:
    from graph.exchange.imports import Import
    from graph.exchange.incoming import Form, Reading
    from graph.schema import schema

    schema.engine(database)  # from now on its writes are told
    reading = Reading(path, terms, Form(options["kind"], options["delimiter"], options["encoding"]), refused)
    progress = Progress(_size(Path(path)))
    made = Import(database, reading, lambda tally: progress.show(tally.rows, reading.position()))
    done.append(made)
    try:
        await (made.rehearse() if dry_run else made.run())
    finally:
        progress.clear()


def _terms(
    preset: str | None,
    maps: tuple[str, ...],
    source: str | None,
    guest: str | None,
    zone: str | None,
    decimals: str | None,
    negative: str | None,
) -> Terms:
    from graph.exchange.presets import PRESETS, Terms
    from graph.exchange.tables import LINES

    terms = PRESETS[preset] if preset else Terms()
    called = dict(terms.called)
    for each in maps:
        name, equals, column = each.partition("=")
        if name not in LINES.names or not equals:
            raise Misused(f"--map {each}: the form is NAME=COLUMN, and a name is one of {', '.join(LINES.names)}")
        called[name] = column
    place = terms.zone
    if zone is not None:
        with suppress(Exception):  # what is no zone is told in several ways
            place = ZoneInfo(zone)
        if place is None or place.key != zone:
            raise Misused(f"--zone {zone}: there is no such time zone")
    return replace(
        terms,
        called=called,
        source=source or terms.source,
        guest=terms.guest if guest is None else guest,
        zone=place,
        rounded=terms.rounded if decimals is None else decimals == "round",
        negatives_left_out=terms.negatives_left_out if negative is None else negative == "leave-out",
    )


def _rejects_of(path: str) -> Path:
    """Where rejects go by themselves: what is read, by its name, in the folder that one is in."""
    where = Path("rows.csv" if path == "-" else path)
    if where.is_dir():
        return Path(f"{where.resolve().name}.rejects")
    name = where.name.removesuffix(".gz").removesuffix(".zst")
    stem, _, suffix = name.rpartition(".")
    return Path(f"{stem or suffix}.rejects.{suffix if stem else 'csv'}")


def _size(path: Path) -> int | None:
    if path.is_dir():
        return sum(each.stat().st_size for each in path.iterdir() if each.is_file())
    return path.stat().st_size if path.is_file() else None


def _counted(number: int, name: str) -> str:
    """So many of what has this name, which is a plural."""
    return f"{number:,} {name.removesuffix('s') if number == 1 else name}"


def _told(tally: Tally) -> str:
    orders, lines, *others = (_counted(tally.made[name], name) for name in ("orders", "lines", "customers", "items"))
    return f"{orders} with {', '.join((lines, *others))}"


def _report(path: str, tally: Tally, refused: Rejects, *, dry_run: bool) -> None:
    if not tally.rows and refused.written is None:
        click.echo(f"Nothing to import: {'standard input' if path == '-' else path} has no rows.")
        return
    click.echo(f"{'Would import' if dry_run else 'Imported'} {_told(tally)}.")
    there = ", ".join(_counted(number, name) for name, number in tally.there.items() if number)
    if there:
        click.echo(f"Were there already: {there}.")
    if tally.left_out:
        lines, orders = _counted(tally.left_out, "lines"), _counted(tally.emptied, "orders")
        click.echo(f"Left out: {lines} of fewer pieces than none, with them {orders}.")
    if refused.written is not None:
        number = sum(refused.codes.values())
        rows = "one row, which is" if number == 1 else f"{number:,} rows, which are"
        click.secho(f"Refused {rows} in {refused.written}:", fg="yellow")
        for code, number in refused.codes.most_common():
            click.echo(f"  {number:>9,}  {code:<20} {refused.first[code]}")
        raise SystemExit(REFUSED)


def of_export(command: Callable[..., Any]) -> Callable[..., Any]:
    """What is said of an export."""
    for said in reversed(
        (
            click.argument("path", metavar="[PATH]", default="-"),
            click.option(
                "--format", "kind", type=click.Choice(["csv", "ndjson"]), help="Objects, or CSV: of lines a file, else a folder."
            ),
            click.option("--lines", is_flag=True, help="Order lines, one a row, instead of customers, items and orders."),
            click.option(
                "--where", metavar="FILTER", help="Which orders, with their customers and items: a filter as in a query."
            ),
        )
    ):
        command = said(command)
    return command


@click.command(
    short_help="Write all of them as an import takes them.",
    epilog=examples(
        "ordergraph export > shop.ndjson",
        "ordergraph export --format csv shop/                              (a folder of tables)",
        "ordergraph export --lines january.csv --where '{orderDate: {lt: \"2026-02-01T00:00:00Z\"}}'",
        "ordergraph export --where '{status: {eq: PAID}}' | gzip > paid.ndjson.gz",
    ),
)
@of_export
@of_shop
def export(**options: Any) -> None:
    """Write customers, items and orders to PATH, or to standard output, as an import takes them.

    No file is replaced. What is written has natural keys, and is the same after an import into an empty database.
    """
    export_shop(**options)


def export_shop(path: str, kind: str | None, lines: bool, where: str | None, shop: str | None) -> None:
    """Write what a shop holds; what the one shop holds where it has no name."""
    from graph.exchange.openings import CannotRead
    from graph.operations.request_errors import RequestRefused

    if path.endswith(".csv") and not lines:
        raise Misused(f"{path} is one file: add --lines for order lines, or name a folder: ordergraph export --format csv FOLDER")
    suffix = "csv" if path.endswith(".csv") or (lines and path == "-") else "ndjson"
    kind = kind or suffix
    if kind == "csv" and not lines and path == "-":
        raise Misused("a folder of tables needs a name: ordergraph export --format csv FOLDER")
    try:
        with_database(lambda database: _export(database, path, kind, lines, where), settings_for(shop), shop)
    except RequestRefused as refusal:
        raise Misused(f"--where: {refusal.errors[0].message}") from None
    except CannotRead as error:
        raise click.ClickException(str(error)) from None


async def _export(database: Database, path: str, kind: str, lines: bool, where: str | None) -> None:
    from graph.context import Context
    from graph.database import Database
    from graph.exchange.exports import Export, for_pages
    from graph.exchange.outgoing import write_folder
    from graph.schema import schema

    paged = Database(for_pages(database.settings), database.shop)
    progress = Progress(None)
    try:
        export = Export(schema.engine(paged), Context(paged), where)

        def told(done: Any) -> None:
            progress.show(done.total(), 0)

        if kind == "csv" and not lines:
            done = await write_folder(export, Path(path), told)
        elif path == "-":
            done = await _write_file(export, sys.stdout, kind, lines, told)
        else:
            with _new_file(Path(path)) as file:
                done = await _write_file(export, file, kind, lines, told)
    finally:
        progress.clear()
        await paged.close()
    click.echo(f"Exported {', '.join(_counted(number, name) for name, number in done.items()) or 'nothing'}.", err=True)


async def _write_file(export: Export, file: TextIO, kind: str, lines: bool, told: Any) -> Any:
    from graph.exchange.outgoing import write_lines, write_objects

    return await (write_lines(export, file, kind, told) if lines else write_objects(export, file, told))


@contextmanager
def _new_file(path: Path) -> Iterator[TextIO]:
    """A file that is not there yet, and is taken away again where it could not be written to its end."""
    try:
        file = path.open("x", encoding="utf-8", newline="")
    except OSError as error:
        raise click.ClickException(f"cannot write {path}: {error.strerror}") from None
    try:
        with file:
            yield file
    except BaseException:
        path.unlink()
        raise

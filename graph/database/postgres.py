"""PostgreSQL: what it can do, and how one comes to it.

What goes in: what a URL says, settings. What comes out: a `Backend`, as `graph.database.protocol` says; its connections are
`graph.database.server_connections`. What is refused here: a URL that names no server, `DatabaseUrlError`.
"""

from __future__ import annotations

from dataclasses import replace

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import ARRAY, insert
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from graph.database import libpq
from graph.database.link import connect_arguments
from graph.database.places import MARK
from graph.database.protocol import Capabilities, DatabaseUrl
from graph.database.server_connections import Server
from graph.database.shop_names import REGISTRY_SCHEMA, schema_of_shop
from graph.settings import Settings

SCHEMES = ("postgresql", "postgres")

#: The advisory lock of those who migrate; a number that nobody else is likely to use.
MIGRATING = 0x6F7264657267


def drawn_keys(name: str) -> sa.TextualSelect:
    """What draws keys. `name` is how the name of a table becomes the text that a function takes."""
    return (
        sa.text(
            "SELECT array_agg(key ORDER BY place, key) AS keys FROM ("  # noqa: S608  # no client's text is in it
            f"SELECT place, nextval(pg_get_serial_sequence({name}, attribute)) AS key"
            " FROM unnest(:tables, :attributes, :numbers) WITH ORDINALITY AS wanted(name, attribute, number, place),"
            " generate_series(1, number)) AS drawn"
        )
        .bindparams(
            sa.bindparam("tables", type_=ARRAY(sa.Text())),
            sa.bindparam("attributes", type_=ARRAY(sa.Text())),
            sa.bindparam("numbers", type_=ARRAY(sa.Integer())),
        )
        .columns(sa.column("keys"))
    )


CAPABILITIES = Capabilities(
    system="postgresql",
    title="PostgreSQL",
    insert=insert,
    arrays=True,
    typed_values=True,
    drawn_keys=drawn_keys("name"),
    last_keys=None,
    writes_in_queries=True,
    parser_room=None,
    bounds_texts=False,
    may_lack=False,
    copies_tables=False,
    one_writer=False,
    schema_lock=sa.select(sa.func.pg_advisory_xact_lock(MIGRATING)),
    embedded=False,
    explain="EXPLAIN",
    explained=lambda rows: [line for (line,) in rows],
)
OF_SHOPS = replace(CAPABILITIES, drawn_keys=drawn_keys(f"'{MARK}' || name"))

#: How long a host may take to answer one who changes the schema.
SCHEMA_CONNECT_SECONDS = 10


def understood(_: str, rest: str) -> DatabaseUrl:
    """What a URL says. Raises `DatabaseUrlError`."""
    return libpq.understood(rest)


def of_shop(target: DatabaseUrl, shop: str | None) -> DatabaseUrl:
    """A schema of the same database."""
    return replace(target, schema=REGISTRY_SCHEMA if shop is None else schema_of_shop(shop))


def check(settings: Settings) -> None:
    """Every setting means something here."""


def connect(target: DatabaseUrl, settings: Settings) -> Server:
    """Connections to a server."""
    return Server(target, settings)


async def schema_engine(target: DatabaseUrl, *, make: bool) -> AsyncEngine:  # a server makes its databases
    """An engine for changing the schema."""
    arguments = connect_arguments(target, SCHEMA_CONNECT_SECONDS)
    return create_async_engine(target.url, poolclass=sa.NullPool, hide_parameters=True, connect_args=arguments)

"""SQLite: what it can do, and how one comes to a file of it.

What goes in: what a URL says, settings. What comes out: a `Backend`, as `graph.database.protocol` says; its connections are
`graph.database.file_connections`. What is refused here: a URL that names no file, `DatabaseUrlError`; a setting that means a
server, `SettingsError`; `Unavailable` for a file that cannot be used, told in a sentence at the start.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from time import monotonic, sleep
from typing import Any

import sqlalchemy as sa
from sqlalchemy import event
from sqlalchemy.dialects.sqlite import insert
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from graph.database.failures import Trouble, Unavailable, sqlite_code, told, trouble
from graph.database.file_connections import File, begin_at_once
from graph.database.protocol import Capabilities, DatabaseUrl
from graph.database.shop_names import REGISTRY_FILE, file_of_shop
from graph.settings import DatabaseUrlError, Settings, SettingsError

SCHEMES = ("sqlite",)


def explained(rows: Sequence[Sequence[Any]]) -> list[str]:
    """The steps of a plan, each under the one that it is a part of."""
    depths = {0: -1}
    for step, above, *_ in rows:
        depths[step] = depths.get(above, -1) + 1
    return [f"{'  ' * depths[step]}{told_}" for step, _, _, told_ in rows]


#: SQLite keeps them for tables with AUTOINCREMENT.
LAST_KEYS = (
    sa.select(sa.column("name", sa.Text()), sa.column("seq", sa.BigInteger()).label("key"))
    .select_from(sa.table("sqlite_sequence"))
    .subquery("last_keys")
)

CAPABILITIES = Capabilities(
    system="sqlite",
    title="an SQLite file",
    insert=insert,
    arrays=False,
    typed_values=False,  # a time that is cast becomes a number
    drawn_keys=None,
    last_keys=LAST_KEYS,
    writes_in_queries=False,
    parser_room=100,
    bounds_texts=True,
    may_lack=True,
    copies_tables=True,
    one_writer=True,
    schema_lock=None,
    embedded=True,
    explain="EXPLAIN QUERY PLAN",
    explained=explained,
)

#: A file is one shop's.
OF_SHOPS = CAPABILITIES

SLASHES = "sqlite:///FILE has three slashes before a relative path and four before an absolute one"

#: What a file is where SQLite says so when it is opened.
UNUSABLE = {
    sqlite3.SQLITE_NOTADB: "it is no SQLite database",
    sqlite3.SQLITE_READONLY: "it or its folder cannot be written",
    sqlite3.SQLITE_CANTOPEN: "it or its folder cannot be written",
}
#: How long one who starts waits for others that start on the same file.
START_SECONDS = 30.0


def understood(text: str, _: str) -> DatabaseUrl:
    """The file that a URL names. Raises `DatabaseUrlError`."""
    try:
        url = make_url(text)
    except (ArgumentError, ValueError):
        raise DatabaseUrlError(SLASHES) from None
    if url.host or url.username or url.port:
        raise DatabaseUrlError(SLASHES)
    if url.query:
        raise DatabaseUrlError("a file on SQLite takes no parameters")
    if not url.database or url.database == ":memory:":
        raise DatabaseUrlError("an in-memory SQLite database has one connection only; name a file")
    return DatabaseUrl(URL.create("sqlite+aiosqlite", database=url.database), f"sqlite:///{url.database}")


def of_shop(target: DatabaseUrl, shop: str | None) -> DatabaseUrl:
    """A file of the folder that the URL names."""
    folder = target.url.database or ""
    file = str(Path(folder, REGISTRY_FILE) if shop is None else file_of_shop(folder, shop))
    return replace(target, url=target.url.set(database=file), shown=f"sqlite:///{file}")


def check(settings: Settings) -> None:
    """Refuse a setting that means a server. Raises `SettingsError`."""
    if settings.pgbouncer:
        raise SettingsError("ORDERGRAPH_PGBOUNCER is set, but DATABASE_URL is a file on SQLite")
    if settings.shop_roles:
        raise SettingsError("ORDERGRAPH_SHOP_ROLES is set, but DATABASE_URL is a folder of files on SQLite, which know no roles")
    if settings.replica_urls:
        raise SettingsError("ORDERGRAPH_REPLICA_URLS is set, but DATABASE_URL is a file on SQLite, which nobody follows")


def connect(target: DatabaseUrl, settings: Settings) -> File:
    """Connections to a file."""
    return File(target, settings)


async def schema_engine(target: DatabaseUrl, *, make: bool) -> AsyncEngine:
    """An engine for changing the schema, which may `make` the file where there is none. Raises `Unavailable`.

    Foreign keys are off: batch mode drops and rebuilds tables, and the drop would delete the children.
    """
    await asyncio.to_thread(open_file, target.url.database or "", make=make)
    arguments = {"isolation_level": None, "timeout": START_SECONDS}
    engine = create_async_engine(target.url, poolclass=sa.NullPool, hide_parameters=True, connect_args=arguments)
    # The driver's own transaction control commits before DDL; with ours a migration that fails leaves nothing.
    event.listen(engine.sync_engine, "begin", begin_at_once)
    return engine


def open_file(path: str, *, make: bool) -> None:
    """Make a file a database whose readers do not wait for its writer, and see that it can be written. Raises `Unavailable`."""
    file = Path(path)
    if file.is_dir():
        raise Unavailable("it is a folder, as many shops have one (ORDERGRAPH_SHOPS)")
    if not file.parent.is_dir():
        raise Unavailable(f"there is no folder {file.parent}")
    if not make and not file.exists():
        raise Unavailable("there is no such file: run `ordergraph migrate`")
    deadline = monotonic() + START_SECONDS
    try:
        with closing(sqlite3.connect(path, isolation_level=None, timeout=START_SECONDS)) as connection:
            (encoding,) = connection.execute("PRAGMA encoding").fetchone()
            if encoding != "UTF-8":
                raise Unavailable(f"its encoding is {encoding}, which sorts texts another way than UTF-8: make it anew")
            _use_wal(connection, deadline)
            connection.execute("BEGIN IMMEDIATE")
            connection.execute("PRAGMA user_version = 0")  # a file that is only read is found out when it is written
            connection.execute("ROLLBACK")
    except sqlite3.Error as error:
        raise Unavailable(UNUSABLE.get(sqlite_code(error)) or told(error)) from error


def _use_wal(connection: sqlite3.Connection, deadline: float) -> None:
    while True:
        try:
            connection.execute("PRAGMA journal_mode=WAL")
        except sqlite3.OperationalError as error:  # the change of the mode does not wait as statements do
            if trouble(error) is not Trouble.PASSING or monotonic() > deadline:
                raise
            sleep(0.05)
        else:
            return

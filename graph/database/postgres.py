"""PostgreSQL: what it can do, and connections to it.

What goes in: a URL, SQL. What comes out: a `Backend`, as `graph.database.protocol` says. A connection is opened on the first host
that will do, and every time and day from year 1 to 9999 is on it what it is, in UTC: the driver's own encoding makes infinities
of the first and the last of them, which neither come back nor have a month. What is refused here: what the last host that was
tried refused, and `Unavailable` for a database whose encoding cannot hold every text, for a server that does not serve, and for
a read that ran too long.
"""

from __future__ import annotations

import socket
from collections.abc import Generator, Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

import asyncpg
import sqlalchemy as sa
from asyncpg.exceptions import CannotConnectNowError, PostgresError, TargetServerAttributeNotMatched
from sqlalchemy import event
from sqlalchemy.dialects.postgresql import ARRAY, insert
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession, create_async_engine

from graph.database import libpq
from graph.database.failures import Trouble, Unavailable, driver_error, is_from_database, is_stale, told, trouble
from graph.database.pool import Pool, discard, pool_of
from graph.database.protocol import Capabilities, DatabaseUrl
from graph.database.turns import Turns
from graph.settings import Settings

SCHEMES = ("postgresql", "postgres")

#: The advisory lock of those who migrate; a number that nobody else is likely to use.
MIGRATING = 0x6F7264657267

CAPABILITIES = Capabilities(
    insert=insert,
    arrays=True,
    typed_values=True,
    drawn_keys=(
        sa.text(
            "SELECT array_agg(key ORDER BY place) AS keys FROM ("
            "SELECT place, nextval(pg_get_serial_sequence(name, attribute)) AS key"
            " FROM unnest(:tables, :attributes, :numbers) WITH ORDINALITY AS wanted(name, attribute, number, place),"
            " generate_series(1, number)) AS drawn"
        )
        .bindparams(
            sa.bindparam("tables", type_=ARRAY(sa.Text())),
            sa.bindparam("attributes", type_=ARRAY(sa.Text())),
            sa.bindparam("numbers", type_=ARRAY(sa.Integer())),
        )
        .columns(sa.column("keys"))
    ),
    parser_room=None,
    copies_tables=False,
    schema_lock=sa.select(sa.func.pg_advisory_xact_lock(MIGRATING)),
    embedded=False,
)

#: How long a host may take to answer one who changes the schema.
SCHEMA_CONNECT_SECONDS = 10

#: What PostgreSQL counts from, and in.
EPOCH = datetime(2000, 1, 1, tzinfo=UTC)
MICROSECOND = timedelta(microseconds=1)


def understood(_: str, rest: str) -> DatabaseUrl:
    """What a URL says. Raises `DatabaseUrlError`."""
    return libpq.understood(rest)


def check(settings: Settings) -> None:
    """Every setting means something here."""


def connect(target: DatabaseUrl, settings: Settings) -> Server:
    """Connections to a server."""
    return Server(target, settings)


async def schema_engine(target: DatabaseUrl) -> AsyncEngine:
    """An engine for changing the schema."""
    arguments = connect_arguments(target, SCHEMA_CONNECT_SECONDS)
    return create_async_engine(target.url, poolclass=sa.NullPool, hide_parameters=True, connect_args=arguments)


class Server:
    """The connections to a server: one pool, for reads and transactions."""

    def __init__(self, target: DatabaseUrl, settings: Settings) -> None:
        wait_seconds = settings.pool_timeout_seconds
        limits = bounds(settings)
        if settings.pgbouncer:
            # Behind a pooler a connection is not ours, and keeps nothing.
            arguments = connect_arguments(target, wait_seconds, statement_cache_size=0, prepared_statement_cache_size=0)
        else:
            arguments = connect_arguments(target, wait_seconds, {"application_name": "ordergraph", **limits})
        self.engine = create_async_engine(
            target.url,
            poolclass=Pool,
            pool_size=settings.pool_size,
            max_overflow=0,  # an overflow connection is closed on return: under load that is a reconnect a request
            pool_timeout=wait_seconds,
            pool_use_lifo=True,
            hide_parameters=True,
            connect_args=arguments,
        )
        event.listen(self.engine.sync_engine, "connect", _on_connect)
        self.turns = Turns(settings.pool_size, wait_seconds)
        self._timeout_seconds = settings.statement_timeout_seconds
        self._transaction_limits = limits if settings.pgbouncer else {}

    @property
    def _pool(self) -> Pool:
        return pool_of(self.engine)  # another one after the engine was disposed of

    async def fetch(self, sql: str, arguments: Sequence[Any]) -> Any:
        """The first value of the first row of a query. Raises `Unavailable`.

        The driver is asked directly: through SQLAlchemy's execution a point read costs 490 us of processor time, so 83. A test
        holds the answers equal.
        """
        async with self.turns:
            return await self._fetch(sql, arguments)

    async def _fetch(self, sql: str, arguments: Sequence[Any]) -> Any:
        """`fetch`, whose turn has come."""
        for attempt in (1, 2):
            try:
                connection: Any = await self._pool.taken(self._pool.connect)
            except Exception as error:
                if is_from_database(error):
                    raise Unavailable(told(error)) from error
                raise
            try:
                driver: Any = connection.driver_connection
                return await driver.fetchval(sql, *arguments, timeout=self._timeout_seconds)
            except BaseException as error:
                # What PostgreSQL answered leaves a connection as it was; cut off in the middle it is not to be trusted.
                if not isinstance(driver_error(error), PostgresError):
                    discard(connection)
                elif is_stale(error):
                    discard(connection)
                    self._pool.distrust()
                found = trouble(error)
                if found is None:
                    raise
                # A read changes nothing, so it may be repeated once on another connection.
                if found is not Trouble.LOST or attempt == 2:
                    raise Unavailable(told(error)) from error
            finally:
                connection.close()
        raise AssertionError("unreachable")

    async def begin(self, session: AsyncSession) -> Any:
        """Begin, and bound the statements and lock waits of this transaction where its connection does not bound them."""
        connection = await self._pool.taken(session.sync_session.connection)
        for name, value in self._transaction_limits.items():
            await session.execute(sa.text(f"SET LOCAL {name} = {value}"))  # it leaks to nobody who gets the connection next
        return connection.connection.driver_connection

    async def rows(self, driver: Any, sql: str, arguments: Sequence[Any]) -> Sequence[Sequence[Any]]:
        """All rows of a query on the driver's connection."""
        return await driver.fetch(sql, *arguments)  # type: ignore[no-any-return]  # the driver is untyped

    def distrust(self) -> None:
        """Use no connection again that was opened before."""
        self._pool.distrust()

    async def close(self) -> None:
        """Close every connection."""
        await self.engine.dispose()


def bounds(settings: Settings) -> dict[str, str]:
    """PostgreSQL's own bounds on a statement and on a wait for a lock, in milliseconds."""
    return {
        "statement_timeout": str(int(settings.statement_timeout_seconds * 1000)),
        "lock_timeout": str(int(settings.lock_timeout_seconds * 1000)),
    }


def connect_arguments(
    target: DatabaseUrl, timeout_seconds: float, server_settings: Mapping[str, str] | None = None, **more: Any
) -> dict[str, Any]:
    """What SQLAlchemy's `connect_args` are for this database; what the URL says comes before the defaults given here."""
    return {
        **target.arguments,
        "timeout": target.timeout_seconds or timeout_seconds,
        "server_settings": {**(server_settings or {}), **target.server_settings},
        "async_creator_fn": partial(Opening, target),
        **more,
    }


class Opening:
    """A connection that is opened when it is awaited, and not before: nothing is left over where nobody can wait for it."""

    def __init__(self, target: DatabaseUrl, **options: Any) -> None:
        self.target, self.options = target, options

    def __await__(self) -> Generator[Any, None, asyncpg.Connection]:
        return self._open().__await__()

    async def _open(self) -> Any:
        """The hosts one after the other, each with its own time: the driver would give the first one that is silent all of it."""
        wanted = self.target.target_session_attrs
        refused: Exception | None = None
        for attributes in ("standby", "any") if wanted == "prefer-standby" else (wanted,):
            for host, port in self.target.hosts or (("", None),):
                try:
                    connection = await asyncpg.connect(
                        host=host or None, port=port, target_session_attrs=attributes, **self.options
                    )
                except (OSError, CannotConnectNowError) as error:
                    refused = error
                except TargetServerAttributeNotMatched:
                    refused = refused or TargetServerAttributeNotMatched(f"no host is {attributes}")
                else:
                    # Told by the server when it connects, without a question; a pooler may keep it to itself.
                    encoding = getattr(connection.get_settings(), "server_encoding", "UTF8")
                    if encoding != "UTF8":
                        await connection.close()
                        raise Unavailable(
                            f"its encoding is {encoding}, which cannot hold every text: make one with ENCODING UTF8"
                        )
                    transport = connection._transport  # noqa: SLF001  # the driver has no public way to its socket
                    tell(transport.get_extra_info("socket"), self.target.socket_options)
                    return connection
        assert refused is not None
        raise refused


def tell(found: socket.socket | None, options: Iterable[tuple[int, int, int]]) -> None:
    """Set options of a connection's socket, where it goes over a network."""
    if found is not None and found.family in (socket.AF_INET, socket.AF_INET6):
        for option in options:
            found.setsockopt(*option)


def _on_connect(connection: Any, record: Any) -> None:
    connection.run_async(_tell_times)


async def _tell_times(driver: Any) -> None:
    # A built-in type is known to the driver: this asks the server nothing.
    for name, encode, decode in (
        ("timestamptz", lambda time: ((time - EPOCH) // MICROSECOND,), lambda parts: EPOCH + MICROSECOND * parts[0]),
        ("date", lambda day: ((day - EPOCH.date()).days,), lambda parts: EPOCH.date() + timedelta(days=parts[0])),
    ):
        await driver.set_type_codec(name, schema="pg_catalog", format="tuple", encoder=encode, decoder=decode)

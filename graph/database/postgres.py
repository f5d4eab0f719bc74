"""PostgreSQL: what it can do, and connections to it.

What goes in: a URL, SQL. What comes out: a `Backend`, as `graph.database.protocol` says. A connection is opened on the first host
that will do, and every time and day from year 1 to 9999 is on it what it is, in UTC: the driver's own encoding makes infinities
of the first and the last of them, which neither come back nor have a month. A connection that does not answer is not waited for,
and not used again: see `Link`. What is refused here: what the last host that was tried refused, and `Unavailable` for a database
whose encoding cannot hold every text, for a server that does not serve, and for a read that ran too long.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable, Generator, Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

import asyncpg
import sqlalchemy as sa
from asyncpg.exceptions import (
    CannotConnectNowError,
    DuplicatePreparedStatementError,
    FeatureNotSupportedError,
    InvalidParameterValueError,
    InvalidSQLStatementNameError,
    PostgresError,
    ProtocolViolationError,
    TargetServerAttributeNotMatched,
)
from sqlalchemy import event
from sqlalchemy.dialects.postgresql import ARRAY, insert
from sqlalchemy.engine import ExceptionContext
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession, create_async_engine

from graph.database import libpq
from graph.database.failures import (
    CommitUnknown,
    Trouble,
    Unavailable,
    driver_error,
    is_from_database,
    is_stale,
    told,
    trouble,
)
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
    bounds_texts=False,
    copies_tables=False,
    one_writer=False,
    schema_lock=sa.select(sa.func.pg_advisory_xact_lock(MIGRATING)),
    embedded=False,
)

#: How long a host may take to answer one who changes the schema.
SCHEMA_CONNECT_SECONDS = 10

#: How much longer the driver waits for a statement than the server lets it run: who says nothing by then has not heard of it.
SILENCE_SECONDS = 1.0
#: How long a server may take to end a connection that was given up.
LEAVING_SECONDS = 2.0
#: How often a server looks whether the client of a running statement is still there.
CHECK_SECONDS = 1
#: Only on systems that tell when a peer is gone: not on Windows.
CHECKS = "client_connection_check_interval"
#: Where in PostgreSQL a WARNING comes from that makes the answer to a COMMIT no promise: the transaction may be on this server
#: alone and not on the standby that it waits for, or there was none to commit.
DOUBTS = ("SyncRepWaitForLSN", "EndTransactionBlock")

#: Which session runs a statement.
SESSION = "SELECT pg_backend_pid()"
#: What poolers refuse of a connection that takes them for a server: settings at its start, statements that it knows by name.
SIGNS_OF_A_POOLER = (
    ProtocolViolationError,
    FeatureNotSupportedError,
    DuplicatePreparedStatementError,
    InvalidSQLStatementNameError,
)
POOLED = "Where PgBouncer or another pooler stands before the server set ORDERGRAPH_PGBOUNCER=true"

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


async def schema_engine(target: DatabaseUrl, *, make: bool) -> AsyncEngine:  # a server makes its databases
    """An engine for changing the schema."""
    arguments = connect_arguments(target, SCHEMA_CONNECT_SECONDS)
    return create_async_engine(target.url, poolclass=sa.NullPool, hide_parameters=True, connect_args=arguments)


class Link(asyncpg.Connection):
    """A connection whose end nobody waits for: where its peer is silent he would wait for ever.

    `committing` while a COMMIT is on its way, `doubt` why its answer is no promise.
    """

    committing = False
    leaving = False
    #: Sends SQLAlchemy's BEGIN, which it would send with its own first statement.
    start: Callable[[], Awaitable[None]]
    doubt: str | None = None

    def note(self, message: Any) -> None:
        """Hear what the server says beside its answers."""
        if message.server_source_function in DOUBTS:
            self.doubt = str(message)

    async def close(self, *, timeout: float | None = None) -> None:  # noqa: ASYNC109  # the driver's own
        """End it at once. The server is told, if it hears."""
        self.terminate()

    def terminate(self) -> None:
        """End it at once, unless it is being left."""
        if not self.leaving:
            asyncpg.Connection.terminate(self)

    async def leave(self) -> bool:
        """Cancel what runs on it, by a connection beside it, and end it. Returns whether the server answered in time."""
        try:
            await asyncpg.Connection.close(self, timeout=LEAVING_SECONDS)
        except Exception:  # nobody is left to whom it could matter what
            return False
        finally:
            asyncpg.Connection.terminate(self)
        return True


class Server:
    """The connections to a server: one pool, for reads and transactions."""

    def __init__(self, target: DatabaseUrl, settings: Settings) -> None:
        wait_seconds = settings.pool_timeout_seconds
        statement_seconds = settings.statement_timeout_seconds
        limits = bounds(settings)
        server_settings = {} if target.pooled else {"application_name": "ordergraph", **limits, **watch(settings)}
        arguments = connect_arguments(
            target, wait_seconds, server_settings, command_timeout=statement_seconds + SILENCE_SECONDS, connection_class=Link
        )
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
        event.listen(self.engine.sync_engine, "invalidate", self._on_invalidate)
        event.listen(self.engine.sync_engine, "handle_error", _on_error)
        self.turns = Turns(settings.pool_size, wait_seconds)
        # Behind a pooler nobody but the driver bounds a read, so its silence does not mean that the connection is dead.
        self._read_seconds = statement_seconds if target.pooled else statement_seconds + SILENCE_SECONDS
        self._silence = Trouble.SLOW if target.pooled else Trouble.LOST
        self._transaction_limits = limiting(limits) if target.pooled else None
        self._pooled = target.pooled
        self._arguments, self._limits = arguments, limits
        self._left: set[asyncio.Task[bool]] = set()

    @property
    def _pool(self) -> Pool:
        return pool_of(self.engine)  # another one after the engine was disposed of

    async def fetch(self, sql: str, arguments: Sequence[Any], _: int) -> Any:
        """The first value of the first row of a query, which bounds itself. Raises `Unavailable`.

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
                return await driver.fetchval(sql, *arguments, timeout=self._read_seconds)
            except BaseException as error:
                found = self._silence if isinstance(error, TimeoutError) else trouble(error)
                # What PostgreSQL answered leaves a connection as it was; cut off in the middle it is not to be trusted.
                if is_stale(error) or not isinstance(driver_error(error), PostgresError):
                    discard(connection)
                if is_stale(error) and found is not Trouble.SLOW:
                    self._pool.distrust()
                if found is None:
                    raise
                # A read changes nothing, so it may be repeated once on another connection.
                if found is not Trouble.LOST or attempt == 2:
                    raise Unavailable(told(error)) from error
            finally:
                connection.close()
        raise AssertionError("unreachable")

    async def begin(self, session: AsyncSession) -> Any:
        """Begin, and bound the statements and waits of this transaction where its connection does not bound them."""
        connection = await self._pool.taken(session.sync_session.connection)
        if self._transaction_limits is not None:
            await session.execute(self._transaction_limits)  # it leaks to nobody who gets the connection next
        link: Any = connection.connection.driver_connection
        adapter: Any = connection.connection.dbapi_connection
        link.start = adapter._start_transaction  # noqa: SLF001  # a query of the driver's own would come before the transaction
        return link

    async def rows(self, driver: Any, sql: str, arguments: Sequence[Any]) -> Sequence[Sequence[Any]]:
        """All rows of a query on the driver's connection, in its transaction."""
        if not driver.is_in_transaction():
            await driver.start()
        return await driver.fetch(sql, *arguments)  # type: ignore[no-any-return]  # the driver is untyped

    def check(self, driver: Any) -> None:
        """Raise `ConnectionError` for a connection that is known to be gone, on which no COMMIT will be sent."""
        if driver.is_closed():
            raise ConnectionError("the connection was lost before the COMMIT")

    async def commit(self, session: AsyncSession) -> None:
        """Commit. A COMMIT is never cancelled: one that waits for a standby would then be seen without being there."""
        link: Link = session.info["driver"]
        link.committing, link.doubt = True, None
        try:
            await session.commit()
        finally:
            link.committing = False
        if link.doubt is not None:
            raise CommitUnknown(link.doubt)

    async def give_up(self, session: AsyncSession) -> None:
        """Drop the connection of a session's transaction without waiting for anything: it may never answer again."""
        session.sync_session.invalidate()

    def _on_invalidate(self, connection: Any, record: Any, error: BaseException | None) -> None:
        # Whatever drops a connection passes here first, and SQLAlchemy waits for the end of one that it drops: it is ended, or
        # on its way, when SQLAlchemy gets to it.
        link: Any = connection.driver_connection
        if link.committing:
            self._pool.distrust()
        if link.committing or link.is_closed():
            link.terminate()
            return
        link.leaving = True
        task = asyncio.get_running_loop().create_task(link.leave())
        self._left.add(task)
        task.add_done_callback(self._on_left)

    def _on_left(self, task: asyncio.Task[bool]) -> None:
        self._left.discard(task)
        if not task.cancelled() and not task.result():
            self._pool.distrust()  # who did not answer on one connection may have forgotten the others, too

    async def probe(self) -> None:
        """See that no pooler stands before the server, unless the settings say so. Raises `Unavailable`.

        Through a pooler in transaction mode a connection has another session in each transaction, and another one may get
        its session meanwhile; a pooler in any mode may take no limits at the start of a connection, or take and forget them.
        """
        if self._pooled:
            return
        links: list[Any] = []

        async def opened() -> Any:
            links.append(await self._arguments["async_creator_fn"](**_of_driver(self._arguments)))
            return links[-1]

        try:
            one, other = await opened(), await opened()
            session = await one.fetchval(SESSION)
            async with other.transaction():
                if await other.fetchval(SESSION) == session or await one.fetchval(SESSION) != session:
                    raise Unavailable(f"its connections share sessions. {POOLED}")
            for name, value in self._limits.items():
                if name != CHECKS and await one.fetchval("SELECT setting FROM pg_settings WHERE name = $1", name) != value:
                    raise Unavailable(f"{name} is not what its connections ask for. {POOLED}")
        except SIGNS_OF_A_POOLER as error:
            raise Unavailable(f"{error.args[0]}. {POOLED}") from error
        finally:
            for link in links:
                link.terminate()

    def distrust(self) -> None:
        """Use no connection again that was opened before."""
        self._pool.distrust()

    async def close(self) -> None:
        """Close every connection."""
        await self.engine.dispose()
        if self._left:
            await asyncio.wait(self._left)


def bounds(settings: Settings) -> dict[str, str]:
    """PostgreSQL's own bounds on a statement, on a wait for a lock, and on what a transaction holds whose client is gone."""
    return {
        "statement_timeout": _milliseconds(settings.statement_timeout_seconds),
        "lock_timeout": _milliseconds(settings.lock_timeout_seconds),
        # No request lasts longer, so what is idle by then belongs to nobody.
        "idle_in_transaction_session_timeout": _milliseconds(settings.request_timeout_seconds),
        CHECKS: _milliseconds(CHECK_SECONDS),
    }


def watch(settings: Settings) -> dict[str, str]:
    """How the server finds out that the host of a client is gone. It ignores this where no network is between them."""
    return {
        "tcp_user_timeout": _milliseconds(settings.request_timeout_seconds),
        "tcp_keepalives_idle": str(libpq.KEEPALIVE["keepalives_idle"]),
        "tcp_keepalives_interval": str(libpq.KEEPALIVE["keepalives_interval"]),
        "tcp_keepalives_count": str(libpq.KEEPALIVE["keepalives_count"]),
    }


def _milliseconds(seconds: float) -> str:
    return str(int(seconds * 1000))


def limiting(limits: Mapping[str, str]) -> sa.TextClause:
    """One statement that sets limits for the transaction it stands in."""
    return sa.text("SELECT " + ", ".join(f"set_config('{name}', '{value}', true)" for name, value in limits.items()))


def connect_arguments(
    target: DatabaseUrl, timeout_seconds: float, server_settings: Mapping[str, str] | None = None, **more: Any
) -> dict[str, Any]:
    """What SQLAlchemy's `connect_args` are for this database; what the URL says comes before the defaults given here."""
    # Behind a pooler a connection is not ours, and keeps nothing.
    kept = {"statement_cache_size": 0, "prepared_statement_cache_size": 0} if target.pooled else {}
    return {
        **target.arguments,
        "timeout": target.timeout_seconds or timeout_seconds,
        "server_settings": {**(server_settings or {}), **target.server_settings},
        "async_creator_fn": partial(Opening, target),
        **kept,
        **more,
    }


def _of_driver(arguments: Mapping[str, Any]) -> dict[str, Any]:
    """What of SQLAlchemy's `connect_args` the driver takes."""
    own = ("async_creator_fn", "prepared_statement_cache_size")
    return {name: value for name, value in arguments.items() if name not in own}


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
                    connection = await self._connect(host=host or None, port=port, target_session_attrs=attributes)
                except (OSError, CannotConnectNowError) as error:
                    refused = error
                except TargetServerAttributeNotMatched:
                    refused = refused or TargetServerAttributeNotMatched(f"no host is {attributes}")
                else:
                    # Told by the server when it connects, without a question; a pooler may keep it to itself.
                    encoding = getattr(connection.get_settings(), "server_encoding", "UTF8")
                    if encoding != "UTF8":
                        connection.terminate()
                        raise Unavailable(
                            f"its encoding is {encoding}, which cannot hold every text: make one with ENCODING UTF8"
                        )
                    transport = connection._transport  # noqa: SLF001  # the driver has no public way to its socket
                    tell(transport.get_extra_info("socket"), self.target.socket_options)
                    if self.options.get("connection_class") is Link:
                        connection.add_log_listener(Link.note)
                    return connection
        assert refused is not None
        raise refused

    async def _connect(self, **where: Any) -> Any:
        """A connection to one host. One that cannot look after its clients is taken without that."""
        options = self.options
        try:
            return await asyncpg.connect(**where, **options)
        except InvalidParameterValueError:
            if CHECKS not in options["server_settings"]:
                raise
        asked = {name: value for name, value in options["server_settings"].items() if name != CHECKS}
        return await asyncpg.connect(**where, **{**options, "server_settings": asked})


def tell(found: socket.socket | None, options: Iterable[tuple[int, int, int]]) -> None:
    """Set options of a connection's socket, where it goes over a network."""
    if found is not None and found.family in (socket.AF_INET, socket.AF_INET6):
        for option in options:
            found.setsockopt(*option)


def _on_error(met: ExceptionContext) -> None:
    # SQLAlchemy takes a connection for dead by what a server says; where it says nothing the ROLLBACK would wait in vain.
    if isinstance(met.original_exception, TimeoutError):
        met.is_disconnect = True


def _on_connect(connection: Any, record: Any) -> None:
    connection.run_async(_tell_times)


async def _tell_times(driver: Any) -> None:
    # A built-in type is known to the driver: this asks the server nothing.
    for name, encode, decode in (
        ("timestamptz", lambda time: ((time - EPOCH) // MICROSECOND,), lambda parts: EPOCH + MICROSECOND * parts[0]),
        ("date", lambda day: ((day - EPOCH.date()).days,), lambda parts: EPOCH.date() + timedelta(days=parts[0])),
    ):
        await driver.set_type_codec(name, schema="pg_catalog", format="tuple", encoder=encode, decoder=decode)

"""A connection to a PostgreSQL server, from its opening to its end.

What goes in: where the server is. What comes out: a `Link`, on the first host that will do, on which every time and day from year
1 to 9999 is what it is, in UTC: the driver's own encoding makes infinities of the first and the last of them, which neither come
back nor have a month. What is refused here: what the last host that was tried refused, and `Unavailable` for a database whose
encoding cannot hold every text.
"""

from __future__ import annotations

import asyncio
import socket
from collections import deque
from collections.abc import Awaitable, Callable, Generator, Iterable, Mapping, Sequence
from datetime import timedelta
from functools import partial
from typing import Any

import asyncpg
from asyncpg.exceptions import InvalidParameterValueError, TargetServerAttributeNotMatched

from graph.database.failures import Trouble, Unavailable, trouble
from graph.database.protocol import DatabaseUrl, Host
from graph.database.read_after import EPOCH, MICROSECOND
from graph.database.server_limits import CHECKS

#: How long a server may take to end a connection that was given up.
LEAVING_SECONDS = 2.0
#: Where a WARNING comes from that makes the answer to a COMMIT no promise: the transaction may be on this server alone and not on
#: the standby that it waits for, or there was none to commit, or Citus had no answer from the node that has the rows.
DOUBTS = ("SyncRepWaitForLSN", "EndTransactionBlock", "StartRemoteTransactionCommit", "FinishRemoteTransactionCommit")
#: How long a host that is tried may be silent until the next one is tried as well.
HEAD_START_SECONDS = 0.3
#: How long one is waited for that stays silent until the others, which would not do, are asked again.
AGAIN_SECONDS = 1.0
#: How a server spells what queries make texts of, whatever it, a role or a URL says.
SPELLING = {"DateStyle": "ISO"}


class Link(asyncpg.Connection):
    """A connection whose end nobody waits for: where its peer is silent he would wait for ever.

    `host` is where it leads. `committing` while a COMMIT is on its way, `doubt` why its answer is no promise. `served` are the
    schemas of the shops that it has served, `role` is the role that it runs statements as; None where nothing was said, or it is
    not known what came of it.
    """

    host: Host
    committing = False
    leaving = False
    #: Sends SQLAlchemy's BEGIN, which it would send with its own first statement.
    start: Callable[[], Awaitable[None]]
    doubt: str | None = None
    role: str | None = None

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self.served: set[str] = set()

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


def connect_arguments(
    target: DatabaseUrl, timeout_seconds: float, server_settings: Mapping[str, str] | None = None, **more: Any
) -> dict[str, Any]:
    """What SQLAlchemy's `connect_args` are for this database; what the URL says comes before the defaults given here."""
    # Behind a pooler a connection is not ours, and keeps nothing.
    kept = {"statement_cache_size": 0, "prepared_statement_cache_size": 0} if target.pooled else {}
    return {
        **target.arguments,
        "timeout": target.timeout_seconds or timeout_seconds,
        "server_settings": {**(server_settings or {}), **target.server_settings, **SPELLING},
        "async_creator_fn": partial(Opening, target),
        **kept,
        **more,
    }


def of_driver(arguments: Mapping[str, Any]) -> dict[str, Any]:
    """What of SQLAlchemy's `connect_args` the driver takes."""
    own = ("async_creator_fn", "prepared_statement_cache_size")
    return {name: value for name, value in arguments.items() if name not in own}


class Opening:
    """A connection that is opened when it is awaited, and not before: nothing is left over where nobody can wait for it.

    `head_start` is how many seconds a host may be silent until the next one is tried as well. `options` are the driver's.
    """

    def __init__(self, target: DatabaseUrl, head_start: float | None = None, **options: Any) -> None:
        self.target, self.options = target, options
        self.head_start = HEAD_START_SECONDS if head_start is None else head_start

    def __await__(self) -> Generator[Any, None, asyncpg.Connection]:
        return self._open().__await__()

    async def _open(self) -> Any:
        """The first host that will do. Raises what the last one refused that was not only of another kind."""
        wanted = self.target.target_session_attrs
        refused: Exception | None = None
        for attributes in ("standby", "any") if wanted == "prefer-standby" else (wanted,):
            tried = [partial(self._connect, host, attributes) for host in self.target.hosts or (("", None),)]
            try:
                return self._seen(await (tried[0]() if len(tried) == 1 else first_of(tried, self.head_start)))
            except TargetServerAttributeNotMatched:
                refused = refused or TargetServerAttributeNotMatched(f"no host is {attributes}")
            except Exception as error:
                if trouble(error) is not Trouble.LOST:
                    raise
                refused = error
        assert refused is not None
        raise refused

    def _seen(self, connection: Any) -> Any:
        """A connection that was opened, once it is seen to be one of ours. Raises `Unavailable`."""
        # Told by the server when it connects, without a question; a pooler may keep it to itself.
        encoding = getattr(connection.get_settings(), "server_encoding", "UTF8")
        if encoding != "UTF8":
            connection.terminate()
            raise Unavailable(f"its encoding is {encoding}, which cannot hold every text: make one with ENCODING UTF8")
        transport = connection._transport  # noqa: SLF001  # the driver has no public way to its socket
        tell(transport.get_extra_info("socket"), self.target.socket_options)
        if self.options.get("connection_class") is Link:
            connection.add_log_listener(Link.note)
        return connection

    async def _connect(self, host: Host, attributes: str | None) -> Any:
        """A connection to one host. One that cannot look after its clients is taken without that."""
        options = {**self.options, "host": host[0] or None, "port": host[1], "target_session_attrs": attributes}
        try:
            found = await asyncpg.connect(**options)
        except InvalidParameterValueError:
            if CHECKS not in options["server_settings"]:
                raise
            asked = {name: value for name, value in options["server_settings"].items() if name != CHECKS}
            found = await asyncpg.connect(**{**options, "server_settings": asked})
        if options.get("connection_class") is Link:
            found.host = host
        return found


async def first_of(tried: Sequence[Callable[[], Awaitable[Any]]], head_start: float) -> Any:
    """A connection to the first host that will do: in order, and where one is silent for a while the next one beside it.

    Each has all of its time. The driver would give the first one that is silent the time of all. Where one stays silent those
    that would not do are asked again, as what they are may change: a standby is promoted. Raises what the last one refused, and
    that none is of the kind wanted only where all are of another.
    """
    refused: Exception | None = None
    running: dict[asyncio.Task[Any], Callable[[], Awaitable[Any]]] = {}
    first: set[asyncio.Task[Any]] = set()  # of those, each host's first try
    left, unfit = deque(tried), deque[Callable[[], Awaitable[Any]]]()

    def begin(attempt: Callable[[], Awaitable[Any]]) -> asyncio.Task[Any]:
        task = asyncio.ensure_future(attempt())
        running[task] = attempt
        return task

    try:
        while left or first:
            if left:
                first.add(begin(left.popleft()))
            patience = head_start if left else AGAIN_SECONDS
            done, _ = await asyncio.wait(running, timeout=patience, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                try:
                    found = task.result()
                except TargetServerAttributeNotMatched as error:
                    refused = refused or error
                except Exception as error:
                    if trouble(error) is not Trouble.LOST:
                        raise
                    refused = error
                else:
                    running.pop(task)
                    return found
                unfit.append(running.pop(task))
                first.discard(task)
            while unfit and not done and not left:
                begin(unfit.popleft())
    finally:
        for task in running:
            task.cancel()
            task.add_done_callback(let_go)
    assert refused is not None
    raise refused


def let_go(task: asyncio.Task[Any]) -> None:
    """End the connection that nobody waits for any more, if it came to be."""
    if not task.cancelled() and task.exception() is None:
        task.result().terminate()


def tell(found: socket.socket | None, options: Iterable[tuple[int, int, int]]) -> None:
    """Set options of a connection's socket, where it goes over a network."""
    if found is not None and found.family in (socket.AF_INET, socket.AF_INET6):
        for option in options:
            found.setsockopt(*option)


def utf8(value: Any) -> bytes:
    """A text as a server takes it: those who ask for a schema send some of this type."""
    return value.encode() if isinstance(value, str) else bytes(value)


async def tell_types(driver: Any) -> None:
    """Give the driver the times of this product, and texts that stay the bytes they come in: those of the type `bpchar`."""
    await driver.set_type_codec("bpchar", schema="pg_catalog", format="binary", encoder=utf8, decoder=bytes)
    # A built-in type is known to the driver: this asks the server nothing.
    for name, encode, decode in (
        ("timestamptz", lambda time: ((time - EPOCH) // MICROSECOND,), lambda parts: EPOCH + MICROSECOND * parts[0]),
        ("date", lambda day: ((day - EPOCH.date()).days,), lambda parts: EPOCH.date() + timedelta(days=parts[0])),
    ):
        await driver.set_type_codec(name, schema="pg_catalog", format="tuple", encoder=encode, decoder=decode)

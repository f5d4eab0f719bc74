"""Connections to PostgreSQL: one opened on the first host that will do.

What goes in: a `DatabaseUrl`. What comes out: the arguments that SQLAlchemy hands to its driver. What is refused here: what
the last host that was tried refused; `Unavailable` for a database whose encoding cannot hold every text.
"""

from __future__ import annotations

import socket
from collections.abc import Generator, Iterable, Mapping
from functools import partial
from typing import Any

import asyncpg
from asyncpg.exceptions import CannotConnectNowError, TargetServerAttributeNotMatched

from graph.database.failures import Unavailable
from graph.database.url import DatabaseUrl


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

"""The connections of a process to its clients, and which of them gives way where there are too many.

What goes in: connections that wait for their client. What comes out: how many there may be, and the end of the one that has been
silent for longest. Nothing is refused here.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Any, Protocol

from graph.settings import Settings

#: Descriptors that are no connections of clients: libraries, listeners, the loop, and what is accepted in one turn of it.
SPARE_DESCRIPTORS = 64


class Waiting(Protocol):
    """What is known of a connection here: all of its server, and how it is cut off."""

    connections: set[Any]
    transport: Any


class Clients:
    """The connections that wait for their client, the longest waiting first: where there are too many, these are closed."""

    def __init__(self, most: int) -> None:
        self.most = most
        self.silent: OrderedDict[Waiting, None] = OrderedDict()

    def drop_one(self) -> bool:
        """Close the one that has waited longest. Returns whether there is one."""
        if not self.silent:
            return False
        connection, _ = self.silent.popitem(last=False)
        connection.connections.discard(connection)
        connection.transport.abort()
        return True


def clients_of(settings: Settings) -> Clients:
    """Those of a server with these settings."""
    return Clients(max(1, min(settings.max_connections, descriptors() - settings.pool_size - SPARE_DESCRIPTORS)))


def descriptors() -> int:
    """How many files and sockets this process may have open."""
    try:
        import resource
    except ImportError:  # where there is no such limit
        return 2**31
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return soft if soft != resource.RLIM_INFINITY else 2**31

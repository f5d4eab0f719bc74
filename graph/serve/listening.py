"""The sockets a server listens on.

What goes in: a host and a port as they stand on the command line. What comes out: sockets that listen already, and the URL they
are reached by. What may be refused here: `CannotListen` for a port that is taken, a host that is not here; one sentence.
"""

from __future__ import annotations

import errno
import socket
from contextlib import ExitStack
from ipaddress import ip_address
from typing import Any

#: Connections that may wait to be taken.
BACKLOG = 2_048
#: Connections that are taken in one turn of the loop: libuv takes one from each listener, however many wait. Under load a turn
#: takes milliseconds, and those who wait to be taken are seen by nobody who could refuse them.
AT_ONCE = 8
#: How long a client's machine may acknowledge nothing, neither an answer nor the question whether it is still there.
DEAD_SECONDS = 60
#: What tells that it is not; connections have it from their listener. Not every platform knows all of them.
OPTIONS = (
    (socket.SOL_SOCKET, "SO_KEEPALIVE", 1),
    (socket.IPPROTO_TCP, "TCP_KEEPIDLE", DEAD_SECONDS // 2),
    (socket.IPPROTO_TCP, "TCP_KEEPINTVL", DEAD_SECONDS // 6),
    (socket.IPPROTO_TCP, "TCP_USER_TIMEOUT", DEAD_SECONDS * 1_000),
)
#: The names by which programs of this machine call it.
LOOPBACK_NAMES = ("localhost", "*.localhost", "127.0.0.1", "::1")
#: What a family of addresses says that this machine does not have; others of the same name may do.
ABSENT = (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT, errno.EPROTONOSUPPORT)


class CannotListen(Exception):
    """Nobody could reach a server there; the message says why in one sentence."""


def addresses(host: str, port: int) -> list[Any]:
    """The addresses of a host, as the resolver gives them; without a host those of all networks. Raises `CannotListen`."""
    try:
        return socket.getaddrinfo(bare(host) or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except (socket.gaierror, UnicodeError):
        raise CannotListen(f"cannot listen on {host}: no such host") from None


def is_private(host: str) -> bool:
    """Whether nobody but this machine reaches a host. Raises `CannotListen`."""
    return all(ip_address(address[0].partition("%")[0]).is_loopback for *_, address in addresses(host, 0))


def local_names(host: str) -> tuple[str, ...]:
    """The names by which this machine calls a server of its own on a host. A page from elsewhere may have another lead here."""
    return (*LOOPBACK_NAMES, bare(host))


def listen(host: str, port: int) -> list[socket.socket]:
    """Listen on every address of a host, on one port; 0 takes a free one. From here on nobody else gets it."""
    found = addresses(host, port)
    made: list[socket.socket] = []
    refused: OSError | None = None
    with ExitStack() as stack:
        for family, _, _, _, address in dict.fromkeys(found):
            try:
                made.append(stack.enter_context(opened(family, address, port or number(made))))
            except OSError as error:
                refused = error
                if error.errno not in ABSENT:
                    break
        if not made or (refused is not None and refused.errno not in ABSENT):
            assert refused is not None
            reason = "it is taken" if refused.errno == errno.EADDRINUSE else (refused.strerror or str(refused))
            raise CannotListen(f"cannot listen on port {port} of {host}: {reason}")
        stack.pop_all()
    return made


def repeated(made: list[socket.socket]) -> list[socket.socket]:
    """The same sockets, each as often as connections are to be taken from it at once."""
    return [*made, *(each.dup() for each in made for _ in range(1, AT_ONCE))]


def opened(family: int, address: tuple[Any, ...], port: int) -> socket.socket:
    with ExitStack() as stack:
        made = stack.enter_context(socket.socket(family, socket.SOCK_STREAM))
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        for level, option, value in OPTIONS:
            if hasattr(socket, option):
                made.setsockopt(level, getattr(socket, option), value)
        if family == socket.AF_INET6:
            made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        made.bind((address[0], port, *address[2:]))
        made.listen(BACKLOG)  # two may be bound to one port as long as neither listens
        # Processes share it: a duplicate takes the mode that Python knows, and would let another wait in `accept` for ever.
        made.setblocking(False)
        stack.pop_all()
    return made


def number(made: list[socket.socket]) -> int:
    """The port that was taken; 0 before the first."""
    return int(made[0].getsockname()[1]) if made else 0


def served_url(host: str, made: list[socket.socket]) -> str:
    """Where the server is reached, an IPv6 address in brackets."""
    name = bare(host) or "0.0.0.0"  # noqa: S104  # what no host means
    shown = f"[{name.replace('%', '%25')}]" if ":" in name else name
    return f"http://{shown}:{number(made)}/graphql"


def bare(host: str) -> str:
    """A host without the brackets of an IPv6 address."""
    return host[1:-1] if host.startswith("[") and host.endswith("]") else host

"""URLs of PostgreSQL, as libpq's are written and managed servers hand them out, made into what the driver is told.

What goes in: the URL's text behind its scheme. What comes out: a `DatabaseUrl`, whose `shown` is safe to print. What is refused
here: an unknown parameter, a value that the driver cannot honour, a part that is not percent-encoded, a file that cannot be
read; each raises `DatabaseUrlError` with one sentence that names the part. No value is ever in it, since any could be a piece of
a password.
"""

from __future__ import annotations

import re
import socket
from collections.abc import Mapping
from difflib import get_close_matches
from ipaddress import IPv6Address
from typing import Any
from urllib.parse import quote, unquote, urlencode

from sqlalchemy.engine import URL

from graph.database.protocol import DatabaseUrl, Host
from graph.database.tls import SYSTEM, secured, system_context
from graph.settings import DatabaseUrlError

#: Parameters that take one of a few values, and the values that the driver honours or that ask for nothing it does not do anyway.
CHOICES: Mapping[str, tuple[str, ...]] = {
    "sslmode": ("disable", "allow", "prefer", "require", "verify-ca", "verify-full"),
    "sslnegotiation": ("postgres", "direct"),
    "ssl_min_protocol_version": ("TLSv1", "TLSv1.1", "TLSv1.2", "TLSv1.3"),
    "ssl_max_protocol_version": ("TLSv1", "TLSv1.1", "TLSv1.2", "TLSv1.3"),
    "sslcertmode": ("allow",),
    "sslcompression": ("0", "1"),
    "sslsni": ("1",),
    "channel_binding": ("disable", "prefer", "require"),
    "gssencmode": ("disable", "prefer"),
    "gsslib": ("gssapi", "sspi"),
    "target_session_attrs": ("any", "read-write", "read-only", "primary", "standby", "prefer-standby"),
    "load_balance_hosts": ("disable",),
    "client_encoding": ("UTF8", "utf8", "UTF-8", "utf-8", "auto"),
    "keepalives": ("0", "1"),
}
#: Parameters that go to the driver as they are, in a URL: it alone knows how to read them.
DRIVER = (
    *("sslmode", "sslnegotiation", "sslrootcert", "sslcert", "sslkey", "sslpassword", "sslcrl"),
    *("ssl_min_protocol_version", "ssl_max_protocol_version", "passfile", "service", "krbsrvname", "gsslib"),
)
#: What the socket of a connection is told: the operating system's option, where it has it.
SOCKET_OPTIONS = {
    "keepalives_idle": "TCP_KEEPIDLE",
    "keepalives_interval": "TCP_KEEPINTVL",
    "keepalives_count": "TCP_KEEPCNT",
    "tcp_user_timeout": "TCP_USER_TIMEOUT",
}
#: When a connection that is silent is asked whether it is still there, in seconds, how often, and after how many times it is not.
KEEPALIVE = {"keepalives_idle": 30, "keepalives_interval": 5, "keepalives_count": 3}
#: How long what was sent may go without the other machine's word that it has it, in milliseconds.
USER_TIMEOUT = {"tcp_user_timeout": 5_000}
NUMBERS = ("connect_timeout", *SOCKET_OPTIONS)
TEXTS = ("user", "password", "host", "port", "dbname", "application_name", "fallback_application_name", "options")
SECRETS = ("password", "sslpassword")
#: Other names that mean the same.
ALIASES = {"database": "dbname", "ssl": "sslmode"}
KNOWN = {*CHOICES, *DRIVER, *NUMBERS, *TEXTS}
#: What to do instead of a parameter that other clients take.
INSTEAD = {
    "pgbouncer": "set ORDERGRAPH_PGBOUNCER",
    "connection_limit": "set ORDERGRAPH_POOL_SIZE",
    "pool_size": "set ORDERGRAPH_POOL_SIZE",
    "pool_timeout": "set ORDERGRAPH_POOL_TIMEOUT_SECONDS",
    "statement_timeout": "set ORDERGRAPH_STATEMENT_TIMEOUT_SECONDS",
    "lock_timeout": "set ORDERGRAPH_LOCK_TIMEOUT_SECONDS",
    "schema": "write options=-csearch_path%3DNAME",
    "search_path": "write options=-csearch_path%3DNAME",
    "currentSchema": "write options=-csearch_path%3DNAME",
    "hostaddr": "write host",
}
ESCAPES = "must be percent-encoded: @ as %40, / as %2F, ? as %3F, # as %23, % as %25, [ as %5B, ] as %5D, a blank as %20"


def understood(rest: str) -> DatabaseUrl:
    """What stands behind `postgresql://`. Raises `DatabaseUrlError`."""
    # One @ ends user and password, and there is no other: so nothing of an unescaped password is taken for a host, a path or a
    # parameter, whose names are printed.
    if rest.count("@") > 1:
        raise DatabaseUrlError(f"the user and the password {ESCAPES}")
    userinfo, _, rest = rest.rpartition("@")
    if re.search(r"[/?#\[\]\s]", userinfo):
        raise DatabaseUrlError(f"the user and the password {ESCAPES}")
    if "#" in rest:
        raise DatabaseUrlError("a # must be written as %23")
    rest, _, query = rest.partition("?")
    authority, _, path = rest.partition("/")
    if "/" in path:
        raise DatabaseUrlError("the database's name holds a / that is not written as %2F")

    user, _, password = userinfo.partition(":")
    given = {"user": decoded(user, "user"), "password": decoded(password, "password"), "dbname": decoded(path, "database")}
    given = {name: value for name, value in given.items() if value}
    if authority:
        given["host"] = authority
    found = parameters(query, given)
    for name, choices in CHOICES.items():
        if name in found and found[name] not in choices:
            raise DatabaseUrlError(f"{name} can be {', '.join(choices)} only")
    for name in NUMBERS:
        if name in found and not re.fullmatch(r"[0-9]{1,9}", found[name]):
            raise DatabaseUrlError(f"{name} must be a whole number")
    hosts = (
        listed(authority, None, escaped=True) if authority else listed(found.get("host", ""), found.get("port"), escaped=False)
    )
    found = secured(found)
    tls = {name: found[name] for name in DRIVER if name in found}
    arguments: dict[str, Any] = {"user": found.get("user"), "password": found.get("password"), "database": found.get("dbname")}
    if found.get("sslrootcert") == SYSTEM:
        arguments["ssl"] = system_context(found)
        tls = {name: value for name, value in tls.items() if not name.startswith("ssl") or name == "sslnegotiation"}
    if tls:
        arguments["dsn"] = "postgresql://?" + urlencode(tls, quote_via=quote)
    application = found.get("application_name", found.get("fallback_application_name"))
    settings = {"application_name": application, "options": found.get("options")}
    return DatabaseUrl(
        url=URL.create("postgresql+asyncpg"),
        shown=shown(found, hosts),
        hosts=hosts,
        arguments={name: value for name, value in arguments.items() if value is not None},
        server_settings={name: value for name, value in settings.items() if value is not None},
        target_session_attrs=found.get("target_session_attrs"),
        timeout_seconds=float(found.get("connect_timeout", 0)) or None,
        socket_options=tuple(socket_options(found)),
    )


def decoded(text: str, part: str) -> str:
    """A part without its escapes; `+` is a plus, as in libpq."""
    if re.search(r"%(?![0-9A-Fa-f]{2})", text):
        raise DatabaseUrlError(f"the {part} holds a % that is not written as %25")
    try:
        found = unquote(text, errors="strict")
    except UnicodeDecodeError:
        raise DatabaseUrlError(f"the escapes of the {part} are no UTF-8") from None
    if "\0" in found:
        raise DatabaseUrlError(f"the {part} holds %00")
    return found


def parameters(query: str, given: Mapping[str, str]) -> dict[str, str]:
    """The parameters of a query, with those given before it. An empty value is none."""
    found = dict(given)
    secret = None
    for pair in query.split("&") if query else []:
        raw, equals, text = pair.partition("=")
        name = ALIASES.get(raw, raw)
        if name not in KNOWN or not equals:
            if secret:  # the rest of a password, whose & was not escaped, is no name
                raise DatabaseUrlError(f"what follows {secret} is no parameter; an & in a value is written as %26")
            if not re.fullmatch(r"\w{1,63}", raw) or not equals:
                raise DatabaseUrlError("a parameter is no name=value; an & in a value is written as %26")
            near = get_close_matches(raw, sorted({*KNOWN, *ALIASES}), 1)
            instead = INSTEAD.get(raw) or (f"did you mean {near[0]}?" if near else "")
            raise DatabaseUrlError(f"the parameter {raw} is not supported" + (f"; {instead}" if instead else ""))
        if name in SECRETS:
            secret = name
        value = decoded(text, f"value of {raw}")
        if raw == "ssl":
            value = {"true": "require", "false": "disable"}.get(value, value)
        if value:
            if name in found:
                raise DatabaseUrlError(f"{name} is given twice")
            found[name] = value
    if "port" in found and "host" in given:
        raise DatabaseUrlError("port is given twice: write it behind the host")
    return found


def listed(text: str, ports: str | None, *, escaped: bool) -> tuple[Host, ...]:
    """The hosts of a list; an empty text leaves the host to the driver. `escaped`: as they stand before the path."""
    entries = text.split(",")
    numbers = ports.split(",") if ports else []
    if len(numbers) not in (0, 1, len(entries)):
        raise DatabaseUrlError("port must be one number, or as many as there are hosts")
    numbers = numbers * len(entries) if len(numbers) == 1 else numbers or [""] * len(entries)
    found = []
    for entry, number in zip(entries, numbers, strict=True):
        host, own = (entry, "") if not escaped and is_ipv6(entry) else split(entry)
        if own and number:
            raise DatabaseUrlError("port is given twice: write it behind the host")
        if not host and len(entries) > 1:
            raise DatabaseUrlError("one of the hosts is empty")
        found.append((valid(decoded(host, "host") if escaped else host), port(own or number)))
    return tuple(found) if text or ports else ()


def split(entry: str) -> tuple[str, str]:
    """A host and the port behind it, if there is one. An IPv6 address stands in brackets where a port may follow."""
    if entry.startswith("["):
        address, closed, behind = entry[1:].partition("]")
        if not closed or (behind and not behind.startswith(":")) or ":" not in address:
            raise DatabaseUrlError("an IPv6 address must be written as [ADDRESS] or [ADDRESS]:PORT")
        return address, behind[1:]
    if entry.startswith("/"):
        return entry, ""
    host, colon, behind = entry.partition(":")
    if ":" in behind:
        raise DatabaseUrlError("the port must be a number from 1 to 65535, and an IPv6 address stands in brackets")
    if colon and not behind:
        raise DatabaseUrlError("there is no port behind a colon")
    return host, behind


def is_ipv6(text: str) -> bool:
    try:
        IPv6Address(text)
    except ValueError:
        return False
    return True


def valid(host: str) -> str:
    if host and not host.startswith("/") and not is_ipv6(host) and not re.fullmatch(r"[\w.-]+", host):
        raise DatabaseUrlError("the host is no name, no address and no path of a socket's folder")
    return host


def port(text: str) -> int | None:
    if not text:
        return None
    if not re.fullmatch(r"[0-9]{1,5}", text) or not 0 < int(text) < 65536:
        raise DatabaseUrlError("the port must be a number from 1 to 65535")
    return int(text)


def socket_options(found: Mapping[str, str]) -> list[tuple[int, int, int]]:
    """Keep-alive is on unless it is switched off, as in libpq; 0 leaves a value to the operating system, which may lack some."""
    alive = found.get("keepalives") != "0"
    defaults = KEEPALIVE | USER_TIMEOUT if alive else USER_TIMEOUT
    values = {name: int(found.get(name, default)) for name, default in defaults.items()}
    wanted = [(getattr(socket, SOCKET_OPTIONS[name], None), value) for name, value in values.items()]
    return [
        *([(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)] if alive else []),
        *((socket.IPPROTO_TCP, option, value) for option, value in wanted if option is not None and value),
    ]


def shown(found: Mapping[str, str], hosts: tuple[Host, ...]) -> str:
    """The URL without its password and parameters."""
    user = quote(found.get("user", ""), safe="") + (":***" if "password" in found else "")
    places = [
        (f"[{host}]" if is_ipv6(host) else quote(host, safe="")) + (f":{number}" if number else "") for host, number in hosts
    ]
    return f"postgresql://{user}{'@' * bool(user)}{','.join(places)}/{quote(found.get('dbname', ''), safe='')}"

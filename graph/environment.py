"""Settings are read from the environment, once.

What goes in: environment variables. `DATABASE_URL` and `CURRENCY` by these names, every other field as
`ORDERGRAPH_<FIELD>` in capitals (`ORDERGRAPH_MAX_PAGE_SIZE=200`), lists with commas. What comes out: one frozen `Settings`.
What is refused here: a value that is not of the field's type or range, values that contradict each other, a variable that looks
like a setting and is none. Each raises `SettingsError`, which names the variable.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import fields
from difflib import get_close_matches
from functools import cache
from ipaddress import ip_network

from graph.currencies import CURRENCY_EXPONENTS
from graph.settings import Settings, SettingsError, variable

BOOLEANS = {
    **dict.fromkeys(("1", "true", "t", "yes", "y", "on"), True),
    **dict.fromkeys(("0", "false", "f", "no", "n", "off"), False),
}
#: The largest number that every place takes where a setting goes; the shortest time that is not no limit to PostgreSQL, which
#: counts milliseconds, and the longest it takes.
MAX_INTEGER = 2**31 - 1
SHORTEST_SECONDS, LONGEST_SECONDS = 0.001, MAX_INTEGER // 1000

#: Settings of which the first may not be above the second: it would never be reached, or never be kept.
NOT_ABOVE = (
    ("default_page_size", "max_page_size"),
    ("nested_page_size", "max_page_size"),
    ("max_page_size", "max_cost"),
    ("max_input_list", "max_nested_rows"),
    ("max_text_length", "max_body_bytes"),
    ("max_url_bytes", "max_head_bytes"),
    ("max_body_bytes", "max_answer_bytes"),
    ("lock_timeout_seconds", "statement_timeout_seconds"),
    ("statement_timeout_seconds", "request_timeout_seconds"),
    ("pool_timeout_seconds", "request_timeout_seconds"),
    ("request_timeout_seconds", "idempotency_seconds"),
)

#: What shows the schema, or lets people play with it: off in production, unless it is set itself.
SHOWING = ("introspection", "suggestions", "playground", "explain")

#: What says how tokens are known. Empty, it would let in whom it was to keep out.
OF_TOKENS = ("jwt_secret", "jwks_file", "jwt_audience", "jwt_issuer")
#: Bytes of a secret that nobody tries out.
SHORTEST_SECRET = 32
#: What lets a shared cache give what it was answered for one to another (RFC 9111, section 3.5).
SHARED = re.compile(r"\b(?:public|s-maxage)\b")
#: So does this one where no other directive keeps shared caches from it.
REVALIDATED, NOT_SHARED = re.compile(r"\bmust-revalidate\b"), re.compile(r"\b(?:private|no-store)\b")

#: Directives of `Cache-Control` (RFC 9111).
CACHE_CONTROL = re.compile(r"[a-z-]+(?:=[0-9]+)?(?:, *[a-z-]+(?:=[0-9]+)?)*")

#: An origin as browsers send it, and a name that `Host` may have.
ORIGIN = re.compile(r"[a-z][a-z0-9+.-]*://(?:[a-z0-9._-]+|\[[0-9a-f:.]+\])(?::[1-9][0-9]{0,4})?")
DEFAULT_PORT = re.compile(r"https://.*:443|http://.*:80")
HOST = re.compile(r"(?:\*\.)?[A-Za-z0-9_-]+(?:\.[A-Za-z0-9_-]+)*|[0-9a-f:.]*:[0-9a-f:.]*")
#: Settings that are one of a few words.
WORDS = {"log_format": ("text", "json"), "shop_from": ("header", "host", "claim")}
#: A header of an operator's own.
OWN_HEADER = re.compile(r"X-[A-Za-z0-9-]{1,60}", re.IGNORECASE)

#: What Kubernetes and Docker tell every container of a service called "ordergraph", or of one whose name begins so.
SERVICE_LINK = re.compile(r"ORDERGRAPH(_\w+)?_(SERVICE_(HOST|PORT(_\w+)?)|PORT_\d+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?)")
SERVICE_ADDRESS = re.compile(r"(tcp|udp|sctp)://.*")


def parse(name: str, text: str, default: object) -> object:
    """The value of a variable in the type of its field."""
    text = text.strip()
    if isinstance(default, str):
        return text
    if isinstance(default, tuple):
        return tuple(part.strip() for part in text.split(",") if part.strip())
    if isinstance(default, bool):
        found: object = BOOLEANS.get(text.lower())
        wanted = "true or false"
    elif isinstance(default, int):
        found = int(text) if re.fullmatch(r"[0-9]{1,10}", text) and 0 < int(text) <= MAX_INTEGER else None
        wanted = f"a whole number from 1 to {MAX_INTEGER}"
    else:
        seconds = float(text) if re.fullmatch(r"[0-9]*[.]?[0-9]+", text) else 0.0
        found = seconds if SHORTEST_SECONDS <= seconds <= LONGEST_SECONDS else None
        wanted = f"a number of seconds from {SHORTEST_SECONDS} to {LONGEST_SECONDS}"
    if found is None:
        raise SettingsError(f"{variable(name)} must be {wanted}, not {text[:40]!r}")
    return found


def from_environment(environment: Mapping[str, str]) -> Settings:
    """The settings that an environment describes. Raises `SettingsError`."""
    check_names(environment)
    found = {
        f.name: parse(f.name, environment[variable(f.name)], f.default)
        for f in fields(Settings)
        if variable(f.name) in environment
    }
    for name in OF_TOKENS:
        if found.get(name) == "":
            raise SettingsError(f"{variable(name)} is empty; give it a value or remove it")
    if found.get("production"):
        found = {**dict.fromkeys(SHOWING, False), **found}
    if found.get("auth"):
        found.setdefault("audit_log", True)
    if found.get("introspection") is False:
        found.setdefault("suggestions", False)
    settings = Settings(**found)  # type: ignore[arg-type]  # parse() checks each against its default's type
    check(settings)
    return settings


def check_names(environment: Mapping[str, str]) -> None:
    """Refuse a variable that looks like a setting and is none: a slip leaves a default in force, unseen."""
    known = {variable(f.name) for f in fields(Settings)}
    for name in sorted(environment):
        if not name.upper().startswith("ORDERGRAPH_") or name in known:
            continue
        if SERVICE_LINK.fullmatch(name) or (name.endswith("_PORT") and SERVICE_ADDRESS.fullmatch(environment[name])):
            continue
        # The prefix they share would make all of them near.
        near = get_close_matches(
            name.upper().removeprefix("ORDERGRAPH_"), sorted(k.removeprefix("ORDERGRAPH_") for k in known), 1
        )
        nearest = {k.removeprefix("ORDERGRAPH_"): k for k in known}.get(near[0]) if near else None
        raise SettingsError(f"{name} is no setting of this version; " + (f"did you mean {nearest}?" if nearest else "remove it"))


def check(settings: Settings) -> None:
    """Refuse values that are no values of their kind, and those that contradict each other."""
    if settings.currency not in CURRENCY_EXPONENTS:
        raise SettingsError(f"CURRENCY must be an ISO 4217 code such as EUR, not {settings.currency[:40]!r}")
    if not CACHE_CONTROL.fullmatch(settings.cache_control):
        raise SettingsError(f"{variable('cache_control')} must be directives such as 'public, max-age=60'")
    check_browsers(settings)
    check_access(settings)
    check_shops(settings)
    for name, words in WORDS.items():
        if getattr(settings, name) not in words:
            raise SettingsError(f"{variable(name)} must be {' or '.join(words)}, not {getattr(settings, name)[:40]!r}")
    for low, high in NOT_ABOVE:
        if getattr(settings, low) > getattr(settings, high):
            raise SettingsError(
                f"{variable(low)} ({getattr(settings, low)}) may not be above {variable(high)} ({getattr(settings, high)})"
            )


def check_browsers(settings: Settings) -> None:
    """Refuse origins, hosts and addresses that would match nothing, or would let anybody in who has the visitor's cookies."""
    for origin in settings.cors_origins:
        if origin != "*" and (not ORIGIN.fullmatch(origin) or DEFAULT_PORT.fullmatch(origin)):
            raise SettingsError(
                f"{variable('cors_origins')}: {origin[:60]!r} is no origin as browsers send it, such as https://shop.example: "
                "in small letters, without a path and without the scheme's own port"
            )
    if "*" in settings.cors_origins and settings.cors_credentials:
        raise SettingsError(f"{variable('cors_credentials')} needs origins by name in {variable('cors_origins')}, not *")
    for host in settings.hosts:
        if not HOST.fullmatch(host):
            raise SettingsError(f"{variable('hosts')}: {host[:60]!r} is no name such as api.example or *.example, without a port")
    for address in settings.trusted_proxies:
        try:
            ip_network(address)
        except ValueError:
            raise SettingsError(f"{variable('trusted_proxies')}: {address[:60]!r} is no address or network") from None


def check_access(settings: Settings) -> None:
    """Refuse what would let people in whom an operator thinks kept out."""
    given = [name for name in OF_TOKENS if getattr(settings, name)]
    if given and not settings.auth:
        raise SettingsError(f"{variable(given[0])} is set, but not {variable('auth')}=on: nobody would be asked who he is")
    if settings.jwt_secret and settings.jwks_file:
        raise SettingsError(f"{variable('jwt_secret')} and {variable('jwks_file')} are both set; tokens are signed in one way")
    if given and not (settings.jwt_secret or settings.jwks_file):
        raise SettingsError(f"{variable(given[0])} needs {variable('jwt_secret')} or {variable('jwks_file')}")
    if settings.jwt_secret and len(settings.jwt_secret.encode()) < SHORTEST_SECRET:
        raise SettingsError(f"{variable('jwt_secret')} must have {SHORTEST_SECRET} bytes or more")
    if settings.auth and lets_share(settings.cache_control):
        raise SettingsError(
            f"{variable('cache_control')} lets shared caches keep answers, which with {variable('auth')}=on are not for everybody"
        )


def check_shops(settings: Settings) -> None:
    """Refuse what says which shop a request is for where nothing would read it."""
    defaults = Settings()
    if not settings.shops:
        for name in ("shop_from", "shop_header", "shop_roles"):
            if getattr(settings, name) != getattr(defaults, name):
                raise SettingsError(f"{variable(name)} is set, but not {variable('shops')}=on: there is one shop")
    if settings.shop_from == "claim" and not settings.auth:
        raise SettingsError(f"{variable('shop_from')}=claim needs {variable('auth')}=on: nobody would look at tokens")
    if settings.shop_from == "claim" and not (settings.jwt_secret or settings.jwks_file):
        raise SettingsError(
            f"{variable('shop_from')}=claim needs tokens, by {variable('jwt_secret')} or {variable('jwks_file')}: "
            "an API key names no shop"
        )
    if settings.shop_header != defaults.shop_header and settings.shop_from != "header":
        raise SettingsError(f"{variable('shop_header')} is set, but {variable('shop_from')} is {settings.shop_from}")
    if not OWN_HEADER.fullmatch(settings.shop_header):
        raise SettingsError(
            f"{variable('shop_header')} must be a header's name that begins with X-, not {settings.shop_header[:40]!r}"
        )


def lets_share(cache_control: str) -> bool:
    """Whether a shared cache may keep answers to requests that say who asks."""
    if SHARED.search(cache_control):
        return True
    return bool(REVALIDATED.search(cache_control)) and not NOT_SHARED.search(cache_control)


@cache
def current() -> Settings:
    """The settings of this process, read from its environment the first time."""
    return from_environment(os.environ)

"""The kinds of databases there are, by name: nobody else asks which one it is.

What goes in: a URL's text, settings, SQLAlchemy's `Dialect`. What comes out: the module of that kind, and what the kind can do.
What is refused here: a URL that is none, `DatabaseUrlError`; settings that mean another kind, `SettingsError`.

Another kind is a module as `graph.database.protocol.Backend` says, and a line here.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import wraps
from typing import TypeVar

import sqlalchemy as sa

from graph.database import postgres, sqlite
from graph.database.places import names_shops
from graph.database.protocol import Backend, Capabilities, DatabaseUrl
from graph.database.shop_names import role_of_shop
from graph.settings import DatabaseUrlError, Settings, SettingsError, variable

T = TypeVar("T")

#: By the name of their SQLAlchemy dialect.
BACKENDS: Mapping[str, Backend] = {"postgresql": postgres, "sqlite": sqlite}
SCHEMES = {scheme: backend for backend in BACKENDS.values() for scheme in backend.SCHEMES}

FORMS = "it must be sqlite:///FILE or postgresql://USER@HOST/DATABASE"


def backend_of(target: DatabaseUrl) -> Backend:
    """The module of a database."""
    return BACKENDS[target.url.get_backend_name()]


def capabilities(dialect: sa.Dialect) -> Capabilities:
    """What the databases of a dialect can do."""
    backend = BACKENDS[dialect.name]
    return backend.OF_SHOPS if names_shops(dialect) else backend.CAPABILITIES


def once_a_kind(make: Callable[[sa.Dialect], T]) -> Callable[[sa.Dialect], T]:
    """A function of a dialect that is called once for each kind of database: what it makes serves all dialects of that kind."""
    made: dict[Capabilities, T] = {}

    @wraps(make)
    def kept(dialect: sa.Dialect) -> T:
        kind = capabilities(dialect)
        if kind not in made:
            made[kind] = make(dialect)
        return made[kind]

    return kept


def database_url(text: str) -> DatabaseUrl:
    """What `DATABASE_URL` says. Raises `DatabaseUrlError`."""
    text = text.strip()
    scheme, separator, rest = text.partition("://")
    name = scheme.lower().partition("+")[0]
    if text[:1] in {"'", '"'}:
        raise DatabaseUrlError(f"it stands in quotes; {FORMS}")
    if not separator or not re.fullmatch(r"[A-Za-z][A-Za-z0-9+.]*", scheme):
        raise DatabaseUrlError(FORMS)
    if any(ord(character) < 0x20 or 0x7F <= ord(character) < 0xA0 or 0xD800 <= ord(character) < 0xE000 for character in text):
        raise DatabaseUrlError("it holds a control character, or a byte that is no UTF-8")
    if name not in SCHEMES:
        raise DatabaseUrlError(f"{FORMS}, not {name}")
    return SCHEMES[name].understood(text, rest)


def configured(settings: Settings, shop: str | None = None) -> DatabaseUrl:
    """The database that the settings name. Where they say that it has shops, that of a shop, or of the list of them.

    Raises `SettingsError`.
    """
    target = database_url(settings.database_url)
    backend = backend_of(target)
    backend.check(settings)
    configured_replicas(settings)
    target = replace(target, pooled=settings.pgbouncer)
    if settings.shops:
        found = backend.of_shop(target, shop)
        return replace(found, role=role_of_shop(shop)) if settings.shop_roles and shop is not None else found
    if shop is not None:
        raise SettingsError(f"{variable('shops')} is not on: the one shop has no name")
    return target


def configured_replicas(settings: Settings) -> list[DatabaseUrl]:
    """The replicas that the settings name. Raises `SettingsError`."""
    name, backend = variable("replica_urls"), backend_of(database_url(settings.database_url))
    found: list[DatabaseUrl] = []
    for text in whole_urls(settings.replica_urls):
        try:
            target = database_url(text)
        except DatabaseUrlError as error:
            raise DatabaseUrlError(error.reason, name) from None
        if backend_of(target) is not backend:
            raise DatabaseUrlError("a replica must be of the same kind as DATABASE_URL", name)
        found.append(replace(target, pooled=settings.pgbouncer, replica=True))
    return found


def whole_urls(parts: Sequence[str]) -> list[str]:
    """URLs whose list was split at its commas: those between the hosts of one URL join it again."""
    found: list[str] = []
    for part in parts:
        if found and "://" not in part:
            found[-1] += f",{part}"
        else:
            found.append(part)
    return found

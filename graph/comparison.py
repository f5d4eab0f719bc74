"""What clients notice between two schemas.

What goes in: a schema, as the code gives it, and the name of another: a file or a URL. What comes out: the changes, each with its
weight. What may be refused here: `NoSchema` for a file that cannot be read, a server that does not answer, a text that is no
schema; one sentence.
"""

from __future__ import annotations

import json
import ssl
from collections.abc import Iterator
from dataclasses import dataclass
from enum import IntEnum
from http.client import HTTPException
from pathlib import Path
from typing import Any
from urllib import request
from urllib.error import HTTPError, URLError
from urllib.parse import urlsplit

from graphql import (
    GraphQLEnumType,
    GraphQLError,
    GraphQLInputObjectType,
    GraphQLInterfaceType,
    GraphQLObjectType,
    GraphQLSchema,
    build_client_schema,
    build_schema,
    get_introspection_query,
    lexicographic_sort_schema,
    print_schema,
    specified_directives,
)
from graphql.utilities import BreakingChange, DangerousChange, find_schema_changes

#: How long a server may take, and how much it may answer.
TIMEOUT_SECONDS = 20
MAX_BYTES = 64 * 2**20


class NoSchema(Exception):
    """There is no schema to compare with; the message says why in one sentence."""


class Weight(IntEnum):
    """How much a change matters to clients."""

    SAFE = 0
    DEPRECATED = 1
    DANGEROUS = 2
    BREAKING = 3


@dataclass(frozen=True, slots=True)
class SchemaChange:
    weight: Weight
    description: str

    def __str__(self) -> str:
        return f"{self.weight.name}: {self.description}"


def is_url(place: str) -> bool:
    return "://" in place


def shown(place: str) -> str:
    """A place without what may be secret in it."""
    return urlsplit(place)._replace(query="", fragment="").geturl() if is_url(place) else place


def read(place: str) -> str:
    """The text of a schema: SDL, or the JSON of an introspection. Raises `NoSchema`."""
    try:
        return fetch(place) if is_url(place) else Path(place).read_text(encoding="utf-8-sig")
    except HTTPError as error:
        error.close()
        raise NoSchema(f"{shown(place)} answers {error.code}") from None
    except URLError as error:
        raise NoSchema(f"{shown(place)} does not answer: {getattr(error.reason, 'strerror', None) or error.reason}") from None
    except UnicodeDecodeError:
        raise NoSchema(f"{shown(place)} is no schema: it is no UTF-8") from None
    except (HTTPException, ssl.SSLError, TimeoutError, ConnectionError) as error:
        raise NoSchema(f"{shown(place)} does not answer: {str(error) or type(error).__name__}") from None
    except OSError as error:
        raise NoSchema(f"{shown(place)} cannot be read: {error.strerror}") from None


def fetch(url: str) -> str:
    """What a server says at a URL: its text where that is named as a file, its introspection at every other."""
    try:
        parts = urlsplit(url)
        usable = parts.scheme in ("http", "https") and parts.hostname and not parts.username and (parts.port or 1)
    except ValueError:
        usable = False
    if not usable or not url.isascii() or any(character <= " " for character in url):
        raise NoSchema("the URL of a schema must be http://HOST/PATH or https://HOST/PATH, without user and password")
    asked = request.Request(  # noqa: S310  # its scheme was looked at
        url, headers={"accept": "application/graphql-response+json, application/json;q=0.9, text/plain;q=0.8"}
    )
    if not parts.path.endswith((".graphql", ".graphqls", ".json")):
        query = get_introspection_query(
            specified_by_url=True,
            directive_is_repeatable=True,
            schema_description=True,
            input_value_deprecation=True,
            one_of=True,
        )
        asked.data = json.dumps({"query": query}).encode()
        asked.add_header("content-type", "application/json")
    with opener().open(asked, timeout=TIMEOUT_SECONDS) as answer:
        body: bytes = answer.read(MAX_BYTES + 1)
    if len(body) > MAX_BYTES:
        raise NoSchema(f"{shown(url)} answers more than {MAX_BYTES} bytes")
    return body.decode("utf-8-sig")


def opener() -> request.OpenerDirector:
    """HTTP and HTTPS only: a redirection leads to no file and no FTP server."""
    made = request.OpenerDirector()
    for handler in (
        request.ProxyHandler,
        request.HTTPHandler,
        request.HTTPSHandler,
        request.HTTPRedirectHandler,
        request.HTTPDefaultErrorHandler,
        request.HTTPErrorProcessor,
        request.UnknownHandler,
    ):
        made.add_handler(handler())
    return made


def understood(text: str, place: str) -> GraphQLSchema:
    """The schema that a text describes. Raises `NoSchema`."""
    try:
        if text.lstrip().startswith("{"):
            answer = json.loads(text)
            data = answer.get("data") or answer
            if "__schema" not in data:
                told = answer.get("errors") or [{}]
                raise NoSchema(f"{shown(place)} does not tell its schema: {first_line(told[0].get('message', 'no __schema'))}")
            found = build_client_schema(data)
        else:
            found = build_schema(text)
        if found.query_type is None:
            raise NoSchema(f"{shown(place)} is no schema: it has no Query")
        return plain(found)
    except GraphQLError as error:
        where = f" (line {error.locations[0].line}, column {error.locations[0].column})" if error.locations else ""
        raise NoSchema(f"{shown(place)} is no schema: {first_line(error.message)}{where}") from None
    except RecursionError:
        raise NoSchema(f"{shown(place)} is no schema: it is nested too deeply") from None
    except (TypeError, ValueError, AttributeError, KeyError, IndexError) as error:
        raise NoSchema(f"{shown(place)} is no schema: {first_line(str(error))}") from None


def plain(schema: GraphQLSchema) -> GraphQLSchema:
    """A schema with the specification's own directives in one form, whichever library described them."""
    own = {directive.name: directive for directive in specified_directives}
    kept = schema.to_kwargs()
    kept["directives"] = tuple(own.get(directive.name, directive) for directive in schema.directives)
    return GraphQLSchema(**kept)


def first_line(text: object) -> str:
    return (str(text).strip() or "it is empty").splitlines()[0][:200]


def changes(before: GraphQLSchema, after: GraphQLSchema) -> list[SchemaChange]:
    """Every change, those that break clients first; descriptions and order are one."""
    weights = {BreakingChange: Weight.BREAKING, DangerousChange: Weight.DANGEROUS}
    seen = find_schema_changes(before, after)
    found = [SchemaChange(weights.get(type(change), Weight.SAFE), change.description) for change in seen]
    was, now = dict(deprecations(before)), dict(deprecations(after))
    for name, reason in now.items():
        if was.get(name) != reason:
            found.append(SchemaChange(Weight.DEPRECATED, f"{name}: {first_line(reason)}"))
    still = {name for name, _ in members(after)}
    found += [SchemaChange(Weight.SAFE, f"{name} is no longer deprecated.") for name in was.keys() - now.keys() if name in still]
    if not found and print_schema(lexicographic_sort_schema(before)) != print_schema(lexicographic_sort_schema(after)):
        found.append(SchemaChange(Weight.SAFE, "descriptions only"))
    return sorted(found, key=lambda change: (-change.weight, change.description))


def members(schema: GraphQLSchema) -> Iterator[tuple[str, Any]]:
    """Everything that may be deprecated, by its coordinate (`Type.field`, `Type.field(argument:)`)."""
    for name, type_ in schema.type_map.items():
        if name.startswith("__"):
            continue
        if isinstance(type_, GraphQLEnumType):
            yield from ((f"{name}.{key}", value) for key, value in type_.values.items())
        elif isinstance(type_, GraphQLInputObjectType):
            yield from ((f"{name}.{key}", field) for key, field in type_.fields.items())
        elif isinstance(type_, GraphQLObjectType | GraphQLInterfaceType):
            for key, field in type_.fields.items():
                yield f"{name}.{key}", field
                yield from ((f"{name}.{key}({argument}:)", value) for argument, value in field.args.items())
    for directive in schema.directives:
        yield from ((f"@{directive.name}({argument}:)", value) for argument, value in directive.args.items())


def deprecations(schema: GraphQLSchema) -> Iterator[tuple[str, str]]:
    return ((name, member.deprecation_reason) for name, member in members(schema) if member.deprecation_reason is not None)

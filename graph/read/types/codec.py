"""What is known of a scalar: the form of its record, and what several records share.

What goes in: column types, SQL expressions. What comes out: whether a scalar may show a type, the parts of a JSON text. What is
refused here: nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import strawberry
from graphql import ValueNode
from sqlalchemy.types import TypeDecorator, TypeEngine

from graph.read.types.encodings import JsonString, Part, TimeText

Shows = Callable[[TypeEngine[Any]], bool]
Encode = Callable[[Any], list[Part]]


def no_column(type_: TypeEngine[Any]) -> bool:
    return False


@dataclass(frozen=True, slots=True)
class Position:
    """What a cursor holds of a key that rows are sorted by, where the key's type is one that this `sorts`.

    `encode` writes a value as parts of JSON, `read` takes what JSON gives and raises `ValueError` or `GraphQLError` for what no
    row can hold. `type` is what the value is bound as, where a cursor may hold more than the column can: it is a position.
    """

    kind: str
    sorts: Shows
    encode: Encode
    read: Callable[[Any], Any]
    type: TypeEngine[Any] | None = None


@dataclass(frozen=True, slots=True)
class Scalar:
    """A scalar of the API.

    `python` is what annotations name. `shows` says which columns and derived attributes it may show, `derives` which derived
    attributes besides. `encode` writes a value as parts of JSON, None for a scalar of inputs alone; `encode_nullable` does where
    NULL would not come out as NULL. `operators` are those of its filter, on `what`; rows are sorted by `position`. `definition`
    is Strawberry's, for a scalar that GraphQL does not have.
    """

    name: str
    python: Any
    encode: Encode | None
    shows: Shows = no_column
    derives: Shows = no_column
    encode_nullable: Encode | None = None
    operators: Mapping[str, str] = field(default_factory=dict)
    what: str = ""
    position: Position | None = None
    definition: Any = None


def custom(
    name: str,
    description: str,
    parse: Callable[[Any], Any],
    show: Callable[[Any], str],
    *written: type[ValueNode],
    specified_by_url: str | None = None,
) -> Any:
    """A scalar that GraphQL does not have. In a document its values are literals of the kinds `written`, parsed by their text."""

    def parse_literal(node: ValueNode, variables: Any = None) -> Any:
        return parse(getattr(node, "value", None) if isinstance(node, written) else None)

    return strawberry.scalar(
        name=name,
        description=description,
        serialize=show,
        parse_value=parse,
        parse_literal=parse_literal,
        specified_by_url=specified_by_url,
    )


# ---- column types


def undecorated(type_: TypeEngine[Any]) -> TypeEngine[Any]:
    return type_.impl_instance if isinstance(type_, TypeDecorator) else type_


def one_of(*types: type[TypeEngine[Any]]) -> Shows:
    """Whether a column type is one of these."""
    return lambda type_: isinstance(type_, types)


# ---- encodings


def bare(value: Any) -> list[Part]:
    return [value]


def quoted(value: Any) -> list[Part]:
    """A text that needs no escape."""
    return ['"', value, '"']


def escaped(value: Any) -> list[Part]:
    return [JsonString(value)]


def moment(value: Any) -> list[Part]:
    return ['"', TimeText(value), 'Z"']

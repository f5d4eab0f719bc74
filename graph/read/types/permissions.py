"""What one may do, declared beside the fields: the scope that each root field needs, and what is not for bound viewers.

A bound viewer is one who belongs to a customer. Besides the rows that he may see (`graph.read.rows`) there are root fields that
are not for him, fields that are null for him, and input fields that he may not send.

What goes in: declarations, as metadata of Strawberry's fields. What comes out: what the engine and the planner ask of the schema,
and the sentences that tell people the same in descriptions. What is refused here: a root field that declares no scope raises
`PermissionsError` when the schema is put together.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from graphql import GraphQLField, GraphQLInputField, GraphQLInputObjectType, GraphQLObjectType, GraphQLSchema

from graph.scope import IMPLIED

#: In the metadata of a root field: the word of a scope that it needs, and whether it is not for bound viewers.
SCOPE, UNBOUND = "scope", "unbound"
#: In the metadata of an output field: that it is null for bound viewers, who cannot ask for rows by it either.
UNTOLD = "untold"
#: In the metadata of an input field: the names of the enum's values that bound viewers may send, if any.
SENDABLE = "sendable"

#: Metadata of fields that are null for bound viewers, and of input fields that they may not send.
NOT_TOLD: Mapping[Any, Any] = {UNTOLD: True}
NOT_SENT: Mapping[Any, Any] = {SENDABLE: frozenset()}
#: How bound viewers are called in descriptions and messages.
BOUND_VIEWERS = "viewers who belong to a customer"


class PermissionsError(TypeError):
    """A field of the schema does not say who may use it."""


def only_sent(*values: str) -> Mapping[Any, Any]:
    """Metadata of an input field of which bound viewers may send these values of its enum alone."""
    return {SENDABLE: frozenset(values)}


def root_use(scope: str, *, unbound: bool = False) -> Mapping[Any, Any]:
    """Metadata of a root field: the scope that it needs, and whether it is not for bound viewers.

    Raises `PermissionsError` for a word that is no scope.
    """
    if scope not in IMPLIED:
        raise PermissionsError(f"{scope!r} is no scope; there are {', '.join(IMPLIED)}")
    return {SCOPE: scope, UNBOUND: unbound}


def _declared(field: GraphQLField | GraphQLInputField) -> Mapping[Any, Any]:
    made_from = field.extensions.get("strawberry-definition")
    return {} if made_from is None else made_from.metadata


def scope_of(field: GraphQLField) -> str:
    """The scope that a root field needs; nothing where it declares none."""
    return str(_declared(field).get(SCOPE, ""))


def is_unbound(field: GraphQLField) -> bool:
    """Whether a root field is not for bound viewers."""
    return bool(_declared(field).get(UNBOUND))


def sendable(field: GraphQLInputField) -> frozenset[str] | None:
    """The values that bound viewers may send of an input field; None where that is all."""
    return _declared(field).get(SENDABLE)


def root_types(schema: GraphQLSchema) -> list[GraphQLObjectType]:
    """The types whose fields are the roots of operations."""
    return [type_ for type_ in (schema.query_type, schema.mutation_type, schema.subscription_type) if type_ is not None]


def check(schema: GraphQLSchema) -> None:
    """See that every root field says which scope it needs. Raises `PermissionsError`."""
    for type_ in root_types(schema):
        for name, field in type_.fields.items():
            if not scope_of(field):
                raise PermissionsError(f"{type_.name}.{name} must declare the scope that it needs: {', '.join(IMPLIED)}")


def describe(schema: GraphQLSchema) -> None:
    """Add to the descriptions of fields what they declare."""
    for type_ in schema.type_map.values():
        for field in type_.fields.values() if isinstance(type_, (GraphQLObjectType, GraphQLInputObjectType)) else ():
            field.description = " ".join([*filter(None, [field.description]), *sentences(field)]) or None


def sentences(field: GraphQLField | GraphQLInputField) -> Iterator[str]:
    """What people are told of a field's declarations."""
    declared = _declared(field)
    if SCOPE in declared:
        yield f"Needs the scope `{declared[SCOPE]}`."
    if declared.get(UNBOUND):
        yield f"Not for {BOUND_VIEWERS}."
    if UNTOLD in declared:
        yield f"Null for {BOUND_VIEWERS}."
    if SENDABLE in declared:
        values = ", ".join(f"`{value}`" for value in sorted(declared[SENDABLE]))
        yield f"{BOUND_VIEWERS.capitalize()} may send {values} alone." if values else f"Not to be sent by {BOUND_VIEWERS}."

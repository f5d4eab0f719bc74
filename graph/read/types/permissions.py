"""What one may do, declared beside the fields: the scope that each root field needs.

What goes in: declarations, kept as metadata of Strawberry's fields. What comes out: what the engine asks of the schema, and the
sentence that tells people the same in a field's description. What is refused here: a root field that declares no scope raises
`PermissionsError` when the schema is put together.
"""

from __future__ import annotations

from typing import Any

from graphql import GraphQLField, GraphQLObjectType, GraphQLSchema

from graph.scope import IMPLIED

#: In the metadata of a root field: the word of a scope that it needs.
SCOPE = "scope"


class PermissionsError(TypeError):
    """A field of the schema does not say who may use it."""


def root_field(scope: str, description: str) -> dict[str, Any]:
    """How a root field is declared that needs a scope, for Strawberry. Raises `PermissionsError` for a word that is none."""
    if scope not in IMPLIED:
        raise PermissionsError(f"{scope!r} is no scope; there are {', '.join(IMPLIED)}")
    return {"description": f"{description} Needs the scope `{scope}`.", "metadata": {SCOPE: scope}}


def scope_of(field: GraphQLField) -> str:
    """The scope that a root field needs; nothing for what every type and schema has."""
    declared = field.extensions.get("strawberry-definition")
    return "" if declared is None else str(declared.metadata.get(SCOPE, ""))


def root_types(schema: GraphQLSchema) -> list[GraphQLObjectType]:
    """The types whose fields are the roots of operations."""
    return [type_ for type_ in (schema.query_type, schema.mutation_type, schema.subscription_type) if type_ is not None]


def check(schema: GraphQLSchema) -> None:
    """See that every root field says which scope it needs. Raises `PermissionsError`."""
    for type_ in root_types(schema):
        for name, field in type_.fields.items():
            if not scope_of(field):
                raise PermissionsError(f"{type_.name}.{name} must declare the scope that it needs: {', '.join(IMPLIED)}")

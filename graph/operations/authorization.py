"""What an operation needs of whoever asks, and whether he has it: judged before anything of it is planned or run.

What goes in: an operation with its variables, and a viewer. What comes out: nothing. What is refused here: an operation with a
root field whose scope the viewer does not have, as a whole, as FORBIDDEN at each such field.

All that a document can need is known once it is kept. Only where that is more than a viewer has, it is looked at again, with what
`@skip` and `@include` say in this request.
"""

from __future__ import annotations

from collections.abc import Mapping

from graphql import (
    FieldNode,
    FragmentSpreadNode,
    GraphQLError,
    GraphQLObjectType,
    GraphQLSchema,
    InlineFragmentNode,
    OperationDefinitionNode,
    SelectionSetNode,
)
from graphql.execution.collect_fields import FragmentDetails, collect_fields

from graph.operations.request_errors import RequestRefused
from graph.read.planning.selection import PlanningContext
from graph.read.types.permissions import scope_of
from graph.scope import IMPLIED, Viewer


def asked_for(
    schema: GraphQLSchema, operation: OperationDefinitionNode, fragments: Mapping[str, FragmentDetails]
) -> frozenset[str]:
    """The scopes that the root fields of an operation need, whatever its directives leave out."""
    root = root_of(schema, operation)
    found: set[str] = set()
    spread: set[str] = set()

    def look(selections: SelectionSetNode) -> None:
        for selection in selections.selections:
            if isinstance(selection, FieldNode):
                if selection.name.value in root.fields:
                    found.add(scope_of(root.fields[selection.name.value]))
            elif isinstance(selection, InlineFragmentNode):
                look(selection.selection_set)
            elif isinstance(selection, FragmentSpreadNode) and selection.name.value not in spread:
                spread.add(selection.name.value)
                look(fragments[selection.name.value].definition.selection_set)

    look(operation.selection_set)
    return frozenset(found)


def root_of(schema: GraphQLSchema, operation: OperationDefinitionNode) -> GraphQLObjectType:
    """The type whose fields an operation selects."""
    root = schema.get_root_type(operation.operation)
    assert root is not None, "validation has seen to it"
    return root


def permit(operation: PlanningContext, scopes: frozenset[str], viewer: Viewer) -> None:
    """See that a viewer has what an operation needs, of which `scopes` is the most. Raises `RequestRefused`."""
    if scopes <= viewer.scopes:
        return
    schema, node = operation.schema, operation.node
    root = root_of(schema, node)
    collected = collect_fields(schema, dict(operation.fragments), operation.variables, root, node)
    found: list[GraphQLError] = []
    for key, details in collected.grouped_field_set.items():
        field = root.fields.get(details[0].node.name.value)
        needed = "" if field is None else scope_of(field)
        if needed and needed not in viewer.scopes:
            found.append(forbidden(key, f"{root.name}.{details[0].node.name.value}", needed, viewer))
    if found:
        raise RequestRefused(found, 403)


def forbidden(key: str, name: str, scope: str, viewer: Viewer) -> GraphQLError:
    """A root field that needs a scope which a viewer does not have."""
    held = " and ".join(word for word in IMPLIED if word in viewer.scopes) or "none"
    message = f"{name} needs the scope {scope}; what you have is {held}."
    return GraphQLError(message, path=[key], extensions={"code": "FORBIDDEN", "scope": scope})

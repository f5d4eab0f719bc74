"""What an operation needs of whoever asks, and whether he has it: judged before anything of it is planned or run.

What goes in: an operation with its variables, and a viewer. What comes out: nothing. What is refused here, as FORBIDDEN: an
operation with a root field that the viewer may not use, as a whole and at each such field; inputs of mutations that bound viewers
may not send, at each place. Filters and orders of reads are refused where they are planned (`graph.read.planning.selection`).

All that a document can need is known once it is kept. Only where that is more than a viewer has, it is looked at again, with what
`@skip` and `@include` say in this request.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from itertools import islice

from graphql import (
    FieldNode,
    FragmentSpreadNode,
    GraphQLError,
    GraphQLField,
    GraphQLObjectType,
    GraphQLSchema,
    InlineFragmentNode,
    OperationDefinitionNode,
    SelectionSetNode,
)
from graphql.execution.collect_fields import FragmentDetails, collect_fields

from graph.operations.request_errors import RequestRefused
from graph.read.payloads.running import RunningMutation
from graph.read.planning.planning_context import PlanningContext
from graph.read.planning.unsendable import MESSAGE, unsendable
from graph.read.refusals import MAX_ERRORS, Forbidden
from graph.read.types.permissions import is_unbound, scope_of
from graph.scope import IMPLIED, Viewer


@dataclass(frozen=True, slots=True)
class Needs:
    """What the root `fields` of an operation need: scopes, and whether the viewer must not be bound to a customer."""

    fields: tuple[str, ...]
    scopes: frozenset[str]
    unbound: bool

    def met_by(self, viewer: Viewer) -> bool:
        """Whether a viewer may use them."""
        return self.scopes <= viewer.scopes and (viewer.customer is None or not self.unbound)


def needs_of(schema: GraphQLSchema, operation: OperationDefinitionNode, fragments: Mapping[str, FragmentDetails]) -> Needs:
    """What the root fields of an operation need, whatever its directives leave out."""
    root = root_of(schema, operation)
    found: dict[str, GraphQLField] = {}
    spread: set[str] = set()

    def look(selections: SelectionSetNode) -> None:
        for selection in selections.selections:
            if isinstance(selection, FieldNode):
                if selection.name.value in root.fields:
                    found[selection.name.value] = root.fields[selection.name.value]
            elif isinstance(selection, InlineFragmentNode):
                look(selection.selection_set)
            elif isinstance(selection, FragmentSpreadNode) and selection.name.value not in spread:
                spread.add(selection.name.value)
                look(fragments[selection.name.value].definition.selection_set)

    look(operation.selection_set)
    return Needs(tuple(found), frozenset(map(scope_of, found.values())), any(map(is_unbound, found.values())))


def root_of(schema: GraphQLSchema, operation: OperationDefinitionNode) -> GraphQLObjectType:
    """The type whose fields an operation selects."""
    root = schema.get_root_type(operation.operation)
    assert root is not None, "validation has seen to it"
    return root


def permit(operation: PlanningContext, viewer: Viewer) -> None:
    """See that a viewer has what an operation needs with its variables. Raises `RequestRefused`."""
    root = root_of(operation.schema, operation.node)
    collected = collect_fields(operation.schema, dict(operation.fragments), operation.variables, root, operation.node)
    found: list[GraphQLError] = []
    for key, details in collected.grouped_field_set.items():
        name = details[0].node.name.value
        if name not in root.fields:
            continue  # introspection is everybody's
        field, place = root.fields[name], f"{root.name}.{name}"
        if scope_of(field) not in viewer.scopes:
            found.append(lacking(key, place, scope_of(field), viewer))
        elif is_unbound(field) and viewer.customer is not None:
            found.append(GraphQLError(MESSAGE.format(place), path=[key], extensions={"code": Forbidden.code}))
    if found:
        lacked = {str(error.extensions["scope"]) for error in found if error.extensions and "scope" in error.extensions}
        raise RequestRefused(found, 403, insufficient(lacked) if lacked else ())


def insufficient(scopes: Collection[str]) -> tuple[tuple[bytes, bytes]]:
    """The header that names scopes which a viewer would need and does not have (RFC 6750, section 3.1)."""
    words = " ".join(word for word in IMPLIED if word in scopes)
    return ((b"www-authenticate", f'Bearer error="insufficient_scope", scope="{words}"'.encode()),)


def lacking(key: str, place: str, scope: str, viewer: Viewer) -> GraphQLError:
    """A root field needs a scope that a viewer does not have."""
    held = " and ".join(word for word in IMPLIED if word in viewer.scopes) or "none"
    message = f"{place} needs the scope {scope}; what you have is {held}."
    return GraphQLError(message, path=[key], extensions={"code": Forbidden.code, "scope": scope})


def permit_inputs(running: RunningMutation) -> None:
    """See that the inputs of a mutation hold nothing that bound viewers may not send. Raises `RequestRefused`."""
    found: list[GraphQLError] = []
    for key, field in running.fields.items():
        for name, argument in field.definition.args.items():
            for path in islice(unsendable(argument.type, field.arguments.get(name), (name,)), MAX_ERRORS):
                error = Forbidden(MESSAGE.format(".".join(path)), path)
                error.path = [key]
                found.append(error)
    if found:
        raise RequestRefused(found[:MAX_ERRORS], 403)

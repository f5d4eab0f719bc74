"""Limits on a document's shape, each found in one pass: depth, aliases, root fields, directives.

What goes in: a parsed document, before validation. What comes out: nothing. What is refused here: a document over a limit,
or with fragments that spread themselves, raises `GraphQLError`. Every definition is measured once, so a graph of fragments
costs no more than its text, whatever it would expand to.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from graphql import (
    DocumentNode,
    FieldNode,
    FragmentDefinitionNode,
    FragmentSpreadNode,
    GraphQLError,
    InlineFragmentNode,
    OperationDefinitionNode,
    SelectionSetNode,
)

from graph.settings import Settings

#: No sum grows past this: enough to be over every limit.
FAR = 10**9
#: How often one response key may stand in one selection.
MAX_REPEATED = 50
#: How often an operation may ask for the whole schema: tools do it once, and it is more work than anything else.
MAX_SCHEMAS = 2


@dataclass(frozen=True, slots=True)
class Size:
    """What a selection set expands to."""

    depth: int = 0
    aliases: int = 0
    fields: int = 0
    directives: int = 0
    schemas: int = 0


def check(document: DocumentNode, settings: Settings) -> None:
    """Refuse a document that is over a limit. Raises `GraphQLError`."""
    fragments = {d.name.value: d for d in document.definitions if isinstance(d, FragmentDefinitionNode)}
    measured: dict[str, Size | None] = {}
    for definition in document.definitions:
        if isinstance(definition, OperationDefinitionNode):
            size = _measure(definition.selection_set, fragments, measured)
            size_directives = size.directives + len(definition.directives or ())
            _hold("depth", size.depth, settings.max_depth, definition)
            _hold("number of aliases", size.aliases, settings.max_aliases, definition)
            _hold("number of root fields", size.fields, settings.max_root_fields, definition)
            _hold("number of __schema fields", size.schemas, MAX_SCHEMAS, definition)
            _hold("number of directives", size_directives, settings.max_directives, definition)
    repeated: dict[str, Counter[str]] = {}
    for definition in document.definitions:
        if isinstance(definition, (OperationDefinitionNode, FragmentDefinitionNode)):
            _names(definition.selection_set, fragments, repeated)


def _hold(what: str, found: int, limit: int, node: OperationDefinitionNode) -> None:
    if found > limit:
        shown = found if found < FAR else "far more"
        raise GraphQLError(
            f"The {what} of the operation is {shown}; at most {limit} is allowed.",
            node,
            extensions={"code": "OPERATION_TOO_LARGE", "limit": limit, "value": found if found < FAR else None},
        )


def _names(set_: SelectionSetNode, fragments: dict[str, FragmentDefinitionNode], known: dict[str, Counter[str]]) -> Counter[str]:
    """How often each response key stands in one selection, fragments included.

    Validation compares every two fields of one key, and then what is below them: a few may be repeated, hundreds may not.
    """
    found: Counter[str] = Counter()
    for selection in set_.selections:
        if isinstance(selection, FieldNode):
            found[(selection.alias or selection.name).value] += 1
            if selection.selection_set:
                _names(selection.selection_set, fragments, known)
        elif isinstance(selection, InlineFragmentNode):
            found.update(_names(selection.selection_set, fragments, known))
        elif isinstance(selection, FragmentSpreadNode) and selection.name.value in fragments:
            name = selection.name.value
            if name not in known:
                known[name] = Counter()
                known[name] = _names(fragments[name].selection_set, fragments, known)
            found.update(known[name])
    for key, count in found.items():
        if count > MAX_REPEATED:
            raise GraphQLError(
                f"{key!r} stands more than {MAX_REPEATED} times in one selection.",
                set_,
                extensions={"code": "OPERATION_TOO_LARGE", "limit": MAX_REPEATED, "value": count},
            )
    return found


def _measure(set_: SelectionSetNode, fragments: dict[str, FragmentDefinitionNode], measured: dict[str, Size | None]) -> Size:
    depth = aliases = fields = directives = schemas = 0
    for selection in set_.selections:
        directives += len(selection.directives or ())
        if isinstance(selection, FieldNode):
            fields += 1
            aliases += selection.alias is not None
            schemas += selection.name.value == "__schema"
            # The standard introspection query is 15 deep by itself and bounded by the schema.
            introspection = selection.name.value in ("__schema", "__type")
            inner = _measure(selection.selection_set, fragments, measured) if selection.selection_set else Size()
            depth = max(depth, 1 if introspection else inner.depth + 1)
            aliases += inner.aliases
            directives += inner.directives
            continue
        if isinstance(selection, InlineFragmentNode):
            inner = _measure(selection.selection_set, fragments, measured)
        elif isinstance(selection, FragmentSpreadNode):
            inner = _fragment(selection, fragments, measured)
        else:
            continue
        depth = max(depth, inner.depth)
        fields += inner.fields
        aliases += inner.aliases
        directives += inner.directives
        schemas += inner.schemas
    return Size(min(depth, FAR), min(aliases, FAR), min(fields, FAR), min(directives, FAR), min(schemas, FAR))


def _fragment(spread: FragmentSpreadNode, fragments: dict[str, FragmentDefinitionNode], measured: dict[str, Size | None]) -> Size:
    name = spread.name.value
    if name not in fragments:
        return Size()  # validation says so
    if name in measured:
        size = measured[name]
        if size is None:
            raise GraphQLError(
                f'Cannot spread fragment "{name}" within itself.', spread, extensions={"code": "GRAPHQL_VALIDATION_FAILED"}
            )
        return size
    measured[name] = None
    size = measured[name] = _measure(fragments[name].selection_set, fragments, measured)
    return size

"""Introspection fields of a query: graphql-core answers them, once for each document, and what it said is kept.

What goes in: a validated document, its coerced variables, the response keys of these fields. What comes out: JSON text by
response key, which the statement of the query carries through. What may be refused here: what `graph.operations.learning` does.
"""

from __future__ import annotations

import orjson
from graphql import (
    ExecutionResult,
    FieldNode,
    FragmentSpreadNode,
    GraphQLSchema,
    Node,
    OperationDefinitionNode,
    OperationType,
    SelectionSetNode,
    VariableNode,
    Visitor,
    visit,
)
from graphql.execution.collect_fields import collect_fields
from graphql.execution.values import VariableValues

from graph.operations.documents import Document
from graph.operations.learning import Learner
from graph.operations.recent import Recent
from graph.read.payloads.execution import PayloadExecutor

#: How many answers are kept, and how much text they may have together, in characters: only a new version changes them. Tools ask
#: for 200,000 characters at once.
MOST_KEPT, KEPT_CHARACTERS = 100, 4_000_000


class Introspection:
    """What a schema tells of itself."""

    def __init__(self, schema: GraphQLSchema, learner: Learner) -> None:
        self._schema = schema
        self._learner = learner
        self._kept: Recent[tuple[Document, tuple[str, ...], str], dict[str, str]] = Recent(MOST_KEPT, KEPT_CHARACTERS)

    async def told(self, document: Document, variables: VariableValues, keys: tuple[str, ...]) -> dict[str, str]:
        """JSON text by response key, for these of a query's. Raises `RequestRefused`."""
        asked = variables_in(document)  # the values of others are rows', and are nothing to be kept
        key = (document, keys, repr(sorted((name, value) for name, value in variables.coerced.items() if name in asked)))
        found = self._kept.get(key)
        if found is None:
            found = await self._learner.learn(
                key,
                lambda: self._executed(document, variables, keys),
                lambda made: self._kept.put(key, made, sum(map(len, made.values()))),
            )
        return found

    def _executed(self, document: Document, variables: VariableValues, keys: tuple[str, ...]) -> dict[str, str]:
        """What graphql-core answers to these fields alone."""
        assert self._schema.query_type is not None
        collected = collect_fields(self._schema, dict(document.fragments), variables, self._schema.query_type, document.operation)
        nodes: list[FieldNode] = [detail.node for key in keys for detail in collected.grouped_field_set[key]]
        operation = OperationDefinitionNode(
            operation=OperationType.QUERY,
            selection_set=SelectionSetNode(selections=tuple(nodes)),
            variable_definitions=document.operation.variable_definitions,
            directives=(),
            name=None,
        )
        result = PayloadExecutor.of(self._schema, document.fragments, operation, variables, None).execute_operation()
        assert isinstance(result, ExecutionResult)
        return {key: orjson.dumps((result.data or {}).get(key)).decode() for key in keys}


class Mentioned(Visitor):
    """What a part of a document refers to, and what of it asks a schema of itself."""

    def __init__(self) -> None:
        super().__init__()
        self.variables: set[str] = set()
        self.spreads: set[str] = set()
        self.asking: list[FieldNode] = []

    def enter_variable(self, node: VariableNode, *_: object) -> None:
        self.variables.add(node.name.value)

    def enter_fragment_spread(self, node: FragmentSpreadNode, *_: object) -> None:
        self.spreads.add(node.name.value)

    def enter_field(self, node: FieldNode, *_: object) -> None:
        if node.name.value in ("__schema", "__type"):
            self.asking.append(node)


def variables_in(document: Document) -> set[str]:
    """The names of the variables on which it depends what a schema tells of itself."""
    whole, found = Mentioned(), Mentioned()
    fragments = {name: details.definition for name, details in document.fragments.items()}
    for part in (document.operation, *fragments.values()):
        visit(part, whole)
    waiting: list[Node] = [*whole.asking]
    seen: set[str] = set()
    while waiting:
        visit(waiting.pop(), found)
        waiting += [fragments[name] for name in found.spreads - seen]
        seen |= found.spreads
    return found.variables

"""What the planner needs of a request, and what it finds there that whoever asks may not send.

What goes in: an operation, its coerced variables, the kind of viewer. What comes out: the arguments of its fields. What is
refused here: `Forbidden`, with every place of the plan that is not for the viewer.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

from graphql import FieldNode, GraphQLField, GraphQLSchema, OperationDefinitionNode
from graphql.execution.collect_fields import FragmentDetails
from graphql.execution.values import VariableValues

from graph.read.planning.arguments import read_arguments
from graph.read.planning.unsendable import MESSAGE, unsendable
from graph.read.refusals import MAX_ERRORS, Forbidden
from graph.scope import BOUND
from graph.settings import Settings


@dataclass(frozen=True, slots=True)
class PlanningContext:
    """The operation, its fragments and coerced variables, the kind of viewer who asks. What he may not send is `forbidden`."""

    schema: GraphQLSchema
    settings: Settings
    node: OperationDefinitionNode
    fragments: Mapping[str, FragmentDetails]
    variables: VariableValues
    kind: str
    forbidden: list[Forbidden] = field(default_factory=list, compare=False)

    def arguments(self, field: GraphQLField, node: FieldNode) -> dict[str, Any]:
        """The arguments of a field. What the viewer may not send of them is noted, and refused by `permitted`."""
        arguments = read_arguments(field, node, self.variables.coerced)
        for name, value in arguments.items() if self.kind == BOUND else ():
            for path in islice(unsendable(field.args[name].type, value, (name,)), MAX_ERRORS):
                self.forbidden.append(Forbidden(MESSAGE.format(".".join(path)), path))
        return arguments

    @contextmanager
    def permitted(self) -> Iterator[None]:
        """Plan in this block. Raises `Forbidden` at its end, whatever else is wrong, where the viewer may not send all of it."""
        self.forbidden.clear()
        try:
            yield
        finally:
            if self.forbidden:
                # What errors of several types show is planned for each.
                once = {(*(error.path or ()), error.message): error for error in self.forbidden}
                first, *beside = once.values()
                first.beside = beside[: MAX_ERRORS - 1]
                raise first

    @contextmanager
    def below(self, key: str) -> Iterator[None]:
        """Plan the field of this response key in this block: it is told with what is forbidden there."""
        known = len(self.forbidden)
        try:
            yield
        finally:
            for error in self.forbidden[known:]:
                error.path = [key]

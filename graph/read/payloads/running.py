"""The mutation that a request runs, known and judged before the first of its fields is executed.

What goes in: the planned fields of a mutation, the coerced variables of a request. What comes out: `Running`, with one
`RootField` for each field: what resolvers, the unit of work and idempotency keys ask of a field, read once. What may be refused
here: what coercion and planning refuse of an input, as `BadUserInput`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from graphql import FieldNode, GraphQLError, GraphQLField, GraphQLSchema
from graphql.execution.values import VariableValues, get_argument_values, get_directive_values

from graph.read.payloads.statements import Payloads, PlannedField
from graph.read.planning.arguments import lift
from graph.read.planning.cost import Price, filter_cost
from graph.read.planning.filters import read_where
from graph.read.planning.plan import Filter
from graph.read.refusals import BadUserInput
from graph.read.types.filter_inputs import mirror_of_where


@dataclass(frozen=True, slots=True)
class RootField:
    """One root field of the mutation that runs.

    `key` is its response key, `name` that of its definition, `nodes` all that stand for it in the document. `arguments` are
    coerced; `directives` holds the coerced arguments of each directive on the field. `where` is the filter in its `input`, for
    those that have one and were sent it; `selected` names the fields of the payload that are selected.
    """

    key: str
    name: str
    nodes: Sequence[FieldNode]
    definition: GraphQLField
    arguments: Mapping[str, Any]
    directives: Mapping[str, Mapping[str, Any]]
    where: Filter | None
    selected: frozenset[str]

    @property
    def input(self) -> Mapping[str, Any]:
        """The coerced value of the argument that every mutation has."""
        input_: Mapping[str, Any] = self.arguments["input"]
        return input_

    def entries(self) -> int:
        """How many entries the longest list of the input has."""
        return max((len(part) for part in self.input.values() if isinstance(part, list)), default=0)


@dataclass(frozen=True, slots=True)
class Running:
    """The mutation of a request: its variables, its payloads' statements, its fields by response key."""

    variables: VariableValues
    payloads: Payloads
    fields: Mapping[str, RootField]

    def prices(self) -> list[Price]:
        """What the rows cost that its payloads show and its filters look at."""
        found = list(self.payloads.single)
        for planned in self.payloads.fields:
            running_field = self.fields[planned.key]
            if planned.each:
                found += [replace(price, rows=running_field.entries()) for price in planned.each]
            if running_field.where is not None:
                found.append(Price((planned.key,), rows=0, once=filter_cost(running_field.where)))
        return found


def running(schema: GraphQLSchema, payloads: Payloads, variables: VariableValues) -> Running:
    """All that a mutation is told, read and judged. Raises `BadUserInput`."""
    payloads.judge(variables)
    return Running(variables, payloads, {planned.key: _read(schema, planned, variables) for planned in payloads.fields})


def _read(schema: GraphQLSchema, planned: PlannedField, variables: VariableValues) -> RootField:
    definition, nodes = planned.definition, planned.nodes
    try:
        arguments = get_argument_values(definition, nodes[0], variables)
        directives = _directives(schema, nodes, variables)
    except BadUserInput:
        raise
    except GraphQLError as error:  # no value that the judges of documents and variables let pass
        raise BadUserInput(f"{nodes[0].name.value} cannot take its arguments.", tuple(definition.args)) from error
    where = _where(definition, arguments["input"])
    return RootField(planned.key, nodes[0].name.value, nodes, definition, arguments, directives, where, planned.selected)


def _directives(schema: GraphQLSchema, nodes: Sequence[FieldNode], variables: VariableValues) -> dict[str, Mapping[str, Any]]:
    found: dict[str, Mapping[str, Any]] = {}
    for node in nodes:
        for name in dict.fromkeys(directive.name.value for directive in node.directives or ()):
            definition = schema.get_directive(name)
            values = None if definition is None else get_directive_values(definition, node, variables)
            if values is not None and found.setdefault(name, values) != values:
                raise BadUserInput(f"@{name} stands on this field twice, with different values.", tuple(values))
    return found


def _where(definition: GraphQLField, input_: Mapping[str, Any]) -> Filter | None:
    """The filter of a field that writes all rows that match one."""
    if input_.get("where") is None:
        return None
    input_type: Any = definition.args["input"].type
    type_ = getattr(input_type, "of_type", input_type).fields["where"].type
    return read_where(mirror_of_where(type_), lift(type_, input_["where"], None), ("input", "where"))

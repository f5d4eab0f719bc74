"""The mutation that a request runs, known and judged before the first of its fields is executed.

What goes in: a planned mutation, the coerced variables of a request. What comes out: a `RunningMutation`, with one
`RunningField` for each of its fields: all that resolvers, the unit of work and idempotency keys ask, read once. What may be
refused here: what coercion and planning refuse of an input, as `BadUserInput`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from graphql import FieldNode, GraphQLError, GraphQLField, GraphQLSchema
from graphql.execution.values import VariableValues, get_argument_values, get_directive_values
from strawberry.dataloader import DataLoader

from graph.context import Context
from graph.database.failures import AnswerTooLarge
from graph.read.payloads.fragments import Fragment
from graph.read.payloads.planned import NodePlan, PlannedField, PlannedMutation
from graph.read.planning.arguments import lift
from graph.read.planning.cost import Price, filter_cost
from graph.read.planning.filters import read_where
from graph.read.planning.plan import Filter
from graph.read.refusals import BadUserInput
from graph.read.types.filter_inputs import mirror_of_where

#: What the bytes of rows that errors name are noted under: no field has such a key.
OF_ERRORS = "#errors"


@dataclass(frozen=True, slots=True)
class RunningField:
    """One root field of the mutation that runs.

    `key` is its response key, `name` that of its definition, `nodes` all that stand for it in the document. `arguments` are
    coerced; `directives` holds the coerced arguments of each directive on the field. `where` is the filter in its `input`, for
    those that have one and were sent it; `selected` names the fields of the payload that are selected, `shown` is as it was
    planned. `variables` are those of the operation, coerced and as they were sent.
    """

    key: str
    name: str
    nodes: Sequence[FieldNode]
    definition: GraphQLField
    arguments: Mapping[str, Any]
    directives: Mapping[str, Mapping[str, Any]]
    where: Filter | None
    selected: frozenset[str]
    shown: Mapping[str, str] | None
    variables: VariableValues

    @property
    def input(self) -> Mapping[str, Any]:
        """The coerced value of the argument that every mutation has."""
        input_: Mapping[str, Any] = self.arguments["input"]
        return input_

    @property
    def keyed(self) -> bool:
        """Whether it carries an idempotency key."""
        return "idempotent" in self.directives

    def entries(self) -> int:
        """How many entries the longest list of the input has."""
        return max((len(part) for part in self.input.values() if isinstance(part, list)), default=0)


@dataclass(slots=True)
class SharedTransaction:
    """The one transaction of all fields of a mutation: the payloads of those that `failed`, by response key.

    `over` says that it is over, and all failed with it; `lost` is what the database ended it with, if it did.
    """

    failed: bool = False
    over: bool = False
    lost: Exception | None = None
    verdicts: dict[str, object] = field(default_factory=dict)


@dataclass(slots=True)
class RunningMutation:
    """The mutation of a request: its variables, what was planned of it, its fields by response key; and how far it is.

    `dry_run` says that nothing is to be kept, `shared` is the transaction that its fields share, if they do. `broken` is what a
    field met after which no later one is run. `named` loads the rows that errors name, all of a place by one statement.
    `shown` are the bytes of the rows that each field shows. `written` are the changes that were committed, or may have been, by
    the field whose transaction it was; by an empty key those of a transaction that all shared.
    """

    variables: VariableValues
    planned: PlannedMutation
    fields: Mapping[str, RunningField]
    dry_run: bool = False
    shared: SharedTransaction | None = None
    broken: Exception | None = None
    named: DataLoader[tuple[NodePlan, int], Fragment | None] | None = None
    shown: dict[str, int] = field(default_factory=dict)
    written: dict[str, Sequence[Any]] = field(default_factory=dict)

    def prices(self) -> list[Price]:
        """What the rows cost that its payloads show and its filters look at."""
        found = list(self.planned.single)
        for planned in self.planned.fields:
            running = self.fields[planned.key]
            if planned.each:
                found += [replace(price, rows=running.entries()) for price in planned.each]
            if running.where is not None:
                found.append(Price((planned.key,), rows=0, once=filter_cost(running.where)))
        return found

    def bytes_of_errors(self) -> int:
        """What the rows may add that errors name, one for each entry of the longest list."""
        entries = max((field.entries() for field in self.fields.values()), default=0) or 1
        return sum(replace(node.price, rows=entries).bytes for node in self.planned.nodes.values())

    def note_bytes(self, key: str, size: int, limit: int) -> None:
        """Rows are read for the answer of a field. Raises `AnswerTooLarge` where that is too much for all fields together."""
        self.shown[key] = self.shown.get(key, 0) + size
        if sum(self.shown.values()) > limit:
            raise AnswerTooLarge(limit)


def running_in(context: Context) -> RunningMutation:
    """The mutation that a context runs."""
    assert context.running is not None, "the engine sets it before the first field"
    return context.running


def judge_mutation(schema: GraphQLSchema, planned: PlannedMutation, variables: VariableValues) -> RunningMutation:
    """All that a mutation is told, read and judged. Raises `BadUserInput`."""
    planned.judge(variables)
    return RunningMutation(variables, planned, {each.key: _read(schema, each, variables) for each in planned.fields})


def _read(schema: GraphQLSchema, planned: PlannedField, variables: VariableValues) -> RunningField:
    definition, nodes = planned.definition, planned.nodes
    try:
        arguments = get_argument_values(definition, nodes[0], variables)
        directives = _directives(schema, nodes, variables)
    except BadUserInput:
        raise
    except GraphQLError as error:  # no value that the judges of documents and variables let pass
        raise BadUserInput(f"{nodes[0].name.value} cannot take its arguments.", tuple(definition.args)) from error
    where = _where(definition, arguments["input"])
    name = nodes[0].name.value
    selected, shown = planned.selected, planned.shown
    return RunningField(planned.key, name, nodes, definition, arguments, directives, where, selected, shown, variables)


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

"""What the payloads of a mutation select, planned before it runs: a statement for each place that shows rows, and its cost.

What goes in: a mutation operation. What comes out: a `PlannedMutation`. What may be refused here: whatever planning a
read refuses.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from graphql import (
    FieldNode,
    GraphQLField,
    GraphQLObjectType,
    get_named_type,
    get_nullable_type,
    is_abstract_type,
    is_composite_type,
    is_list_type,
)
from graphql.execution.collect_fields import FieldDetailsList, collect_fields, collect_subfields
from graphql.execution.values import VariableValues

from graph.read.planning.arguments import resolve
from graph.read.planning.cost import Price, prices
from graph.read.planning.plan import Plan
from graph.read.planning.planning_context import PlanningContext
from graph.read.planning.selection import plan_rows
from graph.read.sql.statement import Parameter, Statement
from graph.read.types.mirror import MIRRORS, python_name

#: The field of every payload that tells what was refused.
ERRORS = "errors"


@dataclass(frozen=True, slots=True)
class PlannedField:
    """A root field of a mutation as its document has it.

    `each` is what is read for one entry of its input's list, `selected` what is selected of its payload. `shown` leads from
    response keys to the payload's attributes where entities and errors are all that is selected of it, else it is None.
    """

    key: str
    nodes: tuple[FieldNode, ...]
    definition: GraphQLField
    each: tuple[Price, ...]
    selected: frozenset[str]
    shown: Mapping[str, str] | None


@dataclass(slots=True)
class PlannedMutation:
    """The root fields of a mutation and the statements that answer what their payloads select, planned before it runs.

    `entities` by the response key of the mutation's field and the field names below it, with the response keys that lead to
    each; `nodes`, which errors show, by the response keys, the type of the error and the type of the row. `single` are the
    prices of all entities that are there once, `judged` the parameters whose values may be refused, `directives` the names of
    those on the operation.
    """

    directives: frozenset[str]
    fields: list[PlannedField] = field(default_factory=list)
    entities: dict[tuple[str, ...], list[tuple[tuple[str, ...], Statement]]] = field(default_factory=lambda: defaultdict(list))
    nodes: dict[tuple[str, ...], NodePlan] = field(default_factory=dict)
    single: list[Price] = field(default_factory=list)
    weight: int = 0
    judged: list[Parameter] = field(default_factory=list)

    def judge(self, variables: VariableValues) -> None:
        """Hold the cursors in the payloads against their lists. Raises `BadUserInput`."""
        for bind in self.judged:
            bind.encode(resolve(bind.source, variables.coerced))


@dataclass(frozen=True, slots=True, eq=False)
class NodePlan:
    """How rows that errors of one place name are read, and what one of them costs."""

    statement: Statement
    price: Price


def plan_mutation(
    operation: PlanningContext, statement: Callable[[Plan], Statement], afford: Callable[[Sequence[Price]], None]
) -> PlannedMutation:
    """Plan every row that the payloads of a mutation select. Raises what planning raises, and what `afford` does."""
    root = operation.schema.mutation_type
    assert root is not None
    collected = collect_fields(operation.schema, dict(operation.fragments), operation.variables, root, operation.node)
    planner = _Planner(operation, statement, afford)
    with operation.permitted():
        for key, details in collected.grouped_field_set.items():
            if not details[0].node.name.value.startswith("__"):
                with operation.below(key):
                    planner.field(root, key, details)
    return planner.planned


def _shown(payload: GraphQLObjectType, subfields: Mapping[str, str]) -> dict[str, str] | None:
    """`PlannedField.shown` of fields selected of a payload, by response key."""
    found = {}
    for key, name in subfields.items():
        field_ = payload.fields.get(name)
        if field_ is None or not (name == ERRORS or getattr(field_.type, "name", "") in MIRRORS):
            return None
        found[key] = python_name(field_)
    return found


class _Planner:
    """Walks the payloads of one mutation. `each` are the prices of what is read for every entry of the field's list."""

    def __init__(
        self, operation: PlanningContext, statement: Callable[[Plan], Statement], afford: Callable[[Sequence[Price]], None]
    ) -> None:
        self.operation = operation
        self.statement = statement
        self.afford = afford
        self.planned = PlannedMutation(frozenset(directive.name.value for directive in operation.node.directives or ()))
        self.each: list[Price] = []
        #: Errors of several kinds are mostly asked for the same of the rows they name: that is one statement.
        self.made: dict[Plan, Statement] = {}

    def field(self, root: GraphQLObjectType, key: str, details: FieldDetailsList) -> None:
        """Plan a field of the mutation."""
        definition = root.fields[details[0].node.name.value]
        self.each = []
        payload: Any = get_named_type(definition.type)
        self.walk(payload, details, (key,), (key,))
        nodes = tuple(detail.node for detail in details)
        subfields = {key: inner[0].node.name.value for key, inner in self.subfields(payload, details)}
        selected = frozenset(subfields.values())
        self.planned.fields.append(PlannedField(key, nodes, definition, tuple(self.each), selected, _shown(payload, subfields)))

    def walk(
        self, type_: Any, details: FieldDetailsList, keys: tuple[str, ...], names: tuple[str, ...], *, listed: bool = False
    ) -> None:
        """Plan what is selected in a field: `keys` are the response keys that lead to it, `names` the names below the root.

        `listed` says that it is one of a list.
        """
        schema = self.operation.schema
        for runtime in schema.get_possible_types(type_) if is_abstract_type(type_) else (type_,):
            for key, inner in self.subfields(runtime, details):
                name = inner[0].node.name.value
                if name.startswith("__"):
                    continue
                shown = runtime.fields[name].type
                named = get_named_type(shown)
                if named.name in MIRRORS:
                    plan = plan_rows(self.operation, named.name, inner)
                    statement, price = self._write(plan, (*keys, key))
                    self.planned.entities[*names, name].append(((*keys, key), statement))
                    (self.each if listed else self.planned.single).append(price)
                elif named.name == "Node":
                    for mirrored in (name for name, mirror in MIRRORS.items() if mirror.is_node):
                        plan = plan_rows(self.operation, mirrored, inner)
                        self.planned.nodes[*keys, key, runtime.name, mirrored] = NodePlan(*self._write(plan, (*keys, key)))
                elif is_composite_type(named):
                    self.walk(named, inner, (*keys, key), (*names, name), listed=listed or is_list_type(get_nullable_type(shown)))

    def subfields(self, type_: GraphQLObjectType, details: FieldDetailsList) -> list[tuple[str, FieldDetailsList]]:
        """What is selected of an object, by response key."""
        operation = self.operation
        collected = collect_subfields(
            operation.schema, dict(operation.fragments), operation.variables, operation.node, type_, details
        )
        return list(collected.grouped_field_set.items())

    def _write(self, plan: Plan, path: tuple[str, ...]) -> tuple[Statement, Price]:
        price = replace(prices(plan, self.operation.settings.max_text_length)[0], path=path)
        self.afford([price])
        if (made := self.made.get(plan)) is None:
            made = self.made[plan] = self.statement(plan)
            self.planned.weight += len(made.sql)
        self.planned.judged += made.judged
        return made, price

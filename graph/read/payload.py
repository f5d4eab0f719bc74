"""Entities inside mutation payloads: the client's own selection, answered by the same compiled read.

What goes in: the resolve info of a mutation field and the keys of rows. What comes out: `Fragment`s, JSON text from the
database that graphql-core's completion splices in and never parses. This module and `graph.operations` are the only ones that
touch graphql-core's execution.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, cast

import orjson
import strawberry
from graphql import (
    GraphQLObjectType,
    GraphQLOutputType,
    GraphQLResolveInfo,
    GraphQLSchema,
    OperationDefinitionNode,
    default_field_resolver,
    default_type_resolver,
    get_named_type,
    is_abstract_type,
    is_composite_type,
)
from graphql.execution.collect_fields import FieldDetails, FieldDetailsList, FragmentDetails, collect_fields, collect_subfields
from graphql.execution.values import VariableValues
from graphql.pyutils import Path
from sqlalchemy.ext.asyncio import AsyncConnection
from strawberry.execution import optimized_is_awaitable
from strawberry.schema.schema import StrawberryGraphQLCoreExecutionContext

from graph.context import Context
from graph.read.mirror import MIRRORS
from graph.read.plan import Plan
from graph.read.selection import Operation, plan_rows
from graph.read.sql import KEYS, Statement


class Fragment:
    """JSON text of one object, shaped by the selection it was read for. No dataclass: orjson would write it out as one."""

    __slots__ = ("text",)

    def __init__(self, text: str) -> None:
        self.text = text


class Fragments(dict[str, Fragment | None]):
    """One row as each response key of its field selects it; completion picks the one at its path."""


class PayloadExecutor(StrawberryGraphQLCoreExecutionContext):
    """graphql-core's execution, which takes JSON from the database for a completed value."""

    @classmethod
    def of(
        cls,
        schema: GraphQLSchema,
        fragments: Mapping[str, FragmentDetails],
        operation: OperationDefinitionNode,
        variables: VariableValues,
        context: Context | None,
    ) -> PayloadExecutor:
        """An executor for an operation that is validated and whose variables are coerced already."""
        definitions = {name: details.definition for name, details in fragments.items()}
        return cls(
            schema,
            definitions,
            dict(fragments),
            None,
            context,
            operation,
            variables,
            default_field_resolver,
            default_type_resolver,
            default_field_resolver,
            False,
            None,
            optimized_is_awaitable,
            None,
        )

    def complete_value(
        self,
        return_type: GraphQLOutputType,
        field_details_list: FieldDetailsList,
        info: GraphQLResolveInfo[Any],
        path: Path,
        result: Any,
        position_context: Any,
    ) -> Any:
        if type(result) is Fragment:
            return result
        if type(result) is Fragments:
            result = result.get(cast("str", path.key))
            if result is not None:
                return result
        return super().complete_value(return_type, field_details_list, info, path, result, position_context)


def splice(value: Any) -> Any:
    """What `orjson.dumps` asks of values it does not know: fragments go in as they are."""
    if type(value) is Fragment:
        return orjson.Fragment(value.text)
    raise TypeError(f"{type(value).__name__} is no JSON")


async def read_entities(
    info: strawberry.Info[Context, None],
    fields: tuple[str, ...],
    type_name: str,
    keys: Sequence[int],
    connection: AsyncConnection,
) -> dict[int, Fragments]:
    """The rows `keys` of a mirrored type, in one statement inside the transaction of `connection`.

    `fields` are the GraphQL field names that lead from the mutation's payload to the entity: `("customer",)` or
    `("results", "customer")`. Where the client selects none of them nothing is asked. A row that is not there maps to an
    empty `Fragments`.
    """
    found = {key: Fragments() for key in keys}
    for response_key, statement in _statements(info, fields, type_name):
        variables = {**info.context.running.variables.coerced, KEYS: list(keys)}
        text = await info.context.database.fetch_within(connection, statement.sql, statement.arguments(variables))
        for key, row in _rows(text).items():
            found[key][response_key] = row
    return found


async def read_node(info: strawberry.Info[Context, None], type_name: str, key: int) -> Fragment | None:
    """One row as the selection of the field being resolved asks for it (`existing`, `current`), on a connection of its own."""
    raw = info._raw_info  # noqa: SLF001  # Strawberry offers the nodes nowhere else
    place = tuple(step for step in raw.path.as_list() if isinstance(step, str))
    statement = _statement(
        info.context.running, (*place, type_name), type_name, [FieldDetails(node, None) for node in raw.field_nodes]
    )
    variables = {**info.context.running.variables.coerced, KEYS: [key]}
    text = await info.context.database.fetch(statement.sql, statement.arguments(variables))
    return _rows(text).get(key)


def _rows(text: str) -> dict[int, Fragment]:
    """The rows of a `Rows` statement by key, `key:length;JSON` with commas between. A row's JSON is cut out, never parsed."""
    found: dict[int, Fragment] = {}
    position = 0
    while position < len(text):
        head = text.index(";", position)
        key, length = text[position:head].split(":")
        position = head + 1 + int(length)
        found[int(key)] = Fragment(text[head + 1 : position])
        position += 1  # the comma
    return found


def prepare(running: Any) -> None:
    """Plan every row that the payloads of a mutation select, before it runs. Raises what planning raises."""
    operation = running.engine.operation(running.document, running.variables)
    root = operation.schema.mutation_type
    assert root is not None
    collected = collect_fields(operation.schema, dict(operation.fragments), operation.variables, root, operation.node)
    for key, details in collected.grouped_field_set.items():
        name = details[0].node.name.value
        if not name.startswith("__"):
            _prepare(running, operation, get_named_type(root.fields[name].type), details, (key,))


def _prepare(running: Any, operation: Operation, type_: Any, details: FieldDetailsList, path: tuple[str, ...]) -> None:
    schema = operation.schema
    for runtime in schema.get_possible_types(type_) if is_abstract_type(type_) else (type_,):
        for key, inner in _subfields(operation, runtime, details):
            name = inner[0].node.name.value
            if name.startswith("__"):
                continue
            named = get_named_type(runtime.fields[name].type)
            here = (*path, key)
            if named.name in MIRRORS:
                _statement(running, here, named.name, inner)
            elif named.name == "Node":
                for mirrored in MIRRORS:
                    _statement(running, (*here, mirrored), mirrored, inner)
            elif is_composite_type(named):
                _prepare(running, operation, named, inner, here)


def _subfields(operation: Operation, type_: GraphQLObjectType, details: FieldDetailsList) -> list[tuple[str, FieldDetailsList]]:
    collected = collect_subfields(
        operation.schema, dict(operation.fragments), operation.variables, operation.node, type_, details
    )
    return list(collected.grouped_field_set.items())


def _statements(info: strawberry.Info[Context, None], fields: tuple[str, ...], type_name: str) -> list[tuple[str, Statement]]:
    """For every response key of the entity's field: its key and the statement that answers its selection."""
    raw = info._raw_info  # noqa: SLF001  # Strawberry offers the nodes nowhere else
    running = info.context.running
    levels: list[tuple[tuple[str, ...], GraphQLObjectType, FieldDetailsList]] = [
        (
            (str(raw.path.key),),
            cast("GraphQLObjectType", get_named_type(raw.return_type)),
            [FieldDetails(n, None) for n in raw.field_nodes],
        )
    ]
    operation = running.engine.operation(running.document, running.variables)
    for depth, name in enumerate(fields):
        found = []
        for path, type_, details in levels:
            for key, inner in _subfields(operation, type_, details):
                if inner[0].node.name.value == name:
                    found.append(((*path, key), get_named_type(type_.fields[name].type), inner))
        if depth == len(fields) - 1:
            return [(path[-1], _statement(running, path, type_name, inner)) for path, _, inner in found]
        levels = cast("Any", found)
    return []


def _statement(running: Any, path: tuple[str, ...], type_name: str, details: FieldDetailsList) -> Statement:
    key = (running.document, (path, running.document.shape(running.variables.coerced)))
    compiled: Any = running.engine.plans.get(key)
    if compiled is None:
        plan: Plan = plan_rows(running.engine.operation(running.document, running.variables), type_name, details)
        compiled = running.engine.compiled(plan)
        running.engine.plans.put(key, compiled, len(compiled.statement.sql))
    return compiled.statement  # type: ignore[no-any-return]  # the engine is known by its shape alone

"""Entities inside mutation payloads: the client's own selection, answered by the same compiled read.

What goes in: the mutation field that runs and the keys of rows. What comes out: `Fragment`s, which graphql-core's completion
takes as they are. Its executor is touched by `PayloadExecutor` alone.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import strawberry
from graphql import (
    GraphQLObjectType,
    GraphQLOutputType,
    GraphQLResolveInfo,
    GraphQLSchema,
    OperationDefinitionNode,
    default_field_resolver,
    default_type_resolver,
)
from graphql.execution.collect_fields import FieldDetailsList, FragmentDetails
from graphql.execution.values import VariableValues
from graphql.pyutils import Path
from strawberry.dataloader import DataLoader
from strawberry.execution import optimized_is_awaitable
from strawberry.schema.schema import StrawberryGraphQLCoreExecutionContext

from graph.context import Context
from graph.database.failures import Unavailable
from graph.read.payloads.fragments import Fragment, RowByPlace, cut, response_keys
from graph.read.payloads.planned import NodePlan
from graph.read.payloads.running import OF_ERRORS, RunningField, RunningMutation, running_in
from graph.read.planning.cost import too_expensive
from graph.read.rows import with_viewer
from graph.read.sql.statement import KEYS, LIMIT


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

    def execute_field(
        self,
        parent_type: GraphQLObjectType,
        source: Any,
        field_details_list: FieldDetailsList,
        path: Path,
        position_context: Any,
    ) -> Any:
        """A mutation's own fields have their arguments already: they were coerced before the first of them ran."""
        running = self.context_value.running if parent_type is self.schema.mutation_type else None
        field = None if running is None else running.fields.get(path.key)
        if field is None:
            return super().execute_field(parent_type, source, field_details_list, path, position_context)
        type_ = field.definition.type
        info = self.build_resolve_info(field.definition, list(field.nodes), parent_type, path)
        result = field.definition.resolve(source, info, **field.arguments)
        return self.complete_awaitable_value(type_, field_details_list, info, path, result, position_context)

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
        if path.prev is None and self.context_value is not None:
            shown = self._shown(path.key, result)
            if shown is not None:
                return shown
        if type(result) is RowByPlace:
            result = result.get(response_keys(path))
            if result is not None:
                return result
        return super().complete_value(return_type, field_details_list, info, path, result, position_context)

    def _shown(self, key: Any, payload: Any) -> dict[str, Fragment | None] | None:
        """A payload that refused nothing and of which only entities are asked, which needs no execution; else None.

        Field by field it costs 50 us of processor time.
        """
        running = self.context_value.running
        field = None if running is None else running.fields.get(key)
        if field is None or field.shown is None or payload.errors:
            return None
        return {name: _placed(getattr(payload, attribute), (key, name)) for name, attribute in field.shown.items()}


def _placed(entity: Any, place: tuple[str, ...]) -> Any:
    """What a payload shows at a place: an entity as it is selected there, or no errors."""
    return entity.get(place) if type(entity) is RowByPlace else entity


async def read_entities(
    context: Context, field: RunningField, names: tuple[str, ...], keys: Sequence[int]
) -> dict[int, RowByPlace]:
    """The rows `keys` of the type that `names` lead to, in one statement of the session's transaction.

    `names` are those of the GraphQL fields that lead from the mutation's payload to the entity: `("customer",)` or
    `("results", "customer")`. Where the client selects none of them nothing is asked. A row that is not there maps to an
    empty `RowByPlace`.
    """
    found = {key: RowByPlace() for key in keys}
    for place, statement in running_in(context).planned.entities.get((field.key, *names), ()):
        limit = context.database.settings.max_answer_bytes
        variables = {**with_viewer(field.variables.coerced, context.scope), KEYS: list(keys), LIMIT: limit}
        text = await context.database.fetch_within(context.session, statement.sql, statement.arguments(variables))
        running_in(context).note_bytes(field.key, len(text), limit)
        for key, row in cut(text).items():
            found[key][place] = row
    return found


async def read_node(info: strawberry.Info[Context, None], error: str, type_name: str, key: int) -> Fragment | None:
    """One row as the selection of the field being resolved asks for it (`existing`, `current`): all of a place in one statement.

    `error` is the GraphQL type whose field it is. Rows are read after the rollback, on a connection of their own. A field of
    `@atomic` that was not refused as a whole shows them as its transaction sees them. Raises `GraphQLError` where the rows of all
    errors together cost too much or are too large, `Unavailable` where they cannot be read now: the row is null then, and the
    rest of the answer, which tells of what is committed, stays.
    """
    context = info.context
    running = running_in(context)
    plan = running.planned.nodes[*response_keys(info.path), error, type_name]
    if running.named is None:
        alone = asyncio.Lock()  # a connection answers one question at a time
        running.named = DataLoader(lambda wanted: _read_together(context, running, alone, wanted), cache=False)
    return await running.named.load((plan, key))


async def _read_together(
    context: Context, running: RunningMutation, alone: asyncio.Lock, wanted: list[tuple[NodePlan, int]]
) -> list[Fragment | None]:
    keys: dict[NodePlan, set[int]] = defaultdict(set)
    for plan, key in wanted:
        keys[plan].add(key)
    shared = running.shared
    if shared is not None and shared.failed and not shared.over:
        return [None] * len(wanted)  # the verdicts of the second pass are what is answered
    limit, max_bytes = context.database.settings.max_cost, context.database.settings.max_answer_bytes
    found: dict[NodePlan, dict[int, Fragment]] = {}
    for plan, listed in keys.items():
        # As many rows as the request has sent may be named.
        price = replace(plan.price, rows=len(listed))
        if price.fields and price.total > limit:
            raise too_expensive([price], limit)
        variables = {**with_viewer(running.variables.coerced, context.scope), KEYS: sorted(listed), LIMIT: max_bytes}
        arguments = plan.statement.arguments(variables)
        if shared is None or shared.over:
            text = await _fetch_in_time(context, plan.statement.sql, arguments)
        else:
            async with alone:
                text = await context.database.fetch_within(context.session, plan.statement.sql, arguments)
        running.note_bytes(OF_ERRORS, len(text), max_bytes)
        found[plan] = cut(text)
    return [found[plan].get(key) for plan, key in wanted]


async def _fetch_in_time(context: Context, sql: str, arguments: Sequence[Any]) -> Any:
    """A query after the transactions, given up in time for an answer that says what they have done. Raises `Unavailable`."""
    try:
        async with asyncio.timeout_at(context.deadline):
            return await context.database.fetch(sql, arguments)
    except TimeoutError:
        raise Unavailable("a row that an error names could not be read in time") from None

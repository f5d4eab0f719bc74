"""The engine: runs operations, and keeps documents and plans between requests.

What goes in: a document's text, variables, a `Context`. What comes out: a `Response`: JSON text for queries, which went from
the database untouched, or graphql-core's result for mutations, with the database's fragments spliced in. What is refused
here: `RequestRefused`, and `TooComplex`, `AnswerTooLarge` and `Unavailable` from the database.

A known query costs: two look-ups, the coercion of its variables, one fetch. No parsing, validation, graphql-core execution
or SQL construction: what is new is made beside the loop (`graph.operations.learning`).
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Hashable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import Any, cast

from graphql import ExecutionResult, GraphQLSchema, OperationType
from graphql.execution.values import VariableValues
from sqlalchemy import Dialect
from strawberry.execution import optimized_is_awaitable

from graph.context import Context
from graph.database.failures import AnswerTooLarge
from graph.observations import running
from graph.operations.authorization import permit, permit_inputs
from graph.operations.budget import SMALL, Budget
from graph.operations.documents import Document, read_document
from graph.operations.introspection import Introspection
from graph.operations.learning import Learner
from graph.operations.persisted import Persisted, read_manifest, validated
from graph.operations.recent import Recent
from graph.operations.refused_writes import refusals_told
from graph.operations.request_errors import RequestRefused, refused
from graph.operations.variables import coerce_variables
from graph.read.payloads.execution import PayloadExecutor
from graph.read.payloads.fragments import see_expired
from graph.read.payloads.planned import PlannedMutation, plan_mutation
from graph.read.payloads.running import judge_mutation
from graph.read.planning.cost import Cost, Price, bytes_of, cost_of, prices, too_expensive, total
from graph.read.planning.planning_context import PlanningContext
from graph.read.planning.selection import meta_keys, plan_query, tells_viewer
from graph.read.refusals import CursorExpired
from graph.read.rows import with_viewer
from graph.read.sql.statement import LIMIT, META, Statement
from graph.read.sql.viewer_json import KNOWN
from graph.read.sql.writer import write
from graph.scope import BOUND, Scope
from graph.settings import Settings

#: Executes the fields of a mutation operation, once or more, in the transactions it asks for.
Around = Callable[[Context, Callable[[], Awaitable[ExecutionResult]]], Awaitable[ExecutionResult]]

#: How a statement is asked for: the SQL, its arguments, how many bytes it may make.
Ask = Callable[[str, list[Any], int], Awaitable[Any]]

#: How much text the kept documents and the kept statements may have together, in characters. A document's syntax tree takes
#: about fifty bytes a character, a plan with its statement about ten.
KEPT_DOCUMENTS = 400_000
KEPT_STATEMENTS = 4_000_000

TOO_LONG = "A document may have at most {} characters."
TOO_HEAVY = "A request may have at most {} bytes, unless all it does is to insert plain rows."


@dataclass(frozen=True, slots=True)
class Compiled:
    """The statement of a plan, its cost, and how many bytes it may make.

    `meta` names the introspection fields at its root; `tells_viewer` says that it tells who asks what is known of him.
    """

    cost: Cost
    bytes: int
    statement: Statement
    meta: tuple[str, ...] = ()
    tells_viewer: bool = False


@dataclass(frozen=True, slots=True)
class SizedStatement:
    """A statement that makes so many events of a subscription."""

    compiled: Compiled
    size: int


@dataclass(frozen=True, slots=True)
class Response:
    """JSON text of a whole response, or a result of graphql-core's with `Fragment`s in it. `cost` is that of what it reads."""

    data: bytes | None
    result: ExecutionResult | None = None
    cost: Callable[[], Cost] | None = None


@dataclass(slots=True)
class StepCounts:
    """How often the expensive steps ran; a known query moves none of them."""

    parsed: int = 0
    planned: int = 0
    executed: int = 0


class Engine:
    """Runs the operations of one schema on one kind of database."""

    def __init__(self, schema: GraphQLSchema, settings: Settings, dialect: Dialect, around: Around) -> None:
        self.schema = schema
        self.settings = settings
        self.dialect = dialect
        self.around = around
        self.documents: Recent[tuple[str, str | None], Document] = Recent(settings.max_plans, KEPT_DOCUMENTS)
        self.plans: Recent[tuple[Document, Hashable, Hashable], Compiled] = Recent(settings.max_plans, KEPT_STATEMENTS)
        self.mutations: Recent[tuple[Document, Hashable, Hashable], PlannedMutation] = Recent(settings.max_plans, KEPT_STATEMENTS)
        self.events: Recent[tuple[Document, Hashable, Hashable], SizedStatement] = Recent(settings.max_plans, KEPT_STATEMENTS)
        # A document waits for its turn, and then its plan: half of the request's time is left for what comes after.
        self.learner = Learner(settings.request_timeout_seconds / 4)
        self.introspection = Introspection(schema, self.learner)
        self.persisted = Persisted(settings)
        if settings.trusted_documents:
            self._trust(read_manifest(settings.trusted_documents))
        self.counters = StepCounts()
        self.budget = Budget(settings.max_answer_bytes, settings.pool_timeout_seconds)

    def _trust(self, texts: Mapping[str, str]) -> None:
        """Run these documents and no others. Raises `SettingsError`."""
        self.persisted.trusted = texts
        for name, document in validated(texts, self.schema, self.settings).items():
            self.documents.put(name, document, len(name[0]))

    def _read(self, text: str, operation_name: str | None) -> Document:
        self.counters.parsed += 1
        return read_document(self.schema, self.settings, text, operation_name)

    async def run(
        self,
        text: str,
        raw_variables: Mapping[str, Any],
        operation_name: str | None,
        context: Context,
        *,
        only_queries: bool = False,
        size: int = 0,
    ) -> Response:
        """Run one operation, `size` being that of the whole request. `only_queries` as HTTP GET asks.

        Raises `RequestRefused`, `TooComplex`, `Unavailable`.
        """
        document = await self.document(text, operation_name, size)
        if document.kind is OperationType.SUBSCRIPTION:
            raise refused("BAD_REQUEST", "Subscriptions need a WebSocket, or an event stream by GET or POST.")
        if only_queries and document.kind is not OperationType.QUERY:
            raise refused("METHOD_NOT_ALLOWED", "Only queries can be sent by GET and QUERY; send this by POST.", 405)
        if document.kind is OperationType.QUERY:
            return await self._query(document, self.variables(document, raw_variables, context), context)
        with refusals_told(document, context):
            variables = self.variables(document, raw_variables, context)
            planned = await self.planned(document, variables, context.scope)
            with context.answer_time:
                async with context.database.line.first:
                    return await self._mutation(document, variables, planned, context)

    async def document(self, text: str, operation_name: str | None, size: int = 0) -> Document:
        """A validated document, in a request of this size. Raises `RequestRefused`."""
        name = (text, operation_name)
        document = self.documents.get(name)
        operation = running()
        if document is None:
            if operation is not None:
                operation.learned = True
            if len(text) > (most := self.settings.max_operation_bytes):
                raise refused("BODY_TOO_LARGE", TOO_LONG.format(most), 413, limit=most, value=len(text))
            document = await self.learner.learn(
                name, lambda: self._read(text, operation_name), lambda made: self.documents.put(name, made, len(text))
            )
        if operation is not None:
            operation.name, operation.kind = document.title
            operation.document = text
        if size > (most := self.settings.max_operation_bytes) and not document.only_inserts:
            raise refused("BODY_TOO_LARGE", TOO_HEAVY.format(most), 413, limit=most, value=size)
        return document

    def variables(self, document: Document, raw: Mapping[str, Any], context: Context) -> VariableValues:
        """The coerced variables of an operation that whoever asks may run. Raises `RequestRefused`."""
        variables = coerce_variables(self.settings, document, raw)
        if context.viewer is not None and not document.needs.met_by(context.viewer):
            permit(self.operation(document, variables, context.scope), context.viewer)
        return variables

    async def _query(self, document: Document, variables: VariableValues, context: Context) -> Response:
        key = (document, document.shape(variables.coerced), context.scope.key)
        compiled = self.plans.get(key)
        operation = running()
        if compiled is None:
            if operation is not None:
                operation.learned = True
            compiled = await self.learner.learn(
                key,
                lambda: self.compile(document, variables, context.scope),
                lambda made: self.plans.put(key, made, len(made.statement.sql)),
            )
        if operation is not None:
            operation.cost = compiled.cost.total
        if context.spend is not None:
            context.spend(compiled.cost.total)
        values = with_viewer(variables.coerced, context.scope)
        if compiled.meta:
            values = {**values, META: await self.introspection.told(document, variables, compiled.meta)}
        if compiled.tells_viewer and context.viewer is not None:
            values = {**values, KNOWN: context.viewer.known}
        database, after = context.database, context.wrote or context.read_after
        if database.replicas is not None:
            with suppress(CursorExpired):  # one that is newer than all that a replica has looks so there
                found = await self.fetch(compiled, values, context, partial(database.query, after=after))
                return Response(found, cost=lambda: compiled.cost)
        return Response(await self.fetch(compiled, values, context, database.fetch), cost=lambda: compiled.cost)

    async def fetch(self, compiled: Compiled, values: Mapping[str, Any], context: Context, ask: Ask) -> Any:
        """What a statement makes, within the share that its answer has of all bytes. Raises as `Database.fetch` does."""
        sql, share, greatest = compiled.statement.sql, context.share, self.settings.max_answer_bytes
        small = compiled.bytes <= SMALL
        limit = greatest if share is None else min(SMALL, greatest) if small else await share.ask(compiled.bytes)
        while True:
            try:
                found = await ask(sql, compiled.statement.arguments({**values, LIMIT: limit}), limit)
            except AnswerTooLarge:
                if share is None or limit == greatest:
                    raise
            else:
                see_expired(found)
                return found
            # Escapes made its texts longer than they may be as they are stored.
            share.keep(0)
            limit = await share.ask(greatest)

    def compile(self, document: Document, variables: VariableValues, scope: Scope) -> Compiled:
        """The statement of a query, made anew. Raises what planning raises."""
        self.counters.planned += 1
        plan = plan_query(self.operation(document, variables, scope))
        found = prices(plan, self.settings.max_text_length)
        self._afford(found)
        return Compiled(
            cost_of(found, self.settings.max_cost),
            bytes_of(found),
            write(plan, self.dialect, scope),
            tuple(meta_keys(plan)),
            tells_viewer(plan),
        )

    def _afford(self, found: Sequence[Price]) -> None:
        if total(found) > self.settings.max_cost:
            raise RequestRefused([too_expensive(found, self.settings.max_cost)])

    def operation(self, document: Document, variables: VariableValues, scope: Scope) -> PlanningContext:
        """What the planner needs of a request."""
        return PlanningContext(self.schema, self.settings, document.operation, document.fragments, variables, scope.kind)

    async def planned(self, document: Document, variables: VariableValues, scope: Scope) -> PlannedMutation:
        """What the payloads of a mutation select, judged before anything is written and before it stands in line."""
        key = (document, document.shape(variables.coerced), scope.key)
        planned = self.mutations.get(key)
        if planned is None:
            if (observed := running()) is not None:
                observed.learned = True
            operation = self.operation(document, variables, scope)
            planned = await self.learner.learn(
                key,
                lambda: plan_mutation(operation, lambda plan: write(plan, self.dialect, scope), self._afford),
                lambda made: self.mutations.put(key, made, made.weight),
            )
        return planned

    async def _mutation(
        self, document: Document, variables: VariableValues, planned: PlannedMutation, context: Context
    ) -> Response:
        self.counters.executed += 1
        # What every field is told is judged first: nothing runs of an operation that has one bad input.
        context.running = judge_mutation(self.schema, planned, variables)
        if context.scope.kind == BOUND:
            permit_inputs(context.running)
        found = context.running.prices()
        if (observed := running()) is not None:
            observed.cost = total(found)
        self._afford(found)
        if context.spend is not None:
            context.spend(total(found))
        if context.share is not None:
            await context.share.ask(bytes_of(found) + context.running.bytes_of_errors())

        async def execute() -> ExecutionResult:
            executor = PayloadExecutor.of(self.schema, document.fragments, document.operation, variables, context)
            result: Any = executor.execute_operation()
            if optimized_is_awaitable(result):
                result = await result
            return cast("ExecutionResult", result)

        result = await self.around(context, execute)
        return Response(None, result, lambda: cost_of(found, self.settings.max_cost))

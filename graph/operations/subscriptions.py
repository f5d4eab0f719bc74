"""Subscriptions: a document of that kind becomes a reader of its events, which all who ask for the same share.

What goes in: a document's text, variables, a `Context`. What comes out: `Told` events: their cursors, and texts that came from
the database untouched. What is refused here: whatever a query is refused for, before the first event; `CursorExpired` where the
cursor is too old, `FellBehind` where the subscriber is too slow.

The selection of an event is a compiled read (`graph.operations.event_sources`), planned and priced once for all who share it.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Hashable, Mapping
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any

from graphql import (
    GraphQLError,
    GraphQLObjectType,
    GraphQLString,
    OperationType,
    VariableNode,
    get_named_type,
    is_object_type,
)
from graphql.execution.collect_fields import FieldDetailsList, collect_fields, collect_subfields
from graphql.execution.values import VariableValues

from graph.context import Context
from graph.database import Database
from graph.feed.events import EventSource, Expired, Told, TooSlow
from graph.feed.hub import POLL_SECONDS, Hub
from graph.feed.outlook import Outlook
from graph.feed.positions import cursor_at, position_of
from graph.feed.sequence import Sequencer
from graph.observations import SubscribersCame
from graph.operations.documents import Document
from graph.operations.engine import Engine, SizedStatement
from graph.operations.event_sources import IDS, FeedReader, Selected, StateReader, listing, statement_of
from graph.operations.request_errors import RequestRefused, refused
from graph.read.planning.arguments import Given, read_arguments
from graph.read.planning.cost import bytes_of, prices, too_expensive, total
from graph.read.planning.plan import Plan, RowsById, RowsByKey
from graph.read.planning.selection import plan_query, plan_rows
from graph.read.refusals import BadUserInput, CursorExpired
from graph.read.types.scalars import id_form, parse_id
from graph.scope import Scope


class FellBehind(GraphQLError):
    """A subscriber let too many events wait; nothing is lost to who subscribes anew with the last cursor."""

    def __init__(self) -> None:
        message = "More events wait than may; subscribe again with the cursor of the last one."
        super().__init__(message, extensions={"code": "SUBSCRIBER_TOO_SLOW"})


@dataclass(frozen=True, slots=True)
class States:
    """A field of the subscription that tells states of rows: of which type, and which arguments name a row, and an owner."""

    type_name: str
    root: str
    owner_type: str
    owner: str


#: Fields of the subscription that tell states. The others are the feeds that queries of the same name list.
STATES: dict[str, States] = {}


class Broadcast:
    """Begins subscriptions at one database, whose commits it hears of at once."""

    def __init__(
        self, engine: Engine, database: Database, sequencer: Sequencer, pace: Callable[[], float] = lambda: POLL_SECONDS
    ) -> None:
        self.engine = engine
        self.database = database
        self.sequencer = sequencer
        self.outlook = Outlook(database)
        self.hub = Hub(self.outlook, engine.settings.max_queued_events, self._count, pace, database.shop)
        sequencer.numbered.append(self.hub.wake)
        if database.capabilities.one_writer:
            database.listeners.append(lambda _: self.hub.wake())

    async def __call__(
        self,
        text: str,
        raw_variables: Mapping[str, Any],
        operation_name: str | None,
        context: Context,
        *,
        after: str | None = None,
    ) -> AsyncGenerator[Told]:
        """Begin a subscription. `after` wins over what the document says: who lost a connection sends it beside that.

        Raises as `Engine.run` does before the first event; with the events `CursorExpired` and `FellBehind`. Whoever asks closes
        the generator.
        """
        document = await self.engine.document(text, operation_name)
        if document.kind is not OperationType.SUBSCRIPTION:
            raise refused("BAD_REQUEST", "This is no subscription.")
        variables = self.engine.variables(document, raw_variables, context)
        asked = self._asked(document, variables, context.scope)
        cursor = after or asked.argument("after")
        position = None if cursor is None else position_of(cursor, ("after",))
        states = STATES.get(asked.field)
        reader: FeedReader | StateReader
        if states is None:
            reader = await self._feed(document, asked, context.scope)
        else:
            reader = await self._states(document, asked, context.scope, states)
        if context.spend is not None:  # what its first page may cost
            context.spend(reader.paged.compiled.cost.total if reader.paged else 0)
        key = (document, values_of(document, asked, variables), context.scope.key, repr(context.scope.values))
        return self._tell(key, reader, position)

    def _count(self, change: int) -> None:
        self.sequencer.listening += change
        self.sequencer.ring()
        if SubscribersCame.listeners:
            SubscribersCame(change).tell()

    async def _tell(self, key: Hashable, reader: EventSource, position: int | None) -> AsyncGenerator[Told]:
        try:
            async with aclosing(self.hub.listen(key, reader, position)) as events:
                async for event in events:
                    yield event
        except TooSlow:
            raise FellBehind from None
        except Expired as expired:
            raise CursorExpired(cursor_at(expired.oldest)) from None

    def _asked(self, document: Document, variables: VariableValues, scope: Scope) -> Selected:
        operation = self.engine.operation(document, variables, scope)
        schema = operation.schema
        assert schema.subscription_type is not None
        collected = collect_fields(schema, dict(document.fragments), variables, schema.subscription_type, document.operation)
        ((key, details),) = collected.grouped_field_set.items()
        field = schema.subscription_type.fields[details[0].node.name.value]
        type_ = get_named_type(field.type)
        assert isinstance(type_, GraphQLObjectType)
        return Selected(operation, key, details, type_, read_arguments(field, details[0].node, variables.coerced))

    # ---- a feed

    async def _feed(self, document: Document, asked: Selected, scope: Scope) -> FeedReader:
        def plan(size: int) -> Plan:
            return plan_query(listing(asked, size))

        paged = await self._paged(document, asked, scope, plan)
        types = asked.argument("types")
        wanted = None if types is None else frozenset(str(getattr(each, "value", each)) for each in types)
        return FeedReader(self.engine, self.database, asked, scope, paged, wanted)

    async def _paged(self, document: Document, asked: Selected, scope: Scope, plan: Any) -> SizedStatement:
        """The statement of as many events as one may ask for at once. Raises `RequestRefused` where one is too dear."""
        key = (document, document.shape(asked.operation.variables.coerced), scope.key)
        paged = self.engine.events.get(key)
        if paged is None:
            paged = await self.engine.learner.learn(
                ("subscription", *key),
                lambda: self._compiled(plan, scope),
                lambda made: self.engine.events.put(key, made, len(made.compiled.statement.sql)),
            )
        return paged

    def _compiled(self, plan: Any, scope: Scope) -> SizedStatement:
        settings = self.engine.settings
        one = prices(plan(1), settings.max_text_length)
        if total(one) > settings.max_cost:
            raise RequestRefused([too_expensive(one, settings.max_cost)])
        most = min(settings.max_page_size, settings.max_queued_events)
        fits = (settings.max_cost // max(1, total(one)), settings.max_answer_bytes // 2 // max(1, bytes_of(one)))
        return statement_of(self.engine, plan, scope, max(1, min(most, *fits)))

    # ---- states

    async def _states(self, document: Document, asked: Selected, scope: Scope, states: States) -> StateReader:
        operation = asked.operation
        shown = collect_subfields(
            operation.schema, dict(document.fragments), operation.variables, document.operation, asked.type, asked.details
        ).grouped_field_set
        rows = {key: each for key, each in shown.items() if is_object_type(get_named_type(type_of(asked, each)))}

        def plan(size: int) -> Plan:
            with operation.permitted():
                made = {key: plan_rows(operation, states.type_name, each).roots for key, each in rows.items()}
            return Plan(
                tuple(
                    RowsById(key, Given((IDS,)), False, (root.entity,), (size,))
                    for key, root in made.items()
                    if isinstance(root, RowsByKey)
                )
            )

        members = tuple((key, "row" if key in rows else each[0].node.name.value) for key, each in shown.items())
        paged = await self._paged(document, asked, scope, plan) if rows else None
        root = key_of(asked.argument(states.root), states.type_name, states.root)
        owner = key_of(asked.argument(states.owner), states.owner_type, states.owner)
        return StateReader(self.engine, self.outlook, asked, scope, paged, states.type_name, members, root, owner)


def type_of(asked: Selected, details: FieldDetailsList) -> Any:
    """The type of a field of an event."""
    name = details[0].node.name.value
    return GraphQLString if name == "__typename" else asked.type.fields[name].type


def values_of(document: Document, asked: Selected, variables: VariableValues) -> str:
    """The values on which events depend: all but the cursor to begin after."""
    given = next((each.value for each in asked.details[0].node.arguments or () if each.name.value == "after"), None)
    begin = given.name.value if isinstance(given, VariableNode) else None
    once = {variable.name for variable in document.variables if len(variable.uses) == 1}
    return repr(sorted((name, value) for name, value in variables.coerced.items() if name != begin or name not in once))


def key_of(id_: str | None, type_name: str, argument: str) -> int | None:
    """The key in an id. Raises `BadUserInput` for an id of nothing of this type."""
    if id_ is None:
        return None
    found = parse_id(id_)
    if found is None or found[0] != type_name:
        raise BadUserInput(f"{argument} must be a {id_form(type_name)}.", (argument,))
    return found[1]

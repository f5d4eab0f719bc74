"""Subscriptions: a document of that kind becomes a reader of its events, which all who ask for the same share.

What goes in: a document's text, variables, a `Context`. What comes out: `Told` events: their cursors, and texts that came from
the database untouched. What is refused here: whatever a query is refused for, before the first event; an `Ended` after it, where
the cursor is too old, or the subscriber too slow.

The selection of an event is a compiled read. A feed is read by the statement of the query that lists it, a page at a time. Of
states it is read first which rows changed, then what these rows are, by their ids.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Hashable, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from json import JSONDecoder
from typing import Any, Protocol

from graphql import (
    ArgumentNode,
    FieldNode,
    GraphQLError,
    GraphQLObjectType,
    GraphQLString,
    IntValueNode,
    NameNode,
    OperationDefinitionNode,
    OperationType,
    SelectionSetNode,
    VariableNode,
    get_named_type,
    is_object_type,
)
from graphql.execution.collect_fields import FieldDetailsList, collect_fields, collect_subfields
from graphql.execution.values import VariableValues

from graph.context import Context
from graph.database import Database
from graph.database.failures import AnswerTooLarge
from graph.feed.hub import Events, EventSource, Expired, Hub, Seen, Told, TooSlow
from graph.feed.outlook import Outlook
from graph.feed.positions import cursor_at, position_of
from graph.feed.sequence import Sequencer
from graph.observations import SubscribersCounted
from graph.operations.documents import Document, RequestRefused, refused
from graph.operations.engine import KEPT_STATEMENTS, Compiled, Engine
from graph.operations.recent import Recent
from graph.operations.variables import coerce_variables
from graph.read.planning.arguments import Given, read_arguments
from graph.read.planning.cost import bytes_of, cost_of, prices, too_expensive, total
from graph.read.planning.plan import Plan, RowsById, RowsByKey
from graph.read.planning.selection import PlanningContext, plan_query, plan_rows
from graph.read.refusals import BadUserInput
from graph.read.rows import Door, with_viewer
from graph.read.sql.statement import write
from graph.read.types.mirror import MIRRORS
from graph.read.types.scalars import parse_id
from graph.scope import Scope

#: The variables under which a cursor and ids are bound. No GraphQL variable can have such a name.
AFTER, IDS = "#after", "#ids"

TOO_SLOW = "More events wait than may; subscribe again with the cursor of the last one."
EXPIRED = "The changes after this cursor are not kept any more; read what you need anew, and subscribe without one."

raw_decode = JSONDecoder().raw_decode


class Ended(GraphQLError):
    """A subscription ends before its client asked for it. `resumable` says that it can be asked for anew with the last cursor."""

    def __init__(self, code: str, message: str, *, resumable: bool, **more: Any) -> None:
        super().__init__(message, extensions={"code": code, **more})
        self.resumable = resumable


@dataclass(frozen=True, slots=True)
class States:
    """A field of the subscription that tells states of rows: of which type, and which arguments name a row, and an owner."""

    type_name: str
    root: str
    owner_type: str
    owner: str


#: Fields of the subscription that tell states. The others are the feeds that queries of the same name list.
STATES: dict[str, States] = {}


@dataclass(frozen=True, slots=True)
class Selected:
    """What a plan needs of a subscription: its one field, merged, with its arguments."""

    operation: PlanningContext
    key: str
    details: FieldDetailsList
    type: GraphQLObjectType
    arguments: dict[str, Any]

    @property
    def field(self) -> str:
        return self.details[0].node.name.value

    def argument(self, name: str) -> Any:
        leaf = self.arguments.get(name)
        return None if leaf is None else leaf.value


@dataclass(frozen=True, slots=True)
class SizedStatement:
    """A statement that makes so many events."""

    compiled: Compiled
    size: int


class Subscribe(Protocol):
    """What transports ask for events. `after` wins over what the document says: who lost a connection sends it beside that.

    Raises as `Engine.run` does before the first event, and `Ended` after it. Whoever asks closes the generator.
    """

    async def __call__(
        self,
        text: str,
        raw_variables: Mapping[str, Any],
        operation_name: str | None,
        context: Context,
        *,
        after: str | None = None,
    ) -> AsyncGenerator[Told]: ...


class Broadcast:
    """Begins subscriptions at one database, whose commits it hears of at once."""

    def __init__(self, engine: Engine, database: Database, sequencer: Sequencer) -> None:
        self.engine = engine
        self.database = database
        self.sequencer = sequencer
        self.outlook = Outlook(database)
        self.hub = Hub(self.outlook, engine.settings.max_queued_events, self._count)
        sequencer.numbered.append(self.hub.wake)
        if database.capabilities.one_writer:
            database.listeners.append(lambda _: self.hub.wake())
        self.plans: Recent[Hashable, SizedStatement] = Recent(engine.settings.max_plans, KEPT_STATEMENTS)

    async def __call__(
        self,
        text: str,
        raw_variables: Mapping[str, Any],
        operation_name: str | None,
        context: Context,
        *,
        after: str | None = None,
    ) -> AsyncGenerator[Told]:
        """Begin a subscription, as `Subscribe` says."""
        document = await self.engine.document(text, operation_name)
        if document.kind is not OperationType.SUBSCRIPTION:
            raise refused("BAD_REQUEST", "This is no subscription.")
        variables = coerce_variables(self.engine.settings, document, raw_variables)
        asked = self._asked(document, variables)
        cursor = after or asked.argument("after")
        position = None if cursor is None else position_of(cursor, ("after",))
        states = STATES.get(asked.field)
        reader: EventSource
        if states is None:
            reader = await self._feed(document, asked, context.scope)
        else:
            reader = await self._states(document, asked, context.scope, states)
        key = (document, values_of(document, asked, variables), context.scope.key, repr(context.scope.values))
        return self._tell(key, reader, position)

    def _count(self, subscribers: int) -> None:
        self.sequencer.listening = subscribers
        self.sequencer.ring()
        if SubscribersCounted.listeners:
            SubscribersCounted(subscribers).tell()

    async def _tell(self, key: Hashable, reader: EventSource, position: int | None) -> AsyncGenerator[Told]:
        try:
            async with aclosing(self.hub.listen(key, reader, position)) as events:
                async for event in events:
                    yield event
        except TooSlow:
            raise Ended("SUBSCRIBER_TOO_SLOW", TOO_SLOW, resumable=True) from None
        except Expired as expired:
            raise Ended("CURSOR_EXPIRED", EXPIRED, resumable=False, oldest=cursor_at(expired.oldest)) from None

    def _asked(self, document: Document, variables: VariableValues) -> Selected:
        operation = self.engine.operation(document, variables)
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
        return FeedReader(self, asked, scope, paged, wanted)

    async def _paged(self, document: Document, asked: Selected, scope: Scope, plan: Any) -> SizedStatement:
        """The statement of as many events as one may ask for at once. Raises `RequestRefused` where one is too dear."""
        key = (document, document.shape(asked.operation.variables.coerced), scope.key)
        paged = self.plans.get(key)
        if paged is None:
            paged = await self.engine.learner.learn(
                ("subscription", *key),
                lambda: self._compiled(plan, scope),
                lambda made: self.plans.put(key, made, len(made.compiled.statement.sql)),
            )
        return paged

    def _compiled(self, plan: Any, scope: Scope) -> SizedStatement:
        settings = self.engine.settings
        one = prices(plan(1), settings.max_text_length)
        if total(one) > settings.max_cost:
            raise RequestRefused([too_expensive(one, settings.max_cost)])
        most = min(settings.max_page_size, settings.max_queued_events)
        fits = (settings.max_cost // max(1, total(one)), settings.max_answer_bytes // 2 // max(1, bytes_of(one)))
        return self.sized(plan, scope, max(1, min(most, *fits)))

    def sized(self, plan: Any, scope: Scope, size: int) -> SizedStatement:
        made = plan(size)
        found = prices(made, self.engine.settings.max_text_length)
        return SizedStatement(
            Compiled(cost_of(found, self.engine.settings.max_cost), bytes_of(found), write(made, self.engine.dialect, scope), ()),
            size,
        )

    # ---- states

    async def _states(self, document: Document, asked: Selected, scope: Scope, states: States) -> StateReader:
        operation = asked.operation
        if not Door(scope).sees_all(MIRRORS[states.type_name].model):
            raise refused("FORBIDDEN", "States are told to those who see all rows.", 403)
        shown = collect_subfields(
            operation.schema, dict(document.fragments), operation.variables, document.operation, asked.type, asked.details
        ).grouped_field_set
        rows = {key: each for key, each in shown.items() if is_object_type(get_named_type(type_of(asked, each)))}

        def plan(size: int) -> Plan:
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
        return StateReader(self, asked, scope, paged, states.type_name, members, root, owner)


@dataclass(frozen=True, slots=True)
class FeedReader:
    """Reads a feed by the statement of the query that lists it."""

    home: Broadcast
    asked: Selected
    scope: Scope
    paged: SizedStatement
    types: frozenset[str] | None

    def concerns(self, seen: Seen) -> bool:
        """Whether there is a change of one of the types asked for."""
        return self.types is None or not self.types.isdisjoint(seen.types)

    async def read(self, after: int, known: int) -> Events:
        """A page of events."""
        try:
            events = await self._page(after, self.paged)
            size = self.paged.size
        except AnswerTooLarge:
            if self.paged.size == 1:
                raise
            one = self.home.sized(lambda size: plan_query(listing(self.asked, size)), self.scope, 1)
            events, size = await self._page(after, one), 1
        last = events[-1].position if events else 0
        return Events(events, last if len(events) >= size else max(known, last))

    async def _page(self, after: int, paged: SizedStatement) -> list[Told]:
        values = with_viewer({**self.asked.operation.variables.coerced, AFTER: cursor_at(after)}, self.scope)
        made = await self.home.engine.fetch(paged.compiled, values, Context(self.home.database, scope=self.scope))
        text = one_line(made)
        edges, place = raw_decode(text, len('{"feed":{"edges":'))
        nodes, _ = spans(text, place + len(',"nodes":'))
        cursors = [edge["cursor"] for edge in edges]
        return [
            Told(position_of(cursor), cursor, answer_of(self.asked, node)) for cursor, node in zip(cursors, nodes, strict=True)
        ]


@dataclass(frozen=True, slots=True)
class StateReader:
    """Reads which rows changed, each once a page, and what they are now."""

    home: Broadcast
    asked: Selected
    scope: Scope
    paged: SizedStatement | None
    type_name: str
    members: tuple[tuple[str, str], ...]
    root: int | None
    owner: int | None

    def concerns(self, seen: Seen) -> bool:
        """Whether one of the rows asked for, or many at once, changed."""
        name = self.type_name
        if (name, None) in seen.roots:
            return True
        if self.owner is not None and (name, self.owner) not in seen.owners:
            return False
        return (name, self.root) in seen.roots if self.root is not None else name in seen.root_types

    async def read(self, after: int, known: int) -> Events:
        """A page of states, each with the position of the last change of its row."""
        rows, whole = await self.home.outlook.roots(self.type_name, self.root, self.owner, after)
        most = self.home.engine.settings.max_queued_events if self.paged is None else self.paged.size
        while True:
            last, end, reached = latest(rows, most, after)
            try:
                states = await self._states([root for root in last if root is not None])
            except AnswerTooLarge:
                if most == 1:
                    raise
                most = (most + 1) // 2
            else:
                break
        events = [self._event(root, position, states) for root, position in last.items()]
        return Events(events, max(known, end) if whole and reached else end)

    async def _states(self, keys: Sequence[int]) -> dict[str, dict[int, str]]:
        """By response key and row, the text of what a row is now."""
        if self.paged is None or not keys:
            return {}
        ids = [f"{self.type_name}:{key}" for key in keys]
        values = with_viewer({**self.asked.operation.variables.coerced, IDS: ids}, self.scope)
        made = await self.home.engine.fetch(self.paged.compiled, values, Context(self.home.database, scope=self.scope))
        text, place, found = one_line(made), 0, dict[str, dict[int, str]]()
        for member, what in self.members:
            if what == "row":
                listed, place = spans(text, place + len(f',"{member}":'))
                found[member] = dict(zip(keys, listed, strict=True))
        return found

    def _event(self, root: int | None, position: int, states: Mapping[str, Mapping[int, str]]) -> Told:
        cursor = cursor_at(position)
        texts = []
        for member, what in self.members:
            if what == "row":
                text = "null" if root is None else states[member][root]
            elif what == "cursor":
                text = f'"{cursor}"'
            elif what == "__typename":
                text = f'"{self.asked.type.name}"'
            else:
                text = "null" if root is None else f'"{self.type_name}:{root}"'
            texts.append(f'"{member}":{text}')
        return Told(position, cursor, answer_of(self.asked, f"{{{','.join(texts)}}}"))


def latest(rows: Sequence[tuple[int, int | None]], most: int, after: int) -> tuple[dict[int | None, int], int, bool]:
    """The last position of each of so many roots at most, in order; how far that goes, and whether it is to the end."""
    last: dict[int | None, int] = {}
    end = after
    for position, root in rows:
        if root not in last and len(last) == most:
            return last, end, False
        last.pop(root, None)  # in the order of their last changes
        last[root] = end = position
    return last, end, True


# ---- documents


def listing(asked: Selected, size: int) -> PlanningContext:
    """The query that lists a page of a feed, with what the subscription selects of an entry."""
    old = asked.operation
    node = asked.details[0].node
    arguments = [each for each in node.arguments or () if each.name.value != "after"]
    arguments.append(ArgumentNode(name=NameNode(value="after"), value=VariableNode(name=NameNode(value=AFTER))))
    arguments.append(ArgumentNode(name=NameNode(value="first"), value=IntValueNode(value=str(size))))
    inner = SelectionSetNode(
        selections=tuple(each for detail in asked.details if (set_ := detail.node.selection_set) for each in set_.selections)
    )
    page = (
        selected("edges", SelectionSetNode(selections=(selected("cursor"),))),
        selected("nodes", inner),
    )
    feed = FieldNode(
        name=node.name,
        alias=NameNode(value="feed"),
        arguments=tuple(arguments),
        directives=(),
        selection_set=SelectionSetNode(selections=page),
    )
    query = OperationDefinitionNode(
        operation=OperationType.QUERY,
        name=None,
        variable_definitions=old.node.variable_definitions,
        directives=(),
        selection_set=SelectionSetNode(selections=(feed,)),
    )
    variables = VariableValues(old.variables.sources, {**old.variables.coerced, AFTER: cursor_at(0)})
    return PlanningContext(old.schema, old.settings, query, old.fragments, variables)


def selected(name: str, set_: SelectionSetNode | None = None) -> FieldNode:
    return FieldNode(name=NameNode(value=name), alias=None, arguments=(), directives=(), selection_set=set_)


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
        raise BadUserInput(f"This is no id of a {type_name}.", (argument,))
    return found[1]


# ---- texts


def one_line(made: bytes) -> str:
    """A text that the database made. Between values it may have put line ends, which would end an event of a stream."""
    return made.decode().replace("\n", " ").replace("\r", " ")


def answer_of(asked: Selected, text: str) -> str:
    """The text of a response."""
    return f'{{"data":{{"{asked.key}":{text}}}}}'


def spans(text: str, place: int) -> tuple[list[str], int]:
    """The texts of the elements of a list that begins at a place, and where it ends."""
    found: list[str] = []
    place += 1
    while text[place] != "]":
        start = place + (text[place] == ",")
        _, place = raw_decode(text, start)
        found.append(text[start:place])
    return found, place + 1

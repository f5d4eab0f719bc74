"""Where the events of a subscription come from: compiled reads, whose texts go on untouched.

What goes in: what a subscription selects, positions. What comes out: `Events` of a page. What is refused here: what a compiled
read is refused for, `AnswerTooLarge` where one event alone is.

A feed is read by the statement of the query that lists it. Of states it is read first which rows changed, then what these are,
by their ids. Where a page is too large together, its events are read one by one, or half as many.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from json import JSONDecoder
from typing import Any

from graphql import (
    ArgumentNode,
    FieldNode,
    GraphQLObjectType,
    IntValueNode,
    NameNode,
    OperationDefinitionNode,
    OperationType,
    SelectionSetNode,
    VariableNode,
)
from graphql.execution.collect_fields import FieldDetailsList
from graphql.execution.values import VariableValues

from graph.context import Context
from graph.database import Database
from graph.database.failures import AnswerTooLarge
from graph.feed.events import Events, Seen, Told
from graph.feed.outlook import Outlook
from graph.feed.positions import cursor_at, position_of
from graph.feed.reach import concerns
from graph.operations.engine import Compiled, Engine, SizedStatement
from graph.read.planning.cost import bytes_of, cost_of, prices
from graph.read.planning.plan import Plan
from graph.read.planning.planning_context import PlanningContext
from graph.read.planning.selection import plan_query
from graph.read.rows import with_viewer
from graph.read.sql.writer import write
from graph.scope import Scope

#: The variables under which a cursor and ids are bound. No GraphQL variable can have such a name.
AFTER, IDS = "#after", "#ids"

raw_decode = JSONDecoder().raw_decode


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


def statement_of(engine: Engine, plan: Callable[[int], Plan], scope: Scope, size: int) -> SizedStatement:
    """The statement of so many events."""
    made = plan(size)
    found = prices(made, engine.settings.max_text_length)
    cost = cost_of(found, engine.settings.max_cost)
    return SizedStatement(Compiled(cost, bytes_of(found), write(made, engine.dialect, scope)), size)


@dataclass(frozen=True, slots=True)
class FeedReader:
    """Reads a feed by the statement of the query that lists it."""

    engine: Engine
    database: Database
    asked: Selected
    scope: Scope
    paged: SizedStatement
    types: frozenset[str] | None

    def concerns(self, seen: Seen) -> bool:
        """Whether there is a change of one of the types asked for."""
        return concerns(self.scope, seen) and (self.types is None or not self.types.isdisjoint(seen.types))

    async def read(self, after: int, known: int) -> Events:
        """A page of events."""
        try:
            events = await self._page(after, self.paged)
            size = self.paged.size
        except AnswerTooLarge:
            if self.paged.size == 1:
                raise
            one = statement_of(self.engine, lambda size: plan_query(listing(self.asked, size)), self.scope, 1)
            events, size = await self._page(after, one), 1
        last = events[-1].position if events else 0
        return Events(events, last if len(events) >= size else max(known, last))

    async def _page(self, after: int, paged: SizedStatement) -> list[Told]:
        values = with_viewer({**self.asked.operation.variables.coerced, AFTER: cursor_at(after)}, self.scope)
        made = await self.engine.fetch(paged.compiled, values, Context(self.database, scope=self.scope), self.database.fetch)
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

    engine: Engine
    outlook: Outlook
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
        if not concerns(self.scope, seen):
            return False
        if (name, None) in seen.roots:
            return True
        if self.owner is not None and (name, self.owner) not in seen.owners:
            return False
        return (name, self.root) in seen.roots if self.root is not None else name in seen.root_types

    async def read(self, after: int, known: int) -> Events:
        """A page of states, each with the position of the last change of its row."""
        rows, whole = await self.outlook.roots(self.scope, self.type_name, self.root, self.owner, after)
        most = self.engine.settings.max_queued_events if self.paged is None else self.paged.size
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
        database = self.outlook.database
        made = await self.engine.fetch(self.paged.compiled, values, Context(database, scope=self.scope), database.fetch)
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
    return PlanningContext(old.schema, old.settings, query, old.fragments, variables, old.kind)


def selected(name: str, set_: SelectionSetNode | None = None) -> FieldNode:
    return FieldNode(name=NameNode(value=name), alias=None, arguments=(), directives=(), selection_set=set_)


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

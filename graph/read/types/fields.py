"""The fields of compiled reads: connections, look-ups and what is told of changes, declared without resolvers.

What goes in: the name of a mirrored type and a description. What comes out: Strawberry fields with their arguments. No
resolver stands behind them: a query never reaches graphql-core's execution (see `graph.operations.engine`).
"""

from __future__ import annotations

from typing import Any, Generic, TypeVar

import strawberry
from strawberry.annotation import StrawberryAnnotation
from strawberry.types.arguments import StrawberryArgument
from strawberry.types.base import StrawberryList
from strawberry.types.field import StrawberryField

from graph.read.types.filter_inputs import generated, optional
from graph.read.types.mirror import Node
from graph.read.types.permissions import root_use
from graph.read.types.sizes import Weighing, sized
from graph.settings import Settings

N = TypeVar("N")


@strawberry.type(description="Where a page lies within its list.", directives=[Weighing(weight="0")])
class PageInfo:
    has_next_page: bool = strawberry.field(description="Whether rows follow this page.")
    has_previous_page: bool = strawberry.field(description="Whether rows precede this page.")
    start_cursor: str | None = strawberry.field(description="The cursor of the first row, for `before`; null on an empty page.")
    end_cursor: str | None = strawberry.field(description="The cursor of the last row, for `after`; null on an empty page.")


@strawberry.type(description="A row in a list and its place there.")
class Edge(Generic[N]):
    cursor: str = strawberry.field(description="The place of this row in the order of the list, for `after` and `before`.")
    node: N = strawberry.field(description="The row.")


@strawberry.type(description="A page of a list. Pages are keyset pages: rows neither repeat nor go missing under writes.")
class Connection(Generic[N]):
    edges: list[Edge[N]] = strawberry.field(description="The rows of the page with their cursors.")
    nodes: list[N] = strawberry.field(description="The rows of the page.")
    page_info: PageInfo = strawberry.field(description="Where this page lies within the list.")
    total_count: int = strawberry.field(description="How many rows the list has over all pages; counted only when selected.")


def argument(name: str, annotation: Any, description: str, *, required: bool = False) -> StrawberryArgument:
    """An argument; one that is not required has no default either: `first: Int`, not `first: Int = null`."""
    return StrawberryArgument(
        python_name=name,
        graphql_name=None,
        type_annotation=StrawberryAnnotation(annotation if required else optional(annotation)),
        description=description,
    )


def connection(type_name: str, description: str, *, searchable: bool = False, scope: str | None = None) -> Any:
    """A connection field over rows of the mirrored type `type_name`; at the root it needs a scope."""
    arguments = [
        argument("first", int, "How many rows from the start, at most the page limit; a page of the usual size when left out."),
        argument("after", str, "Only rows after this cursor."),
        argument("last", int, "How many rows from the end, at most the page limit."),
        argument("before", str, "Only rows before this cursor."),
        argument("where", generated(f"{type_name}Where"), "Only rows that match."),
        argument(
            "order_by",
            StrawberryList(generated(f"{type_name}Sort")),
            "The order of the rows, most significant first; by id when left out.",
        ),
    ]
    if searchable:
        arguments.append(argument("search", str, "Only rows that contain this text in one of the fields people search by."))
    made = StrawberryField(description=description, metadata=None if scope is None else root_use(scope))
    made.arguments = arguments
    return made


def one_by(by: Any, description: str, *, scope: str) -> Any:
    """A field that finds one row by one of its unique keys, or null."""
    made = StrawberryField(description=description, metadata=root_use(scope))
    made.arguments = [argument("by", by, "The key to look up.", required=True)]
    return made


def event_field(description: str, *arguments: tuple[str, Any, str], scope: str) -> Any:
    """A field of the subscription. Whoever hears of an event can go on after it."""
    made = StrawberryField(description=description, metadata=root_use(scope))
    after = ("after", str, "Only events after the one with this cursor, from there on without a gap; from now on when left out.")
    made.arguments = [argument(*each) for each in (*arguments, after)]
    return made


def _node(name: str, of: Any, description: str, text: str, *directives: Any) -> Any:
    made = StrawberryField(description=description, metadata=root_use("read"), directives=directives)
    made.arguments = [argument(name, of, text, required=True)]
    return made


def summary(type_name: str, group: Any, description: str, *, scope: str) -> Any:
    """A field that counts and sums rows of the mirrored type `type_name` by groups."""
    made = StrawberryField(description=description, metadata=root_use(scope))
    made.arguments = [
        argument("where", generated(f"{type_name}Where"), "Only rows that match."),
        argument("group_by", StrawberryList(group), "What to group by, most significant first."),
        argument("first", int, "How many groups at most: 100 when left out, 1,000 at the most."),
    ]
    return made


@strawberry.type
class NodeQueries:
    node: Node | None = _node("id", strawberry.ID, "Any row by its global id, or null.", "The global id.")
    nodes: list[Node | None] = _node(
        "ids",
        list[strawberry.ID],
        "Rows by their global ids, in the order asked; null where there is none.",
        "The global ids.",
        sized(Settings().max_page_size),
    )

"""Changes as clients read them: `changes`, and the own feed of an order, a customer or an item.

What goes in: rows of the outbox that have a position. What comes out: compiled reads like all others: `Change` mirrors the
outbox, so a page of it is part of the operation's one statement, with its limits and cost; who is told of which changes says its
row rule (`graph.feed.reach`). What is refused here: a cursor that lies before the oldest
row, as CURSOR_EXPIRED, with the oldest that works.

A subscription of the same name tells the same rows: an event is read as an entry of this list.
"""

from __future__ import annotations

import enum
from functools import cache
from typing import Any

import strawberry
from strawberry.types.base import StrawberryList
from strawberry.types.field import StrawberryField
from strawberry.types.lazy_type import LazyType

from graph.feed.outbox import ChangeRow
from graph.feed.reach import when_moved, within_reach
from graph.read.types.fields import Connection, argument, event_field
from graph.read.types.mirror import MIRRORS, Link, Node, mirror
from graph.read.types.permissions import NOT_TOLD, root_use
from graph.read.types.scalars import DateTime
from graph.write.record import Kind

KINDS = {
    Kind.CREATED: "It was made.",
    Kind.UPDATED: "Some of its fields changed.",
    Kind.DELETED: "It is gone.",
    Kind.MANY: "One statement changed more rows of the type than are told one by one: read again what you keep of it.",
}
ChangeKind: Any = strawberry.enum(Kind, name="ChangeKind", description="What became of an entity.")
for _value in ChangeKind.__strawberry_definition__.values:
    _value.description = KINDS[_value.value]


class _ChangedType(LazyType[Any, Any]):
    """The enum of all types whose changes are told: known when the schema is put together."""

    def resolve_type(self) -> type[Any]:
        return changed_type()


changed_types: Any = _ChangedType("ChangedType", __name__)


@cache
def changed_type() -> type[Any]:
    """The enum of all types with global ids."""
    names = {name: name for name in sorted(MIRRORS) if MIRRORS[name].is_node}
    made: Any = enum.StrEnum("ChangedType", names)  # type: ignore[misc]  # made when it runs
    shown: Any = strawberry.enum(made, description="The types whose changes are told.")
    for value in shown.__strawberry_definition__.values:
        value.description = f"Changes of `{value.name}`."
    return shown  # type: ignore[no-any-return]  # made when it runs


@mirror(ChangeRow, log="position", visible=within_reach, shown=when_moved)
@strawberry.type(
    name="Change",
    description="A change that was committed, told once; those of one entity stand in the order in which they happened.",
)
class ToldChange:
    cursor: str = strawberry.field(description="The place of the change, for `after`: what follows it is what happened since.")
    kind: ChangeKind = strawberry.field(description="What happened.")
    type: str = strawberry.field(description="The type of what changed, as `__typename` says it.")
    entity_id: strawberry.ID | None = strawberry.field(description="The global id of what changed; null for MANY.")
    version: int | None = strawberry.field(
        description="The version afterwards, of the order for a line; null where it is gone, and for MANY."
    )
    fields: list[str] = strawberry.field(description="The names of the fields that changed, for UPDATED.")
    at: DateTime = strawberry.field(description="When it happened.")
    by: str | None = strawberry.field(description="Who did it, where that is known.", metadata=NOT_TOLD)
    count: int = strawberry.field(description="How many rows: 1, but for MANY.")
    node: Node | None = strawberry.field(description="What changed, as it is now; null where it is gone, and for MANY.")


ARGUMENTS = (
    ("first", int, "How many changes from the oldest, at most the page limit; a page of the usual size when left out."),
    ("after", str, "Only what happened after the change with this cursor; refused as CURSOR_EXPIRED where some of it is gone."),
    ("last", int, "How many changes from the latest, at most the page limit."),
    ("before", str, "Only what happened before the change with this cursor."),
)


def _changes(description: str, *more: Any, scope: str | None = None) -> Any:
    made = StrawberryField(description=description, metadata=None if scope is None else root_use(scope))
    made.arguments = [*(argument(*each) for each in ARGUMENTS), *more]
    return made


def own_changes(description: str) -> Any:
    """The feed of an entity; its type says so by `links={"changes": of_root("Order")}`."""
    return _changes(description)


def of_root(type_name: str) -> Link:
    """Whether a change is one of an entity, of its parts, or of many rows of its type or theirs."""
    return lambda row, change: (change.root_type == type_name) & change.root.in_((row.id, 0))


@strawberry.type
class ChangeQueries:
    changes: Connection[ToldChange] = _changes(
        "All changes that are kept, oldest first.",
        argument("types", StrawberryList(changed_types), "Only changes of these types."),
        scope="read",
    )


@strawberry.type
class ChangeSubscriptions:
    changes: ToldChange = event_field(
        "Every change, in the order of `changes`, none left out and none told twice.",
        ("types", StrawberryList(changed_types), "Only changes of these types."),
        scope="read",
    )

"""Row locks: how strong they are, and the one order in which every write takes them.

What goes in: a SELECT of rows. What comes out: the same, which locks them in the order of their keys. What may be refused here:
nothing; who waits too long is refused by the database.

All writes lock in one order, so that none waits for another that waits for it: rows of the classes in `ORDER`, one class after
the other, each in the order of its keys. A lock is as strong as what is to become of the row, from the beginning: whoever takes a
weaker one and needs a stronger one later may meet somebody who does the same. What a foreign key would lock when a row is written
is locked when the reference is looked up. Statements for a database with one writer at a time lock nothing.
"""

from __future__ import annotations

import enum
from typing import Any, TypeVar

import sqlalchemy as sa

from graph.base import Base
from graph.write.mutation_inputs import sent
from graph.write.unique_keys import unique_keys

#: The classes whose rows are locked first, in this order; `graph.schema` lists them. All others follow by their names.
ORDER: list[type[Base]] = []

S = TypeVar("S", bound=sa.Select[Any])


class Lock(enum.Enum):
    """What a row is locked for, and what PostgreSQL calls that lock."""

    POINT_TO = "KEY SHARE"  # it must stay, and keep its keys
    CHANGE = "NO KEY UPDATE"  # others may point to it meanwhile
    DELETE = "UPDATE"  # nobody may point to it any more; so it is, too, when one of its unique keys changes


def locked(found: S, row: Any, lock: Lock, *, skip: bool = False) -> S:
    """A SELECT of rows that locks them in the order of their keys; with `skip` it leaves out those that somebody else has locked.

    `row` came through the row door, or is a table.
    """
    key = row.c.id if isinstance(row, sa.Table) else row.id
    return found.order_by(key).with_for_update(
        of=row, skip_locked=skip, read=lock is Lock.POINT_TO, key_share=lock is not Lock.DELETE
    )


def rank(model: type[Base]) -> tuple[int, str]:
    """Where a class stands in the order."""
    return ORDER.index(model) if model in ORDER else len(ORDER), model.__name__


def for_input(model: type[Base], input_: Any) -> Lock:
    """The lock for a row that an input is to change: its unique keys change as if it were deleted."""
    keys = {column for each in unique_keys(model.__mapper__.local_table) for column in each.columns}
    changing = (model.__mapper__.columns.get(field.attribute) for field, _ in sent(input_))
    return Lock.DELETE if any(column in keys for column in changing) else Lock.CHANGE

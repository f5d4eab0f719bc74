"""Keyset paging in SQL: the condition that a row lies beyond a cursor.

What goes in: the keys of an order, aliased columns, what binds the values of a cursor. What comes out: SQL conditions. What is
refused here: nothing; cursors are judged when they are planned and when their values are bound.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from sqlalchemy import ColumnElement, and_, false, or_, tuple_

from graph.read.planning.plan import SortKey


def beyond(
    order: Sequence[SortKey],
    columns: Sequence[Any],
    nulls: Sequence[bool],
    value: Callable[[int], ColumnElement[Any]],
    backward: bool,
) -> ColumnElement[bool]:
    """The condition that a row comes after the cursor in the order, or before it where `backward`.

    `value(i)` binds the cursor's value of key `i`. One row comparison where that says it all, since an index serves it;
    otherwise a nested comparison led by a bound on the first key.
    """
    plain = not any(key.nullable for key in order) and len({key.descending for key in order}) == 1
    descending = [key.descending is not backward for key in order]
    if plain:
        left, right = tuple_(*columns), tuple_(*(value(i) for i in range(len(order))))
        condition = left < right if descending[0] else left > right
        if not any("." in key.path for key in order):
            return condition
        # A row comparison over two tables is no condition of an index of either.
        return and_(columns[0] <= value(0) if descending[0] else columns[0] >= value(0), condition)
    condition = _beyond(0, order, columns, nulls, value, descending)
    if nulls[0] or order[0].nullable:
        return condition
    bound = columns[0] <= value(0) if descending[0] else columns[0] >= value(0)
    return and_(bound, condition)


def _beyond(
    i: int,
    order: Sequence[SortKey],
    columns: Sequence[Any],
    nulls: Sequence[bool],
    value: Callable[[int], ColumnElement[Any]],
    descending: Sequence[bool],
) -> ColumnElement[bool]:
    if i == len(order):
        return false()
    column, rest = columns[i], _beyond(i + 1, order, columns, nulls, value, descending)
    if nulls[i]:  # nulls are greatest
        tie = and_(column.is_(None), rest)
        return or_(column.is_not(None), tie) if descending[i] else tie
    strictly = column < value(i) if descending[i] else column > value(i)
    if order[i].nullable and not descending[i]:
        strictly = or_(strictly, column.is_(None))
    return or_(strictly, and_(column == value(i), rest) if i + 1 < len(order) else false())

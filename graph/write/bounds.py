"""The bounds that a check sets, in the words of clients: for the errors of those who cross them, and for descriptions.

What goes in: a check of the metadata (`graph.base.between`), and the row it refuses where a bound is the row's own. What comes
out: texts in the scale of the column. Nothing is refused here.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import sqlalchemy as sa

from graph.base import Base, Bounds, Money
from graph.read.types.amounts import MOST_MONEY, money_text


@dataclass(frozen=True, slots=True)
class Range:
    """What an attribute may be: the ends as the API shows values, None where one is open, and how people say it."""

    attribute: str
    minimum: str | None
    maximum: str | None
    words: str


def check_columns(table: Any, constraint: sa.CheckConstraint) -> list[Any]:
    """The columns that a check reads, in the order of its text."""
    words = dict.fromkeys(re.findall(r"\w+", str(constraint.sqltext)))
    return [table.columns[word] for word in words if word in table.columns]


def own_maximum(constraint: sa.CheckConstraint) -> str | None:
    """The attribute that is the maximum of each row, if each has one of its own."""
    bounds: Bounds | None = constraint.info.get("bounds")
    return bounds.maximum if bounds is not None and isinstance(bounds.maximum, str) else None


def range_of(table: Any, constraint: sa.CheckConstraint, own: int | None = None, name: str = "") -> Range | None:
    """What a check allows, if it says so. `own` is the maximum where the row has one of its own, and `name` what it is called."""
    bounds: Bounds | None = constraint.info.get("bounds")
    if bounds is None:
        return None
    columns = check_columns(table, constraint)
    money = isinstance(columns[0].type, Money)
    show = money_text if money else str
    most = own if isinstance(bounds.maximum, str) else bounds.maximum
    if money and len(columns) == 1 and isinstance(bounds.maximum, int):
        most = min(bounds.maximum, MOST_MONEY)  # more than this is refused by its digits, before the check is asked
    minimum, maximum = (None if end is None else show(end) for end in (bounds.minimum, most))
    least, greatest = ("" if end is None else f"{Decimal(end):,}" for end in (minimum, maximum))
    greatest = f"{name}, {greatest}" if name else greatest
    words = f"from {least} to {greatest}" if least and greatest else f"at most {greatest}" if greatest else f"at least {least}"
    return Range(bounds.attribute, minimum, maximum, words)


def allowed(model: type[Base], attribute: str) -> str:
    """What the check on an attribute allows, for a description: "from 1 to 100,000"."""
    table: Any = sa.inspect(model).local_table
    checks = (constraint for constraint in table.constraints if isinstance(constraint, sa.CheckConstraint))
    (found,) = [limits for check in checks if (limits := range_of(table, check)) and limits.attribute == attribute]
    return found.words

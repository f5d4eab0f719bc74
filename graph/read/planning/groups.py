"""Summaries: what rows of a type can be grouped by, and what is counted and summed over a group.

What goes in: a domain's `Summary`. What comes out: the summaries by the name of their GraphQL type, for the planner and the SQL
writer. What is refused here: nothing; sizes are judged where a summary is planned.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement

from graph.base import Base

#: An expression over an aliased row.
Expression = Callable[[Any], ColumnElement[Any]]

#: Groups of one summary at most, and when the client does not say.
MAX_GROUPS = 1000
DEFAULT_GROUPS = 100


@dataclass(frozen=True, slots=True)
class Group:
    """What a summary can be grouped by: an expression over a row, or over its detail where `by_detail`.

    Shown as a scalar, or as a row of a type (`entity`), whose key the expression is.
    """

    field: str
    expression: Expression
    scalar: str = ""
    entity: str = ""
    by_detail: bool = False


@dataclass(frozen=True, slots=True)
class Measure:
    """A number over a group.

    `rows` aggregates the rows of a group; a measure without it sums `each` over all their details. `details` aggregates
    the details of a group of a summary by detail; a measure without it is null there.
    """

    scalar: str
    rows: Expression | None = None
    each: Expression | None = None
    details: Expression | None = None


@dataclass(frozen=True, slots=True)
class Summary:
    """What the fields of a summary type mean: `measures` by GraphQL name, `totalAmount.sum` for one in an object."""

    of: str
    detail: type[Base]
    relation: str
    groups: dict[str, Group]
    measures: dict[str, Measure]


SUMMARIES: dict[str, Summary] = {}

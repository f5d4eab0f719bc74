"""Summaries: rows of a type counted and summed by groups, compiled like every read.

What goes in: a domain's `Summary`, which says what can be grouped and measured. What comes out: plan records and their SQL.
What is refused here: a page size or a group that cannot be used raises `BadUserInput`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, func, literal_column, select
from sqlalchemy.orm import aliased

from graph.base import Base
from graph.read.codecs import Part, encode, joined, json_object
from graph.read.dialects import JoinedRows, literal
from graph.read.filters import Binder, Conditions, visible
from graph.read.mirror import MIRRORS
from graph.read.plan import Entity, SummaryPart, SummaryRoot

Expression = Callable[[Any, Any], ColumnElement[Any]]

#: Groups of one summary at most, and when the client does not say.
MAX_GROUPS = 1000
DEFAULT_GROUPS = 100


@dataclass(frozen=True, slots=True)
class Group:
    """What a summary can be grouped by: an expression over the row and its detail, shown as a scalar or as a row of a type."""

    field: str
    expression: Expression
    scalar: str = ""
    entity: str = ""
    by_detail: bool = False


@dataclass(frozen=True, slots=True)
class Measure:
    """A number over a group. `by_detail` gives it where the summary is grouped by detail; absent means null there."""

    scalar: str
    expression: Expression
    by_detail: Expression | None = None


@dataclass(frozen=True, slots=True)
class Summary:
    """What the fields of a summary type mean: `measures` by GraphQL name, `totalAmount.sum` for one in an object."""

    of: str
    detail: type[Base]
    relation: str
    groups: dict[str, Group]
    measures: dict[str, Measure]


SUMMARIES: dict[str, Summary] = {}


class SummaryWriter:
    """The SQL of one summary. `one_row` writes the row of a group by its key."""

    def __init__(
        self, binder: Binder, one_row: Callable[[Entity, ColumnElement[Any]], ColumnElement[str]], root: SummaryRoot
    ) -> None:
        self.binder, self.one_row, self.root = binder, one_row, root
        self.summary = SUMMARIES[root.type_name]
        self.by_detail = any(self.summary.groups[name].by_detail for name in root.groups)

    def parts(self) -> list[Part]:
        """The JSON list of the groups, in the order of their keys."""
        mirror = MIRRORS[self.summary.of]
        row = aliased(mirror.model, name=self.binder.alias())
        detail = aliased(self.summary.detail, name=self.binder.alias())
        groups = {name: self.summary.groups[name].expression(row, detail) for name in self.root.groups}
        measures: dict[str, ColumnElement[Any]] = {}
        self._collect(self.root.parts, "", row, detail, measures)
        columns: list[Any] = [expression.label(f"g{index}") for index, expression in enumerate(groups.values())]
        columns += [expression.label(f"m{index}") for index, expression in enumerate(measures.values())]
        query = select(*columns, func.count()).select_from(row)  # the count makes it an aggregate, whatever is selected
        if self.by_detail:
            query = query.join(detail, getattr(row, self.summary.relation).of_type(detail))
        query = query.where(Conditions(self.binder).of(row, self.root.where), visible(mirror, row))
        query = query.group_by(*groups.values()).order_by(*groups.values()).limit(literal_column(str(self.root.size)))
        table = query.subquery(self.binder.alias())
        shown: dict[str, Any] = {name: table.c[f"g{index}"] for index, name in enumerate(groups)}
        counted: dict[str, ColumnElement[Any]] = {name: table.c[f"m{index}"] for index, name in enumerate(measures)}
        each = joined(self._object(self.root.parts, "", shown, counted))
        return ["[", func.coalesce(select(JoinedRows(each)).select_from(table).scalar_subquery(), literal("")), "]"]

    def _collect(
        self, parts: tuple[SummaryPart, ...], prefix: str, row: Any, detail: Any, found: dict[str, ColumnElement[Any]]
    ) -> None:
        for part in parts:
            name = prefix + part.name
            if part.what == "object":
                self._collect(part.parts, f"{name}.", row, detail, found)
            elif part.what == "measure":
                measure = self.summary.measures[name]
                expression = measure.by_detail if self.by_detail else measure.expression
                if expression is not None:
                    found[name] = expression(row, detail)

    def _object(
        self, parts: tuple[SummaryPart, ...], prefix: str, groups: dict[str, Any], measures: dict[str, ColumnElement[Any]]
    ) -> list[Part]:
        members: list[tuple[str, list[Part]]] = []
        for part in parts:
            name = prefix + part.name
            value: list[Part] = ["null"]
            if part.what == "typename":
                value = [f'"{part.name}"']
            elif part.what == "object":
                value = self._object(part.parts, f"{name}.", groups, measures)
            elif part.what == "measure" and name in measures:
                value = encode(self.summary.measures[name].scalar, measures[name], nullable=True)
            elif part.what == "group" and name in groups:
                value = encode(self.summary.groups[name].scalar, groups[name], nullable=False)
            elif part.what == "entity" and name in groups and part.entity is not None:
                value = [func.coalesce(self.one_row(part.entity, groups[name]), literal("null"))]
            members.append((part.key, value))
        return json_object(members)

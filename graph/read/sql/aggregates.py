"""Summaries become SQL: rows of a type counted and summed by groups.

What goes in: the `SummaryRoot` of a plan and the domain's `Summary` behind it. What comes out: the JSON list of the groups. It
only assembles: groups, filter and size are decided in the plan.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from sqlalchemy import ColumnElement, Select, func, literal_column, select

from graph.read.planning.filters import EVERYTHING
from graph.read.planning.groups import SUMMARIES, Expression, Measure
from graph.read.planning.plan import Entity, SummaryPart, SummaryRoot
from graph.read.sql.conditions import Binder, Conditions
from graph.read.sql.constructs import JoinedRows
from graph.read.sql.json import encode, joined, json_list, json_object
from graph.read.types.encodings import Part, literal
from graph.read.types.mirror import MIRRORS


class SummaryWriter:
    """The SQL of one summary. `one_row` writes the row of a group by its key."""

    def __init__(
        self, binder: Binder, one_row: Callable[[Entity, ColumnElement[Any]], ColumnElement[str]], root: SummaryRoot
    ) -> None:
        self.binder, self.one_row, self.root = binder, one_row, root
        self.summary = SUMMARIES[root.type_name]
        self.mirror = MIRRORS[self.summary.of]
        self.groups = [self.summary.groups[name] for name in root.groups]
        self.measures = list(dict.fromkeys(self._selected(root.parts, "")))
        #: Whether the filter and the row rule let every row through.
        self.all = root.where == EVERYTHING and binder.door.sees_all(self.mirror.model)

    def parts(self) -> list[Part]:
        """The JSON list of the groups, in the order of their keys."""
        table = self._table()
        shown: dict[str, Any] = {name: table.c[f"g{index}"] for index, name in enumerate(self.root.groups)}
        counted: dict[str, ColumnElement[Any]] = {
            name: table.c[f"m{index}"] for index, name in enumerate(self.measures) if f"m{index}" in table.c
        }
        each = joined(self._object(self.root.parts, "", shown, counted))
        return json_list(select(JoinedRows(each)).select_from(table).scalar_subquery())

    def _selected(self, parts: tuple[SummaryPart, ...], prefix: str) -> Iterator[str]:
        """The names of the measures in a selection."""
        for part in parts:
            if part.what == "object":
                yield from self._selected(part.parts, f"{prefix}{part.name}.")
            elif part.what == "measure":
                yield prefix + part.name

    def _table(self) -> Any:
        """A row for each group: its keys `g0`, `g1`... and the selected measures `m0`, `m1`..."""
        measures = [(f"m{index}", self.summary.measures[name]) for index, name in enumerate(self.measures)]
        if any(group.by_detail for group in self.groups):
            return self._by_detail(measures)
        rows = [(name, measure.rows) for name, measure in measures if measure.rows is not None]
        each = [(name, measure.each) for name, measure in measures if measure.rows is None and measure.each is not None]
        row = self._row()
        query = self._grouped(row, [expression(row).label(name) for name, expression in rows])
        if not each:
            return self._cut(query, row).subquery(self.binder.alias())
        if not self.groups and self.all:  # every detail belongs to a row
            detail = self._detail()
            sums = [select(func.sum(expression(detail))).scalar_subquery().label(name) for name, expression in each]
            return query.add_columns(*sums).subquery(self.binder.alias())
        if len(self.groups) == 1 and self.groups[0].entity:
            return self._few_of_many(self._cut(query, row).cte(self.binder.alias()), each)
        return self._lines_once(each, rows)

    def _row(self) -> Any:
        return self.binder.rows(self.mirror.model)

    def _detail(self) -> Any:
        return self.binder.rows(self.summary.detail)

    def _keys(self, row: Any) -> list[ColumnElement[Any]]:
        return [group.expression(row) for group in self.groups]

    def _matching(self, row: Any) -> ColumnElement[bool]:
        """The condition that a row counts."""
        return Conditions(self.binder).of(row, self.root.where)

    def _grouped(self, row: Any, columns: Sequence[ColumnElement[Any]]) -> Select[Any]:
        keys = [key.label(f"g{index}") for index, key in enumerate(self._keys(row))]
        # The count makes it an aggregate, whatever is selected.
        return select(*keys, *columns, func.count()).select_from(row).where(self._matching(row)).group_by(*self._keys(row))

    def _cut(self, query: Select[Any], row: Any) -> Select[Any]:
        """The first groups by their keys."""
        return query.order_by(*self._keys(row)).limit(literal_column(str(self.root.size)))

    def _by_detail(self, measures: list[tuple[str, Measure]]) -> Any:
        """Groups of details, of which a row may have many in several groups."""
        row, detail = self._row(), self._detail()
        keys = [group.expression(detail if group.by_detail else row) for group in self.groups]
        columns: list[Any] = [key.label(f"g{index}") for index, key in enumerate(keys)]
        columns += [measure.details(detail).label(name) for name, measure in measures if measure.details is not None]
        query = select(*columns, func.count())
        if self.all and all(group.by_detail for group in self.groups):
            query = query.select_from(detail)
        else:
            related = getattr(row, self.summary.relation).of_type(detail)
            query = query.select_from(row).join(detail, related).where(self._matching(row))
        query = query.group_by(*keys).order_by(*keys).limit(literal_column(str(self.root.size)))
        return query.subquery(self.binder.alias())

    def _lines_once(self, each: list[tuple[str, Expression]], rows: list[tuple[str, Expression]]) -> Any:
        """Few groups of many rows: the details are summed by row in one pass, then by group with the rows."""
        row, detail, among = self._row(), self._detail(), self._row()
        relation = self.mirror.mapper.relationships[self.summary.relation]
        ((local, remote),) = relation.local_remote_pairs or ()
        key = str(self.mirror.mapper.get_property_by_column(local).key)
        foreign = getattr(detail, str(relation.mapper.get_property_by_column(remote).key))
        sums = select(foreign.label("key"), *(func.sum(expression(detail)).label(name) for name, expression in each))
        if not self.all:
            sums = sums.where(foreign.in_(select(getattr(among, key)).where(self._matching(among))))
        lines = sums.group_by(foreign).subquery(self.binder.alias())
        query = self._grouped(row, [expression(row).label(name) for name, expression in rows])
        query = query.add_columns(*(func.sum(lines.c[name]).label(name) for name, _ in each))
        query = query.outerjoin(lines, lines.c.key == getattr(row, key))
        return self._cut(query, row).subquery(self.binder.alias())

    def _few_of_many(self, groups: Any, each: list[tuple[str, Expression]]) -> Any:
        """Of many groups, whose key an index serves, those that are shown: only their details are read."""
        row, detail = self._row(), self._detail()
        (key,) = self._keys(row)
        sums = select(key.label("key"), *(func.sum(expression(detail)).label(name) for name, expression in each))
        sums = sums.join_from(row, detail, getattr(row, self.summary.relation).of_type(detail))
        sums = sums.where(self._matching(row), key.in_(select(groups.c.g0)))
        lines = sums.group_by(key).subquery(self.binder.alias())
        columns = [column for column in groups.c if column.key is not None and column.key[0] in "gm"]
        query = select(*columns, *(lines.c[name] for name, _ in each)).outerjoin_from(groups, lines, lines.c.key == groups.c.g0)
        return query.order_by(groups.c.g0).subquery(self.binder.alias())

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

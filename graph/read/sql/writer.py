"""Plans become SQL: one statement whose one row and column is the JSON text of the answer, in UTF-8.

What goes in: a `Plan` and a dialect. What comes out: a `Statement`: the SQL text as the driver takes it, and for each
parameter where its value comes from. It only assembles: every decision is in the plan.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

import sqlalchemy as sa
from sqlalchemy import ColumnElement, Dialect, Select, bindparam, case, func, inspect, select
from sqlalchemy.types import TypeEngine

from graph.base import Base
from graph.database import capabilities
from graph.read.planning.arguments import Constant, Given, Source
from graph.read.planning.cursors import cursor_values, order_tag
from graph.read.planning.nesting import AT_ROOT, BESIDE, IN_LOOKUP, IN_NODES, IN_PAYLOAD, IN_SUMMARY, added_depth, needed, room
from graph.read.planning.plan import (
    AnyRow,
    Cursor,
    Entity,
    Lookup,
    Many,
    Meta,
    One,
    Page,
    Plan,
    RowsById,
    RowsByKey,
    SummaryRoot,
    Typename,
    Untold,
    Value,
    ViewerRoot,
)
from graph.read.rows import VIEWER, Door
from graph.read.sql.aggregates import SummaryWriter
from graph.read.sql.bound_lists import id_rows, member, unchanged
from graph.read.sql.conditions import Conditions, key_reader, type_of
from graph.read.sql.connections import PageWriter, cursor_text
from graph.read.sql.constructs import ByteLength, JoinedRows, Lacking, within_bytes
from graph.read.sql.json import encode, encode_id, joined, json_list, json_object, or_null
from graph.read.sql.statement import EXPIRED, KEYS, LIMIT, META, Parameter, Statement, constant
from graph.read.sql.viewer_json import viewer_parts
from graph.read.types.encodings import Part, literal
from graph.read.types.mirror import MIRRORS, Mirror, mirror_of
from graph.read.types.scalars import parse_id
from graph.scope import SERVER, Scope

#: What no JSON holds where it is put.
NO_JSON = "?"


def write(plan: Plan, dialect: Dialect, scope: Scope) -> Statement:
    """The one statement of a plan, for all viewers of the kind of this scope. It fails where it makes too many bytes."""
    return Writer(dialect, scope).write(plan)


class Writer:
    def __init__(self, dialect: Dialect, scope: Scope) -> None:
        self.dialect = dialect
        self.door = Door(scope, lambda name, type_: self.bind(Given((VIEWER, name)), type_))
        self.conditions = Conditions(self)
        self.binds: dict[str, Parameter] = {}
        self.aliases = 0
        #: Whether a cursor that was given is expired, and the oldest one of its log that works.
        self.expired: list[tuple[ColumnElement[bool], ColumnElement[str]]] = []
        self.room = room(dialect)

    # ---- names and parameters

    def alias(self) -> str:
        self.aliases += 1
        return f"t{self.aliases}"

    def bind(
        self, source: Source, type_: TypeEngine[Any], encode: Callable[[Any], Any] = unchanged, *, judged: bool = False
    ) -> ColumnElement[Any]:
        name = f"p{len(self.binds) + 1}"
        process = type_.dialect_impl(self.dialect).bind_processor(self.dialect)
        self.binds[name] = Parameter(source, (lambda value: process(encode(value))) if process else encode, judged)
        return bindparam(name, type_=type_, required=False)

    def write(self, plan: Plan) -> Statement:
        query = self._query(plan)
        if not capabilities(self.dialect).bounds_texts:
            query = within_bytes(query, self.bind(Given((LIMIT,)), sa.Integer()))
        return self.spelled(query)

    def spelled(self, query: sa.ClauseElement) -> Statement:
        """A query, or an INSERT, as the driver takes it."""
        compiled: Any = query.compile(dialect=self.dialect, compile_kwargs={"render_postcompile": True})
        binds = [
            self.binds.get(name) or Parameter(Constant(None), constant(compiled, name, self.dialect))
            for name in compiled.positiontup or ()
        ]
        return Statement(str(compiled), tuple(binds))

    def _query(self, plan: Plan) -> Select[Any]:
        """The query of one row and column, which is the answer; or the oldest cursor that works, where one is expired."""
        query = self._rows(plan.roots) if isinstance(plan.roots, RowsByKey) else select(self._roots(plan))
        if not self.expired:
            return query
        conditions, oldest = zip(*self.expired, strict=True)
        texts = [(condition, joined([EXPIRED, text])) for condition, text in zip(conditions, oldest, strict=True)]
        return select(case(*texts, else_=query.scalar_subquery()))

    # ---- roots

    def _roots(self, plan: Plan) -> ColumnElement[str]:
        members: list[tuple[str, list[Part]]] = []
        assert isinstance(plan.roots, tuple)
        for root in plan.roots:
            match root:
                case Typename(key, name):
                    members.append((key, [f'"{name}"']))
                case Meta(key):
                    members.append((key, [self.bind(Given((META, key)), sa.Text())]))
                case Page():
                    members.append((root.key, [self._page(root, None, AT_ROOT + added_depth(root))]))
                case Lookup():
                    members.append((root.key, [or_null(self._lookup(root))]))
                case SummaryRoot():
                    members.append((root.key, SummaryWriter(self, partial(self._by_key, used=IN_SUMMARY), root).parts()))
                case RowsById():
                    members.append((root.key, self._nodes(root)))
                case ViewerRoot():
                    members.append((root.key, viewer_parts(self, partial(self._by_key, used=IN_LOOKUP), root)))
        return joined(json_object(members), sum(not isinstance(root, (Typename, Meta)) for root in plan.roots))

    def _lookup(self, root: Lookup) -> ColumnElement[str]:
        row = self.row(MIRRORS[root.entity.type_name])
        encode_ = key_reader(root.entity.type_name) if root.attribute == "id" else unchanged
        column = getattr(row, root.attribute)
        return self._one_row(root.entity, row, IN_LOOKUP, column == self.bind(root.source, column.type, encode_))

    def _nodes(self, root: RowsById) -> list[Part]:
        def pairs(value: Any) -> list[tuple[str, int]]:
            found = [parse_id(text) for text in ([value] if root.single else value)]
            return [pair if pair is not None and pair[0] in MIRRORS else ("", 0) for pair in found]

        ids = id_rows(self.dialect, lambda type_, whole: self.bind(root.source, type_, whole), pairs, self.alias())
        found = []
        for entity in root.entities:
            object_ = self._by_key(entity, ids.c.key, ids, used=IN_NODES)
            found.append((ids.c.type == literal(entity.type_name), object_))
        each = or_null(case(*found)) if found else literal("null")
        if root.single:
            return [select(each).select_from(ids).scalar_subquery()]
        return json_list(select(JoinedRows(each)).select_from(ids).scalar_subquery())

    def _rows(self, root: RowsByKey) -> Select[Any]:
        mirror = MIRRORS[root.entity.type_name]
        row = self.row(mirror)
        listed = member(self.dialect, row.id, unchanged, lambda type_, whole: self.bind(Given((KEYS,)), type_, whole), keys=True)
        text = joined(self.object(root.entity, row, IN_PAYLOAD), root.entity.lists)
        object_ = select(row.id.label("k"), text.label("j")).where(listed)
        each = object_.subquery(self.alias())
        framed = joined([each.c.k, ":", ByteLength(each.c.j), ";", each.c.j])
        return select(func.coalesce(JoinedRows(framed), literal("")))

    def _see_expired(self, page: Page, cursor: Cursor) -> None:
        """Have a cursor held against all rows of a log: whatever the viewer sees, it is expired where one behind it is gone."""
        order = page.order
        tag = order_tag(page.type_name, order)
        given = self.bind(
            cursor.source, sa.BigInteger(), lambda text: cursor_values(text, tag, order, cursor.argument)[0], judged=True
        )
        first, last = (Door(SERVER).rows(MIRRORS[page.type_name].model, self.alias()) for _ in range(2))
        oldest = select(func.coalesce(func.min(getattr(first, order[0].path)), 1) - 1).scalar_subquery()
        newest = select(func.coalesce(func.max(getattr(last, order[0].path)), 0)).scalar_subquery()
        self.expired.append((sa.or_(given < oldest, given > newest), cursor_text(tag, [oldest])))

    # ---- rows

    def rows(self, model: type[Base]) -> Any:
        """The rows of a class that the viewer may see."""
        return self.door.rows(model, self.alias())

    def row(self, mirror: Mirror) -> Any:
        return self.rows(mirror.model)

    def _one_row(self, entity: Entity, row: Any, used: int, condition: ColumnElement[bool], *outer: Any) -> ColumnElement[str]:
        query = select(joined(self.object(entity, row, used), entity.lists)).select_from(row)
        query = query.where(condition)
        return (query.correlate(*outer) if outer else query).scalar_subquery()

    def _by_key(self, entity: Entity, key: ColumnElement[Any], *outer: Any, used: int) -> ColumnElement[str]:
        row = self.row(MIRRORS[entity.type_name])
        return self._one_row(entity, row, used, row.id == key, *outer)

    def object(self, entity: Entity, row: Any, used: int) -> list[Part]:
        """The JSON object of one row; `used` says how much of the parser's room is taken where it stands.

        A row that lacks what every row has is no JSON, which whoever reads a damaged file finds.
        """
        members: list[tuple[str, list[Part]]] = []
        columns, there = MIRRORS[entity.type_name].model.__mapper__.columns, dict[str, ColumnElement[Any]]()
        for field in entity.fields:
            match field:
                case Typename(key, name):
                    members.append((key, [f'"{name}"']))
                case Untold(key):
                    members.append((key, ["null"]))
                case Value(key, "id", "ID"):
                    members.append((key, encode_id(entity.type_name, row.id)))
                case Value(key, attribute, scalar, nullable):
                    value = getattr(row, attribute)
                    members.append((key, encode(scalar, value, nullable)))
                    if attribute in columns and not columns[attribute].nullable:
                        there[attribute] = value
                case One() | AnyRow() | Many() | Page():
                    fits = used + needed(field) <= self.room
                    parts = self._related(field, row, used) if fits else self._beside(field, entity, row)
                    members.append((field.key, parts))
        written = json_object(members)
        if there and capabilities(self.dialect).may_lack:
            written.append(case((Lacking(*there.values()), literal(NO_JSON)), else_=literal("")))
        return written

    def _related(self, field: One | AnyRow | Many | Page, row: Any, used: int) -> list[Part]:
        """What a relation of a row leads to."""
        used += added_depth(field)
        match field:
            case One(_, relation, nullable, inner):
                target = self.row(MIRRORS[inner.type_name])
                one = self._one_row(inner, target, used, getattr(row, relation).of_type(target), row)
                return [or_null(one) if nullable else one]
            case AnyRow(_, types, keys, entities):
                found = []
                for each in entities:
                    there = self._by_key(each, getattr(row, keys), row, used=used)
                    found.append((getattr(row, types) == literal(each.type_name), there))
                return [or_null(case(*found))]
            case Many(_, relation, inner):
                return self._many(row, relation, inner, used)
            case Page():
                return [self._page(field, row, used)]

    def _beside(self, field: One | AnyRow | Many | Page, entity: Entity, row: Any) -> list[Part]:
        """What a relation leads to, as a view in the WITH clause: a database puts its text where it is used, after parsing."""
        again = self.row(MIRRORS[entity.type_name])
        parts = self._related(field, again, BESIDE)
        text: Any = joined(parts) if len(parts) > 1 else parts[0]
        view = select(again.id.label("k"), text.label("j")).cte(self.alias())
        return [select(view.c.j).where(view.c.k == row.id).correlate(row).scalar_subquery()]

    def derived(self, query: Select[Any], mirror: Mirror, name: str) -> tuple[Any, Any]:
        """A query as a derived table: rows of the mapped class, and the table itself."""
        table = query.subquery(name)
        return self.door.again(mirror.model, table, name), table

    def columns(self, mirror: Mirror, row: Any, shown: Iterable[str]) -> list[Any]:
        """What a derived table must hold for these attributes: SQLite before 3.42 makes all columns it holds, used or not."""
        attributes = [attribute.key for attribute in mirror.mapper.column_attrs if not attribute.key.startswith("_")]
        needed: set[str] = {"id"}
        for name in shown:
            if name in mirror.mapper.relationships:
                local = mirror.mapper.relationships[name].local_columns
                needed |= {mirror.mapper.get_property_by_column(column).key for column in local}
            elif name in mirror.links:
                continue  # its condition asks for the key
            else:  # an expression of the model may need any of them
                needed |= {name} if name in attributes else set(attributes)
        return [getattr(row, attribute) for attribute in attributes if attribute in needed]

    def _many(self, row: Any, relation: str, entity: Entity, used: int) -> list[Part]:
        mirror = MIRRORS[entity.type_name]
        target = self.row(mirror)
        order = [getattr(target, column.key) for column in inspect(type_of(row)).relationships[relation].order_by or ()]
        query = select(*self.columns(mirror, target, entity.attributes())).where(getattr(row, relation).of_type(target))
        child, _ = self.derived(query.order_by(*(order or [target.id])).correlate(row), mirror, self.alias())
        each = joined(self.object(entity, child, used), entity.lists)
        rows = select(JoinedRows(each)).select_from(child).correlate(row).scalar_subquery()
        return json_list(rows)

    # ---- pages

    def _page(self, page: Page, parent: Any, used: int) -> ColumnElement[str]:
        if page.after is not None and MIRRORS[page.type_name].log is not None:
            self._see_expired(page, page.after)
        if any(part.what in ("nodes", "edges", "page_info") for part in page.parts):
            return PageWriter(self, page, parent, used).object()
        count: list[Part] = [self.count(page, parent)]
        typename: list[Part] = [f'"{page.type_name}Connection"']
        return joined(json_object([(part.key, count if part.what == "total_count" else typename) for part in page.parts]))

    def source(self, page: Page, parent: Any) -> tuple[Any, list[ColumnElement[bool]]]:
        """The rows a page is cut from: an alias and its conditions, cursors aside."""
        mirror = MIRRORS[page.type_name]
        row = self.row(mirror)
        conditions = [self.conditions.of(row, page.where)]
        if parent is not None:
            link = mirror_of(type_of(parent)).links.get(page.relation or "")
            conditions.insert(0, getattr(parent, page.relation or "").of_type(row) if link is None else link(parent, row))
        return row, conditions

    def count(self, page: Page, parent: Any) -> ColumnElement[int]:
        row, conditions = self.source(page, parent)
        query = select(func.count()).select_from(row).where(*conditions)
        return (query.correlate(parent) if parent is not None else query).scalar_subquery()

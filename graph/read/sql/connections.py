"""Pages become SQL: the rows of a page, one more to know whether rows follow, their JSON and their cursors.

What goes in: a `Page` of a plan and the statement around it. What comes out: the connection as one scalar subquery. It
only assembles: sizes, directions and cursors are decided in the plan.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, Protocol

import sqlalchemy as sa
from sqlalchemy import ColumnElement, Select, and_, false, func, literal_column, select, true
from sqlalchemy.types import TypeEngine

from graph.read.planning.arguments import Source
from graph.read.planning.cursors import cursor_values, order_tag
from graph.read.planning.plan import Cursor, EdgePart, Entity, Page, PagePart
from graph.read.sql.conditions import Binder
from graph.read.sql.constructs import HexText, JoinedRows
from graph.read.sql.json import as_null, concatenated, encode, joined, json_list, json_object, or_null
from graph.read.sql.keyset import beyond
from graph.read.types.encodings import Part
from graph.read.types.mirror import MIRRORS, Mirror, may_be_missing
from graph.read.types.scalars import POSITIONS


class Around(Binder, Protocol):
    """The statement around a page, as far as a page needs it."""

    def bind(
        self, source: Source, type_: TypeEngine[Any], encode: Callable[[Any], Any] = ..., *, judged: bool = False
    ) -> ColumnElement[Any]: ...

    def source(self, page: Page, parent: Any) -> tuple[Any, list[ColumnElement[bool]]]: ...

    def columns(self, mirror: Mirror, row: Any, shown: Iterable[str]) -> list[Any]: ...

    def derived(self, query: Select[Any], mirror: Mirror, name: str) -> tuple[Any, Any]: ...

    def object(self, entity: Entity, row: Any, used: int) -> list[Part]: ...

    def count(self, page: Page, parent: Any) -> ColumnElement[int]: ...


def cursor_text(tag: str, parts: list[Part]) -> ColumnElement[str]:
    """The text of a cursor: what it was made for, and the JSON of its values."""
    return HexText(joined([f'["{tag}",', *parts, "]"]))


class PageWriter:
    """The SQL of one page: the rows of the page, one more to know whether rows follow, their JSON and their cursors."""

    def __init__(self, writer: Around, page: Page, parent: Any, used: int) -> None:
        self.writer, self.page, self.parent, self.used = writer, page, parent, used
        self.mirror = MIRRORS[page.type_name]
        info = {what for part in page.parts for _, what in part.info}
        self.numbered = page.backward or bool(info)
        self.with_cursor = "start" in info or "end" in info or any(e.what == "cursor" for part in page.parts for e in part.edge)

    def object(self) -> ColumnElement[str]:
        """The connection as one scalar subquery."""
        page, writer = self.page, self.writer
        ahead = "has_previous" if page.backward else "has_next"
        needed = {"nodes", "edges", "start", "end", ahead}
        if needed.isdisjoint({part.what for part in page.parts} | {what for part in page.parts for _, what in part.info}):
            # Without an aggregate over its rows a page would be one row a row of the list.
            constants = [(part.key, self._member(part, None, None, None)) for part in page.parts]
            return self._correlated(select(joined(json_object(constants)))).scalar_subquery()
        row, keys, table = self._page_rows()
        texts: dict[int, ColumnElement[str]] = {}
        cursor = self._cursor_text(keys) if self.with_cursor else None
        for index, part in enumerate(page.parts):
            if part.what == "nodes" and part.entity is not None:
                texts[index] = joined(writer.object(part.entity, row, self.used), part.entity.lists)
            elif part.what == "edges":
                texts[index] = joined(
                    self._edge(part.edge, row, cursor), sum(edge.entity.lists for edge in part.edge if edge.entity)
                )
        source = table
        number: Any = None
        if self.numbered:
            columns = [func.row_number().over().label("n")]
            columns += [text.label(f"j{index}") for index, text in texts.items()]
            columns += [cursor.label("c")] if cursor is not None else []
            numbered = select(*columns).select_from(row)
            if page.backward:
                numbered = numbered.order_by(columns[0].desc())
            source = self._correlated(numbered).subquery(writer.alias())
            texts = {index: source.c[f"j{index}"] for index in texts}
            cursor = source.c.c if cursor is not None else None
            number = source.c.n
        members = [(part.key, self._member(part, texts.get(index), number, cursor)) for index, part in enumerate(page.parts)]
        return self._correlated(
            select(joined(json_object(members), len(texts))).select_from(source if self.numbered else row)
        ).scalar_subquery()

    def _correlated(self, query: Select[Any]) -> Select[Any]:
        return query.correlate(self.parent) if self.parent is not None else query

    def _page_rows(self) -> tuple[Any, list[Any], Any]:
        """The rows of the page in order, cut by LIMIT, as a derived table; with the columns of the order's keys."""
        page, writer = self.page, self.writer
        row, conditions = writer.source(page, self.parent)
        keys, joins = self._keys(row)
        for cursor, backward in ((page.after, False), (page.before, True)):
            if cursor is not None:
                conditions.append(self._beyond(cursor, keys, backward))
        extra = [column.label(f"s{index}") for index, column in enumerate(keys) if "." in page.order[index].path]
        entities = [entity for part in page.parts for entity in (part.entity, *(edge.entity for edge in part.edge)) if entity]
        shown = [key.path for key in page.order if "." not in key.path]
        shown += [name for entity in entities for name in entity.attributes()]
        query = select(*writer.columns(self.mirror, row, shown), *extra).select_from(row)
        for relation, target, nullable in joins:
            query = query.join(target, relation, isouter=nullable)
        query = query.where(*conditions)
        for key, column in zip(page.order, keys, strict=True):
            descending = key.descending is not page.backward
            ordered = column.desc() if descending else column.asc()
            query = query.order_by((ordered.nulls_first() if descending else ordered.nulls_last()) if key.nullable else ordered)
        limit = page.size + 1 if self.numbered else page.size
        query = self._correlated(query.limit(literal_column(str(limit))))
        derived, table = writer.derived(query, self.mirror, writer.alias())
        outer = [table.c[f"s{index}"] if "." in key.path else getattr(derived, key.path) for index, key in enumerate(page.order)]
        return derived, outer, table

    def _keys(self, row: Any) -> tuple[list[Any], list[tuple[Any, Any, bool]]]:
        """The columns of the order's keys; a key of a to-one relation joins it."""
        targets: dict[str, Any] = {}
        joins: list[tuple[Any, Any, bool]] = []
        keys = []
        for key in self.page.order:
            relation, _, attribute = key.path.rpartition(".")
            if relation and relation not in targets:
                property_ = self.mirror.mapper.relationships[relation]
                targets[relation] = self.writer.rows(property_.mapper.class_)
                joins.append(
                    (
                        getattr(row, relation).of_type(targets[relation]),
                        targets[relation],
                        may_be_missing(property_),
                    )
                )
            keys.append(getattr(targets[relation] if relation else row, attribute))
        return keys, joins

    def _beyond(self, cursor: Cursor, keys: Sequence[Any], backward: bool) -> ColumnElement[bool]:
        tag = order_tag(self.page.type_name, self.page.order)

        def value(index: int) -> ColumnElement[Any]:
            return self.writer.bind(
                cursor.source,
                POSITIONS[self.page.order[index].kind].type or keys[index].type,
                lambda text: cursor_values(text, tag, self.page.order, cursor.argument)[index],
                judged=True,
            )

        return beyond(self.page.order, keys, cursor.nulls, value, backward)

    def _cursor_text(self, keys: Sequence[Any]) -> ColumnElement[str]:
        parts: list[Part] = []
        for key, column in zip(self.page.order, keys, strict=True):
            parts += [",", *as_null(POSITIONS[key.kind].encode(column), key.nullable)]
        return cursor_text(order_tag(self.page.type_name, self.page.order), parts[1:])

    def _edge(self, edge: Sequence[EdgePart], row: Any, cursor: ColumnElement[str] | None) -> list[Part]:
        members: list[tuple[str, list[Part]]] = []
        for part in edge:
            if part.what == "cursor":
                assert cursor is not None
                members.append((part.key, ['"', cursor, '"']))
            elif part.what == "node" and part.entity is not None:
                members.append((part.key, self.writer.object(part.entity, row, self.used)))
            elif part.entity is not None:
                members.append((part.key, [f'"{part.entity.type_name}"']))
        return json_object(members)

    def _member(
        self, part: PagePart, text: ColumnElement[str] | None, number: Any, cursor: ColumnElement[str] | None
    ) -> list[Part]:
        match part.what:
            case "typename":
                return [f'"{part.entity.type_name}"'] if part.entity else []
            case "total_count":
                return [self.writer.count(self.page, self.parent)]
            case "page_info":
                return json_object([(key, self._info(what, number, cursor)) for key, what in part.info])
        rows: Any = JoinedRows(text)
        if number is not None:
            rows = rows.filter(number <= literal_column(str(self.page.size)))
        return json_list(rows)

    def _info(self, what: str, number: Any, cursor: ColumnElement[str] | None) -> list[Part]:
        page = self.page
        size: ColumnElement[int] = literal_column(str(page.size))
        if what == "typename":
            return ['"PageInfo"']
        if what in ("has_next", "has_previous"):
            ahead = (what == "has_next") is not page.backward
            edge = page.before if what == "has_next" else page.after
            beyond_edge = self._exists_outside(edge, what == "has_next") if edge is not None else false()
            more = func.coalesce(func.max(number), literal_column("0")) > size if ahead else false()
            return encode("Boolean", sa.or_(more, beyond_edge), nullable=False)
        assert cursor is not None
        if (what == "start") is not page.backward:
            found: Any = func.max(cursor).filter(and_(number == literal_column("1"), number <= size))
        else:
            # The cursor with the greatest number: a number of fixed width before it makes max() find it.
            padded = func.max(joined([literal_column("1000000") + number, cursor])).filter(number <= size)
            found = func.substr(padded, literal_column("8"))
        return [or_null(concatenated(['"', found, '"']))]

    def _exists_outside(self, cursor: Cursor, following: bool) -> ColumnElement[bool]:
        """Whether rows lie at or beyond the cursor that bounds this page, on the far side of it."""
        row, conditions = self.writer.source(self.page, self.parent)
        keys, joins = self._keys(row)
        query = select(1).select_from(row)
        for relation, target, nullable in joins:
            query = query.join(target, relation, isouter=nullable)
        inside = self._beyond(cursor, keys, backward=following)
        return self._correlated(query.where(*conditions, inside.is_not(true()))).exists()

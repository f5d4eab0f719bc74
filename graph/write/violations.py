"""Why the database refuses: every row that is to be written, held against the constraints of its table.

What goes in: the rows of a `Graph` and the session's changes, not flushed. What comes out: an error for each violation, at its
place in the input. The constraints are read from the metadata; the database evaluates them, over the values.
Statements: one for each unique constraint, foreign key and table with checks that the rows touch, and for a delete one for
each foreign key that restricts it.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import Mapper

from graph.database import capabilities
from graph.read.rows import rows, seen
from graph.scope import SERVER
from graph.write.bounds import check_columns
from graph.write.columns import required, stored, type_name
from graph.write.constraints import (
    attribute_of,
    check_attributes,
    check_error,
    check_text,
    mapper_of,
    still_referenced,
    unique_error,
)
from graph.write.errors import MutationError, ReferenceNotFoundError
from graph.write.object_graph import Graph
from graph.write.pending import PendingRows
from graph.write.unique_keys import Token, UniqueKey, is_key, unique_keys, value_of, wanted

#: A check and a row that breaks it.
Broken = tuple[Mapper[Any], sa.CheckConstraint, Any]

#: SQLite takes at most 500 parts in a UNION.
ROWS_A_CHECK = 400


async def violations(graph: Graph, changes: PendingRows) -> list[MutationError]:
    """Every reason the database would have to refuse the rows that are new or changed, those that go being gone."""
    found: list[MutationError] = []
    broken: list[Broken] = []
    by_mapper: dict[Mapper[Any], list[Any]] = defaultdict(list)
    for row in sorted((*changes.new, *changes.dirty), key=lambda row: graph.order(graph.origin(row).path)):
        by_mapper[type(row).__mapper__].append(row)
    for mapper, written in by_mapper.items():
        table: Any = mapper.local_table
        values = {id(row): {c.name: value_of(mapper, row, c) for c in table.columns} for row in written}
        gone = {row.id for row in changes.deleted if type(row).__mapper__ is mapper}
        found += _nulls(graph, mapper, written, values)
        for key in unique_keys(table):
            found += await _duplicates(graph, mapper, key, written, gone)
        for constraint in sorted(table.foreign_key_constraints, key=lambda c: str(c.name)):
            found += await _dangling(graph, mapper, constraint, written, values)
        broken += [(mapper, constraint, row) for row, constraint in await _broken(graph, mapper, written, values)]
    found += [check_error(graph, *each) for each in broken if not _derived(graph, each, broken)]
    return found


async def restrictions(graph: Graph, changes: PendingRows) -> list[MutationError]:
    """Every reason the database would have to refuse to delete what goes."""
    found: list[MutationError] = []
    deleted: dict[Mapper[Any], list[Any]] = defaultdict(list)
    for row in changes.deleted:
        deleted[type(row).__mapper__].append(row)
    for mapper, going in deleted.items():
        found += await _in_use(graph, mapper, going)
    return found


def _of(mapper: Mapper[Any], *columns: Any) -> list[Any]:
    """Columns of a table for what the database holds against all its rows."""
    row = rows(mapper.class_, SERVER)
    return [getattr(row, str(mapper.get_property_by_column(column).key)) for column in columns]


def _nulls(graph: Graph, mapper: Mapper[Any], rows: Sequence[Any], values: dict[int, dict[str, Any]]) -> list[MutationError]:
    table: Any = mapper.local_table
    return [
        required(column, graph.origin(row).place(attribute_of(mapper, column)))
        for row in rows
        for column in table.columns
        if not column.nullable and values[id(row)][column.name] is None and not _excused(graph, mapper, row, column)
    ]


def _excused(graph: Graph, mapper: Mapper[Any], row: Any, column: Any) -> bool:
    """Whether a value is missing because what was sent for it, or for the parent, is refused already."""
    place = list(graph.origin(row).place(attribute_of(mapper, column)))
    return any(error.path[: len(place)] == place for error in graph.errors) or bool(column.foreign_keys)


async def _duplicates(
    graph: Graph, mapper: Mapper[Any], constraint: UniqueKey, rows: Sequence[Any], gone: set[Any]
) -> list[MutationError]:
    """Keys that two rows of the input take, or a row that stays has. `gone` are keys of rows that go."""
    columns = list(constraint.columns)
    key_column: Any = mapper.primary_key[0]
    seen: dict[Token, Any] = {}
    asked: dict[Token, list[Any]] = defaultdict(list)
    found: list[MutationError] = []
    for row in rows:
        token = wanted(graph, mapper, constraint, row)
        if token is None:
            continue
        if token in seen:
            found.append(unique_error(graph, mapper, constraint, row, None))
            continue
        seen[token] = row
        if all(map(is_key, token)):
            asked[token].append(row)
    if not asked:
        return found
    match = sa.or_(*(sa.and_(*(c == v for c, v in zip(columns, token, strict=True))) for token in asked))
    if len(columns) == 1:
        match = columns[0].in_([token[0] for token in asked])
    # Whoever has the key refuses it, seen or not: `existing` is read by the client's own scope.
    existing = (await graph.session.execute(sa.select(*_of(mapper, key_column, *columns)).where(match))).all()
    own = str(mapper.get_property_by_column(key_column).key)
    leaving = {getattr(row, own) for row in rows if wanted(graph, mapper, constraint, row, before=True) is not None} | gone
    for key, *raw in existing:
        token = tuple(stored(c, v, graph.dialect) for c, v in zip(columns, raw, strict=True))
        found += [unique_error(graph, mapper, constraint, row, key) for row in asked.get(token, ()) if key not in leaving]
    return found


async def _dangling(
    graph: Graph, mapper: Mapper[Any], constraint: sa.ForeignKeyConstraint, rows: Sequence[Any], values: dict[int, dict[str, Any]]
) -> list[MutationError]:
    if len(constraint.elements) != 1:
        return []
    local, remote = constraint.elements[0].parent, constraint.elements[0].column
    pointing = [row for row in rows if is_key(values[id(row)][local.name]) and values[id(row)][local.name] is not None]
    if not pointing:
        return []
    keys = sorted({values[id(row)][local.name] for row in pointing})
    relation = next(r for r in mapper.relationships if not r.uselist and local in r.local_columns)
    there = set((await graph.session.scalars(sa.select(*_of(relation.mapper, remote)).where(remote.in_(keys)))).all())
    target = type_name(relation.mapper)
    return [
        ReferenceNotFoundError(
            message=f"There is no {target} with this key",
            path=graph.place(row, relation.key),
            constraint=str(constraint.name),
            target_type=target,
            key=f"{target}:{values[id(row)][local.name]}",
        )
        for row in pointing
        if values[id(row)][local.name] not in there
    ]


async def _broken(
    graph: Graph, mapper: Mapper[Any], rows: Sequence[Any], values: dict[int, dict[str, Any]]
) -> list[tuple[Any, sa.CheckConstraint]]:
    table: Any = mapper.local_table
    constraints = sorted((c for c in table.constraints if isinstance(c, sa.CheckConstraint)), key=lambda c: str(c.name))
    if not constraints:
        return []
    texts = [check_text(graph, constraint) for constraint in constraints]
    read = {column for constraint in constraints for column in check_columns(table, constraint)}
    columns = [column for column in table.columns if column in read and column.computed is None]
    verdicts = [sa.literal_column(f"({text})", sa.Boolean()).label(f"check_{i}") for i, text in enumerate(texts)]
    found: list[tuple[Any, sa.CheckConstraint]] = []
    for start in range(0, len(rows), ROWS_A_CHECK):
        part = rows[start : start + ROWS_A_CHECK]
        selects = [
            sa.select(
                sa.literal(index, sa.Integer()).label("row_index"),
                *(_operand(graph, column, values[id(row)][column.name]).label(column.name) for column in columns),
            )
            for index, row in enumerate(part)
        ]
        # The subquery bears the table's name, so that a constraint's own text reads as in the table.
        candidates = (selects[0] if len(selects) == 1 else sa.union_all(*selects)).subquery(table.name)
        answer = await graph.session.execute(sa.select(candidates.c.row_index, *verdicts).select_from(candidates))
        found += [
            (part[index], constraint)
            for index, *holds in answer
            for constraint, ok in zip(constraints, holds, strict=True)
            if ok is not None and not ok
        ]
    return found


def _derived(graph: Graph, each: Broken, broken: Sequence[Broken]) -> bool:
    """Whether a check is broken by a value that the server made of others that are refused themselves."""
    mapper, constraint, row = each
    made_of = constraint.info.get("made_of", ())
    sent = graph.origin(row).sent
    if not made_of or all(attribute_of(mapper, c) in sent for c in check_columns(mapper.local_table, constraint)):
        return False
    causes = {(id(other), name) for other_mapper, check, other in broken for name in check_attributes(other_mapper, check)}
    for relation, _, attribute in (path.partition(".") for path in made_of):
        parts = graph.target(row, relation) or row.__dict__.get(relation)
        if any((id(part), attribute) in causes for part in (parts if isinstance(parts, list) else (parts,))):
            return True
    return False


def _operand(graph: Graph, column: Any, value: Any) -> Any:
    operand = sa.literal(value, column.type) if is_key(value) and value is not None else sa.null()
    return sa.cast(operand, column.type) if capabilities(graph.dialect).typed_values else sa.type_coerce(operand, column.type)


async def _in_use(graph: Graph, mapper: Mapper[Any], rows: Sequence[Any]) -> list[MutationError]:
    table: Any = mapper.local_table
    keys = [row.id for row in rows]
    counts: dict[int, dict[str, int]] = defaultdict(dict)
    for source in table.metadata.sorted_tables:
        for constraint in source.foreign_key_constraints:
            if constraint.referred_table is not table or constraint.ondelete in ("CASCADE", "SET NULL", "SET DEFAULT"):
                continue
            user = mapper_of(mapper, source)
            (local,) = _of(user, constraint.elements[0].parent)
            told = sa.case((seen(user.class_, graph.scope), 1))  # a user that is not seen refuses, too, but is not counted
            counted = sa.select(local, sa.func.count(told)).where(local.in_(keys)).group_by(local)
            for key, count in (await graph.session.execute(counted)).all():
                counts[key][type_name(user)] = count
    return [still_referenced(graph.place(row, "id"), type_name(mapper), counts[row.id]) for row in rows if row.id in counts]

"""Why the database refuses: every row that is to be written, held against the constraints of its table.

What goes in: the rows of a `Graph` and the session's changes, not flushed. What comes out: an error for each violation, at its
place in the input. The constraints are read from the metadata; the database evaluates them, over the values.
Statements: one for each unique constraint, foreign key and table with checks that the rows touch, and for a delete one for
each foreign key that restricts it.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import Mapper

from graph.write.changes import Changes, changed_columns
from graph.write.columns import mirror_for, required, stored, type_name
from graph.write.errors import (
    CheckError,
    MutationError,
    ReferenceCount,
    ReferenceNotFoundError,
    Row,
    StillReferencedError,
    UniqueError,
    position,
)
from graph.write.graph import Graph

#: A value that the database will make.
UNKNOWN = object()


@dataclass(frozen=True, slots=True)
class Pending:
    """The key of a row that is not inserted yet."""

    identity: int


#: SQLite takes at most 500 parts in a UNION.
ROWS_A_CHECK = 400


async def violations(graph: Graph, changes: Changes) -> list[MutationError]:
    """Every reason the database would have to refuse these changes."""
    found: list[MutationError] = []
    by_mapper: dict[Mapper[Any], list[Any]] = defaultdict(list)
    for row in sorted((*changes.new, *changes.dirty), key=lambda row: position(graph.origin(row).path)):
        by_mapper[type(row).__mapper__].append(row)
    for mapper, rows in by_mapper.items():
        table: Any = mapper.local_table
        values = {id(row): {c.name: value_of(mapper, row, c) for c in table.columns} for row in rows}
        found += _nulls(graph, mapper, rows, values)
        for constraint in sorted(table.constraints, key=lambda c: str(c.name)):
            if isinstance(constraint, sa.UniqueConstraint):
                found += await _duplicates(graph, mapper, constraint, rows, values)
            elif isinstance(constraint, sa.ForeignKeyConstraint):
                found += await _dangling(graph, mapper, constraint, rows, values)
        found += await _checks(graph, mapper, rows, values)
    deleted: dict[Mapper[Any], list[Any]] = defaultdict(list)
    for row in changes.deleted:
        deleted[type(row).__mapper__].append(row)
    for mapper, rows in deleted.items():
        found += await _in_use(graph, mapper, rows)
    return found


def value_of(mapper: Mapper[Any], row: Any, column: sa.Column[Any]) -> Any:
    """What a column of a row would hold."""
    if column.key not in mapper.columns or column.computed is not None:
        return UNKNOWN
    attribute = mapper.get_property_by_column(column).key
    for relation in mapper.relationships:
        if relation.uselist or column not in relation.local_columns:
            continue
        parent = sa.inspect(row).dict.get(relation.key)
        if parent is not None:
            remote = next(r for local, r in relation.local_remote_pairs or () if local is column)
            key = getattr(parent, str(relation.mapper.get_property_by_column(remote).key))
            return Pending(id(parent)) if key is None else key
    value = sa.inspect(row).dict.get(attribute)
    made = column.default is not None or column.server_default is not None or column.primary_key or column.name.startswith("_")
    return UNKNOWN if value is None and made and not sa.inspect(row).persistent else value


def _is_key(value: Any) -> bool:
    return value is not UNKNOWN and not isinstance(value, Pending)


def attribute_of(mapper: Mapper[Any], column: Any) -> str:
    """The attribute clients know a column by: the to-one relation of a foreign key, else its own."""
    for relation in mapper.relationships:
        if not relation.uselist and column in relation.local_columns:
            return str(relation.key)
    return str(mapper.get_property_by_column(column).key)


def graphql_name(mapper: Mapper[Any], attribute: str) -> str:
    """The GraphQL field that shows an attribute."""
    mirror = mirror_for(mapper.class_)
    names = {} if mirror is None else {shown: name for name, shown in mirror.attributes.items()}
    return names.get(attribute, attribute)


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
    graph: Graph, mapper: Mapper[Any], constraint: sa.UniqueConstraint, rows: Sequence[Any], values: dict[int, dict[str, Any]]
) -> list[MutationError]:
    columns = list(constraint.columns)
    key_column: Any = mapper.primary_key[0]
    seen: dict[tuple[Any, ...], Any] = {}
    asked: dict[tuple[Any, ...], list[Any]] = defaultdict(list)
    found: list[MutationError] = []
    for row in rows:
        raw = [values[id(row)][column.name] for column in columns]
        if any(value is None or value is UNKNOWN for value in raw):
            continue
        touched = not sa.inspect(row).persistent or changed_columns(row) & {mapper.get_property_by_column(c).key for c in columns}
        if not touched:
            continue
        known = all(_is_key(value) for value in raw)
        token = tuple(stored(c, v, graph.dialect) if _is_key(v) else v for c, v in zip(columns, raw, strict=True))
        if token in seen:
            found.append(_unique(graph, mapper, constraint, row, None))
            continue
        seen[token] = row
        if known:
            asked[token].append(row)
    if not asked:
        return found
    match = sa.or_(*(sa.and_(*(c == v for c, v in zip(columns, token, strict=True))) for token in asked))
    if len(columns) == 1:
        match = columns[0].in_([token[0] for token in asked])
    existing = (await graph.session.execute(sa.select(key_column, *columns).where(match))).all()
    for key, *raw in existing:
        token = tuple(stored(c, v, graph.dialect) for c, v in zip(columns, raw, strict=True))
        own = str(mapper.get_property_by_column(key_column).key)
        found += [_unique(graph, mapper, constraint, row, key) for row in asked.get(token, ()) if getattr(row, own) != key]
    return found


def _unique(graph: Graph, mapper: Mapper[Any], constraint: Any, row: Any, key: int | None) -> UniqueError:
    attributes = [attribute_of(mapper, column) for column in constraint.columns]
    names = [graphql_name(mapper, attribute) for attribute in attributes]
    origin = graph.origin(row)
    mirror = mirror_for(mapper.class_)
    where = "stands twice in the input" if key is None else "is taken"
    return UniqueError(
        message=f"This {' with '.join(names)} {where}",
        path=list(origin.place(*attributes) if len(attributes) == 1 else origin.path),
        constraint=str(constraint.name),
        fields=names,
        row=None if key is None or mirror is None else Row(mirror.name, key),
    )


async def _dangling(
    graph: Graph, mapper: Mapper[Any], constraint: sa.ForeignKeyConstraint, rows: Sequence[Any], values: dict[int, dict[str, Any]]
) -> list[MutationError]:
    if len(constraint.elements) != 1:
        return []
    local, remote = constraint.elements[0].parent, constraint.elements[0].column
    pointing = [row for row in rows if _is_key(values[id(row)][local.name]) and values[id(row)][local.name] is not None]
    if not pointing:
        return []
    keys = sorted({values[id(row)][local.name] for row in pointing})
    there = set((await graph.session.scalars(sa.select(remote).where(remote.in_(keys)))).all())
    relation = next(r for r in mapper.relationships if not r.uselist and local in r.local_columns)
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


async def _checks(
    graph: Graph, mapper: Mapper[Any], rows: Sequence[Any], values: dict[int, dict[str, Any]]
) -> list[MutationError]:
    table: Any = mapper.local_table
    constraints = sorted((c for c in table.constraints if isinstance(c, sa.CheckConstraint)), key=lambda c: str(c.name))
    if not constraints:
        return []
    texts = [check_text(graph, constraint) for constraint in constraints]
    words = set(re.findall(r"\w+", " ".join(texts)))
    columns = [column for column in table.columns if column.name in words and column.computed is None]
    verdicts = [sa.literal_column(f"({text})", sa.Boolean()).label(f"check_{i}") for i, text in enumerate(texts)]
    found: list[MutationError] = []
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
            check_error(graph, mapper, constraint, part[index])
            for index, *holds in answer
            for constraint, ok in zip(constraints, holds, strict=True)
            if ok is not None and not ok
        ]
    return found


def check_text(graph: Graph, constraint: sa.CheckConstraint) -> str:
    """A check as SQL."""
    return str(constraint.sqltext.compile(dialect=graph.dialect, compile_kwargs={"literal_binds": True}))


def _operand(graph: Graph, column: Any, value: Any) -> Any:
    operand = sa.literal(value, column.type) if _is_key(value) and value is not None else sa.null()
    # SQLite would make a number of a time that is cast; its values carry their types anyway.
    return sa.type_coerce(operand, column.type) if graph.dialect.name == "sqlite" else sa.cast(operand, column.type)


def check_attributes(mapper: Mapper[Any], constraint: sa.CheckConstraint) -> tuple[str, ...]:
    """The attributes that take part in a check; `info={"fields": ...}` names others where the server makes the value."""
    if "fields" in constraint.info:
        return tuple(constraint.info["fields"])
    table: Any = mapper.local_table
    words = dict.fromkeys(re.findall(r"\w+", str(constraint.sqltext)))
    return tuple(attribute_of(mapper, table.columns[word]) for word in words if word in table.columns)


def check_error(graph: Graph, mapper: Mapper[Any], constraint: sa.CheckConstraint, row: Any) -> CheckError:
    """A check refuses a row."""
    names = [graphql_name(mapper, attribute) for attribute in check_attributes(mapper, constraint)]
    return CheckError(
        message=f"{' with '.join(names) or 'The row'} is outside of what {constraint.name} allows",
        path=graph.place(row, *check_attributes(mapper, constraint)),
        constraint=str(constraint.name),
    )


async def _in_use(graph: Graph, mapper: Mapper[Any], rows: Sequence[Any]) -> list[MutationError]:
    table: Any = mapper.local_table
    keys = [row.id for row in rows]
    counts: dict[int, dict[str, int]] = defaultdict(dict)
    for source in table.metadata.sorted_tables:
        for constraint in source.foreign_key_constraints:
            if constraint.referred_table is not table or constraint.ondelete in ("CASCADE", "SET NULL", "SET DEFAULT"):
                continue
            local = constraint.elements[0].parent
            counted = sa.select(local, sa.func.count()).where(local.in_(keys)).group_by(local)
            for key, count in (await graph.session.execute(counted)).all():
                counts[key][table_type(mapper, source)] = count
    return [still_referenced(graph.place(row, "id"), type_name(mapper), counts[row.id]) for row in rows if row.id in counts]


def table_type(mapper: Mapper[Any], table: sa.Table) -> str:
    """What clients call the rows of a table."""
    return next(type_name(other) for other in mapper.registry.mappers if other.local_table is table)


def still_referenced(path: Iterable[str], type_: str, counts: dict[str, int]) -> StillReferencedError:
    """A row cannot go because others use it."""
    total = sum(counts.values())
    return StillReferencedError(
        message=f"This {type_} is used by {', '.join(f'{n} {name}' for name, n in counts.items())}",
        path=list(path),
        by_type=[ReferenceCount(type=name, count=n) for name, n in sorted(counts.items())],
        count=total,
    )


def named(error: sa.exc.IntegrityError, graph: Graph, changes: Changes) -> list[MutationError]:
    """What the driver tells of a refusal that nobody could explain."""
    original: Any = error.orig
    name = getattr(original, "constraint_name", None) or getattr(getattr(original, "__cause__", None), "constraint_name", None)
    text = str(original)
    rows = [*changes.new, *changes.dirty]
    for mapper in dict.fromkeys(type(row).__mapper__ for row in rows):
        own = [row for row in rows if type(row) is mapper.class_]
        table: Any = mapper.local_table
        for constraint in table.constraints:
            columns = ", ".join(f"{table.name}.{column.name}" for column in getattr(constraint, "columns", ()))
            unique = isinstance(constraint, sa.UniqueConstraint)
            if constraint.name not in (name, text.rpartition(": ")[2]) and not (
                unique and text.endswith(f"UNIQUE constraint failed: {columns}")
            ):
                continue
            if isinstance(constraint, sa.CheckConstraint):
                return [check_error(graph, mapper, constraint, own[0])]
            if isinstance(constraint, sa.UniqueConstraint):
                return [_unique(graph, mapper, constraint, own[0], None)]
    return []


async def explain(graph: Graph, session: AsyncSession) -> list[MutationError]:
    """What is known to be wrong and what the database would add to it."""
    return [*graph.errors, *await violations(graph, Changes(session.sync_session))]

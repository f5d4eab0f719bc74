"""What columns of a row hold and will hold, without asking the database; and the keys made of them.

What goes in: mapped rows, columns, unique constraints and indexes. What comes out: values in stored form, `UNKNOWN` for what the
database will make, `Pending` for the key of a row that is not there yet. What may be refused here: nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa
from sqlalchemy.orm import Mapper

from graph.texts import Trimmed
from graph.write.columns import attribute_name, stored

if TYPE_CHECKING:
    from graph.write.object_graph import Graph

#: A value that the database will make.
UNKNOWN = object()

Token = tuple[Any, ...]

#: What keeps rows apart: a constraint, or an index over whole columns of all rows.
UniqueKey = sa.UniqueConstraint | sa.Index


def unique_keys(table: Any) -> list[UniqueKey]:
    """What keeps the rows of a table apart, by name."""
    constraints: list[UniqueKey] = [each for each in table.constraints if isinstance(each, sa.UniqueConstraint)]
    return sorted([*constraints, *filter(is_whole, table.indexes)], key=lambda each: str(each.name))


def is_whole(index: sa.Index) -> bool:
    """Whether an index makes whole columns unique, in all rows."""
    partial = any(name.endswith("_where") and given is not None for name, given in index.dialect_kwargs.items())
    return bool(index.unique) and not partial and all(isinstance(each, sa.Column) for each in index.expressions)


@dataclass(frozen=True, slots=True)
class Pending:
    """The key of a row that is not inserted yet."""

    identity: int


def is_key(value: Any) -> bool:
    """Whether a value is known already."""
    return value is not UNKNOWN and not isinstance(value, Pending)


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


def held(mapper: Mapper[Any], row: Any, column: sa.Column[Any]) -> Any:
    """What a column of a row that is there holds before the flush."""
    before = sa.inspect(row).attrs[attribute_name(mapper, column)].history.deleted
    return before[0] if before else sa.inspect(row).dict.get(attribute_name(mapper, column))


def wanted(graph: Graph, mapper: Mapper[Any], constraint: UniqueKey, row: Any, *, before: bool = False) -> Token | None:
    """The key that a row takes under a unique constraint, or gives up; None where it has none or keeps it."""
    there = sa.inspect(row).persistent
    old = _token(graph, constraint, [held(mapper, row, column) for column in constraint.columns], as_is=True) if there else None
    new = _token(graph, constraint, [value_of(mapper, row, column) for column in constraint.columns])
    return None if old == new else old if before else new


def _token(graph: Graph, constraint: UniqueKey, values: list[Any], *, as_is: bool = False) -> Token | None:
    """The key that values make; `as_is` where a row has them already: a text may be from before its form was settled."""
    if any(value is None or value is UNKNOWN for value in values):
        return None
    return tuple(
        stored(c, v, graph.dialect) if is_key(v) and not (as_is and isinstance(c.type, Trimmed)) else v
        for c, v in zip(constraint.columns, values, strict=True)
    )

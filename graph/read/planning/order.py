"""Orders: an `orderBy` argument becomes the keys that rows are sorted by.

What goes in: `orderBy` templates. What comes out: `SortKey`s, the id last. What is refused here: nothing; the schema has no other
fields to sort by.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import inspect
from sqlalchemy.orm import Mapper

from graph.read.planning.plan import SortKey
from graph.read.types.mirror import Mirror, expression_of, may_be_missing
from graph.read.types.scalars import position_for


def read_order(mirror: Mirror, template: list[dict[str, Any]] | None) -> tuple[SortKey, ...]:
    """The sort keys of an `orderBy` argument, completed by the id in the direction of the last key."""
    keys: dict[str, SortKey] = {}
    for entry in template or ():
        path, descending = entry["field"].value, entry["direction"].value.value == "DESC"
        keys.setdefault(path, sort_key(mirror, str(getattr(path, "value", path)), descending))
    last = next(reversed(keys.values()), None)
    return (*keys.values(), SortKey("id", last.descending if last else False, False, "int"))


def log_order(mirror: Mirror) -> tuple[SortKey, ...]:
    """The one order in which the rows of a log are read, where a type mirrors one."""
    return () if mirror.log is None else (SortKey(mirror.log, False, False, "int"),)


def sort_key(mirror: Mirror, path: str, descending: bool) -> SortKey:
    mapper: Mapper[Any] = mirror.mapper
    *relations, attribute = path.split(".")
    nullable = False
    for name in relations:
        relation = mapper.relationships[name]
        nullable = nullable or may_be_missing(relation)
        mapper = inspect(relation.mapper.class_)
    column = mapper.columns.get(attribute)  # a derived attribute may be null
    position = position_for(expression_of(mapper, attribute).type)
    assert position is not None
    return SortKey(path, descending, nullable or column is None or bool(column.nullable), position.kind)

"""Filters become SQL: the condition that a row matches.

What goes in: `plan.Filter` records and aliased rows. What comes out: SQL conditions. What is refused here: nothing; a value that
no row can hold makes a condition that no row meets.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from sqlalchemy import BigInteger, ColumnElement, Dialect, and_, false, func, inspect, or_, select, true
from sqlalchemy.types import TypeDecorator, TypeEngine

from graph.base import Base
from graph.read.planning.arguments import Source
from graph.read.planning.filters import selective
from graph.read.planning.plan import Compare, Either, Every, Filter, IsNull, IsTrue, Not, Related, Search
from graph.read.rows import Door
from graph.read.sql.bound_lists import member, unchanged
from graph.read.types.mirror import MIRRORS, plain_pair
from graph.read.types.scalars import MAX_KEY, parse_id
from graph.texts import CodePointText, Trimmed


class Binder(Protocol):
    """Makes SQL parameters for sources of values; holds the row door of the statement."""

    dialect: Dialect
    door: Door

    def bind(self, source: Source, type_: TypeEngine[Any], encode: Callable[[Any], Any] = ...) -> ColumnElement[Any]: ...

    def alias(self) -> str: ...

    def rows(self, model: type[Base]) -> Any: ...


def like_pattern(text: str, operator: str) -> str:
    """A LIKE pattern for a literal text, escaped with `\\`; lower case for ASCII letters alone."""
    lowered = "".join(chr(ord(c) + 32) if "A" <= c <= "Z" else c for c in text)
    escaped = lowered.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
    return {"contains": f"%{escaped}%", "starts_with": f"{escaped}%", "ends_with": f"%{escaped}"}[operator]


class Conditions:
    """Turns filters into SQL over aliased rows."""

    def __init__(self, binder: Binder) -> None:
        self.binder = binder

    def of(self, row: Any, filter_: Filter) -> ColumnElement[bool]:
        """The condition that a row of an aliased class matches a filter."""
        match filter_:
            case Every(parts):
                return and_(true(), *(self.of(row, part) for part in parts))
            case Either(parts):
                return or_(false(), *(self.of(row, part) for part in parts))
            case Not(part):
                return self.of(row, part).is_not(true())
            case IsNull(attribute, null):
                column = getattr(row, attribute)
                return column.is_(None) if null else column.is_not(None)  # type: ignore[no-any-return]  # an attribute found by name
            case IsTrue(attribute, value):
                condition: ColumnElement[bool] = getattr(row, attribute)
                return condition if value else ~condition
            case Search(paths, source):
                return self._search(row, paths, source)
            case Related():
                return self._related(row, filter_)
            case Compare():
                return self._compare(getattr(row, filter_.attribute), filter_)

    def _compare(self, column: Any, filter_: Compare) -> ColumnElement[bool]:
        operator, source = filter_.operator, filter_.source
        if operator in ("contains", "starts_with", "ends_with"):
            return self._like(column, source, operator)
        encode = key_reader(filter_.is_id) if filter_.is_id else encoder(column.type)
        if operator in ("in", "not_in"):
            found = member(
                self.binder.dialect,
                column,
                encode,
                lambda type_, whole: self.binder.bind(source, type_, whole),
                negated=operator == "not_in",
                keys=filter_.attribute == "id" and operator == "in",
            )
            return and_(column.is_not(None), found) if operator == "not_in" else found  # an empty list lets null through
        value = self.binder.bind(source, column.type, encode)
        return {  # type: ignore[no-any-return]  # an attribute found by name
            "eq": column.__eq__,
            "ne": column.__ne__,
            "lt": column.__lt__,
            "lte": column.__le__,
            "gt": column.__gt__,
            "gte": column.__ge__,
        }[operator](value)

    def _like(self, column: Any, source: Source, operator: str) -> ColumnElement[bool]:
        type_ = column.type

        def pattern_of(text: str) -> str:
            return like_pattern(type_.part(text, operator) if isinstance(type_, Trimmed) else text, operator)

        pattern = self.binder.bind(source, CodePointText, pattern_of)
        return func.lower(column).like(pattern, escape="\\")

    def _search(self, row: Any, paths: tuple[str, ...], source: Source) -> ColumnElement[bool]:
        """One of the attributes contains the text; those of a related row are looked at once a related row, not once a row."""
        found = [self._like(getattr(row, path), source, "contains") for path in paths if "." not in path]
        related: dict[str, list[str]] = {}
        for path in paths:
            relation, _, attribute = path.rpartition(".")
            if relation:
                related.setdefault(relation, []).append(attribute)
        for relation, attributes in related.items():
            target = self.binder.rows(getattr(type_of(row), relation).property.mapper.class_)
            matches = or_(*(self._like(getattr(target, attribute), source, "contains") for attribute in attributes))
            found.append(self._among(row, relation, target, matches))
        return or_(*found)

    def _related(self, row: Any, filter_: Related) -> ColumnElement[bool]:
        target = self.binder.rows(MIRRORS[filter_.type_name].model)
        condition = self.of(target, filter_.part)
        if filter_.quantifier == "every":
            condition = condition.is_not(true())
        if filter_.quantifier in ("one", "some") and selective(filter_.part) and self._plain(row, filter_.relation):
            return self._among(row, filter_.relation, target, condition)
        found = (
            select(1).select_from(target).where(getattr(row, filter_.relation).of_type(target), condition).correlate(row).exists()
        )
        return ~found if filter_.quantifier in ("every", "none") else found

    def _plain(self, row: Any, relation: str) -> bool:
        """Whether a relation is one pair of columns and nothing else."""
        return plain_pair(inspect(type_of(row)).relationships[relation]) is not None

    def _among(self, row: Any, relation: str, target: Any, condition: ColumnElement[bool]) -> ColumnElement[bool]:
        """`key IN (keys of the related rows that match)`: SQLite starts at the few rows then, where EXISTS tries every row."""
        property_ = inspect(type_of(row)).relationships[relation]
        pair = plain_pair(property_)
        assert pair is not None  # checked at import, or by the caller
        local, remote = pair
        here = getattr(row, property_.parent.get_property_by_column(local).key)
        there = getattr(target, property_.mapper.get_property_by_column(remote).key)
        return here.in_(select(there).where(condition))  # type: ignore[no-any-return]  # an attribute found by name


def type_of(row: Any) -> Any:
    """The mapped class behind an aliased one."""
    return inspect(row).mapper.class_


def encoder(type_: TypeEngine[Any]) -> Callable[[Any], Any]:
    """What makes a value of a filter one that a parameter of a column's type can hold."""
    bare = type_.impl_instance if isinstance(type_, TypeDecorator) else type_
    return within_bigint if isinstance(bare, BigInteger) else unchanged


def within_bigint(value: int) -> int:
    """The number, or the last BIGINT on its side: no row holds that, so a row compares with either alike."""
    return max(-MAX_KEY, min(MAX_KEY, value))


def key_reader(type_name: str) -> Callable[[Any], int]:
    """Reads the key of global ids of a type; 0, which no row has, for any other text."""

    def key(text: Any) -> int:
        parsed = parse_id(text)
        return parsed[1] if parsed is not None and parsed[0] == type_name else 0

    return key

"""Facts about mapped classes that writes need: what a column stores, what a new row starts with, what clients call things.

What goes in: mapped classes, columns, values. What comes out: facts of the metadata, and the errors that state one.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from typing import Any

import sqlalchemy as sa
import strawberry
from sqlalchemy import Dialect
from sqlalchemy.orm import Mapper

from graph.base import Base, Money, utc_now
from graph.read.types.amounts import MAX_WHOLE_DIGITS, MOST_MONEY
from graph.read.types.mirror import MIRRORS, Mirror
from graph.read.types.scalars import id_form, parse_id
from graph.texts import Trimmed
from graph.write.errors import NotFoundError, Path, RequiredError
from graph.write.mutation_inputs import input_fields


def stored(column: sa.Column[Any], value: Any, dialect: Dialect) -> Any:
    """A value in the form it is stored and compared in: an e-mail address in lower case."""
    normal = normal_of(column)
    if normal is not None:  # all that its type does, which is asked for long lists
        return value if value is None else normal(value)
    process = column.type.bind_processor(dialect) if isinstance(column.type, sa.TypeDecorator) else None
    return value if process is None or value is None else process(value)


def type_name(mapper: Mapper[Any]) -> str:
    """What clients call rows of this mapper."""
    mirror = mirror_if_any(mapper.class_)
    return mapper.class_.__name__ if mirror is None else mirror.name


BY_MODEL: dict[type[Any], Mirror | None] = {}


def mirror_if_any(model: type[Any]) -> Mirror | None:
    """The mirrored type of a mapped class, if clients can see it."""
    if model not in BY_MODEL:
        BY_MODEL[model] = next((mirror for mirror in MIRRORS.values() if mirror.model is model), None)
    return BY_MODEL[model]


def key_in_id(model: type[Base], id_: str) -> int | None:
    """The key in a global id of this type of row, or None."""
    parsed = parse_id(id_)
    return parsed[1] if parsed and parsed[0] == type_name(model.__mapper__) else None


@cache
def target_attributes(model: type[Base]) -> tuple[str, ...]:
    """What a look-up reads of a row: all its columns."""
    return tuple(attribute.key for attribute in model.__mapper__.column_attrs if not attribute.key.startswith("_"))


#: Takes a row, the name of an attribute and its new value, and gives the value to set. Raises `ValueError`.
Validator = Callable[[Any, str, Any], Any]


@cache
def validators(model: type[Base]) -> dict[str, Validator]:
    """What a class declares with `@validates` for its columns. SQLAlchemy calls it when an attribute of a row is set."""
    mapper = model.__mapper__
    declared: Any = mapper.validators.items()
    columns = {name: each for name, each in declared if name in mapper.column_attrs}
    return {name: _of_a_set(function) if told["include_removes"] else function for name, (function, told) in columns.items()}


def _of_a_set(function: Callable[..., Any]) -> Validator:
    """A validator that also wants to know whether a value is removed, for values that are set."""

    def validator(row: Any, attribute: str, value: Any) -> Any:
        return function(row, attribute, value, False)  # as SQLAlchemy calls it

    return validator


@dataclass(frozen=True, slots=True)
class Step:
    """What a field of an input sets in a row: a column, or a relation whose foreign key is that column.

    `free` says that a column takes every value of its type, `starts` that a new row has a value there without being told.
    `validator` is the one a class declares with `@validates`.
    `normal` brings a value into the form that is stored, so that another spelling of the same is no change.
    """

    attribute: str
    name: str
    column: Any
    relation: Any
    free: bool = False
    starts: bool = False
    normal: Callable[[str], str] | None = None
    validator: Validator | None = None


def steps(model: type[Base], input_type: type) -> tuple[Step, ...]:
    """What the fields of an input type set in a mapped class; the others are the caller's affair."""
    found = STEPS.get((model, input_type))
    if found is None:
        mapper = model.__mapper__
        made = []
        for field in input_fields(input_type):
            relation = mapper.relationships.get(field.attribute)
            if relation is not None:
                column = None if relation.uselist else relation.local_remote_pairs[0][0]
                made.append(Step(field.attribute, field.name, column, relation))
            elif field.attribute in mapper.column_attrs and not mapper.columns[field.attribute].primary_key:
                column = mapper.columns[field.attribute]
                facts = (rule_of(column) is None, starts(column), normal_of(column), validators(model).get(field.attribute))
                made.append(Step(field.attribute, field.name, column, None, *facts))
        found = STEPS[model, input_type] = tuple(made)
    return found


STEPS: dict[tuple[type[Base], type], tuple[Step, ...]] = {}


def starts(column: Any) -> bool:
    """Whether a new row has a value in a column without being told: by a default, or by a rule (`info={"made": True}`)."""
    return column.default is not None or column.server_default is not None or "made" in column.info


@cache
def way_back(model: type[Base], relation: str) -> str | None:
    """The to-one relation for reading that leads back from the rows of a list, which no event keeps in step."""
    listed = model.__mapper__.relationships[relation]
    back = listed.mapper.relationships.get(str(listed.back_populates))
    return back.key if back is not None and back.viewonly else None


@dataclass(frozen=True, slots=True)
class Start:
    """What Python gives a new row: plain values, the time it is made at, and what a function makes for each row."""

    plain: dict[str, Any]
    times: tuple[str, ...]
    made: tuple[tuple[str, Callable[[None], Any]], ...]

    def values(self, now: datetime) -> dict[str, Any]:
        """The values of a row by attribute."""
        found = self.plain | dict.fromkeys(self.times, now)
        for name, make in self.made:
            found[name] = make(None)
        return found


@cache
def start_of(model: type[Base]) -> Start:
    """What new rows of a class start with. Set early, all rows of a table have one INSERT and rules see values."""
    plain: dict[str, Any] = {}
    made: dict[str, Any] = {}
    for attribute in model.__mapper__.column_attrs:
        default: Any = attribute.columns[0].default
        if default is not None and default.is_scalar:
            plain[attribute.key] = default.arg
        elif default is not None and default.is_callable:
            made[attribute.key] = default.arg
    times = tuple(name for name, make in made.items() if inspect.unwrap(make) is utc_now)
    return Start(plain, times, tuple((name, make) for name, make in made.items() if name not in times))


def attribute_name(mapper: Mapper[Any], column: Any) -> str:
    """The attribute of a column."""
    return str(mapper.get_property_by_column(column).key)


def refusal(column: Any, value: Any) -> str | None:
    """Why a value does not have the form its column asks for, or None."""
    rule = rule_of(column)
    if rule is None or value is None:
        return None
    normal = normal_of(column)
    return rule(value if normal is None else normal(value))


def normal_of(column: Any) -> Callable[[str], str] | None:
    """What brings the texts that clients send for a column into the form that is stored, if it has one of its own."""
    return column.type.normal if isinstance(column.type, Trimmed) else None


def rule_of(column: Any) -> Callable[[Any], str | None] | None:
    """What judges the values that clients send for a column: its own rule (`info={"rule": ...}`), or that of money."""
    rule: Callable[[Any], str | None] | None = column.info.get("rule")
    return affordable if rule is None and isinstance(column.type, Money) else rule


def affordable(amount: int) -> str | None:
    """Why an amount cannot be stored, or None. A filter may ask for more: a sum can be more."""
    fits = abs(amount) <= MOST_MONEY
    return None if fits else f"must have at most {MAX_WHOLE_DIGITS} digits before the point"


def required(column: Any, path: Path) -> RequiredError:
    """A value that must be there is not. The constraint has the name PostgreSQL gives it; without a column it is empty."""
    constraint = "" if column is None else f"{column.table.name}_{column.name}_not_null"
    return RequiredError(message=f"{path[-1]} must have a value here", path=list(path), constraint=constraint)


def missing(type_: str, id_: str, path: Path, by: str = "id") -> NotFoundError:
    """The row that a mutation is about is not there; `by` names the key it was looked for by."""
    message = not_there(type_, by, id_)
    return NotFoundError(message=message, path=list(path), type=type_, missing_id=strawberry.ID(id_))


def not_there(type_: str, by: str, key: str) -> str:
    """Says that no row has this key; of an id that is none of this type, what form was expected."""
    return f"There is no {type_} with this {by}" if by != "id" or is_id_of(type_, key) else f"This is no {id_form(type_)}"


def is_id_of(type_: str, text: str) -> bool:
    """Whether a text has the form of a global id of this type."""
    parsed = parse_id(text)
    return parsed is not None and parsed[0] == type_


def foreign_key_name(column: Any) -> str:
    """The name of the foreign key that a column takes part in."""
    return min(str(key.constraint.name) for key in column.foreign_keys)

"""Summaries: what rows of a type can be grouped by, and what is counted and summed over a group.

What goes in: a domain's `Summary`. What comes out: the summaries by the name of their GraphQL type, for the planner and the SQL
writer. What is refused here: a summary that would not work when a client asks for it raises `SummaryError` when the schema is put
together; sizes are judged where a summary is planned.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from graphql import GraphQLObjectType, GraphQLSchema, get_named_type, get_nullable_type, is_non_null_type
from sqlalchemy import BigInteger, Column, ColumnElement, Integer
from sqlalchemy.sql import functions, visitors

from graph.base import Base, Money
from graph.read.types.checks import can_show
from graph.read.types.mirror import MIRRORS, columns_in, columns_untold, plain_pair
from graph.read.types.scalars import position_for

#: An expression over an aliased row.
Expression = Callable[[Any], ColumnElement[Any]]

#: Groups of one summary at most, and when the client does not say.
MAX_GROUPS = 1000
DEFAULT_GROUPS = 100


@dataclass(frozen=True, slots=True)
class Group:
    """What a summary can be grouped by: an expression over a row, or over its detail where `by_detail`.

    Shown as a scalar, or as a row of a type (`entity`), whose key the expression is.
    """

    expression: Expression
    scalar: str = ""
    entity: str = ""
    by_detail: bool = False


@dataclass(frozen=True, slots=True)
class Measure:
    """A number over a group.

    `rows` aggregates the rows of a group; a measure without it sums `each` over all their details. `details` aggregates
    the details of a group of a summary by detail; a measure without it is null there.
    """

    scalar: str
    rows: Expression | None = None
    each: Expression | None = None
    details: Expression | None = None


@dataclass(frozen=True, slots=True)
class Summary:
    """What the fields of a summary type mean, by GraphQL name: `totalAmount.sum` for a measure in an object.

    A group's name is also the value of the enum that clients ask for it by.
    """

    of: str
    detail: type[Base]
    relation: str
    groups: dict[str, Group]
    measures: dict[str, Measure]


SUMMARIES: dict[str, Summary] = {}


class SummaryError(TypeError):
    """A summary does not match its GraphQL type, or the rows it sums up."""


def check(schema: GraphQLSchema) -> None:
    """Hold every summary of `schema` against its GraphQL types and its rows. Raises `SummaryError`."""
    for name, spec in SUMMARIES.items():
        type_ = schema.type_map.get(name)
        if not isinstance(type_, GraphQLObjectType):
            continue
        _check_rows(name, spec)
        shown = dict(_leaves(type_, spec, ""))
        for field in (*spec.groups, *spec.measures):
            if field not in shown:
                raise SummaryError(f"{name}: no field shows {field!r}")
        for field, leaf in shown.items():
            place = f"{name}.{field}"
            if field in spec.groups:
                _check_group(place, spec, spec.groups[field], leaf)
            elif field in spec.measures:
                _check_measure(place, spec, spec.measures[field], leaf)
            else:
                raise SummaryError(f"{place} is neither a group nor a measure")
        for field, definition in (schema.query_type.fields if schema.query_type else {}).items():
            if get_named_type(definition.type) is type_:
                choices: Any = get_named_type(definition.args["groupBy"].type)
                asked = sorted(str(choice.value) for choice in choices.values.values())
                if asked != sorted(spec.groups):
                    raise SummaryError(f"{field} groups by {', '.join(asked)}, but {name} by {', '.join(sorted(spec.groups))}")


def _check_rows(name: str, spec: Summary) -> None:
    mirror = MIRRORS.get(spec.of)
    if mirror is None:
        raise SummaryError(f"{name}: no type {spec.of!r} mirrors the rows")
    relation = mirror.mapper.relationships.get(spec.relation)
    if relation is None or not relation.uselist or relation.mapper.class_ is not spec.detail or plain_pair(relation) is None:
        raise SummaryError(
            f"{name}: {mirror.model.__name__}.{spec.relation} must be a list of {spec.detail.__name__}s by one foreign key"
        )


def _leaves(type_: GraphQLObjectType, spec: Summary, prefix: str) -> Iterator[tuple[str, Any]]:
    """The fields that show something, by name, with their types; objects in between are opened."""
    for name, field in type_.fields.items():
        named = get_named_type(field.type)
        if get_nullable_type(field.type) is not named:
            raise SummaryError(f"{type_.name}.{name} must not be a list")
        if isinstance(named, GraphQLObjectType) and (prefix or name not in spec.groups):
            yield from _leaves(named, spec, f"{prefix}{name}.")
        else:
            yield prefix + name, field.type


def _check_group(place: str, spec: Summary, group: Group, shown: Any) -> None:
    expression = _expression(place, group.expression, spec.detail if group.by_detail else MIRRORS[spec.of].model)
    named = get_named_type(shown)
    if is_non_null_type(shown):
        raise SummaryError(f"{place} is null when it is not grouped by, so the field must be nullable")
    if named.name != (group.entity or group.scalar):
        raise SummaryError(f"{place} is a {group.entity or group.scalar}, not {named.name}")
    if group.entity:
        if group.entity not in MIRRORS or not isinstance(expression.type, Integer):
            raise SummaryError(f"{place}: the group must be the key of a mirrored type")
    elif not can_show(named, expression.type, derived=True):
        raise SummaryError(f"{place} is {expression.type!r}, which {named.name} cannot show")
    elif position_for(expression.type) is None:
        raise SummaryError(f"{place} is {expression.type!r}, which groups cannot be sorted by alike on every database")
    for part in visitors.iterate(expression.label(None)):
        if isinstance(part, Column) and part.nullable:
            raise SummaryError(f"{place} is null for rows without {part.name}: rows are grouped by what all of them have")


def _check_measure(place: str, spec: Summary, measure: Measure, shown: Any) -> None:
    named = get_named_type(shown)
    if named.name != measure.scalar:
        raise SummaryError(f"{place} is a {measure.scalar}, not {named.name}")
    row, detail = MIRRORS[spec.of].model, spec.detail
    found = [_expression(place, each, of) for each, of in ((measure.rows, row), (measure.details, detail)) if each is not None]
    if measure.rows is None:
        if measure.each is None:
            raise SummaryError(f"{place} needs `rows` or `each`")
        found.append(functions.sum(_expression(place, measure.each, detail)))
    for expression in found:
        if not can_show(named, expression.type, derived=True):
            raise SummaryError(f"{place} is {expression.type!r}, which {named.name} cannot show")
        if isinstance(expression, functions.sum) and isinstance(expression.type, (BigInteger, Money)):
            raise SummaryError(f"{place}: a sum of {expression.type!r} may pass what a database's own sum can hold; use ExactSum")
    counted = measure.details is not None and all(isinstance(each, functions.count) for each in found)
    if is_non_null_type(shown) and not counted:
        raise SummaryError(f"{place} may be null, so the field must be nullable")


def _expression(place: str, expression: Expression, model: type[Base]) -> ColumnElement[Any]:
    try:
        made = expression(model)
    except AttributeError as error:
        raise SummaryError(f"{place}: {error}") from None
    if secret := columns_in(made) & columns_untold():
        raise SummaryError(f"{place} would tell {', '.join(sorted(secret))} to those who may not be told it")
    return made

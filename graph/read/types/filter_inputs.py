"""The inputs of reads, made from the mirrored types: filters per scalar, `<Type>Where`, `<Type>Sort`.

What goes in: a type's name. What comes out: Strawberry input types, made once, when the schema first asks for them; so a
new entity brings its filters and sort orders without a line of its own.
"""

from __future__ import annotations

import dataclasses
import enum
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any, Optional

import strawberry
from graphql import GraphQLInputType, get_named_type
from strawberry.annotation import StrawberryAnnotation
from strawberry.tools import create_type
from strawberry.types.base import StrawberryList, StrawberryOptional, get_object_definition
from strawberry.types.enum import StrawberryEnumDefinition, has_enum_definition
from strawberry.types.field import StrawberryField
from strawberry.types.lazy_type import LazyType

from graph.read.types.mirror import MIRRORS, Mirror, is_untold
from graph.read.types.permissions import NOT_SENT, UNTOLD, only_sent
from graph.read.types.scalars import ENUM, SCALARS


@dataclass(frozen=True)
class Generated(LazyType[Any, Any]):
    """A reference to an input type that is generated when the schema is put together."""

    def resolve_type(self) -> type[Any]:
        made: type[Any] = make_input(self.type_name)
        return made


def generated(name: str) -> Any:
    return Generated(name, __name__)


@strawberry.enum(description="Which way to sort. Nulls count as greatest.")
class Direction(enum.Enum):
    ASC = strawberry.enum_value("ASC", description="Smallest first, nulls last.")
    DESC = strawberry.enum_value("DESC", description="Greatest first, nulls first.")


def input_field(
    name: str,
    annotation: Any,
    description: str,
    graphql_name: str | None = None,
    default: object = strawberry.UNSET,
    metadata: Mapping[Any, Any] | None = None,
) -> StrawberryField:
    return StrawberryField(
        python_name=name,
        graphql_name=graphql_name,
        type_annotation=StrawberryAnnotation(annotation),
        description=description,
        default=default,
        metadata=metadata,
    )


def optional(annotation: Any) -> Any:
    """`annotation | None`, for annotations that are made at run time."""
    return Optional[annotation]  # noqa: UP045  # made when it runs: an annotation is a value here


def scalar_filter(name: str, value: Any, operators: Mapping[str, str], what: str) -> Any:
    """An input with one field an operator; several given together must all hold."""
    types = {"in_": list[value], "not_in": list[value], "is_null": bool}
    names = {"in_": "in"}
    given = [input_field(op, optional(types.get(op, value)), text, names.get(op)) for op, text in operators.items()]
    return create_type(name, given, is_input=True, description=f"Conditions on {what}; all that are given must hold.")


SCALAR_FILTERS: dict[object, Any] = {
    scalar.python: scalar_filter(f"{scalar.name}Filter", scalar.python, scalar.operators, scalar.what)
    for scalar in SCALARS.values()
    if scalar.operators
}


@cache
def enum_filter(name: str) -> Any:
    choices = ENUMS[name]
    return scalar_filter(f"{name}Filter", choices, ENUM.operators, f"a value of {name}")


ENUMS: dict[str, Any] = {}


@cache
def make_input(name: str) -> Any:
    """The generated input of this name: `OrderWhere`, `OrderListWhere`, `OrderSort`, `OrderSortField`."""
    for suffix, make in MAKERS.items():
        mirrored = name.removesuffix(suffix)
        if name.endswith(suffix) and mirrored in MIRRORS:
            return make(name, mirrored)
    raise KeyError(name)


def _where(name: str, mirrored: str) -> Any:
    """`and or not`, a filter per scalar and enum field, a `Where` per to-one relation, a `ListWhere` per list."""
    me = generated(name)
    made = [
        input_field("and_", optional(StrawberryList(me)), "All of these hold.", "and"),
        input_field("or_", optional(StrawberryList(me)), "At least one of these holds.", "or"),
        input_field("not_", optional(me), "This does not hold.", "not"),
    ]
    for field in get_object_definition(MIRRORS[mirrored].type, strict=True).fields:
        if field.python_name in MIRRORS[mirrored].links:
            continue
        type_ = _filter_type(field.type)
        if type_ is not None:
            about = f"Conditions on: {field.description}"
            metadata = NOT_SENT if UNTOLD in field.metadata else None
            made.append(input_field(field.python_name, optional(type_), about, metadata=metadata))
    return create_type(name, made, is_input=True, description=f"A filter on {mirrored} rows; all that is given must hold.")


def mirror_of_where(type_: GraphQLInputType) -> Mirror:
    """The mirrored type whose rows a `<Type>Where` filters."""
    return MIRRORS[get_named_type(type_).name.removesuffix("Where")]


def _filter_type(type_: Any) -> Any:
    """The input that filters a field of this type, or None where it cannot be filtered."""
    inner: Any = type_.of_type if isinstance(type_, StrawberryOptional) else type_
    many = isinstance(inner, StrawberryList)
    if not many and inner in SCALAR_FILTERS:
        return SCALAR_FILTERS[inner]
    if has_enum_definition(inner):
        ENUMS[inner.__strawberry_definition__.name] = inner
        return enum_filter(inner.__strawberry_definition__.name)
    if isinstance(inner, StrawberryEnumDefinition):
        ENUMS[inner.name] = inner.wrapped_cls
        return enum_filter(inner.name)
    name = _mirrored(inner.of_type if many else inner)
    if name is not None:
        return generated(f"{name}{'ListWhere' if many else 'Where'}")
    definition: Any = get_object_definition(inner)
    for parameter in definition.type_var_map.values() if definition is not None else ():
        if (name := _mirrored(parameter)) is not None:
            return generated(f"{name}ListWhere")
    return None


def _mirrored(type_: Any) -> str | None:
    """The name of a mirrored type, or None."""
    name = type_.type_name if isinstance(type_, LazyType) else getattr(get_object_definition(type_), "name", None)
    return name if name in MIRRORS else None


def _list_where(name: str, mirrored: str) -> Any:
    where = generated(f"{mirrored}Where")
    made = [
        input_field("some", optional(where), "At least one of the rows matches."),
        input_field("every", optional(where), "All of the rows match; true where there are none."),
        input_field("none", optional(where), "None of the rows matches; true where there are none."),
    ]
    return create_type(name, made, is_input=True, description=f"Conditions on the {mirrored} rows of a list.")


def _sort_field(name: str, mirrored: str) -> Any:
    described = {
        key: strawberry.enum_value(path, description=f"By {path.replace('.', ' ').replace('_', ' ')}.")
        for key, path in _orders_by(mirrored).items()
    }
    return strawberry.enum(enum.Enum(name, described), name=name, description=f"What {mirrored} rows can be sorted by.")  # type: ignore[call-overload]  # the functional API with descriptions


def _orders_by(mirrored: str) -> dict[str, str]:
    """The names by which rows can be sorted, and what these are."""
    return {path.upper().replace(".", "_"): path for path in MIRRORS[mirrored].sorts}


def _sort(name: str, mirrored: str) -> Any:
    told = {key for key, path in _orders_by(mirrored).items() if not is_untold(MIRRORS[mirrored], path)}
    metadata = None if len(told) == len(MIRRORS[mirrored].sorts) else only_sent(*told)
    fields = make_input(f"{mirrored}SortField")
    made = [
        input_field("field", fields, "What to sort by.", default=dataclasses.MISSING, metadata=metadata),
        input_field("direction", Direction, "Which way; ascending by default.", default=Direction.ASC),
    ]
    return create_type(
        name, made, is_input=True, description=f"One sort key of {mirrored} rows; the id always completes the order."
    )


MAKERS = {"ListWhere": _list_where, "Where": _where, "SortField": _sort_field, "Sort": _sort}

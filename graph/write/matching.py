"""Which rows a bulk mutation means: those that a filter finds, or all of them when it says so, and no more than it allows.

What goes in: `where`, `all` and `atMost` of its input. What comes out: the keys of the rows, locked in key order. What is refused
here, before any statement: neither or both of `where` and `all`, a filter with a part that says nothing, an id in it that is none
of the type; and, when the rows are known, more of them than `atMost`.

Emptiness must never widen what is written. A client that sends `{status: {eq: $status}}` without the variable, or drops
`undefined` from its JSON, means some rows; a read may answer with all of them, a write must not.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import sqlalchemy as sa
import strawberry
from graphql import GraphQLInputType, ListValueNode, ObjectValueNode, ValueNode, VariableNode, get_named_type
from sqlalchemy import ColumnElement, Dialect
from sqlalchemy.types import TypeEngine
from strawberry.types.base import StrawberryOptional, get_object_definition

from graph.base import MAX_SUBTOTAL, Base, Money
from graph.read.planning.arguments import Source, resolve
from graph.read.planning.filters import EVERYTHING
from graph.read.rows import Door
from graph.read.sql.bound_lists import unchanged
from graph.read.sql.conditions import Conditions
from graph.read.types.filter_inputs import mirror_of_where
from graph.read.types.scalars import global_id, id_form
from graph.texts import EDGES
from graph.write.answers import camel
from graph.write.columns import is_id_of, refusal, required
from graph.write.errors import ROOT, Path, Refused, invalid
from graph.write.locks import Lock, locked
from graph.write.mutation_inputs import ABSENT, given, is_filter
from graph.write.unit import Unit

WHERE: Path = (*ROOT, "where")
ALL: Path = (*ROOT, "all")
AT_MOST: Path = (*ROOT, "atMost")

#: Operators that every text passes when their own is empty.
TEXT = ("contains", "startsWith", "endsWith", "gte")
SAYS_NOTHING = "must say something: all rows are meant by `all: true` in place of `where`"
NOT_SENT = "must have a value: its variable was not sent"


@strawberry.input
class Capped:
    """What the inputs share that may write many rows."""

    at_most: strawberry.Maybe[int | None] = strawberry.field(
        description="Refuse the change if it means more rows than this. Send it wherever you know how many there may be."
    )


@strawberry.input
class Matching(Capped):
    """What the inputs share that write the rows of a filter. Each adds its `where`."""

    all_: strawberry.Maybe[bool | None] = strawberry.field(
        name="all",
        description=(
            "`true` means all rows, in place of `where`: exactly one of the two is sent. A `where` with a part that says nothing "
            "is refused, at any depth, and so is a variable in it that was not sent."
        ),
    )


async def lock_matching(
    unit: Unit,
    model: type[Base],
    input_: Matching,
    *more: Callable[[Any], ColumnElement[bool]],
    lock: Lock = Lock.CHANGE,
) -> list[int]:
    """The keys of the rows that are meant and match `more`, locked in key order. Raises `Refused`."""
    judge(unit, input_)
    door = Door(unit.scope)
    row = door.rows(model, "matched", lockable=True)
    where = Conditions(ImmediateBinder(unit.dialect, door)).of(row, unit.field.where or EVERYTHING)
    found = sa.select(row.id).where(where, *(condition(row) for condition in more))
    keys = list((await unit.session.scalars(locked(found, row, lock))).all())
    hold(unit, input_, len(keys))
    return keys


def asked(unit: Unit, name: str) -> bool:
    """Whether a field of the payload is selected now, or may be when the request is repeated under its idempotency key."""
    return name in unit.field.selected or unit.field.keyed


def ids_of(unit: Unit, name: str, rows: Iterable[tuple[str, int]]) -> dict[str, list[str]]:
    """The global ids of rows, by type and key, as the payload's attribute of this name, if anybody asks for them."""
    return {name: [global_id(*row) for row in rows]} if asked(unit, camel(name)) else {}


def judge(unit: Unit, input_: Matching) -> None:
    """See that the input says which rows it means. Raises `Refused` with all that is refused so far."""
    before = len(unit.errors)
    sent, everything = unit.field.input, given(input_, "all_")
    judge_cap(unit, input_)
    if everything is None:
        unit.refuse(required(None, ALL))
    if "where" in sent and sent["where"] is None:
        unit.refuse(required(None, WHERE))
    elif "where" in sent and everything is True:
        _refuse(unit, ALL, "must not be sent beside `where`: it means rows that the filter leaves out")
    elif "where" in sent:
        _judge_where(unit, sent["where"])
    elif everything is not True and everything is not None:
        _refuse(unit, ROOT, "must say which rows it means, by `where` or by `all: true`")
    if len(unit.errors) > before:
        raise Refused(unit.errors)


def judge_cap(unit: Unit, input_: Capped) -> None:
    """See that `atMost` is a number of rows."""
    most = given(input_, "at_most")
    if most is None:
        unit.refuse(required(None, AT_MOST))
    elif most is not ABSENT and most < 0:
        _refuse(unit, AT_MOST, "must not be negative")


def hold(unit: Unit, input_: Capped, number: int) -> None:
    """Hold the number of rows that are meant against `atMost`. Raises `Refused`."""
    most = given(input_, "at_most")
    if most is not ABSENT and number > most:
        _refuse(unit, AT_MOST, f"must be at least {number}: so many rows are meant")
        raise Refused(unit.errors)


def _judge_where(unit: Unit, where: Mapping[str, Any]) -> None:
    field = unit.field
    input_type: Any = get_named_type(field.definition.args["input"].type)
    type_ = input_type.fields["where"].type
    unsent = list(_unsent(_literal(field.nodes[0]), WHERE, field.variables.coerced))
    for place in unsent or _empty(type_, where, WHERE):
        _refuse(unit, place, NOT_SENT if unsent else SAYS_NOTHING)
    for place, name in _strange(type_, where, WHERE):
        _refuse(unit, place, f"must be a {id_form(name)}")


def _refuse(unit: Unit, place: Path, reason: str) -> None:
    unit.refuse(invalid(place, reason))


def _literal(node: Any) -> ValueNode | None:
    """The filter of a field as it stands in the document, if it stands there."""
    values = {argument.name.value: argument.value for argument in node.arguments}
    input_ = values.get("input")
    parts = {field.name.value: field.value for field in input_.fields} if isinstance(input_, ObjectValueNode) else {}
    return parts.get("where")


def _unsent(node: ValueNode | None, place: Path, sent: Mapping[str, Any]) -> Iterator[Path]:
    """The places of a literal whose variables were not sent."""
    if isinstance(node, VariableNode):
        if node.name.value not in sent:
            yield place
    elif isinstance(node, ObjectValueNode):
        for field in node.fields:
            yield from _unsent(field.value, (*place, field.name.value), sent)
    elif isinstance(node, ListValueNode):
        for index, value in enumerate(node.values):
            yield from _unsent(value, (*place, str(index)), sent)


def _empty(
    type_: GraphQLInputType, value: Any, place: Path, *, negated: bool = False, counted: bool = False, of: Shown | None = None
) -> Iterator[Path]:
    """The parts of a filter that say nothing by their form: nothing is in them, or all rows pass them, whatever these hold.

    `negated` says that rows pass where the part does not hold. `some: {}`, `none: {}` and `in: []` ask whether there are rows or
    values at all; they stay where they leave rows out, and so does `id: {isNull: false}` where rows of a list are `counted`.
    """
    named: Any = get_named_type(type_)
    if isinstance(value, list) and is_filter(named.name):
        parts: Iterable[tuple[str, Any]] = [(str(index), part) for index, part in enumerate(value)]
        inner = dict.fromkeys((name for name, _ in parts), type_)
    elif isinstance(value, dict):
        parts, inner = value.items(), {name: field.type for name, field in named.fields.items()}
    else:
        passed = None if of is None else of.passed(place[-1], value)
        exists = counted and (value is None or place[-1] == "isNull")
        if (passed is True and not exists) or (passed is False and negated):
            yield place
        return
    if not value and not (negated and place[-1] in ("some", "none")):
        yield place
    for name, part in parts:
        shown = of if of is not None or is_filter(get_named_type(inner[name]).name) else Shown(type_, name)
        yield from _empty(
            inner[name],
            part,
            (*place, name),
            negated=negated != (name in ("not", "none")),
            counted=name in ("some", "none") or (counted and name != "every"),
            of=shown,
        )


class Shown:
    """What is known of a field of a `<Type>Where` before its rows are looked at."""

    def __init__(self, type_: GraphQLInputType, name: str) -> None:
        mirror = mirror_of_where(type_)
        attribute = mirror.attributes[name]
        field: Any = get_object_definition(mirror.type, strict=True).get_field(attribute)
        self.always = not isinstance(field.type, StrawberryOptional)
        self.column = mirror.mapper.columns.get(attribute)

    def passed(self, operator: str, value: Any) -> bool | None:
        """Whether all rows pass a condition, True, or none, False; None where it depends on them."""
        if value is None or operator == "isNull":
            missing = value if operator == "isNull" else operator == "eq"
            return not missing if self.always else None
        if isinstance(value, list):
            return operator == "notIn" if all(map(self._is_nobodys, value)) else None
        blank = isinstance(value, str) and not value.strip(EDGES)
        if blank and operator in TEXT:
            return True
        if operator == "lt" and value == "":
            return False
        if self._is_nobodys(value) and (operator in ("eq", "ne") or blank):
            return {"eq": False, "ne": True, "gt": True, "lt": False, "lte": False}.get(operator)
        return None

    def _is_nobodys(self, value: Any) -> bool:
        """Whether no row can have this value. What the server adds up may be more than a client can send."""
        if self.column is None:
            return False
        if isinstance(self.column.type, Money):
            return value is not None and not 0 <= value <= MAX_SUBTOTAL
        return refusal(self.column, value) is not None


def _strange(type_: GraphQLInputType, value: Any, place: Path) -> Iterator[tuple[Path, str]]:
    """The places of ids that are none of the type they are compared with, and its name: they would match no row, or all."""
    if isinstance(value, list):
        for index, part in enumerate(value):
            yield from _strange(type_, part, (*place, str(index)))
        return
    named: Any = get_named_type(type_)
    for name, part in value.items():
        here, inner = (*place, name), named.fields[name].type
        kind = get_named_type(inner).name
        if is_filter(kind):
            yield from _strange(inner, part, here)
        elif kind == "IDFilter":
            owner = mirror_of_where(type_).name
            for operator, ids in part.items():
                many = isinstance(ids, list)
                for index, id_ in enumerate(ids if many else [ids]):
                    if isinstance(id_, str) and not is_id_of(owner, id_):
                        yield (*here, operator, *([str(index)] if many else [])), owner


class ImmediateBinder:
    """Binds the values of a filter as they are in this request."""

    def __init__(self, dialect: Dialect, door: Door) -> None:
        self.dialect = dialect
        self.door = door
        self._aliases = 0

    def bind(self, source: Source, type_: TypeEngine[Any], encode: Callable[[Any], Any] = unchanged) -> ColumnElement[Any]:
        return sa.bindparam(None, encode(resolve(source, {})), type_, unique=True)

    def alias(self) -> str:
        self._aliases += 1
        return f"m{self._aliases}"

    def rows(self, model: type[Base]) -> Any:
        return self.door.rows(model, self.alias())

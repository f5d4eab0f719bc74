"""What a unit of work answers, as data: for the payload now, and for the same question asked again.

What goes in: rows, plain values, results of single entries. What comes out: the payload, its entities read back in the open
transaction as the client selects them; or JSON that brings the same answer back later (`keep`, `recall`). What is kept are
ids, values and errors, not the client's JSON: a repeated request is read back with its own selection.
"""

from __future__ import annotations

import dataclasses
import enum
import json
from collections import defaultdict
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

import sqlalchemy as sa
import strawberry
from sqlalchemy.ext.asyncio import AsyncSession
from strawberry.types.base import StrawberryList, get_object_definition

from graph.base import Base
from graph.context import Context
from graph.read.payloads.execution import read_entities
from graph.read.payloads.running import RunningField
from graph.read.rows import rows
from graph.read.types.mirror import MIRRORS
from graph.read.types.scalars import global_id
from graph.scope import Scope
from graph.write.columns import type_name
from graph.write.errors import ROOT, MutationError, NotFoundError, Order, Path, Row, error_types, ordered


@strawberry.type
class Payload:
    """What the payloads of all mutations share."""

    errors: list[MutationError] = strawberry.field(
        default_factory=list,
        description="Every refusal of the call, in the order of the input, those in `results` included; empty on success.",
    )


P = TypeVar("P", bound=Payload)


@dataclass(slots=True)
class Result:
    """What became of one entry of a list: its row, or why there is none."""

    index: int
    row: Row | None
    errors: list[MutationError] = field(default_factory=list)
    values: dict[str, Any] = field(default_factory=dict)


@dataclass(slots=True)
class Answer(Generic[P]):
    """What goes into a payload of type `P`: a row for each entity, plain values, the results of its entries, and errors for what
    is gone since."""

    rows: dict[str, Row | None] = field(default_factory=dict)
    values: dict[str, Any] = field(default_factory=dict)
    results: list[Result] | None = None
    gone: list[MutationError] = field(default_factory=list)


def row_of(row: Base) -> Row:
    """The reference to a mapped row."""
    mapper = type(row).__mapper__
    return Row(type_name(mapper), mapper.primary_key_from_instance(row)[0])


def answer(values: dict[str, Any] | None = None, **rows: Base | Row | None) -> Answer[Any]:
    """An answer of rows by payload field, and plain values."""
    return Answer({name: row_of(row) if isinstance(row, Base) else row for name, row in rows.items()}, values or {})


def entry_type(payload: type) -> tuple[Any, str]:
    """The type of a payload's `results`, and the name of its entity."""
    results: Any = get_object_definition(payload, strict=True).get_field("results")
    type_ = results.type
    entry = type_.of_type if isinstance(type_, StrawberryList) else type_
    names = [f.python_name for f in get_object_definition(entry, strict=True).fields]
    return entry, next(name for name in names if name not in ("index", "errors", "created"))


async def payload_of(context: Context, field: RunningField, order: Order, payload: type[P], given: Answer[P]) -> P:
    """The payload, its entities read back in the transaction."""
    for result in given.results or ():
        result.errors = ordered(result.errors, order)
    refused = [error for result in given.results or () for error in result.errors]
    made: dict[str, Any] = {"errors": ordered([*given.gone, *refused], order), **given.values}
    for name, row in given.rows.items():
        if row is not None:
            made[name] = (await read_entities(context, field, (camel(name),), [row.key]))[row.key]
    if given.results is not None:
        made["results"] = await _entries(context, field, payload, given.results)
    return payload(**made)


async def _entries(context: Context, field: RunningField, payload: type, results: list[Result]) -> list[Any]:
    entry, entity = entry_type(payload)
    keys = [result.row.key for result in results if result.row is not None]
    read = await read_entities(context, field, ("results", camel(entity)), keys) if keys else {}
    return [
        entry(
            index=result.index,
            errors=result.errors,
            **result.values,
            **{entity: None if result.row is None else read[result.row.key]},
        )
        for result in results
    ]


def camel(name: str) -> str:
    """The GraphQL name of a Python name."""
    first, *rest = name.split("_")
    return first + "".join(part.capitalize() for part in rest)


# ---- kept and recalled


def keep(given: Answer[Any]) -> str:
    """An answer as JSON."""
    results = (
        None
        if given.results is None
        else [
            {"index": r.index, "row": _row(r.row), "errors": [_error(error) for error in r.errors], "values": r.values}
            for r in given.results
        ]
    )
    rows = {name: _row(row) for name, row in given.rows.items()}
    values = {name: _object(v) for name, v in given.values.items()}
    return json.dumps({"rows": rows, "values": values, "results": results})


def recall(payload: type[P], text: str) -> Answer[P]:
    """The answer that `keep` kept for this payload."""
    kept = json.loads(text)
    definition = get_object_definition(payload, strict=True)
    values: dict[str, Any] = {}
    for name, value in kept["values"].items():
        field_: Any = definition.get_field(name)
        type_ = getattr(field_.type, "of_type", field_.type)
        values[name] = type_(**value) if isinstance(value, dict) else value
    results = kept["results"] and [
        Result(r["index"], _recall_row(r["row"]), [_recall_error(error) for error in r["errors"]], r["values"])
        for r in kept["results"]
    ]
    return Answer({name: _recall_row(row) for name, row in kept["rows"].items()}, values, results)


def _row(row: Row | None) -> list[Any] | None:
    return None if row is None else [row.type_name, row.key]


def _recall_row(row: list[Any] | None) -> Row | None:
    return None if row is None else Row(*row)


def _object(value: Any) -> Any:
    """A value as JSON can hold it."""
    if isinstance(value, enum.Enum):
        return {"enum": value.name}
    if isinstance(value, Row):
        return _row(value)
    return dataclasses.asdict(value) if dataclasses.is_dataclass(value) and not isinstance(value, type) else value


def _error(error: MutationError) -> dict[str, Any]:
    fields = {f.name: getattr(error, f.name) for f in dataclasses.fields(error) if f.init}
    for name, value in fields.items():
        fields[name] = [_object(v) for v in value] if isinstance(value, list) else _object(value)
    return {"type": type(error).__name__, "fields": fields}


def _recall_error(kept: dict[str, Any]) -> MutationError:
    type_ = next(t for t in error_types() if t.__name__ == kept["type"])
    definition = get_object_definition(type_, strict=True)
    fields: dict[str, Any] = dict(kept["fields"])
    for name, value in fields.items():
        shown = definition.get_field(name)
        inner: Any = None if shown is None else getattr(shown.type, "of_type", shown.type)
        if name == "row":
            fields[name] = _recall_row(value)
        elif isinstance(value, list):
            fields[name] = [_plain(inner, v) for v in value]
        else:
            fields[name] = _plain(inner, value)
    return type_(**fields)


def _plain(type_: Any, value: Any) -> Any:
    if not isinstance(value, dict):
        return value
    if "enum" in value:
        return getattr(type_, "wrapped_cls", type_)[value["enum"]]
    return type_(**value)


async def note_missing(given: Answer[Any], session: AsyncSession, scope: Scope, name: str) -> None:
    """NOT_FOUND for every row of a recalled answer that is gone since; `name` is that of the list whose entries have results."""
    wanted: dict[str, set[int]] = defaultdict(set)
    for each in [*given.rows.values(), *(r.row for r in given.results or ())]:
        if each is not None:
            wanted[each.type_name].add(each.key)
    there: set[Row] = set()
    for type_, keys in wanted.items():
        row = rows(MIRRORS[type_].model, scope)
        found = await session.scalars(sa.select(row.id).where(row.id.in_(sorted(keys))))
        there |= {Row(type_, key) for key in found}
    for field_name, named in given.rows.items():
        if named is not None and named not in there:
            given.gone.append(_gone(named, ROOT))
            given.rows[field_name] = None
    for result in given.results or ():
        if result.row is not None and result.row not in there:
            result.errors.append(_gone(result.row, (*ROOT, name, str(result.index))))
            result.row = None


def _gone(row: Row, path: Path) -> NotFoundError:
    id_ = strawberry.ID(global_id(row.type_name, row.key))
    return NotFoundError(
        message=f"The {row.type_name} of this request is gone", path=list(path), type=row.type_name, missing_id=id_
    )

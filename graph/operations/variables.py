"""Variables: coerced for the operation, or refused with the path of every value that does not fit.

What goes in: a `Document` and the raw variables of a request. What comes out: graphql-core's `VariableValues`. What is
refused here: values that do not fit their types or the places where they stand, texts that no database can store, lists and texts
over the limits, each as `BAD_USER_INPUT` at its input path.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import inf
from typing import Any

from graphql import Undefined, is_non_null_type
from graphql.execution.values import VariableValues, VariableValueSource
from graphql.utilities.coerce_input_value import coerce_default_value

from graph.operations.documents import Document, Use
from graph.operations.faults import MAX_STEPS, Fault, counted, list_limit, text_limit, too_many
from graph.operations.request_errors import RequestRefused
from graph.read.refusals import MAX_ERRORS, BadUserInput
from graph.read.types.scalars import is_storable
from graph.settings import Settings


def coerce_variables(settings: Settings, document: Document, raw: Mapping[str, Any]) -> VariableValues:
    """The coerced variables. Raises `RequestRefused`."""
    sources: dict[str, VariableValueSource] = {}
    coerced: dict[str, Any] = {}
    wrong: list[Fault] = []
    entries: float = document.entries
    for variable in document.variables:
        name, signature, value = variable.name, variable.signature, raw.get(variable.name, Undefined)
        sources[name] = VariableValueSource(signature, value)
        place = variable.uses[0].path
        held: float = 0
        if value is not Undefined:
            held = sum([_entries(value, use, settings) for use in variable.uses])
            made = Undefined if held == inf else variable.convert(value)
            if made is Undefined:
                wrong += variable.faults(value, settings) or [(place, f"Variable '${name}' does not fit '{signature.type}'.")]
                continue
        elif signature.default is not None:
            made = coerce_default_value(signature)
            held = variable.default_entries * len(variable.uses)
        elif is_non_null_type(signature.type):
            wrong.append((place, f"Variable '${name}' of type '{signature.type}' was not sent."))
            continue
        else:
            continue
        if made is None and (needed := next((use for use in variable.uses if use.needed), None)) is not None:
            wrong.append((needed.path, f"Variable '${name}' must not be null here."))
        entries += held
        coerced[name] = made
    if not wrong and entries > settings.max_nested_rows:
        wrong.append((_crowded(document, raw, settings.max_nested_rows), too_many(settings.max_nested_rows, int(entries))))
    if wrong:
        raise RequestRefused([BadUserInput(message, path) for path, message in wrong[:MAX_ERRORS]])
    return VariableValues(sources, coerced)


def _entries(value: Any, use: Use, settings: Settings) -> float:
    """How many objects stand in the lists of a value; infinite where its texts, lists or depth are over a limit."""
    if isinstance(value, str):  # at the place itself, which may take a cursor
        return 0 if len(value) <= text_limit(use.path, settings) and is_storable(value) else inf
    return _listed(value, use) + _entries_in(value, use.path[-1], settings, len(use.path))


def _listed(value: Any, use: Use) -> int:
    """Whether a value is itself an object in a list of the document."""
    return int(isinstance(value, dict) and len(use.path) > 1 and use.path[-1].isdigit() and counted(use.path[-2]))


def _entries_in(value: Any, field: str, settings: Settings, depth: int) -> float:
    if isinstance(value, str):
        return 0 if len(value) <= settings.max_text_length and is_storable(value) else inf
    if depth > MAX_STEPS:
        return inf
    if isinstance(value, dict):
        return sum([_entries_in(part, name, settings, depth + 1) for name, part in value.items()])
    if isinstance(value, list):
        if len(value) > list_limit(field, settings):
            return inf
        own = sum(isinstance(part, dict) for part in value) if counted(field) else 0
        return own + sum([_entries_in(part, "", settings, depth + 1) for part in value])
    return 0


def _crowded(document: Document, raw: Mapping[str, Any], limit: int) -> tuple[str, ...]:
    """The list with which the entries of all lists become too many."""
    uses = [(variable, use) for variable in document.variables for use in variable.uses]
    sent = [(use.path, raw[variable.name], use) for variable, use in uses if variable.name in raw]
    waiting: list[tuple[tuple[str, ...], Any, Use | None]] = [*sent]
    entries = document.entries + sum(variable.default_entries for variable, _ in uses if variable.name not in raw)
    path = uses[0][1].path
    while waiting and entries <= limit:
        path, value, whole = waiting.pop(0)
        entries += 0 if whole is None else _listed(value, whole)
        if isinstance(value, dict):
            waiting[:0] = [((*path, name), part, None) for name, part in value.items()]
        elif isinstance(value, list):
            waiting[:0] = [((*path, str(index)), part, None) for index, part in enumerate(value)]
            entries += sum(isinstance(part, dict) for part in value) if counted(path[-1]) else 0
    return path

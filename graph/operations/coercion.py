"""Variables: coerced for the operation, or refused with the path of every value that does not fit.

What goes in: a `Document` and the raw variables of a request. What comes out: graphql-core's `VariableValues`. What is
refused here: values that do not fit their types, texts that no database can store, lists and texts over the limits, each as
`BAD_USER_INPUT` at its input path.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from math import inf
from typing import Any

from graphql import GraphQLError, GraphQLSchema, Undefined, is_non_null_type, type_from_ast
from graphql.execution.values import VariableValues, VariableValueSource, get_variable_values
from graphql.utilities import validate_input_value

from graph.operations.documents import Document, RequestRefused
from graph.read.errors import BadUserInput
from graph.read.paging import decode, is_storable
from graph.settings import Settings

MAX_ERRORS = 20
#: Steps from a variable to its deepest value: a hundred is far more than any input of the schema has a use for.
MAX_STEPS = 100

TOO_MANY = "A request may hold at most {} entries in all its lists."


def coerce(schema: GraphQLSchema, settings: Settings, document: Document, raw: Mapping[str, Any]) -> VariableValues:
    """The coerced variables. Raises `RequestRefused`."""
    definitions = document.operation.variable_definitions or ()
    if not definitions:
        return VariableValues({}, {})
    entries = sum([_entries(raw.get(name), place[-1], settings, len(place)) for name, place in document.uses])
    if entries <= settings.max_nested_rows:
        quick = _quick(document, raw)
        if quick is not None:
            return quick
    problems = [problem for name, place in document.uses for problem in _unfit(raw.get(name), place, settings)]
    if not problems and entries > settings.max_nested_rows:
        problems = [(document.uses[-1][1], TOO_MANY.format(settings.max_nested_rows))]
    if problems:
        raise RequestRefused([BadUserInput(message, path) for path, message in problems[:MAX_ERRORS]])
    values = get_variable_values(schema, definitions, dict(raw), max_errors=MAX_ERRORS)
    if isinstance(values, VariableValues):
        return values
    raise RequestRefused(_explained(schema, document, raw) or _coded(values))


def _quick(document: Document, raw: Mapping[str, Any]) -> VariableValues | None:
    """The coerced variables where all is well; graphql-core's own function makes signatures and types anew each time."""
    sources: dict[str, VariableValueSource] = {}
    coerced: dict[str, Any] = {}
    for name, signature, convert in document.signatures:
        if name in raw:
            value = convert(raw[name])
            if value is Undefined:
                return None
            sources[name] = VariableValueSource(signature, raw[name])
            coerced[name] = value
        elif signature.default is not None or is_non_null_type(signature.type):
            return None
        else:
            sources[name] = VariableValueSource(signature)
    return VariableValues(sources, coerced)


def _coded(errors: list[GraphQLError]) -> list[GraphQLError]:
    return [BadUserInput(error.message, (), error.nodes) for error in errors]


def _explained(schema: GraphQLSchema, document: Document, raw: Mapping[str, Any]) -> list[GraphQLError]:
    errors: list[GraphQLError] = []
    for definition in document.operation.variable_definitions or ():
        name = definition.variable.name.value
        type_: Any = type_from_ast(schema, definition.type)
        place = next(place for used, place in document.uses if used == name)
        if name not in raw:
            if is_non_null_type(type_) and definition.default_value is None:
                errors.append(BadUserInput(f"Variable '${name}' of required type '{type_}' was not provided.", place, definition))
            continue

        def report(error: GraphQLError, path: list[str | int], place: tuple[str, ...] = place, node: Any = definition) -> None:
            if len(errors) < MAX_ERRORS:
                errors.append(BadUserInput(error.message, (*place, *map(str, path)), node))

        validate_input_value(raw[name], type_, report)
    return errors


def _entries(value: Any, field: str, settings: Settings, depth: int) -> float:
    """How many objects stand in the lists of a value; infinite where `_unfit` has something to say of more than names."""
    if isinstance(value, str):
        return 0 if len(value) <= settings.max_text_length and is_storable(value) else inf
    if depth > MAX_STEPS:
        return inf
    if isinstance(value, dict):
        return sum([_entries(part, name, settings, depth + 1) for name, part in value.items()])
    if isinstance(value, list):
        if len(value) > list_limit(field, settings):
            return inf
        own = sum(isinstance(part, dict) for part in value) if field != "rows" else 0
        return own + sum([_entries(part, "", settings, depth + 1) for part in value])
    return 0


def _unfit(value: Any, path: tuple[str, ...], settings: Settings) -> Iterator[tuple[tuple[str, ...], str]]:
    """Values that fit no database or limit, whatever their type."""
    stack: list[tuple[Any, tuple[str, ...]]] = [(value, path)]
    entries = 0
    while stack:
        value, path = stack.pop()
        if len(path) > MAX_STEPS:
            yield path[:MAX_STEPS], "The value is nested too deeply."
            continue
        if isinstance(value, str):
            if not is_storable(value):
                yield path, "Text cannot hold NUL or lone surrogates."
            elif len(value) > settings.max_text_length and decode(value) is None:  # a cursor may be longer
                yield path, f"Text may have at most {settings.max_text_length} characters."
        elif isinstance(value, dict):
            if not all(map(is_storable, value)):
                yield path, "A name cannot hold NUL or lone surrogates."
            else:
                stack += [(part, (*path, key)) for key, part in value.items()]
        elif isinstance(value, list):
            limit = list_limit(path[-1], settings)
            if len(value) > limit:
                yield path, f"A list may have at most {limit} entries here."
            else:
                stack += [(part, (*path, str(index))) for index, part in enumerate(value)]
                entries += sum(isinstance(part, dict) for part in value) if path[-1] != "rows" else 0
                if entries > settings.max_nested_rows:
                    yield path, TOO_MANY.format(settings.max_nested_rows)
                    return


def list_limit(field: str, settings: Settings) -> int:
    """How many entries a list in this input field may have: `rows` are the plain rows of a bulk insert."""
    return settings.max_insert_rows if field == "rows" else settings.max_input_list

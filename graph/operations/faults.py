"""What is wrong with an input value: where, what, and what would be right, in one wording for literals and variables.

What goes in: values as JSON gives them or as they stand in a document, the input types they should fit, limits. What comes out:
faults, each with its path; none where coercion will take the value. Nothing is refused here: who asks decides what becomes of it.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from graphql import (
    BooleanValueNode,
    GraphQLEnumType,
    GraphQLError,
    GraphQLInputObjectType,
    ListValueNode,
    NullValueNode,
    ObjectValueNode,
    StringValueNode,
    Undefined,
    ValueNode,
    VariableNode,
    is_list_type,
    is_non_null_type,
    is_required_input_field,
)
from graphql.pyutils import did_you_mean, suggestion_list

from graph.read.planning.cursors import longest_cursor
from graph.read.refusals import Over
from graph.read.types.amounts import NumberText
from graph.read.types.scalars import is_storable
from graph.settings import Settings

Path = tuple[str, ...]
Fault = tuple[Path, str]

#: Arguments of connections that take a cursor. What stands there is judged as one, whatever it looks like; nothing else is.
CURSORS = ("after", "before")
#: The input field with the plain rows of a bulk insert.
ROWS = "rows"
#: Steps from a variable to its deepest value: a hundred is far more than any input of the schema has a use for.
MAX_STEPS = 100
#: Characters of a value that a message shows.
SHOWN = 60
#: Fields of an input that a message names.
MOST_FIELDS = 8

UNSTORABLE = "Text cannot hold NUL or lone surrogates."
RIGHT = {
    "Int": "Int must be a whole number from -2147483648 to 2147483647",
    "Float": "Float must be a number",
    "String": "String must be a text",
    "Boolean": "Boolean must be true or false",
    "ID": "ID must be a text or a whole number",
}


def too_many(limit: int, found: int) -> Over:
    return Over(f"A request may hold at most {limit} entries in all its lists.", limit, found)


def is_cursor(place: Path) -> bool:
    """Whether a place in a field's arguments takes a cursor."""
    return len(place) == 1 and place[0] in CURSORS


def list_limit(field: str, settings: Settings) -> int:
    """How many entries a list in this input field may have."""
    return settings.max_insert_rows if field == ROWS else settings.max_input_list


def counted(field: str) -> bool:
    """Whether the objects in a list of this input field are rows that a unit of work would hold; plain rows are not."""
    return field != ROWS


def text_limit(place: Path, settings: Settings) -> int:
    """How many characters a text may have at this place."""
    return longest_cursor(settings.max_text_length) if is_cursor(place) else settings.max_text_length


def faults(value: Any, type_: Any, path: Path, settings: Settings) -> Iterator[Fault]:
    """All that is wrong with a value of a type. Variables in a literal are taken to be right."""
    value = _opened(value)
    if isinstance(value, VariableNode):
        return
    if len(path) > MAX_STEPS:
        yield path, "The value is nested too deeply."
        return
    if is_non_null_type(type_):
        if value is None:
            yield path, f"A value of type {type_.of_type} is needed here, not null."
            return
        type_ = type_.of_type
    if value is None:
        return
    if is_list_type(type_):
        yield from _in_list(value, type_, path, settings)
    elif isinstance(type_, GraphQLInputObjectType):
        yield from _in_object(value, type_, path, settings)
    else:
        problem = _in_text(value, path, settings) or _in_leaf(value, type_, settings)
        if problem:
            yield path, problem


def _opened(value: Any) -> Any:
    """A value of a document as JSON has it, its parts as they are."""
    if isinstance(value, ObjectValueNode):
        return {field.name.value: field.value for field in value.fields}
    if isinstance(value, ListValueNode):
        return list(value.values)
    return None if isinstance(value, NullValueNode) else value


def _in_list(value: Any, type_: Any, path: Path, settings: Settings) -> Iterator[Fault]:
    if not isinstance(value, list):  # what is no list is a list of one
        yield from faults(value, type_.of_type, path, settings)
        return
    limit = list_limit(path[-1] if path else "", settings)
    if len(value) > limit:
        yield path, Over(f"A list may have at most {limit} entries here.", limit, len(value))
        return
    for index, part in enumerate(value):
        yield from faults(part, type_.of_type, (*path, str(index)), settings)


def _in_object(value: Any, type_: GraphQLInputObjectType, path: Path, settings: Settings) -> Iterator[Fault]:
    if not isinstance(value, Mapping):
        yield path, f"{type_.name} must be an object, not {shown(value)}.{_right(value, type_) if settings.suggestions else ''}"
        return
    unknown = [name for name in value if name not in type_.fields]
    for name in unknown:
        if is_storable(name):
            near = did_you_mean(suggestion_list(name, list(type_.fields))) if settings.suggestions else ""
            yield (*path, name), f"{type_.name} has no field {shown(name)}.{near}"
        else:
            yield path, "A name cannot hold NUL or lone surrogates."
    if type_.is_one_of and not unknown and (len(value) != 1 or any(_opened(part) is None for part in value.values())):
        fields = f"one of the fields {', '.join(type_.fields)}" if settings.suggestions else "one field"
        yield path if len(value) != 1 else (*path, *value), f"{type_.name} takes exactly {fields}, with a value."
        return
    for name, field in type_.fields.items():
        if name in value:
            yield from faults(value[name], field.type, (*path, name), settings)
        elif is_required_input_field(field):
            yield (*path, name), f"{type_.name} needs {name}, of type {field.type}."


def _right(value: Any, type_: GraphQLInputObjectType) -> str:
    """What would stand in place of a value that is no object."""
    if "eq" in type_.fields:
        return f" Write {{{'in' if isinstance(value, list) else 'eq'}: …}}."
    fields = list(type_.fields)
    return f" Its fields are {', '.join(fields[:MOST_FIELDS])}{', …' * (len(fields) > MOST_FIELDS)}."


def _in_text(value: Any, path: Path, settings: Settings) -> str | None:
    text = value if isinstance(value, str) else getattr(value, "value", None)
    if not isinstance(text, str):
        return None
    if not is_storable(text):
        return UNSTORABLE
    limit = text_limit(path, settings)
    if len(text) > limit:
        return Over(f"{'A cursor' if is_cursor(path) else 'Text'} may have at most {limit} characters.", limit, len(text))
    return None


def _in_leaf(value: Any, type_: Any, settings: Settings) -> str | None:
    try:
        made = coerce_literal(value, type_) if isinstance(value, ValueNode) else type_.coerce_input_value(value)
        if made is not Undefined:
            return None
        problem = ""
    except GraphQLError as error:
        problem = error.message
    except Exception:  # what a scalar raises is a refusal, too
        problem = ""
    if isinstance(type_, GraphQLEnumType):
        return _in_enum(value, type_, settings)
    if type_.name in RIGHT:
        return f"{RIGHT[type_.name]}, not {shown(value)}."
    return problem or f"{type_.name} cannot be {shown(value)}."


def coerce_literal(node: ValueNode, type_: Any) -> Any:
    """A scalar or an enum value of a document. Raises what its type raises."""
    if type_.coerce_input_literal is not None or isinstance(type_, GraphQLEnumType):
        return type_.coerce_input_literal(node)
    return type_.parse_literal(node)


def _in_enum(value: Any, type_: GraphQLEnumType, settings: Settings) -> str:
    quoted = isinstance(value, StringValueNode)
    name = value.value if quoted else value if isinstance(value, str) else getattr(value, "value", "")
    if quoted and name in type_.values:
        return f"{type_.name} is written without quotes in a document: {name}."
    if not settings.suggestions:
        return f"{type_.name} has no value {shown(value)}."
    near = did_you_mean(suggestion_list(name, list(type_.values))) if isinstance(name, str) else ""
    right = near or f" It takes {', '.join(type_.values)}."
    return f"{type_.name} has no value {shown(value)}.{right}"


def shown(value: Any) -> str:
    """A value as a message shows it: as JSON, and not all of a long one."""
    if isinstance(value, (Mapping, ObjectValueNode)):
        return "an object"
    if isinstance(value, (list, ListValueNode)):
        return "a list"
    if isinstance(value, (StringValueNode, BooleanValueNode)):
        value = value.value
    if isinstance(value, ValueNode):
        return _cut(str(getattr(value, "value", "")))  # a number or a name, as it is written
    if isinstance(value, NumberText):
        return _cut(value.text)
    if isinstance(value, str):
        return json.dumps(_cut(value), ensure_ascii=not is_storable(value))
    return _cut(json.dumps(value))


def _cut(text: str) -> str:
    return text if len(text) <= SHOWN else f"{text[: SHOWN - 1]}…"

"""Filters: a `where` input becomes a `Filter`.

What goes in: templates of `where` arguments. What comes out: `plan.Filter` records. What is refused here: null where a value is
needed, too many conditions and too deep a nesting raise `BadUserInput` at their path.
"""

from __future__ import annotations

from typing import Any

from graph.read.planning.arguments import Leaf
from graph.read.planning.nesting import MAX_FILTER, filter_nesting
from graph.read.planning.plan import Compare, Either, Every, Filter, IsNull, IsTrue, Not, Related
from graph.read.refusals import BadUserInput, Over
from graph.read.types.mirror import Mirror, mirror_of, plain_pair

OPERATORS = {
    "eq": "eq",
    "ne": "ne",
    "lt": "lt",
    "lte": "lte",
    "gt": "gt",
    "gte": "gte",
    "in": "in",
    "notIn": "not_in",
    "contains": "contains",
    "startsWith": "starts_with",
    "endsWith": "ends_with",
}

EVERYTHING = Every(())
#: Conditions in one filter, and steps from it to the deepest: SQLite takes expressions up to 1,000 deep.
MAX_CONDITIONS = 200
MAX_STEPS = 40


def read_where(mirror: Mirror, template: Any, path: tuple[str, ...]) -> Filter:
    """The filter of a `where` input on rows of a mirrored type. Raises `BadUserInput`."""
    count = conditions(template)
    if count > MAX_CONDITIONS:
        raise BadUserInput(Over(f"A filter may have at most {MAX_CONDITIONS} conditions.", MAX_CONDITIONS, count), path)
    found = _read_where(mirror, template, path)
    if filter_nesting(found) > MAX_FILTER:
        raise BadUserInput("The filter is nested too deeply; it may lead through five relations, one within the other.", path)
    return found


def conditions(template: Any) -> int:
    """How many values a `where` input compares with."""
    if isinstance(template, Leaf):
        return 1
    return 1 + sum(map(conditions, template.values() if isinstance(template, dict) else template))


def _read_where(mirror: Mirror, template: Any, path: tuple[str, ...]) -> Filter:
    if len(path) > MAX_STEPS:
        raise BadUserInput("The filter is nested too deeply.", path[:MAX_STEPS])
    parts: list[Filter] = []
    for name, value in template.items():
        here = (*path, name)
        if isinstance(value, Leaf) and value.value is None:
            raise BadUserInput("null is no filter; leave the field out.", here)
        if name in ("and", "or"):
            inner = tuple(_read_where(mirror, part, (*here, str(index))) for index, part in enumerate(value))
            parts.append(Every(inner) if name == "and" else Either(inner))
        elif name == "not":
            parts.append(Not(_read_where(mirror, value, here)))
        else:
            parts.append(_read_field(mirror, mirror.attributes[name], value, here))
    return parts[0] if len(parts) == 1 else Every(tuple(parts))


def _read_field(mirror: Mirror, attribute: str, template: dict[str, Any], path: tuple[str, ...]) -> Filter:
    relation = mirror.mapper.relationships.get(attribute)
    if relation is None:
        return Every(tuple(_read_operator(mirror, attribute, name, leaf, (*path, name)) for name, leaf in template.items()))
    target = mirror_of(relation.mapper.class_)
    if not relation.uselist:
        part = _read_where(target, template, path)
        return _by_foreign_key(mirror, attribute, target, part) or Related(attribute, "one", target.name, part)
    parts: list[Filter] = []
    for name, value in template.items():
        if isinstance(value, Leaf):
            raise BadUserInput("null is no filter; leave the field out.", (*path, name))
        parts.append(Related(attribute, name, target.name, _read_where(target, value, (*path, name))))  # type: ignore[arg-type]  # the input has no other names
    return Every(tuple(parts))


def _by_foreign_key(mirror: Mirror, attribute: str, target: Mirror, part: Filter) -> Filter | None:
    """A condition on nothing but the target's id, as one on the foreign key."""
    while isinstance(part, Every) and len(part.parts) == 1:
        (part,) = part.parts
    pair = plain_pair(mirror.mapper.relationships[attribute])
    if pair is None or not pair[1].primary_key or pair[0].nullable:
        return None  # a parent that must be there is one that may be seen
    if not isinstance(part, Compare) or part.attribute != "id" or part.operator not in ("eq", "in"):
        return None
    return Compare(mirror.mapper.get_property_by_column(pair[0]).key, part.operator, part.source, part.is_id)


def selective(filter_: Filter) -> bool:
    """Whether a filter asks for equality with a value, so that few rows may match."""
    if isinstance(filter_, Every):
        return any(map(selective, filter_.parts))
    if isinstance(filter_, Related):
        return filter_.quantifier in ("one", "some") and selective(filter_.part)
    return isinstance(filter_, Compare) and filter_.operator in ("eq", "in")


def _read_operator(mirror: Mirror, attribute: str, name: str, leaf: Leaf, path: tuple[str, ...]) -> Filter:
    if leaf.value is None:
        if name in ("eq", "ne"):
            return IsNull(attribute, name == "eq")
        raise BadUserInput(f"{name} needs a value.", path)
    if name == "isNull":
        return IsNull(attribute, leaf.value)
    if isinstance(leaf.value, bool):
        return IsTrue(attribute, leaf.value)
    return Compare(attribute, OPERATORS[name], leaf.source, mirror.name if attribute == "id" else None)


def mentions(template: Any, name: str) -> bool:
    """Whether a `where` input says anything about a field of its own rows."""
    if isinstance(template, list):
        return any(mentions(part, name) for part in template)
    if not isinstance(template, dict):
        return False
    return name in template or any(mentions(template[key], name) for key in ("and", "or", "not") if key in template)

"""What bound viewers may not send (`graph.read.types.permissions`), found in values of any depth.

What goes in: the type of an input and a value of it, coerced or as the planner sees it. What comes out: the places of what may
not be sent. Nothing is refused here.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from typing import Any

from graphql import GraphQLInputObjectType, GraphQLInputType, get_named_type, is_list_type

from graph.read.planning.arguments import Leaf, nullable
from graph.read.types.permissions import BOUND_VIEWERS, sendable

MESSAGE = f"{{}} is not for {BOUND_VIEWERS}."


def unsendable(type_: GraphQLInputType, value: Any, path: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
    """The places in a value that bound viewers may not send."""
    inner = nullable(type_)
    if is_list_type(inner):
        for index, part in enumerate(value if isinstance(value, list) else ()):
            yield from unsendable(inner.of_type, part, (*path, str(index)))
    elif isinstance(inner, GraphQLInputObjectType) and isinstance(value, dict) and restricts(inner):
        for name, part in value.items():
            field = inner.fields[name]
            allowed = sendable(field)
            if allowed is None:
                yield from unsendable(field.type, part, (*path, name))
            elif getattr(part.value if isinstance(part, Leaf) else part, "name", None) not in allowed:
                yield (*path, name)


@cache
def restricts(type_: GraphQLInputObjectType) -> bool:
    """Whether there is anything in an input, at any depth, that bound viewers may not send."""
    seen: set[str] = set()
    waiting = [type_]
    while waiting:
        each = waiting.pop()
        if each.name in seen:
            continue
        seen.add(each.name)
        for field in each.fields.values():
            if sendable(field) is not None:
                return True
            inner = get_named_type(field.type)
            if isinstance(inner, GraphQLInputObjectType):
                waiting.append(inner)
    return False

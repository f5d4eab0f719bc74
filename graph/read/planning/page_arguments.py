"""The arguments of a list: which rows it holds, how many of them a page has, and where the page begins.

What goes in: arguments as `graph.read.planning.planning_context` has them. What comes out: parts of a `Page`. What is refused
here: a page size out of bounds, `first` beside `last`, a cursor of another order, as `BadUserInput`.
"""

from __future__ import annotations

from typing import Any

from graph.read.planning.arguments import Leaf
from graph.read.planning.cursors import cursor_values, order_tag
from graph.read.planning.filters import EVERYTHING, mentions, read_where
from graph.read.planning.plan import Compare, Cursor, Every, Filter, IsNull, IsTrue, Search, SortKey
from graph.read.refusals import BadUserInput, Over
from graph.read.types.mirror import Mirror
from graph.settings import Settings

#: The attributes in which a row says the type and the key of another row.
ANY_ROW = ("type", "key")


def where_of(mirror: Mirror, relation: str | None, arguments: dict[str, Any]) -> Filter:
    """Which rows are meant: those of the filter, the search and whatever is left out unless it is asked for."""
    template = arguments.get("where")
    parts: list[Filter] = []
    if isinstance(template, dict):
        parts.append(read_where(mirror, template, ("where",)))
    search = arguments.get("search")
    if search is not None and search.value is not None:
        parts.append(Search(mirror.search, search.source))
    types = arguments.get("types")
    if types is not None and types.value is not None:
        parts.append(Compare(ANY_ROW[0], "in", types.source))
    if mirror.log is not None:
        parts.append(IsNull(mirror.log, False))
    hidden = mirror.hidden_unless_mentioned
    shown = [name for name, attribute in mirror.attributes.items() if attribute == hidden]
    if hidden is not None and relation is None and not any(mentions(template, name) for name in shown):
        parts.append(IsTrue(hidden, False))
    return parts[0] if len(parts) == 1 else Every(tuple(parts)) if parts else EVERYTHING


def size_of(settings: Settings, arguments: dict[str, Any], *, nested: bool) -> tuple[int, bool]:
    """How many rows a page has at most, and whether they are the last ones."""
    given = {name: arguments[name].value for name in ("first", "last") if name in arguments and arguments[name].value is not None}
    if len(given) == 2:
        raise BadUserInput("first and last cannot be given together.", ("last",))
    for name, size in given.items():
        most = settings.max_page_size
        if not 0 <= size <= most:
            raise BadUserInput(Over(f"{name} must be from 0 to {most}.", most, size), (name,))
    unsaid = settings.nested_page_size if nested else settings.default_page_size
    return next(iter(given.values()), unsaid), "last" in given


def cursor_of(type_name: str, order: tuple[SortKey, ...], arguments: dict[str, Any], name: str) -> Cursor | None:
    """The cursor that one of the arguments holds, if it is given."""
    leaf: Leaf | None = arguments.get(name)
    if leaf is None or leaf.value is None:
        return None
    values = cursor_values(leaf.value, order_tag(type_name, order), order, (name,))
    return Cursor(leaf.source, tuple(value is None for value in values), (name,))

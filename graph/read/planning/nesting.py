"""How deep a statement may nest: what a parser has no room for stands beside the statement, in a WITH clause.

What goes in: fields and filters of a plan. What comes out: how much room of a parser's stack each takes. What may be refused
here: nothing; a filter that nests too deeply is refused where it is read, on every database alike.

SQLite's parser keeps a stack of a hundred symbols, and a subquery holds ten to thirty of them while what is inside is read. The
numbers here are upper bounds, found by measuring; a test lets SQLite parse operations at the edges of all limits.
"""

from __future__ import annotations

from sqlalchemy import Dialect

from graph.database import capabilities
from graph.read.planning.plan import AnyRow, Either, Every, Filter, Many, Not, One, Page, Related

#: What is on the stack in a WITH clause, and where a row is written: one found by a key, of a list of ids, of a payload, of a
#: summary's group; a root page adds what every page does.
BESIDE = 12
AT_ROOT, IN_LOOKUP, IN_NODES, IN_PAYLOAD, IN_SUMMARY = 10, 23, 40, 18, 39
#: What the row of a to-one relation, a bounded list, a page and a numbered page add for the fields below them.
ONE, OR_NULL, MANY, PAGE, NUMBERED_PAGE = 10, 3, 16, 21, 17
#: What the row of any type adds: it stands in a CASE.
ANY_ROW = 20
#: What a scalar takes, an expression of the model included.
SCALAR = 22

#: What a filter may take: five relations, one within the other, or fewer and more of `and`, `or` and `not`.
MAX_FILTER = 50
RELATION, ALL_ROWS, GROUP = 10, 12, 3
#: What a page takes around its filter, and a numbered one above that.
FILTERED, NUMBERED = 28, 8


def room(dialect: Dialect) -> int:
    """How many symbols a statement may nest."""
    return capabilities(dialect).parser_room or 10**9


def filter_nesting(filter_: Filter) -> int:
    """What a filter takes, however many conditions it has side by side."""
    match filter_:
        case Every(parts) | Either(parts):
            return (GROUP if len(parts) > 1 else 0) + max(map(filter_nesting, parts), default=0)
        case Not(part):
            return 1 + filter_nesting(part)
        case Related(_, quantifier, _, part):
            return (RELATION if quantifier in ("one", "some") else ALL_ROWS) + filter_nesting(part)
    return 0


def _numbered(page: Page) -> bool:
    return page.backward or any(part.info for part in page.parts)


def added_depth(field: One | AnyRow | Many | Page) -> int:
    """What a relation or a page adds for the fields below it."""
    if isinstance(field, Page):
        return NUMBERED_PAGE if _numbered(field) else PAGE
    if isinstance(field, AnyRow):
        return ANY_ROW
    if isinstance(field, Many):
        return MANY
    return ONE + OR_NULL if field.nullable else ONE


def needed(field: One | AnyRow | Many | Page) -> int:
    """What a relation or a page takes itself, whatever is below it."""
    values = added_depth(field) + SCALAR
    if not isinstance(field, Page):
        return values
    return max(values, FILTERED + (NUMBERED if _numbered(field) else 0) + filter_nesting(field.where))

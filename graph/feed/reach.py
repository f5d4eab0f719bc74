"""Which changes a viewer is told, and as what: the row rule of the outbox.

What goes in: a change, as a row of the outbox or as the hub sees it, and who asks. What comes out: a condition, or a verdict.
What is refused here: nothing; a change that is out of reach is not there.

Whose a row was before and after its change stands in the outbox, so nothing is asked of the row as it is now. A row that came
from or went to somebody else is new to the viewer, or gone: what it was or is beyond his reach he is not told. MANY does not say
whose the rows were, so whoever does not see them all does not hear of it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import sqlalchemy as sa
from sqlalchemy import ColumnElement

from graph.feed.events import Seen
from graph.feed.outbox import without_untold
from graph.read.rows import Door
from graph.read.types.mirror import MIRRORS
from graph.scope import BOUND, Scope
from graph.write.record import Kind

#: A list of fields without any.
NOTHING = "[]"


def within_reach(change: Any, viewer: Door) -> ColumnElement[bool] | None:
    """A viewer who belongs to a customer is told of what was his or became his, and of types whose rows he sees all."""
    if viewer.kind != BOUND:
        return None
    own = sa.or_(_is_his(change.owner_before, viewer), _is_his(change.owner_after, viewer))
    # What moves only what he is not told may be others' doing: their orders move stock.
    something = sa.or_(change.changed == NOTHING, without_untold(change, change.changed) != NOTHING)
    shared = sa.and_(change.type.in_(_shared(viewer)), something)
    return sa.and_(change.kind != Kind.MANY, sa.or_(own, shared))


def when_moved(change: Any, viewer: Door) -> Mapping[str, ColumnElement[Any]]:
    """What moved out of a viewer's reach is DELETED for him, and what moved into it CREATED."""
    if viewer.kind != BOUND:
        return {}
    moved = sa.and_(change.kind == Kind.UPDATED, change.owner_before.is_distinct_from(change.owner_after))
    left = sa.and_(moved, _is_his(change.owner_before, viewer))
    kinds = {left: Kind.DELETED, moved: Kind.CREATED}
    return {
        "kind": sa.case(*((when, sa.literal(kind, change.kind.type)) for when, kind in kinds.items()), else_=change.kind),
        "version": sa.case((left, sa.null()), else_=change.version),
        "changed": sa.case((moved, NOTHING), else_=change.changed),
    }


def concerns(scope: Scope, seen: Seen) -> bool:
    """Whether a viewer may be told of one of these changes; the same rule, over a page of them."""
    if scope.kind != BOUND:
        return True
    shared = _shared(Door(scope))
    return any(name in shared for name in seen.types) or any(key == scope.values["customer"] for _, key in seen.owners)


def _is_his(owner: Any, viewer: Door) -> ColumnElement[bool]:
    return owner == viewer.value("customer", owner)  # type: ignore[no-any-return]  # an attribute found by name


def _shared(viewer: Door) -> list[str]:
    """The types of which a viewer sees every row."""
    return sorted(name for name, mirror in MIRRORS.items() if mirror.is_node and viewer.sees_all(mirror.model))

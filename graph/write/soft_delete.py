"""Soft delete: rows archived and restored, one by one or by filter.

What goes in: the input of such a mutation. What comes out: the row, or how many. What is refused here: a row that is not there or
not of the expected version. Doing it twice changes nothing.
"""

from __future__ import annotations

from typing import Any

from graph.base import Base, utc_now
from graph.write.answers import Answer, answer
from graph.write.bulk import update_rows
from graph.write.columns import type_name
from graph.write.matching import Matching, ids_of, lock_matching
from graph.write.mutation_inputs import given
from graph.write.unit import Unit


async def archive(unit: Unit, model: type[Base], field: str, input_: Any, *, archived: bool) -> Answer[Any]:
    """Archive or restore one row; `field` names it in the payload."""
    row: Any = await unit.load(model, input_.id, expected=given(input_, "expected_version"))
    if archived != (row.archived_at is not None):
        row.archived_at = utc_now() if archived else None
        row.archived_by = unit.context.client or None if archived else None
    await unit.flush()
    return answer(**{field: row})


async def archive_matching(unit: Unit, model: type[Base], input_: Matching) -> Answer[Any]:
    """Archive all rows that the input means."""
    keys = await lock_matching(unit, model, input_, lambda row: row.archived_at.is_(None))
    if keys:
        values = {"archived_at": utc_now(), "archived_by": unit.context.client or None}
        await update_rows(unit, model, keys, values, {})
    name = type_name(model.__mapper__)
    return answer({"count": len(keys), **ids_of(unit, "ids", ((name, key) for key in keys))})

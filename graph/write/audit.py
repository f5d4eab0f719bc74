"""What became of each write, told once: who sent it, which mutation, which rows, how it ended. None of its values.

What goes in: a field of a mutation, and what it answers or raised. What comes out: a `WriteEnded`, where anybody listens. Nothing
is refused here. Of operations that are refused before their fields run `graph.operations.refused_writes` tells.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from graph.context import Context
from graph.database.failures import CommitUnknown, TransientError, Unavailable
from graph.observations import UNAVAILABLE, WriteEnded
from graph.read.payloads.running import RunningField, running_in
from graph.read.types.scalars import global_id
from graph.write.record import Change

#: How many ids one line names.
MOST_IDS = 20


def audit(context: Context, field: RunningField, codes: Sequence[str], error: BaseException | None = None) -> None:
    """A field of a mutation has ended with these codes, or with an exception."""
    if not WriteEnded.listeners:
        return
    running = running_in(context)
    changes = running.written.get(field.key)
    if changes is None and "" in running.written:  # the transaction of all fields
        changes = [each for each in running.written[""] if each.mutation == field.name]
    outcome = "ok"
    if error is not None:
        outcome = outcome_of(error, committing=changes is not None)
    elif "COMMIT_UNKNOWN" in codes:
        outcome = "unknown"
    elif changes is None:
        outcome = "unavailable" if set(codes) & set(UNAVAILABLE) else "refused" if codes else "undone"
    written: Sequence[Change] = changes or ()
    ids = [global_id(each.type, each.key) for each in written if each.key is not None]
    told, rows = tuple(ids[:MOST_IDS]), sum(each.count for each in written)
    WriteEnded(context.client, field.name, outcome, tuple(dict.fromkeys(codes)), told, rows).tell()


def outcome_of(error: BaseException, *, committing: bool) -> str:
    """What an exception says of a write; `committing` that it was given up once a COMMIT was sent."""
    if isinstance(error, CommitUnknown):
        return "unknown"
    if isinstance(error, asyncio.CancelledError):
        return "unknown" if committing else "gone"
    return "unavailable" if isinstance(error, (Unavailable, TransientError, TimeoutError)) else "failed"


def audit_all(context: Context, error: BaseException | None = None) -> None:
    """All fields of a mutation have ended in one transaction: none was refused, or it met an exception."""
    for field in running_in(context).fields.values():
        audit(context, field, (), error)

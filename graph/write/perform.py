"""One mutation field: its transaction, its second try, its payload.

What goes in: the resolve info of the field, its payload type, and the work: a function of a `Unit`. What comes out: the payload,
entities read back in the same transaction, or all errors. What may be refused here: everything the database or a rule
refuses, as data; `Unavailable` and bugs are raised, and again by every later field if those could not fare better.

When the database refuses, the work is undone and done again with a unit that explains. If nothing is wrong with the rows (the
other writer is gone) they are written after all; a second refusal is told as the driver names it.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any, TypeVar

from sqlalchemy.exc import IntegrityError

from graph.database.failures import CommitUnknown, TransientError, Unavailable
from graph.write import idempotency
from graph.write.answers import Answer, entry_type, keep, note_missing, payload_of, recall
from graph.write.atomic import SharedTransaction
from graph.write.door import recorded
from graph.write.errors import (
    ROOT,
    MutationError,
    Refused,
    commit_unknown,
    not_run,
    ordered,
    rolled_back,
    try_again,
)
from graph.write.record import savepoint
from graph.write.unit import Info, Unit, input_order

P = TypeVar("P")
Work = Callable[[Unit], Awaitable[Answer]]


class DryRunOver(Exception):
    """A dry run is over: nothing was refused, and nothing is kept."""

    def __init__(self, payload: Any) -> None:
        super().__init__()
        self.payload = payload


async def perform(info: Info, payload: Callable[..., P], work: Work, *, entries: tuple[str, int] | None = None) -> P:
    """Run a unit of work and answer its payload.

    `entries` names the list of the input whose entries have results of their own, and its length.
    """
    shared: SharedTransaction | None = info.context.shared
    field = str(info.path.key)
    if shared is not None and shared.failed:
        verdict: P = shared.verdicts.get(field) or payload(errors=[shared.reason(info)])
        return verdict
    if isinstance(info.context.broken, CommitUnknown):
        return payload(errors=[not_run()])
    if info.context.broken is not None:
        raise info.context.broken
    try:
        return await (_alone if shared is None else _within)(info, partial(_once, info, payload, work, entries))
    except Refused as refused:
        answer = _refusal(payload, ordered(refused.errors, input_order(info)), entries)
    except (TransientError, IntegrityError):
        answer = payload(errors=[try_again()])
    except CommitUnknown as unknown:
        info.context.broken = unknown
        answer = payload(errors=[commit_unknown(keyed=idempotency.is_keyed(info))])
    except Exception as error:
        if shared is not None or isinstance(error, Unavailable):
            info.context.broken = error
        raise
    if shared is not None:
        shared.failed = True
        shared.verdicts[field] = answer
    return answer


async def _alone(info: Info, once: Callable[..., Awaitable[P]]) -> P:
    """The field in a transaction of its own."""
    context = info.context

    async def attempt(*, explaining: bool) -> P:
        async def transaction() -> P:
            made = await once(explaining=explaining)
            if context.dry_run:
                raise DryRunOver(made)
            return made

        return await recorded(context, transaction)

    try:
        try:
            return await attempt(explaining=False)
        except IntegrityError:
            return await attempt(explaining=True)
    except DryRunOver as over:
        made: P = over.payload
        return made


async def _within(info: Info, once: Callable[..., Awaitable[P]]) -> P:
    """The field in the transaction of its operation, behind a savepoint."""
    session = info.context.session
    for explaining in (False, True):
        session.expunge_all()
        try:
            async with savepoint(session):
                return await once(explaining=explaining)
        except IntegrityError:
            if explaining:
                raise
    raise AssertionError("unreachable")


async def _once(info: Info, payload: Callable[..., P], work: Work, entries: tuple[str, int] | None, *, explaining: bool) -> P:
    context = info.context
    key = None if context.dry_run else idempotency.key_of_field(info)
    kept = None if key is None else await idempotency.claim(context.session, context.database, key)
    if kept is not None:
        answer = recall(payload, kept)
        await note_missing(answer, context.session, context.scope, "" if entries is None else entries[0])
        return await payload_of(info, payload, answer)
    answer = await work(Unit(context, explaining=explaining, order=input_order(info)))
    if key is not None:
        await idempotency.store(context.session, key, keep(answer))
    return await payload_of(info, payload, answer)


def _refusal(payload: Callable[..., P], errors: list[MutationError], entries: tuple[str, int] | None) -> P:
    """The payload of a refused field. Errors of an entry stand with it, too, and the innocent entries were rolled back."""
    name, count = entries or ("", 0)
    own: dict[int, list[MutationError]] = {}
    for error in errors:
        if error.path[:2] == [*ROOT, name] and len(error.path) > 2:
            own.setdefault(int(error.path[2]), []).append(error)
    if not own:
        return payload(errors=errors)
    entry, _ = entry_type(payload)
    return payload(errors=errors, results=[entry(index=i, errors=own.get(i) or [rolled_back()]) for i in range(count)])

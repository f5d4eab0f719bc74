"""One mutation field: its transaction, its second try, its payload.

What goes in: the field that runs, its payload type, and the work: a function of a `Unit`. What comes out: the payload,
entities read back in the same transaction, or all errors. What may be refused here: everything the database or a rule
refuses, as data; `Unavailable` and bugs are raised, and again by every later field if those could not fare better.

When the database refuses, the work is undone and done again with a unit that explains. If nothing is wrong with the rows (the
other writer is gone) they are written after all. If another one comes between, it is done once more: what he wrote is there then.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial
from typing import Generic, TypeVar, cast

from sqlalchemy.exc import IntegrityError

from graph import observations
from graph.context import Context
from graph.database import REPLICATED, WRITTEN
from graph.database.failures import AnswerTooLarge, CommitUnknown, TransientError, Unavailable
from graph.database.read_after import BY_PRIMARY
from graph.read.payloads.running import RunningField, SharedTransaction, running_in
from graph.write import idempotency
from graph.write.answers import Answer, Payload, entry_type, keep, note_missing, payload_of, recall
from graph.write.audit import audit
from graph.write.errors import (
    ROOT,
    MutationError,
    Order,
    Refused,
    answer_too_large,
    commit_unknown,
    not_run,
    ordered,
    rolled_back,
    try_again,
)
from graph.write.input_order import InputOrder
from graph.write.record import let_next_read_keep, record_of, recorded, savepoint
from graph.write.unit import EXPLANATIONS, Unit

P = TypeVar("P", bound=Payload)
Work = Callable[[Unit], Awaitable[Answer[P]]]


class DryRunOver(Exception):
    """A dry run is over: nothing was refused, and nothing is kept."""

    def __init__(self, payload: object) -> None:
        super().__init__()
        self.payload = payload


async def perform(context: Context, field: RunningField, payload: type[P], work: Work[P], entries: str = "") -> P:
    """Run a unit of work and answer its payload.

    `entries` names the list of the input whose entries have results of their own, if there is one.
    """
    shared = running_in(context).shared
    settled = shared is None or shared.over  # else it is told once the transaction that all fields share is
    try:
        answer = await _performed(context, field, payload, work, entries)
    except BaseException as error:
        if settled:
            audit(context, field, (), error)
        raise
    codes = [error.code.name for error in answer.errors]
    if codes and (operation := observations.running()) is not None:
        operation.codes += codes
    if settled:
        audit(context, field, codes)
    return answer


async def _performed(context: Context, field: RunningField, payload: type[P], work: Work[P], entries: str) -> P:
    running = running_in(context)
    shared = running.shared
    if shared is not None and shared.failed:
        verdict = shared.verdicts.get(field.key)
        return payload(errors=[_told_by(shared, field)]) if verdict is None else cast("P", verdict)
    if isinstance(running.broken, CommitUnknown):
        return payload(errors=[not_run()])
    if running.broken is not None:
        raise running.broken
    call = Call(context, field, InputOrder.of(field), payload, work, entries)
    try:
        return await (call.alone() if shared is None else call.within())
    except Refused as refused:
        answer = call.refused(refused.errors)
    except AnswerTooLarge as error:
        answer = payload(errors=[answer_too_large(error.limit)])
    except (TransientError, IntegrityError):
        answer = payload(errors=[try_again()])
    except CommitUnknown as unknown:
        running.broken = unknown
        answer = payload(errors=[commit_unknown(keyed=field.keyed)])
    except Exception as error:
        if shared is not None or isinstance(error, Unavailable):
            running.broken = error
        raise
    running.shown.pop(field.key, None)
    if shared is not None:
        shared.failed = True
        shared.verdicts[field.key] = answer
    return answer


def _told_by(shared: SharedTransaction, field: RunningField) -> MutationError:
    """What a field tells that was not refused itself."""
    if isinstance(shared.lost, CommitUnknown):
        return commit_unknown(keyed=field.keyed)
    return rolled_back() if shared.lost is None else try_again()


@dataclass(frozen=True, slots=True)
class Call(Generic[P]):
    """A field with its work, to be tried until it is done or explained. `order` is that in which its input was sent."""

    context: Context
    field: RunningField
    order: Order
    payload: type[P]
    work: Work[P]
    entries: str

    async def alone(self) -> P:
        """The field in a transaction of its own."""
        undone, key = running_in(self.context).dry_run, self.field.key
        try:
            for explanation in range(EXPLANATIONS + 1):
                work = partial(self._transaction, explaining=explanation > 0)
                try:
                    return await recorded(self.context, work, undone=undone, field=key)
                except IntegrityError:
                    if explanation == EXPLANATIONS:
                        raise
        except DryRunOver as over:
            return cast("P", over.payload)
        raise AssertionError("unreachable")

    async def _transaction(self, *, explaining: bool) -> P:
        made = await self._once(explaining=explaining)
        if running_in(self.context).dry_run:
            raise DryRunOver(made)
        return made

    async def within(self) -> P:
        """The field in the transaction of its operation, behind a savepoint."""
        session = self.context.session
        for explanation in range(EXPLANATIONS + 1):
            session.expunge_all()
            try:
                async with savepoint(session):
                    return await self._once(explaining=explanation > 0)
            except IntegrityError:
                if explanation == EXPLANATIONS:
                    raise
        raise AssertionError("unreachable")

    async def _once(self, *, explaining: bool) -> P:
        context, field, order = self.context, self.field, self.order
        running_in(context).shown[field.key] = 0
        record = record_of(context.session)
        if record is not None:
            record.mutation = field.name
        key = None if running_in(context).dry_run else idempotency.key_of(context, field)
        kept = None if key is None else await idempotency.claim(context.session, context.database, key)
        if kept is not None:
            if context.session.info.get(REPLICATED):
                context.session.info[WRITTEN] = BY_PRIMARY  # what was written then by is not known
            answer = recall(self.payload, kept)
            await note_missing(answer, context.session, context.scope, self.entries)
            return await payload_of(context, field, order, self.payload, answer)
        answer = await self.work(Unit(context, field, explaining=explaining, order=order))
        if key is not None:
            await idempotency.store(context.session, key, keep(answer))
        if running_in(context).shared is None:
            let_next_read_keep(context)
        return await payload_of(context, field, order, self.payload, answer)

    def refused(self, refusals: list[MutationError]) -> P:
        """The payload of a refused field. Errors of an entry stand with it, too, and the innocent entries were rolled back."""
        errors = ordered(refusals, self.order)
        own: dict[int, list[MutationError]] = {}
        for error in errors:
            if error.path[:2] == [*ROOT, self.entries] and len(error.path) > 2:
                own.setdefault(int(error.path[2]), []).append(error)
        if not own:
            return self.payload(errors=errors)
        made: Callable[..., P] = self.payload
        entry, _ = entry_type(self.payload)
        results = [entry(index=i, errors=own.get(i) or [rolled_back()]) for i in range(len(self.field.input[self.entries]))]
        return made(errors=errors, results=results)

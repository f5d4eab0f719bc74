"""What a whole mutation operation may ask for: `@atomic`, all fields or none, and `@dryRun`, everything undone.

What goes in: a context, a function that executes the fields of the mutation it runs. What comes out: the result. What may be
refused here: a transaction that cannot be had in the end answers TRY_AGAIN in every field, one whose COMMIT was not answered
COMMIT_UNKNOWN.

`@atomic` is two passes at most. In the first all fields share a transaction; after the first failure the others are not run. If
one failed all is rolled back, and a second pass gives every field its verdict, so that rows that errors name are read after
the rollback.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from graphql import ExecutionResult

from graph.context import Context
from graph.database.failures import CommitUnknown, TransientError, is_from_database
from graph.read.payloads.running import SharedTransaction, running_in
from graph.read.refusals import each_cause_once, root
from graph.write.audit import audit_all
from graph.write.idempotency import check_keys
from graph.write.named_rows import lock_named
from graph.write.record import recorded

Execute = Callable[[], Awaitable[ExecutionResult]]


class FieldsRolledBack(Exception):
    """The fields ran, and their transaction is rolled back."""

    def __init__(self, result: ExecutionResult, shared: SharedTransaction) -> None:
        super().__init__()
        self.result = result
        self.shared = shared


async def run_mutation(context: Context, execute: Execute) -> ExecutionResult:
    """Execute the fields of a mutation as its directives say. Raises `BadUserInput` before any of them runs."""
    running = running_in(context)
    check_keys(running)
    running.dry_run = "dryRun" in running.planned.directives
    if "atomic" not in running.planned.directives:
        return await execute()

    async def first_pass() -> ExecutionResult:
        shared = running.shared = SharedTransaction()
        running.broken = None
        await lock_named(context)
        result = await execute()
        for error in result.errors or ():
            cause = root(error)
            if is_from_database(cause):  # whoever runs the transaction knows what it means for all of it
                raise cause
        if shared.failed or result.errors or running.dry_run:
            raise FieldsRolledBack(result, shared)
        return result

    try:
        result = await recorded(context, first_pass, undone=running.dry_run)
    except FieldsRolledBack as undone:
        if undone.result.errors:
            # What broke is no refusal, and what the other fields answer is undone.
            audit_all(context, root(undone.result.errors[0]))
            return ExecutionResult(None, each_cause_once(undone.result.errors))
        if not undone.shared.failed:
            audit_all(context)
            return undone.result
        undone.shared.over = True
    except (TransientError, CommitUnknown) as lost:
        running.shared = SharedTransaction(failed=True, over=True, lost=lost)
    except BaseException as error:
        audit_all(context, error)
        raise
    else:
        audit_all(context)
        return result
    return await execute()

"""What a whole mutation operation may ask for: `@atomic`, all fields or none, and `@dryRun`, everything undone.

What goes in: a context, the operation's node, a function that executes its fields. What comes out: the result. What may be
refused here: a transaction that cannot be had in the end answers TRY_AGAIN in every field, one whose COMMIT was not answered
COMMIT_UNKNOWN.

`@atomic` is two passes at most. In the first all fields share a transaction; after the first failure the others are not run. If
one failed all is rolled back, and a second pass gives every field its verdict, so that rows that errors name are read after
the rollback.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

from graphql import ExecutionResult, OperationDefinitionNode

from graph.context import Context
from graph.database.failures import CommitUnknown, TransientError, is_from_database
from graph.read.refusals import each_cause_once, root
from graph.write.door import recorded
from graph.write.errors import MutationError, commit_unknown, rolled_back, try_again
from graph.write.idempotency import check_keys, is_keyed
from graph.write.unit import Info

Execute = Callable[[], Awaitable[ExecutionResult]]


@dataclass(slots=True)
class SharedTransaction:
    """Fields that share a transaction: the payloads of those that failed by response key, and what each of the others tells then.

    `over` says that the transaction is, and that all failed with it.
    """

    failed: bool = False
    over: bool = False
    verdicts: dict[str, Any] = field(default_factory=dict)
    reason: Callable[[Info], MutationError] = lambda _: rolled_back()


class FieldsRolledBack(Exception):
    """The fields ran, and their transaction is rolled back."""

    def __init__(self, result: ExecutionResult) -> None:
        super().__init__()
        self.result = result


async def run_mutation(context: Context, operation: OperationDefinitionNode, execute: Execute) -> ExecutionResult:
    """Execute the fields of a mutation as its directives say. Raises `BadUserInput` before any of them runs."""
    assert context.running is not None, "the engine sets it"
    check_keys(context.running)
    names = {directive.name.value for directive in operation.directives or ()}
    context.dry_run = "dryRun" in names
    if "atomic" not in names:
        return await execute()

    async def first_pass() -> ExecutionResult:
        shared = context.shared = SharedTransaction()
        context.broken = None
        result = await execute()
        for error in result.errors or ():
            cause = root(error)
            if is_from_database(cause):  # whoever runs the transaction knows what it means for all of it
                raise cause
        if shared.failed or result.errors or context.dry_run:
            raise FieldsRolledBack(result)
        return result

    try:
        return await recorded(context, first_pass)
    except FieldsRolledBack as undone:
        if undone.result.errors:
            # What broke is no refusal, and what the other fields answer is undone.
            return ExecutionResult(None, each_cause_once(undone.result.errors))
        if not context.shared.failed:
            return undone.result
    except TransientError:
        context.shared = SharedTransaction(failed=True, reason=lambda _: try_again())
    except CommitUnknown:
        context.shared = SharedTransaction(failed=True, reason=lambda info: commit_unknown(keyed=is_keyed(info)))
    context.shared.over = True
    return await execute()

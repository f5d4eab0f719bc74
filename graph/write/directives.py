"""The directives of mutations, declared; they are read from the document where they act.

`@idempotent` in `graph.write.idempotency`, `@atomic` and `@dryRun` in `graph.write.atomic`.
"""

from __future__ import annotations

from typing import Annotated, Any

import strawberry
from strawberry.directive import DirectiveLocation, DirectiveValue


@strawberry.directive(
    locations=[DirectiveLocation.FIELD],
    description="On a field of a mutation itself: however often it is sent with this key, it happens once and answers the same.",
)
def idempotent(
    key: Annotated[
        str, strawberry.argument(description="Any text of 1 to 255 characters that you have not used for something else.")
    ],
    value: DirectiveValue[Any],
) -> Any:
    return value


@strawberry.directive(
    locations=[DirectiveLocation.MUTATION],
    description="All fields of the mutation in one transaction: all happen, or none.",
)
def atomic(value: DirectiveValue[Any]) -> Any:
    return value


@strawberry.directive(
    locations=[DirectiveLocation.MUTATION],
    description="Everything runs, is read back and is undone.",
)
def dry_run(value: DirectiveValue[Any]) -> Any:
    return value


DIRECTIVES = (idempotent, atomic, dry_run)

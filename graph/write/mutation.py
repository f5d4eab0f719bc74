"""What every mutation has: one argument `input`, and `errors` in its payload."""

from __future__ import annotations

from typing import Annotated, TypeVar

import strawberry

from graph.write.errors import MutationError

T = TypeVar("T")

#: The type of a mutation's one argument.
Input = Annotated[T, strawberry.argument(name="input", description="All that the mutation is told.")]


@strawberry.type
class Payload:
    """What the payloads of all mutations share."""

    errors: list[MutationError] = strawberry.field(
        default_factory=list,
        description="Every refusal of the call, in the order of the input, those in `results` included; empty on success.",
    )

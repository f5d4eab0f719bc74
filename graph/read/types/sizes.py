"""`@cost` and `@listSize` of the GraphQL Cost Directives specification, declared.

What goes in: sizes. What comes out: directives for definitions of the schema; `graph.read.planning.weights` says which has which.
Nothing is refused here.
"""

from __future__ import annotations

from collections.abc import Sequence

import strawberry
from strawberry import UNSET
from strawberry.schema_directive import Location


@strawberry.schema_directive(
    locations=[
        Location.ARGUMENT_DEFINITION,
        Location.ENUM,
        Location.FIELD_DEFINITION,
        Location.INPUT_FIELD_DEFINITION,
        Location.OBJECT,
        Location.SCALAR,
    ],
    name="cost",
    description="What one of these adds to the cost of an operation; 1 for an object and 0 for all else where it is not said.",
)
class Weighing:
    weight: str = strawberry.directive_field(name="weight")


@strawberry.schema_directive(
    locations=[Location.FIELD_DEFINITION],
    name="listSize",
    description="How many entries a list is taken to have: the argument that says so, else `assumedSize`.",
)
class ListSize:
    assumed_size: int | None = strawberry.directive_field(name="assumedSize")
    slicing_arguments: list[str] | None = strawberry.directive_field(name="slicingArguments")
    sized_fields: list[str] | None = strawberry.directive_field(name="sizedFields")
    require_one_slicing_argument: bool = strawberry.directive_field(name="requireOneSlicingArgument")


#: The arguments that say the size of a page, and what has it.
PAGE = (("first", "last"), ("edges", "nodes"))


def sized(assumed: int, arguments: Sequence[str] = (), fields: Sequence[str] = ()) -> ListSize:
    """The size of a list, or of these fields below it, which these arguments say if any does."""
    return ListSize(
        assumed_size=assumed,
        slicing_arguments=list(arguments) or UNSET,
        sized_fields=list(fields) or UNSET,
        require_one_slicing_argument=False,
    )


#: What the arguments mean; Strawberry takes no descriptions for those of such directives.
DESCRIPTIONS = {
    "weight": "A number, as text.",
    "assumedSize": "The size where no argument says another.",
    "slicingArguments": "The arguments that say the size.",
    "sizedFields": "The fields of the answer that have this size, where the answer is no list itself.",
    "requireOneSlicingArgument": "Whether one of these arguments must be given.",
}

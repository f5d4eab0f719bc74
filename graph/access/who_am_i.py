"""Who am I: the field `viewer`, which tells who asks what is known of him.

What goes in: nothing. What comes out: a root field without a resolver, a compiled read like all others: what his credentials say
is carried through the statement, his customer is read by it. What is refused here: nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import strawberry

from graph.read.types.permissions import root_use

if TYPE_CHECKING:
    from graph.customers.types import Customer


@strawberry.type(name="Viewer", description="Who asks, as his credentials say.")
class WhoAmI:
    name: str = strawberry.field(description="The name of the API key, or the `sub` of the token.")
    scopes: list[str] = strawberry.field(
        description="What he may do: of `read`, `write` and `admin` those that he was given and those that they imply."
    )
    customer: Annotated[Customer, strawberry.lazy("graph.customers.types")] | None = strawberry.field(
        description="The customer whose rows alone he sees; null where he belongs to none, and where that one is gone."
    )


@strawberry.type
class WhoAmIQueries:
    viewer: WhoAmI | None = strawberry.field(
        description="Who asks, by the credentials of this request; null where nobody has to say who he is.",
        metadata=root_use("read"),
    )

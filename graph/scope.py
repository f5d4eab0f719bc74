"""Who asks: a viewer, and his scope, without which no mirrored table enters a statement (`graph.read.rows`).

What goes in: what credentials say of who asks. What comes out: a `Viewer`, and his `Scope`: its kind is part of a plan's key, its
values are bound.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any


@dataclass(frozen=True, slots=True)
class Scope:
    """Who asks: a kind of viewer, which is part of a plan's key, and values by name, which are bound and never are.

    `moment` is that of a read of the past. No table keeps its past yet, so a door does not open to it.
    """

    kind: str
    values: Mapping[str, Any] = field(default_factory=dict, compare=False)
    moment: datetime | None = field(default=None, compare=False)

    @property
    def key(self) -> Hashable:
        """What a statement depends on."""
        return (self.kind, self.moment is not None)


#: Everybody, while there are no viewers; rules may know this kind as any other.
OPEN = Scope("open")
#: The server itself, for what must hold over all rows. No rule is asked, and no answer is made of it.
SERVER = Scope("server")
#: A viewer who sees every row, and what he may do with them is said by his words.
SCOPED = Scope("scoped")
#: The kind of a viewer who belongs to a customer and sees what is his.
BOUND = "bound"
#: Each word of a token's scope, and those that it implies.
IMPLIED = {"read": {"read"}, "write": {"read", "write"}, "admin": {"read", "write", "admin"}}


@dataclass(frozen=True, slots=True)
class Viewer:
    """Somebody who has shown who he is.

    `identity` tells him from all others and is what records name, `name` is for people. `scopes` are the words of `IMPLIED` that
    hold for him: those that he was given, and what they imply; others say nothing here. `customer` is the key of the customer he
    belongs to, `expires` when his credentials end, in seconds since 1970. `scope` is what he sees.
    """

    identity: str
    name: str
    scopes: frozenset[str] = frozenset()
    customer: int | None = None
    expires: float | None = None
    scope: Scope = field(init=False, compare=False, repr=False)

    def __post_init__(self) -> None:
        held = {implied for word in self.scopes for implied in IMPLIED.get(word, ())}
        object.__setattr__(self, "scopes", frozenset(held))
        sees = SCOPED if self.customer is None else Scope(BOUND, {"customer": self.customer})
        object.__setattr__(self, "scope", sees)

    @property
    def is_operator(self) -> bool:
        """Whether he looks after the server, and may see how it does what it does."""
        return "admin" in self.scopes and self.customer is None

    @property
    def known(self) -> Mapping[str, Any]:
        """What he is told of himself, by the names of the API."""
        return {"name": self.name, "scopes": [word for word in IMPLIED if word in self.scopes]}

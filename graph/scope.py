"""Who asks: the scope of a request, without which no mirrored table enters a statement (`graph.read.rows`).

What goes in: what is known of the viewer. What comes out: a `Scope`: its kind is part of a plan's key, its values are bound.
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

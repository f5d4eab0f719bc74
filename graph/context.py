"""What one request carries: its database, its one session, who asks.

What goes in: the process's `Database` and settings. What comes out: `Context`, which resolvers find at `info.context`. The
session is made when first used and must be closed by whoever made the context, whatever happens.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from sqlalchemy.ext.asyncio import AsyncSession

from graph.database import Database
from graph.database.read_after import ReadAfter
from graph.scope import OPEN, Scope, Viewer

if TYPE_CHECKING:
    from graph.operations.budget import Share
    from graph.read.payloads.running import RunningMutation


#: Where no request is over at any time.
NO_LIMIT = nullcontext()


@dataclass(slots=True)
class Context:
    """One request, or over a WebSocket one operation. `viewer` is who asks, None where nobody has to say so; `client`, by which
    idempotency keys are kept apart, and `scope`, what he may see, follow from him.

    `running` is the mutation being run and how far it is, set by the engine before its first field. `committed` says, once it is
    closed, whether a COMMIT was sent. `deadline` is when a transaction must be over, by the event loop's clock; in a block of
    `answer_time` there is time to answer after that (`graph.serve.answer_time`). `share` is what the answer has of the bytes that
    all may have together, until it is sent. `spend` takes what an operation costs from what its sender may spend; it may refuse.
    Where there are replicas `read_after` is what his queries must see, and `wrote` what later ones must, because he has written
    it meanwhile.
    """

    database: Database
    viewer: Viewer | None = None
    client: str = ""
    scope: Scope = OPEN
    running: RunningMutation | None = None
    committed: bool = False
    deadline: float | None = None
    answer_time: AbstractContextManager[None] = NO_LIMIT
    share: Share | None = None
    spend: Callable[[int], None] | None = None
    read_after: ReadAfter | None = None
    wrote: ReadAfter | None = None
    _session: AsyncSession | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        if self.viewer is not None:
            self.client, self.scope = self.viewer.identity, self.viewer.scope

    @property
    def session(self) -> AsyncSession:
        """The request's one session."""
        if self._session is None:
            self._session = self.database.session()
        return self._session

    async def close(self) -> None:
        """Give the connection back."""
        if self._session is not None:
            self.committed = "committed" in self._session.info
            if self._session.in_transaction():  # whoever was to end it did not come to it
                await self.database.give_up(self._session)
            self._session = None

"""Where shops live: one protocol, which schemas on PostgreSQL and files on SQLite fulfil.

What goes in: settings. What comes out: `Homes`. Nothing is refused here.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Protocol

from sqlalchemy.ext.asyncio import AsyncConnection

#: What is to be done where the schema or the file of a shop was taken away by somebody else.
GONE = "restore a copy of it, or archive the shop and drop it"

#: Brings a shop to the schema of this version, or down to a revision, and writes the registry; what the migrations list.
Migrate = Callable[[str, str | None], Awaitable[list[str]]]


class Homes(Protocol):
    """Where the shops of a deployment live, and the registry of them."""

    def opened(self, *, make: bool = False) -> AbstractAsyncContextManager[AsyncConnection]:
        """A connection in a transaction, on which the tables of the registry are found; `make` has them made."""

    async def make(self, connection: AsyncConnection, name: str) -> None:
        """Make a shop's tables. They are there when the transaction of `opened` is committed, or not at all."""

    async def made(self, name: str) -> None:
        """Finish what `make` began, once it is committed."""

    async def drop(self, connection: AsyncConnection, name: str) -> None:
        """Drop a shop's tables. They are gone when the transaction is committed, or not at all."""

    async def dropped(self, name: str) -> None:
        """Finish what `drop` began, once it is committed."""

    async def revisions(self, names: Sequence[str]) -> dict[str, str | None]:
        """The revisions that shops have; `None` before the first, and where there is none of that name."""

    async def unfinished(self, names: Sequence[str]) -> set[str]:
        """Shops that lack what migrating them gives them beside their tables."""

    def migrating(self) -> AbstractAsyncContextManager[Migrate]:
        """What brings one shop after another to a revision."""

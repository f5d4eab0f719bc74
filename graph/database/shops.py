"""The databases of a process: one, or one of each shop.

What goes in: settings, the names of shops, which the caller has seen to be there. What comes out: `Databases`, which
has a `Database` for each of them. What may be refused here: `SettingsError`; when probed, `Unavailable`.

On PostgreSQL they are schemas of one database: all have the same connections, replicas and line of writers. On SQLite they are
files of one folder, and each has its own; of these a few are open at once.
"""

from __future__ import annotations

import asyncio

from graph.database import Database
from graph.database.cluster import Cluster
from graph.database.open_files import OpenFiles
from graph.settings import Settings


class Databases:
    """All databases of a process."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        #: The one database that there is; where there are shops, that which has the table of them.
        self.main = Database(settings)
        self._shared: Cluster | None = None if self.main.capabilities.embedded else self.main.cluster
        self._files = OpenFiles(settings.pool_timeout_seconds)
        self._of: dict[str, Database] = {}

    def of(self, shop: str | None) -> Database:
        """The database of a shop, the same one whenever it is asked for; `main` where none is named.

        Nothing is opened here. A name that no shop has leads to a database whose statements the server refuses.
        """
        if shop is None:
            return self.main
        found = self._of.get(shop)
        if found is None:
            found = self._of[shop] = Database(self.settings, shop, self._shared)
            if self._shared is None:
                found.primary.open_with(self._files, self.settings.pool_timeout_seconds)
        return found

    async def forget(self, shop: str) -> None:
        """A shop is no more, or is not used for now."""
        found = self._of.pop(shop, None)
        if found is not None and self._shared is None:
            await found.close()

    async def beat(self) -> None:
        """Tell replicas the time until cancelled, where there are any: without it none of them is asked."""
        await self.main.beat()

    async def probe(self) -> None:
        """See that connections are what the settings say. Raises `Unavailable`, in a sentence for whoever starts the process."""
        await self.main.probe()

    async def close(self) -> None:
        """Close every connection."""
        own = [] if self._shared is not None else [*self._of.values()]
        await asyncio.gather(self.main.close(), *(database.close() for database in own))

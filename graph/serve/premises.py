"""What a process serves: the one shop of a database, or the many of a deployment.

What goes in: settings. What comes out: `OneShop` or `ManyShops`, which have the same parts: where requests find their shop, what
is done beside them, what says how it is. What may be refused here: `SettingsError`.
"""

from __future__ import annotations

import logging
from abc import ABC, abstractmethod
from collections.abc import Coroutine, Sequence
from datetime import UTC, datetime
from typing import Any

from graph.access.gatekeeper import Entrance, Gatekeeper
from graph.database import Database
from graph.database.failures import Unavailable
from graph.database.shops import Databases
from graph.feed import purge
from graph.feed.rota import Rota
from graph.feed.sequence import waiting_since
from graph.schema import schema
from graph.serve.health import Checkup, RegistryCheckup, SchemaCheckup
from graph.serve.kept_shops import KeptShops
from graph.serve.shopfront import Shopfront
from graph.serve.slow_turns import take_turns
from graph.serve.which_shop import WhichShop
from graph.settings import Settings
from graph.shops.directory import Directory
from graph.write import expired_keys

logger = logging.getLogger("ordergraph.serve")

#: What is done all the time, whoever asks a process what.
Work = Coroutine[Any, Any, None]


class Premises(ABC):
    """What is served. `front` is that of the only shop; `shops` finds that of a request where there are several."""

    front: Shopfront | None = None
    shops: WhichShop | None = None
    #: Lets operators in, where pages are theirs.
    gatekeeper: Gatekeeper | None
    checkup: Checkup

    def __init__(self, settings: Settings) -> None:
        self.databases = Databases(settings)
        self.database = self.databases.main
        self.engine = schema.engine(self.database)
        self.entrance = Entrance(settings)
        self.rota = Rota(one_writer=self.database.capabilities.one_writer)

    def beside_requests(self) -> Sequence[Work]:
        """What is done all the time."""
        kept = [self.entrance.credentials.keep()] if self.entrance.credentials is not None else []
        return [self.rota.run(), self.databases.beat(), *kept]

    async def start(self) -> None:  # noqa: B027  # there is nothing to learn of one shop
        """Learn what is to be known before anybody is served."""

    @abstractmethod
    def connected(self) -> Sequence[Database]:
        """Databases that are in use, one for each set of connections."""

    @abstractmethod
    async def lag(self) -> float:
        """For how long a change has waited for its place in the feed, in seconds. Raises `Unavailable`."""

    async def close(self) -> None:
        """Leave nothing open."""
        await self.databases.close()


class OneShop(Premises):
    """A database that has one shop."""

    front: Shopfront

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings)
        self.gatekeeper = self.entrance.gatekeeper(self.database)
        self.front = Shopfront(self.engine, self.database, self.gatekeeper, self.rota.sequencer(self.database, steady=True))
        self.checkup = SchemaCheckup(self.database)

    def beside_requests(self) -> Sequence[Work]:
        return [*super().beside_requests(), expired_keys.keep_purging(self.database), purge.keep_purging(self.database)]

    def connected(self) -> Sequence[Database]:
        return [self.database]

    async def lag(self) -> float:
        since = await waiting_since(self.database)
        return (datetime.now(UTC) - since).total_seconds() if since else 0.0

    async def close(self) -> None:
        await self.front.close()
        await super().close()


class ManyShops(Premises):
    """A deployment that has a schema, or a file, for each of its shops."""

    shops: WhichShop

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings)
        self.gatekeeper = self.entrance.gatekeeper(None)
        self.directory = Directory(self.database)
        self.kept = KeptShops(self.databases, self.entrance, self.rota, self.directory)
        self.shops = WhichShop(settings, self.kept, self.entrance.credentials)
        self.checkup = RegistryCheckup(self.database)

    def beside_requests(self) -> Sequence[Work]:
        return [*super().beside_requests(), self.directory.run(), self.kept.keep(), take_turns(self.kept)]

    async def start(self) -> None:
        try:
            await self.directory.start()
        except Unavailable as error:  # it is asked again, by whoever comes first
            logger.warning("The list of shops cannot be read yet: %s", error)

    def connected(self) -> Sequence[Database]:
        return [front.database for front in self.kept.fronts()] if self.database.capabilities.embedded else [self.database]

    async def lag(self) -> float:
        return self.rota.lag()

    async def close(self) -> None:
        await self.kept.close()
        await self.directory.close()
        await super().close()


def premises_of(settings: Settings) -> Premises:
    """What is served under these settings."""
    return ManyShops(settings) if settings.shops else OneShop(settings)

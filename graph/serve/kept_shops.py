"""The shops that this process has open: each is opened when somebody first asks for it, and left when nobody has for a while.

What goes in: the names of shops. What comes out: their `Shopfront`s, a bounded number of them. What is refused here: what the
directory refuses, SHOP_NOT_FOUND and SHOP_NOT_MIGRATED; SHOP_NOT_FOUND to who is in a shop when it is archived or dropped.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress

from graph.access.gatekeeper import Entrance
from graph.database.shops import Databases
from graph.feed.rota import Rota
from graph.operations.request_errors import refused
from graph.schema import schema
from graph.serve.shopfront import Shopfront
from graph.shops.directory import Directory

#: Shops that are open at once; there are more while all of them have visitors.
MOST = 1_000
#: How often it is looked which shops nobody asks for, and after how many such looks one is left; after one, nobody looks up again
#: whether API keys still hold there.
LOOK_SECONDS, LOOKS = 5.0, 12
#: How long who is still in a shop that is left is waited for, and how often it is looked whether he is.
ENDING_SECONDS, GONE_SECONDS = 15.0, 0.05


class KeptShops:
    """The shops of a process."""

    def __init__(self, databases: Databases, entrance: Entrance, rota: Rota, directory: Directory) -> None:
        self.databases = databases
        self.entrance = entrance
        self.rota = rota
        self.directory = directory
        self.most = MOST
        self._kept: OrderedDict[str, Shopfront] = OrderedDict()
        self._leaving: dict[str, asyncio.Task[None]] = {}
        directory.listeners.append(self._end)

    def fronts(self) -> Sequence[Shopfront]:
        """Those that are open now."""
        return [*self._kept.values()]

    async def named(self, name: str) -> Shopfront:
        """The shop of a name, for who asks for it. Raises `RequestRefused`, `Unavailable`."""
        front = self._kept.get(name) or await self._opened(name)
        front.unasked = 0
        self._kept.move_to_end(name)
        return front

    @asynccontextmanager
    async def visited(self, name: str) -> AsyncIterator[Shopfront]:
        """The shop of a name, for what is done there beside requests. It is left soon unless somebody asks for it.

        Raises as `named` does.
        """
        front = self._kept.get(name)
        if front is None:
            front = await self._opened(name)
            front.unasked = LOOKS
            self._kept.move_to_end(name, last=False)
        with front.visited():
            yield front

    async def _opened(self, name: str) -> Shopfront:
        await self.directory.find(name)
        while (leaving := self._leaving.get(name)) is not None:
            await asyncio.shield(leaving)
            await self.directory.find(name)
        front = self._kept.get(name)
        if front is None:  # or somebody else has opened it meanwhile
            front = self._kept[name] = self._open(name)
            self._make_room(front)
        return front

    def _open(self, name: str) -> Shopfront:
        database = self.databases.of(name)
        front = Shopfront(
            schema.engine(database), database, self.entrance.gatekeeper(database), self.rota.sequencer(database), self.rota.pace
        )
        front.sequencer.ring()  # whoever had it open before may have left something
        return front

    def _make_room(self, new: Shopfront) -> None:
        while len(self._kept) > self.most:
            free = next((name for name, front in self._kept.items() if not front.visitors and front is not new), None)
            if free is None:
                return
            self._leave(free)

    async def keep(self) -> None:
        """Leave those that nobody asks for, until cancelled."""
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            self.look()

    def look(self) -> None:
        """See which nobody has asked for since the last look."""
        for name, front in [*self._kept.items()]:
            front.unasked = 0 if front.visitors else front.unasked + 1
            if front.gatekeeper is not None and front.gatekeeper.api_keys is not None:
                front.gatekeeper.api_keys.is_idle = front.unasked > 1
            if front.unasked > LOOKS:
                self._leave(name)

    def _end(self, name: str) -> None:
        front = self._kept.get(name)
        if front is not None:
            front.end(refused("SHOP_NOT_FOUND", "This shop is served no more.", 404))
            self._leave(name)

    def _leave(self, name: str) -> None:
        self._leaving[name] = asyncio.create_task(self._close(name, self._kept.pop(name)))

    async def _close(self, name: str, front: Shopfront) -> None:
        try:
            with suppress(TimeoutError):
                async with asyncio.timeout(ENDING_SECONDS):
                    while front.visitors:  # noqa: ASYNC110  # of many, in whose way a shop that ends should not be
                        await asyncio.sleep(GONE_SECONDS)
            self.rota.leave(front.sequencer)
            self.entrance.forget(front.gatekeeper)
            await front.close()
            await self.databases.forget(name)
        finally:
            del self._leaving[name]

    async def close(self) -> None:
        """Leave nothing that runs."""
        for task in [*self._leaving.values()]:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task
        for front in self._kept.values():
            await front.close()

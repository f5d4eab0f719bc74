"""The directory: what a process that serves knows of the shops.

What goes in: the database that has the registry, the name or the host that a request brings. What comes out: the `Shop` that it
is for. What is refused here: a shop that there is none of, or that was archived, SHOP_NOT_FOUND; one whose schema is not that
of this version, SHOP_NOT_MIGRATED; `Unavailable` where the registry must be asked and cannot be.

All shops are kept in memory, and every two seconds one small statement asks for the number of the latest change. A shop that is
not served is looked for at once: together with all others that are at that moment, and ten times a second at most, however many
names somebody makes up.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from time import monotonic
from typing import NoReturn

from sqlalchemy.ext.asyncio import AsyncSession

from graph import migrate
from graph.database import Database
from graph.database.failures import CommitUnknown, TransientError, Unavailable
from graph.database.shop_names import SHOP_NAME
from graph.operations.request_errors import RequestRefused, refused
from graph.shops import registry
from graph.shops.host_names import BadHostName, host_name
from graph.shops.registry import Shop

logger = logging.getLogger("ordergraph.shops")

#: How often changes are asked for, and how much time there is at least between two questions.
REFRESH_SECONDS, BETWEEN_SECONDS = 2.0, 0.1


class Directory:
    """The shops of a deployment, as one process knows them."""

    def __init__(self, database: Database) -> None:
        #: Called with the name of a shop that is served no more: archived, dropped, or another one by now.
        self.listeners: list[Callable[[str], None]] = []
        self._database = database
        self._shops: dict[str, Shop] = {}
        self._served: dict[str, Shop] = {}
        self._hosts: dict[str, str] = {}
        self._number = -1
        self._next: asyncio.Task[None] | None = None
        self._asked = -BETWEEN_SECONDS
        self._turn = asyncio.Lock()

    async def find(self, name: str) -> Shop:
        """The shop of a name. Raises `RequestRefused`, `Unavailable`."""
        found = self._served.get(name)
        if found is None and SHOP_NAME.fullmatch(name):
            await self._look_again()
            found = self._served.get(name)
        return found or self._refuse(name)

    async def find_by_host(self, host: str) -> Shop:
        """The shop that a host name leads to, without a port. Raises `RequestRefused`, `Unavailable`."""
        try:
            spelled = host if host in self._hosts else host_name(host)
        except BadHostName:
            raise _not_found() from None
        found = self._at(spelled)
        if found is None:
            await self._look_again()
            found = self._at(spelled)
        return found or self._refuse(self._hosts.get(spelled, ""))

    def served(self) -> list[Shop]:
        """The shops that are served now."""
        return [*self._served.values()]

    def _at(self, host: str) -> Shop | None:
        return self._served.get(self._hosts.get(host, ""))

    def _refuse(self, name: str) -> NoReturn:
        shop = self._shops.get(name)
        if shop is None or shop.archived_at is not None:
            raise _not_found()
        raise refused("SHOP_NOT_MIGRATED", "The shop is being brought to the version of this server; try again.", 503)

    async def start(self) -> None:
        """Read the registry. Raises `Unavailable`."""
        await self._refresh()

    async def run(self) -> None:
        """Ask for changes until cancelled. What fails is told once, and asked again."""
        failing = False
        while True:
            await asyncio.sleep(REFRESH_SECONDS)
            try:
                await self._refresh()
                failing = False
            except Unavailable as error:
                if not failing:
                    logger.warning("The registry of shops cannot be read, and nobody hears of changes: %s", error)
                failing = True

    async def close(self) -> None:
        """Leave the question that is open, whose answer nobody waits for any more."""
        if self._next is not None:
            self._next.cancel()
            await asyncio.wait([self._next])

    async def _look_again(self) -> None:
        """Wait for the answer to a question that is asked from now on; whoever waits, waits for the same one."""
        if self._next is None:
            self._next = asyncio.get_running_loop().create_task(self._ask_soon())
            self._next.add_done_callback(_heard)
        await asyncio.shield(self._next)

    async def _ask_soon(self) -> None:
        await asyncio.sleep(self._asked + BETWEEN_SECONDS - monotonic())
        self._next = None  # who comes from now on may look for what this answer does not show
        await self._refresh()

    async def _refresh(self) -> None:
        """Learn what changed. Raises `Unavailable`."""
        database = self._database
        try:
            async with self._turn, database.session() as session:
                self._asked = monotonic()
                self._learn(await database.transaction(session, lambda: self._read(session)))
        except (TransientError, CommitUnknown) as error:
            raise Unavailable(str(error)) from error

    async def _read(self, session: AsyncSession) -> Known | None:
        """What is there that is not known; nothing in most cases."""
        number = await registry.latest(session)
        if number == self._number:
            return None
        if number > self._number:
            changed = await registry.since(session, self._number)
            if await registry.count(session) == len(self._shops.keys() | {shop.name for shop in changed}):
                return Known(number, changed, whole=False)
        # One was dropped, or the registry is an older one that was brought back.
        return Known(number, await registry.every(session), whole=True)

    def _learn(self, found: Known | None) -> None:
        if found is None:
            return
        told = {shop.name: shop for shop in found.shops}
        self._shops = told if found.whole else {**self._shops, **told}
        self._hosts = {host: shop.name for shop in self._shops.values() for host in shop.hosts}
        self._number = found.number
        before = self._served
        self._served = {name: shop for name, shop in self._shops.items() if is_served(shop, before.get(name))}
        for name, shop in before.items():
            now = self._served.get(name)
            if now is None or now.id != shop.id:
                for listener in self.listeners:
                    listener(name)


@dataclass(frozen=True, slots=True)
class Known:
    """What the registry answered: shops, and whether these are all that there are."""

    number: int
    shops: Sequence[Shop]
    whole: bool


def is_served(shop: Shop, before: Shop | None) -> bool:
    """Whether requests for a shop are answered, which was served as `before`.

    A server goes on with a shop that a later version migrates under its eyes, as it does where there is one shop: it is ended by
    whoever brings that version in.
    """
    if shop.archived_at is not None:
        return False
    is_ahead = shop.revision is not None and shop.revision not in migrate.revisions()
    return shop.revision == migrate.head() or (is_ahead and before is not None and before.id == shop.id)


def _not_found() -> RequestRefused:
    return refused("SHOP_NOT_FOUND", "There is no such shop.", 404)


def _heard(task: asyncio.Task[None]) -> None:
    """An error that everybody who waited for it has left behind is nobody's."""
    if not task.cancelled():
        task.exception()

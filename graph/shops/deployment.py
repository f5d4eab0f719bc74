"""The shops of a deployment, as an operator keeps them: made, listed, moved to new hosts, migrated, archived, dropped.

What goes in: settings; names, hosts. What comes out: shops, each change of which is whole or did not happen. What is refused
here: names and hosts that are none or are taken, a shop that is not there or not archived, each as `ShopRefused`;
`SettingsError`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime

from alembic.util import CommandError
from sqlalchemy.ext.asyncio import AsyncConnection

from graph import migrate
from graph.database.backends import backend_of, configured
from graph.database.failures import Trouble, driver_error, is_from_database, trouble
from graph.database.shop_names import BadShopName, see_shop_name
from graph.settings import Settings
from graph.shops import registry
from graph.shops.file_homes import FileHomes
from graph.shops.homes import Homes
from graph.shops.host_names import BadHostName, host_name
from graph.shops.registry import Shop, ShopRefused
from graph.shops.schema_homes import SchemaHomes


class Deployment:
    """The shops of a deployment."""

    def __init__(self, settings: Settings) -> None:
        embedded = backend_of(configured(settings)).CAPABILITIES.embedded
        self._homes: Homes = FileHomes(settings) if embedded else SchemaHomes(settings)

    async def prepare(self) -> None:
        """Make the registry where there is none."""
        async with self._homes.opened(make=True):
            pass

    async def is_there(self) -> bool:
        """Whether there is a registry."""
        async with self._homes.opened() as connection:
            return await registry.is_made(connection)

    async def create(self, name: str, hosts: Iterable[str] = ()) -> Shop:
        """Make a shop with the tables of this version. Raises `ShopRefused`."""
        try:
            see_shop_name(name)
        except BadShopName as error:
            raise ShopRefused(str(error)) from None
        spelled = _hosts(hosts)
        async with self._homes.opened(make=True) as connection:
            await registry.add(connection, name, spelled)
            await self._homes.make(connection, name)
            await registry.change(connection, name, {"revision": migrate.head()})
            made = await registry.named(connection, name)
        await self._homes.made(name)
        return made

    async def every(self) -> list[Shop]:
        """All shops by their names. There are none where there is no registry."""
        async with self._homes.opened() as connection:
            return await _every(connection)

    async def named(self, name: str) -> Shop:
        """A shop. Raises `ShopRefused`."""
        async with self._homes.opened() as connection:
            return await _named(connection, name)

    async def set_hosts(self, name: str, hosts: Iterable[str]) -> Shop:
        """Have these hosts lead to a shop, and no others. Raises `ShopRefused`."""
        spelled = _hosts(hosts)
        async with self._homes.opened() as connection:
            await _named(connection, name)
            await registry.set_hosts(connection, name, spelled)
            return await registry.named(connection, name)

    async def archive(self, name: str) -> None:
        """Have a shop served no more. Nothing of it is lost. Raises `ShopRefused`."""
        async with self._homes.opened() as connection:
            if (await _named(connection, name)).archived_at is not None:
                raise ShopRefused(f"the shop {name} is archived already")
            await registry.change(connection, name, {"archived_at": datetime.now(UTC)})

    async def restore(self, name: str) -> None:
        """Have an archived shop served again. Raises `ShopRefused`."""
        async with self._homes.opened() as connection:
            if (await _named(connection, name)).archived_at is None:
                raise ShopRefused(f"the shop {name} is not archived")
            await registry.change(connection, name, {"archived_at": None})

    async def drop(self, name: str) -> None:
        """Delete an archived shop and all that it holds. Raises `ShopRefused`."""
        async with self._homes.opened() as connection:
            if (await _named(connection, name)).archived_at is None:
                raise ShopRefused(f"the shop {name} is served: archive it first, and drop it when nobody has missed it")
            await self._homes.drop(connection, name)
            await registry.remove(connection, name)
        await self._homes.dropped(name)

    async def waiting(self, names: Sequence[str] = (), down_to: str | None = None) -> list[str]:
        """Those of all shops, or of some, that are not at the schema of this version, or are above a revision.

        Raises `ShopRefused`.
        """
        shops = await self._chosen(names)
        found = await self._homes.revisions([shop.name for shop in shops])
        if down_to is not None:
            below = _revisions_below(down_to)
            return [shop.name for shop in shops if found[shop.name] not in below]
        rest = await self._homes.unfinished([shop.name for shop in shops])
        return [shop.name for shop in shops if {found[shop.name], shop.revision} != {migrate.head()} or shop.name in rest]

    async def behind(self) -> int:
        """How many shops a server of this version does not serve yet. Raises `ShopRefused` where there is no registry."""
        async with self._homes.opened() as connection:
            if not await registry.is_made(connection):
                raise ShopRefused("there is no list of shops: run `ordergraph migrate`, and `ordergraph shop create` for each")
            shops = await registry.every(connection)
        return sum(shop.archived_at is None and shop.revision != migrate.head() for shop in shops)

    async def migrate(
        self,
        names: Sequence[str],
        down_to: str | None = None,
        progress: Callable[[int], None] = lambda _: None,
        listed: Callable[[str], None] = lambda _: None,
    ) -> dict[str, str]:
        """Bring shops to this version, or down to a revision, one after another; who fails, with the reason. Others go on.

        `progress` is told how many are done, and `listed` what migrations list, with the shop.

        Each is a transaction of its own: whatever ends this in the middle, those that are done are done. Raises what a database
        that is gone raises.
        """
        failed: dict[str, str] = {}
        async with self._homes.migrating() as bring:
            for done, name in enumerate(names):
                progress(done)
                try:
                    said = await bring(name, down_to)
                except (CommandError, ShopRefused) as error:
                    failed[name] = str(error)
                except Exception as error:
                    if not is_from_database(error) or trouble(error) is Trouble.LOST:
                        raise
                    failed[name] = str(driver_error(error)).strip().partition("\n")[0]
                else:
                    for line in said:
                        listed(f"{name}: {line}")
        progress(len(names))
        return failed

    async def _chosen(self, names: Sequence[str]) -> list[Shop]:
        async with self._homes.opened() as connection:
            shops = {shop.name: shop for shop in await _every(connection)}
        for name in names:
            if name not in shops:
                raise ShopRefused(f"there is no shop {name[:50]}")
        return [shops[name] for name in dict.fromkeys(names)] if names else [*shops.values()]


async def _every(connection: AsyncConnection) -> list[Shop]:
    return await registry.every(connection) if await registry.is_made(connection) else []


async def _named(connection: AsyncConnection, name: str) -> Shop:
    if not await registry.is_made(connection):
        raise ShopRefused(f"there is no shop {name[:50]}")
    return await registry.named(connection, name)


def _hosts(given: Iterable[str]) -> list[str]:
    try:
        return [host_name(host) for host in given]
    except BadHostName as error:
        raise ShopRefused(str(error)) from None


def _revisions_below(down_to: str) -> set[str | None]:
    """A revision, and those before it. Raises `ShopRefused`."""
    known = [*migrate.revisions(), None]
    wanted = None if down_to == "base" else down_to
    if wanted not in known:
        raise ShopRefused(f"there is no revision {down_to[:50]}")
    return set(known[known.index(wanted) :])

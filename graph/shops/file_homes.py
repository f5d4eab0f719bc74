"""Shops on SQLite: a file each in one folder, beside that of the registry.

What goes in: settings; names of shops. What comes out: files with the tables of this version. What may be refused here:
`Unavailable` for a folder that cannot be used, `ShopRefused` for a file that is there and no shop's, or is gone.

The registry's COMMIT decides, and files follow it: a new one stands under another name until then, and one that is dropped
stands under another name before. Whatever ended in the middle, the next one who opens the registry for a change does what was
left to do.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, closing, suppress
from dataclasses import replace
from pathlib import Path

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from graph import migrate
from graph.database.backends import configured
from graph.database.backup import sync
from graph.database.failures import Unavailable
from graph.database.readers import address
from graph.database.shop_names import SHOP_NAME, file_of_shop
from graph.settings import Settings
from graph.shops import registry
from graph.shops.homes import GONE, Migrate
from graph.shops.registry import SHOPS, ShopRefused

#: What stands behind the name of a shop whose file is being made, or is about to go. No shop's name begins with a dot.
NEW, OLD = ".new", ".old"
#: What SQLite keeps beside a file.
BESIDE = ("", "-wal", "-shm", "-journal")


class FileHomes:
    """The files of shops in one folder."""

    def __init__(self, settings: Settings) -> None:
        self.target = configured(settings)
        self._settings = settings
        self._folder = Path(self.target.url.database or "").parent

    @asynccontextmanager
    async def opened(self, *, make: bool = False) -> AsyncIterator[AsyncConnection]:
        """A connection in a transaction, which nobody else has at the same time. `make`: the folder, too."""
        if self._folder.is_file():
            raise Unavailable("it is a file, as one shop has one: many have a folder (ORDERGRAPH_SHOPS)")
        if make:
            try:
                self._folder.mkdir(exist_ok=True)
            except OSError as error:
                raise Unavailable(f"the folder cannot be made: {error.strerror}") from None
        async with migrate.connected(self.target, make=make) as connection, connection.begin():
            if make and not await registry.is_made(connection):
                await registry.make(connection)
            await self._repair(connection)
            yield connection

    async def _repair(self, connection: AsyncConnection) -> None:
        """Finish, or undo, what the registry says of files that stand under another name."""
        left = [path for mark in (NEW, OLD) for path in self._folder.glob(f".*{mark}")]
        if not left:
            return
        there = set((await connection.scalars(sa.select(SHOPS.c.name))).all())
        for path in left:
            name = path.name[1:].removesuffix(NEW).removesuffix(OLD)
            if SHOP_NAME.fullmatch(name):
                file = file_of_shop(self._folder, name)
                if name in there and not file.exists():
                    _move(path, file)
                else:
                    _delete(path)

    def _aside(self, name: str, mark: str) -> Path:
        return self._folder / f".{name}{mark}"

    async def make(self, connection: AsyncConnection, name: str) -> None:
        """Make a shop's file under another name. Raises `ShopRefused`."""
        file = file_of_shop(self._folder, name)
        if file.exists():
            raise ShopRefused(f"{file} is there already, and is no shop: move it away first")
        new = self._aside(name, NEW)
        _delete(new)
        await migrate.upgrade(replace(self.target, url=self.target.url.set(database=str(new))))
        sync(new)

    async def made(self, name: str) -> None:
        """Give a shop's file its name."""
        _move(self._aside(name, NEW), file_of_shop(self._folder, name))

    async def drop(self, connection: AsyncConnection, name: str) -> None:
        """Move a shop's file out of sight."""
        file = file_of_shop(self._folder, name)
        if file.exists():
            _move(file, self._aside(name, OLD))

    async def dropped(self, name: str) -> None:
        """Delete a shop's file."""
        _delete(self._aside(name, OLD))

    async def revisions(self, names: Sequence[str]) -> dict[str, str | None]:
        """The revisions that files have."""
        return await asyncio.to_thread(lambda: {name: _revision(file_of_shop(self._folder, name)) for name in names})

    async def unfinished(self, names: Sequence[str]) -> set[str]:
        """A file has all that it needs."""
        return set()

    @asynccontextmanager
    async def migrating(self) -> AsyncIterator[Migrate]:
        """What brings one file after another to a revision. The registry is written when the file is."""

        scripts = migrate.Scripts()

        async def bring(name: str, down_to: str | None) -> list[str]:
            file = file_of_shop(self._folder, name)
            if not file.exists():
                raise ShopRefused(f"there is no file {file}: {GONE}")
            try:
                async with migrate.connected(configured(self._settings, name)) as connection, connection.begin():
                    if down_to is None:
                        said = await connection.run_sync(scripts.upgrade)
                    else:
                        said = await connection.run_sync(scripts.downgrade, down_to)
                    revision = await connection.run_sync(migrate.revision_of)
            except Unavailable as error:  # this file, and no other
                raise ShopRefused(str(error)) from error
            async with migrate.connected(self.target) as connection, connection.begin():
                await registry.change(connection, name, {"revision": revision})
            return said

        yield bring


def _revision(path: Path) -> str | None:
    """The revision of a file, which is read and not made."""
    with suppress(sqlite3.Error), closing(sqlite3.connect(f"{address(str(path))}?mode=ro", uri=True)) as file:
        found = file.execute("SELECT version_num FROM alembic_version").fetchone()
        return None if found is None else str(found[0])
    return None


def _move(path: Path, target: Path) -> None:
    """Give a file another name, what stands beside it first: where the file is, all of it is."""
    for rest in reversed(BESIDE):
        with suppress(FileNotFoundError):
            Path(f"{path}{rest}").rename(f"{target}{rest}")
    sync(target.parent)


def _delete(path: Path) -> None:
    for rest in reversed(BESIDE):
        with suppress(FileNotFoundError):
            Path(f"{path}{rest}").unlink()

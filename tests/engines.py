"""Fresh databases for tests: each kind makes its templates once a session and copies one for a test.

What goes in: the name of a template (nothing, empty, northwind, shop). What comes out: the URL of a copy, until it is dropped.
What may be refused here: nothing beyond what the database refuses.
"""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Protocol

from graph import migrate, sample
from graph.database import Database
from graph.settings import Settings
from tests import postgres, shop


def fill_empty(url: str) -> None:
    asyncio.run(migrate.upgrade(url))


def fill_northwind(url: str) -> None:
    fill_empty(url)
    asyncio.run(sample.load_into(Settings(database_url=url)))


def fill_shop(url: str) -> None:
    async def fill() -> None:
        database = Database(Settings(database_url=url))
        await sample.load(database)
        await shop.vary(database)
        await database.close()

    fill_empty(url)
    asyncio.run(fill())


TEMPLATES: dict[str, Callable[[str], None]] = {"empty": fill_empty, "northwind": fill_northwind, "shop": fill_shop}


class Engines(Protocol):
    """One kind of database: `new(template)` makes one, `drop(url)` takes it away."""

    def new(self, template: str) -> str: ...
    def drop(self, url: str) -> None: ...


class Sqlite:
    """Files in one folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.templates = {"nothing": self.folder / "nothing.db"}
        self.templates["nothing"].touch()
        self.made = 0
        for name, fill in TEMPLATES.items():
            self.templates[name] = self.folder / f"{name}.db"
            fill(f"sqlite:///{self.templates[name]}")

    def new(self, template: str) -> str:
        self.made += 1
        path = self.folder / f"test{self.made}.db"
        shutil.copyfile(self.templates[template], path)
        return f"sqlite:///{path}"

    def drop(self, url: str) -> None:
        for path in self.folder.glob(Path(url.removeprefix("sqlite:///")).name + "*"):
            path.unlink()


class Postgres:
    """Databases on one server. While a test has one, the next of its kind is copied: a copy takes longer than most tests."""

    def __init__(self, server: postgres.Server) -> None:
        self.server = server
        self.worker = ThreadPoolExecutor(1)
        self.spares: dict[str, Future[str]] = {}
        self.dropped: list[Future[None]] = []
        self.templates = {"nothing": "template0"}
        for name, fill in TEMPLATES.items():
            self.templates[name] = postgres.new_name()
            fill(server.create(self.templates[name]))

    def new(self, template: str) -> str:
        made = self.spares.pop(template, None) or self._copy(template)
        self.spares[template] = self._copy(template)
        return made.result()

    def _copy(self, template: str) -> Future[str]:
        return self.worker.submit(self.server.create, postgres.new_name(), self.templates[template])

    def drop(self, url: str) -> None:
        self.dropped.append(self.worker.submit(self.server.drop, url.partition("?")[0].rpartition("/")[2]))

    def close(self) -> None:
        for spare in self.spares.values():
            self.drop(spare.result())
        for dropped in self.dropped:
            dropped.result()
        self.worker.shutdown()
        for name in set(self.templates.values()) - {"template0"}:
            self.server.drop(name)

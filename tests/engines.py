"""Fresh databases for tests: each kind makes a template once a session, when it is first asked for, and copies it for a test.

What goes in: the name of a template (nothing, empty, northwind, shop). What comes out: the URL of a copy, until it is dropped.
What may be refused here: nothing beyond what the database refuses.
"""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Callable, Coroutine
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any, Protocol

from graph import migrate, sample
from graph.database import Database
from graph.settings import Settings
from tests import postgres, shop


async def fill_empty(url: str) -> None:
    await migrate.upgrade(url)


async def fill_northwind(url: str) -> None:
    await sample.load_into(Settings(database_url=url))


async def fill_shop(url: str) -> None:
    database = Database(Settings(database_url=url))
    await shop.vary(database)
    await database.close()


#: The template that each one starts as, and what is done to it then.
TEMPLATES: dict[str, tuple[str, Callable[[str], Coroutine[Any, Any, None]]]] = {
    "empty": ("nothing", fill_empty),
    "northwind": ("empty", fill_northwind),
    "shop": ("northwind", fill_shop),
}


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

    def _template(self, name: str) -> Path:
        if name not in self.templates:
            before, fill = TEMPLATES[name]
            path = self.folder / f"{name}.db"
            shutil.copyfile(self._template(before), path)
            with ThreadPoolExecutor(1) as aside:  # this thread may have a loop that runs
                aside.submit(asyncio.run, fill(f"sqlite:///{path}")).result()
            self.templates[name] = path
        return self.templates[name]

    def new(self, template: str) -> str:
        self.made += 1
        path = self.folder / f"test{self.made}.db"
        shutil.copyfile(self._template(template), path)
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

    def _template(self, name: str) -> str:
        if name not in self.templates:
            before, fill = TEMPLATES[name]
            made = postgres.new_name()
            asyncio.run(fill(self.server.create(made, self._template(before))))
            self.templates[name] = made
        return self.templates[name]

    def new(self, template: str) -> str:
        made = self.spares.pop(template, None) or self.worker.submit(self._copy, template)
        self.spares[template] = self.worker.submit(self._copy, template)
        return made.result()

    def _copy(self, template: str) -> str:
        return self.server.create(postgres.new_name(), self._template(template))

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

"""Deployments with many shops, for tests: a schema each on PostgreSQL, a file each in a folder on SQLite.

What goes in: the database or the folder, names. What comes out: settings of a deployment that has them, which are migrated and
empty. They are copies of those that were made first, where a test has written nothing yet: most tests of a deployment take less
time than its migrations.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from sqlalchemy import make_url

from graph.settings import Settings
from graph.shops.deployment import Deployment
from tests.engines import LENDERS, TEMPLATES
from tests.unhurried import unhurried

#: Shops and their hosts.
Key = tuple[tuple[str, tuple[str, ...]], ...]

#: What the files of a deployment hold.
MADE: dict[Key, dict[str, bytes]] = {}


async def deployment(url: str, *names: str, **more: Any) -> Settings:
    """Settings of a deployment with these shops, which are made."""
    settings = unhurried(url, shops=True, **more)
    await make_shops(settings, dict.fromkeys(names, ()))
    return settings


async def make_shops(settings: Settings, shops: Mapping[str, Sequence[str]]) -> None:
    """Make shops, each with its hosts."""
    key = tuple((name, tuple(hosts)) for name, hosts in shops.items())
    folder = empty_folder(settings.database_url)
    if folder and key in MADE:
        write(folder, MADE[key])
        return
    # Roles are the server's, and no database brings them along.
    if (lender := LENDERS.get(settings.database_url)) and not settings.shop_roles:
        TEMPLATES[str(key)] = ("nothing", partial(make_at, key))
        if lender.begin_again(settings.database_url, str(key)):
            return
    await create(settings, key)
    if folder:
        MADE[key] = {path.name: path.read_bytes() for path in folder.glob("*")}


async def create(settings: Settings, shops: Key) -> None:
    """Make shops by the product."""
    for name, hosts in shops:
        await Deployment(settings).create(name, hosts)


async def make_at(shops: Key, url: str) -> None:
    """Make shops in a database without any table."""
    await create(unhurried(url, shops=True), shops)


def empty_folder(url: str) -> Path | None:
    """The folder of a deployment on SQLite that has no shops yet."""
    place = make_url(url)
    folder = Path(place.database or "")
    return folder if place.get_backend_name() == "sqlite" and not any(folder.glob("*")) else None


def write(folder: Path, contents: Mapping[str, bytes]) -> None:
    folder.mkdir(exist_ok=True)
    for name, content in contents.items():
        (folder / name).write_bytes(content)

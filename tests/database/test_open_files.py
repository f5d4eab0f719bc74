"""Files of shops on SQLite: a few are open at once, whichever shops are asked."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from graph.database import open_files
from graph.database.failures import Unavailable
from graph.database.shops import Databases
from tests.database.test_shop_pool import hold
from tests.database.test_shops import CREATE, ITEMS, data
from tests.deployments import deployment

NAMES = ("one", "two", "three", "four", "five")


@pytest.fixture
async def shops(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Databases]:
    """Five shops, of which two may be open."""
    monkeypatch.setattr(open_files, "MOST_FILES", 2)
    databases = Databases(await deployment(f"sqlite:///{tmp_path}", *NAMES, pool_timeout_seconds=60.0))
    yield databases
    await databases.close()
    assert opened(tmp_path) == set()


def opened(folder: Path) -> set[str]:
    """The shops whose files this process has open."""
    found = set()
    for descriptor in Path("/proc/self/fd").iterdir():
        try:
            path = descriptor.readlink()
        except FileNotFoundError:
            continue
        if path.parent == folder and path.suffix == ".db":
            found.add(path.stem)
    return found


async def test_as_many_files_are_open_as_may_be_whoever_asks(shops: Databases, tmp_path: Path) -> None:
    written: dict[str, list[str]] = {name: [] for name in NAMES}
    chance = random.Random(1)

    async def ask(number: int) -> None:
        name = chance.choice(NAMES)
        if number % 2:
            written[name].append(f"{number}")
            assert (await data(shops.of(name), CREATE, sku=f"{number}"))["createItem"]["errors"] == []
        else:
            await data(shops.of(name), ITEMS)
        assert len(opened(tmp_path)) <= 3  # one of them on its way

    for start in range(0, 60, 4):
        await asyncio.gather(*map(ask, range(start, start + 4)))
    assert len(opened(tmp_path)) == 2
    for name in NAMES:
        found = (await data(shops.of(name), ITEMS))["items"]["nodes"]
        assert sorted(node["sku"] for node in found) == sorted(written[name])
        assert name in opened(tmp_path)


async def test_the_one_that_was_used_the_longest_ago_is_closed(shops: Databases, tmp_path: Path) -> None:
    for name in ("one", "two", "one", "three"):
        await data(shops.of(name), ITEMS)
    assert opened(tmp_path) == {"one", "three"}


async def test_a_file_that_is_in_use_is_not_closed_and_who_finds_none_free_is_told(shops: Databases, tmp_path: Path) -> None:
    end = asyncio.Event()
    begun = [asyncio.Event(), asyncio.Event()]
    held = [asyncio.create_task(hold(shops.of(name), each, end)) for name, each in zip(("one", "two"), begun, strict=True)]
    for each in begun:
        await each.wait()
    patience, shops._files._seconds = shops._files._seconds, 0.1
    with pytest.raises(Unavailable, match="too many shops are in use"):
        await shops.of("three").fetch("SELECT count(*) FROM item", [])
    shops._files._seconds = patience
    assert await shops.of("one").fetch("SELECT count(*) FROM item", []) == 0  # beside its writer
    waiting = asyncio.create_task(shops.of("three").fetch("SELECT count(*) FROM item", []))
    given_up = asyncio.create_task(shops.of("four").fetch("SELECT count(*) FROM item", []))
    await asyncio.sleep(0.05)
    given_up.cancel()
    end.set()
    await asyncio.gather(*held)
    assert await waiting == 0
    assert len(opened(tmp_path)) == 2

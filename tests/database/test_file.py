"""SQLite, one file for all: no client takes its readers or its writer from the others, and a file that is gone is noticed."""

from __future__ import annotations

import asyncio
import os
import sqlite3
from collections.abc import AsyncIterator
from contextlib import closing
from pathlib import Path
from threading import Event, current_thread
from time import monotonic
from typing import Any

import orjson
import pytest
import sqlalchemy as sa

from graph.database import Database, file_limits
from graph.database.failures import TransientError, Unavailable
from graph.settings import Settings
from tests.conftest import Ask, asking, opened
from tests.engines import Sqlite
from tests.sockets import PATIENCE
from tests.unhurried import unhurried
from tests.words import count, done

#: A statement that takes for ever.
ENDLESS = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT count(*) FROM n"
FEW = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ?) SELECT count(*) FROM n"


@pytest.fixture
def url(sqlite_engines: Sqlite) -> str:
    return sqlite_engines.new("varied")


@pytest.fixture
async def database(url: str) -> AsyncIterator[Database]:
    async with opened(url) as database:
        yield database


async def test_who_closes_waits_for_the_threads_of_connections_that_were_given_up(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They tell the loop how it went, which must be there. Here one is held up, and whoever gave it up did not wait for it."""
    monkeypatch.setattr("graph.database.file_connections.ENDING_SECONDS", PATIENCE)
    loop, held, go, threads = asyncio.get_running_loop(), asyncio.Event(), Event(), list[Any]()

    def hold() -> None:
        loop.call_soon_threadsafe(held.set)
        go.wait(PATIENCE)

    async with database.session() as session:

        async def work() -> None:
            driver: Any = (await (await session.connection()).get_raw_connection()).driver_connection
            threads.append(driver._thread)
            await driver.create_function("hold", 0, hold)
            await session.execute(sa.text("SELECT hold()"))

        task = asyncio.create_task(database.transaction(session, work))
        await held.wait()
        while not task.done():
            task.cancel()
            await asyncio.sleep(0.01)
    assert task.cancelled()
    assert [thread.is_alive() for thread in threads] == [True]
    loop.call_later(0.1, go.set)
    await database.close()
    assert go.is_set()
    assert [thread.is_alive() for thread in threads] == [False]


async def test_who_closes_waits_for_the_threads_of_connections_whose_opening_was_given_up(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("graph.database.file_connections.ENDING_SECONDS", PATIENCE)
    loop, held, go, threads, connect = asyncio.get_running_loop(), asyncio.Event(), Event(), list[Any](), sqlite3.connect

    def slowly(*arguments: Any, **named: Any) -> Any:
        threads.append(current_thread())
        loop.call_soon_threadsafe(held.set)
        go.wait(PATIENCE)
        return connect(*arguments, **named)

    monkeypatch.setattr(sqlite3, "connect", slowly)
    async with database.session() as session:
        task = asyncio.create_task(database.transaction(session, session.connection))
        await held.wait()
        while not task.done():
            task.cancel()
            await asyncio.sleep(0.01)
    assert [thread.is_alive() for thread in threads] == [True]
    loop.call_later(0.1, go.set)
    await database.close()
    assert go.is_set()
    assert [thread.is_alive() for thread in threads] == [False]


def readers_of(database: Database) -> Any:
    """The readers of a file."""
    file: Any = database.primary
    return file._readers


async def test_long_reads_leave_threads_to_short_ones(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    long = [asyncio.create_task(database.fetch(f"{ENDLESS} -- {number}", ())) for number in range(8)]
    for number in range(1, 20):
        assert await database.fetch(FEW, (number,)) == number
    assert not any(task.done() for task in long)
    # The time is over of those that run, and of those that wait for a thread as soon as they have it.
    monkeypatch.setattr(readers_of(database), "_timeout", 0.0)
    monkeypatch.setattr(file_limits, "monotonic", lambda: monotonic() + 3_600)
    told = await asyncio.gather(*long, return_exceptions=True)
    assert {type(error) for error in told} == {Unavailable}
    assert await database.fetch(FEW, (5,)) == 5


async def test_a_statement_is_long_as_long_as_it_takes_long(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("graph.database.readers.SHORT_SECONDS", -1.0)  # over when it is looked at first
    readers = readers_of(database)
    assert await database.fetch(FEW, (30_000,)) == 30_000
    assert list(readers._long) == [FEW]
    monkeypatch.setattr("graph.database.readers.SHORT_SECONDS", 60.0)
    assert await database.fetch(FEW, (3,)) == 3
    assert not readers._long


async def test_a_write_that_takes_too_long_is_interrupted_and_leaves_the_writer_to_others(database: Database) -> None:
    file: Any = database.primary

    async def write(sql: str, seconds: float) -> None:
        session = database.session()

        async def work() -> None:
            for file._seconds, statement in ((60.0, "UPDATE orders SET note = 'kept'"), (seconds, sql)):
                await session.execute(sa.text(statement))

        try:
            await database.transaction(session, work)
        finally:
            await session.close()

    notes = "SELECT group_concat(DISTINCT note) FROM orders"
    before = await database.fetch(notes, ())
    slow = asyncio.create_task(write(f"UPDATE item SET stock = ({ENDLESS})", 0.3))
    waits = asyncio.create_task(write("UPDATE item SET stock = 1 WHERE id = 1", 60.0))  # who came first has the first turn
    with pytest.raises(TransientError):
        await slow
    await waits
    assert before != b"kept"
    assert await database.fetch(notes, ()) == b"kept"  # by the one that waited


async def test_a_bulk_change_that_takes_too_long_answers_and_changes_nothing(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("graph.database.file_connections.STEPS", 100)
    async with asking(unhurried(url)) as ask:
        before = await ask.raw("{ orderSummary { totalAmount { sum } } }")
        file: Any = ask.app.state.database.primary
        file._seconds, seconds = -1.0, file._seconds
        field = 'discountOrders(input: {where: {or: [%s]}, percent: "10"}) { count errors { code path } }'
        heavy = ", ".join(f'{{items: {{some: {{item: {{name: {{contains: "{letter}"}}}}}}}}}}' for letter in "qxyzjkvw")
        answer = await ask(f"mutation {{ {field % heavy} }}")
        assert answer["data"]["discountOrders"] == {"count": 0, "errors": [{"code": "TRY_AGAIN", "path": ["input"]}]}
        file._seconds = seconds
        assert await ask.raw("{ orderSummary { totalAmount { sum } } }") == before
        await done(ask, "createItem", {"sku": "N", "name": "n", "price": "1"})


async def refused(ask: Ask) -> bool:
    """Whether a write is refused because the database does not serve."""
    # Not with the snapshots of `ask`, which keep the first file open.
    create = 'mutation { createItem(input: {sku: "N", name: "n", price: 1}) { item { id } errors { code } } }'
    answer = orjson.loads(await ask._send(create))
    return "errors" in answer and [error["extensions"]["code"] for error in answer["errors"]] == ["SERVICE_UNAVAILABLE"]


@pytest.mark.parametrize("how", ["deleted", "moved", "replaced", "its folder moved", "its log deleted"])
async def test_a_file_that_is_gone_is_noticed_before_a_write_is_acknowledged(url: str, how: str, tmp_path: Path) -> None:
    path, folder = tmp_path / "shop" / "shop.db", tmp_path / "shop"
    folder.mkdir()
    os.rename(url.removeprefix("sqlite:///"), path)  # noqa: PTH104  # it takes no time
    other = tmp_path / "other.db"
    with closing(sqlite3.connect(path)) as source, closing(sqlite3.connect(other)) as copy:
        source.backup(copy)
    async with asking(Settings(database_url=f"sqlite:///{path}")) as ask:
        customers, orders, items = await count(ask)
        await done(ask, "createItem", {"sku": "ours", "name": "n", "price": "1"})
        if how == "deleted":
            path.unlink()
        elif how == "moved":
            path.rename(tmp_path / "elsewhere.db")
        elif how == "replaced":
            other.rename(path)
        elif how == "its folder moved":
            folder.rename(tmp_path / "elsewhere")
        else:
            path.with_name("shop.db-wal").unlink()
        assert await refused(ask)
        if how == "its log deleted":
            assert await refused(ask)
            assert await count(ask) == (customers, orders, items + 1)  # and all of it is written back in the end
        else:
            if not path.exists():
                assert await refused(ask)
                assert not path.exists()  # and no empty one was made
                folder.mkdir(exist_ok=True)
                other.rename(path)
            await asyncio.sleep(0.15)
            assert await count(ask) == (customers, orders, items)  # what it was when it was copied
            assert not await refused(ask)
            assert await count(ask) == (customers, orders, items + 1)
    with closing(sqlite3.connect(path)) as after:
        found = [sku for (sku,) in after.execute("SELECT sku FROM item WHERE sku IN ('ours', 'N')")]
    assert found == (["ours"] if how == "its log deleted" else ["N"])

"""Changes past their time go from the first on, in small steps, and nobody who comes back skips what is gone."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any

import pytest
import sqlalchemy as sa

from graph import migrate
from graph.base import utc_now
from graph.database import Database
from graph.database import steps as steps_of_work
from graph.feed import purge as purging
from graph.feed.outbox import ChangeRow
from graph.feed.purge import keep_purging, purge, purge_some
from graph.settings import Settings
from graph.write.record import Kind
from tests.conftest import Ask, Statements, opened
from tests.remote import until
from tests.write.crowd import another_writer


@pytest.fixture(autouse=True)
def steps(monkeypatch: pytest.MonkeyPatch) -> None:
    """Steps of ten changes, soon after each other."""
    monkeypatch.setattr(purging, "STEP", 10)
    monkeypatch.setattr(purging, "INTERVAL_SECONDS", 0.01)
    monkeypatch.setattr(steps_of_work, "SHORTEST_REST_SECONDS", 0.001)


async def keep(url: str, *days: float) -> None:
    """A change for each of these ages, in their order; the last one has no position."""
    now = utc_now()
    row = {"kind": Kind.UPDATED, "type": "Item", "key": 1, "root_type": "Item", "root": 1, "changed": "[]", "count": 1}
    rows = [{**row, "position": place, "at": now - timedelta(days=age)} for place, age in enumerate(days, 1)]
    async with migrate.connected(url) as connection, connection.begin():
        await connection.execute(sa.insert(ChangeRow), rows)


async def kept(url: str) -> list[Any]:
    async with migrate.connected(url) as connection:
        return list(await connection.scalars(sa.select(ChangeRow.position).order_by(ChangeRow.position)))


async def test_a_step_takes_the_first_and_none_behind_one_that_stays(database: Database, statements: Statements) -> None:
    url = database.settings.database_url
    await keep(url, *[9] * 23, 1, *[9] * 5, 1)
    statements.clear()
    assert await purge_some(database) == 10
    assert len(statements) == 1
    assert await kept(url) == [*range(11, 31)]
    assert await purge(database) == 13
    assert await purge(database) == 0
    assert await kept(url) == [*range(24, 31)]


async def test_the_last_one_stays(database: Database) -> None:
    assert await purge(database) == 0
    url = database.settings.database_url
    await keep(url, *[9] * 12)
    assert await purge(database) == 11
    assert await kept(url) == [12]


async def test_several_at_once_leave_no_hole(database: Database) -> None:
    url = database.settings.database_url
    await keep(url, *[9] * 61, 1)
    async with opened(url) as second, opened(url) as third:
        assert sum(await asyncio.gather(*(purge(each) for each in (database, second, third)))) == 61
    assert await kept(url) == [62]


async def test_nothing_is_passed_over_that_somebody_holds(empty_url: str) -> None:
    await keep(empty_url, *[9] * 5, 1)
    database = Database(Settings(database_url=empty_url, lock_timeout_seconds=0.01))
    try:
        async with another_writer(empty_url, "UPDATE changes SET count = 2 WHERE position = 2") as end:
            with pytest.raises(Exception, match=r"lock"):
                await purge_some(database)
            await end()
        assert await kept(empty_url) == [1, 2, 3, 4, 5, 6]
        assert await purge(database) == 5
    finally:
        await database.close()


async def test_a_server_deletes_them_as_it_runs(database: Database) -> None:
    url = database.settings.database_url
    await keep(url, *[9] * 25, 1)
    task = asyncio.create_task(keep_purging(database))

    async def gone() -> bool:
        return await kept(url) == [26]

    await until(gone)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


def cursor_at(position: int) -> str:
    return f'["Change position+",{position}]'.encode().hex()


async def test_who_comes_back_too_late_is_told(ask: Ask, database: Database) -> None:
    await keep(database.settings.database_url, *[9] * 5, *[1] * 3)
    await purge(database)  # or the server did
    assert await kept(database.settings.database_url) == [6, 7, 8]
    query = "query ($after: String) { changes(after: $after) { totalCount nodes { count } } }"
    for position in range(5):
        (error,) = (await ask(query, {"after": cursor_at(position)}))["errors"]
        assert (error["extensions"]["code"], error["extensions"]["oldest"]) == ("CURSOR_EXPIRED", cursor_at(5))
    for position in range(5, 9):
        answer = await ask.data(query, {"after": cursor_at(position)})
        assert len(answer["changes"]["nodes"]) == 8 - position

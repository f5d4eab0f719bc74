"""Idempotency keys past their time go in small steps, in nobody's way, whoever deletes them."""

from __future__ import annotations

import asyncio
import logging
from datetime import timedelta
from typing import Any

import pytest
import sqlalchemy as sa

from graph import migrate
from graph.base import utc_now
from graph.database import Database
from graph.database import steps as steps_of_work
from graph.database.failures import TransientError
from graph.settings import Settings
from graph.write import expired_keys
from graph.write.expired_keys import keep_purging, purge, purge_some
from graph.write.idempotency import KEYS
from tests.audit import rows_of
from tests.conftest import Ask, Statements, asking, opened
from tests.remote import until
from tests.unhurried import unhurried
from tests.write.crowd import another_writer

CREATE = (
    'mutation { createItem(input: {sku: "A", name: "x", price: "1"}) @idempotent(key: "fresh") { item { id } errors { code } } }'
)


@pytest.fixture(autouse=True)
def steps(monkeypatch: pytest.MonkeyPatch) -> None:
    """Steps of ten keys, soon after each other."""
    monkeypatch.setattr(expired_keys, "STEP", 10)
    monkeypatch.setattr(steps_of_work, "SHORTEST_REST_SECONDS", 0.001)


async def keep(url: str, number: int, *, age: timedelta = timedelta(days=2)) -> None:
    """Keys of this age, the first the oldest."""
    now = utc_now() - age
    rows = [
        {"client": "", "key": f"{age.days}-{n}", "fingerprint": "", "answer": "{}", "created_at": now + timedelta(seconds=n)}
        for n in range(number)
    ]
    async with migrate.connected(url) as connection, connection.begin():
        await connection.execute(sa.insert(KEYS), rows)


async def kept(url: str) -> list[str]:
    (rows,) = await rows_of(url, "SELECT key FROM idempotency_key ORDER BY created_at")
    return [str(row[0]) for row in rows]


async def keeps(url: str, *keys: str) -> bool:
    return await kept(url) == [*keys]


async def test_a_step_is_one_statement_and_takes_the_oldest(database: Database, statements: Statements) -> None:
    url = database.settings.database_url
    await keep(url, 25)
    await keep(url, 3, age=timedelta(hours=1))
    fresh = ["0-0", "0-1", "0-2"]
    statements.clear()
    assert await purge_some(database) == 10
    assert len(statements) == 1
    assert await kept(url) == [*(f"2-{n}" for n in range(10, 25)), *fresh]
    assert await purge(database) == 15
    assert await purge(database) == 0
    assert await kept(url) == fresh


async def test_several_servers_at_once_do_no_harm(database: Database) -> None:
    url = database.settings.database_url
    await keep(url, 95)
    async with opened(url) as second, opened(url) as third:
        assert sum(await asyncio.gather(*(purge(each) for each in (database, second, third)))) == 95
    assert await kept(url) == []


async def test_a_key_that_somebody_holds_is_not_waited_for(empty_url: str) -> None:
    await keep(empty_url, 12)
    held = "UPDATE idempotency_key SET answer = '[]' WHERE key IN ('2-0', '2-1')"
    database = Database(unhurried(empty_url, lock_timeout_seconds=0.01))
    try:
        async with another_writer(empty_url, held) as end:
            if empty_url.startswith("sqlite"):  # which has one writer
                with pytest.raises(TransientError):
                    await purge_some(database)
                assert len(await kept(empty_url)) == 12
            else:
                assert await purge_some(database) == 10
                assert await kept(empty_url) == ["2-0", "2-1"]
            await end()
        assert await purge(database) == (12 if empty_url.startswith("sqlite") else 2)
    finally:
        await database.close()


async def test_a_step_waits_for_its_turn_among_the_writes(empty_url: str) -> None:
    await keep(empty_url, 1)
    database = Database(unhurried(empty_url, pool_size=1))
    try:
        async with database.primary.turns:
            step = asyncio.create_task(purge_some(database))
            await asyncio.sleep(0.05)
            assert not step.done()
        assert await step == 1
    finally:
        await database.close()


def settings_of(url: str) -> Settings:
    return unhurried(url, idempotency_purge_seconds=0.01)


async def created(ask: Ask) -> Any:
    return (await ask.data(CREATE))["createItem"]


async def test_a_server_deletes_them_as_it_runs_and_ends_with_it(empty_url: str) -> None:
    await keep(empty_url, 35)
    before = asyncio.all_tasks()
    async with asking(settings_of(empty_url)) as ask:
        first = await created(ask)
        await until(lambda: keeps(empty_url, "fresh"))
        assert first == await created(ask) == {"item": {"id": "Item:1"}, "errors": []}
    await keep(empty_url, 1)
    assert not {task for task in asyncio.all_tasks() - before if "keep_stepping" in repr(task) or "keep_purging" in repr(task)}
    assert await kept(empty_url) == ["2-0", "fresh"]


async def test_what_goes_wrong_is_told_once_and_tried_again(
    empty_url: str, statements: Statements, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "ordergraph.keys")

    async def tried_again() -> bool:
        return sum("DELETE FROM idempotency_key" in sql for sql in statements.sql) >= 3

    async def told(*levels: str) -> bool:
        return [record.levelname for record in caplog.records if record.name == "ordergraph.keys"] == [*levels]

    async with opened(empty_url) as database:
        quick = Database(settings_of(empty_url))
        await renamed(database, "idempotency_key", "elsewhere")
        task = asyncio.create_task(keep_purging(quick))
        try:
            await until(tried_again)
            assert await told("WARNING")
            await renamed(database, "elsewhere", "idempotency_key")
            await keep(empty_url, 1)
            await until(lambda: keeps(empty_url))
            await until(lambda: told("WARNING", "INFO"))
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            await quick.close()


async def renamed(database: Database, before: str, after: str) -> None:
    async with migrate.connected(database.settings.database_url) as connection, connection.begin():
        await connection.execute(sa.text(f"ALTER TABLE {before} RENAME TO {after}"))  # constants

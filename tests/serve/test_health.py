"""`/livez` and `/readyz`: the truth about the database, soon, for any number of askers, and nothing of its insides."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from datetime import timedelta
from typing import Any

import pytest
import sqlalchemy as sa

from graph import migrate
from graph.base import utc_now
from graph.database.failures import Unavailable
from graph.feed.sequence import waiting_since
from graph.serve import health
from graph.settings import Settings
from tests.conftest import Ask, Statements
from tests.conftest import asking as asking_with
from tests.sockets import NEVER, PATIENCE

AskWith = Callable[..., AbstractAsyncContextManager[Ask]]


@pytest.fixture(autouse=True)
def forgetful(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each asker is told anew."""
    monkeypatch.setattr(health, "KEPT_SECONDS", 0)
    monkeypatch.setattr(health, "BUSY_SECONDS", 0)


async def ready(ask: Ask) -> tuple[int, Any]:
    answer = await ask.client.get("/readyz")
    return answer.status_code, answer.json()


UNREADY = {"status": "unready"}


async def revision_is(ask: Ask, revision: str | None) -> None:
    async with ask.app.state.database.engine.begin() as connection:
        await connection.execute(sa.text("DELETE FROM alembic_version"))
        if revision is not None:
            await connection.execute(sa.text("INSERT INTO alembic_version VALUES (:revision)"), {"revision": revision})


async def test_a_process_is_ready_before_the_schema_it_knows_and_later_ones(ask: Ask) -> None:
    assert await ready(ask) == (200, {"status": "ready"})
    assert len(migrate.revisions()) > 1
    try:
        for revision, is_ready in ((migrate.revisions()[1], False), (None, False), ("of_a_later_version", True)):
            await revision_is(ask, revision)
            found = await ready(ask)
            assert found == ((200, {"status": "ready"}) if is_ready else (503, {**UNREADY, "reasons": [health.NOT_MIGRATED]}))
    finally:
        await revision_is(ask, migrate.head())
    assert (await ask.client.get("/livez")).status_code == 200


@pytest.mark.usefixtures("by_hand")
async def test_a_database_without_a_schema_is_not_ready(bare_url: str) -> None:
    async with asking_with(Settings(database_url=bare_url)) as ask:
        assert await ready(ask) == (503, {**UNREADY, "reasons": [health.UNREACHABLE]})


async def test_a_crowd_asks_the_database_once(ask: Ask, statements: Statements, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(health, "KEPT_SECONDS", NEVER)
    found = await asyncio.gather(*(ready(ask) for _ in range(50)))
    assert {status for status, _ in found} == {200}
    assert await ready(ask) == (200, {"status": "ready"})
    assert statements.sql.count(ask.database.text(health.REVISION)) == 1
    assert len(statements) <= 2  # and one for the feed where positions are given later


async def test_a_database_that_hangs_is_told_in_time_and_one_that_is_busy_is_ready(
    ask: Ask, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(health, "PROBE_SECONDS", 0.1)
    database = ask.app.state.database
    fetch = database.fetch
    left: list[str] = []

    async def hang(*_: Any) -> None:
        try:
            await asyncio.sleep(NEVER)
        except asyncio.CancelledError:
            left.append("given up")
            raise

    monkeypatch.setattr(database, "fetch", hang)
    async with asyncio.timeout(PATIENCE):
        assert await ready(ask) == (503, {**UNREADY, "reasons": [health.UNREACHABLE]})
    assert left == ["given up"]
    # Every connection is at work, yet statements are answered: who takes it out of service makes it worse for the others.
    monkeypatch.setattr(health, "BUSY_SECONDS", NEVER)
    monkeypatch.setattr(database, "fetch", fetch)
    await ask.data("{ customers(first: 1) { nodes { id } } }")
    monkeypatch.setattr(database, "fetch", hang)
    assert await ready(ask) == (200, {"status": "ready"})


async def test_a_server_that_says_nothing_is_told_to_all_who_ask(silent: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(health, "PROBE_SECONDS", 0.1)
    url = f"postgresql://shop@127.0.0.1:{silent}/orders?sslmode=disable"
    async with asyncio.timeout(PATIENCE), asking_with(Settings(database_url=url)) as ask:
        found = await asyncio.gather(*(ready(ask) for _ in range(20)))
        assert found == [(503, {**UNREADY, "reasons": [health.UNREACHABLE]})] * 20
        assert (await ask.client.get("/livez")).status_code == 200


async def test_a_database_that_refuses_is_told_without_its_words(ask: Ask, monkeypatch: pytest.MonkeyPatch) -> None:
    for error in (Unavailable("pa55word"), ValueError("pa55word")):

        async def refuse(*_: Any, error: Exception = error) -> None:
            raise error

        monkeypatch.setattr(ask.app.state.database, "fetch", refuse)
        assert await ready(ask) == (503, {**UNREADY, "reasons": [health.UNREACHABLE]})


async def test_a_feed_that_stands_still_is_told_and_one_that_moves_is_not(ask: Ask, monkeypatch: pytest.MonkeyPatch) -> None:
    """A long transaction commits what is old; it has its place soon."""
    monkeypatch.setattr(health, "BEHIND_SECONDS", 0.05)
    oldest = utc_now() - timedelta(hours=1)

    async def since(_: Any) -> Any:
        return oldest

    monkeypatch.setattr(health, "waiting_since", since)
    assert await ready(ask) == (200, {"status": "ready"})
    await asyncio.sleep(0.1)
    assert await ready(ask) == (503, {**UNREADY, "reasons": [health.BEHIND]})
    oldest = utc_now()
    assert await ready(ask) == (200, {"status": "ready"})


@pytest.mark.parametrize("engines", ["postgresql"], indirect=True)
async def test_a_change_without_a_place_is_seen(ask: Ask) -> None:
    database = ask.app.state.database
    assert await waiting_since(database) is None
    async with database.engine.begin() as connection:
        await connection.execute(sa.text("SELECT 1 FROM changes_head FOR UPDATE"))  # nobody numbers
        await ask.data('mutation { createCustomer(input: {name: "Ada", email: "ada@example.org"}) { errors { code } } }')
        since = await waiting_since(database)
    assert since is not None
    assert abs(utc_now() - since) < timedelta(minutes=1)


async def test_whoever_drains_is_not_ready_and_asks_nobody(ask: Ask, statements: Statements) -> None:
    ask.app.state.streams.draining.set()
    assert await ready(ask) == (503, {**UNREADY, "reasons": [health.DRAINING]})
    assert len(statements) == 0
    assert (await ask.client.get("/livez")).status_code == 200

"""The order of changes: nothing lost, nothing twice, no root's versions backwards, whoever writes and numbers beside."""

from __future__ import annotations

import asyncio
import random
from datetime import UTC, datetime
from typing import Any

import asyncpg
import pytest

from graph.database import Database
from graph.database.failures import Unavailable
from graph.feed import sequence
from graph.feed.outlook import LAST, Outlook
from graph.feed.rota import Rota
from graph.feed.sequence import number_some, waiting_since
from graph.settings import Settings
from tests.conftest import Ask
from tests.sockets import PATIENCE
from tests.words import done

WRITERS, TIMES, ROOTS = 16, 20, 5
INSERT = """
    INSERT INTO changes (kind, type, key, root_type, root, version, changed, count, at)
    VALUES ('UPDATED', 'Item', $1, 'Item', $1, $2, '[]', 1, now())"""


async def everything(database: Database) -> list[Any]:
    connection = await asyncpg.connect(database.settings.database_url)
    try:
        return [tuple(row) for row in await connection.fetch("SELECT position, root, version FROM changes ORDER BY position")]
    finally:
        await connection.close()


#: A file has one writer, who gives the positions.
on_a_server = pytest.mark.parametrize("engines", ["postgresql"], indirect=True)


@on_a_server
async def test_of_sixteen_writers_nothing_is_lost_and_no_version_goes_back(
    database: Database, by_hand: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two number at once, somebody reads behind them, and a transaction that began before all of it stays open."""
    monkeypatch.setattr(sequence, "BATCH", 7)
    url, chance, done_writing, seen = database.settings.database_url, random.Random(7), asyncio.Event(), list[tuple[Any, ...]]()
    versions = dict.fromkeys(range(1, ROOTS + 1), 0)
    held = {root: asyncio.Lock() for root in versions}

    async def write() -> None:
        connection = await asyncpg.connect(url)
        for _ in range(TIMES):
            root = chance.randint(1, ROOTS)
            async with held[root]:  # as the root's row would be
                transaction = connection.transaction()
                await transaction.start()
                versions[root] += 1
                await connection.execute(INSERT, root, versions[root])
                await asyncio.sleep(chance.choice((0, 0, 0.002)))  # others draw and commit later ids meanwhile
                await transaction.commit()
        await connection.close()

    async def number(by: Database) -> int:
        some = 0
        while not done_writing.is_set() or await waiting_since(by) is not None:
            some += await number_some(by)
        return some

    async def read() -> None:
        connection = await asyncpg.connect(url)
        while len(seen) < WRITERS * TIMES:
            last = seen[-1][0] if seen else 0
            query = "SELECT position, root, version FROM changes WHERE position > $1 ORDER BY position LIMIT 5"
            seen.extend(tuple(row) for row in await connection.fetch(query, last))
            await asyncio.sleep(0)
        await connection.close()

    other = Database(Settings(database_url=url))
    foreign = await asyncpg.connect(url)
    try:
        await foreign.execute("BEGIN; CREATE TABLE long_transaction (id int)")
        reading, numbering = asyncio.create_task(read()), asyncio.gather(number(database), number(other))
        await asyncio.gather(*(write() for _ in range(WRITERS)))
        done_writing.set()
        async with asyncio.timeout(PATIENCE):
            assert sum(await numbering) == WRITERS * TIMES
            await reading
    finally:
        await foreign.close()
        await other.close()
    assert [row[0] for row in seen] == list(range(1, WRITERS * TIMES + 1))
    assert seen == [row[:3] for row in await everything(database)]
    for root, last in versions.items():
        assert [version for _, of, version in seen if of == root] == list(range(1, last + 1))


@on_a_server
async def test_a_look_is_one_statement_and_who_finds_the_head_held_leaves_it(database: Database, by_hand: None) -> None:
    url, sent = database.settings.database_url, list[str]()
    watched: Any = database.watch
    began = watched.began

    def seen(sql: str, **how: Any) -> Any:
        sent.append(sql)
        return began(sql, **how)

    watched.began = seen
    assert await number_some(database) == 0
    assert sent == [database.text(sequence.WAITING)]
    connection = await asyncpg.connect(url)
    await connection.execute(INSERT, 1, 1)
    assert await waiting_since(database) is not None
    async with connection.transaction():
        await connection.execute("SELECT FROM changes_head FOR UPDATE")
        assert await number_some(database) == 0
    assert await number_some(database) == 1
    assert await waiting_since(database) is None
    await connection.close()
    assert [row[0] for row in await everything(database)] == [1]


@on_a_server
async def test_who_begins_while_the_first_change_of_all_is_committed_begins_before_it(
    database: Database, by_hand: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    connection = await asyncpg.connect(database.settings.database_url)
    fetch = database.fetch

    async def fetch_and_write(sql: str, arguments: Any) -> Any:
        found = await fetch(sql, arguments)
        if sql == database.text(LAST):
            await connection.execute(INSERT, 1, 1)
        return found

    monkeypatch.setattr(database, "fetch", fetch_and_write)
    assert await Outlook(database).bounds() == (0, 0)
    await connection.close()


@on_a_server
async def test_who_begins_waits_for_no_change_that_comes_later_with_a_lower_id(
    database: Database, by_hand: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As those of another node of Citus are, whose range lies below."""
    connection, fetch, written = await asyncpg.connect(database.settings.database_url), database.fetch, 0
    await connection.execute(INSERT, 1, 1)
    await connection.execute("UPDATE changes SET id = 281474976710657")
    assert await number_some(database) == 1
    await connection.execute(INSERT, 1, 2)

    async def fetch_and_write(sql: str, arguments: Any) -> Any:
        nonlocal written
        found = await fetch(sql, arguments)
        if sql == database.text(sequence.WAITING):
            written += 1
            await connection.execute(INSERT, 1, 2 + written)
        return found

    monkeypatch.setattr(database, "fetch", fetch_and_write)
    async with asyncio.timeout(PATIENCE):
        assert (await Outlook(database).bounds())[1] >= 2
    assert written < 10
    await connection.close()


@on_a_server
async def test_what_waits_for_longest_is_known_whatever_its_id(database: Database, by_hand: None) -> None:
    """Those of another node of Citus have lower ids, and are younger."""
    connection = await asyncpg.connect(database.settings.database_url)
    await connection.execute(INSERT, 1, 1)
    await connection.execute("UPDATE changes SET id = 281474976710657, at = '2026-01-01Z'")
    await connection.execute(INSERT, 1, 2)
    assert await waiting_since(database) == datetime(2026, 1, 1, tzinfo=UTC)
    assert await number_some(database) == 2
    assert await waiting_since(database) is None
    await connection.close()


@on_a_server
async def test_what_is_read_to_number_some_does_not_depend_on_statistics(database: Database, by_hand: None) -> None:
    """Those of an import, in the midst of which many waited."""
    connection = await asyncpg.connect(database.settings.database_url)
    read = "SELECT seq_tup_read + idx_tup_fetch FROM pg_stat_xact_user_tables WHERE relname = 'changes'"
    await connection.executemany(INSERT, [(key, 1) for key in range(12_000)])
    await connection.execute("ANALYZE changes")
    while await number_some(database):
        pass
    await connection.execute(INSERT, 1, 2)
    await connection.execute("VACUUM changes")  # leaves the statistics of its columns
    async with connection.transaction():
        before = await connection.fetchval(read)
        assert await connection.fetchval(database.text(sequence.NUMBERED), sequence.BATCH) == 1
        assert await connection.fetchval(read) - before < 100
    await connection.close()
    assert [row[0] for row in await everything(database)] == list(range(1, 12_002))


async def put_into_order(database: Database, numbered: asyncio.Event) -> None:
    """Wait until a server has done so."""
    if not database.capabilities.one_writer:
        async with asyncio.timeout(PATIENCE):
            await numbered.wait()
        numbered.clear()
    assert await waiting_since(database) is None


async def test_whoever_serves_puts_changes_into_their_order(ask: Ask) -> None:
    """With somebody who listens at once, else as time passes; on a file as they are written."""
    database: Database = ask.app.state.database
    sequencer = ask.app.state.sequencer
    sequencer.listening = 1
    numbered = asyncio.Event()
    sequencer.numbered.append(numbered.set)
    await done(ask, "createItem", {"sku": "A", "name": "A", "price": "1"})
    await put_into_order(database, numbered)
    sequencer.listening, ask.app.state.rota.idle_seconds = 0, 0.01
    await done(ask, "updateItem", {"id": "Item:1", "name": "B"})
    await put_into_order(database, numbered)


@on_a_server
async def test_no_error_of_the_database_ends_it(
    database: Database, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    answers: list[Any] = [Unavailable("away"), Unavailable("away"), 1, OSError(), sequence.BATCH]
    over = asyncio.Event()

    async def number(_: Database) -> int:
        if not answers:
            over.set()
            return 0
        answer = answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return int(answer)

    monkeypatch.setattr(sequence, "number_some", number)
    rota, numbered = Rota(), list[int]()
    rota.idle_seconds = 0.001
    sequencer = rota.sequencer(database, steady=True)
    sequencer.numbered.append(lambda: numbered.append(1))
    with caplog.at_level("INFO", "ordergraph.feed"):
        running = asyncio.create_task(rota.run())
        async with asyncio.timeout(PATIENCE):
            await over.wait()
        running.cancel()
    assert [record.levelname for record in caplog.records] == ["WARNING", "INFO"] * 2
    assert [record.exc_info is None for record in caplog.records] == [True, True, False, True]  # a bug with its traceback
    assert numbered == [1, 1]

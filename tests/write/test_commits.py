"""COMMITs whose answer is lost: nobody claims that they happened, nor that they did not."""

from __future__ import annotations

import asyncio
import resource
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from asyncpg.exceptions import PostgresError

from graph import migrate
from graph.database import Database
from graph.database.failures import CommitUnknown, TransientError, Unavailable, verdict_of
from graph.observations import WriteEnded
from tests import postgres
from tests.audit import checked_out, rows_of
from tests.conftest import Ask, asking
from tests.engines import Sqlite
from tests.faults import Places, places, refusing
from tests.later import end_of_transactions
from tests.networks import notice
from tests.remote import Remote, payload, remote_at, send, until
from tests.stock import item
from tests.unhurried import unhurried

SHOP = [item("A", 1, 500), item("B", 1)]

#: A COMMIT as the driver sends it.
COMMIT = b"COMMIT;"
ERRORS = "errors { __typename code path retryable message }"


def create(alias: str, key: str = "") -> str:
    directive = f'@idempotent(key: "{key}")' if key else ""
    return f'{alias}: createItem(input: {{sku: "{alias}", name: "x", price: "1"}}) {directive} {{ item {{ id sku }} {ERRORS} }}'


def told(payload: dict[str, Any]) -> Any:
    """The only error of a payload, which has no entity."""
    assert payload["item"] is None
    (error,) = payload["errors"]
    assert error["path"] == ["input"]
    assert error.pop("message")
    return error["__typename"], error["code"], error["retryable"]


UNKNOWN = ("CommitUnknownError", "COMMIT_UNKNOWN", False)
UNKNOWN_WITH_KEY = ("CommitUnknownError", "COMMIT_UNKNOWN", True)
NOT_RUN = ("TryAgainError", "TRY_AGAIN", True)


async def skus(remote: Remote) -> set[str]:
    return {sku for (sku,) in await remote.rows("SELECT sku FROM item WHERE length(sku) > 1")}


@pytest.mark.usefixtures("missed_soon")
@pytest.mark.parametrize("happened", [True, False])
async def test_a_commit_whose_answer_is_lost(
    remote: Remote, happened: bool, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The network loses the answer, or the COMMIT itself: nobody can tell these apart, and so the answers are equal."""
    heard: list[Any] = []
    remote.database.listeners.append(heard.append)
    written: list[tuple[str, int]] = []
    monkeypatch.setattr(WriteEnded, "listeners", [lambda seen: written.append((seen.outcome, seen.rows))])
    remote.net.lose(behind=COMMIT if happened else None, before=None if happened else COMMIT)
    alone, keyed, atomic, later = await remote.meet_silence(
        end_of_transactions,
        f"mutation {{ {create('alone')} }}",
        f"mutation {{ {create('keyed', 'k1')} }}",
        f"mutation @atomic {{ {create('first', 'k2')} {create('second')} }}",
        f"mutation {{ {create('early')} {create('later')} {create('latest', 'k3')} }}",
    )
    remote.net.lose()
    assert [answer.status for answer in (alone, keyed, atomic, later)] == [200] * 4
    assert {key: told(value) for key, value in alone.body["data"].items()} == {"alone": UNKNOWN}
    assert {key: told(value) for key, value in keyed.body["data"].items()} == {"keyed": UNKNOWN_WITH_KEY}
    assert {key: told(value) for key, value in atomic.body["data"].items()} == {"first": UNKNOWN_WITH_KEY, "second": UNKNOWN}
    assert {key: told(value) for key, value in later.body["data"].items()} == {
        "early": UNKNOWN,
        "later": NOT_RUN,
        "latest": NOT_RUN,
    }
    assert not any("errors" in answer.body for answer in (alone, keyed, atomic, later))
    assert heard == [], "what may not have happened was told"
    # Of one transaction it is known which mutation wrote a row, not which field of that name.
    assert sorted(written) == [("unavailable", 0)] * 2 + [("unknown", 1)] * 3 + [("unknown", 2)] * 2
    assert len([record for record in caplog.records if record.name == "ordergraph.database"]) == 4
    assert checked_out(remote.database) == 0

    async def settled() -> bool:  # what was not committed is rolled back when the server misses its client
        return await remote.rows("SELECT FROM pg_locks WHERE locktype = 'transactionid'") == []

    await until(settled)
    assert await skus(remote) == ({"alone", "keyed", "first", "second", "early"} if happened else set())

    # Who sends the same request again learns what became of it, and it has happened once.
    again = [await remote.send(f"mutation {{ {create('keyed', 'k1')} }}") for _ in range(2)]
    ids = {answer.body["data"]["keyed"]["item"]["id"] for answer in again}
    assert len(ids) == 1
    assert await remote.rows("SELECT count(*) FROM item WHERE sku = 'keyed'") == [(1,)]


async def test_a_dry_run_sends_no_commit(remote: Remote) -> None:
    remote.net.lose(before=COMMIT)
    answer = await remote.send(f"mutation @dryRun {{ {create('dry')} }}")
    assert payload(answer)["errors"] == []


async def test_a_connection_that_is_gone_before_the_commit_is_no_unknown_commit(remote: Remote) -> None:
    """It is known that no COMMIT was sent, and the work is done again on another connection."""
    session, tries = remote.database.session(), 0

    async def work() -> int:
        nonlocal tries
        tries += 1
        if tries == 1:
            driver = session.info["driver"]
            await remote.rows(f"SELECT pg_terminate_backend({driver.get_server_pid()})")

            async def gone() -> bool:
                return bool(driver.is_closed())

            await until(gone)
        return tries

    assert await remote.database.transaction(session, work) == 2


async def test_a_request_that_is_given_up_while_it_commits(remote: Remote, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody is answered and nobody is told; the connection is not used again."""
    heard: list[Any] = []
    remote.database.listeners.append(heard.append)
    written: list[tuple[str, int]] = []
    monkeypatch.setattr(WriteEnded, "listeners", [lambda seen: written.append((seen.outcome, seen.rows))])
    remote.net.lose(behind=COMMIT)
    asked = asyncio.ensure_future(remote.send(f"mutation {{ {create('gone')} }}"))

    async def committed() -> bool:
        return await skus(remote) == {"gone"}

    await until(committed)
    asked.cancel()
    with suppress(asyncio.CancelledError):
        await asked
    assert heard == []
    assert written == [("unknown", 1)]
    assert checked_out(remote.database) == 0
    remote.net.lose()
    assert payload(await remote.send(f"mutation {{ {create('next')} }}"))["errors"] == []
    assert [change.key for changes in heard for change in changes] == [
        key for (key,) in await remote.rows("SELECT max(id) FROM item")
    ]


@pytest.fixture(scope="module")
def replicated() -> Iterator[postgres.Own]:
    """A server that can be told to wait for a standby, which is not there."""
    with postgres.started(postgres.binaries(), "wal_level=replica", "max_wal_senders=2", "synchronous_commit=on") as own:
        asyncio.run(migrate.upgrade(own.url))
        yield own


async def test_a_commit_that_waits_for_a_standby(replicated: postgres.Own) -> None:
    """It is not cancelled, which would show what no standby has; and when an operator cancels it, that is no promise either."""

    async def standby(name: str) -> None:
        await rows_of(replicated.url, f"ALTER SYSTEM SET synchronous_standby_names = '{name}'", "SELECT pg_reload_conf()")

        async def known() -> bool:
            return await rows_of(replicated.url, "SHOW synchronous_standby_names") == [[(name,)]]

        await until(known)

    waiting = "SELECT pid FROM pg_stat_activity WHERE wait_event = 'SyncRep'"
    async with remote_at(replicated.url) as remote:
        await standby("missing")
        try:
            asked = asyncio.ensure_future(remote.send(f"mutation {{ {create('slow')} }}"))

            async def waits() -> bool:
                return len(await remote.rows(waiting)) == 1

            await until(waits)
            end_of_transactions()
            assert told(payload(await asked)) == UNKNOWN
            assert await waits(), "it was cancelled"
            assert await skus(remote) == set()

            asked = asyncio.ensure_future(remote.send(f"mutation {{ {create('cut', 'k')} }}"))

            async def both_wait() -> bool:
                return len(await remote.rows(waiting)) == 2

            await until(both_wait)
            await remote.rows(f"SELECT pg_cancel_backend(pid) FROM ({waiting}) AS waiting")
            assert told(payload(await asked)) == UNKNOWN_WITH_KEY
            assert await skus(remote) == {"slow", "cut"}  # there, and on this server alone
        finally:
            await standby("")
        assert payload(await remote.send(f"mutation {{ {create('cut', 'k')} }}"))["errors"] == []


@pytest.mark.parametrize("sent", [True, False])
async def test_a_commit_that_a_node_of_citus_did_not_answer(remote: Remote, sent: bool) -> None:
    """Who leads to the node says COMMIT all the same, and a WARNING beside it. Other warnings are no doubt."""
    where = ("Finish" if sent else "Start") + "RemoteTransactionCommit"
    said = "failed to commit transaction on 10.0.0.2:5432"
    remote.net.asked, remote.net.beside = COMMIT, notice(M=said, R=where)
    answer = await remote.send(f"mutation {{ {create('lost', 'k')} }}")
    assert told(payload(answer)) == UNKNOWN_WITH_KEY
    remote.net.beside = notice(M="there is no transaction in progress", R="elsewhere")
    assert payload(await remote.send(f"mutation {{ {create('there')} }}"))["errors"] == []


@pytest.mark.parametrize(
    ("severity", "state", "verdict"),
    [
        ("ERROR", "40001", type(None)),  # it is run again
        ("ERROR", "57014", TransientError),  # what was cancelled is rolled back
        ("ERROR", "53100", Unavailable),
        ("ERROR", "XX000", PostgresError),
        ("ERROR", "08006", CommitUnknown),  # the server lives; the node behind it that was to commit may have done so
        ("FATAL", "57P01", CommitUnknown),
        ("FATAL", "XX000", CommitUnknown),
        ("PANIC", "58030", CommitUnknown),  # the log may hold the COMMIT all the same
        ("PANIC", "53100", CommitUnknown),
    ],
)
def test_what_a_server_says_to_a_commit(severity: str, state: str, verdict: type) -> None:
    error = PostgresError.new({"S": "SEVERITY", "V": severity, "C": state, "M": "said"})
    assert isinstance(verdict_of(error, begun=True, committing=True, last=False), verdict)


@contextmanager
def files_end_at(size: int) -> Iterator[None]:
    """No file of this process can grow beyond a size: writing fails as on a disk with a fault."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def size_of(url: str) -> int:
    return Path(url.removeprefix("sqlite:///")).stat().st_size


@pytest.mark.parametrize("directive", ["", "@atomic"])
async def test_a_file_that_cannot_be_written_when_a_transaction_commits(sqlite_engines: Sqlite, directive: str) -> None:
    """SQLite may have written a part of it: nobody says that nothing was."""
    url = sqlite_engines.new("empty")
    async with asking(unhurried(url)) as ask:
        assert payload(await send(ask, f"mutation {{ {create('there')} }}"))["errors"] == []
        with files_end_at(size_of(url + "-wal")):
            answer = await send(ask, f"mutation {directive} {{ {create('keyed', 'k')} {create('other')} }}")
        assert answer.status == 200
        assert told(answer.body["data"]["keyed"]) == UNKNOWN_WITH_KEY
        assert told(answer.body["data"]["other"]) == (UNKNOWN if directive else NOT_RUN)
        again = await send(ask, f"mutation {directive} {{ {create('keyed', 'k')} {create('other')} }}")
        assert [payload["errors"] for payload in again.body["data"].values()] == [[], []]
        assert await rows_of(url, "SELECT count(*) FROM item") == [[(3,)]]
    sqlite_engines.drop(url)


async def test_a_disk_that_is_full_when_a_transaction_commits_is_known(ask: Ask, empty_url: str) -> None:
    database: Database = ask.app.state.database
    code = "SQLITE_FULL" if database.dialect.name == "sqlite" else "53100"

    def full(place: Places) -> None:
        if place.seen[-1] == "COMMIT":
            raise refusing(database, place, code)

    with places(database, full):
        answer = await send(ask, f"mutation {{ {create('full', 'k')} }}")
    assert answer.refused
    assert await rows_of(empty_url, "SELECT count(*) FROM item") == [[(0,)]]

"""Each way to lose a primary under load: the next write finds the new one, however long the old one is silent.

No time that the settings give is ever over here, so nothing that waits for such a time is healed by it.
"""

from __future__ import annotations

import asyncio
import itertools
import os
import signal
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from graph.database import Database, link, lookout
from graph.settings import Settings
from tests import postgres
from tests.audit import audit_url, checked_out, rows_of
from tests.conftest import asking
from tests.networks import Network, network
from tests.remote import HANGS_SECONDS, Answer, payload, send, until
from tests.standbys import CREATE, Pair, paired

LIMITS = ("request_timeout_seconds", "statement_timeout_seconds", "lock_timeout_seconds", "pool_timeout_seconds")
ENDLESS: dict[str, Any] = dict.fromkeys(LIMITS, 3_600.0)
#: A statement that waits for a lock, and the lock.
LOCKED, LOCK = "SELECT 'got' FROM pg_advisory_xact_lock(16)", "SELECT pg_advisory_lock(16)"
#: Who waits for it.
WAITING = "SELECT pid FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"


@asynccontextmanager
async def held(url: str) -> AsyncIterator[None]:
    """The lock is held."""
    holder = await asyncpg.connect(url)
    await holder.execute(LOCK)
    try:
        yield
    finally:
        await holder.close()


@pytest.fixture
def own_pair() -> Iterator[Pair]:
    """A primary and a standby that the test may end."""
    with paired() as made:
        yield made


async def processes(own: postgres.Own) -> list[int]:
    """All processes of a server, of which the first does nothing any more, so that there are no others."""
    connection = await asyncpg.connect(own.url)
    first = int((own.folder / "data" / "postmaster.pid").read_text(encoding="utf-8").split()[0])
    os.kill(first, signal.SIGSTOP)
    found = [pid for (pid,) in await connection.fetch("SELECT pid FROM pg_stat_activity")]
    connection.terminate()
    return [first, *found]


def is_there(pid: int) -> bool:
    return Path(f"/proc/{pid}").exists()


def tell(pids: Sequence[int], what: signal.Signals) -> None:
    for pid in pids:
        with suppress(ProcessLookupError):
            os.kill(pid, what)


@asynccontextmanager
async def hosts(*own: postgres.Own) -> AsyncIterator[tuple[str, Sequence[Network]]]:
    """The URL of whichever of them can be written, each over a network of its own, and the networks."""
    async with AsyncExitStack() as stack:
        made = [await stack.enter_async_context(network(each.url)) for each in own]
        places = ",".join(each.url.partition("@")[2].partition("/")[0] for each in made)
        yield f"postgresql://postgres@{places}/postgres?sslmode=disable&target_session_attrs=read-write", made


def acknowledged(answer: Answer) -> bool:
    """Whether a write was; every other answer says in a code why not."""
    codes = [error["code"] for error in payload(answer).get("errors", ())]
    assert answer.refused or (answer.status == 200 and codes in ([], ["TRY_AGAIN"], ["COMMIT_UNKNOWN"])), answer
    return codes == [] and not answer.refused


@asynccontextmanager
async def lost(primary: postgres.Own, net: Network, way: str) -> AsyncIterator[None]:
    """A primary is lost. In the end what is frozen goes on, and what was killed is started, which tidies up what it left."""
    pids: Sequence[int] = []
    if way == "dark":
        net.dark = True
        net.silence()
    elif way in ("killed", "frozen"):
        pids = await processes(primary)
        tell(pids, signal.SIGKILL if way == "killed" else signal.SIGSTOP)
    else:
        await asyncio.to_thread(primary.stop, "fast" if way == "fast" else "immediate")

    async def gone() -> bool:
        return not any(map(is_there, pids))

    try:
        yield
    finally:
        tell(pids, signal.SIGCONT)
        if way == "killed":
            await until(gone)
            await asyncio.to_thread(primary.start)


@pytest.mark.parametrize("way", ["killed", "immediate", "fast", "behind a proxy", "frozen", "dark"])
async def test_a_primary_that_is_lost_is_replaced(own_pair: Pair, way: str) -> None:
    """Writes wait for the standby, so what is acknowledged is there. What waits for the old one is answered as well."""
    primary, standby = own_pair.primary, own_pair.standby
    await rows_of(primary.url, "ALTER SYSTEM SET synchronous_standby_names = '*'", "SELECT pg_reload_conf()")
    numbers = itertools.count()
    told: set[str] = set()
    over = False

    async with hosts(primary, standby) as (through, (net, _)), asyncio.timeout(2 * HANGS_SECONDS):
        url = through if way in ("dark", "behind a proxy") else own_pair.url
        async with asking(Settings(database_url=url, **ENDLESS)) as ask:

            async def write() -> None:
                while not over:
                    sku = f"W{next(numbers)}"
                    if acknowledged(await send(ask, CREATE, {"sku": sku})):
                        told.add(sku)
                    await asyncio.sleep(0)

            async def more() -> None:
                wanted = len(told) + 10

                async def acknowledges() -> bool:
                    return len(told) >= wanted

                await until(acknowledges)

            writers = [asyncio.create_task(write()) for _ in range(4)]
            await more()
            async with lost(primary, net, way):
                await asyncio.to_thread(own_pair.promote)
                assert acknowledged(await send(ask, CREATE, {"sku": "AFTER"})), "who comes later is not refused"
                await more()
                over = True
                await asyncio.gather(*writers)
            assert checked_out(ask.database) == 0
    [rows] = await rows_of(standby.url, "SELECT sku FROM item")
    assert told | {"AFTER"} <= {sku for (sku,) in rows}
    await audit_url(standby.url)


async def test_who_waits_for_a_silent_host_meets_the_one_that_is_promoted_meanwhile(own_pair: Pair) -> None:
    async with hosts(own_pair.primary, own_pair.standby) as (url, (first, second)), asyncio.timeout(HANGS_SECONDS):
        first.dark = True
        database = Database(Settings(database_url=url, **ENDLESS))
        asked = asyncio.create_task(database.fetch("SELECT current_setting('transaction_read_only')", []))

        async def would_not_do() -> bool:
            return len(second.wires) > 0 and second.wires[0].client.is_closing()

        await until(would_not_do)
        await asyncio.to_thread(own_pair.promote)
        assert await asked == b"off"
        await database.close()


async def test_who_is_slow_is_not_given_up(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    """A statement waits for a lock, and its server is asked again and again whether it is there."""
    monkeypatch.setattr(lookout, "SILENT_SECONDS", 0.05)
    async with hosts(pair.primary, pair.standby) as (url, (first, _)), asyncio.timeout(HANGS_SECONDS):
        database = Database(Settings(database_url=url, **ENDLESS))
        async with held(pair.primary.url):
            asked = asyncio.create_task(database.fetch(LOCKED, []))

            async def asked_again() -> bool:
                return len(first.wires) > 4

            await until(asked_again)
            assert not first.wires[0].client.is_closing()
            assert not asked.done()
        assert await asked == b"got"
        assert not first.wires[0].client.is_closing(), "it was answered on the connection that it began on"
        await database.close()


async def test_a_host_that_is_busy_with_a_new_connection_is_not_given_up(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two ways to one primary, as through two poolers, of which one takes longer than others wait for it."""
    monkeypatch.setattr(lookout, "ANSWER_SECONDS", HANGS_SECONDS)
    monkeypatch.setattr(link, "HEAD_START_SECONDS", HANGS_SECONDS)
    async with hosts(pair.primary, pair.primary) as (url, (first, second)), asyncio.timeout(HANGS_SECONDS):
        database, another = (Database(Settings(database_url=url, **ENDLESS)) for _ in range(2))
        async with held(pair.primary.url):
            asked = asyncio.create_task(database.fetch(LOCKED, []))

            async def waits() -> bool:
                [rows] = await rows_of(pair.primary.url, WAITING)
                return len(rows) == 1

            await until(waits)
            first.turn.clear()
            monkeypatch.setattr(link, "HEAD_START_SECONDS", 0.1)
            # Each goes the other way after a while, as the lookout would have by the end of the second.
            for each in (database, another):
                assert await each.fetch("SELECT 'elsewhere'", []) == b"elsewhere"

            async def asked_both() -> bool:
                return len(second.wires) == 3  # of each database one, and what looks asks both hosts

            await until(asked_both)
            first.turn.set()

            async def looked() -> bool:
                closing = [wire.client.is_closing() for wire in first.wires[1:4]]
                return closing == [True] * 3  # the lookout's, and those that both gave up waiting for

            await until(looked)
            assert not first.wires[0].client.is_closing()
        assert await asked == b"got"
        await asyncio.gather(database.close(), another.close())


async def test_a_connection_that_leads_elsewhere_gives_up_no_host_that_answers(
    pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two ways to one primary, as through two poolers: nobody who waits by one of them is given up until this one is silent."""
    monkeypatch.setattr(lookout, "ANSWER_SECONDS", HANGS_SECONDS)
    async with hosts(pair.primary, pair.primary) as (url, (first, second)), asyncio.timeout(HANGS_SECONDS):
        database = Database(Settings(database_url=url, **ENDLESS))
        primary: Any = database.primary
        async with held(pair.primary.url):
            first.dark = True
            asked = asyncio.create_task(database.fetch(LOCKED, []))

            async def waiting() -> int:
                [rows] = await rows_of(pair.primary.url, WAITING)
                return len(rows)

            async def one_waits() -> bool:
                return await waiting() == 1

            await until(one_waits)
            first.dark = False
            monkeypatch.setattr(link, "HEAD_START_SECONDS", HANGS_SECONDS)
            known = len(first.wires), len(second.wires)
            elsewhere = asyncio.create_task(database.fetch(LOCKED, []))

            async def looked() -> bool:
                both = len(first.wires) > known[0] + 1 and len(second.wires) > known[1]
                return both and primary._lookout._looking.done() and await waiting() == 2

            await until(looked)
            assert not asked.done()
            assert not elsewhere.done()
            assert not second.wires[0].client.is_closing()
            assert not first.wires[known[0]].client.is_closing()
            monkeypatch.setattr(lookout, "ANSWER_SECONDS", 0.1)
            second.dark = True
            second.silence()

            async def begins_anew() -> bool:
                return await waiting() == 3  # nobody tells the server of the first one

            await until(begins_anew)
        assert [await asked, await elsewhere] == [b"got", b"got"]
        assert not first.wires[known[0]].client.is_closing()
        await database.close()


@pytest.mark.parametrize(
    "place",
    [
        "one/shop?target_session_attrs=read-write",
        "one,two/shop",
        "one,two/shop?target_session_attrs=any",
        "one,two/shop?target_session_attrs=standby",
    ],
)
def test_the_others_are_asked_where_one_of_them_is_the_primary(place: str) -> None:
    """And not where there is no other, or any of them will do."""

    def found(url: str) -> object:
        database = Database(Settings(database_url=f"postgresql://{url}"))
        primary: Any = database.primary
        return primary._lookout

    assert found(place) is None
    assert found("one,two/shop?target_session_attrs=primary") is not None


def test_what_is_waited_for_before_a_new_primary_is_asked_is_less_than_five_seconds() -> None:
    """One begins just behind a look: the next look is at its end, asks first who is silent, and so does the new connection."""
    looks = 2 * lookout.SILENT_SECONDS + max(lookout.ANSWER_SECONDS, link.AGAIN_SECONDS)
    assert looks + link.HEAD_START_SECONDS < 5

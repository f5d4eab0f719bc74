"""Standbys that fail and primaries that fail over, under load: no query is refused for a standby, no write is told wrongly."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Awaitable, Callable, Iterator
from time import perf_counter
from typing import Any

import asyncpg
import pytest

from graph.database import Database, replicas
from graph.database.failures import READ_ONLY, Unavailable, sqlstate
from graph.database.server_connections import SILENCE_SECONDS
from graph.observations import StatementFinished, listening
from tests.audit import audit_url, rows_of
from tests.conftest import Ask
from tests.later import put_forward
from tests.networks import network
from tests.remote import Answer, send, until
from tests.standbys import CREATE, FIND, Pair, item_by, new_item, paired, replicated
from tests.unhurried import UNHURRIED, unhurried

TOKEN = "x-ordergraph-read-after"
SLOW = '{ items(where: {name: {contains: "zz"}}) { totalCount } }'
MANY = "INSERT INTO item (version, sku, name, price, created_at, updated_at) SELECT 1, 'M' || n, 'y', 1, now(), now() FROM"


@pytest.fixture
def own_pair() -> Iterator[Pair]:
    """A primary and a standby that the test may end."""
    with paired("max_standby_streaming_delay=0") as made:
        yield made


def skus(answer: Answer) -> str | None:
    """The SKU of a new item, where its write was acknowledged; every other answer says in a code why not."""
    if answer.status == 503:
        assert answer.codes == ["SERVICE_UNAVAILABLE"], answer
        return None
    assert answer.status == 200, answer
    made = answer.body["data"]["createItem"]
    if made["item"] is None:
        assert [error["code"] for error in made["errors"]] in (["TRY_AGAIN"], ["COMMIT_UNKNOWN"]), answer
        return None
    sku: str = made["item"]["sku"]
    return sku


async def find(ask: Ask, sku: str, token: str = "") -> Any:
    asked = {"query": FIND, "variables": {"sku": sku}}
    answer = await ask.client.post("/graphql", json=asked, headers={TOKEN: token} if token else {})
    assert answer.status_code == 200, answer.text
    return answer.json()["data"]["item"]


async def while_(works: Callable[[], Awaitable[Any]], number: int, during: Awaitable[None]) -> None:
    """Do something again and again, so many beside each other, until something else is done."""
    over = False

    async def work() -> None:
        while not over:
            await works()
            await asyncio.sleep(0)

    tasks = [asyncio.create_task(work()) for _ in range(number)]
    try:
        await during
    finally:
        over = True
        await asyncio.gather(*tasks)


async def test_a_query_that_conflicts_with_what_is_replayed_is_answered_by_the_primary(own_pair: Pair) -> None:
    await rows_of(own_pair.primary.url, f"{MANY} generate_series(1, 20000) AS s(n)")
    refused: list[str] = []

    def finished(seen: StatementFinished) -> None:
        cause = seen.error.__cause__ if seen.error else None
        refused.append(getattr(cause, "sqlstate", ""))

    async with replicated(own_pair) as (ask, told):

        async def read() -> None:
            answer = await send(ask, SLOW)
            assert answer == Answer(200, {"data": {"items": {"totalCount": 0}}})

        async def lock() -> None:
            """What is replayed takes a lock that nothing which is read may keep it from."""
            locks = "BEGIN; LOCK TABLE item IN ACCESS EXCLUSIVE MODE; SELECT pg_current_xact_id(); COMMIT"
            connection = await asyncpg.connect(own_pair.primary.url)
            async with asyncio.timeout(40):
                while "40001" not in refused:
                    await connection.execute(locks)
                    await asyncio.sleep(0.02)
            await connection.close()

        with listening(StatementFinished, finished):
            await while_(read, 4, lock())
        assert "failed" in told
        replicas_ = ask.database.replicas
        assert replicas_ is not None
        assert replicas_.all[0].serves, "it was about the query alone"


async def test_a_standby_that_is_down_is_left_alone_and_asked_again_when_it_is_back(
    own_pair: Pair, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(replicas, "REST_SECONDS", 3_600.0)
    caplog.set_level("INFO", "ordergraph.database")
    async with replicated(own_pair, replica_max_lag_seconds=600.0) as (ask, told):
        sku, mutation = new_item()
        await ask(mutation)
        await asyncio.to_thread(own_pair.standby.stop, "immediate")
        for _ in range(20):
            assert await find(ask, sku) == {"sku": sku}
        assert told == ["failed"] + ["none"] * 19, "one has met what others would meet"
        await asyncio.to_thread(own_pair.standby.start)
        await own_pair.caught_up()
        standbys = ask.database.replicas
        assert standbys is not None
        standbys.all[0].resting_until = standbys._clock()  # the hour is over
        found = await asyncio.gather(*(find(ask, sku) for _ in range(5)))
        assert found == [{"sku": sku}] * 5
        assert told[20:].count("answered") == 1, "one tries it for the others"
        assert await find(ask, sku) == {"sku": sku}
        assert told[-1] == "answered"
        gone, back = [record.getMessage() for record in caplog.records if record.name == "ordergraph.database"]
        assert "does not serve" in gone
        assert "serves again" in back


async def test_a_standby_that_falls_silent_is_left_alone(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first ones wait for it as long as for a statement, and are answered by the primary; the others do not wait."""
    monkeypatch.setattr(replicas, "REST_SECONDS", 3_600.0)
    more: dict[str, Any] = {"replica_max_lag_seconds": 600.0, "request_timeout_seconds": 600.0}
    async with network(pair.standby.url) as net, replicated(pair, replica_urls=(net.url,), **more) as (ask, told):
        sku, mutation = new_item()
        await ask(mutation)
        await pair.caught_up()
        assert await find(ask, sku) == {"sku": sku}
        assert told == ["answered"]
        assert net.silence() == 1
        net.dark = True
        first = [asyncio.create_task(find(ask, sku)) for _ in range(10)]

        async def silence_is_met() -> bool:
            return sum(wire.heard for wire in net.wires) == 10

        await until(silence_is_met)
        put_forward(UNHURRIED["statement_timeout_seconds"] + SILENCE_SECONDS)
        assert await asyncio.gather(*first) == [{"sku": sku}] * 10
        assert told[1:] == ["failed"] * 10
        assert await asyncio.gather(*(find(ask, sku) for _ in range(10))) == [{"sku": sku}] * 10
        assert told[11:] == ["none"] * 10


async def test_a_standby_that_is_busy_is_alive() -> None:
    class Silent:
        answered = 0.0

    watch: Any = Silent()
    standby = replicas.Standby(watch, watch, "it")
    watch.answered = perf_counter()
    standby.failed(Unavailable("no connection came free in time"), 100.0)
    assert standby.resting_until == 0
    watch.answered -= 60
    standby.failed(Unavailable("no connection came free in time"), 100.0)
    assert standby.resting_until == 100 + replicas.REST_SECONDS


async def test_a_standby_that_is_down_at_the_start_holds_up_nobody(
    pair: Pair, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(replicas, "REST_SECONDS", 3_600.0)
    nowhere = "postgresql://postgres@/postgres?host=/tmp/nowhere"
    both = (nowhere, pair.standby.url)
    database = Database(unhurried(pair.primary.url, replica_urls=both, replica_max_lag_seconds=600.0))
    try:
        await database.probe()
        assert "%2Ftmp%2Fnowhere" in caplog.text
        assert database.replicas is not None
        await database.replicas.heartbeat.beat()
        await pair.caught_up()
        for _ in range(3):
            assert await database.query("SELECT pg_is_in_recovery()", []) is True, "the other one answers"
    finally:
        await database.close()


async def test_a_standby_that_is_promoted_beside_its_primary_shows_nobody_too_little(own_pair: Pair) -> None:
    """Two primaries are an operator's mistake; who reads must not see it."""
    async with replicated(own_pair, replica_max_lag_seconds=0.4) as (ask, told):
        tokens: dict[str, str] = {}

        async def pair() -> None:
            sku, mutation = new_item()
            written = await ask.client.post("/graphql", json={"query": mutation})
            tokens[sku] = written.headers[TOKEN]
            assert await find(ask, sku, tokens[sku]) == {"sku": sku}

        async def promoted() -> None:
            await asyncio.sleep(0.3)
            await asyncio.to_thread(own_pair.promote)
            await asyncio.sleep(1)

        await while_(pair, 3, promoted())
        sku, mutation = new_item()
        await ask(mutation)
        assert await find(ask, sku) == {"sku": sku}, "who brings nothing is told nothing old either"
        assert "failed" not in told


async def test_a_primary_that_fails_over_under_load_loses_nothing_that_a_standby_had(own_pair: Pair) -> None:
    """Writes wait for the standby. The primary dies, the standby is promoted: writers go on, and readers see nothing of it."""
    primary, standby = own_pair.primary, own_pair.standby
    await rows_of(primary.url, "ALTER SYSTEM SET synchronous_standby_names = '*'", "SELECT pg_reload_conf()")
    numbers = itertools.count()
    acknowledged: set[str] = set()
    unknown: set[str] = set()

    async with replicated(own_pair, database_url=own_pair.url, replica_max_lag_seconds=600.0) as (ask, _):
        first, mutation = new_item()
        await ask(mutation)
        await own_pair.caught_up()

        async def write() -> None:
            sku = f"W{next(numbers)}"
            answer = await send(ask, CREATE, {"sku": sku})
            if skus(answer):
                acknowledged.add(sku)
            elif "COMMIT_UNKNOWN" in str(answer.body):
                unknown.add(sku)

        async def read() -> None:
            assert await find(ask, first) == {"sku": first}
            await asyncio.sleep(0.01)

        async def more() -> None:
            before = len(acknowledged)

            async def acknowledges() -> bool:
                return len(acknowledged) > before + 5

            await until(acknowledges)

        async def fail_over() -> None:
            await more()
            await asyncio.to_thread(primary.stop, "immediate")
            await asyncio.to_thread(own_pair.promote)
            await more()

        await while_(write, 3, while_(read, 2, fail_over()))

    [rows] = await rows_of(standby.url, "SELECT sku FROM item WHERE sku LIKE 'W%'")
    there = {sku for (sku,) in rows}
    assert acknowledged <= there
    assert there <= acknowledged | unknown, "what was refused was not done"
    await audit_url(standby.url)


async def test_what_was_lost_with_a_primary_is_not_pretended(own_pair: Pair) -> None:
    primary, standby = own_pair.primary, own_pair.standby
    async with replicated(own_pair, database_url=own_pair.url) as (ask, _):
        await rows_of(standby.url, "ALTER SYSTEM SET primary_conninfo = ''", "SELECT pg_reload_conf()")

        async def alone() -> bool:
            return await rows_of(standby.url, "SELECT FROM pg_stat_wal_receiver") == [[]]

        await until(alone)
        sku, _ = new_item()
        create = CREATE.replace("}) { item", '}) @idempotent(key: "k") { item')
        keyed = {"query": create, "variables": {"sku": sku}}
        written = await ask.client.post("/graphql", json=keyed)
        token = written.headers[TOKEN]
        assert await find(ask, sku, token) == {"sku": sku}
        await asyncio.to_thread(primary.stop, "immediate")
        await asyncio.to_thread(own_pair.promote)

        async def heals() -> bool:
            answer = await ask.client.post("/graphql", json={"query": item_by(sku)}, headers={TOKEN: token})
            return answer.status_code == 200 and answer.json() == {"data": {"item": None}}

        await until(heals)
        again = await ask.client.post("/graphql", json=keyed)
        assert again.json()["data"]["createItem"] == {"item": {"sku": sku}, "errors": []}, "its key was lost with it"
        assert again.headers[TOKEN] != token
        assert await find(ask, sku, again.headers[TOKEN]) == {"sku": sku}
        assert await rows_of(standby.url, f"SELECT count(*) FROM item WHERE sku = '{sku}'") == [[(1,)]]


async def test_a_primary_that_may_only_be_read_any_more_is_left(own_pair: Pair) -> None:
    """It was made a standby, or read-only: connections that met it are dropped, and new ones go where can be written."""
    primary, standby = own_pair.primary, own_pair.standby
    codes: list[str] = []

    def finished(seen: StatementFinished) -> None:
        cause: Any = seen.error
        codes.append(sqlstate(cause) if cause else "")

    async with replicated(own_pair, database_url=own_pair.url) as (ask, _):
        assert skus(await send(ask, CREATE, {"sku": "BEFORE"}))
        await own_pair.caught_up()
        await asyncio.to_thread(own_pair.promote)
        await rows_of(primary.url, "ALTER SYSTEM SET default_transaction_read_only = on", "SELECT pg_reload_conf()")

        async def read_only() -> bool:
            return await rows_of(primary.url, "SHOW default_transaction_read_only") == [[("on",)]]

        await until(read_only)
        with listening(StatementFinished, finished):
            refused = await send(ask, CREATE, {"sku": "LATER"})
            assert refused.refused
        assert READ_ONLY in codes
        assert skus(await send(ask, CREATE, {"sku": "LATER"})) == "LATER"
    assert await rows_of(standby.url, "SELECT sku FROM item ORDER BY id") == [[("BEFORE",), ("LATER",)]]
    assert await rows_of(primary.url, "SELECT sku FROM item ORDER BY id") == [[("BEFORE",)]]

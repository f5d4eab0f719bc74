"""Replicas, by a real standby whose replay is held: nobody reads from before what he wrote, nor what is too old."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any

import pytest
import sqlalchemy as sa

from graph.access import api_keys
from graph.database import Database
from graph.database import heartbeat as beating
from graph.database.backends import configured, configured_replicas
from graph.database.failures import Unavailable
from graph.database.heartbeat import Heartbeat
from graph.database.protocol import Connections
from graph.database.read_after import BY_PRIMARY, ReadAfter, read_after
from graph.database.replicas import Standby
from graph.environment import from_environment
from graph.feed import sequence
from graph.feed.outbox import ChangeRow
from graph.settings import Settings, SettingsError
from tests import sockets
from tests.audit import rows_of
from tests.conftest import Ask, Statements, asking
from tests.remote import until
from tests.sockets import listening
from tests.standbys import CREATE, FIND, Pair, Told, item_by, new_item, replicated
from tests.subscribers import socket
from tests.unhurried import unhurried

TOKEN = "x-ordergraph-read-after"
PRIMARY = "postgresql://shop:s3cr3t@db/orders"
LISTENED = "subscription { changes { node { ... on Item { sku } } } }"
KEYED = (
    '{{ createItem(input: {{sku: "{}", name: "x", price: "1"}}) @idempotent(key: "{}") {{ item {{ sku }} errors {{ code }} }} }}'
)


@pytest.fixture
async def both(pair: Pair) -> AsyncIterator[tuple[Ask, Told]]:
    """The product before a primary and a standby, and what it tells of the standby."""
    async with replicated(pair, replica_max_lag_seconds=600.0) as made:
        yield made


async def write(ask: Ask, mutation: str, **variables: str) -> str:
    """The token of what a mutation wrote."""
    answer = await ask.client.post("/graphql", json={"query": mutation, "variables": variables})
    assert answer.status_code == 200, answer.text
    token: str = answer.headers[TOKEN]
    assert answer.json()["extensions"] == {"readAfter": token}
    return token


async def read(ask: Ask, query: str, token: str = "", **variables: str) -> Any:
    headers = {TOKEN: token} if token else {}
    answer = await ask.client.post("/graphql", json={"query": query, "variables": variables}, headers=headers)
    assert answer.status_code == 200, answer.text
    return answer.json()["data"]


async def test_a_query_is_answered_by_the_standby_and_after_a_write_once_it_shows_it(
    pair: Pair, both: tuple[Ask, Told], statements: Statements
) -> None:
    ask, told = both
    sku, mutation = new_item()
    await read(ask, "{ items { totalCount } }")
    assert told == ["answered"]
    await pair.pause()
    try:
        token = await write(ask, mutation)
        assert await read(ask, item_by(sku)) == {"item": None}, "the standby knows nothing of it"
        statements.clear()
        assert await read(ask, item_by(sku), token) == {"item": {"sku": sku}}
        assert len(statements) == 2, "one at the standby, one at the primary"
        assert told == ["answered", "answered", "behind"]
    finally:
        await pair.resume()
    await pair.caught_up()
    statements.clear()
    assert await read(ask, item_by(sku), token) == {"item": {"sku": sku}}
    assert len(statements) == 1
    assert told[3:] == ["answered"]


async def test_of_all_that_is_read_queries_alone_go_to_the_standby(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who may sign in, what a server does by itself, mutations, the rows that they answer and that errors name, and what
    subscribers are told."""
    asked: list[str] = []
    fetch = Standby.fetch

    async def noted(standby: Standby, sql: str, *rest: Any) -> Any:
        asked.append(sql)
        return await fetch(standby, sql, *rest)

    monkeypatch.setattr(Standby, "fetch", noted)
    async with replicated(pair, auth=True, metrics=True, replica_max_lag_seconds=600.0) as (ask, _):
        credentials = f"Bearer {await api_keys.create(ask.database, new_item()[0], ['read', 'write', 'admin'])}"
        ask.client.headers["authorization"] = credentials
        async with listening(ask.app) as server, socket(server.port) as client:
            await (await client.init(payload={"authorization": credentials})).subscribe("1", LISTENED)
            await sockets.until(lambda: ask.app.state.sequencer.listening > 0)
            sku, mutation = new_item()
            assert (await ask.data(mutation))["createItem"]["item"]["sku"] == sku
            assert await client.hears("1") == {"data": {"changes": {"node": {"sku": sku}}}}
        taken = mutation.replace("errors { code }", "errors { code ... on UniqueError { existing { ... on Item { sku } } } }")
        refused = await ask.client.post("/graphql", json={"query": taken})
        assert refused.json()["data"]["createItem"]["errors"] == [{"code": "UNIQUE", "existing": {"sku": sku}}]
        assert TOKEN not in refused.headers
        assert (await ask.client.get("/readyz")).status_code == 200
        assert (await ask.client.get("/metrics")).status_code == 200
        assert asked == []
        await ask.data(item_by(sku))
        assert len(asked) == 1
    assert "FROM item" in asked[0]


async def test_what_is_too_old_is_answered_by_the_primary(pair: Pair) -> None:
    async with replicated(pair, replica_max_lag_seconds=0.4) as (ask, told):
        sku, mutation = new_item()

        async def answered() -> bool:
            await read(ask, item_by(sku))
            return told[-1] == "answered"

        await until(answered)
        await pair.pause()
        try:
            await ask(mutation)

            async def seen() -> bool:
                return (await read(ask, item_by(sku)))["item"] is not None

            await until(seen)
            assert told[-1] in {"behind", "none"}
        finally:
            await pair.resume()
        await until(answered)


async def test_without_a_heartbeat_no_standby_is_asked(pair: Pair) -> None:
    database = Database(unhurried(pair.primary.url, replica_urls=(pair.standby.url,), replica_max_lag_seconds=600.0))
    assert database.replicas is not None
    try:
        assert await database.replicas.fetch("SELECT 1", [], 100, None) is None
        await database.replicas.heartbeat.beat()
        await pair.caught_up()
        assert await database.query("SELECT 1 WHERE pg_is_in_recovery()", []) == 1
    finally:
        await database.close()


async def test_a_beat_is_as_old_as_its_sending() -> None:
    now = 100.0
    sent: list[Any] = []

    class Primary:
        async def fetch(self, sql: str, arguments: Any, _: int) -> None:
            sent.append(arguments[1])
            if len(sent) == 3:
                raise ConnectionError

    primary: Any = Primary()
    connections: Connections = primary
    heartbeat = Heartbeat(connections, 10.0, lambda: now)
    assert heartbeat.required() is None
    await heartbeat.beat()
    now = 105.0
    await heartbeat.beat()
    assert heartbeat.required() == 1
    now = 110.1
    assert heartbeat.required() == 2, "what shows the first one may lack what was written 10.1 s ago"
    with pytest.raises(ConnectionError):
        await heartbeat.beat()
    now = 116.0
    assert heartbeat.required() == 3, "who shows it shows what was there, whoever heard of it"
    now = 121.0
    assert heartbeat.required() is None
    assert sent == [1, 2, 3]


async def test_a_heart_that_stops_is_told_once_and_what_stands_long_is_forgotten(
    pair: Pair, both: tuple[Ask, Told], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(beating, "LONGEST_SECONDS", 0.001)
    caplog.set_level("INFO", "ordergraph.database")
    old = "INSERT INTO heartbeat (process, beat, at) VALUES (1, 1, now() - interval '2 days'), (2, 1, now() - interval '2 hours')"
    await rows_of(pair.primary.url, old)
    database = both[0].database
    fetch, failures = database.fetch, 0

    class Primary:
        async def fetch(self, sql: str, arguments: Any, _: int) -> Any:
            nonlocal failures
            failures += 1
            if failures < 4:
                raise Unavailable("it is not there")
            return await fetch(sql, arguments)

    primary: Any = Primary()
    running = asyncio.create_task(Heartbeat(primary, 10.0).run())

    async def forgotten() -> bool:
        found = await rows_of(pair.primary.url, "SELECT process FROM heartbeat WHERE process IN (1, 2)")
        return found == [[(2,)]]

    await until(forgotten)
    running.cancel()
    await asyncio.wait([running])
    gone, back = [record.getMessage() for record in caplog.records if record.name == "ordergraph.database"]
    assert gone == "No heartbeat, so the primary alone answers queries before long: it is not there"
    assert back == "The heartbeat is back"


async def test_writes_are_read_back_whatever_the_replay_does(pair: Pair) -> None:
    """Writers beside each other, each of whom reads what he wrote, while the replay is held and let go at random."""
    over = False

    async def hold() -> None:
        drawn = random.Random(16)
        while not over:
            await pair.pause()
            await asyncio.sleep(drawn.uniform(0, 0.05))
            await pair.resume()
            await asyncio.sleep(drawn.uniform(0, 0.05))

    async with replicated(pair, replica_max_lag_seconds=600.0) as (ask, told):

        async def writer() -> None:
            for _ in range(40):
                sku, _ = new_item()
                token = await write(ask, CREATE, sku=sku)
                for _ in range(2):
                    assert await read(ask, FIND, token, sku=sku) == {"item": {"sku": sku}}
                    await asyncio.sleep(0.01)

        holding = asyncio.create_task(hold())
        try:
            async with asyncio.TaskGroup() as group:
                for _ in range(6):
                    group.create_task(writer())
        finally:
            over = True
            await holding
        assert set(told) == {"answered", "behind"}, "both happened"
        assert len(told) == 6 * 40 * 2


async def test_tokens_share_one_text(both: tuple[Ask, Told], statements: Statements) -> None:
    ask, _ = both
    asked = {"query": FIND, "variables": {"sku": "none"}}
    await ask.client.post("/graphql", json=asked)  # known from now on, whoever asked before
    plans = len(ask.app.state.engine.plans)
    statements.clear()
    for n in range(1, 301):
        made = str(ReadAfter.of(n, datetime.now(UTC)))
        answer = await ask.client.post("/graphql", json=asked, headers={TOKEN: made})
        assert answer.json() == {"data": {"item": None}}
    assert len(ask.app.state.engine.plans) == plans
    of_items = {sql for sql in statements.sql if "FROM item" in sql}  # the server has work of its own beside it
    assert len(of_items) == 2, "the standby's and the primary's"


DAMAGED = [
    "x",
    "1",
    "1.",
    ".1",
    "1.1.1",
    "-1.1",
    "G.1",
    "1.1 ",
    "1" * 17 + ".1",
    "1." + "f" * 15,
    "8" + "0" * 15 + ".1",
    "é.1",
    "1.1, 2.2",
]


async def test_a_token_that_is_damaged_forged_or_of_another_shop_is_answered_by_the_primary(
    pair: Pair, both: tuple[Ask, Told]
) -> None:
    ask, told = both
    sku, mutation = new_item()
    await pair.pause()
    try:
        await ask(mutation)
        for text in [*DAMAGED, str(BY_PRIMARY), "0.0", "ffff.1", "7" + "f" * 15 + ".ffffffffffffff"]:
            in_header = {"json": {"query": item_by(sku)}, "headers": {TOKEN: text.encode("latin-1")}}
            in_body = {"json": {"query": item_by(sku), "extensions": {"readAfter": text}}}
            for given in (in_header, in_body):
                answer = await ask.client.post("/graphql", **given)
                assert (answer.status_code, answer.json()) == (200, {"data": {"item": {"sku": sku}}}), text
        assert "answered" not in told
    finally:
        await pair.resume()


@pytest.mark.parametrize("text", [None, 1, [], {}, True, *DAMAGED])
def test_what_is_no_token_leads_to_the_primary(text: Any) -> None:
    assert read_after(text) == BY_PRIMARY


def test_a_token_is_read_as_it_is_written() -> None:
    made = ReadAfter.of(2**63 - 2, datetime(2026, 7, 31, 23, 59, 59, 999_999, UTC))
    assert read_after(str(made)) == made
    assert read_after(str(BY_PRIMARY)) == BY_PRIMARY


async def test_a_row_of_the_same_id_from_another_time_proves_nothing(both: tuple[Ask, Told]) -> None:
    """A promoted standby may give an id again whose first transaction was lost."""
    ask, told = both
    _, mutation = new_item()
    made = read_after(await write(ask, mutation))
    await read(ask, "{ items { totalCount } }", str(ReadAfter(made.change, made.microseconds + 1)))
    assert told == ["behind"]


async def test_a_write_that_was_done_before_is_read_from_the_primary(pair: Pair, both: tuple[Ask, Told]) -> None:
    ask, told = both
    sku, _ = new_item()
    keyed = "mutation " + KEYED.format(sku, sku)
    await pair.pause()
    try:
        first = await write(ask, keyed)
        again = await write(ask, keyed)
        assert first != again == str(BY_PRIMARY)
        assert await read(ask, item_by(sku), again) == {"item": {"sku": sku}}
        assert told == ["none"], "not asked in vain"
        other, _ = new_item()
        fields = KEYED.format(sku, sku)[1:-1], KEYED.format(other, other)[1:-1].replace("createItem", "other: createItem")
        token = await write(ask, f"mutation @atomic {{ {' '.join(fields)} }}")
        assert read_after(token).change > read_after(first).change, "the transaction that wrote last shows both"
        assert token != str(BY_PRIMARY)
    finally:
        await pair.resume()


@pytest.mark.parametrize(
    "mutation",
    [
        'mutation @dryRun { createItem(input: {sku: "NEVER", name: "x", price: "1"}) { item { sku } } }',
        'mutation { updateItem(input: {id: "Item:999999", name: "x"}) { errors { code } } }',
    ],
)
async def test_what_wrote_nothing_has_no_token(both: tuple[Ask, Told], mutation: str) -> None:
    answer = await both[0].client.post("/graphql", json={"query": mutation})
    assert answer.status_code == 200
    assert TOKEN not in answer.headers
    assert "extensions" not in answer.json()


async def test_a_cursor_that_is_newer_than_the_standby_is_not_expired(pair: Pair, both: tuple[Ask, Told]) -> None:
    ask, _ = both
    _, mutation = new_item()
    await pair.pause()
    try:
        await ask(mutation)
        while await sequence.number_some(ask.database):
            pass
        [[(position,)]] = await rows_of(pair.primary.url, "SELECT max(position) FROM changes")
        [[(cursor,)]] = [[(ChangeRow(position=position).cursor,)]]
        found = await read(ask, f'{{ changes(after: "{cursor}") {{ nodes {{ cursor }} }} }}')
        assert found == {"changes": {"nodes": []}}
    finally:
        await pair.resume()


async def test_without_replicas_nothing_is_told_and_nothing_asked(postgres_url: str, statements: Statements) -> None:
    async with asking(unhurried(postgres_url)) as ask:
        sku, mutation = new_item()
        answer = await ask.client.post("/graphql", json={"query": mutation})
        assert TOKEN not in answer.headers
        assert "extensions" not in answer.json()
        # No statement beside the payload's own is there for what nobody is to be told.
        assert [sql.split("(")[0].strip() for sql in statements.sql if "INTO changes" in sql] == ["WITH kept AS"]
        statements.clear()
        assert await read(ask, item_by(sku), "1.1") == {"item": {"sku": sku}}
        assert len(statements) == 1
        assert "heartbeat" not in statements.sql[0]
    assert await rows_of(postgres_url, "SELECT FROM heartbeat") == [[]]


# Settings


def test_replicas_of_a_file_are_a_contradiction() -> None:
    with pytest.raises(SettingsError, match="ORDERGRAPH_REPLICA_URLS is set, but DATABASE_URL is a file on SQLite, which nobody"):
        configured(from_environment({"ORDERGRAPH_REPLICA_URLS": "postgresql://db"}))


def test_several_replicas_each_with_several_hosts() -> None:
    urls = "postgresql://shop:s3cr3t@one:1,two:2/orders?target_session_attrs=standby, postgresql://three/orders"
    settings = from_environment({"DATABASE_URL": PRIMARY, "ORDERGRAPH_REPLICA_URLS": urls})
    one, three = configured_replicas(settings)
    assert (one.hosts, three.hosts) == ((("one", 1), ("two", 2)), (("three", None),))
    assert one.replica
    assert not configured(settings).replica
    assert "s3cr3t" not in repr(settings)


@pytest.mark.parametrize(
    ("url", "reason"), [("sqlite:///x.db", "of the same kind"), ("s3cr3t", "it must be"), ("postgresql://a?b=c", "b")]
)
def test_a_replica_that_cannot_be_used_is_one_sentence(url: str, reason: str) -> None:
    with pytest.raises(SettingsError, match="ORDERGRAPH_REPLICA_URLS: ") as refusal:
        configured(Settings(database_url=PRIMARY, replica_urls=(url,)))
    assert reason in str(refusal.value)
    assert "s3cr3t" not in str(refusal.value)


async def test_writes_and_reads_of_the_products_own_run_on_the_primary(both: tuple[Ask, Told]) -> None:
    database = both[0].database
    assert await database.fetch("SELECT pg_is_in_recovery()", []) is False
    assert await database.query("SELECT pg_is_in_recovery()", []) is True
    assert both[1] == ["answered"]
    async with database.session() as session:
        assert await session.scalar(sa.text("SELECT pg_is_in_recovery()")) is False


async def test_what_is_closed_leaves_no_connection_to_the_primary(pair: Pair) -> None:
    """Those of the heartbeat stand beside the others."""
    open_ = "SELECT count(*) > 0 FROM pg_stat_activity WHERE datname = current_database() AND application_name = 'ordergraph'"
    async with replicated(pair):
        assert await rows_of(pair.primary.url, open_) == [[(True,)]]

    async def closed() -> bool:
        return await rows_of(pair.primary.url, open_) == [[(False,)]]

    await until(closed)

"""One task for the feeds of all shops: those are visited where somebody listens or has written, and no others."""

from __future__ import annotations

import asyncio
import re
from collections import Counter
from collections.abc import AsyncIterator

import pytest

from graph.context import Context
from graph.database import Database
from graph.database.failures import Unavailable
from graph.database.shops import Databases
from graph.feed import rota as rota_
from graph.feed import sequence
from graph.feed.rota import Rota
from graph.feed.sequence import LISTENING_SECONDS, Sequencer, waiting_since
from graph.observations import StatementBegan, listening
from graph.schema import schema
from tests.deployments import deployment
from tests.sockets import until

#: Those that are there; a statement that is sent to another one fails.
REAL = ("acme", "bolt", "cork")
NAMES = (*REAL, *(f"shop{number}" for number in range(47)))
CREATE = 'mutation { createItem(input: {sku: "A", name: "A", price: "1"}) { errors { code } } }'


@pytest.fixture
async def databases(shops_url: str) -> AsyncIterator[Databases]:
    databases = Databases(await deployment(shops_url, *REAL))
    try:
        yield databases
    finally:
        await databases.close()


async def write(database: Database) -> None:
    context = Context(database)
    try:
        answer = await schema.execute(CREATE, {}, context)
    finally:
        await context.close()
    assert answer.errors is None, answer.errors


def shop_in(sql: str) -> str:
    """Whose tables a statement names."""
    (found,) = set(re.findall(r'"shop_([a-z0-9]+)"', sql))
    return str(found)


async def test_of_fifty_shops_those_are_visited_where_somebody_listens_or_has_written(databases: Databases) -> None:
    rota = Rota(one_writer=databases.main.capabilities.one_writer)
    rota.idle_seconds = 0.05
    sequencers = {name: rota.sequencer(databases.of(name)) for name in NAMES}
    embedded = databases.main.capabilities.embedded
    sent: list[StatementBegan] = []
    numbered = asyncio.Event()
    sequencers["bolt"].numbered.append(numbered.set)
    await write(databases.of("bolt"))
    with listening(StatementBegan, sent.append):
        running = asyncio.create_task(rota.run())
        sequencers["acme"].listening = 1
        sequencers["acme"].ring()
        if embedded:  # a file has one writer, who gives the positions
            await asyncio.sleep(0.1)
        else:
            await until(lambda: numbered.is_set() and sum(each.sql.startswith(rota_sql("acme")) for each in sent) > 20)
        running.cancel()
    seen = Counter(shop_in(each.sql) for each in sent if "shop_" in each.sql)
    assert seen.keys() == (set() if embedded else {"acme", "bolt"})
    assert embedded or seen["bolt"] == len([sequence.WAITING, sequence.HELD, sequence.NUMBERED])
    assert [await waiting_since(databases.of(name)) for name in REAL] == [None] * 3


def rota_sql(shop: str) -> str:
    """What a look at a shop is."""
    return sequence.WAITING.replace("[shop]", f"shop_{shop}")


async def test_the_more_shops_are_listened_to_the_longer_each_waits_for_what_others_write(databases: Databases) -> None:
    rota = Rota(one_writer=databases.main.capabilities.one_writer)
    assert rota.pace() == LISTENING_SECONDS
    made = [rota.sequencer(databases.of(name)) for name in NAMES]
    for sequencer in made:
        sequencer.listening = 1
        sequencer.ring()
    assert rota.pace() == len(NAMES) * rota_.EACH_SECONDS
    for sequencer in made:
        sequencer.listening = 0
        sequencer.ring()
    assert rota.pace() == LISTENING_SECONDS


@pytest.fixture
def looked(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Which databases are looked at; `bolt` does not answer."""
    looked: list[str] = []

    async def number(database: Database) -> int:
        looked.append(str(database.shop))
        if database.shop == "bolt":
            raise Unavailable("away")
        return 0

    monkeypatch.setattr(sequence, "number_some", number)
    return looked


def parts(rota: Rota, databases: Databases) -> dict[str, Sequencer]:
    """The sequencers of some shops, which are visited on either database."""
    return {name: rota.sequencer(databases.of(name)) for name in REAL}


async def test_a_shop_that_does_not_answer_is_told_of_once_and_keeps_no_other_waiting(
    databases: Databases, looked: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    rota = Rota()
    rota.idle_seconds = 0.01
    sequencers = parts(rota, databases)
    running = asyncio.create_task(rota.run())
    for name in ("bolt", "acme"):
        sequencers[name].listening = 1
        sequencers[name].ring()
    await until(lambda: looked.count("bolt") > 3 and looked.count("acme") > 3)
    assert rota.lag() > 0
    assert "cork" not in looked
    (told,) = [record for record in caplog.records if record.levelname == "WARNING"]
    assert getattr(told, "measured", None) == {"shop": "bolt"}
    rota.leave(sequencers["bolt"])
    await asyncio.sleep(0.05)
    sequencers["bolt"].ring()
    looked.clear()
    await until(lambda: looked.count("acme") > 3)
    assert set(looked) == {"acme"}
    assert rota.lag() < 10
    running.cancel()


async def test_what_is_written_while_a_shop_is_visited_is_numbered_too(
    databases: Databases, monkeypatch: pytest.MonkeyPatch
) -> None:
    rota, going_on, visits = Rota(), asyncio.Event(), 0

    async def number(_: Database) -> int:
        nonlocal visits
        visits += 1
        await going_on.wait()
        return 0

    monkeypatch.setattr(sequence, "number_some", number)
    monkeypatch.setattr(rota_, "LISTENING_SECONDS", 3_600)
    rota.idle_seconds = 3_600
    sequencer = parts(rota, databases)["acme"]
    running = asyncio.create_task(rota.run())
    sequencer.listening = 1
    sequencer.ring()
    await until(lambda: visits == 1)
    sequencer.ring()
    await asyncio.sleep(0.05)
    assert visits == 1
    going_on.set()
    await until(lambda: visits == 2)
    running.cancel()

"""A crowd that writes: those who must wait hold nothing, and take no time from those whose turn it is."""

from __future__ import annotations

import asyncio
import logging
from functools import partial
from math import inf
from typing import Any

import pytest

from graph.database.cluster import AHEAD
from graph.database.turns import Patience, Turns
from graph.operations.engine import Engine
from tests.sockets import until
from tests.words import count
from tests.write.crowd import AskWith

CREATE = 'mutation { createItem(input: {sku: "%d", name: "n", price: 1}) { errors { code } } }'
DONE: dict[str, Any] = {"data": {"createItem": {"errors": []}}}


async def test_few_of_a_crowd_are_prepared_at_once(ask_with: AskWith, monkeypatch: pytest.MonkeyPatch) -> None:
    at_once: list[int] = []
    inside, mutation = 0, Engine._mutation

    async def counted(*arguments: Any) -> Any:
        nonlocal inside
        inside += 1
        at_once.append(inside)
        try:
            return await mutation(*arguments)
        finally:
            inside -= 1

    monkeypatch.setattr(Engine, "_mutation", counted)
    async with ask_with(pool_size=1) as ask:
        answers = await asyncio.gather(*(ask._send(CREATE % number) for number in range(3 * AHEAD)))
        assert max(at_once) == AHEAD
        assert {bytes(answer) for answer in answers} == {b'{"data":{"createItem":{"errors":[]}}}'}
        assert await count(ask) == (0, 0, 3 * AHEAD)


async def test_who_waits_too_long_is_told_and_nothing_is_written(ask_with: AskWith) -> None:
    async with ask_with(pool_size=1) as ask:
        line = ask.app.state.database.line
        line._seconds = 0.1
        for _ in range(AHEAD):
            await line.__aenter__()
        (error,) = (await ask(CREATE % 1))["errors"]
        assert error["extensions"]["code"] == "SERVICE_UNAVAILABLE"
        assert await count(ask) == (0, 0, 0)  # reads stand in no line of writers
        for _ in range(AHEAD):
            await line.__aexit__()
        assert await ask(CREATE % 1) == DONE


def waits(turns: Turns) -> bool:
    """Whether one waits for his turn."""
    return turns.waiting == 1


async def test_who_comes_late_to_his_turn_under_too_much_load_gives_way(
    ask_with: AskWith, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "ordergraph")
    made = count_of = 0
    async with ask_with(pool_size=1) as ask:
        database = ask.app.state.database
        monkeypatch.setattr(Patience, "seconds", 0.0)
        for turns in (database.line, database.primary.turns):
            for limit, codes in ((0.0, set[str]()), (inf, {"SERVICE_UNAVAILABLE"})):
                monkeypatch.setattr(Patience, "until", limit)
                first, second = ((CREATE % (made + n))[11:-2] for n in (1, 2))
                made += 2
                for _ in range(turns.connections):
                    await turns.__aenter__()
                asked = asyncio.create_task(ask(f"mutation {{ a: {first} b: {second} }}"))
                await until(partial(waits, turns))
                for _ in range(turns.connections):
                    await turns.__aexit__()
                assert {error["extensions"]["code"] for error in (await asked).get("errors", ())} == codes
                count_of += 0 if codes else 2
                assert await count(ask) == (0, 0, count_of)  # nobody was before this
    assert not [record for record in caplog.records if record.name != "ordergraph.slow"]

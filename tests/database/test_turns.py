"""Turns: who may write next, in the order in which they came."""

from __future__ import annotations

import asyncio

import pytest

from graph.database.failures import Unavailable
from graph.database.turns import Turns


async def test_turns_come_in_order() -> None:
    turns, came, leave = Turns(2, 60), list[int](), asyncio.Event()

    async def stay(number: int) -> None:
        async with turns:
            came.append(number)
            await leave.wait()

    waiting = [asyncio.create_task(stay(number)) for number in range(6)]
    await asyncio.sleep(0)
    waiting[2].cancel()
    await asyncio.sleep(0)
    assert came == [0, 1]
    leave.set()
    waiting.append(asyncio.create_task(stay(6)))  # a turn is free, and others wait for it
    await asyncio.gather(*waiting, return_exceptions=True)
    assert came == [0, 1, 3, 4, 5, 6]


async def test_who_waits_too_long_for_a_turn_is_told_and_takes_none() -> None:
    turns = Turns(1, 0.05)
    async with turns:
        for _ in range(3):
            with pytest.raises(Unavailable):
                await turns.__aenter__()
    for _ in range(2):
        async with turns:
            pass

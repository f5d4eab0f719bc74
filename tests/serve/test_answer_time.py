"""The time in which a request is answered whose transactions were given up, by the clock of the test."""

from __future__ import annotations

import asyncio

from graph.serve.answer_time import AnswerTime
from tests.later import put_forward


async def test_it_begins_when_transactions_are_given_up_however_late_that_is() -> None:
    loop = asyncio.get_running_loop()
    async with asyncio.timeout(1_000) as limit:
        with AnswerTime(limit, loop.time() + 900, 100):
            assert limit.when() is None
            put_forward(5_000)
            for _ in range(2):
                await asyncio.sleep(0)  # what was to happen meanwhile happens
            when = limit.when()
            assert when is not None
            assert loop.time() < when <= loop.time() + 100
        assert limit.when() == when


async def test_what_follows_has_its_limit_too() -> None:
    loop = asyncio.get_running_loop()
    async with asyncio.timeout(1_000) as limit:
        given_up = loop.time() + 900
        with AnswerTime(limit, given_up, 100):
            await asyncio.sleep(0)
        assert limit.when() == given_up + 100
        with AnswerTime(limit, given_up, 100):
            put_forward(5_000)  # and it ended before anything was given up
        when = limit.when()
        assert when is not None
        assert loop.time() < when <= loop.time() + 100

"""Who is let in, by what was measured of the requests before: after all stood still, and while many come back too soon."""

from __future__ import annotations

import asyncio

import pytest

from graph.serve import admission
from graph.serve.admission import (
    BORNE_SECONDS,
    BURST_SECONDS,
    BUSY,
    FEW,
    MEMORY_SECONDS,
    PAUSE_SECONDS,
    TIMES_ALONE,
    TOLD_AT_ONCE,
    TOLD_FOR_ONE,
    TOLD_SECONDS,
    Admission,
)
from tests.later import Clock
from tests.remote import HANGS_SECONDS

MOST_SECONDS = 3.0


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock(1_000.0)
    monkeypatch.setattr(admission, "perf_counter", made)
    return made


def served(admitted: Admission, clock: Clock, number: int, each_seconds: float) -> None:
    """So many requests come at once, and are answered one after the other."""
    for _ in range(number):
        admitted.began()
    for _ in range(number):
        clock.now += each_seconds
        admitted.ended()


def crowd(admitted: Admission, number: int) -> int:
    """How many of a crowd that comes at once are let in."""
    let_in = 0
    for _ in range(number):
        if admitted.admits():
            admitted.began()
            let_in += 1
    return let_in


def test_after_all_stood_still_for_once_a_crowd_is_let_in_as_before(clock: Clock) -> None:
    """Each connection was forgotten, a process was stopped: the next answers come as fast as ever."""
    admitted = Admission(MOST_SECONDS)
    served(admitted, clock, 100, 0.001)
    each_seconds = admitted.each_seconds
    for _ in range(6):
        admitted.began()
    clock.now += 6.2
    for _ in range(6):
        admitted.ended()
        clock.now += 0.001
    assert admitted.each_seconds <= each_seconds
    assert crowd(admitted, 40) == 40


def test_one_alone_who_stood_still_does_not_lengthen_the_line(clock: Clock) -> None:
    admitted = Admission(MOST_SECONDS)
    for _ in range(100):
        served(admitted, clock, 1, 0.002)
    alone_seconds = admitted.alone_seconds
    served(admitted, clock, 1, 6.2)
    assert admitted.alone_seconds == alone_seconds


@pytest.mark.parametrize("bunch", [1, 2])
def test_where_answers_stay_far_apart_a_crowd_is_refused(clock: Clock, bunch: int) -> None:
    """One at a time, or some together with as long between them: only the first time may be by chance."""
    admitted = Admission(MOST_SECONDS)
    served(admitted, clock, 100, 0.001)
    for _ in range(10):
        admitted.began()
    for _ in range(10 // bunch):
        clock.now += MEMORY_SECONDS + 0.1
        for _ in range(bunch):
            admitted.ended()
    assert admitted.each_seconds > MEMORY_SECONDS / 3
    assert crowd(admitted, 40) == FEW


def test_under_too_much_load_the_line_is_as_long_as_a_wait_that_nobody_minds(clock: Clock) -> None:
    admitted = Admission(MOST_SECONDS)
    for _ in range(200):
        served(admitted, clock, 1, 0.002)
    served(admitted, clock, 1_000, 0.001)
    assert admitted.alone_seconds < BORNE_SECONDS / TIMES_ALONE
    for _ in range(10 * FEW):  # longer than a burst may be
        clock.now += BURST_SECONDS / 4
        if admitted.admits():
            admitted.began()
    while admitted.working:
        admitted.ended()
    assert crowd(admitted, 40) == int(BORNE_SECONDS / admitted.each_seconds) + 1


async def told_at_once(admitted: Admission, waiting: int, monkeypatch: pytest.MonkeyPatch) -> int:
    """How many of those who wait are told with the first of them."""
    heard, first = list[int](), asyncio.Event()

    def tell() -> None:
        heard.append(1)
        first.set()
        monkeypatch.setattr(admission, "PAUSE_SECONDS", 10 * HANGS_SECONDS)  # until the next ones

    for _ in range(waiting):
        admitted.early.add(tell)
    async with asyncio.timeout(HANGS_SECONDS):
        await first.wait()
    assert len(admitted.early.waiting) == waiting - len(heard)
    return len(heard)


@pytest.mark.parametrize(
    ("each_seconds", "told"),
    [(0.0, TOLD_AT_ONCE), (0.000_1, TOLD_AT_ONCE), (0.002, TOLD_FOR_ONE * 5), (PAUSE_SECONDS, TOLD_FOR_ONE), (1.0, 1)],
)
async def test_those_who_come_back_too_soon_are_told_so_as_time_allows(
    monkeypatch: pytest.MonkeyPatch, each_seconds: float, told: int
) -> None:
    admitted = Admission(MOST_SECONDS)
    admitted.each_seconds, admitted.working = each_seconds, BUSY
    assert await told_at_once(admitted, 2 * TOLD_AT_ONCE, monkeypatch) == told


async def test_where_nobody_would_be_held_up_many_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    admitted = Admission(MOST_SECONDS)
    admitted.each_seconds, admitted.working = 1.0, BUSY - 1
    assert await told_at_once(admitted, 2 * TOLD_AT_ONCE, monkeypatch) == TOLD_AT_ONCE


async def test_where_many_wait_to_be_told_all_are_within_some_seconds(monkeypatch: pytest.MonkeyPatch) -> None:
    admitted = Admission(MOST_SECONDS)
    admitted.each_seconds, admitted.working = 1.0, BUSY
    assert await told_at_once(admitted, int(10 * TOLD_SECONDS / PAUSE_SECONDS), monkeypatch) == 10

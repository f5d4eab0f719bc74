"""The hub before a feed in memory: nothing is missed and nothing told twice, whoever joins when; what is shared and bounded.

Fault 20 of docs/reliability.md.
"""

from __future__ import annotations

import asyncio
from contextlib import aclosing, suppress
from dataclasses import dataclass, field
from itertools import accumulate

import pytest
from hypothesis import given
from hypothesis import strategies as st

from graph.database.failures import Unavailable
from graph.feed import hub as hub_
from graph.feed.events import Events, Expired, Seen, Told, TooSlow
from graph.feed.hub import Hub
from tests.sockets import until


@dataclass
class Memory:
    """A feed of numbers, each of a type."""

    types: list[str] = field(default_factory=list)
    oldest: int = 0
    page: int = 3
    down: bool = False

    def add(self, *types: str) -> None:
        self.types += types

    async def bounds(self) -> tuple[int, int]:
        await self.answer()
        return self.oldest, len(self.types)

    async def look(self, after: int) -> Seen:
        await self.answer()
        if not self.oldest <= after <= len(self.types):
            raise Expired(min(max(after, self.oldest), len(self.types)))
        end = min(len(self.types), after + self.page)
        return Seen(end, frozenset(self.types[after:end]))

    async def answer(self) -> None:
        await asyncio.sleep(0)
        if self.down:
            raise Unavailable("down")


@dataclass
class Reads:
    """What a group reads: the events of a type, a few at a time."""

    feed: Memory
    type: str = "a"
    size: int = 2
    reads: int = 0
    broken: bool = False

    def concerns(self, seen: Seen) -> bool:
        return self.type in seen.types

    async def read(self, after: int, known: int) -> Events:
        self.reads += 1
        if self.broken:
            raise ValueError("broken")
        await self.feed.answer()
        found = [n for n, type_ in enumerate(self.feed.types, 1) if type_ == self.type and n > after][: self.size]
        events = [Told(n, f"{n}", f"text {n}") for n in found]
        return Events(events, found[-1] if len(found) == self.size else max([known, *found]))


async def taken(hub: Hub, reads: Reads, after: int | None, number: int, pause: bool = False) -> list[int]:
    """The positions of so many events."""
    found: list[int] = []
    async with aclosing(hub.listen(reads.type, reads, after)) as events:
        while len(found) < number:
            found.append((await anext(events)).position)
            if pause:
                await asyncio.sleep(0)
    return found


@given(
    steps=st.lists(
        st.one_of(st.sampled_from("ab"), st.integers(0, 30), st.just("pause"), st.just("down"), st.just("up")), max_size=40
    )
)
async def test_every_subscriber_is_told_every_event_after_its_cursor_once_and_in_order(steps: list[str | int]) -> None:
    before, feed = len(asyncio.all_tasks()), Memory()
    hub = Hub(feed, 100)
    hub_.PAUSE_SECONDS, old = 0.001, hub_.PAUSE_SECONDS
    joined: list[tuple[int, asyncio.Task[None], list[int]]] = []

    async def collect(after: int, found: list[int]) -> None:
        while True:  # as a client that is refused or dropped comes back with its last cursor
            with suppress(Unavailable):
                async with aclosing(hub.listen("a", Reads(feed), found[-1] if found else after)) as events:
                    async for event in events:
                        found.append(event.position)  # noqa: PERF401  # others look at it meanwhile
            await asyncio.sleep(0.001)

    try:
        for step in steps:
            if step in ("a", "b"):
                feed.add(str(step))
                hub.wake()
            elif step == "pause":
                await asyncio.sleep(0.002)
            elif step in ("down", "up"):
                feed.down = step == "down" and bool(joined)
            elif not feed.down:
                after, found = min(int(step), len(feed.types)), list[int]()
                joined.append((after, asyncio.create_task(collect(after, found)), found))
                await asyncio.sleep(0)
        feed.down = False
        wanted = [n for n, type_ in enumerate(feed.types, 1) if type_ == "a"]
        expected = [[n for n in wanted if n > after] for after, _, _ in joined]
        await until(lambda: all(len(found) >= len(e) for (_, _, found), e in zip(joined, expected, strict=True)))
        await asyncio.sleep(0.003)
        assert [found for _, _, found in joined] == expected
    finally:
        for _, task, _ in joined:
            task.cancel()
        await asyncio.gather(*(task for _, task, _ in joined), return_exceptions=True)
        hub_.PAUSE_SECONDS = old
    assert hub.members == 0
    assert len(asyncio.all_tasks()) == before


async def test_a_thousand_subscribers_share_what_is_read_and_those_it_does_not_concern_read_nothing() -> None:
    before = len(asyncio.all_tasks())
    feed = Memory()
    counted: list[int] = []
    hub = Hub(feed, 100, counted.append)
    shared, other = Reads(feed, size=100), Reads(feed, "b")
    tasks = [asyncio.create_task(taken(hub, shared, None, 4)) for _ in range(1_000)]
    idle = asyncio.create_task(taken(hub, other, None, 1))
    await until(lambda: hub.members == 1_001)
    feed.add("a", "a")
    hub.wake()
    await until(lambda: shared.reads == 1)
    feed.add("a", "a", "c")
    hub.wake()
    assert await asyncio.gather(*tasks) == [[1, 2, 3, 4]] * 1_000
    assert shared.reads <= 4  # as many as there were pages that told of one
    assert other.reads == 0
    assert max(accumulate(counted)) == 1_001
    idle.cancel()
    await asyncio.gather(idle, return_exceptions=True)
    assert hub.members == sum(counted) == 0
    assert len(asyncio.all_tasks()) == before


async def test_who_lets_too_many_wait_is_ended_after_what_fits_and_the_others_go_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hub_, "ROOM_SECONDS", 0.02)
    feed = Memory()
    hub = Hub(feed, 5)
    async with aclosing(hub.listen("a", Reads(feed), None)) as slow:
        fast = asyncio.create_task(taken(hub, Reads(feed), None, 20))
        first = asyncio.create_task(anext(slow))
        await until(lambda: hub.members == 2)
        await asyncio.sleep(0.05)
        feed.add(*"a" * 20)
        hub.wake()
        assert (await first).position == 1
        assert await fast == list(range(1, 21))
        told = list[int]()

        async def take_all() -> None:
            async for event in slow:
                told.append(event.position)  # it ends with an error

        with pytest.raises(TooSlow):
            await take_all()
        assert told == list(range(2, 2 + len(told)))
        assert len(told) <= 5
    assert await taken(hub, Reads(feed), 1 + len(told), 19 - len(told)) == list(range(2 + len(told), 21))


async def test_all_groups_together_wait_but_once_for_who_has_no_room(monkeypatch: pytest.MonkeyPatch) -> None:
    waits, sleep, wait = list[float](), asyncio.sleep, hub_.POLL_SECONDS / 4

    async def counted(seconds: float) -> None:
        waits.extend([seconds] * (seconds == wait))
        await sleep(seconds)

    monkeypatch.setattr(asyncio, "sleep", counted)
    monkeypatch.setattr(hub_, "ROOM_SECONDS", 10 * wait)
    stalled = [f"s{number}" for number in range(40)]
    feed = Memory(page=1_000)
    hub = Hub(feed, 1)
    tasks = [asyncio.create_task(taken(hub, Reads(feed, type_), None, 1)) for type_ in (*stalled, "a")]
    await until(lambda: hub.members == len(tasks))
    await sleep(0.01)
    feed.add(*stalled, *stalled, "a")  # two of each at once, where one may wait
    hub.wake()
    assert await tasks.pop() == [81]
    assert {type(end) for end in await asyncio.gather(*tasks, return_exceptions=True)} == {TooSlow}
    assert 0 < len(waits) <= 11 * hub_.AT_ONCE


async def test_a_cursor_that_is_too_old_or_of_another_feed_is_told_the_oldest_that_works() -> None:
    feed = Memory(types=["a"] * 9, oldest=4)
    hub = Hub(feed, 100)
    for after in (0, 3, 10):
        with pytest.raises(Expired) as expired:
            await taken(hub, Reads(feed), after, 1)
        assert expired.value.oldest == 4
    assert await taken(hub, Reads(feed), 4, 5) == [5, 6, 7, 8, 9]


async def test_who_is_behind_when_changes_are_deleted_is_told_so_and_misses_none_silently() -> None:
    feed = Memory(types=["a"] * 9)
    hub = Hub(feed, 100)
    async with aclosing(hub.listen("a", Reads(feed), 0)) as events:
        assert [(await anext(events)).position for _ in range(2)] == [1, 2]
        feed.oldest = 8
        with pytest.raises(Expired):
            await anext(events)  # what is read next may have lost some


@pytest.mark.parametrize("way", ["changes are deleted before they are told", "the feed goes back"])
async def test_who_listens_to_a_feed_that_does_not_go_on_after_what_was_told_is_told_so(way: str) -> None:
    feed = Memory(types=["a"] * 6)
    hub = Hub(feed, 100)
    async with aclosing(hub.listen("a", Reads(feed), 0)) as behind:
        assert (await anext(behind)).position == 1
        listening = [asyncio.create_task(taken(hub, Reads(feed, type_), None, 1)) for type_ in "ab"]
        await until(lambda: hub.members == 3)
        await asyncio.sleep(0.01)
        if way == "the feed goes back":
            feed.types = ["a"] * 3
        else:
            feed.types, feed.oldest = [*"aaaaaabaa"], 8
        hub.wake()
        assert {type(end) for end in await asyncio.gather(*listening, return_exceptions=True)} == {Expired}
        later = asyncio.create_task(taken(hub, Reads(feed), None, 1))
        await until(lambda: hub.members == 2)

        async def to_the_end() -> None:
            async for event in behind:
                assert event.position <= len(feed.types)

        with pytest.raises(Expired):
            await to_the_end()
        feed.add("a")
        hub.wake()
        assert await later == [len(feed.types)]
    assert hub.members == 0


async def test_a_group_whose_events_cannot_be_read_ends_alone() -> None:
    feed = Memory()
    hub = Hub(feed, 100)
    broken = asyncio.create_task(taken(hub, Reads(feed, "b", broken=True), None, 1))
    whole = asyncio.create_task(taken(hub, Reads(feed), None, 2))
    await until(lambda: hub.members == 2)
    await asyncio.sleep(0.01)
    feed.add("b", "a", "a")
    hub.wake()
    with pytest.raises(ValueError, match="broken"):
        await broken
    assert await whole == [2, 3]

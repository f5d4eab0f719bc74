"""The hub: one reader of the outbox per process, and the subscribers it wakes.

What goes in: groups, each with what its events are read by, and subscribers with the position they go on after. What comes out:
events, in order, without gap or repetition, read once for all subscribers of a group. What may be refused here: `TooSlow` to a
subscriber that lets more events wait than it may, and whatever reading its events refuses.

A subscriber that is behind reads by itself, page by page, until it is where its group is; from then on its group reads for it.
The hub looks at once when this process has committed something, and every few milliseconds for what others did. Of a change it
reads only whom it concerns: a group none of whose events are there sends no statement. While nobody listens nothing runs.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import AsyncGenerator, Callable, Hashable, Sequence
from contextlib import suppress

from graph.database.failures import Unavailable
from graph.feed.events import Events, EventSource, Expired, Feed, Seen, Told, TooSlow

logger = logging.getLogger("ordergraph.feed")

#: How often others' changes are looked for.
POLL_SECONDS = 0.02
#: How long the groups together wait, once a page of the outbox, for subscribers who have no room.
ROOM_SECONDS = 0.5
#: How long the hub waits after the database did not serve.
PAUSE_SECONDS = 0.25
#: Groups that are read for at the same time.
AT_ONCE = 4
#: How often one who is behind tries again before it is told that the database does not serve.
TRIES = 40


class Listener:
    """One subscriber that is where its group is."""

    def __init__(self, position: int, most: int) -> None:
        self.position = position
        self.most = most
        self.waiting: deque[Told] = deque()
        self.ended: BaseException | None = None
        self._wake = asyncio.Event()

    def room(self) -> int:
        """How many more events may wait."""
        return self.most - len(self.waiting)

    def put(self, events: Sequence[Told]) -> None:
        new = [event for event in events if event.position > self.position]
        if not new:
            return
        if len(new) > self.room():
            self.end(TooSlow())
            return
        self.position = new[-1].position
        self.waiting += new
        self._wake.set()

    def end(self, error: BaseException) -> None:
        self.ended = error
        self._wake.set()

    async def take(self) -> Told:
        """The next event. Raises what ended the subscription, after the events before it."""
        while not self.waiting:
            if self.ended is not None:
                raise self.ended
            self._wake.clear()
            await self._wake.wait()
        return self.waiting.popleft()


class RoomTime:
    """The time that is left for listeners who have no room: one for all groups, from when the first of them waits."""

    def __init__(self) -> None:
        self._until: float | None = None

    def lasts(self) -> bool:
        now = asyncio.get_running_loop().time()
        if self._until is None:
            self._until = now + ROOM_SECONDS
        return now < self._until


class Audience:
    """Subscribers who are told the same."""

    def __init__(self, reader: EventSource, position: int) -> None:
        self.reader = reader
        self.position = position
        self.listeners: set[Listener] = set()
        self.members = 0  # with those that are still behind
        self.lost: Expired | None = None

    async def advance(self, end: int, room_time: RoomTime) -> None:
        """Read and hand out what is there up to a position, page by page."""
        while self.position < end:
            try:
                batch = await self.reader.read(self.position, end)
            except Unavailable:
                raise
            except Exception as error:
                self.end(error)
                self.position = end
                return
            await self._make_room(len(batch.events), room_time)
            self.position = batch.end
            for listener in list(self.listeners):
                listener.put(batch.events)
                if listener.ended is not None:
                    self.listeners.discard(listener)

    def end(self, error: Exception) -> None:
        """End all who listen, who are told why."""
        for listener in self.listeners:
            listener.end(error)
        self.listeners.clear()

    async def _make_room(self, events: int, room_time: RoomTime) -> None:
        """Wait a little for subscribers who have no room; most are only about to be run."""
        while any(listener.room() < events for listener in self.listeners) and room_time.lasts():  # noqa: ASYNC110  # of many
            await asyncio.sleep(POLL_SECONDS / 4)


class Hub:
    """The groups of a process. `counted` hears how many subscribers come, and go; `pace` says how often others' changes are
    looked for."""

    def __init__(
        self,
        feed: Feed,
        most_waiting: int,
        counted: Callable[[int], None] = lambda _: None,
        pace: Callable[[], float] = lambda: POLL_SECONDS,
        shop: str | None = None,
    ) -> None:
        self.feed = feed
        self.members = 0
        self._most_waiting = most_waiting
        self._counted = counted
        self._pace = pace
        self._of_shop = {"measured": {"shop": shop}}
        self._groups: dict[Hashable, Audience] = {}
        self._position = 0
        self._task: asyncio.Task[None] | None = None
        self._wake = asyncio.Event()
        self._reading = asyncio.Semaphore(AT_ONCE)

    def waiting(self) -> int:
        """How many events wait for the subscriber who has most of them."""
        found = (len(listener.waiting) for group in self._groups.values() for listener in group.listeners)
        return max(found, default=0)

    def wake(self) -> None:
        """This process has committed something."""
        if self._task is not None:
            self._wake.set()

    async def listen(self, key: Hashable, reader: EventSource, after: int | None) -> AsyncGenerator[Told]:
        """Events after a position, or after this moment. Whoever asks closes the generator."""
        oldest, head = await self.feed.bounds()
        position = head if after is None else after
        if not oldest <= position <= head:
            raise Expired(oldest)
        if self._task is None:
            self._position = head
            self._task = asyncio.create_task(self._run())
        group = self._groups.get(key)
        if group is None:
            group = self._groups[key] = Audience(reader, self._position)
        listener: Listener | None = None
        group.members += 1
        self._count(1)
        try:
            while position < group.position:
                batch = await self._again(reader, position, group.position)
                oldest, _ = await self.feed.bounds()
                if oldest > position:  # what this page lacks was deleted meanwhile
                    raise Expired(oldest)
                position = batch.end
                for event in batch.events:
                    yield event
            if group.lost is not None:
                raise group.lost
            listener = Listener(position, self._most_waiting)
            group.listeners.add(listener)
            while True:
                yield await listener.take()
        finally:
            if listener is not None:
                group.listeners.discard(listener)
            group.members -= 1
            if not group.members and self._groups.get(key) is group:
                del self._groups[key]
            self._count(-1)
            if not self._groups:
                await self.close()

    async def _again(self, reader: EventSource, position: int, known: int) -> Events:
        """A page for one who is behind; a database that comes back in time is waited for."""
        for _ in range(TRIES):
            with suppress(Unavailable):
                return await reader.read(position, known)
            await asyncio.sleep(PAUSE_SECONDS)
        return await reader.read(position, known)

    def _count(self, change: int) -> None:
        self.members += change
        self._counted(change)

    async def _run(self) -> None:
        while True:
            try:
                await self._tick()
            except Unavailable as error:
                logger.warning("The feed cannot be read: %s", error, extra=self._of_shop)
                await asyncio.sleep(PAUSE_SECONDS)
            except Exception:
                logger.exception("The feed could not be read", extra=self._of_shop)
                await asyncio.sleep(PAUSE_SECONDS)
            with suppress(TimeoutError):
                async with asyncio.timeout(self._pace()):
                    await self._wake.wait()
            self._wake.clear()

    async def _tick(self) -> None:
        """Hand out what is new, page by page. Where the feed does not go on after what was told, all who listen end."""
        try:
            await self._hand_out_new()
        except Expired as lost:
            logger.warning("The feed does not go on where it was told to: its subscribers begin anew", extra=self._of_shop)
            groups = list(self._groups.values())
            self._groups.clear()
            self._position = lost.oldest
            for group in groups:
                group.lost = lost
                group.end(lost)

    async def _hand_out_new(self) -> None:
        while (seen := await self.feed.look(self._position)).end > self._position:
            room_time = RoomTime()
            # Again for those that began meanwhile.
            while groups := [group for group in self._groups.values() if group.position < seen.end]:
                done = await asyncio.gather(*(self._hand_out(group, seen, room_time) for group in groups), return_exceptions=True)
                for error in done:
                    if error is not None:
                        raise error
            self._position = seen.end

    async def _hand_out(self, group: Audience, seen: Seen, room_time: RoomTime) -> None:
        if group.reader.concerns(seen):
            async with self._reading:
                await group.advance(seen.end, room_time)
        group.position = max(group.position, seen.end)

    async def close(self) -> None:
        """Stop reading. Whoever listens hears nothing more."""
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task

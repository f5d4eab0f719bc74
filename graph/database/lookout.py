"""The lookout: whether another server of several is the primary by now, while the one that was says nothing.

What goes in: where the database is, how its connections are opened, the turns at them. What comes out: connections that lead to
a server which is replaced are ended, so that whoever waits there goes on elsewhere. Nothing is refused here: where no other
server is the primary everybody waits as long as he may.

A server that went without a word, whose machine is stopped or whose network is dark, would be waited for as long as a statement
may take, and a COMMIT for as long as its request. Its place tells sooner. What is only slow is not cut off: the server itself is
asked for a new connection first, and another one is believed where that is not answered.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from graph.database.link import Link, Opening
from graph.database.protocol import DatabaseUrl, Host
from graph.database.turns import Turns

logger = logging.getLogger("ordergraph.database")

#: What is wanted of a server by those who mean the one primary.
PRIMARY = ("primary", "read-write")
#: After what time in which nobody who waits for a server was done the others are asked.
SILENT_SECONDS = 1.0
#: How long the server in question may take for a new connection until another one is believed. A busy one takes its time.
ANSWER_SECONDS = 1.0


class Lookout:
    """It looks while connections are open and somebody has a turn. `options` are the driver's."""

    def __init__(self, target: DatabaseUrl, options: Mapping[str, Any], turns: Turns, distrust: Callable[[], None]) -> None:
        self._target, self._options, self._turns, self._distrust = target, options, turns, distrust
        #: Those that may be open, the oldest first.
        self._links: list[Link] = []
        self._ended = 0
        self._timer: asyncio.TimerHandle | None = None
        self._looking: asyncio.Task[None] | None = None

    def opened(self, link: Link) -> None:
        """A connection was opened. One that leads elsewhere than those before it is a reason to look."""
        self._links = [*self._open(), link]
        if link.host != self._links[0].host:
            self._look()
        if self._timer is None:
            self._wait()

    def _open(self) -> list[Link]:
        return [link for link in self._links if not link.is_closed()]  # type: ignore[no-untyped-call]  # the driver is untyped

    def _wait(self) -> None:
        self._ended = self._turns.ended
        self._timer = asyncio.get_running_loop().call_later(SILENT_SECONDS, self._see)

    def _see(self) -> None:
        """See whether anybody was done since the last time."""
        self._timer, self._links = None, self._open()
        if self._links:
            if self._turns.taken and self._turns.ended == self._ended:
                self._look()
            self._wait()

    def _look(self) -> None:
        if self._looking is None or self._looking.done():
            self._looking = asyncio.get_running_loop().create_task(self._give_up_the_replaced())

    async def _give_up_the_replaced(self) -> None:
        """See to each host that connections lead to. Where there are two, all are to lead to one as they are taken again."""
        hosts = dict.fromkeys(link.host for link in self._links)
        if len(hosts) > 1:
            self._distrust()  # what runs meanwhile is not cut off
        await asyncio.gather(*map(self._give_up_if_replaced, hosts))

    async def _give_up_if_replaced(self, host: Host) -> None:
        """End what leads to a host that does not answer as the primary while another does."""
        hosts = (host, *(each for each in self._target.hosts if each != host))
        try:
            found: Any = await Opening(replace(self._target, hosts=hosts), ANSWER_SECONDS, **self._options)
        except Exception as error:  # nobody is the primary, or says so; whoever waits learns why by himself
            logger.debug("No primary was found: %r", error)
            return
        lost = [link for link in self._open() if link.host == host != found.host]
        if lost:
            logger.warning("Another server is the primary now, %s: %d connections are given up", found.host[0], len(lost))
            self._distrust()
        for link in lost:
            link.terminate()
        await found.leave()

    async def close(self) -> None:
        """Look no more."""
        self._links = []
        if self._timer is not None:
            self._timer.cancel()
        if self._looking is not None:
            self._looking.cancel()
            await asyncio.wait([self._looking])


def lookout_of(target: DatabaseUrl, options: Mapping[str, Any], turns: Turns, distrust: Callable[[], None]) -> Lookout | None:
    """The lookout of connections to the primary among several servers; none where there is one server, or any will do."""
    if len(target.hosts) < 2 or target.target_session_attrs not in PRIMARY:
        return None
    return Lookout(target, options, turns, distrust)

"""Which of several processes takes a connection: whoever has fewest, or whoever is there after a moment.

What goes in: sockets that listen and that all processes share. What comes out: connections, each with a protocol of its own. What
may be refused here: nothing; where no more files may be open, connections wait.

The kernel wakes all who wait for one socket, and the first takes what is there. Connections are kept for long, those of a proxy
for days, so one process would have most of the work. Here each process says how many it has in memory that all share, and leaves
what comes to others for a moment, and only while one of them has fewer. If others took something meanwhile, they live, and the
moment begins anew: one that has fewer still may have left an earlier one a moment ago, and be about to come back.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable, Sequence
from ctypes import c_ulonglong
from multiprocessing.sharedctypes import RawArray
from typing import Any

from graph.serve.listening import AT_ONCE

#: How often it is looked whether a connection is still left to others: where connections are short, all might leave the same one.
LOOK_SECONDS = 0.001
#: After so many looks it is taken, if none of them took any: they may hang, or be about to end. It is no time, since that may
#: have passed while all of them stood still.
LOOKS = 10
#: How long one waits where no more files may be open.
FULL_SECONDS = 0.1


class Headcount:
    """How many connections each process has, and has ever taken. It is made before they are, and all share it."""

    def __init__(self, processes: int) -> None:
        self._numbers = RawArray(c_ulonglong, processes)
        self._taken = RawArray(c_ulonglong, processes)

    def tell(self, process: int, number: int) -> None:
        self._numbers[process] = number

    def has_more(self, process: int) -> bool:
        """Whether a process has more than another one."""
        return any(self._numbers[process] > each for each in self._numbers)

    def took(self, process: int) -> None:
        self._taken[process] += 1

    def taken(self) -> int:
        """How many connections all have taken since they began."""
        return sum(self._taken)


class OpenConnections(set[Any]):
    """The connections of one process, which tells the others how many they are."""

    def __init__(self, headcount: Headcount, process: int) -> None:
        super().__init__()
        self.headcount, self.process = headcount, process
        self.coming = 0  # taken, and without a protocol yet
        self.tell()

    def tell(self) -> None:
        self.headcount.tell(self.process, len(self) + self.coming)

    def has_more(self) -> bool:
        return self.headcount.has_more(self.process)

    def come(self) -> None:
        """One is taken, and will be added once it has a protocol."""
        self.coming += 1
        self.headcount.took(self.process)
        self.tell()

    def came(self) -> None:
        """One that was taken has its protocol, or will have none."""
        self.coming -= 1
        self.tell()

    def add(self, connection: Any) -> None:
        super().add(connection)
        self.tell()

    def discard(self, connection: Any) -> None:
        super().discard(connection)
        self.tell()

    def remove(self, connection: Any) -> None:
        super().remove(connection)
        self.tell()


class Taking:
    """Takes connections from sockets for one process, until it ends."""

    def __init__(
        self, sockets: Sequence[socket.socket], protocol: Callable[[], asyncio.Protocol], connections: OpenConnections
    ) -> None:
        self.protocol, self.connections = protocol, connections
        self._loop = asyncio.get_running_loop()
        self._left: dict[socket.socket, asyncio.TimerHandle] = {}
        self._opening: set[asyncio.Task[None]] = set()
        for each in sockets:
            self._loop.add_reader(each, self._come, each)
        self._sockets = list(sockets)

    def end(self) -> None:
        """Take no more."""
        for each in self._sockets:
            self._loop.remove_reader(each)
        for timer in self._left.values():
            timer.cancel()
        self._sockets.clear()
        self._left.clear()

    def _come(self, each: socket.socket) -> None:
        if self.connections.has_more():
            self._loop.remove_reader(each)
            self._leave(each)
        else:
            self._take(each, always=False)

    def _leave(self, each: socket.socket) -> None:
        """Leave what comes to others, from now on."""
        self._look_soon(each, LOOKS, self.connections.headcount.taken())

    def _look_soon(self, each: socket.socket, looks: int, taken: int) -> None:
        self._left[each] = self._loop.call_later(LOOK_SECONDS, self._look, each, looks - 1, taken)

    def _look(self, each: socket.socket, looks: int, taken: int) -> None:
        if not self.connections.has_more():
            self._again(each)
            self._take(each, always=False)
        elif self.connections.headcount.taken() != taken:
            self._leave(each)
        elif looks:
            self._look_soon(each, looks, taken)
        else:
            self._again(each)
            self._take(each, always=True)

    def _again(self, each: socket.socket) -> None:
        del self._left[each]
        self._loop.add_reader(each, self._come, each)

    def _take(self, each: socket.socket, *, always: bool) -> None:
        for _ in range(AT_ONCE):
            try:
                taken, _ = each.accept()
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                return
            except OSError:
                self._loop.remove_reader(each)
                self._left[each] = self._loop.call_later(FULL_SECONDS, self._again, each)
                return
            taken.setblocking(False)
            self.connections.come()
            task = self._loop.create_task(self._open(taken))
            self._opening.add(task)
            task.add_done_callback(self._opening.discard)
            if not always and self.connections.has_more():
                return

    async def _open(self, taken: socket.socket) -> None:
        try:
            await self._loop.connect_accepted_socket(self.protocol, taken)
        except OSError:
            taken.close()
        finally:
            self.connections.came()

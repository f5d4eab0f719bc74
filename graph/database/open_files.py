"""The files of many shops, of which a process has a few open at once.

What goes in: files, as somebody begins and ends to use them. What comes out: the file, open for him. What may be refused here:
`Unavailable` where as many others are in use, and none of them comes free in time.

Each open file has threads and descriptors of its own. The one that was used the longest ago is closed for the next, once nobody
uses it; who needs it again opens it again.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from typing import Protocol

from graph.database.failures import Unavailable
from graph.database.turns import Turns

#: How many files are open at once.
MOST_FILES = 32


class RestingFile(Protocol):
    """A file that may be closed between two uses. `users` is how many use it now or wait for it, `resting` what closes it."""

    users: int
    resting: asyncio.Task[None] | None

    async def rest(self) -> None:
        """Close it, for whoever opens it next."""


class OpenFiles:
    """So many files, open at once at most."""

    def __init__(self, seconds: float) -> None:
        self._open: OrderedDict[RestingFile, None] = OrderedDict()
        self._one = asyncio.Lock()
        self._freed = asyncio.Event()
        self._seconds = seconds

    async def take(self, file: RestingFile) -> None:
        """Have a file open until it is given back."""
        file.users += 1  # from here on nobody closes it
        try:
            if file in self._open:
                self._open.move_to_end(file)
            else:
                await self._admit(file)
        except BaseException:
            self.give_back(file)
            raise

    def give_back(self, file: RestingFile) -> None:
        """It is not used any more by one who took it."""
        file.users -= 1
        if not file.users:
            self._freed.set()

    async def _admit(self, file: RestingFile) -> None:
        try:
            async with asyncio.timeout(self._seconds), self._one:
                if file.resting is not None:
                    await asyncio.wait([file.resting])
                while file not in self._open and len(self._open) >= MOST_FILES:
                    await self._close_one()
                self._open[file] = None
        except TimeoutError:
            raise Unavailable("too many shops are in use, and no file came free in time") from None

    async def _close_one(self) -> None:
        idle = next((each for each in self._open if not each.users), None)
        if idle is None:
            self._freed.clear()
            await self._freed.wait()
            return
        del self._open[idle]
        idle.resting = asyncio.create_task(idle.rest())
        await asyncio.wait([idle.resting])  # whoever gives up waiting leaves it to be closed


class FileTurns(Turns):
    """The turn of the one writer of a file, who has it open."""

    def __init__(self, file: RestingFile, files: OpenFiles, seconds: float) -> None:
        super().__init__(1, seconds)
        self._file, self._files = file, files

    async def __aenter__(self) -> None:
        await super().__aenter__()
        try:
            await self._files.take(self._file)
        except BaseException:
            await super().__aexit__()
            raise

    async def __aexit__(self, *_: object) -> None:
        self._files.give_back(self._file)
        await super().__aexit__()

"""What a statement on an SQLite file may take, and whether the file is still there.

What goes in: seconds, a path. What comes out: `TimeLimit`, which SQLite asks while a statement runs, and `Identity`, by which a
file is known. What may be refused here: a file that was moved or replaced, as SQLite itself calls it; one without its log,
`Unavailable`.
"""

from __future__ import annotations

import logging
import sqlite3
from dataclasses import dataclass
from math import inf
from pathlib import Path
from time import monotonic, thread_time

from graph.database.failures import Unavailable

logger = logging.getLogger("ordergraph.database")

#: Instructions of SQLite's machine between two looks at the clock.
STEPS = 100_000


@dataclass(slots=True)
class TimeLimit:
    """When the statement that runs must be over, and whether somebody still waits for it."""

    deadline: float = inf
    given_up: bool = False
    #: The same in the time that its thread computes, which passes no faster where others compute as well.
    computing: float = inf

    def begin(self, seconds: float, computing_seconds: float = inf) -> None:
        """A statement begins, on the thread that calls this."""
        self.deadline = monotonic() + seconds
        self.computing = thread_time() + computing_seconds

    def over(self) -> bool:
        return self.given_up or monotonic() > self.deadline or (self.computing < inf and thread_time() > self.computing)


class FileReplaced(sqlite3.OperationalError):
    """The file that a connection has open is not the one at its path any more: what is written to it nobody will find again."""

    sqlite_errorcode = sqlite3.SQLITE_READONLY_DBMOVED
    sqlite_errorname = "SQLITE_READONLY_DBMOVED"

    def __init__(self) -> None:
        super().__init__("the file was deleted or replaced")


#: Which file a log was written for.
Owners = dict[tuple[int, int], tuple[int, int]]


class Identity:
    """Which file a connection has open, and which log beside it, once there is one. `owners` is shared by all of a path."""

    __slots__ = ("_log", "_owners", "_path", "file", "log")

    def __init__(self, path: str, owners: Owners) -> None:
        self._path, self._log, self._owners = path, f"{path}-wal", owners
        self.file = number(path)
        self.log: tuple[int, int] | None = None

    def check(self) -> None:
        """Raise `FileReplaced` where another file, or none, is at the path now."""
        if self.file is None or number(self._path) != self.file:
            raise FileReplaced

    def check_log(self) -> None:
        """Remember the log of a transaction that has begun. Raises `Unavailable` where it is not there any more.

        It is open and whole, and written back into the file by the last one who closes it: nothing is to be opened anew.
        """
        log = number(self._log)
        if self.log is None and log is not None and self.file is not None:
            self.log, self._owners[log] = log, self.file
        elif log != self.log:
            raise Unavailable("its -wal was deleted: restart the server, which then writes back what it still holds")


def put_aside(path: str, owners: Owners) -> None:
    """Take away the log that another file has left at this path, before the file there now is opened.

    SQLite leaves it where a file was moved or replaced, and would take it for the log of the next one. Nothing of it is deleted.
    """
    log, file = number(f"{path}-wal"), number(path)
    if log in owners and file is not None and owners[log] != file:
        logger.warning("The log of a file that was replaced is put aside: %s", f"{path}-wal.replaced")
        Path(f"{path}-wal").rename(f"{path}-wal.replaced")
        Path(f"{path}-shm").unlink(missing_ok=True)


def number(path: str) -> tuple[int, int] | None:
    """What tells a file from others; None where there is none."""
    try:
        found = Path(path).stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino

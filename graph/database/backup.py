"""A copy of an SQLite file, made while others read and write it.

What goes in: the path of a file, and that of its copy. What comes out: a file that holds what was committed at one moment, and
was read through. What may be refused here: `Unavailable` for a file that is not there or is damaged, and for a copy that cannot
be written or stands there already. What is refused leaves no copy.
"""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing, suppress
from pathlib import Path

from graph.database.failures import Unavailable
from graph.database.readers import address


def copy(path: str, target: Path) -> int:
    """Copy a file, and verify the copy; its size in bytes. Raises `Unavailable`."""
    if not Path(path).is_file():
        raise Unavailable("there is no such file")
    part = target.with_name(f"{target.name}.part")
    try:
        part.touch(exist_ok=False)
    except FileExistsError:
        raise Unavailable(f"{part} is there already: another copy is being made, or was broken off; delete it then") from None
    except OSError as error:
        raise Unavailable(f"{target} cannot be written: {error.strerror}") from None
    try:
        with closing(sqlite3.connect(f"{address(path)}?mode=ro", uri=True)) as source, closing(sqlite3.connect(part)) as made:
            source.backup(made)  # in one step: a reader does not hinder the writer, whose next commits are not in the copy
            made.execute("PRAGMA journal_mode=DELETE")  # one file, with nothing beside it
            _verify(made)
        sync(part)
        target.hardlink_to(part)  # unlike a renaming it replaces nothing
        sync(target.parent)
        return target.stat().st_size
    except FileExistsError:
        raise Unavailable(f"{target} is there already: name another file") from None
    except OSError as error:
        raise Unavailable(f"{target} cannot be written: {error.strerror}") from None
    except sqlite3.Error as error:
        raise Unavailable(f"no copy was made: {error}") from None
    finally:
        for rest in ("", "-journal", "-wal", "-shm"):
            with suppress(FileNotFoundError):
                Path(f"{part}{rest}").unlink()


def _verify(copied: sqlite3.Connection) -> None:
    """Read a database through: every page, every index against its table, every reference. Raises `Unavailable`."""
    found = [" ".join(text.split()) for (text,) in copied.execute("PRAGMA integrity_check(3)")]
    if found != ["ok"]:
        raise Unavailable(f"the file is damaged, and no copy was made: {'; '.join(found)}")
    lost = copied.execute("PRAGMA foreign_key_check").fetchone()
    if lost is not None:
        raise Unavailable(f"the file is damaged, and no copy was made: a row of {lost[0]} has lost its {lost[2]}")


def sync(path: Path) -> None:
    """Have what a file holds, or a folder names, on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)

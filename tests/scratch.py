"""Where tests keep their files: in memory, where it has room, since on a disk they spend most of their time waiting for it.

What goes in: `TMPDIR` in the environment, which says otherwise. What comes out: the folder for all that is temporary in this
process and in those that it starts. Whoever measures a disk imports nothing of this.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path

#: Where Linux has a file system in memory.
MEMORY = Path("/dev/shm")
#: Bytes that four processes' tests take at most, and as much again.
ROOM = 2 * 2**30


def has_room(folder: Path) -> bool:
    """Whether a folder is there that takes all files of the tests, programs among them."""
    if not os.access(folder, os.W_OK | os.X_OK):
        return False
    return not os.statvfs(folder).f_flag & os.ST_NOEXEC and shutil.disk_usage(folder).free >= ROOM


def in_memory() -> None:
    """Keep what is temporary in memory from now on, unless the environment names a folder or there is no room."""
    if "TMPDIR" not in os.environ and has_room(MEMORY):
        os.environ["TMPDIR"] = tempfile.tempdir = str(MEMORY)

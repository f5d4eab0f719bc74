"""What processes have cost so far: processor time and memory, of one and of those below it, and where they may run.

What goes in: the id of a process. What comes out: seconds and megabytes, None where the system does not tell. Nothing is refused
here; a process that has ended meanwhile counts as far as its parent has heard of it.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

#: Where the time of ended children stands in `/proc/PID/stat` behind the name: in user space and in the kernel.
ENDED = (13, 14)


def fields_of(pid: int) -> list[str] | None:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None


def cpu_seconds(pid: int) -> float | None:
    """The processor time a process has used, to the nanosecond: that of the threads it has now."""
    try:
        return sum(int((task / "schedstat").read_text().split()[0]) for task in Path(f"/proc/{pid}/task").iterdir()) / 1e9
    except OSError:
        return None


def cpu_of_ended(pid: int) -> float:
    """The processor time of children that a process has had."""
    fields = fields_of(pid) or ["0"] * (max(ENDED) + 1)
    return sum(int(fields[place]) for place in ENDED) / os.sysconf("SC_CLK_TCK")


def resident_mb(pid: int) -> float | None:
    """The memory a process holds, with what it shares."""
    return _of_file(pid, "status", "VmRSS:")


def proportional_mb(pid: int) -> float | None:
    """The memory a process holds; what it shares counts by the part that is its own."""
    return _of_file(pid, "smaps_rollup", "Pss:")


def _of_file(pid: int, name: str, line: str) -> float | None:
    try:
        lines = Path(f"/proc/{pid}/{name}").read_text().splitlines()
    except OSError:
        return None
    return next((int(each.split()[1]) / 1024 for each in lines if each.startswith(line)), None)


def command_of(pid: int) -> str:
    """What a process says that it is."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
    except OSError:
        return ""


def parent_of(pid: int) -> int:
    """The process that began another; 0 where the system does not tell."""
    fields = fields_of(pid)
    return int(fields[1]) if fields else 0


def below(pid: int) -> Iterator[int]:
    """A process and all those below it."""
    yield pid
    with suppress(OSError):
        for task in Path(f"/proc/{pid}/task").iterdir():
            for child in (task / "children").read_text().split():
                yield from below(int(child))


def cpu_of_all(pid: int) -> float:
    """The processor time of a process and of those below it, ended ones included."""
    return sum((cpu_seconds(each) or 0.0) + cpu_of_ended(each) for each in below(pid))


@contextmanager
def pinned(pids: Iterable[int], cores: set[int] | None) -> Iterator[None]:
    """Let processes, and what they begin, run on some cores alone while this block runs; None leaves them be."""
    before: dict[int, set[int]] = {}
    if cores is not None:
        for pid in pids:
            with suppress(OSError):
                before[pid] = os.sched_getaffinity(pid)
                os.sched_setaffinity(pid, cores)
    try:
        yield
    finally:
        for pid, allowed in before.items():
            with suppress(OSError):
                os.sched_setaffinity(pid, allowed)

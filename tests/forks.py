"""Commands of the product in processes of their own that begin where all is imported, forked off one that did it once.

What goes in: a folder, arguments, an environment. What comes out: what `subprocess` would answer. Imports take nine tenths of a
command's processor time; a test that is about them starts Python anew (`run_anew`).
"""

from __future__ import annotations

import atexit
import ctypes
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
import traceback
from collections.abc import Sequence
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any

from graph.__main__ import main
from graph.environment import current

#: What commands import when they are called.
IMPORTED = """
    uvicorn graph.comparison graph.database.backup graph.migrate graph.operations.explain graph.sample graph.schema
    graph.serve.app graph.serve.http1 graph.serve.listening graph.serve.logs graph.write.expired_keys
""".split()
ROOT = Path(__file__).parents[1]
#: Nobody hangs, and a busy machine may take its time.
SECONDS = 300


def environment(**settings: str) -> dict[str, str]:
    """This process's environment without its settings, the checkout importable from any folder."""
    kept = {k: v for k, v in os.environ.items() if k not in ("DATABASE_URL", "CURRENCY") and not k.startswith("ORDERGRAPH_")}
    return {**kept, "PYTHONPATH": str(ROOT), **settings}


class Forked:
    """A process that was forked off, with as much of `subprocess.Popen` as tests ask for."""

    def __init__(self, forks: Forks, pid: int) -> None:
        self._forks, self.pid = forks, pid
        self.returncode: int | None = None

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            os.kill(self.pid, number)

    def terminate(self) -> None:
        self.send_signal(signal.SIGTERM)

    def poll(self) -> int | None:
        """How it ended, if it has."""
        if self.returncode is None:
            self.returncode = self._forks.ask({"poll": self.pid})
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        """How it ended."""
        end = None if timeout is None else time.monotonic() + timeout
        while (status := self.poll()) is None:
            if end is not None and time.monotonic() > end:
                raise subprocess.TimeoutExpired(str(self.pid), timeout or 0)
            time.sleep(0.005)
        return status


class Piped(Forked):
    """One whose output is read."""

    def __init__(self, forks: Forks, pid: int, out: Path, err: Path) -> None:
        super().__init__(forks, pid)
        self.stdout, self.stderr = (path.open(encoding="utf-8") for path in (out, err))

    def communicate(self, timeout: float = SECONDS) -> tuple[str, str]:
        """What it has said, when it has ended. It ends in its time."""
        with self.stdout, self.stderr:
            said = self.stdout.read(), self.stderr.read()
        self.wait(timeout)
        return said


class Forks:
    """The process that forks, and what it is asked over its pipes."""

    def __init__(self, folder: Path, environment: dict[str, str]) -> None:
        self.folder, self._started, self._turn = folder, 0, threading.Lock()
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.forks"], env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def ask(self, question: dict[str, Any]) -> Any:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        with self._turn:
            print(json.dumps(question), file=self._process.stdin, flush=True)
            return json.loads(self._process.stdout.readline())

    def start_logging(self, folder: Path, arguments: Sequence[str], environment: dict[str, str], log: Path) -> Forked:
        """Start a command in a folder that writes to a file what it says, for as long as it is wanted."""
        log.touch()
        asked = {"folder": str(folder), "arguments": arguments, "environment": environment, "out": str(log), "err": str(log)}
        return Forked(self, self.ask({**asked, "seconds": 0}))

    def start(
        self,
        folder: Path,
        arguments: Sequence[str],
        environment: dict[str, str],
        *,
        obeys_modes: bool = False,
        given: str = os.devnull,
    ) -> Piped:
        """Start a command in a folder that is given what is in a file."""
        self._started += 1
        out, err = (self.folder / f"{name}{self._started}" for name in ("out", "err"))
        os.mkfifo(out)
        os.mkfifo(err)
        asked = {"folder": str(folder), "arguments": arguments, "environment": environment, "out": str(out), "err": str(err)}
        return Piped(self, self.ask({**asked, "seconds": SECONDS, "obeys_modes": obeys_modes, "given": given}), out, err)

    def run(
        self, folder: Path, arguments: Sequence[str], environment: dict[str, str], **more: Any
    ) -> subprocess.CompletedProcess[str]:
        """A command, run in a folder to its end."""
        process = self.start(folder, arguments, environment, **more)
        out, err = process.communicate()
        assert process.returncode is not None
        return subprocess.CompletedProcess(arguments, process.returncode, out, err)

    def close(self) -> None:
        self._process.communicate()


@cache
def shared() -> Forks:
    """The one of this process, until it ends."""
    folder = tempfile.TemporaryDirectory()
    made = Forks(Path(folder.name), environment())
    atexit.register(folder.cleanup)
    atexit.register(made.close)
    return made


def obey_modes() -> None:
    """From now on not even root writes where the mode of a file says that nobody may."""
    if os.geteuid() == 0:
        libc, version_3, cap_dac_override = ctypes.CDLL(None), 0x20080522, 1
        header, sets = (ctypes.c_uint32 * 2)(version_3, 0), (ctypes.c_uint32 * 6)()
        assert libc.capget(header, sets) == 0
        for each in range(3):  # effective, permitted, inheritable
            sets[each] &= ~(1 << cap_dac_override)
        assert libc.capset(header, sets) == 0


def become(
    folder: str,
    arguments: list[str],
    environment: dict[str, str],
    out: str,
    err: str,
    seconds: int,
    *,
    obeys_modes: bool = False,
    given: str = os.devnull,
) -> None:
    """Be the command, in a process that was just forked off, and end it."""
    status: Any = 1
    try:
        if obeys_modes:
            obey_modes()
        signal.alarm(seconds)
        signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell lets what it runs in the background ignore it
        os.dup2(os.open(given, os.O_RDONLY), 0)
        sys.stdin = os.fdopen(0, encoding="utf-8")  # that of the process before was read ahead
        for number, path in ((1, out), (2, err)):
            os.dup2(os.open(path, os.O_WRONLY | os.O_APPEND), number)
        os.chdir(folder)
        os.environ.clear()
        os.environ.update(environment)
        current.cache_clear()
        main(arguments, prog_name="ordergraph")
    except SystemExit as ended:
        status = ended.code or 0
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status if isinstance(status, int) else 1)


def fork() -> None:
    """Start what the lines of the standard input ask for, or tell how it has ended."""
    for line in sys.stdin:
        asked = json.loads(line)
        if "poll" in asked:
            pid, status = os.waitpid(asked["poll"], os.WNOHANG)
            print(json.dumps(os.waitstatus_to_exitcode(status) if pid else None), flush=True)
            continue
        pid = os.fork()
        if pid == 0:
            become(**asked)
        print(pid, flush=True)


if __name__ == "__main__":
    for name in IMPORTED:
        import_module(name)
    fork()

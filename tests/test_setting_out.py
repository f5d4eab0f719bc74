"""What a stranger reaches from the README alone: its commands, one after the other as they stand there, in an empty environment.

Set up, first query, playground, first mutation, every error, PostgreSQL, tests. The packages come from where pip finds them.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx2
import pytest

from tests import postgres
from tests.checkouts import ROOT, bare_environment, clone
from tests.printed import fenced
from tests.test_commands import free_port

README = (ROOT / "README.md").read_text(encoding="utf-8")
SERVE, SERVED = ".venv/bin/ordergraph serve", "127.0.0.1:8000"
#: Of all tests these, or this one would run itself.
SELECTION = "tests/test_settings.py"


class Stranger:
    """Somebody in a clone who does what he reads: he has a shell, a browser and nothing else."""

    def __init__(self, folder: Path, environment: dict[str, str]) -> None:
        self.folder, self.environment = folder, environment
        self.port = free_port()
        self.server: subprocess.Popen[str] | None = None
        self.log = folder.parent / "log"

    def does(self, kind: str, block: str) -> Any:
        """What comes of a block: of an operation, or of commands, what is answered as JSON, else what is printed."""
        if kind == "graphql":
            return self.asks(block)
        if SERVE in block:
            return self.serves(block)
        return self.types(block)

    def types(self, commands: str) -> Any:
        commands = commands.replace(SERVED, f"127.0.0.1:{self.port}")
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", commands],
            cwd=self.folder,
            env=self.environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, f"{commands}\n{done.stdout[-4000:]}\n{done.stderr[-4000:]}"
        return json.loads(done.stdout) if commands.startswith("curl ") else done.stdout

    def serves(self, commands: str, seconds: float = 600) -> str:
        """Start the server, in place of one that runs, and wait until it answers; what it says until then."""
        self.ends()
        assert commands.count(SERVE) == 1
        assert commands.rstrip().endswith(SERVE)
        with self.log.open("w") as log:
            self.server = subprocess.Popen(
                ["bash", "-euo", "pipefail", "-c", commands.replace(SERVE, f"exec {SERVE} --port {self.port}")],
                cwd=self.folder,
                env=self.environment,
                stdout=log,
                stderr=log,
                text=True,
                start_new_session=True,
            )
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            assert self.server.poll() is None, self.log.read_text()
            try:
                if httpx2.get(f"http://127.0.0.1:{self.port}/readyz", timeout=30).status_code == 200:
                    return self.log.read_text()
            except httpx2.TransportError:
                time.sleep(0.2)
        raise AssertionError(f"the server did not come up\n{self.log.read_text()}")

    def ends(self) -> None:
        if self.server is not None and self.server.poll() is None:
            os.killpg(self.server.pid, signal.SIGTERM)
            assert self.server.wait(30) == 0, self.log.read_text()

    def asks(self, query: str) -> Any:
        return httpx2.post(f"http://127.0.0.1:{self.port}/graphql", json={"query": query}, timeout=60).json()

    def opens(self, address: str) -> str:
        """The page that a browser is shown at an address."""
        answer = httpx2.get(address.replace(SERVED, f"127.0.0.1:{self.port}"), headers={"accept": "text/html"}, timeout=60)
        assert (answer.status_code, answer.headers["content-type"]) == (200, "text/html; charset=utf-8"), address
        return answer.text


@contextmanager
def stranger(home: Path) -> Iterator[Stranger]:
    programs, port = postgres.binaries(), free_port()
    folder = clone(home / "ordergraph")
    assert not list(folder.glob("*.db")) + list(folder.glob(".venv"))
    environment = bare_environment(home, programs, PGPORT=str(port), PYTEST_ADDOPTS=SELECTION)
    with postgres.started(programs, "listen_addresses=localhost", f"port={port}"):
        made = Stranger(folder, environment)
        try:
            yield made
        finally:
            if made.server is not None and made.server.poll() is None:
                os.killpg(made.server.pid, signal.SIGKILL)
                made.server.wait()


def test_a_clone_has_the_files_and_nothing_of_its_user(tmp_path: Path) -> None:
    folder = clone(tmp_path / "clone")
    assert (folder / "README.md").read_text(encoding="utf-8") == README
    assert (folder / "graph/__main__.py").exists()
    assert not [path for path in folder.iterdir() if path.name in (".git", ".venv", "node_modules")]
    environment = bare_environment(tmp_path)
    assert "VIRTUAL_ENV" not in environment
    assert shutil.which("python3", path=environment["PATH"]) == str(tmp_path / "python" / "python3")
    assert not shutil.which("ordergraph", path=environment["PATH"])


@pytest.mark.guide
def test_from_the_readme_alone(tmp_path: Path) -> None:
    blocks = fenced(README)
    with stranger(tmp_path) as he:
        start, first, query, mutation, create, errors, roles, on_postgresql, tests = (block for _, block in blocks)

        said = he.does("sh", start)
        assert "loaded the Northwind sample" in said
        assert (he.folder / "ordergraph.db").is_file()
        assert he.does("sh", first) == {"data": {"items": {"nodes": [{"id": "Item:1", "name": "Chai"}]}}}

        addresses = re.findall(r"<(http://127\.0\.0\.1:8000/\S*)>", README)
        assert [address.partition(SERVED)[2] for address in addresses] == ["/graphql", "/docs", "/"]
        playground, docs, tour = (he.opens(address) for address in addresses)
        assert "First query" in playground + tour
        assert "A first mutation" in docs

        assert he.does("graphql", query)["data"]["customer"]["orders"]["totalCount"] == 6
        made = he.does("graphql", mutation)["data"]["createCustomer"]
        assert made["errors"] == []
        assert made["customer"]["orders"]["nodes"][0]["totalAmount"] == "73.00"
        assert [error["code"] for error in he.does("graphql", mutation)["data"]["createCustomer"]["errors"]] == ["UNIQUE"]
        assert he.does("sh", create)["data"]["createItem"]["errors"] == []

        told = he.does("sh", errors)["data"]["createCustomer"]["errors"]
        assert [error["code"] for error in told] == ["INVALID_INPUT", "UNIQUE", "CHECK", "CHECK", "REFERENCE_NOT_FOUND"]
        assert all(error["path"][0] == "input" for error in told)

        he.does("sh", roles)
        he.does("sh", on_postgresql)
        assert he.asks("{ orders { totalCount } }") == {"data": {"orders": {"totalCount": 830}}}
        assert he.does("graphql", mutation)["data"]["createCustomer"]["errors"] == []
        he.ends()

        assert re.search(r"\b[1-9][0-9]* passed", he.does("sh", tests))

"""The files of `docs/examples/cluster/`: looked at by the programs that read them, and run together, each part as it is there.

What stands in a container's place is a process on this machine, so addresses are replaced and nothing else. HAProxy, PgBouncer,
hadolint and the schema of compose files come with what .ci/run installs; where they are missing these tests fail.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import httpx2
import pytest

from graph.environment import from_environment
from tests import pgbouncer, postgres, standbys
from tests.checkouts import ROOT
from tests.forks import environment
from tests.test_commands import free_port
from tests.test_containers import SECRETS, composed_of
from tests.test_production import FILES as PRODUCTION
from tests.test_production import options

pytestmark = pytest.mark.containers

FILES = ROOT / "docs/examples/cluster"
ALL_SECRETS = {**SECRETS, "REPLICATION_PASSWORD": "choose-a-fourth"}


def composed() -> dict[str, Any]:
    """The parts as the compose file has them."""
    found: dict[str, Any] = composed_of(FILES / "compose.yaml", ALL_SECRETS)["services"]
    return found


def haproxy() -> str:
    """Where HAProxy is."""
    found = shutil.which("haproxy") or shutil.which("/usr/sbin/haproxy")
    assert found, "this test needs HAProxy: install the package `haproxy` of your operating system"
    return found


def test_the_compose_file_is_one_and_its_parts_fit() -> None:
    services = composed()
    assert set(services) == {"primary", "standby", "pgbouncer", "migrate", "serve", "serve2", "haproxy"}
    assert services["serve"] == services["serve2"]
    for name in ("migrate", "serve"):
        options("ordergraph " + " ".join(services[name]["command"]))
    serving, migrating = (from_environment(services[name]["environment"]) for name in ("serve", "migrate"))
    assert (serving.pgbouncer, migrating.pgbouncer, serving.auth) == (True, False, True)
    assert [url.partition("@")[2] for url in (serving.database_url, migrating.database_url, *serving.replica_urls)] == [
        "pgbouncer:6432/ordergraph",
        "primary/ordergraph",
        "standby/ordergraph",
    ]
    for service in services.values():
        for volume in service.get("volumes", ()):
            place = volume.partition(":")[0]
            assert not place.startswith(".") or (FILES / place).is_file(), place
    built = services["migrate"]["build"]
    assert (FILES / built["context"] / built["dockerfile"]).resolve() == PRODUCTION / "Dockerfile"


def test_the_dockerfile_of_the_pooler_has_no_faults() -> None:
    hadolint = Path(sys.executable).parent / "hadolint"
    command = [str(hadolint), "--format", "json", str(FILES / "Dockerfile.pgbouncer")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert json.loads(done.stdout) == []


def replaced(name: str, *pairs: tuple[str, str]) -> str:
    """A file's text with other addresses; each of them must be there."""
    text = (FILES / name).read_text(encoding="utf-8")
    for old, new in pairs:
        assert old in text, (name, old)
        text = text.replace(old, new)
    return text


@contextmanager
def running(command: list[Any], until: Callable[[], bool], log: Path, **how: Any) -> Iterator[subprocess.Popen[bytes]]:
    """A process, once it is seen to work."""
    with log.open("w") as told:
        process = subprocess.Popen(command, stdout=told, stderr=told, **how)
    try:
        deadline = time.monotonic() + 120
        while not until():
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < deadline, log.read_text()
            time.sleep(0.05)
        yield process
    finally:
        process.terminate()
        process.wait()


@contextmanager
def folder_of_nobody() -> Iterator[tuple[Path, list[str], dict[str, Any]]]:
    """A folder with a short name, and how to run what refuses to be root in it."""
    folder = Path(tempfile.mkdtemp(prefix="cluster-"))
    try:
        yield folder, *postgres.unprivileged(folder)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def is_up(url: str) -> bool:
    """Whether somebody says that all is well."""
    try:
        return httpx2.get(url, timeout=5).status_code == 200
    except httpx2.HTTPError:
        return False


def says_yes(env: dict[str, str], port: int, sql: str) -> bool:
    """What a server answers to a question."""
    command = ["psql", "-h", "localhost", "-p", str(port), "-U", "postgres", "-Atc", sql]
    return subprocess.run(command, env=env, check=True, capture_output=True, text=True).stdout == "t\n"


#: What stands for the script of the image by which a server is started.
ENTRYPOINT = '#!/bin/bash\nexec "$@" -c port="$STANDBY_PORT" -c listen_addresses=localhost -c unix_socket_directories="$PGDATA"\n'


@contextmanager
def servers(env: dict[str, str], port: int, standby_port: int) -> Iterator[None]:
    """The primary with its roles, migrated, and its standby, as their scripts make them."""
    programs = postgres.binaries()
    with ExitStack() as stack:
        primary = stack.enter_context(postgres.started(programs, *standbys.OPTIONS, "listen_addresses=localhost", f"port={port}"))
        folder, before, identity = stack.enter_context(folder_of_nobody())
        psql = ["psql", "-h", "localhost", "-U", "postgres", "-v", "ON_ERROR_STOP=1", "-f", str(PRODUCTION / "roles.sql")]
        subprocess.run(psql, env=env, check=True, stdout=subprocess.DEVNULL)
        made = {**env, "PGDATA": str(primary.folder / "data"), "PGHOST": "localhost"}
        subprocess.run([*primary.before, "bash", FILES / "replication.sh"], env=made, check=True, **primary.identity)
        rules = (primary.folder / "data" / "pg_hba.conf").read_text()
        assert rules.endswith("host replication standby samenet scram-sha-256\n")
        asked = [
            "psql",
            "-h",
            "localhost",
            "-U",
            "postgres",
            "-Atc",
            "SELECT rolreplication FROM pg_roles WHERE rolname = 'standby'",
        ]
        assert subprocess.run(asked, env=env, check=True, capture_output=True, text=True).stdout == "t\n"
        (folder / "docker-entrypoint.sh").write_text(ENTRYPOINT)
        (folder / "docker-entrypoint.sh").chmod(0o755)
        following = {
            **env,
            "PATH": f"{folder}:{env['PATH']}",
            "PGDATA": str(folder / "data"),
            "PRIMARY": "localhost",
            "PRIMARY_PORT": str(port),
            "STANDBY_PORT": str(standby_port),
        }
        ready = ["pg_isready", "-q", "-h", "localhost", "-p", str(standby_port)]
        stack.enter_context(
            running(
                [*before, "bash", FILES / "standby.sh"],
                lambda: subprocess.run(ready, env=env, check=False).returncode == 0,
                folder / "log",
                env=following,
                cwd=folder,
                **identity,
            )
        )
        yield


@contextmanager
def pooled(port: int, pooler_port: int) -> Iterator[None]:
    """PgBouncer under its configuration, and the list of users that its image's command writes."""
    (command,) = re.findall(r"^CMD (.*)$", (FILES / "Dockerfile.pgbouncer").read_text(encoding="utf-8"), re.MULTILINE)
    shell, flag, script = json.loads(command)
    with folder_of_nobody() as (folder, before, identity):
        text = replaced(
            "pgbouncer.ini",
            ("host=primary port=5432", f"host=127.0.0.1 port={port}"),
            ("listen_addr = *", "listen_addr = 127.0.0.1\nunix_socket_dir ="),
            ("listen_port = 6432", f"listen_port = {pooler_port}"),
            ("/tmp/userlist.txt", f"{folder}/userlist.txt"),
        )
        (folder / "ini").write_text(text)
        for old, new in (
            ("/tmp/userlist.txt", f"{folder}/userlist.txt"),
            ("pgbouncer /etc/pgbouncer/pgbouncer.ini", f"{pgbouncer.program()} {folder}/ini"),
        ):
            assert old in script
            script = script.replace(old, new)
        check = ["pg_isready", "-q", "-h", "127.0.0.1", "-p", str(pooler_port)]
        with running(
            [*before, shell, flag, script],
            lambda: subprocess.run([postgres.binaries() / check[0], *check[1:]], check=False).returncode == 0,
            folder / "log",
            env={**os.environ, **ALL_SECRETS},
            **identity,
        ):
            yield


def test_the_parts_work_together_and_a_server_that_ends_is_missed_by_nobody(tmp_path: Path) -> None:
    services = composed()
    port, standby_port, pooler_port, front, *own = (free_port() for _ in range(6))
    path = f"{postgres.binaries()}:{Path(sys.executable).parent}:{os.environ['PATH']}"
    env = environment(PATH=path, PGPORT=str(port), **ALL_SECRETS)
    places = {"pgbouncer:6432": pooler_port, "primary": port, "standby": standby_port}

    def settings(name: str) -> dict[str, str]:
        found = dict(services[name]["environment"])
        for place, there in places.items():
            found = {key: value.replace(f"@{place}/", f"@127.0.0.1:{there}/") for key, value in found.items()}
        return {**env, **found}

    with ExitStack() as stack:
        stack.enter_context(servers(env, port, standby_port))
        stack.enter_context(pooled(port, pooler_port))
        subprocess.run(["ordergraph", *services["migrate"]["command"]], cwd=tmp_path, env=settings("migrate"), check=True)
        serving = []
        for number, name in zip(own, ("serve", "serve2"), strict=True):
            command = ["ordergraph", *services[name]["command"], "--port", str(number)]
            ready = partial(is_up, f"http://127.0.0.1:{number}/readyz")
            serving.append(stack.enter_context(running(command, ready, tmp_path / name, cwd=tmp_path, env=settings(name))))
        configuration = tmp_path / "haproxy.cfg"
        configuration.write_text(
            replaced(
                "haproxy.cfg",
                ("bind :8000", f"bind 127.0.0.1:{front}"),
                ("serve:8000", f"127.0.0.1:{own[0]}"),
                ("serve2:8000", f"127.0.0.1:{own[1]}"),
            )
        )
        subprocess.run([haproxy(), "-c", "-q", "-f", configuration], check=True)
        address = f"http://127.0.0.1:{front}"
        stack.enter_context(
            running([haproxy(), "-db", "-f", configuration], partial(is_up, f"{address}/livez"), tmp_path / "haproxy")
        )
        made = subprocess.run(
            ["ordergraph", "key", "create", "front", "--scope", "write"],
            cwd=tmp_path,
            env=settings("serve"),
            check=True,
            capture_output=True,
            text=True,
        )
        with httpx2.Client(base_url=address, headers={"authorization": f"Bearer {made.stdout.split()[-1]}"}) as client:

            def ask(query: str, token: str = "") -> Any:
                headers = {"x-ordergraph-read-after": token} if token else {}
                answer = client.post("/graphql", json={"query": query}, headers=headers, timeout=30)
                assert answer.status_code == 200, answer.text
                return answer

            for number in range(10):
                written = ask(
                    f'mutation {{ createItem(input: {{sku: "S{number}", name: "x", price: "1"}}) {{ errors {{ code }} }} }}'
                )
                assert written.json()["data"]["createItem"]["errors"] == []
                found = ask(f'{{ item(by: {{sku: "S{number}"}}) {{ sku }} }}', written.headers["x-ordergraph-read-after"])
                assert found.json()["data"]["item"] == {"sku": f"S{number}"}
            of_us = "SELECT count(*) > 0 FROM pg_stat_activity WHERE usename = 'ordergraph'"
            assert says_yes(env, port, of_us)
            assert says_yes(env, standby_port, of_us)
            serving[0].terminate()
            for _ in range(100):
                assert ask("{ items { totalCount } }").json()["data"]["items"]["totalCount"] == 10
                time.sleep(0.02)
            assert serving[0].wait(timeout=30) == 0
            assert ask("{ items { totalCount } }").json()["data"]["items"]["totalCount"] == 10

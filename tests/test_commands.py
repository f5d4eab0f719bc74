"""The command line, as a user runs it: a process of its own in a folder of its own."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote

import httpx2
import pytest

from graph import migrate

ROOT = Path(__file__).parents[1]

Run = Callable[..., subprocess.CompletedProcess[str]]


def environment(**settings: str) -> dict[str, str]:
    """This process's environment without its settings, the checkout importable from any folder."""
    kept = {k: v for k, v in os.environ.items() if k not in ("DATABASE_URL", "CURRENCY") and not k.startswith("ORDERGRAPH_")}
    return {**kept, "PYTHONPATH": str(ROOT), **settings}


@pytest.fixture
def run(tmp_path: Path) -> Run:
    def run(*arguments: str, **settings: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "graph", *arguments],
            cwd=tmp_path,
            env=environment(**settings),
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    return run


def alembic(*arguments: str, **settings: str) -> subprocess.CompletedProcess[str]:
    """Alembic's own command line, in the checkout."""
    return subprocess.run(
        [sys.executable, "-m", "alembic", *arguments],
        cwd=ROOT,
        env=environment(**settings),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def refused(done: subprocess.CompletedProcess[str]) -> str:
    """What a command that failed says: one line, no traceback."""
    assert done.returncode == 1, done
    assert done.stderr.startswith("Error: ")
    assert len(done.stderr.splitlines()) == 1, done.stderr
    return done.stderr.removeprefix("Error: ").strip()


def test_migrate_goes_up_and_down(run: Run, bare_url: str) -> None:
    assert run("migrate", DATABASE_URL=bare_url).stdout == f"The database is at revision {migrate.head()}.\n"
    assert run("migrate", DATABASE_URL=bare_url).stdout == f"The database is at revision {migrate.head()}.\n"
    assert run("migrate", "--down-to", "base", DATABASE_URL=bare_url).stdout == "The database is at revision base.\n"
    assert "nowhere" in refused(run("migrate", "--down-to", "nowhere", DATABASE_URL=bare_url))


def test_sample_fills_an_empty_database_and_leaves_another_alone(run: Run, empty_url: str) -> None:
    assert "91 customers, 77 items, 830 orders, 2155 lines" in run("sample", DATABASE_URL=empty_url).stdout
    assert "the customer table has rows already" in refused(run("sample", DATABASE_URL=empty_url))


@pytest.mark.parametrize("command", ["serve", "sample"])
def test_a_postgresql_that_is_not_migrated_is_refused_with_the_remedy(run: Run, command: str, postgres_engines: Any) -> None:
    url = postgres_engines.new("nothing")
    assert "run `ordergraph migrate`" in refused(run(command, DATABASE_URL=url))
    postgres_engines.drop(url)


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("postgresql://shop:secret@127.0.0.1:1/orders", "shop:***@127.0.0.1:1"),
        ("postgresql://shop@host.invalid/orders", "host.invalid"),
        ("sqlite:////no/such/folder/orders.db", "unable to open database file"),
        ("sqlite://", "in-memory"),
        ("mysql://shop@host/orders", "not mysql"),
        ("orders", "DATABASE_URL: it must be"),
    ],
)
def test_a_database_that_cannot_be_used_is_told_in_one_line(run: Run, url: str, reason: str) -> None:
    told = refused(run("serve", DATABASE_URL=url))
    assert reason in told
    assert "secret" not in told


@pytest.mark.parametrize("command", ["serve", "migrate", "sample", "purge-keys"])
@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("postgresql://shop:p@ss:w/rd#secret@db/orders", "the password must be percent-encoded"),
        ("postgresql://shop@db/orders?password=secret&sslmode=no-verify", "sslmode can be disable"),
        (
            "postgresql://shop@127.0.0.1:1/orders?password=secret&sslmode=require",
            "cannot use postgresql://shop:***@127.0.0.1:1/orders",
        ),
    ],
)
def test_every_command_reads_the_url_alike_and_shows_no_secret(run: Run, command: str, url: str, reason: str) -> None:
    done = run(command, DATABASE_URL=url)
    assert reason in refused(done)
    assert "secret" not in done.stdout + done.stderr


def test_a_url_as_managed_postgresql_hands_it_out(run: Run, postgres_engines: Any) -> None:
    url = postgres_engines.new("nothing")
    path, _, host = url.replace("postgresql://", "postgres://").partition("?host=")
    managed = path.replace("@/", f"@{quote(unquote(host), safe='')}/") if host else path
    managed += "?sslmode=prefer&connect_timeout=10&application_name=shop&options=-c%20geqo%3Doff&target_session_attrs=read-write"
    done = run("migrate", DATABASE_URL=managed)
    assert done.stdout == f"The database is at revision {migrate.head()}.\n", done
    assert "830 orders" in run("sample", DATABASE_URL=managed).stdout
    assert run("purge-keys", DATABASE_URL=managed).stdout == "Deleted 0 idempotency keys.\n"
    postgres_engines.drop(url)


def test_a_setting_that_cannot_be_used_is_told_in_one_line(run: Run) -> None:
    assert "ORDERGRAPH_MAX_DEPTH" in refused(run("serve", ORDERGRAPH_MAX_DEPTH="deep"))


def test_schema_prints_and_checks(run: Run, tmp_path: Path) -> None:
    printed = run("schema")
    assert printed.stdout == (ROOT / "schema.graphql").read_text(encoding="utf-8")
    (tmp_path / "schema.graphql").write_text(printed.stdout, encoding="utf-8")
    assert run("schema", "--check").returncode == 0

    older = tmp_path / "older.graphql"
    older.write_text(printed.stdout + '\n"A type that went away."\ntype Relic {\n  id: ID!\n}\n', encoding="utf-8")
    checked = run("schema", "--check", "older.graphql")
    assert checked.returncode == 1
    assert "BREAKING: Relic was removed." in checked.stdout
    assert "older.graphql differs from the code" in checked.stderr


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


def ask_when_up(process: subprocess.Popen[str], port: int, query: str) -> Any:
    """The answer of a server that is just starting."""
    for _ in range(200):
        try:
            return httpx2.post(f"http://127.0.0.1:{port}/graphql", json={"query": query}).json()
        except httpx2.ConnectError:
            assert process.poll() is None, process.communicate()
            time.sleep(0.05)
    raise AssertionError("the server did not come up")


def serve_and_ask(folder: Path, query: str, *arguments: str, **settings: str) -> tuple[Any, str]:
    """Start a server, ask once, stop it: the answer and what the server said."""
    port = free_port()
    process = subprocess.Popen(
        [sys.executable, "-m", "graph", "serve", "--port", str(port), *arguments],
        cwd=folder,
        env=environment(**settings),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        answer = ask_when_up(process, port, query)
    finally:
        process.send_signal(signal.SIGTERM)
        _, said = process.communicate(timeout=15)
    return answer, said


def test_serve_needs_nothing_but_a_folder(tmp_path: Path) -> None:
    query = '{ customers(first: 1) { totalCount } item(by: {sku: "NW-1"}) { name } }'
    expected = {"data": {"customers": {"totalCount": 91}, "item": {"name": "Chai"}}}

    answer, said = serve_and_ask(tmp_path, query)
    assert answer == expected
    assert "loaded the Northwind sample" in said
    assert "--no-sample" in said
    assert (tmp_path / "ordergraph.db").exists()

    answer, said = serve_and_ask(tmp_path, query)
    assert answer == expected
    assert "Northwind" not in said


def test_serve_leaves_a_database_empty_when_told(tmp_path: Path) -> None:
    answer, said = serve_and_ask(tmp_path, "{ customers { totalCount } }", "--no-sample")
    assert answer == {"data": {"customers": {"totalCount": 0}}}
    assert "Northwind" not in said


def test_serve_works_on_a_migrated_database(tmp_path: Path, sample_url: str) -> None:
    answer, _ = serve_and_ask(tmp_path, "{ orders(first: 1) { totalCount } }", DATABASE_URL=sample_url)
    assert answer == {"data": {"orders": {"totalCount": 830}}}


def test_purge_keys_counts_what_it_deleted(run: Run, empty_url: str) -> None:
    assert run("purge-keys", DATABASE_URL=empty_url).stdout == "Deleted 0 idempotency keys.\n"

"""The command line, as a user runs it: a process of its own in a folder of its own."""

from __future__ import annotations

import asyncio
import re
import signal
import socket
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any
from unittest.mock import ANY
from urllib.parse import quote, unquote

import httpx2
import pytest
from sqlalchemy import make_url

from graph import migrate
from graph.settings import Settings
from tests import postgres
from tests.audit import rows_of
from tests.conftest import asking
from tests.engines import Postgres
from tests.forks import SECONDS, Forks, Piped, environment, shared

SHOP = "northwind"

ROOT = Path(__file__).parents[1]

Run = Callable[..., subprocess.CompletedProcess[str]]
Start = Callable[..., Piped]


def command(folder: Path, *arguments: str, **settings: str) -> subprocess.CompletedProcess[str]:
    """A command of the product, run in a folder."""
    return subprocess.run(
        [sys.executable, "-m", "graph", *arguments],
        cwd=folder,
        env=environment(**settings),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.fixture(scope="session")
def forks() -> Forks:
    return shared()


def on_a_free_port(arguments: Sequence[str]) -> Sequence[str]:
    """A command whose port is no matter of the test: somebody may sit at 8000."""
    return (*arguments, "--port", "0") if arguments[0] == "serve" and "--port" not in arguments else arguments


@pytest.fixture
def run(tmp_path: Path, forks: Forks) -> Run:
    """A command in a process that has imported all: what it does is what the test is about."""
    return lambda *arguments, obeys_modes=False, **settings: forks.run(
        tmp_path, on_a_free_port(arguments), environment(**settings), obeys_modes=obeys_modes
    )


@pytest.fixture
def start(tmp_path: Path, forks: Forks) -> Start:
    """A command like that of `run`, which runs on."""
    return lambda *arguments, **settings: forks.start(tmp_path, arguments, environment(**settings))


@pytest.fixture
def run_anew(tmp_path: Path) -> Run:
    """A command as a user starts it."""
    return lambda *arguments, **settings: command(tmp_path, *on_a_free_port(arguments), **settings)


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


@pytest.mark.parametrize("command", ["serve", "sample", "purge-keys", "purge-changes"])
def test_a_postgresql_that_is_not_migrated_is_refused_with_the_remedy(run: Run, command: str, postgres_engines: Any) -> None:
    url = postgres_engines.new("nothing")
    assert "run `ordergraph migrate`" in refused(run(command, DATABASE_URL=url))
    postgres_engines.drop(url)


@pytest.mark.parametrize("command", [["purge-keys"], ["purge-changes"], ["migrate", "--down-to", "base"]])
def test_a_file_is_made_only_by_what_serves_or_fills_it(run: Run, tmp_path: Path, command: list[str]) -> None:
    assert refused(run(*command)).endswith("ordergraph.db: there is no such file: run `ordergraph migrate`")
    assert list(tmp_path.iterdir()) == []


def test_keys_of_a_file_that_is_not_migrated_are_not_purged(run: Run, tmp_path: Path) -> None:
    (tmp_path / "ordergraph.db").touch()
    assert "run `ordergraph migrate`" in refused(run("purge-keys"))
    with closing(sqlite3.connect(tmp_path / "ordergraph.db")) as file:
        assert file.execute("SELECT count(*) FROM sqlite_master").fetchone() == (0,)


COMMANDS = ["migrate", "serve", "sample", "purge-keys", "purge-changes"]


@pytest.fixture
def latin_url(postgres_engines: Postgres) -> Iterator[str]:
    """A PostgreSQL database that cannot hold every text."""
    name = postgres.new_name()
    server = postgres_engines.server
    server.execute(f"""CREATE DATABASE "{name}" ENCODING 'LATIN1' LC_COLLATE 'C' LC_CTYPE 'C' TEMPLATE template0""")
    yield make_url(server.url).set(database=name).render_as_string(hide_password=False)
    server.drop(name)


@pytest.mark.parametrize("command", COMMANDS)
def test_a_database_whose_encoding_cannot_hold_every_text_is_refused(run: Run, command: str, latin_url: str) -> None:
    assert "its encoding is LATIN1" in refused(run(command, DATABASE_URL=latin_url))
    # Not a table was made.
    assert asyncio.run(rows_of(latin_url, "SELECT count(*) FROM pg_tables WHERE schemaname = 'public'")) == [[(0,)]]


async def test_the_app_itself_does_not_use_such_a_database(latin_url: str) -> None:
    async with asking(Settings(database_url=latin_url)) as ask:
        answer = await ask("{ customers { totalCount } }")
    assert [error["extensions"]["code"] for error in answer["errors"]] == ["SERVICE_UNAVAILABLE"]


def no_sqlite(path: Path) -> None:
    path.write_text("An old diary, longer than the header of a database. " * 40, encoding="utf-8")


def utf_16(path: Path) -> None:
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript("PRAGMA encoding = 'UTF-16le'; CREATE TABLE diary (entry)")


def migrated(path: Path, mode: int, folder_mode: int = 0o755) -> None:
    asyncio.run(migrate.upgrade(f"sqlite:///{path}"))
    path.chmod(mode)
    path.parent.chmod(folder_mode)


def content(path: Path) -> bytes | None:
    return path.read_bytes() if path.is_file() else None


#: What makes a file that cannot be used, and what is said of it.
UNUSABLE: dict[str, tuple[Callable[[Path], None], str]] = {
    "a folder": (Path.mkdir, "it is a folder"),
    "no SQLite": (no_sqlite, "it is no SQLite database"),
    "another encoding": (utf_16, "its encoding is UTF-16le"),
    "read-only": (lambda path: migrated(path, 0o444), "it or its folder cannot be written"),
    "unreadable": (lambda path: migrated(path, 0o000), "it or its folder cannot be written"),
    "in a read-only folder": (lambda path: migrated(path, 0o644, 0o555), "it or its folder cannot be written"),
}


@pytest.mark.parametrize(
    ("command", "name"), [*(("migrate", name) for name in UNUSABLE), *((command, "read-only") for command in COMMANDS[1:])]
)
def test_a_file_that_cannot_be_used_is_told_at_the_start(tmp_path: Path, run: Run, command: str, name: str) -> None:
    spoil, reason = UNUSABLE[name]
    folder = tmp_path / "data"
    folder.mkdir()
    spoil(folder / "orders.db")
    before = content(folder / "orders.db")
    url = f"sqlite:///{folder}/orders.db"
    told = refused(run(command, DATABASE_URL=url, obeys_modes="cannot be written" in reason))
    folder.chmod(0o755)
    assert reason in told
    assert content(folder / "orders.db") == before


def test_several_that_migrate_at_once_all_succeed(start: Start, bare_url: str) -> None:
    processes = [start("migrate", DATABASE_URL=bare_url) for _ in range(4)]
    said = [process.communicate() for process in processes]
    assert said == [(f"The database is at revision {migrate.head()}.\n", "")] * 4


def test_several_that_start_at_once_on_a_new_file_all_serve_one_sample(tmp_path: Path, start: Start) -> None:
    url, ports = f"sqlite:///{tmp_path}/orders.db", [free_port() for _ in range(3)]
    served = [start("serve", "--port", str(port), DATABASE_URL=url) for port in ports]
    try:
        for process, port in zip(served, ports, strict=True):
            answer = ask_when_up(process, port, "{ orders(first: 1) { totalCount } }")
            assert answer == {"data": {"orders": {"totalCount": 830}}}
    finally:
        for process in served:
            process.terminate()
        said = [process.communicate()[1] for process in served]
    assert sum("loaded the Northwind sample" in text for text in said) == 1
    assert "Traceback" not in "".join(said)


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("postgresql://shop:secret@127.0.0.1:1/orders", "shop:***@127.0.0.1:1"),
        ("postgresql://shop@host.invalid/orders", "host.invalid"),
        ("sqlite:////no/such/folder/orders.db", "there is no folder /no/such/folder"),
        ("sqlite://", "in-memory"),
        ("mysql://shop@host/orders", "not mysql"),
        ("orders", "DATABASE_URL: it must be"),
    ],
)
def test_a_database_that_cannot_be_used_is_told_in_one_line(run: Run, url: str, reason: str) -> None:
    told = refused(run("serve", DATABASE_URL=url))
    assert reason in told
    assert "secret" not in told
    assert "Errno" not in told


@pytest.mark.parametrize("command", ["serve", "migrate", "sample", "purge-keys", "purge-changes"])
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
    assert "did you mean ORDERGRAPH_MAX_PAGE_SIZE?" in refused(run("migrate", ORDERGRAPH_MAX_PAGESIZE="9"))
    assert "ORDERGRAPH_DEFAULT_PAGE_SIZE (50) may not be above ORDERGRAPH_MAX_PAGE_SIZE (20)" in refused(
        run("serve", ORDERGRAPH_MAX_PAGE_SIZE="20")
    )
    assert "ORDERGRAPH_MAX_DEPTH" in refused(run("serve", ORDERGRAPH_MAX_DEPTH="deep"))


def test_schema_prints_and_checks(run: Run, run_anew: Run, tmp_path: Path) -> None:
    printed = run_anew("schema")
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
    """A port that the system gives to nobody else while this process runs: who asks for it by its number may listen there."""
    held = socket.socket()
    held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    held.bind(("127.0.0.1", 0))
    port: int = held.getsockname()[1]
    held.detach()  # it stays bound
    return port


def ask_when_up(process: subprocess.Popen[str] | Piped, port: int, query: str, seconds: int = 60) -> Any:
    """The answer of a server that is just starting. It listens, and lets its clients wait, while it makes and fills its file."""
    end = time.monotonic() + seconds
    with httpx2.Client(verify=False, timeout=seconds) as client:  # to read certificates again and again takes longer than to ask
        while True:
            try:
                return client.post(f"http://127.0.0.1:{port}/graphql", json={"query": query}).json()
            except httpx2.ConnectError:
                assert time.monotonic() < end, "the server did not come up"
                assert process.poll() is None, process.communicate()
                time.sleep(0.05)


def serve_and_ask(start: Start, query: str, *arguments: str, **settings: str) -> tuple[Any, str]:
    """Start a server, ask once, stop it: the answer and what the server said."""
    port = free_port()
    process = start("serve", "--port", str(port), *arguments, **settings)
    try:
        answer = ask_when_up(process, port, query)
    finally:
        process.send_signal(signal.SIGTERM)
        _, said = process.communicate()
    return answer, said


def address_of(process: Piped) -> str:
    """The address that a server says it is reached by."""
    for line in process.stderr:
        if found := re.match(r"Serving (http://\S+)/graphql\b", line):
            return found[1]
    raise AssertionError("it ended without serving")


@pytest.mark.parametrize(
    ("host", "shown"), [("127.0.0.1", "127.0.0.1"), ("::1", "[::1]"), ("[::1]", "[::1]"), ("localhost", "localhost")]
)
def test_a_server_that_says_it_serves_is_reached_where_it_says(start: Start, host: str, shown: str) -> None:
    process = start("serve", "--no-sample", "--host", host, "--port", "0")
    try:
        address = address_of(process)
        assert re.fullmatch(rf"http://{re.escape(shown)}:[1-9][0-9]*", address)
        assert httpx2.get(f"{address}/livez", timeout=SECONDS).text == "ok\n"
    finally:
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=60)
    assert process.returncode == 0
    assert "Traceback" not in said


def test_a_port_that_is_taken_is_told_before_anything_is_done(run: Run, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert refused(run("serve", "--port", str(port))) == f"cannot listen on port {port} of 127.0.0.1: it is taken"
    assert list(tmp_path.iterdir()) == []
    assert "no such host" in refused(run("serve", "--host", "host.invalid"))
    assert "cannot listen on port 8000 of 192.0.2.1" in refused(run("serve", "--host", "192.0.2.1", "--port", "8000", "--open"))


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "", "192.0.2.1", "[2001:db8::1]", "::ffff:192.0.2.1"])
def test_nobody_is_served_on_a_network_unless_he_is_asked_who_he_is(run: Run, tmp_path: Path, host: str) -> None:
    """Nothing is listened to or made."""
    done = run("serve", "--host", host)
    assert (done.returncode, len(done.stderr.splitlines())) == (2, 1)
    assert f"not {host or 'all networks'}: set ORDERGRAPH_AUTH=on, or say --open" in done.stderr
    assert list(tmp_path.iterdir()) == []


HERE = ["localhost", "localhost:1", "a.localhost", "127.0.0.1", "[::1]:80"]


@pytest.mark.parametrize(
    ("arguments", "settings", "told"),
    [
        ((), {}, {200: HERE, 400: ["evil.example", "localhost.evil"]}),
        ((), {"ORDERGRAPH_HOSTS": "shop.example"}, {200: ["shop.example"], 400: ["evil.example", "localhost"]}),
        (("--open",), {}, {200: ["evil.example"]}),
        ((), {"ORDERGRAPH_AUTH": "on"}, {401: ["evil.example"]}),
    ],
)
def test_a_page_whose_name_leads_here_reads_nothing_where_nobody_is_asked_who_he_is(
    start: Start, arguments: tuple[str, ...], settings: dict[str, str], told: dict[int, list[str]]
) -> None:
    process = start("serve", "--no-sample", "--port", "0", *arguments, **settings)
    try:
        address = address_of(process)
        for status, names in told.items():
            for name in names:
                answer = httpx2.post(
                    f"{address}/graphql", json={"query": "{ __typename }"}, headers={"host": name}, timeout=SECONDS
                )
                assert answer.status_code == status, name
        assert httpx2.get(f"{address}/livez", headers={"host": "probe.example"}, timeout=SECONDS).status_code == 200
    finally:
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=60)


def test_keys_that_verify_no_token_stop_the_start_before_anything_is_done(run: Run, tmp_path: Path) -> None:
    """However many processes would serve."""
    file = tmp_path / "keys.json"
    file.write_text('{"keys": []}')
    for given, said in (
        ({"ORDERGRAPH_JWKS_FILE": "nowhere.json"}, "ORDERGRAPH_JWKS_FILE: it cannot be read: No such file or directory"),
        ({"ORDERGRAPH_JWKS_FILE": str(file)}, "ORDERGRAPH_JWKS_FILE: it has no key for RS256, ES256 or EdDSA"),
        ({"ORDERGRAPH_JWT_SECRET": "short"}, "ORDERGRAPH_JWT_SECRET must have 32 bytes or more"),
        (
            {"ORDERGRAPH_JWT_SECRET": "ssh-rsa " + "A" * 40},
            "ORDERGRAPH_JWT_SECRET is the text of a key, not a secret",
        ),
    ):
        assert refused(run("serve", ORDERGRAPH_AUTH="on", **given)) == said
    with socket.create_server(("127.0.0.1", 0)) as nobody:
        url = f"postgresql://shop@127.0.0.1:{nobody.getsockname()[1]}/orders"
        several = run("serve", "--workers", "2", DATABASE_URL=url, ORDERGRAPH_AUTH="on", ORDERGRAPH_JWKS_FILE="nowhere.json")
    assert "cannot be read" in refused(several)
    assert [path.name for path in tmp_path.iterdir()] == ["keys.json"]


def test_a_server_that_is_open_says_so_and_one_that_asks_is_not(run: Run, start: Start) -> None:
    for arguments, settings, status, said in (
        (("--open",), {}, 200, "whoever reaches this server may read and change everything"),
        ((), {"ORDERGRAPH_AUTH": "on"}, 401, ""),
    ):
        process = start("serve", "--no-sample", "--host", "0.0.0.0", "--port", "0", *arguments, **settings)
        try:
            address = address_of(process).replace("0.0.0.0", "127.0.0.1")
            answer = httpx2.post(f"{address}/graphql", json={"query": "{ __typename }"}, timeout=SECONDS)
            assert answer.status_code == status
        finally:
            process.send_signal(signal.SIGINT)
            _, told = process.communicate(timeout=60)
        assert ("everything" in told) == bool(said)
        assert said in told
    both = run("serve", "--open", ORDERGRAPH_AUTH="on")
    assert (both.returncode, len(both.stderr.splitlines())) == (2, 1)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("command", ["serve", "migrate", "sample", "purge-keys", "purge-changes"])
def test_a_command_that_is_ended_ends_without_a_traceback(start: Start, command: str, number: signal.Signals) -> None:
    """Each waits for a database that says nothing."""
    with socket.create_server(("127.0.0.1", 0)) as database:
        url = f"postgresql://shop@127.0.0.1:{database.getsockname()[1]}/orders?sslmode=disable&connect_timeout=60"
        process = start(command, *(["--port", "0"] if command == "serve" else []), DATABASE_URL=url)
        database.settimeout(60)
        with database.accept()[0]:
            process.send_signal(number)
            _, said = process.communicate(timeout=60)
    assert process.returncode in (1, -number)
    assert said.strip() in ("", "Aborted!")


def test_a_sample_that_is_interrupted_leaves_nothing(tmp_path: Path, run: Run, start: Start) -> None:
    assert run("migrate").returncode == 0
    process = start("sample")
    while process.poll() is None and not list(tmp_path.glob("*.db-wal")):
        time.sleep(0.001)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=60)
    assert "Traceback" not in said
    [[(orders,)]] = asyncio.run(rows_of(f"sqlite:///{tmp_path}/ordergraph.db", "SELECT count(*) FROM orders"))
    assert orders == 830 or (orders == 0 and process.returncode != 0)  # or it was there when the signal came
    assert ("830 orders" in run("sample").stdout) == (orders == 0)


def test_serve_needs_nothing_but_a_folder(tmp_path: Path, start: Start) -> None:
    query = '{ customers(first: 1) { totalCount } item(by: {sku: "NW-1"}) { name } }'
    expected = {"data": {"customers": {"totalCount": 91}, "item": {"name": "Chai"}}}

    answer, said = serve_and_ask(start, query)
    assert answer == expected
    assert "loaded the Northwind sample" in said
    assert "--no-sample" in said
    assert (tmp_path / "ordergraph.db").exists()

    answer, said = serve_and_ask(start, query)
    assert answer == expected
    assert "Northwind" not in said


def test_serve_leaves_a_database_empty_when_told(start: Start) -> None:
    answer, said = serve_and_ask(start, "{ customers { totalCount } }", "--no-sample")
    assert answer == {"data": {"customers": {"totalCount": 0}}}
    assert "Northwind" not in said


def test_serve_works_on_a_migrated_database(start: Start, shop_url: str) -> None:
    answer, _ = serve_and_ask(start, "{ orders(first: 1) { totalCount } }", DATABASE_URL=shop_url)
    assert answer == {"data": {"orders": {"totalCount": 830}}}


def test_purge_keys_counts_what_it_deleted(run: Run, empty_url: str) -> None:
    assert run("purge-keys", DATABASE_URL=empty_url).stdout == "Deleted 0 idempotency keys.\n"


def test_purge_changes_counts_what_it_deleted(run: Run, shop_url: str) -> None:
    """All but the last: nothing of a shop just made is past its time, unless that is short."""
    assert run("purge-changes", DATABASE_URL=shop_url).stdout == "Deleted 0 changes.\n"


@pytest.mark.parametrize("command", ["serve", "migrate", "sample", "purge-keys", "purge-changes", "schema"])
def test_a_setting_that_cannot_be_used_is_one_line_from_every_command(run: Run, run_anew: Run, command: str) -> None:
    """Also from the one that imports the most, and from the one whose imports alone read any."""
    message = refused((run_anew if command in ("serve", "schema") else run)(command, ORDERGRAPH_MAXCOST="5"))
    assert message == "ORDERGRAPH_MAXCOST is no setting of this version; did you mean ORDERGRAPH_MAX_COST?"


def test_keys_are_made_listed_and_taken_back(run: Run, shop_url: str) -> None:
    """The key's text is told once, by itself; what is wrong is one line."""
    made = run(
        "key", "create", "nightly", "--scope", "read", "--customer", "Customer:1", DATABASE_URL=shop_url, ORDERGRAPH_AUTH="on"
    )
    assert (made.returncode, made.stderr) == (0, "")
    assert (found := re.fullmatch(r"ogk_([0-9a-f]{12})_[0-9a-f]{64}\n", made.stdout))
    open_ = run(
        "key", "create", "weekly", "--scope", "write", "--scope", "read", "--expires", "2999-01-31", DATABASE_URL=shop_url
    )
    assert "ORDERGRAPH_AUTH=on" in open_.stderr
    listed = run("key", "list", DATABASE_URL=shop_url).stdout.splitlines()
    assert [line.split() for line in listed] == [
        ["NAME", "PREFIX", "SCOPES", "CUSTOMER", "STATE", "CREATED", "EXPIRES"],
        ["nightly", found[1], "read", "Customer:1", "good", ANY, "-"],
        ["weekly", open_.stdout[4:16], "write", "read", "-", "good", ANY, "2999-01-31"],
    ]
    assert "nightly" in refused(run("key", "create", "nightly", "--scope", "read", DATABASE_URL=shop_url))
    assert "Customer:999" in refused(
        run("key", "create", "x", "--scope", "read", "--customer", "Customer:999", DATABASE_URL=shop_url)
    )
    assert "expired" in refused(run("key", "create", "x", "--scope", "read", "--expires", "2020-01-01", DATABASE_URL=shop_url))
    assert run("key", "create", "x", DATABASE_URL=shop_url).returncode == 2
    assert run("key", "create", "x", "--scope", "root", DATABASE_URL=shop_url).returncode == 2
    assert run("key", "revoke", found[1], DATABASE_URL=shop_url).stdout.startswith("Revoked nightly")
    assert "already" in refused(run("key", "revoke", "nightly", DATABASE_URL=shop_url))
    assert "'x'" in refused(run("key", "revoke", "x", DATABASE_URL=shop_url))
    assert [line.split()[-3] for line in run("key", "list", DATABASE_URL=shop_url).stdout.splitlines()[1:]] == ["revoked", "good"]


def test_the_first_key_makes_the_file_that_will_be_served(run: Run, tmp_path: Path) -> None:
    assert "there is no such file" in refused(run("key", "list"))
    assert run("key", "create", "first", "--scope", "admin").returncode == 0
    assert "first" in run("key", "list").stdout

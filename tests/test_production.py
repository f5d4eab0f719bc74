"""`docs/production.md` taken at its word: roles and grants, the unit, the settings, a server under them, backup and restore.

What it has root do is not done here: the files that are installed then are checked instead.
"""

from __future__ import annotations

import ast
import asyncio
import configparser
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import asyncpg
import httpx2
import pytest

from graph.__main__ import main
from graph.database.backends import configured
from graph.environment import from_environment
from graph.settings import Settings
from tests import postgres
from tests.audit import rows_of
from tests.forks import environment
from tests.printed import blocks, part
from tests.test_commands import free_port

ROOT = Path(__file__).parents[1]
FILES = ROOT / "docs/production"
PAGE = (ROOT / "docs/production.md").read_text(encoding="utf-8")
#: Makes, changes and reads rows of every table that a server writes.
WRITES = """mutation {
  createCustomer(input: {name: "Ada", email: "ada@example.org",
    orders: [{items: [{item: {create: {sku: "INK", name: "Ink", price: "4.50", stock: 9}}, quantity: 2}]}]}) @idempotent(key: "a")
  { customer { orders { nodes { totalAmount } } } errors { message } }
  insertItems(input: {rows: [{sku: "PEN", name: "Pen", price: "1"}]}) { inserted errors { message } }
}"""
COUNT = "{ customers { totalCount } items { totalCount } orders { totalCount } }"


def variables(file: str) -> dict[str, str]:
    lines = (FILES / file).read_text(encoding="utf-8").splitlines()
    return dict(line.split("=", 1) for line in lines if line and not line.startswith("#"))


def options(command: str) -> dict[str, Any]:
    """What the command line understands of a command of ours. It refuses what it does not know."""
    _, _, words = command.partition("ordergraph ")
    name, *arguments = words.split()
    with main.commands[name].make_context(name, arguments) as context:
        return context.params


def test_the_settings_are_settings_and_let_nobody_in_unasked() -> None:
    found = variables("ordergraph.env")
    authorities = str(ROOT / "tests/tls/localhost.crt")  # the operator's file is not there
    url = found["DATABASE_URL"].replace("/etc/ordergraph/ca.pem", authorities)
    settings = from_environment({**found, "DATABASE_URL": url})
    assert [name for name, _ in configured(settings).hosts] == ["db.example"]
    assert (settings.auth, settings.production, settings.introspection, settings.playground) == (True, True, False, False)
    assert "sslmode=verify-full" in settings.database_url
    assert settings.cors_origins
    assert settings.hosts


def test_the_unit_is_one_and_starts_what_the_page_installs(tmp_path: Path) -> None:
    text = (FILES / "ordergraph.service").read_text(encoding="utf-8")
    unit = configparser.RawConfigParser(strict=True)
    unit.optionxform = str  # type: ignore[assignment,method-assign]  # systemd's names have capitals
    unit.read_string(text)
    service = dict(unit["Service"])
    installed = "\n".join(blocks(part(PAGE, "## The server")))
    assert service["EnvironmentFile"] in installed
    program = service["ExecStart"].split()[0]
    assert f"python3 -m venv {Path(program).parents[1]}\n" in installed
    assert options(service["ExecStart"])["workers"] == 2
    assert int(service["TimeoutStopSec"]) > Settings().drain_seconds
    if shutil.which("systemd-analyze"):
        there = tmp_path / "ordergraph.service"
        there.write_text(text.replace(program, sys.executable))
        checked = subprocess.run(["systemd-analyze", "verify", there], capture_output=True, text=True, check=False)
        told = [line for line in checked.stderr.splitlines() if "ordergraph.service" in line]  # not of the machine's own units
        assert told == []


def test_every_file_that_the_page_installs_is_there() -> None:
    commands = "\n".join(blocks(PAGE))
    named = {word for word in commands.split() if word.startswith("docs/")}
    assert named == {f"docs/production/{name}" for name in ("roles.sql", "ordergraph.env", "ordergraph.service", "compose.yaml")}
    assert all((ROOT / name).is_file() for name in named)


@contextmanager
def machine(folder: Path) -> Iterator[dict[str, str]]:
    """A PostgreSQL that listens as on a machine of its own, and the environment in which the page's commands find it."""
    (folder / ".venv").symlink_to(sys.prefix)
    (folder / "docs").symlink_to(ROOT / "docs")
    programs, port = postgres.binaries(), free_port()
    with postgres.started(programs, "listen_addresses=localhost", f"port={port}"):
        yield environment(PATH=f"{programs}:{os.environ['PATH']}", PGPORT=str(port))


def wait_until_up(process: subprocess.Popen[str], port: int, seconds: int = 120) -> None:
    """Wait until the process serves, under whatever names."""
    end = time.monotonic() + seconds
    while True:
        try:
            assert httpx2.get(f"http://127.0.0.1:{port}/livez", timeout=seconds).status_code == 200
            return
        except httpx2.ConnectError:
            assert time.monotonic() < end, "the server did not come up"
            assert process.poll() is None, process.communicate()
            time.sleep(0.05)


@contextmanager
def serving(folder: Path, env: dict[str, str], **settings: str) -> Iterator[int]:
    """The server as the unit starts it, under these settings; its port."""
    port = free_port()
    process = subprocess.Popen(
        [sys.executable, "-m", "graph", "serve", "--workers", "2", "--port", str(port)],
        cwd=folder,
        env={**env, **settings},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    with process:
        try:
            wait_until_up(process, port)
            yield port
        finally:
            process.terminate()


def run(folder: Path, env: dict[str, str], *commands: str) -> str:
    """What commands print that a shell runs as they stand there."""
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", "\n".join(commands)], cwd=folder, env=env, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, f"{commands}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def told(graphql: str, number: int, seconds: int = 60) -> int:
    """How many changes the feed has, once it has this many; nobody listens, so they may be told a little later."""
    end = time.monotonic() + seconds
    while True:
        found: int = httpx2.post(graphql, json={"query": "{ changes { totalCount } }"}).json()["data"]["changes"]["totalCount"]
        if found >= number or time.monotonic() > end:
            return found
        time.sleep(0.1)


async def forbidden(port: int, statement: str) -> None:
    connection = await asyncpg.connect(host="localhost", port=port, user="ordergraph", database="ordergraph")
    try:
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await connection.execute(statement)
    finally:
        await connection.close()


@pytest.mark.long
def test_the_page_at_its_word(tmp_path: Path) -> None:
    (database,) = blocks(part(PAGE, "## The database"))
    key, curl = blocks(part(PAGE, "## Who may ask"))
    dump, restore = blocks(part(PAGE, "## Backup and restore"))
    (migrate,) = blocks(part(PAGE, "## Upgrade without a pause"))
    with machine(tmp_path) as env:
        at = f"localhost:{env['PGPORT']}"
        printed = run(tmp_path, env, database, key)
        token = printed.split()[-1]
        assert token.startswith("ogk_"), printed
        for statement in ("CREATE TABLE mine (id int)", "DROP TABLE item", "TRUNCATE item", "ALTER TABLE item ADD note text"):
            asyncio.run(forbidden(int(env["PGPORT"]), statement))

        url = f"postgresql://ordergraph:choose-another@{at}/ordergraph"
        settings = {**variables("ordergraph.env"), "DATABASE_URL": url}
        with serving(tmp_path, env, **settings) as port:
            answer = run(tmp_path, {**env, "KEY": token}, curl.replace(":8000", f":{port}").replace("curl", "curl -s"))
            assert answer == '{"data":{"items":{"totalCount":0}}}'
            graphql = f"http://127.0.0.1:{port}/graphql"
            host = {"host": "api.shop.example"}
            assert httpx2.post(graphql, json={"query": WRITES}, headers=host).status_code == 401
            assert httpx2.post(graphql, json={"query": WRITES}, headers={"host": "other.example"}).status_code == 400
            sent = {**host, "authorization": f"Bearer {token}", "origin": "https://shop.example"}
            # The key has the scope `write`, and plain rows take `admin`: nothing of the whole operation is run.
            assert httpx2.post(graphql, json={"query": WRITES}, headers=sent).status_code == 403
            wrote = httpx2.post(graphql, json={"query": WRITES.partition("  insertItems")[0] + "}"}, headers=sent)
            assert wrote.headers["access-control-allow-origin"] == "https://shop.example"
            payload = wrote.json()["data"]["createCustomer"]
            assert (payload["errors"], payload["customer"]["orders"]["nodes"][0]["totalAmount"]) == ([], "9.00")
            for path in ("/livez", "/readyz", "/metrics"):
                answered = httpx2.get(f"http://127.0.0.1:{port}{path}", headers=sent)
                assert answered.status_code == (403 if path == "/metrics" else 200), path

        owner = f"export OWNER_URL=postgresql://ordergraph_owner:choose-one@{at}/ordergraph"
        run(tmp_path, env, owner, dump, restore, migrate)
        with serving(tmp_path, env, DATABASE_URL=url.removesuffix("ordergraph") + "restored") as port:
            graphql = f"http://127.0.0.1:{port}/graphql"
            one = {"totalCount": 1}
            assert httpx2.post(graphql, json={"query": COUNT}).json()["data"] == {"customers": one, "items": one, "orders": one}
            answer = httpx2.post(graphql, json={"query": WRITES.replace("ada@", "eve@").replace('"INK"', '"INK-2"')}).json()
            assert all(payload["errors"] == [] for payload in answer["data"].values()), answer
            assert told(graphql, 9) == 9  # four of the dump, which were numbered there or are now, and five of these


@pytest.mark.long
async def test_a_migration_that_waits_for_a_lock_gives_up_and_has_changed_nothing(tmp_path: Path) -> None:
    (database,) = blocks(part(PAGE, "## The database"))
    (migrate,) = blocks(part(PAGE, "## Upgrade without a pause"))
    assert "lock_timeout%3D5s" in migrate
    with machine(tmp_path) as env:
        run(tmp_path, env, database)
        url = f"postgresql://ordergraph_owner:choose-one@localhost:{env['PGPORT']}/ordergraph"
        run(tmp_path, {**env, "DATABASE_URL": url}, ".venv/bin/ordergraph migrate --down-to 0002")
        connection = await asyncpg.connect(url)
        try:
            await connection.execute("BEGIN; LOCK TABLE orders IN ROW EXCLUSIVE MODE")
            shorter = migrate.replace("lock_timeout%3D5s", "lock_timeout%3D100ms")
            done = await asyncio.to_thread(
                subprocess.run,
                ["bash", "-c", shorter],
                cwd=tmp_path,
                env={**env, "OWNER_URL": url},
                capture_output=True,
                text=True,
                check=False,
            )
            assert done.returncode == 1, done
            assert "lock timeout" in done.stderr
            assert await rows_of(url, "SELECT version_num FROM alembic_version") == [[("0002",)]]
        finally:
            await connection.close()
        run(tmp_path, {**env, "OWNER_URL": url}, migrate)


#: What takes something away, or makes the servers of the version before fail.
TAKES_AWAY = {"drop_table", "drop_column", "alter_column", "rename_table", "drop_constraint", "drop_index"}
MIGRATIONS = sorted((ROOT / "migrations/versions").glob("*.py"))


def way_up(source: str) -> Iterator[ast.AST]:
    """What a migration runs on its way up: `upgrade`, and the functions of the module that are named there."""
    functions = {node.name: node for node in ast.parse(source).body if isinstance(node, ast.FunctionDef)}
    reached, ahead = set[str](), ["upgrade"]
    while ahead:
        name = ahead.pop()
        if name in functions and name not in reached:
            reached.add(name)
            for node in ast.walk(functions[name]):
                yield node
                if isinstance(node, ast.Name):
                    ahead.append(node.id)


def taken_away(source: str) -> list[str]:
    """What a migration does on its way up that the servers of the version before may not survive."""
    found = []
    for node in way_up(source):
        if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Attribute):
            continue
        if node.func.attr in TAKES_AWAY:
            found.append(node.func.attr)
        if node.func.attr == "add_column":
            (column,) = (each for each in node.args if isinstance(each, ast.Call))
            said = {word.arg: ast.unparse(word.value) for word in column.keywords}
            if said.get("nullable", "True") == "False" and "server_default" not in said:
                found.append("add_column without a default")
    return found


@pytest.mark.parametrize("path", MIGRATIONS, ids=lambda path: path.stem)
def test_a_migration_only_adds(path: Path) -> None:
    assert taken_away(path.read_text(encoding="utf-8")) == []


def test_what_takes_away_is_seen() -> None:
    added = 'op.add_column("item", sa.Column("a", sa.Integer(), nullable=False{}))'
    assert taken_away(f"def upgrade():\n    {added.format('')}\ndef downgrade():\n    op.drop_table('x')") == [
        "add_column without a default"
    ]
    assert taken_away(f"def upgrade():\n    {added.format(', server_default=sa.text(chr(48))')}") == []
    source = "def upgrade():\n    with op.batch_alter_table('item') as batch:\n        batch.drop_column('note')"
    assert taken_away(source) == ["drop_column"]
    source = "def indexed(): op.drop_index('i')\ndef unused(): op.drop_table('t')\ndef upgrade():\n    indexed()"
    assert taken_away(source) == ["drop_index"]

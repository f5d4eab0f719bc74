"""The commands for shops, and `--shop` of those that are about one, as users run them."""

from __future__ import annotations

import asyncio
import json
import re
import signal
import sqlite3
import subprocess
from collections.abc import Callable, Iterator
from contextlib import closing
from functools import partial
from pathlib import Path

import asyncpg
import httpx2
import pytest

from graph import migrate
from graph.database.shop_names import schema_of_shop
from tests.engines import Postgres
from tests.test_commands import Run, Start, address_of, refused

HEAD = migrate.head()
Shops = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest) -> str:
    """Where shops are made."""
    if request.param == "sqlite":
        return "sqlite:///./shops"
    found: str = request.getfixturevalue("bare_postgres_url")
    return found


@pytest.fixture
def bare_postgres_url(postgres_engines: Postgres) -> Iterator[str]:
    url = postgres_engines.new("nothing")
    yield url
    postgres_engines.drop(url)


@pytest.fixture
def shops(run: Run, url: str) -> Shops:
    """A command of a deployment with many shops."""
    return lambda *arguments, **more: run(*arguments, DATABASE_URL=url, ORDERGRAPH_SHOPS="on", **more)


def done(found: subprocess.CompletedProcess[str]) -> str:
    assert (found.returncode, found.stderr) == (0, ""), found
    return found.stdout


def misused(found: subprocess.CompletedProcess[str]) -> str:
    assert found.returncode == 2, found
    return found.stderr.strip()


def test_the_life_of_a_shop(shops: Shops, tmp_path: Path, url: str) -> None:
    made = done(shops("shop", "create", "acme", "--host", "Acme.example", "--host", "www.acme.example"))
    assert made == "Made the shop acme, to which acme.example, www.acme.example lead.\n"
    assert done(shops("shop", "create", "north-wind")) == "Made the shop north-wind.\n"
    assert refused(shops("shop", "create", "acme")) == "there is a shop acme already"
    assert "is no name of a shop" in refused(shops("shop", "create", "../acme"))

    title, *lines = done(shops("shop", "list")).splitlines()
    assert title.split() == ["NAME", "HOSTS", "REVISION", "CREATED", "ARCHIVED"]
    assert [line.split()[:3] for line in lines] == [["acme", "acme.example,www.acme.example", HEAD], ["north-wind", "-", HEAD]]

    both = done(shops("shop", "hosts", "north-wind", "north.example", "www.north.example"))
    assert both == "To the shop north-wind lead north.example, www.north.example.\n"
    assert done(shops("shop", "hosts", "north-wind", "north.example")) == "To the shop north-wind leads north.example.\n"
    assert refused(shops("shop", "hosts", "north-wind", "acme.example")) == "the host acme.example leads to the shop acme"
    assert done(shops("shop", "hosts", "north-wind", "--none")) == "To the shop north-wind leads no host.\n"
    for wrong in (["north-wind"], ["north-wind", "a.example", "--none"]):
        assert "name the hosts" in misused(shops("shop", "hosts", *wrong))

    assert "91 customers" in done(shops("sample", "--shop", "acme"))
    assert refused(shops("shop", "drop", "acme", "--yes")).startswith("the shop acme is served: archive it first")
    assert done(shops("shop", "archive", "acme")).startswith("Archived the shop acme")
    assert done(shops("shop", "archive", "acme", "--restore")).startswith("Restored the shop acme")
    done(shops("shop", "archive", "acme"))
    told = json.loads(done(shops("shop", "list", "--json")))
    assert [(shop["name"], shop["hosts"], shop["revision"], shop["archivedAt"] is None) for shop in told] == [
        ("acme", ["acme.example", "www.acme.example"], HEAD, False),
        ("north-wind", [], HEAD, True),
    ]

    exported = shops("shop", "export", "acme")
    assert exported.returncode == 0
    assert exported.stdout == shops("export", "--shop", "acme").stdout
    assert len(exported.stdout.splitlines()) == 91 + 77 + 830
    assert shops("shop", "export", "north-wind").stdout == ""
    (tmp_path / "acme.ndjson").write_text(exported.stdout, encoding="utf-8")
    assert shops("import", "--shop", "north-wind", "acme.ndjson").returncode == 0
    assert shops("shop", "export", "north-wind").stdout == exported.stdout

    assert "say --yes" in misused(shops("shop", "drop", "acme"))
    assert done(shops("shop", "drop", "acme", "--yes")) == "Dropped the shop acme.\n"
    assert refused(shops("shop", "drop", "acme", "--yes")) == "there is no shop acme"
    assert [shop["name"] for shop in json.loads(done(shops("shop", "list", "--json")))] == ["north-wind"]
    assert shops("shop", "export", "north-wind").stdout == exported.stdout


def test_migrate_brings_all_shops_to_this_version(shops: Shops) -> None:
    assert done(shops("migrate")) == f"0 shops are at revision {HEAD}; 0 migrated.\n"
    for name in ("acme", "other", "third"):
        done(shops("shop", "create", name))
    assert done(shops("shop", "migrate")) == f"3 shops are at revision {HEAD}; 0 migrated.\n"
    assert done(shops("shop", "migrate", "--down-to", "0008", "acme", "other")) == "2 shops are at revision 0008; 2 migrated.\n"
    assert "run `ordergraph migrate`" in refused(shops("purge-keys", "--shop", "acme"))
    assert done(shops("purge-keys", "--shop", "third")) == "Deleted 0 idempotency keys.\n"
    assert done(shops("shop", "migrate", "acme")) == f"1 shop is at revision {HEAD}; 1 migrated.\n"
    assert done(shops("migrate")) == f"3 shops are at revision {HEAD}; 1 migrated.\n"
    assert done(shops("migrate", "--down-to", "base")) == "3 shops are at revision base; 3 migrated.\n"
    assert refused(shops("migrate", "--down-to", "nowhere")) == "there is no revision nowhere"
    assert refused(shops("shop", "migrate", "nobody")) == "there is no shop nobody"
    assert done(shops("migrate")) == f"3 shops are at revision {HEAD}; 3 migrated.\n"


def test_two_who_migrate_at_once_do_it_once(shops: Shops, start: Start, url: str) -> None:
    for name in ("acme", "other", "third"):
        done(shops("shop", "create", name))
    done(shops("migrate", "--down-to", "0001"))
    both = [start("migrate", DATABASE_URL=url, ORDERGRAPH_SHOPS="on") for _ in range(2)]
    for process in both:
        said, wrong = process.communicate()
        assert said.startswith(f"3 shops are at revision {HEAD}; ")
        assert wrong == ""
    assert done(shops("migrate")) == f"3 shops are at revision {HEAD}; 0 migrated.\n"


def test_a_shop_that_fails_is_told_at_the_end(shops: Shops, url: str, tmp_path: Path) -> None:
    for name in ("acme", "other"):
        done(shops("shop", "create", name))
    done(shops("sample", "--shop", "acme"))
    done(shops("migrate", "--down-to", "0003"))
    execute(
        url, tmp_path, "acme", "UPDATE {}customer SET email = (SELECT email FROM {}customer WHERE id = 2) || ' ' WHERE id = 1"
    )
    found = shops("migrate")
    assert found.returncode == 1
    assert found.stdout == f"1 shop is at revision {HEAD}; 1 migrated.\n"
    reason, error = found.stderr.splitlines()
    assert reason.startswith("acme: the email of these rows of customer differs in blanks")
    assert error == "Error: 1 of 2 shops could not be migrated"
    execute(url, tmp_path, "acme", "UPDATE {}customer SET email = 'mended@example.org' WHERE id = 1")
    assert done(shops("migrate")) == f"2 shops are at revision {HEAD}; 1 migrated.\n"


def execute(url: str, folder: Path, shop: str, statement: str) -> None:
    """Change a shop's rows past the product."""
    if url.startswith("sqlite"):
        with closing(sqlite3.connect(folder / "shops" / f"{shop}.db", isolation_level=None)) as file:
            file.execute(statement.replace("{}", ""))
        return

    async def run() -> None:
        connection = await asyncpg.connect(url)
        await connection.execute(statement.replace("{}", f'"{schema_of_shop(shop)}".'))
        await connection.close()

    asyncio.run(run())


#: Commands that are about one shop.
OF_ONE = [
    ["sample"],
    ["import", "file.csv"],
    ["export"],
    ["backup", "copy.db"],
    ["purge-keys"],
    ["purge-changes"],
    ["key", "list"],
    ["key", "create", "a", "--scope", "read"],
    ["key", "revoke", "a"],
    ["explain", "query.graphql"],
]


@pytest.mark.parametrize("command", OF_ONE, ids=" ".join)
def test_a_command_about_one_shop_is_told_which(run: Run, tmp_path: Path, command: list[str]) -> None:
    (tmp_path / "query.graphql").write_text("{ items { totalCount } }", encoding="utf-8")
    (tmp_path / "file.csv").write_text("sku\n", encoding="utf-8")
    before = {path.name for path in tmp_path.iterdir()}
    many = {"DATABASE_URL": "sqlite:///./shops", "ORDERGRAPH_SHOPS": "on"}
    assert "say which one by --shop NAME" in misused(run(*command, **many))
    assert "there is one shop, which has no name" in misused(run(*command, "--shop", "acme"))
    assert {path.name for path in tmp_path.iterdir()} == before
    assert run("migrate", **many).returncode == 0
    assert refused(run(*command, "--shop", "acme", **many)).endswith("there is no shop acme")


@pytest.mark.parametrize(
    "command", [["create", "a"], ["list"], ["hosts", "a", "--none"], ["migrate"], ["archive", "a"], ["drop", "a", "--yes"]]
)
def test_where_there_is_one_shop_there_are_none_to_keep(run: Run, tmp_path: Path, command: list[str]) -> None:
    assert "ORDERGRAPH_SHOPS=on is for many" in misused(run("shop", *command))
    assert list(tmp_path.iterdir()) == []


def test_keys_are_a_shop_s_own(shops: Shops) -> None:
    for name in ("acme", "other"):
        done(shops("shop", "create", name))
    assert shops("key", "create", "nightly", "--scope", "read", "--shop", "acme").returncode == 0
    assert "nightly" in done(shops("key", "list", "--shop", "acme"))
    assert "nightly" not in done(shops("key", "list", "--shop", "other"))
    assert "nightly" in refused(shops("key", "revoke", "nightly", "--shop", "other"))
    assert "Revoked nightly" in done(shops("key", "revoke", "nightly", "--shop", "acme"))


def test_an_explanation_names_the_shop_s_tables(shops: Shops, url: str, tmp_path: Path) -> None:
    (tmp_path / "query.graphql").write_text("{ items { totalCount } }", encoding="utf-8")
    done(shops("shop", "create", "acme"))
    told = done(shops("explain", "query.graphql", "--shop", "acme"))
    assert ("item AS" if url.startswith("sqlite") else '"shop_acme".item AS') in told
    assert "[shop]" not in told


def test_a_backup_is_of_one_shop(shops: Shops, url: str, tmp_path: Path) -> None:
    done(shops("shop", "create", "north-wind"))
    found = shops("backup", "copy.db", "--shop", "north-wind")
    if url.startswith("sqlite"):
        assert found.stdout.startswith("Copied sqlite:///shops/north-wind.db to copy.db (")
        assert (tmp_path / "copy.db").exists()
    else:
        assert 'pg_dump --format=custom --schema=shop_north-wind --file=copy.db "$DATABASE_URL"\n' in found.stderr
        assert "ordergraph shop migrate north-wind" in found.stderr


@pytest.mark.parametrize("command", [["migrate"], ["serve"], ["shop", "create", "acme"], ["shop", "list"]])
def test_a_file_where_there_are_many_shops_and_a_folder_where_there_is_one(run: Run, tmp_path: Path, command: list[str]) -> None:
    (tmp_path / "orders.db").write_bytes(b"")
    told = refused(run(*command, DATABASE_URL="sqlite:///./orders.db", ORDERGRAPH_SHOPS="on"))
    assert told.endswith("it is a file, as one shop has one: many have a folder (ORDERGRAPH_SHOPS)")
    assert [*tmp_path.iterdir()] == [tmp_path / "orders.db"]
    if command[0] != "shop":
        (tmp_path / "shops").mkdir()
        told = refused(run(*command, DATABASE_URL="sqlite:///./shops", ORDERGRAPH_SHOPS="off"))
        assert told.endswith("it is a folder, as many shops have one (ORDERGRAPH_SHOPS)")


@pytest.mark.parametrize(
    "command", [["migrate"], ["migrate", "--down-to", "base"], ["serve"], ["sample"], ["key", "list"], ["export"]]
)
def test_a_server_of_many_shops_where_there_is_one(run: Run, bare_postgres_url: str, command: list[str]) -> None:
    one = partial(run, *command, DATABASE_URL=bare_postgres_url, ORDERGRAPH_SHOPS="off")
    if command[0] != "migrate":
        assert "run `ordergraph migrate`" in refused(one())
    made = run("shop", "create", "acme", "--host", "acme.example", DATABASE_URL=bare_postgres_url, ORDERGRAPH_SHOPS="on")
    assert done(made) == "Made the shop acme, to which acme.example leads.\n"
    assert refused(one()).endswith("it holds many shops, which takes ORDERGRAPH_SHOPS=on")


def test_the_one_shop_that_a_server_had_before_stays_as_it_was(run: Run, bare_postgres_url: str) -> None:
    one = partial(run, DATABASE_URL=bare_postgres_url, ORDERGRAPH_SHOPS="off")
    done(one("migrate"))
    assert "revision 0008" in done(one("migrate", "--down-to", "0008"))
    done(run("shop", "create", "acme", DATABASE_URL=bare_postgres_url, ORDERGRAPH_SHOPS="on"))
    assert refused(one("purge-keys")).endswith("run `ordergraph migrate`")
    assert HEAD in done(one("migrate"))
    assert done(one("purge-keys")) == "Deleted 0 idempotency keys.\n"


def test_a_server_without_a_list_of_shops_says_what_to_do(run: Run, bare_postgres_url: str) -> None:
    told = refused(run("serve", DATABASE_URL=bare_postgres_url, ORDERGRAPH_SHOPS="on"))
    assert told == "there is no list of shops: run `ordergraph migrate`, and `ordergraph shop create` for each"


def test_a_server_serves_those_that_are_migrated_and_others_as_they_come(shops: Shops, start: Start, url: str) -> None:
    """A file belongs to the server, which migrates it as it starts."""
    for name in ("acme", "other"):
        done(shops("shop", "create", name))
    done(shops("shop", "migrate", "--down-to", "0008", "other"))
    process = start("serve", "--port", "0", DATABASE_URL=url, ORDERGRAPH_SHOPS="on")
    try:
        address, before = "", ""
        for line in process.stderr:
            if found := re.match(r"Serving (http://\S+)/graphql\b", line):
                address = found[1]
                break
            before += line

        def status(shop: str) -> int:
            head = {"x-ordergraph-shop": shop}
            return httpx2.post(f"{address}/graphql", json={"query": "{ items { totalCount } }"}, headers=head).status_code

        embedded = url.startswith("sqlite")
        assert ("1 shop waits for `ordergraph migrate`" in before) is not embedded
        assert [status(name) for name in ("acme", "other", "third")] == [200, 200 if embedded else 503, 404]
        if not embedded:
            done(shops("migrate"))
            assert status("other") == 200
        done(shops("shop", "create", "third"))
        assert status("third") == 200
    finally:
        process.send_signal(signal.SIGINT)
        _, said = process.communicate()
    assert "Traceback" not in said


def test_a_file_that_cannot_be_migrated_holds_up_no_server(run: Run, start: Start, tmp_path: Path) -> None:
    many = {"DATABASE_URL": "sqlite:///./shops", "ORDERGRAPH_SHOPS": "on"}
    for name in ("acme", "other"):
        assert run("shop", "create", name, **many).returncode == 0
    (tmp_path / "shops" / "other.db").write_text("A diary, longer than the header of a database. " * 40, encoding="utf-8")
    process = start("serve", "--port", "0", **many)
    try:
        address = address_of(process)
        for shop, status in (("acme", 200), ("other", 503)):
            head = {"x-ordergraph-shop": shop}
            answer = httpx2.post(f"{address}/graphql", json={"query": "{ items { totalCount } }"}, headers=head)
            assert answer.status_code == status
    finally:
        process.send_signal(signal.SIGINT)
        process.communicate()

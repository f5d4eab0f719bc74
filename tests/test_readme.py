"""The README's operations and commands, run as they stand there."""

from __future__ import annotations

import asyncio
import os
import re
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path

import asyncpg
import click
import httpx2
import pytest

from graph.__main__ import main
from tests import postgres
from tests.conftest import Ask
from tests.forks import environment
from tests.test_commands import ask_when_up, free_port

SHOP = "northwind"

README = (Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8")
QUERY, MUTATION = re.findall(r"```graphql\n(.*?)```", README, re.DOTALL)
#: What else a server writes: keys drawn from a sequence, many rows, a bulk delete, a key that is kept.
WRITES = """mutation {
  insertItems(input: {rows: [{sku: "a", name: "a", price: "1"}]}) { inserted errors { message } }
  createCustomer(input: {name: "Eve", email: "eve@example.org"}) @idempotent(key: "once") { customer { id } errors { message } }
  deleteCustomer(input: {id: "Customer:1"}) { deleted { orders } errors { message } }
}"""


def test_the_commands_are_those_of_the_code() -> None:
    rows = re.findall(r"^\| `ordergraph ([a-z -]*[a-z])\b(.*?)` \| .* \|$", README, re.MULTILINE)
    told = {name: set(re.findall(r"--[a-z-]+", options)) for name, options in rows}
    assert len(told) == len(rows)
    assert told == {
        name: {option for parameter in command.params for option in parameter.opts if option.startswith("--")}
        for name, command in commands_of(main)
    }
    choices = [parameter.type for parameter in main.commands["schema"].params if parameter.name == "fail_on"]
    assert isinstance(choices[0], click.Choice)
    assert "[--fail-on " + r"\|".join(choices[0].choices) + "]" in README


def commands_of(group: click.Group, before: str = "") -> Iterator[tuple[str, click.Command]]:
    """All commands, each with its whole name."""
    for name, command in group.commands.items():
        if isinstance(command, click.Group):
            yield from commands_of(command, f"{before}{name} ")
        else:
            yield f"{before}{name}", command


async def test_the_first_query_answers(shop: Ask) -> None:
    answer = await shop(QUERY)
    assert "errors" not in answer
    orders = answer["data"]["customer"]["orders"]
    assert orders["totalCount"] == 6
    assert [node["totalAmount"] for node in orders["nodes"]] == ["814.50", "878.00"]
    assert orders["pageInfo"]["hasNextPage"] is True


async def test_the_probes_answer(shop: Ask) -> None:
    places = re.findall(r"`(/livez|/graphql\?query=\S+)`", README)
    assert len(places) == 2
    answers = [await shop.client.get(place) for place in places]
    assert [answer.status_code for answer in answers] == [200, 200]
    assert answers[1].json() == {"data": {"items": {"nodes": [{"id": "Item:1"}]}}}
    assert not [name for answer in answers for name in answer.headers if name.startswith("access-control-")]


async def test_the_calls_by_curl_answer(shop: Ask) -> None:
    calls = re.findall(
        r"^    curl http://127\.0\.0\.1:8000(\S+) -H '([^:]+): (\S+)'[\s\\]+-d '(.*?)'$", README, re.MULTILINE | re.DOTALL
    )
    answers = [await shop.client.post(path, headers={name: value}, content=body) for path, name, value, body in calls]
    assert [answer.json() for answer in answers] == [
        {"data": {"items": {"nodes": [{"id": "Item:1", "name": "Chai"}]}}},
        {"data": {"createItem": {"item": {"id": "Item:78"}, "errors": []}}},
    ]


async def test_the_first_mutation_writes_once_and_then_names_every_reason(shop: Ask) -> None:
    payload = (await shop(MUTATION))["data"]["createCustomer"]
    assert payload["errors"] == []
    assert [order["totalAmount"] for order in payload["customer"]["orders"]["nodes"]] == ["73.00"]

    payload = (await shop(MUTATION.replace("NW-2", "NW-200")))["data"]["createCustomer"]
    assert payload["customer"] is None
    assert [(error["code"], error["path"]) for error in payload["errors"]] == [
        ("UNIQUE", ["input", "email"]),
        ("REFERENCE_NOT_FOUND", ["input", "orders", "0", "items", "1", "item", "sku"]),
    ]


def printed(heading: str) -> list[str]:
    """The lines of commands below a heading of the README."""
    text = README.partition(f"### {heading}\n")[2].partition("\n## ")[0]
    blocks = re.findall(r"(?:^    .*\n)+", text, re.MULTILINE)
    return textwrap.dedent("".join(blocks)).splitlines()


def test_postgresql_as_printed(tmp_path: Path) -> None:
    *lines, serve = printed("On PostgreSQL")
    assert serve == ".venv/bin/ordergraph serve"
    (tmp_path / ".venv").symlink_to(sys.prefix)
    programs, database_port, port = postgres.binaries(), free_port(), free_port()
    settings = environment(PATH=f"{programs}:{os.environ['PATH']}", PGPORT=str(database_port))

    async def as_role(role: str, statement: str) -> None:
        connection = await asyncpg.connect(host="localhost", port=database_port, user=role, database="ordergraph")
        try:
            await connection.execute(statement)
        finally:
            await connection.close()

    with postgres.started(programs, "listen_addresses=localhost", f"port={database_port}"):
        script = "\n".join([*lines, f"exec {serve} --port {port}"])
        with subprocess.Popen(
            ["bash", "-euc", script], cwd=tmp_path, env=settings, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        ) as process:
            try:
                assert ask_when_up(process, port, QUERY, seconds=60)["data"]["customer"]["orders"]["totalCount"] == 6
                for query in (MUTATION, WRITES):
                    answer = httpx2.post(f"http://127.0.0.1:{port}/graphql", json={"query": query}, timeout=20).json()
                    assert "errors" not in answer
                    assert all(payload["errors"] == [] for payload in answer["data"].values()), answer
            finally:
                process.terminate()
        for statement in (
            "CREATE TABLE mine (id int)",
            "DROP TABLE item",
            "TRUNCATE item",
            "ALTER TABLE item ADD note text",
        ):
            with pytest.raises(asyncpg.InsufficientPrivilegeError):
                asyncio.run(as_role("ordergraph", statement))

"""The README's operations and commands, run as they stand there."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from unittest.mock import ANY

import pytest

from tests import postgres
from tests.conftest import Ask
from tests.forks import environment
from tests.printed import blocks, part
from tests.test_commands import ask_when_up, free_port

SHOP = "northwind"

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
QUERY, MUTATION = re.findall(r"```graphql\n(.*?)```", README, re.DOTALL)
#: What else a server writes: keys drawn from a sequence, many rows, a bulk delete, a key that is kept.
WRITES = """mutation {
  insertItems(input: {rows: [{sku: "a", name: "a", price: "1"}]}) { inserted errors { message } }
  createCustomer(input: {name: "Eve", email: "eve@example.org"}) @idempotent(key: "once") { customer { id } errors { message } }
  deleteCustomer(input: {id: "Customer:1"}) { deleted { orders } errors { message } }
}"""


async def test_the_first_query_answers(shop: Ask) -> None:
    answer = await shop(QUERY)
    assert "errors" not in answer
    orders = answer["data"]["customer"]["orders"]
    assert orders["totalCount"] == 6
    assert [node["totalAmount"] for node in orders["nodes"]] == ["814.50", "878.00"]
    assert orders["pageInfo"]["hasNextPage"] is True


async def test_the_calls_by_curl_answer(shop: Ask) -> None:
    calls = re.findall(
        r"^    curl http://127\.0\.0\.1:8000(\S+) -H '([^:]+): (\S+)'[\s\\]+-d '(.*?)'$", README, re.MULTILINE | re.DOTALL
    )
    answers = [await shop.client.post(path, headers={name: value}, content=body) for path, name, value, body in calls]
    assert [answer.json() for answer in answers] == [
        {"data": {"items": {"nodes": [{"id": "Item:1", "name": "Chai"}]}}},
        {"data": {"createItem": {"item": {"id": "Item:78"}, "errors": []}}},
        {"data": {"createCustomer": {"errors": ANY}}},
    ]
    refused = answers[2].json()["data"]["createCustomer"]["errors"]
    orders = ["input", "orders", "0"]
    assert [(error["code"], error["path"]) for error in refused] == [
        ("INVALID_INPUT", ["input", "name"]),
        ("UNIQUE", ["input", "email"]),
        ("CHECK", [*orders, "discount"]),
        ("CHECK", [*orders, "items", "0", "quantity"]),
        ("REFERENCE_NOT_FOUND", [*orders, "items", "1", "item", "sku"]),
    ]
    assert await shop.data('{ customers(where: {name: {eq: " "}}) { totalCount } }') == {"customers": {"totalCount": 0}}


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


@pytest.mark.long
def test_postgresql_as_printed(tmp_path: Path) -> None:
    lines, ended, rest = "".join(blocks(part(README, "## On PostgreSQL"))).partition(".venv/bin/ordergraph serve\n")
    assert (ended, rest) == (".venv/bin/ordergraph serve\n", "")
    (tmp_path / ".venv").symlink_to(sys.prefix)
    (tmp_path / "docs").symlink_to(ROOT / "docs")
    programs, database_port, port = postgres.binaries(), free_port(), free_port()
    settings = environment(PATH=f"{programs}:{os.environ['PATH']}", PGPORT=str(database_port))

    with postgres.started(programs, "listen_addresses=localhost", f"port={database_port}"):
        script = f"{lines}exec {ended.strip()} --port {port}"
        with subprocess.Popen(
            ["bash", "-euc", script], cwd=tmp_path, env=settings, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        ) as process:
            try:
                assert ask_when_up(process, port, QUERY, seconds=120)["data"]["customer"]["orders"]["totalCount"] == 6
                for query in (MUTATION, WRITES):
                    answer = ask_when_up(process, port, query, seconds=20)
                    assert "errors" not in answer
                    assert all(payload["errors"] == [] for payload in answer["data"].values()), answer
            finally:
                process.terminate()

"""The README's two operations, run as they stand there."""

from __future__ import annotations

import re
from pathlib import Path

from tests.conftest import Ask

QUERY, MUTATION = re.findall(
    r"```graphql\n(.*?)```", (Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8"), re.DOTALL
)


async def test_the_first_query_answers(ask_sample: Ask) -> None:
    answer = await ask_sample(QUERY)
    assert "errors" not in answer
    orders = answer["data"]["customer"]["orders"]
    assert orders["totalCount"] == 6
    assert [node["totalAmount"] for node in orders["nodes"]] == ["814.50", "878.00"]
    assert orders["pageInfo"]["hasNextPage"] is True


async def test_the_first_mutation_writes_once_and_then_names_every_reason(ask_sample: Ask) -> None:
    payload = (await ask_sample(MUTATION))["data"]["createCustomer"]
    assert payload["errors"] == []
    assert [order["totalAmount"] for order in payload["customer"]["orders"]["nodes"]] == ["73.00"]

    payload = (await ask_sample(MUTATION.replace("NW-2", "NW-200")))["data"]["createCustomer"]
    assert payload["customer"] is None
    assert [(error["code"], error["path"]) for error in payload["errors"]] == [
        ("UNIQUE", ["input", "email"]),
        ("REFERENCE_NOT_FOUND", ["input", "orders", "0", "items", "1", "item", "sku"]),
    ]

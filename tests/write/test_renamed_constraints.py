"""Constraints that the driver calls otherwise: what refuses a row is found by the metadata, whatever the error says of it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from graph.write import unit as unit_module
from graph.write import violations as violations_module
from tests.conftest import Ask
from tests.renamed import NAMES, renamed
from tests.words import ERRORS, mutate, refusals
from tests.write import test_refusals

SHOP = test_refusals.SHOP


@pytest.fixture(params=NAMES)
def met(request: pytest.FixtureRequest) -> Iterator[list[str]]:
    """The errors of constraints, whose names are others."""
    with renamed(request.param) as seen:
        yield seen


@pytest.mark.parametrize("name", test_refusals.CASES)
async def test_every_refusal_is_what_it_is(shop: Ask, met: list[str], name: str) -> None:
    field, input_, expected = test_refusals.CASES[name]
    assert await refusals(shop, field, input_) == expected


#: What the database is the first to refuse, by kind of constraint.
JUDGED: dict[str, tuple[str, dict[str, Any], tuple[str, str, str | None]]] = {
    "a unique key": ("createItem", {"sku": "A", "name": "x", "price": "1"}, ("UNIQUE", "input.sku", "uq_item_sku")),
    "a check": ("createItem", {"sku": "N", "name": "x", "price": "-1"}, ("CHECK", "input.price", "ck_item_price")),
    "a check of what is computed": (
        "createOrder",
        {"customer": {"id": "Customer:1"}, "discount": "9", "items": [{"item": {"sku": "A"}, "quantity": 1}]},
        ("CHECK", "input.discount", "ck_orders_discount_within_subtotal"),
    ),
    "a plain row's key": (
        "insertItems",
        {"rows": [{"sku": "N", "name": "x", "price": "1"}, {"sku": "A", "name": "x", "price": "1"}]},
        ("UNIQUE", "input.rows.1.sku", "uq_item_sku"),
    ),
    "a row in use": ("deleteItem", {"id": "Item:1"}, ("STILL_REFERENCED", "input.id", None)),
}


async def told(ask: Ask, field: str, input_: dict[str, Any]) -> list[tuple[str, str, str | None]]:
    payload = await mutate(ask, field, input_)
    return [(error["code"], ".".join(error["path"]), error.get("constraint")) for error in payload["errors"]]


@pytest.mark.parametrize("kind", JUDGED)
async def test_what_the_database_refuses_has_the_name_of_the_metadata(shop: Ask, met: list[str], kind: str) -> None:
    field, input_, expected = JUDGED[kind]
    assert await told(shop, field, input_) == [expected]
    assert met, "the database was not asked"


@pytest.mark.parametrize("how", ["", "@atomic"])
async def test_what_comes_between_the_look_and_the_write_is_found_by_another_look(
    shop: Ask, met: list[str], how: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks = 0
    look = violations_module.violations

    async def too_early(*arguments: Any) -> Any:
        nonlocal looks
        looks += 1
        return await look(*arguments) if looks > 1 else []

    monkeypatch.setattr(unit_module, "violations", too_early)
    query = f'mutation {how} {{ createItem(input: {{sku: "A", name: "x", price: "1"}}) {{ {ERRORS} }} }}'
    (error,) = (await shop.data(query))["createItem"]["errors"]
    assert (error["code"], error["path"], error["existing"]["id"]) == ("UNIQUE", ["input", "sku"], "Item:1")
    assert len(met) == 2


async def test_what_nobody_can_explain_may_be_tried_again(shop: Ask, met: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    async def nothing(*_: object) -> list[Any]:
        return []

    monkeypatch.setattr(unit_module, "violations", nothing)
    assert await told(shop, "createItem", {"sku": "A", "name": "x", "price": "1"}) == [("TRY_AGAIN", "input", None)]
    made = {"items": [{"sku": sku, "name": "x", "price": "1"} for sku in ("A", "N")], "onError": "CONTINUE"}
    payload = await mutate(shop, "createItems", made, f"results {{ item {{ sku }} {ERRORS} }}")
    assert [[error["code"] for error in result["errors"]] for result in payload["results"]] == [["TRY_AGAIN"], []]

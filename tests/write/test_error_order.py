"""`errors` of a payload: every refusal of the call, in the order in which the input was sent, the same in every run."""

from __future__ import annotations

import random
from itertools import permutations
from typing import Any

import orjson
import pytest
from sqlalchemy.orm import Session
from sqlalchemy.util import IdentitySet

from tests.conftest import Ask
from tests.examples import ALL
from tests.stock import customer, item, line
from tests.words import ERRORS, codes, count, done, mutate, refusals, stocks

#: Items A (1.00, 10 in stock) and B (2.00, not tracked); Ada with an order of four lines of one A each.
SHOP = [item("A", 1, 14), item("B", 2), customer("Ada", [line("A")] * 4)]


def changed(number: int, **more: Any) -> dict[str, Any]:
    return {"id": f"OrderItem:{number}", **more}


def literal(value: Any) -> str:
    """A value as a document has it, fields in the same order."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{name}: {literal(part)}" for name, part in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(literal, value)) + "]"
    return orjson.dumps(value).decode()


WRONG = {"price": "-1", "name": " ", "sku": "A", "stock": -1}


@pytest.mark.parametrize("names", list(permutations(WRONG))[::5])
async def test_fields_come_as_they_were_sent(shop: Ask, names: tuple[str, ...]) -> None:
    given = {name: WRONG[name] for name in names}
    expected = [["input", name] for name in names]
    document = f"mutation {{ createItem(input: {literal(given)}) {{ errors {{ path }} }} }}"
    answers = [
        await mutate(shop, "createItem", given),
        (await shop.data(document))["createItem"],
        # Variables inside of a literal: the literal says the order, and a default is as good as a value.
        (
            await shop.data(
                f"""mutation ($name: String = " ", $price: Decimal!) {{ createItem(input: {{
                    {" ".join(f"{name}: {'$' + name if name in ('name', 'price') else literal(WRONG[name])}" for name in names)}
                }}) {{ errors {{ path }} }} }}""",
                {"price": "-1"},
            )
        )["createItem"],
        (
            await shop.data(
                f"mutation ($input: CreateItemInput! = {literal(given)}) {{ createItem(input: $input) {{ errors {{ path }} }} }}"
            )
        )["createItem"],
    ]
    assert [[error["path"] for error in answer["errors"]] for answer in answers] == [expected] * 4
    assert await count(shop) == (1, 1, 2)


async def test_entries_come_by_their_numbers_and_a_row_before_its_fields(shop: Ask) -> None:
    lines = [line("A", 0) if number in (2, 10) else line("missing") for number in range(12)]
    given = {"items": lines, "note": "n", "customer": {"email": "nobody@example.com"}}
    told = [f"input.items.{n}.{'quantity' if n in (2, 10) else 'item.sku'}" for n in range(12)]
    assert [path for _, path in await refusals(shop, "createOrder", given)] == [*told, "input.customer.email"]


@pytest.mark.parametrize("names", list(permutations(("create", "update", "remove"))))
async def test_lists_of_children_come_as_they_were_sent(shop: Ask, names: tuple[str, ...]) -> None:
    wrong: dict[str, Any] = {
        "create": [line("A", 0), line("missing")],
        "update": [changed(1, quantity=0), changed(99)],
        "remove": ["OrderItem:98"],
    }
    told = {
        "create": ["create.0.quantity", "create.1.item.sku"],
        "update": ["update.0.quantity", "update.1.id"],
        "remove": ["remove.0"],
    }
    given = {"items": {name: wrong[name] for name in names}, "id": "Order:1", "discount": None}
    expected = [f"input.items.{path}" for name in names for path in told[name]]
    assert [path for _, path in await refusals(shop, "updateOrder", given)] == [*expected, "input.discount"]


@pytest.mark.parametrize("names", [("create", "update"), ("update", "create")])
async def test_of_two_rows_that_want_one_value_the_later_one_is_refused(shop: Ask, names: tuple[str, ...]) -> None:
    item = {"create": {"sku": "N", "name": "n", "price": "1"}}
    entries: dict[str, Any] = {"create": [{"item": item, "quantity": 1}], "update": [changed(1, item=item)]}
    given = {"id": "Order:1", "items": {name: entries[name] for name in names}}
    assert await refusals(shop, "updateOrder", given) == [("UNIQUE", f"input.items.{names[1]}.0.item.create.sku")]


async def test_one_entry_that_stands_for_a_list(shop: Ask) -> None:
    given = {"note": "n", "items": line("missing"), "customer": {"email": "nobody@example.com"}}
    expected = ["input.items.0.item.sku", "input.customer.email"]
    assert [path for _, path in await refusals(shop, "createOrder", given)] == expected
    payload = (await shop.data(f"mutation {{ createOrder(input: {literal(given)}) {{ errors {{ code path }} }} }}"))[
        "createOrder"
    ]
    assert [path for _, path in codes(payload)] == expected


# ---- what stands in results stands in errors, too

CUSTOMERS = [
    {"name": "Eve", "email": "eve@example.com", "orders": [{"items": [line("A")]}]},
    {"name": "x", "email": "ADA@example.com"},
    {"email": "nobody", "name": " "},
    {"name": "Zoe", "email": "zoe@example.com", "orders": [{"discount": "1.01", "items": [line("A")]}]},
]
REFUSED = [
    ("UNIQUE", "input.customers.1.email"),
    ("INVALID_INPUT", "input.customers.2.email"),
    ("INVALID_INPUT", "input.customers.2.name"),
    ("CHECK", "input.customers.3.orders.0.discount"),
]
RESULTS = f"results {{ index customer {{ id }} {ERRORS} }}"


@pytest.mark.parametrize("way", ["ROLLBACK", "CONTINUE"])
async def test_errors_hold_what_stands_in_results(shop: Ask, way: str) -> None:
    payload = await mutate(shop, "createCustomers", {"onError": way, "customers": CUSTOMERS}, RESULTS)
    assert codes(payload) == REFUSED
    own = [error for entry in payload["results"] for error in entry["errors"] if error["code"] != "ROLLED_BACK"]
    assert own == payload["errors"]
    assert codes(payload["results"][0]) == ([("ROLLED_BACK", "input")] if way == "ROLLBACK" else [])
    assert payload["errors"][0]["existing"] == {"__typename": "Customer", "id": "Customer:1"}
    assert await count(shop) == ((1, 1, 2) if way == "ROLLBACK" else (2, 2, 2))


@pytest.mark.parametrize("directive", ["", "@atomic"])
async def test_a_repeated_request_tells_the_same_errors_and_what_is_gone(shop: Ask, directive: str) -> None:
    query = f"""mutation ($customers: [CustomerInput!]!) {directive} {{
        createCustomers(input: {{customers: $customers, onError: CONTINUE}}) @idempotent(key: "k") {{ {RESULTS} {ERRORS} }} }}"""
    first = (await shop.data(query, {"customers": CUSTOMERS}))["createCustomers"]
    assert codes(first) == REFUSED
    assert (await shop.data(query, {"customers": CUSTOMERS}))["createCustomers"] == first
    made = first["results"][0]["customer"]["id"]
    await done(shop, "deleteCustomer", {"id": made})
    again = (await shop.data(query, {"customers": CUSTOMERS}))["createCustomers"]
    assert codes(again) == [("NOT_FOUND", "input.customers.0"), *REFUSED]
    assert again["errors"][0]["missingId"] == made
    assert [codes(entry) for entry in again["results"]] == [codes(again)[:1], REFUSED[:1], REFUSED[1:3], REFUSED[3:]]
    assert await count(shop) == (1, 1, 2)


# ---- all refusals of an input together


async def test_upserts_tell_shortages_beside_all_else(shop: Ask) -> None:
    items: list[dict[str, Any]] = [
        {"stockDelta": -11, "price": "-1", "sku": "A", "name": " "},
        {"sku": "N", "name": "n", "price": "1", "stockDelta": -1},
        {"sku": "B", "name": "B", "price": "1", "stockDelta": 2**31 - 1},
        {"sku": "N", "name": "n", "price": "1"},
        {"sku": "M", "name": "m", "price": "-1"},
        {"sku": "O", "name": "o", "price": "1", "stockDelta": 1},
    ]
    expected = [
        ("OUT_OF_STOCK", "input.items.0.stockDelta"),
        ("CHECK", "input.items.0.price"),
        ("INVALID_INPUT", "input.items.0.name"),
        ("OUT_OF_STOCK", "input.items.1.stockDelta"),
        ("UNIQUE", "input.items.3.sku"),
        ("CHECK", "input.items.4.price"),
    ]
    payload = await mutate(shop, "upsertItems", {"items": items}, f"results {{ {ERRORS} }}")
    assert codes(payload) == expected
    told = [error for entry in payload["results"] for error in entry["errors"] if error["code"] != "ROLLED_BACK"]
    assert told == payload["errors"]
    assert await count(shop) == (1, 1, 2)
    # A shortage alone brings the rest to light, too, though the database was not asked.
    payload = await mutate(shop, "upsertItems", {"items": [items[1], {**items[0], "stockDelta": 2**31 - 1}]})
    assert codes(payload) == [
        ("OUT_OF_STOCK", "input.items.0.stockDelta"),
        ("INVALID_INPUT", "input.items.1.stockDelta"),
        ("CHECK", "input.items.1.price"),
        ("INVALID_INPUT", "input.items.1.name"),
    ]
    assert await stocks(shop) == {"A": 10, "B": None}


async def test_plain_rows_tell_all_that_is_wrong(shop: Ask) -> None:
    rows = [{"stock": -1, "price": "-1", "name": " ", "sku": "A"}, {"sku": "A", "name": "a", "price": "1"}]
    told = [("CHECK", "stock"), ("CHECK", "price"), ("INVALID_INPUT", "name")]
    given = {"rows": rows, "onConflict": "ERROR"}
    assert await refusals(shop, "insertItems", given) == [
        *((code, f"input.rows.0.{name}") for code, name in [*told, ("UNIQUE", "sku")]),
        ("UNIQUE", "input.rows.1.sku"),
    ]
    for conflict in ("SKIP", "UPDATE"):
        expected = [(code, f"input.rows.0.{name}") for code, name in told]
        assert await refusals(shop, "insertItems", {"rows": rows, "onConflict": conflict}) == expected
    customers = [{"name": " ", "email": "x"}, {"email": "ADA@example.com", "name": ""}]
    assert await refusals(shop, "insertCustomers", {"rows": customers}) == [
        ("INVALID_INPUT", "input.rows.0.name"),
        ("INVALID_INPUT", "input.rows.0.email"),
        ("UNIQUE", "input.rows.1.email"),
        ("INVALID_INPUT", "input.rows.1.name"),
    ]
    assert await refusals(shop, "upsertCustomer", {"name": " ", "email": "x"}) == [
        ("INVALID_INPUT", "input.name"),
        ("INVALID_INPUT", "input.email"),
    ]
    assert await count(shop) == (1, 1, 2)


async def test_a_bulk_change_tells_all_that_is_wrong(shop: Ask) -> None:
    given = {"where": {"number": {"startsWith": "SO-"}}, "set": {"note": "x", "discount": "4.01", "orderDate": None}}
    assert await refusals(shop, "updateOrders", given) == [
        ("CHECK", "input.set.discount"),
        ("REQUIRED", "input.set.orderDate"),
    ]
    given["where"] = {"number": {"eq": "nothing"}}
    assert await refusals(shop, "updateOrders", given) == [("REQUIRED", "input.set.orderDate")]
    order = await shop.data('{ order(by: {id: "Order:1"}) { version note } }')
    assert order["order"] == {"version": 1, "note": None}


# ---- the same in every run


@pytest.fixture(params=range(6 if ALL else 2))
def shuffled(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Sessions that name their changed and deleted rows in an order of chance, as sets may."""
    chance = random.Random(request.param)
    for name in ("dirty", "deleted"):
        true: Any = getattr(Session, name).fget

        def mixed(session: Session, true: Any = true) -> IdentitySet:
            rows = list(true(session))
            return IdentitySet(chance.sample(rows, len(rows)))

        monkeypatch.setattr(Session, name, property(mixed))


SHORT: dict[str, tuple[str, dict[str, Any], list[tuple[str, str]]]] = {
    "lines that change": (
        "updateOrder",
        {"id": "Order:1", "items": {"update": [changed(n, quantity=5) for n in (3, 1, 4, 2)]}},
        [("OUT_OF_STOCK", "input.items.update.3.quantity")],
    ),
    "new lines before lines that change": (
        "updateOrder",
        {"id": "Order:1", "items": {"create": [line("A", 9)], "update": [changed(n, quantity=3) for n in (2, 4)]}},
        [("OUT_OF_STOCK", "input.items.update.1.quantity")],
    ),
    "lines that change before new lines": (
        "updateOrder",
        {"id": "Order:1", "items": {"update": [changed(n, quantity=3) for n in (2, 4)], "create": [line("A", 9)]}},
        [("OUT_OF_STOCK", "input.items.create.0.quantity")],
    ),
    "a list that is replaced": (
        "updateOrder",
        {"id": "Order:1", "items": {"replace": [changed(4, quantity=7), line("A", 1), changed(2, quantity=7), line("B")]}},
        [("OUT_OF_STOCK", "input.items.replace.2.quantity")],
    ),
    "orders of a customer": (
        "updateCustomer",
        {
            "id": "Customer:1",
            "orders": {
                "update": [{"id": "Order:1", "items": {"update": [changed(2, quantity=7), changed(1, quantity=7)]}}],
                "create": [{"items": [line("A", 1)]}, {"items": [line("B", 1)]}],
            },
        },
        [("OUT_OF_STOCK", "input.orders.create.0.items.0.quantity")],
    ),
    "more than a counter holds": (
        "updateOrder",
        {"id": "Order:1", "items": {"remove": ["OrderItem:3", "OrderItem:1", "OrderItem:4", "OrderItem:2"]}},
        [("INVALID_INPUT", "input.items.remove.3")],
    ),
}


@pytest.mark.usefixtures("shuffled")
@pytest.mark.parametrize("name", SHORT)
async def test_a_shortage_stands_at_the_last_line_of_its_item(shop: Ask, name: str) -> None:
    field, given, expected = SHORT[name]
    if expected[0][0] == "INVALID_INPUT":
        await done(shop, "updateItem", {"id": "Item:1", "stock": 2**31 - 2})
    before = await stocks(shop)
    assert await refusals(shop, field, given) == expected
    assert await stocks(shop) == before


@pytest.mark.usefixtures("shuffled")
async def test_an_answer_does_not_depend_on_the_order_of_a_session(shop: Ask) -> None:
    await done(shop, "createOrder", {"customer": {"id": "Customer:1"}, "items": [line("B"), line("A")]})
    orders: list[dict[str, Any]] = [
        {"id": "Order:2", "discount": "100", "items": {"update": [changed(6, quantity=0), changed(5, pricePaid="-1")]}},
        {"id": "Order:1", "items": {"replace": [changed(4), {"item": {"sku": "A"}, "quantity": 2}, changed(1, quantity=0)]}},
    ]
    assert await refusals(shop, "updateCustomer", {"id": "Customer:1", "orders": {"update": orders}}) == [
        ("CHECK", "input.orders.update.0.items.update.0.quantity"),
        ("CHECK", "input.orders.update.0.items.update.1.pricePaid"),
        ("CHECK", "input.orders.update.1.items.replace.2.quantity"),
    ]
    orders[0]["items"] = {"update": [changed(6, quantity=2), changed(5, item={"sku": "A"})]}
    del orders[0]["discount"]
    orders[1]["items"]["replace"][2] = changed(1, quantity=3)
    selection = "customer { orders { nodes { version totalAmount items { position quantity pricePaid } } } }"
    told = await done(shop, "updateCustomer", {"id": "Customer:1", "orders": {"update": orders}}, selection)
    lines = [[tuple(line.values()) for line in order.pop("items")] for order in told["customer"]["orders"]["nodes"]]
    assert lines == [[(5, 1, "1.00"), (6, 2, "1.00"), (7, 3, "1.00")], [(1, 1, "2.00"), (2, 2, "1.00")]]
    assert told["customer"]["orders"]["nodes"] == [{"version": 2, "totalAmount": "6.00"}, {"version": 2, "totalAmount": "4.00"}]

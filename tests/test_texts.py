"""Texts: trimmed on every way in, looked for as they are stored, and never blank to the eye."""

from __future__ import annotations

from typing import Any

import pytest
import sqlalchemy as sa
from alembic.util import CommandError

from graph import migrate
from tests.conftest import Ask
from tests.words import done, refusals

#: Blanks of many kinds, as pasting brings them along.
PAD, DAP = " \u00a0\u200b\t", "\u3000\ufeff\r\n "
ADA = {"name": "Ada", "email": "ada@example.com"}


def padded(text: str) -> str:
    return f"{PAD}{text}{DAP}"


def item(sku: str, name: str = "Apple") -> dict[str, Any]:
    return {"sku": padded(sku), "name": padded(name), "price": "1"}


async def items(ask: Ask) -> list[tuple[str, str]]:
    nodes = (await ask.data("{ items { nodes { sku name } } }"))["items"]["nodes"]
    return [(node["sku"], node["name"]) for node in nodes]


WRITES: dict[str, tuple[str, dict[str, Any]]] = {
    "create": ("createItem", item("N")),
    "batch": ("createItems", {"items": [item("N")]}),
    "plain rows": ("insertItems", {"rows": [item("N")]}),
    "upsert": ("upsertItem", item("N")),
    "upserts": ("upsertItems", {"items": [item("N")]}),
    "nested": (
        "createCustomer",
        {
            "name": padded("Bob"),
            "email": padded("Bob@Example.com"),
            "orders": [{"items": [{"item": {"create": item("N")}, "quantity": 1}]}],
        },
    ),
    "update": ("updateItem", {"id": "Item:2", "sku": padded("N"), "name": padded("Apple")}),
}


@pytest.mark.parametrize("way", WRITES)
async def test_a_sku_and_a_name_are_trimmed_on_every_way_in(ask: Ask, way: str) -> None:
    await done(ask, "createItem", item("A"))
    if way == "update":
        await done(ask, "createItem", item("B", "Bee"))
    await done(ask, *WRITES[way])
    assert await items(ask) == [("A", "Apple"), ("N", "Apple")]
    nodes = (await ask.data("{ customers { nodes { name email } } }"))["customers"]["nodes"]
    assert nodes == ([{"name": "Bob", "email": "bob@example.com"}] if way == "nested" else [])


@pytest.mark.parametrize("way", ["create", "batch", "plain rows", "nested", "update"])
async def test_a_sku_is_taken_whatever_blanks_are_around_it(ask: Ask, way: str) -> None:
    await done(ask, "createItem", item("N"))
    await done(ask, "createItem", item("B", "Bee"))
    answer = await refusals_of(ask, *WRITES[way])
    assert [code for code, _ in answer] == ["UNIQUE"]
    assert await items(ask) == [("N", "Apple"), ("B", "Bee")]


async def refusals_of(ask: Ask, field: str, input_: dict[str, Any]) -> list[tuple[str, str]]:
    """Code and path of every error, also where a list has results."""
    found = await refusals(ask, field, input_)
    if found or field != "createItems":
        return found
    query = "mutation($i: CreateItemsInput!) { createItems(input: $i) { results { errors { code path } } } }"
    results = (await ask.data(query, {"i": input_}))["createItems"]["results"]
    return [(error["code"], ".".join(error["path"])) for result in results for error in result["errors"]]


async def test_an_upsert_finds_a_sku_whatever_blanks_are_around_it(ask: Ask) -> None:
    await done(ask, "createItem", item("A"))
    made = await done(ask, "upsertItem", item("A", "Pear"), "created item { id sku name version }")
    assert made["created"] is False
    assert made["item"] == {"id": "Item:1", "sku": "A", "name": "Pear", "version": 2}
    rows = {"rows": [item("A", "Plum"), {"sku": "A", "name": "Fig", "price": "1"}], "onConflict": "UPDATE"}
    written = await done(ask, "insertItems", rows, "inserted updated")
    assert (written["inserted"], written["updated"]) == (0, 2)
    assert await refusals(ask, "upsertItems", {"items": [item("A"), {"sku": "A", "name": "x", "price": "1"}]}) == [
        ("UNIQUE", "input.items.1.sku")
    ]
    assert await items(ask) == [("A", "Fig")]


async def test_another_spelling_of_the_same_is_no_change(ask: Ask) -> None:
    await done(ask, "createItem", item("A"))
    await done(ask, "createCustomer", ADA)
    same = await done(ask, "updateItem", {"id": "Item:1", "sku": padded("A"), "name": padded("Apple")}, "item { version }")
    assert same["item"]["version"] == 1
    change = {"id": "Customer:1", "name": padded("Ada"), "email": padded("ADA@Example.com")}
    assert (await done(ask, "updateCustomer", change, "customer { version }"))["customer"]["version"] == 1


async def test_references_look_ups_and_filters_take_another_spelling(ask: Ask) -> None:
    await done(ask, "createItem", {**item("A"), "stock": 5})
    await done(ask, "createCustomer", ADA)
    order = {"customer": {"email": padded("ADA@example.com")}, "items": [{"item": {"sku": padded("A")}, "quantity": 1}]}
    await done(ask, "createOrder", order)
    await done(ask, "adjustStock", {"item": {"sku": padded("A")}, "delta": 1})
    found = await ask.data("query($s: String!) { item(by: {sku: $s}) { id stock } }", {"s": padded("A")})
    assert found["item"] == {"id": "Item:1", "stock": 5}
    for operator, value, expected in (
        ("eq", padded("A"), 1),
        ("ne", padded("A"), 0),
        ("in", [padded("A"), "B"], 1),
        ("notIn", [padded("A")], 0),
        ("gte", padded("A"), 1),
        ("gt", padded("A"), 0),
    ):
        where = {"sku": {operator: value}}
        query = "query($w: ItemWhere!) { items(where: $w) { totalCount } }"
        assert (await ask.data(query, {"w": where}))["items"]["totalCount"] == expected, operator


INVISIBLE = {
    "nothing": "",
    "spaces": "  ",
    "no-break spaces": "\u00a0\u202f",
    "zero-width": "\u200b\u200c\u200d\u2060\ufeff",
    "control characters": "\u0001\u001b\u007f\u0085",
    "direction marks": "\u200e\u202e\u2066",
    "a soft hyphen": "\u00ad",
    "tags": "\U000e0041\U000e007f",
    "variation selectors": "\ufe0f\u034f",
    "line separators": "\u2028\u2029",
    "fillers": "\u3164\u115f\uffa0\u2800",
}


@pytest.mark.parametrize("kind", INVISIBLE)
async def test_a_text_without_anything_to_see_is_blank(ask: Ask, kind: str) -> None:
    blank = INVISIBLE[kind]
    await done(ask, "createItem", item("A"))
    await done(ask, "createCustomer", ADA)
    both = [("INVALID_INPUT", "input.name"), ("INVALID_INPUT", "input.sku")]
    new = {"sku": blank, "name": blank, "price": "1"}
    assert sorted(await refusals(ask, "createItem", new)) == both
    assert sorted(await refusals(ask, "upsertItem", new)) == both
    assert sorted(await refusals(ask, "updateItem", {"id": "Item:1", "sku": blank, "name": blank})) == both
    assert sorted(await refusals(ask, "insertItems", {"rows": [new]})) == [
        ("INVALID_INPUT", "input.rows.0.name"),
        ("INVALID_INPUT", "input.rows.0.sku"),
    ]
    address = f"{blank}@{blank}.{blank}"
    assert sorted(await refusals(ask, "updateCustomer", {"id": "Customer:1", "name": blank, "email": address})) == [
        ("INVALID_INPUT", "input.email"),
        ("INVALID_INPUT", "input.name"),
    ]
    assert await items(ask) == [("A", "Apple")]


async def test_what_belongs_to_a_text_stays(ask: Ask) -> None:
    england = "\U0001f3f4\U000e0067\U000e0062\U000e0065\U000e006e\U000e0067\U000e007f"
    for number, name in enumerate((england, "\u2764\ufe0f", "Ada  Lovelace", "\u00e9", "\u2026", "0")):
        await done(ask, "createItem", {"sku": f"S{number}", "name": name, "price": "1"})
        assert (await items(ask))[-1] == (f"S{number}", name)


FOUND: list[tuple[str, dict[str, Any], list[str]]] = [
    ("customers", {"where": {"email": {"contains": "JÜRGEN@"}}}, ["Jürgen"]),
    ("customers", {"where": {"email": {"startsWith": padded("JÜRGEN@EX")}}}, ["Jürgen"]),
    ("customers", {"where": {"email": {"endsWith": "@Example.COM "}}}, ["Jürgen", "Mara Love"]),
    ("customers", {"where": {"email": {"contains": "ΑΣ"}}}, ["Mara Love"]),
    ("customers", {"where": {"email": {"endsWith": "ΑΣ@example.com"}}}, ["Mara Love"]),
    ("customers", {"search": " JÜRGEN@example.com\n"}, ["Jürgen"]),
    ("customers", {"where": {"name": {"startsWith": "  mara "}}}, ["Mara Love"]),
    ("customers", {"where": {"name": {"startsWith": "Mar "}}}, []),
    ("customers", {"where": {"name": {"endsWith": " love\u00a0"}}}, ["Mara Love"]),
    ("customers", {"where": {"name": {"contains": "a l"}}}, ["Mara Love"]),
    ("customers", {"where": {"name": {"contains": "  "}}}, []),
    ("customers", {"where": {"name": {"startsWith": " "}}}, []),
    ("customers", {"where": {"email": {"contains": " "}}}, []),
    ("customers", {"where": {"email": {"endsWith": "\u200b"}}}, []),
    ("customers", {"search": "\t"}, []),
]


@pytest.mark.parametrize("case", FOUND, ids=lambda case: str(case[1]))
async def test_text_operators_look_for_what_is_stored(ask: Ask, case: tuple[str, dict[str, Any], list[str]]) -> None:
    await done(ask, "createCustomer", {"name": "Jürgen", "email": "JÜRGEN@example.com"})
    await done(ask, "createCustomer", {"name": "Mara Love", "email": "ΜΑΡΑΣ.ΑΣ@example.com"})
    field, arguments, expected = case
    query = "query($where: CustomerWhere, $search: String) { customers(where: $where, search: $search) { nodes { name } } }"
    assert [node["name"] for node in (await ask.data(query, arguments))[field]["nodes"]] == expected


async def test_orders_are_searched_by_the_address_as_it_is_stored(ask: Ask) -> None:
    await done(ask, "createCustomer", {"name": "x", "email": "JÜRGEN@example.com", "orders": [{}]})
    found = await ask.data("query($s: String!) { orders(search: $s) { totalCount } }", {"s": " JÜRGEN@EXAMPLE.com"})
    assert found["orders"]["totalCount"] == 1


# ---- rows of the version before

STAMPS = "'2026-01-01 00:00:00.000000+00'"


async def insert(url: str, *rows: tuple[str, str]) -> None:
    """Items with these skus and names, past the product."""
    async with migrate.connected(url) as connection, connection.begin():
        stamp = STAMPS if connection.dialect.name == "postgresql" else STAMPS.replace("+00", "")
        columns = "version, sku, name, price, created_at, updated_at"
        statement = sa.text(f"INSERT INTO item ({columns}) VALUES (1, :s, :n, 1, {stamp}, {stamp})")  # constants
        for sku, name in rows:
            await connection.execute(statement, {"s": sku, "n": name})


async def stored(url: str) -> list[tuple[str, str]]:
    async with migrate.connected(url) as connection:
        rows = await connection.execute(sa.text("SELECT sku, name FROM item ORDER BY id"))
        return [(row.sku, row.name) for row in rows]


async def test_the_migration_trims_what_is_there(empty_url: str) -> None:
    await migrate.downgrade(empty_url, "0003")
    await insert(empty_url, (padded("A"), padded("Apple")), ("B", padded("Apple")), ("\u200b", " "), (" ", "\u00a0b"))
    await migrate.upgrade(empty_url)
    assert await stored(empty_url) == [("A", "Apple"), ("B", "Apple"), ("\u200b", " "), (" ", "b")]


async def test_the_migration_leaves_two_skus_that_would_become_one_to_people(empty_url: str) -> None:
    await migrate.downgrade(empty_url, "0003")
    await insert(empty_url, ("A ", "Apple"), ("B", "Bee"), ("A", "Pear "))
    with pytest.raises(CommandError, match=r"sku of these rows of item .*'A ' \(id 1\), 'A' \(id 3\)"):
        await migrate.upgrade(empty_url)
    assert await stored(empty_url) == [("A ", "Apple"), ("B", "Bee"), ("A", "Pear ")]
    assert await migrate.current(empty_url) == "0003"

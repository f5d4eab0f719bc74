"""Several rows at once, plain rows fast, rows merged by their natural keys, rows archived and purged."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import Any

import pytest

from tests import stock
from tests.conftest import Ask, Statements
from tests.words import ITEM, codes, count, done, mutate, refusals, stocks

AskWith = Callable[..., AbstractAsyncContextManager[Ask]]
ENTRY = """results { index customer { id email orders { nodes { totalAmount } } }
    errors { code path ... on UniqueError { existing { id } } } }"""


#: Items A (1.00, 10 in stock) and B (2.00, not tracked); Ada with an order of two A.
SHOP = [stock.item("A", 1, 10), stock.item("B", 2), stock.customer("Ada", [stock.line("A", 2)])]


def customer(name: str, *skus: str) -> dict[str, Any]:
    items = [{"item": {"sku": sku}, "quantity": 1} for sku in skus]
    return {"name": name, "email": f"{name}@example.com", "orders": [{"items": items}] if items else []}


async def test_all_or_nothing(shop: Ask) -> None:
    customers = [customer("eve", "A"), customer("ada"), customer("eve", "A"), customer("x", "missing")]
    payload = await mutate(shop, "createCustomers", {"customers": customers}, ENTRY)
    assert codes(payload) == [refused for entry in payload["results"][1:] for refused in codes(entry)]
    assert [[(e["code"], ".".join(e["path"])) for e in entry["errors"]] for entry in payload["results"]] == [
        [("ROLLED_BACK", "input")],
        [("UNIQUE", "input.customers.1.email")],
        [("UNIQUE", "input.customers.2.email")],
        [("REFERENCE_NOT_FOUND", "input.customers.3.orders.0.items.0.item.sku")],
    ]
    assert payload["results"][1]["errors"][0]["existing"] == {"id": "Customer:1"}
    assert await count(shop) == (1, 1, 2)
    assert (await stocks(shop))["A"] == 8


async def test_good_rows_stay_when_others_are_refused(shop: Ask) -> None:
    customers = [customer("eve", "A"), customer("ada", "A"), customer("eve"), customer("x", "missing"), customer("zoe", "A", "B")]
    payload = await mutate(shop, "createCustomers", {"customers": customers, "onError": "CONTINUE"}, ENTRY)
    assert codes(payload) == [refused for entry in payload["results"] for refused in codes(entry)]
    assert [entry["customer"] and entry["customer"]["email"] for entry in payload["results"]] == [
        "eve@example.com",
        None,
        None,
        None,
        "zoe@example.com",
    ]
    assert [[e["code"] for e in entry["errors"]] for entry in payload["results"]] == [
        [],
        ["UNIQUE"],
        ["UNIQUE"],
        ["REFERENCE_NOT_FOUND"],
        [],
    ]
    assert payload["results"][2]["errors"][0]["existing"]["id"] == payload["results"][0]["customer"]["id"]
    assert await count(shop) == (3, 3, 2)
    assert (await stocks(shop))["A"] == 6


async def test_continue_stops_selling_when_stock_is_gone(shop: Ask) -> None:
    orders = [{"customer": {"id": "Customer:1"}, "items": [{"item": {"sku": "A"}, "quantity": 3}]}] * 4
    payload = await mutate(shop, "createOrders", {"orders": orders, "onError": "CONTINUE"}, "results { errors { code path } }")
    assert [[e["code"] for e in entry["errors"]] for entry in payload["results"]] == [[], [], ["OUT_OF_STOCK"], ["OUT_OF_STOCK"]]
    assert (await stocks(shop))["A"] == 2


async def test_items_at_once(shop: Ask) -> None:
    items = [{"sku": sku, "name": sku, "price": "1"} for sku in ("C", "D")]
    payload = await done(shop, "createItems", {"items": items}, "results { index item { sku } }")
    assert [entry["item"]["sku"] for entry in payload["results"]] == ["C", "D"]


@pytest.mark.parametrize("error", ["ROLLBACK", "CONTINUE"])
@pytest.mark.parametrize("name", ["customers", "orders", "items"])
async def test_nothing_at_once(shop: Ask, name: str, error: str) -> None:
    payload = await done(shop, f"create{name.title()}", {name: [], "onError": error}, "results { index }")
    assert payload["results"] == []


@pytest.mark.parametrize("number", [2, 60])
async def test_several_at_once_take_as_many_statements_as_few(shop: Ask, statements: Statements, number: int) -> None:
    statements.clear()
    await done(shop, "createCustomers", {"customers": [customer(f"c{n}", "B", "B") for n in range(number)]}, ENTRY)
    # Look up the items; insert customers, orders, lines; read the payload; tell the outbox. Where that can be, there is one
    # statement that inserts, and telling is a part of reading.
    together = shop.database.capabilities.writes_in_queries
    assert len(statements) == (3 if together else 6), statements.sql
    statements.clear()
    given = {"customers": [customer(f"d{n}", "B") for n in range(number)], "onError": "CONTINUE"}
    await done(shop, "createCustomers", given, ENTRY)
    assert len(statements) == (2 + number if together else 3 + 3 * number), statements.sql


def rows(start: int, end: int, **more: Any) -> list[dict[str, Any]]:
    return [{"name": f"Customer {n}", "email": f" C{n}@Example.com", **more} for n in range(start, end)]


SUMS = "inserted updated skipped"


@pytest.mark.parametrize("conflict", ["ERROR", "SKIP", "UPDATE"])
async def test_ten_thousand_customers_are_one_statement(shop: Ask, statements: Statements, conflict: str) -> None:
    statements.clear()
    payload = await done(shop, "insertCustomers", {"rows": rows(0, 10_000), "onConflict": conflict}, SUMS)
    assert (payload["inserted"], payload["updated"], payload["skipped"]) == (10_000, 0, 0)
    # Where there are several writers, rows that are there are locked in order, and ids drawn for those that are sent in another.
    ahead = conflict != "SKIP" and not shop.app.state.database.capabilities.one_writer
    assert len(statements) == 2 + ahead  # and one that tells the outbox: many rows are not read for it
    assert await count(shop) == (10_001, 1, 2)
    answer = await shop('{ customer(by: {email: "c9999@example.com"}) { name version createdAt updatedAt archived } }')
    found = answer["data"]["customer"]
    assert (found["name"], found["version"], found["archived"]) == ("Customer 9999", 1, False)
    assert found["createdAt"][:10] == found["updatedAt"][:10]


async def test_ten_thousand_rows_fit_wherever_their_variable_stands(shop: Ask) -> None:
    query = "mutation ($given: [CustomerRowInput!]!) { insertCustomers(input: {rows: $given}) { inserted errors { code } } }"
    data = await shop.data(query, {"given": rows(0, 10_000)})
    assert data["insertCustomers"] == {"inserted": 10_000, "errors": []}
    answer = await shop(query, {"given": rows(10_000, 20_001)})
    (error,) = answer["errors"]
    assert (error["extensions"]["code"], error["extensions"]["path"]) == ("BAD_USER_INPUT", ["input", "rows"])
    assert await count(shop) == (10_001, 1, 2)


async def test_a_variable_keeps_the_limits_of_every_place_it_stands_at(shop: Ask) -> None:
    given = [{"sku": f"N{n}", "name": "n", "price": "1"} for n in range(400)]
    query = """mutation ($rows: [ItemInput!]!) {
        insertItems(input: {rows: $rows, onConflict: SKIP}) { inserted }
        createItems(input: {items: $rows}) { results { index } } }"""
    answer = await shop(query, {"rows": given})
    assert [error["extensions"]["path"] for error in answer["errors"]] == [["input", "items"]]
    fields = [f"m{n}: createItems(input: {{items: $a}}) {{ results {{ errors {{ code }} }} }}" for n in range(4)]
    query = f"""mutation ($a: [ItemInput!]!, $b: [ItemInput!]!) {{
        {" ".join(fields)} last: createItems(input: {{items: $b}}) {{ results {{ index }} }} }}"""
    answer = await shop(query, {"a": given[:250], "b": given[:1]})
    (error,) = answer["errors"]
    assert (error["extensions"]["path"], "at most 1000 entries" in error["message"]) == (["input", "items"], True)
    assert await count(shop) == (1, 1, 2)
    data = await shop.data(query, {"a": given[:250], "b": []})
    assert [entry["errors"] for entry in data["m0"]["results"]] == [[]] * 250
    assert await count(shop) == (1, 1, 252)


async def test_plain_rows_keep_every_character_and_null(shop: Ask) -> None:
    names = ['"quoted" \\ {a,b}', "NULL", "d'Arc; --", "Ünï \u2028 😀", "[1, 2]", "$1 :name %s"]
    given = [{"sku": f"N{n}", "name": name, "price": "0.01", "stock": None if n % 2 else n} for n, name in enumerate(names)]
    await done(shop, "insertItems", {"rows": given}, SUMS)
    data = await shop.data(
        '{ items(where: {sku: {startsWith: "N"}}, orderBy: [{field: SKU}]) { nodes { sku name price stock } } }'
    )
    assert data["items"]["nodes"] == given


@pytest.mark.parametrize(
    ("field", "name"),
    [("createCustomers", "customers"), ("createItems", "items"), ("upsertItems", "items"), ("insertItems", "rows")],
)
async def test_an_empty_list_is_no_work(shop: Ask, statements: Statements, field: str, name: str) -> None:
    statements.clear()
    await done(shop, field, {name: []}, SUMS if name == "rows" else "results { index }")
    assert len(statements) == 0
    assert await count(shop) == (1, 1, 2)


async def test_plain_rows_are_refused_at_their_places(shop: Ask) -> None:
    given = [*rows(0, 3), *rows(1, 2), {"name": " ", "email": "ada@example.com"}, {"name": "x", "email": "x"}]
    assert await refusals(shop, "insertCustomers", {"rows": given}) == [
        ("UNIQUE", "input.rows.3.email"),
        ("INVALID_INPUT", "input.rows.4.name"),
        ("UNIQUE", "input.rows.4.email"),
        ("INVALID_INPUT", "input.rows.5.email"),
    ]
    items = [{"sku": "N", "name": "n", "price": "-1"}, {"sku": "A", "name": "a", "price": "1", "stock": -1}]
    assert await refusals(shop, "insertItems", {"rows": items}) == [
        ("CHECK", "input.rows.0.price"),
        ("UNIQUE", "input.rows.1.sku"),
        ("CHECK", "input.rows.1.stock"),
    ]
    assert await refusals(shop, "insertItems", {"rows": items, "onConflict": "SKIP"}) == [
        ("CHECK", "input.rows.0.price"),
        ("CHECK", "input.rows.1.stock"),
    ]
    assert await count(shop) == (1, 1, 2)


@pytest.mark.parametrize("how", ["ERROR", "SKIP"])
async def test_plain_rows_are_told_as_they_are_written_and_not_read_again(shop: Ask, statements: Statements, how: str) -> None:
    statements.clear()
    await done(shop, "insertCustomers", {"rows": rows(0, 300), "onConflict": how}, SUMS)
    (insert,) = [sql for sql in statements.sql if "customer" in sql.lower() and "INSERT INTO changes" not in sql]
    assert insert.startswith("INSERT INTO customer")
    assert len([sql for sql in statements.sql if "INSERT INTO changes" in sql]) == 1


async def test_taken_keys_are_skipped(shop: Ask) -> None:
    given = [*rows(0, 2), {"name": "Other", "email": "ADA@example.com"}, *rows(1, 3)]
    payload = await done(shop, "insertCustomers", {"rows": given, "onConflict": "SKIP"}, SUMS)
    assert (payload["inserted"], payload["updated"], payload["skipped"]) == (3, 0, 2)
    answer = await shop('{ customer(by: {email: "ada@example.com"}) { name } }')
    assert answer["data"]["customer"]["name"] == "Ada"


async def test_taken_keys_are_updated_and_the_last_wins(shop: Ask) -> None:
    given = [{"name": "One", "email": "ada@example.com"}, *rows(0, 2), {"name": "Two", "email": "ADA@example.com"}]
    payload = await done(shop, "insertCustomers", {"rows": given, "onConflict": "UPDATE"}, SUMS)
    assert (payload["inserted"], payload["updated"], payload["skipped"]) == (2, 2, 0)
    answer = await shop('{ customer(by: {email: "ada@example.com"}) { name version } }')
    assert answer["data"]["customer"] == {"name": "Two", "version": 2}
    await done(shop, "insertCustomers", {"rows": given[3:], "onConflict": "UPDATE"}, SUMS)
    answer = await shop('{ customer(by: {email: "ada@example.com"}) { version } }')
    assert answer["data"]["customer"] == {"version": 2}


async def test_rows_that_are_overwritten_are_judged_too(shop: Ask) -> None:
    good = {"sku": "D", "name": "D", "price": "1"}
    for bad, place in (({"price": "-1"}, "price"), ({"name": " "}, "name")):
        code = "CHECK" if place == "price" else "INVALID_INPUT"
        given = {"rows": [good | bad, good], "onConflict": "UPDATE"}
        assert await refusals(shop, "insertItems", given) == [(code, f"input.rows.0.{place}")]
    assert await count(shop) == (1, 1, 2)


@pytest.mark.parametrize("conflict", ["SKIP", "UPDATE"])
async def test_writers_of_the_same_rows_in_other_orders_do_not_wait_in_a_ring(shop: Ask, conflict: str) -> None:
    given = rows(0, 500)
    orders = [random.Random(n).sample(given, len(given)) for n in range(4)]
    told = await asyncio.gather(
        *(done(shop, "insertCustomers", {"rows": order, "onConflict": conflict}, SUMS) for order in orders)
    )
    assert sum(payload["inserted"] for payload in told) == 500
    assert await count(shop) == (501, 1, 2)


async def test_an_upsert_makes_or_changes_and_adds_stock(shop: Ask) -> None:
    selection = f"created item {ITEM}"
    given = {"sku": "A", "name": "A", "price": "1", "stockDelta": 5}
    payload = await done(shop, "upsertItem", given, selection)
    assert (payload["created"], payload["item"]["stock"], payload["item"]["version"]) == (False, 13, 1)
    payload = await done(shop, "upsertItem", {**given, "price": "1.10", "stockDelta": -13}, selection)
    assert (payload["item"]["stock"], payload["item"]["version"], payload["item"]["price"]) == (0, 2, "1.10")
    payload = await done(shop, "upsertItem", {"sku": "N", "name": "N", "price": "1"}, selection)
    assert (payload["created"], payload["item"]["stock"]) == (True, None)
    assert await refusals(shop, "upsertItem", given | {"stockDelta": -1}) == [("OUT_OF_STOCK", "input.stockDelta")]
    assert await refusals(shop, "upsertItem", given | {"price": "-1"}) == [("CHECK", "input.price")]
    assert await refusals(shop, "upsertItem", given | {"name": " "}) == [("INVALID_INPUT", "input.name")]


async def test_upserts_of_many_refuse_a_key_that_stands_twice(shop: Ask) -> None:
    items = [{"sku": sku, "name": sku, "price": "1", "stockDelta": 1} for sku in ("N", "A", "M")]
    payload = await done(shop, "upsertItems", {"items": items}, "results { index created item { sku stock } }")
    assert [(entry["created"], entry["item"]) for entry in payload["results"]] == [
        (True, {"sku": "N", "stock": 1}),
        (False, {"sku": "A", "stock": 9}),
        (True, {"sku": "M", "stock": 1}),
    ]
    items[2]["sku"] = "N"
    payload = await mutate(shop, "upsertItems", {"items": items}, "results { errors { code path } }")
    assert [codes(entry) for entry in payload["results"]] == [
        [("ROLLED_BACK", "input")],
        [("ROLLED_BACK", "input")],
        [("UNIQUE", "input.items.2.sku")],
    ]


async def test_a_customer_is_upserted_by_address_and_stays_archived(shop: Ask) -> None:
    await done(shop, "archiveCustomer", {"id": "Customer:1"})
    selection = "created customer { id name archived version }"
    payload = await done(shop, "upsertCustomer", {"email": " ADA@example.com", "name": "Countess"}, selection)
    assert payload["created"] is False
    assert payload["customer"] == {"id": "Customer:1", "name": "Countess", "archived": True, "version": 3}
    payload = await done(shop, "upsertCustomer", {"email": "new@example.com", "name": "New"}, selection)
    assert payload["created"] is True


async def test_stock_is_adjusted_but_never_below_zero(shop: Ask) -> None:
    payload = await done(shop, "adjustStock", {"item": {"sku": "A"}, "delta": -8}, f"item {ITEM}")
    assert (payload["item"]["stock"], payload["item"]["version"]) == (0, 1)
    payload = await mutate(shop, "adjustStock", {"item": {"id": "Item:1"}, "delta": -1})
    (error,) = payload["errors"]
    assert (error["code"], error["path"], error["requested"], error["available"]) == ("OUT_OF_STOCK", ["input", "delta"], 1, 0)
    assert await refusals(shop, "adjustStock", {"item": {"sku": "B"}, "delta": 1}) == [("INVALID_INPUT", "input.item")]
    assert await refusals(shop, "adjustStock", {"item": {"sku": "no"}, "delta": 1}) == [("NOT_FOUND", "input.item.sku")]
    assert await refusals(shop, "adjustStock", {"item": {"id": "Order:1"}, "delta": 1}) == [("NOT_FOUND", "input.item.id")]
    await done(shop, "adjustStock", {"item": {"sku": "A"}, "delta": 2**31 - 1})
    assert await refusals(shop, "adjustStock", {"item": {"sku": "A"}, "delta": 1}) == [("INVALID_INPUT", "input.delta")]


async def test_an_item_changes(shop: Ask) -> None:
    given = {"id": "Item:1", "expectedVersion": 1, "sku": "A2", "price": "5", "stock": None}
    payload = await done(shop, "updateItem", given, f"item {ITEM}")
    assert payload["item"] == {"id": "Item:1", "version": 2, "sku": "A2", "name": "A", "price": "5.00", "stock": None}
    payload = await done(shop, "updateItem", {"id": "Item:1", "stock": 4}, f"item {ITEM}")
    assert (payload["item"]["version"], payload["item"]["stock"]) == (2, 4)
    assert await refusals(shop, "updateItem", {"id": "Item:1", "sku": "B", "name": None, "price": "-1", "stock": -1}) == [
        ("UNIQUE", "input.sku"),
        ("REQUIRED", "input.name"),
        ("CHECK", "input.price"),
        ("CHECK", "input.stock"),
    ]


async def test_a_customer_changes_with_the_orders(shop: Ask) -> None:
    line = {"item": {"sku": "A"}, "quantity": 1}
    orders: dict[str, Any] = {
        "create": [{"note": "new", "items": [line]}],
        "update": [{"id": "Order:1", "note": "old", "items": {"create": [line]}}],
    }
    selection = "customer { name version orders { nodes { id note totalAmount version } } }"
    payload = await done(shop, "updateCustomer", {"id": "Customer:1", "name": "Ada L.", "orders": orders}, selection)
    assert payload["customer"] == {
        "name": "Ada L.",
        "version": 2,
        "orders": {
            "nodes": [
                {"id": "Order:1", "note": "old", "totalAmount": "3.00", "version": 2},
                {"id": "Order:2", "note": "new", "totalAmount": "1.00", "version": 1},
            ]
        },
    }
    assert (await stocks(shop))["A"] == 6
    payload = await done(
        shop, "updateCustomer", {"id": "Customer:1", "orders": {"replace": [{"id": "Order:2"}, {"note": "third"}]}}, selection
    )
    assert [one["id"] for one in payload["customer"]["orders"]["nodes"]] == ["Order:2", "Order:3"]
    assert payload["customer"]["version"] == 2
    assert (await stocks(shop))["A"] == 9
    await done(shop, "transitionOrder", {"id": "Order:2", "to": "PAID"})
    for orders, path in (({"remove": ["Order:2"]}, "input.orders.remove.0"), ({"replace": []}, "input.orders.replace")):
        assert await refusals(shop, "updateCustomer", {"id": "Customer:1", "orders": orders}) == [("NOT_EDITABLE", path)]
    orders = {
        "update": [{"id": "Order:9"}],
        "create": [{"items": [{"item": {"sku": "no"}, "quantity": 1}]}],
        "remove": ["Item:1"],
    }
    assert await refusals(shop, "updateCustomer", {"id": "Customer:1", "name": " ", "orders": orders}) == [
        ("INVALID_INPUT", "input.name"),
        ("NOT_FOUND", "input.orders.update.0.id"),
        ("REFERENCE_NOT_FOUND", "input.orders.create.0.items.0.item.sku"),
        ("NOT_FOUND", "input.orders.remove.0"),
    ]


async def test_what_is_archived_cannot_be_ordered(shop: Ask) -> None:
    await done(shop, "archiveItem", {"id": "Item:1"})
    payload = await done(shop, "archiveCustomer", {"id": "Customer:1"}, "customer { archived archivedAt version }")
    assert payload["customer"]["archived"] is True
    assert payload["customer"]["version"] == 2
    given = {
        "customer": {"email": "ada@example.com"},
        "items": [{"item": {"sku": "B"}, "quantity": 1}, {"item": {"id": "Item:1"}, "quantity": 1}],
    }
    payload = await mutate(shop, "createOrder", given)
    assert [(e["code"], ".".join(e["path"]), e["node"]["id"]) for e in payload["errors"]] == [
        ("ARCHIVED", "input.customer.email", "Customer:1"),
        ("ARCHIVED", "input.items.1.item.id", "Item:1"),
    ]
    orders: dict[str, Any] = {"create": [{}]}
    assert await refusals(shop, "updateCustomer", {"id": "Customer:1", "orders": orders}) == [
        ("ARCHIVED", "input.orders.create.0")
    ]
    assert await count(shop) == (0, 1, 1)
    await done(shop, "restoreItem", {"id": "Item:1"})
    payload = await done(shop, "restoreCustomer", {"id": "Customer:1"}, "customer { archived version }")
    assert payload["customer"] == {"archived": False, "version": 3}
    await done(shop, "createOrder", given)


async def test_archives_by_filter_and_purges(shop: Ask) -> None:
    await done(shop, "createItem", {"sku": "C", "name": "C", "price": "1"})
    assert (await done(shop, "archiveItems", {"where": {"sku": {"in": ["A", "C"]}}}, "count"))["count"] == 2
    assert (await done(shop, "archiveItems", {"where": {"sku": {"in": ["A", "C"]}}}, "count"))["count"] == 0
    assert (await done(shop, "archiveCustomers", {"where": {"orders": {"some": {"id": {"isNull": False}}}}}, "count"))[
        "count"
    ] == 1
    selection = "count customers items itemsKept"
    payload = await done(shop, "purgeArchived", {"before": "2000-01-01T00:00:00Z"}, selection)
    assert payload["count"] == 0
    await done(
        shop,
        "createCustomer",
        {"name": "Bob", "email": "bob@example.com", "orders": [{"items": [{"item": {"sku": "B"}, "quantity": 1}]}]},
    )
    await done(shop, "archiveItems", {"where": {"sku": {"eq": "B"}}})
    payload = await done(shop, "purgeArchived", {"before": "2999-01-01T00:00:00Z"}, selection)
    assert {k: payload[k] for k in ("count", "customers", "items", "itemsKept")} == {
        "count": 3,
        "customers": 1,
        "items": 2,
        "itemsKept": 1,
    }
    assert await stocks(shop) == {"B": None}


async def test_a_purge_gives_stock_back(shop: Ask) -> None:
    await done(shop, "archiveCustomer", {"id": "Customer:1"})
    await done(shop, "purgeArchived", {"before": "2999-01-01T00:00:00Z"})
    assert (await stocks(shop))["A"] == 10
    assert await count(shop) == (0, 0, 2)


async def test_a_request_has_a_bounded_number_of_nested_rows(shop: Ask) -> None:
    lines = [{"item": {"sku": "B"}, "quantity": 1}] * 200
    given = {"customers": [{**customer(f"c{n}"), "orders": [{"items": lines}]} for n in range(5)]}
    answer = await shop(
        "mutation ($input: CreateCustomersInput!) { createCustomers(input: $input) { errors { code } } }", {"input": given}
    )
    (error,) = answer["errors"]
    assert error["extensions"]["code"] == "BAD_USER_INPUT"
    assert error["extensions"]["path"][:2] == ["input", "customers"]
    assert await count(shop) == (1, 1, 2)


async def test_literals_count_as_variables_do(ask_with: AskWith) -> None:
    """Eight entries at most, wherever they stand: literals, variables, defaults of variables, variables within literals."""
    item, given = '{sku: "%s", name: "n", price: "1"}', {"sku": "V", "name": "n", "price": "1"}

    def field(name: str, *entries: str) -> str:
        return f"{name}: createItems(input: {{items: [{', '.join(entries)}]}}) {{ results {{ errors {{ code }} }} }}"

    def four(letter: str) -> list[str]:
        return [item % f"{letter}{n}" for n in range(4)]

    default = f"[{', '.join(four('D'))}]"
    of_default = "d: createItems(input: {items: $d}) { results { index } }"
    lines = ", ".join(['{item: {sku: "A0"}, quantity: 1}'] * 4)
    customer = f'{{name: "x", email: "x@y.zz", orders: [{{items: [{lines}]}}]}}'
    orders = f"createCustomers(input: {{customers: [{customer}]}}) {{ results {{ index }} }}"
    plain = f"insertItems(input: {{rows: [{', '.join(four('P'))}]}}) {{ inserted }}"
    over: list[tuple[str, dict[str, Any], list[str]]] = [
        (f"mutation {{ {field('a', *four('A'))} {field('b', *four('B'), item % 'X')} }}", {}, ["input", "items"]),
        (f"mutation {{ {field('a', *four('A'))} {orders} }}", {}, ["input", "customers", "0", "orders", "0", "items"]),
        (
            f"mutation ($v: ItemInput!) {{ {field('a', *four('A'))} {field('b', *four('B'), '$v')} }}",
            {"v": given},
            ["input", "items", "4"],
        ),
        (
            f"mutation ($d: [ItemInput!]! = {default}) {{ {field('a', *four('A'), item % 'X')} {of_default} }}",
            {},
            ["input", "items"],
        ),
        (f"mutation ($d: [ItemInput!]! = {default}) {{ {of_default} e{of_default} f{of_default} }}", {}, ["input", "items"]),
    ]
    async with ask_with(max_nested_rows=8, max_input_list=8) as ask:
        for query, variables, path in over:
            answer = await ask(query, variables)
            (error,) = answer["errors"]
            assert (error["extensions"]["code"], error["extensions"]["path"]) == ("BAD_USER_INPUT", path), query
            assert "at most 8 entries" in error["message"]
        assert await count(ask) == (0, 0, 0)
        query = f"mutation ($d: [ItemInput!]! = {default}) {{ {field('a', *four('A'))} {of_default} {plain} }}"
        assert "errors" not in await ask(query)
        assert await count(ask) == (0, 0, 12)

"""Mutations that ask for more: exactly once, all fields or none, only for show."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from datetime import timedelta
from typing import Any

import pytest
import sqlalchemy as sa

from graph.base import utc_now
from graph.database import Database
from graph.write.expired_keys import purge
from graph.write.idempotency import KEYS
from tests.conftest import Ask, Statements
from tests.stock import customer, item
from tests.unhurried import unhurried
from tests.words import ERRORS, count, done, stocks

ONCE = f"""mutation Once($input: CreateCustomerInput!, $key: String!) {{
    createCustomer(input: $input) @idempotent(key: $key) {{ customer {{ id name orders {{ nodes {{ id }} }} }} {ERRORS} }} }}"""


#: Item A (1.00, 10 in stock); Ada.
SHOP = [item("A", 1, 10), customer("Ada")]


def eve(**more: Any) -> dict[str, Any]:
    orders = [{"items": [{"item": {"sku": "A"}, "quantity": 1}]}]
    return {"name": "Eve", "email": "eve@example.com", "orders": orders, **more}


async def once(ask: Ask, key: str, given: dict[str, Any]) -> dict[str, Any]:
    answer = await ask(ONCE, {"input": given, "key": key})
    assert "errors" not in answer, answer
    payload: dict[str, Any] = answer["data"]["createCustomer"]
    return payload


def codes(payload: dict[str, Any]) -> list[str]:
    return [error["code"] for error in payload["errors"]]


# ---- exactly once


async def test_a_repeated_request_answers_the_same_and_writes_nothing(shop: Ask) -> None:
    first = await once(shop, "k", eve())
    assert await once(shop, "k", eve()) == first
    assert await count(shop) == (2, 1, 1)
    assert (await stocks(shop))["A"] == 9


async def test_a_repeated_request_is_read_back_with_its_own_selection(shop: Ask) -> None:
    await once(shop, "k", eve())
    other = """mutation ($i: CreateCustomerInput!) {
        mine: createCustomer(input: $i) @idempotent(key: "k") { customer { email version } } }"""
    answer = await shop(other, {"i": eve()})
    assert answer["data"]["mine"]["customer"] == {"email": "eve@example.com", "version": 1}


async def test_a_key_stands_for_one_mutation_and_one_input(shop: Ask) -> None:
    await once(shop, "k", eve())
    payload = await once(shop, "k", eve(name="Other"))
    assert [(e["code"], e["path"], e["key"], e["retryable"]) for e in payload["errors"]] == [
        ("IDEMPOTENCY_KEY_REUSED", ["input"], "k", False)
    ]
    answer = await shop(f'mutation {{ deleteCustomer(input: {{id: "Customer:1"}}) @idempotent(key: "k") {{ {ERRORS} }} }}')
    assert codes(answer["data"]["deleteCustomer"]) == ["IDEMPOTENCY_KEY_REUSED"]
    assert await count(shop) == (2, 1, 1)


async def test_a_refused_request_keeps_no_key(shop: Ask) -> None:
    assert codes(await once(shop, "k", eve(email="ada@example.com"))) == ["UNIQUE"]
    assert codes(await once(shop, "k", eve())) == []


async def test_what_is_gone_since_is_null(shop: Ask) -> None:
    first = await once(shop, "k", eve())
    await done(shop, "deleteCustomer", {"id": first["customer"]["id"]})
    again = await once(shop, "k", eve())
    assert again["customer"] is None
    assert [(e["code"], e["type"], e["missingId"]) for e in again["errors"]] == [
        ("NOT_FOUND", "Customer", first["customer"]["id"])
    ]


async def test_a_key_has_a_length(shop: Ask) -> None:
    for key in ("", "x" * 256):
        answer = await shop(ONCE, {"input": eve(), "key": key})
        assert [(e["extensions"]["code"], e["extensions"]["path"]) for e in answer["errors"]] == [("BAD_USER_INPUT", ["key"])]
    assert codes(await once(shop, "x" * 255, eve())) == []


async def test_a_key_where_nobody_reads_it_is_refused(shop: Ask) -> None:
    """A client that puts it a line too low would believe that its request can be sent twice."""
    made, key = 'createItem(input: {sku: "B", name: "B", price: 1})', '@idempotent(key: "k")'
    misplaced = {
        f"mutation {{ {made} {{ item {key} {{ sku }} }} }}": "item",
        f"mutation {{ {made} {{ ...P }} }} fragment P on CreateItemPayload {{ item {{ sku {key} }} }}": "sku",
        f"{{ items {key} {{ totalCount }} }}": "items",
    }
    for document, name in misplaced.items():
        answer = await shop(document)
        assert [(e["message"], e["extensions"]["code"]) for e in answer["errors"]] == [
            (
                f"Directive '@idempotent' may only stand on a field of a mutation itself, not on '{name}'.",
                "GRAPHQL_VALIDATION_FAILED",
            )
        ]
        assert "data" not in answer
    in_fragment = f"mutation {{ ...M }} fragment M on Mutation {{ {made} {key} {{ item {{ id }} }} }}"
    assert await shop(in_fragment) == await shop(in_fragment) == {"data": {"createItem": {"item": {"id": "Item:2"}}}}


async def test_values_and_refused_rows_come_back_too(shop: Ask) -> None:
    query = """mutation { upsertItem(input: {sku: "A", name: "A", price: 1, stockDelta: 5}) @idempotent(key: "u") {
        created item { stock } } }"""
    for _ in range(2):
        assert (await shop(query))["data"]["upsertItem"] == {"created": False, "item": {"stock": 15}}
    query = """mutation { deleteCustomer(input: {id: "Customer:1"}) @idempotent(key: "d") {
        deletedIds deleted { customers orders } } }"""
    for _ in range(2):
        payload = (await shop(query))["data"]["deleteCustomer"]
        assert payload == {"deletedIds": ["Customer:1"], "deleted": {"customers": 1, "orders": 0}}
    several = f"""mutation ($c: [CustomerInput!]!) {{
        createCustomers(input: {{customers: $c, onError: CONTINUE}}) @idempotent(key: "s") {{
        results {{ index customer {{ id }} {ERRORS} }} {ERRORS} }} }}"""
    given = {
        "c": [
            eve(),
            eve(),
            {"name": "Z", "email": "z@example.com", "orders": [{"items": [{"item": {"sku": "A"}, "quantity": 99}]}]},
        ]
    }
    first = await shop(several, given)
    assert [codes(entry) for entry in first["data"]["createCustomers"]["results"]] == [[], ["UNIQUE"], ["OUT_OF_STOCK"]]
    assert await shop(several, given) == first


async def test_twenty_requests_with_one_key_make_one_row(shop: Ask) -> None:
    payloads = await asyncio.gather(*(once(shop, "k", eve()) for _ in range(20)))
    answered = [payload for payload in payloads if not payload["errors"]]
    assert answered
    assert all(payload == answered[0] for payload in answered)
    assert {code for payload in payloads for code in codes(payload)} <= {"IDEMPOTENCY_IN_PROGRESS", "TRY_AGAIN"}
    assert await count(shop) == (2, 1, 1)


async def grow_old(database: Database) -> None:
    """Two hours pass for all keys."""
    async with database.engine.begin() as connection:
        await connection.execute(sa.update(KEYS).values(created_at=utc_now() - timedelta(hours=2)))


async def test_keys_expire_and_are_purged(ask_with: Callable[..., AbstractAsyncContextManager[Ask]], database: Database) -> None:
    async with ask_with(idempotency_seconds=3_600) as ask:
        await done(ask, "createItem", {"sku": "A", "name": "A", "price": "1"})
        await once(ask, "k", eve())
        await once(ask, "l", eve(email="l@example.com"))
        await grow_old(database)
        assert codes(await once(ask, "k", eve())) == ["UNIQUE"]
        assert codes(await once(ask, "k", eve(email="other@example.com"))) == []
        assert await purge(database) == 0
    short = Database(unhurried(database.settings.database_url, idempotency_seconds=3_600))
    await grow_old(database)
    assert await purge(short) == 2
    await short.close()


# ---- all or nothing

TWO = f"""mutation Two($a: CreateCustomerInput!, $b: UpdateItemInput!) @atomic {{
    a: createCustomer(input: $a) {{ customer {{ id }} {ERRORS} }}
    b: updateItem(input: $b) {{ item {{ id name version }} {ERRORS} }}
    c: adjustStock(input: {{item: {{sku: "A"}}, delta: -3}}) {{ item {{ stock }} {ERRORS} }} }}"""


async def test_fields_share_a_transaction(shop: Ask) -> None:
    answer = await shop(TWO, {"a": eve(), "b": {"id": "Item:1", "name": "Apple"}})
    assert "errors" not in answer, answer
    assert [codes(answer["data"][name]) for name in "abc"] == [[], [], []]
    assert answer["data"]["b"]["item"] == {"id": "Item:1", "name": "Apple", "version": 2}
    assert answer["data"]["c"]["item"]["stock"] == 6
    assert await count(shop) == (2, 1, 1)


async def test_one_refusal_undoes_all_of_them(shop: Ask) -> None:
    answer = await shop(TWO, {"a": eve(), "b": {"id": "Item:1", "name": " ", "price": "-1"}})
    assert "errors" not in answer, answer
    assert [codes(answer["data"][name]) for name in "abc"] == [["ROLLED_BACK"], ["INVALID_INPUT", "CHECK"], ["ROLLED_BACK"]]
    assert answer["data"]["a"]["customer"] is None
    assert await count(shop) == (1, 0, 1)
    assert (await stocks(shop))["A"] == 10


async def test_rows_that_went_with_the_rollback_are_null(shop: Ask) -> None:
    query = f"""mutation ($a: CreateCustomerInput!, $b: CreateCustomerInput!) @atomic {{
        a: createCustomer(input: $a) {{ {ERRORS} }} b: createCustomer(input: $b) {{ {ERRORS} }} }}"""
    answer = await shop(query, {"a": eve(), "b": eve()})
    (error,) = answer["data"]["b"]["errors"]
    assert (error["code"], error["existing"]) == ("UNIQUE", None)
    answer = await shop(query, {"a": eve(), "b": {"name": "x", "email": "ada@example.com"}})
    (error,) = answer["data"]["b"]["errors"]
    assert (error["code"], error["existing"]["id"]) == ("UNIQUE", "Customer:1")


async def test_a_later_field_sees_what_an_earlier_one_wrote(shop: Ask) -> None:
    query = """mutation @atomic {
        createOrder(input: {customer: {id: "Customer:1"}, items: [{item: {sku: "A"}, quantity: 2}]}) { order { id } }
        a: updateOrder(input: {id: "Order:1", note: "n", items: {create: [{item: {sku: "A"}, quantity: 1}]}}) {
            order { totalAmount version } }
        b: updateOrder(input: {id: "Order:1", expectedVersion: 2, items: {remove: ["OrderItem:1"]}}) {
            order { totalAmount version } } }"""
    answer = await shop(query)
    assert answer["data"]["a"]["order"] == {"totalAmount": "3.00", "version": 2}
    assert answer["data"]["b"]["order"] == {"totalAmount": "1.00", "version": 3}
    assert (await stocks(shop))["A"] == 9


async def test_a_row_refused_under_continue_does_not_fail_its_field(shop: Ask) -> None:
    query = f"""mutation ($c: [CustomerInput!]!) @atomic {{
        createCustomers(input: {{customers: $c, onError: CONTINUE}}) {{ results {{ {ERRORS} }} }}
        createItem(input: {{sku: "B", name: "B", price: 1}}) {{ {ERRORS} }} }}"""
    answer = await shop(query, {"c": [{"name": "x", "email": "ada@example.com"}, {"name": "y", "email": "y@example.com"}]})
    assert [codes(entry) for entry in answer["data"]["createCustomers"]["results"]] == [["UNIQUE"], []]
    assert codes(answer["data"]["createItem"]) == []
    assert await count(shop) == (2, 0, 2)


# ---- only for show


async def test_a_dry_run_answers_and_leaves_nothing(shop: Ask) -> None:
    query = """mutation ($i: CreateCustomerInput!) @dryRun {
        createCustomer(input: $i) @idempotent(key: "k") {
            customer { name orders { nodes { totalAmount } } } errors { code } } }"""
    for _ in range(2):
        payload = (await shop(query, {"i": eve()}))["data"]["createCustomer"]
        assert payload == {"customer": {"name": "Eve", "orders": {"nodes": [{"totalAmount": "1.00"}]}}, "errors": []}
    payload = (await shop(query, {"i": eve(email="ADA@example.com")}))["data"]["createCustomer"]
    assert payload == {"customer": None, "errors": [{"code": "UNIQUE"}]}
    assert await count(shop) == (1, 0, 1)
    assert (await stocks(shop))["A"] == 10
    assert codes(await once(shop, "k", eve(name="Other"))) == []


async def test_a_dry_run_of_all_or_nothing(shop: Ask) -> None:
    query = f"""mutation ($a: CreateCustomerInput!, $b: CreateCustomerInput!) @atomic @dryRun {{
        a: createCustomer(input: $a) {{ customer {{ email }} {ERRORS} }}
        b: createCustomer(input: $b) {{ customer {{ email }} {ERRORS} }} }}"""
    answer = await shop(query, {"a": eve(), "b": eve(email="b@example.com")})
    assert [answer["data"][name]["customer"]["email"] for name in "ab"] == ["eve@example.com", "b@example.com"]
    answer = await shop(query, {"a": eve(), "b": eve()})
    assert [codes(answer["data"][name]) for name in "ab"] == [["ROLLED_BACK"], ["UNIQUE"]]
    assert await count(shop) == (1, 0, 1)


# ---- what is too much


def deep(levels: int) -> str:
    """A selection of a customer, a page of orders within a page of orders."""
    text = "id"
    for level in range(levels):
        inner = f"items {{ order {{ customer {{ {text} }} }} }}" if level % 2 else f"customer {{ {text} }}"
        text = f"orders(first: 1) {{ nodes {{ {inner} }} }}"
    return text


@pytest.mark.parametrize("directive", ["", "@atomic"])
async def test_a_payload_of_pages_within_pages_is_answered(shop: Ask, directive: str) -> None:
    create = 'createCustomer(input: {name: "Eve", email: "eve@example.com"})'
    data = await shop.data(f"mutation {directive} {{ {create} {{ customer {{ {deep(3)} }} }} }}")
    assert data["createCustomer"]["customer"] == {"orders": {"nodes": []}}


async def test_a_filter_through_too_many_relations_is_refused(shop: Ask) -> None:
    where: dict[str, Any] = {"note": {"isNull": True}}
    for level in range(15):
        where = {"and": [where]} if level % 2 else {"customer": {"orders": {"some": where}}}
    before = await count(shop)
    answer = await shop(
        "mutation ($where: OrderWhere!) { deleteOrders(input: {where: $where}) { count errors { code } } }", {"where": where}
    )
    assert [(e["extensions"]["code"], e["extensions"]["path"]) for e in answer["errors"]] == [
        ("BAD_USER_INPUT", ["input", "where"])
    ]
    assert "data" not in answer
    assert await count(shop) == before


async def test_a_filter_that_looks_at_too_much_is_refused_with_its_field(
    ask_with: Callable[..., AbstractAsyncContextManager[Ask]],
) -> None:
    where = "{items: {some: {item: {orderItems: {some: {quantity: {gt: 0}}}}}}}"  # ten lines, their items, ten lines of each
    async with ask_with(max_cost=119) as ask:
        answer = await ask(f"mutation {{ all: deleteOrders(input: {{where: {where}}}) {{ count errors {{ code }} }} }}")
        (error,) = answer["errors"]
        told = error["extensions"]
        assert (told["code"], told["value"], told["field"], told["share"]) == ("OPERATION_TOO_EXPENSIVE", 120, ["all"], 1.0)
        assert "filter by fewer relations" in error["message"]
        assert "data" not in answer
    async with ask_with(max_cost=120) as ask:
        assert "errors" not in await ask(f"mutation {{ deleteOrders(input: {{where: {where}}}) {{ count }} }}")


ORDERS = "orders(first: 100) { nodes { items { id quantity item { id } } customer { id orders(first: 5) { nodes { id } } } } }"


async def test_payloads_cost_as_much_as_queries(shop: Ask) -> None:
    create = 'createCustomer(input: {name: "c", email: "c%d@example.com"})'
    customers = [f"c{n}: {create % n} {{ customer {{ {ORDERS} }} }}" for n in range(5)]
    answer = await shop(f"mutation {{ {' '.join(customers)} }}")
    (told,) = (error["extensions"] for error in answer["errors"])
    assert (told["code"], told["field"]) == ("OPERATION_TOO_EXPENSIVE", ["c0", "customer", "orders"])
    assert told["share"] == round(2700 / told["value"], 3)
    query = f"""mutation ($c: [CustomerInput!]!) {{
        createCustomers(input: {{customers: $c}}) {{ results {{ customer {{ {ORDERS} }} }} }} }}"""
    for number, expensive in ((4, False), (5, True)):
        answer = await shop(query, {"c": [{"name": "d", "email": f"d{number}-{n}@example.com"} for n in range(number)]})
        assert ("errors" in answer) == expensive, answer
    told = answer["errors"][0]["extensions"]
    assert (told["field"], told["suggestion"]) == (["createCustomers", "results", "customer", "orders"], "first: 88")
    assert await count(shop) == (1 + 4, 0, 1)


EXISTING = "... on UniqueError { existing { id ... on Customer { name } } }"


async def test_rows_that_errors_name_are_read_together(shop: Ask, statements: Statements) -> None:
    taken = [{"name": f"c{n}", "email": f"c{n}@example.com"} for n in range(60)]
    await done(shop, "insertCustomers", {"rows": taken})
    query = f"""mutation ($c: [CustomerInput!]!) {{ createCustomers(input: {{customers: $c}}) {{
        results {{ errors {{ code {EXISTING} }} }} }} }}"""
    seen = []
    for number in (2, 60):
        statements.clear()
        data = await shop.data(query, {"c": taken[:number]})
        results = data["createCustomers"]["results"]
        assert [entry["errors"][0]["existing"]["name"] for entry in results] == [row["name"] for row in taken[:number]]
        seen.append(len(statements))
    assert seen[0] == seen[1]
    deep = query.replace("name }", f"{ORDERS} }}")
    answer = await shop(deep, {"c": taken[:10]})
    assert {error["extensions"]["code"] for error in answer["errors"]} == {"OPERATION_TOO_EXPENSIVE"}
    assert await count(shop) == (61, 0, 1)
    # What is kept beside them is told.
    kept = deep.replace("customers: $c", "customers: $c, onError: CONTINUE").replace("results {", "results { customer { name }")
    answer = await shop(kept, {"c": [*taken[:10], {"name": "new", "email": "new@example.com"}]})
    assert {error["extensions"]["code"] for error in answer["errors"]} == {"OPERATION_TOO_EXPENSIVE"}
    *refused, made = answer["data"]["createCustomers"]["results"]
    assert made == {"customer": {"name": "new"}, "errors": []}
    assert [entry["errors"] for entry in refused] == [[{"code": "UNIQUE", "existing": None}]] * 10
    assert await count(shop) == (62, 0, 1)


async def test_rows_in_the_way_are_shown_where_the_transaction_stays(
    ask_with: Callable[..., AbstractAsyncContextManager[Ask]],
) -> None:
    """One connection is enough: what a refused row of CONTINUE ran into is read in the transaction that is kept."""
    query = f"""mutation ($c: [CustomerInput!]!) @atomic {{
        a: createCustomer(input: {{name: "a", email: "a@example.com"}}) {{ customer {{ id }} {ERRORS} }}
        b: createCustomers(input: {{customers: $c, onError: CONTINUE}}) {{
            results {{ customer {{ name }} errors {{ code {EXISTING} }} }} }} }}"""
    given = [{"name": name, "email": f"{name}@example.com"} for name in ("a", "b", "b")]
    async with ask_with(pool_size=1) as ask:
        data = await ask.data(query, {"c": given})
        assert [(entry["customer"] or {}).get("name") for entry in data["b"]["results"]] == [None, "b", None]
        refused = [error for entry in data["b"]["results"] for error in entry["errors"]]
        assert [(error["code"], error["existing"]["name"]) for error in refused] == [("UNIQUE", "a"), ("UNIQUE", "b")]
        assert await count(ask) == (2, 0, 0)


async def test_what_breaks_under_atomic_acknowledges_nothing(shop: Ask) -> None:
    """A place in the answer that cannot be told undoes everything, and then nothing may be claimed."""
    query = f"""mutation ($c: [CustomerInput!]!) @atomic {{
        a: createCustomer(input: {{name: "a", email: "a@example.com"}}) {{ customer {{ id }} {ERRORS} }}
        b: createCustomers(input: {{customers: $c, onError: CONTINUE}}) {{
            results {{ customer {{ name }} errors {{ code {EXISTING.replace("name", ORDERS)} }} }} }} }}"""
    await done(shop, "insertCustomers", {"rows": [{"name": f"x{n}", "email": f"x{n}@example.com"} for n in range(5)]})
    given = [{"name": "y", "email": f"x{n}@example.com"} for n in range(5)]
    answer = await shop(query, {"c": given})
    assert answer["data"] is None
    assert {error["extensions"]["code"] for error in answer["errors"]} == {"OPERATION_TOO_EXPENSIVE"}
    assert await count(shop) == (6, 0, 1)

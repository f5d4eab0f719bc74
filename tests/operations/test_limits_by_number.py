"""Every limit by its number: at it a request is served, one above refused before anything is done, and the next one served."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, NamedTuple

from tests.conftest import Statements, asking
from tests.unhurried import unhurried

SMALL: dict[str, int] = {
    "max_tokens": 120,
    "max_depth": 4,
    "max_aliases": 3,
    "max_root_fields": 3,
    "max_directives": 3,
    "max_cost": 10,
    "default_page_size": 5,
    "nested_page_size": 5,
    "max_page_size": 10,
    "max_input_list": 70,
    "max_nested_rows": 100,
    "max_insert_rows": 4,
    "max_text_length": 300,
    "max_operation_bytes": 16_000,
    "max_body_bytes": 20_000,
}
INSERT = "mutation ($r: InsertItemsInput!) { insertItems(input: $r) { inserted } }"
CREATE = """mutation ($a: CreateItemsInput!, $b: CreateItemsInput!) {
  createItems(input: $a) { errors { code } } more: createItems(input: $b) { errors { code } }
}"""
FIELDS = ("id", "sku", "name", "stock", "price")


KEYED = 'mutation { insertItems(input: {rows: []}) @idempotent(key: "%s") { inserted } }'


class Limit(NamedTuple):
    """A limit, the code of what is above it, and a request that has so much of what it counts."""

    code: str
    limit: int
    request: Callable[[int], dict[str, Any]]


def ask_for(query: str, **variables: Any) -> dict[str, Any]:
    return {"query": query, "variables": variables}


def rows(count: int, letter: str = "a") -> list[dict[str, str]]:
    return [{"sku": f"{letter}{n}", "name": "n", "price": "1"} for n in range(count)]


def fields(count: int) -> str:
    return " ".join(FIELDS[n % len(FIELDS)] for n in range(count))


def where(conditions: int) -> dict[str, Any]:
    """A filter that counts as at least 200 conditions: one, its list, and three each."""
    parts: list[dict[str, dict[str, int]]] = [{"stock": {"eq": 1}} for _ in range(66)]
    for part in parts[: conditions - 200]:
        part["stock"]["lt"] = 5
    return {"or": parts}


def padded(body: dict[str, Any], size: int) -> dict[str, Any]:
    """A request of so many bytes."""
    pad = size - len(json.dumps({**body, "extensions": {"pad": ""}}))
    return {**body, "extensions": {"pad": "x" * pad}}


DEEP = {4: "id", 5: "orders(first: 1) { totalCount }"}
LIMITS: dict[str, Limit] = {
    "comments": Limit("OPERATION_TOO_LARGE", 120, lambda n: ask_for("#\n" * n + "{ __typename }")),
    "tokens": Limit("OPERATION_TOO_LARGE", 120, lambda n: ask_for(f"{{ items(first: 1) {{ nodes {{ {fields(n - 13)} }} }} }}")),
    "depth": Limit(
        "OPERATION_TOO_LARGE", 4, lambda n: ask_for(f"{{ orders(first: 1) {{ nodes {{ customer {{ {DEEP[n]} }} }} }} }}")
    ),
    "aliases": Limit(
        "OPERATION_TOO_LARGE",
        3,
        lambda n: ask_for('{ node(id: "Order:1") { ' + " ".join(f"a{k}: id" for k in range(n)) + " } }"),
    ),
    "root fields": Limit("OPERATION_TOO_LARGE", 3, lambda n: ask_for("{ " + "__typename " * n + "}")),
    "directives": Limit(
        "OPERATION_TOO_LARGE",
        3,
        lambda n: ask_for('{ node(id: "Order:1") { ' + "... @include(if: true) { id } " * n + "} }"),
    ),
    "one key": Limit("OPERATION_TOO_LARGE", 50, lambda n: ask_for('{ item(by: {sku: "a"}) { ' + "id " * n + "} }")),
    "the whole schema": Limit(
        "OPERATION_TOO_LARGE",
        2,
        lambda n: ask_for("{ " + " ".join(f"a{k}: __schema {{ queryType {{ name }} }}" for k in range(n)) + " }"),
    ),
    "cost": Limit(
        "OPERATION_TOO_EXPENSIVE",
        10,
        lambda n: ask_for(f"{{ orders(first: 5) {{ nodes {{ id }} }} items(first: {n - 5}) {{ nodes {{ id }} }} }}"),
    ),
    "page": Limit("BAD_USER_INPUT", 10, lambda n: ask_for(f"{{ orders(first: {n}) {{ totalCount }} }}")),
    "page from the end": Limit(
        "BAD_USER_INPUT", 10, lambda n: ask_for("query ($n: Int) { orders(last: $n) { totalCount } }", n=n)
    ),
    "groups": Limit("BAD_USER_INPUT", 1_000, lambda n: ask_for(f"{{ orderSummary(first: {n}) {{ totalAmount {{ sum }} }} }}")),
    "ids": Limit("BAD_USER_INPUT", 10, lambda n: ask_for("query ($i: [ID!]!) { nodes(ids: $i) { id } }", i=["Order:1"] * n)),
    "conditions": Limit(
        "BAD_USER_INPUT", 200, lambda n: ask_for("query ($w: ItemWhere) { items(where: $w) { totalCount } }", w=where(n))
    ),
    "text": Limit("BAD_USER_INPUT", 300, lambda n: ask_for("query ($s: String) { items(search: $s) { totalCount } }", s="x" * n)),
    "text in the document": Limit("BAD_USER_INPUT", 300, lambda n: ask_for(f'{{ items(search: "{"x" * n}") {{ totalCount }} }}')),
    "key": Limit("BAD_USER_INPUT", 255, lambda n: ask_for(KEYED % ("k" * n))),
    "list": Limit("BAD_USER_INPUT", 70, lambda n: ask_for(CREATE, a={"items": rows(n, "l")}, b={"items": []})),
    "rows of a request": Limit(
        "BAD_USER_INPUT", 100, lambda n: ask_for(CREATE, a={"items": rows(n - 50, "r")}, b={"items": rows(50, "s")})
    ),
    "plain rows": Limit("BAD_USER_INPUT", 4, lambda n: ask_for(INSERT, r={"rows": rows(n, "p")})),
    "bytes of an operation": Limit("BODY_TOO_LARGE", 16_000, lambda n: padded({"query": "{ __typename }"}, n)),
    "bytes of a body": Limit("BODY_TOO_LARGE", 20_000, lambda n: padded(ask_for(INSERT, r={"rows": rows(1, "b")}), n)),
}


async def test_every_limit_is_told_by_its_number_and_the_next_request_is_served(empty_url: str, statements: Statements) -> None:
    """Faults 10 and 11: a bomb is refused for what it is, before anything is parsed further, planned or sent to the database."""
    async with asking(unhurried(empty_url, **SMALL)) as ask:

        async def send(body: dict[str, Any]) -> tuple[int, dict[str, Any]]:
            sent = json.dumps(body).encode()
            answer = await ask.client.post("/graphql", content=sent, headers={"content-type": "application/json"})
            found: dict[str, Any] = answer.json()
            return answer.status_code, found

        await send({"query": "{ __typename }"})
        for name, (code, limit, request) in LIMITS.items():
            statements.clear()
            status, answer = await send(request(limit + 1))
            assert len(statements) == 0, name
            [error] = answer["errors"]
            told = error["extensions"]
            assert (status, told["code"]) == (413 if code == "BODY_TOO_LARGE" else 422, code), name
            assert (told["limit"], told["value"]) == (limit, limit + 1), name
            assert await send({"query": "{ __typename }"}) == (200, {"data": {"__typename": "Query"}}), name
            status, answer = await send(request(limit))
            assert (status, "errors" in answer) == (200, False), (name, answer)

"""Reads from the outside: one statement each, pages, texts, archived rows, the language; and nothing hostile reaches the SQL."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import insert, select

from graph.database import Database
from graph.models import Item, Order
from tests.conftest import Ask, Statements
from tests.walk import ordered
from tests.words import code

SHOP = "varied"

# ---- one statement

ONE_STATEMENT = {
    "point": '{ order(by: {id: "Order:1"}) { id number } }',
    "absent": '{ order(by: {id: "Order:4711"}) { id } }',
    "by email": '{ customer(by: {email: " ALFKI@northwind.example "}) { name } }',
    "by sku": '{ item(by: {sku: "NW-1"}) { name price } }',
    "node": '{ node(id: "Item:1") { id __typename ... on Item { name } } }',
    "nodes": '{ nodes(ids: ["Item:1", "Order:1", "OrderItem:1", "Customer:1", "x"]) { __typename id } }',
    "page": "{ orders { nodes { id } } }",
    "edges": "{ orders(first: 2) { edges { cursor node { id } } } }",
    "count": "{ orders { totalCount } }",
    "page info": "{ orders(last: 2) { pageInfo { hasNextPage hasPreviousPage startCursor endCursor } totalCount } }",
    "nested": "{ orders(first: 3) { nodes { customer { orders(first: 2) { nodes { items { item { name } } } totalCount } } } } }",
    "filter": '{ orders(where: {customer: {name: {contains: "a"}}, items: {some: {quantity: {gt: 50}}}}) { nodes { id } } }',
    "search": '{ orders(search: "SO-1", first: 3) { nodes { number } } }',
    "typename": "{ __typename }",
    "introspection": "{ __schema { queryType { name } } }",
    "introspection beside data": '{ __type(name: "Order") { name } orders(first: 1) { nodes { id } } }',
    "several roots": """{
      a: orders(first: 1) { nodes { id } } b: customers(last: 1) { nodes { id } totalCount }
      c: item(by: {id: "Item:1"}) { name } d: nodes(ids: ["Item:2"]) { id } e: node(id: "Order:2") { id } __typename
    }""",
}


async def test_a_query_operation_is_one_statement(shop: Ask, statements: Statements) -> None:
    for name, query in ONE_STATEMENT.items():
        for _ in range(2):
            statements.clear()
            await shop.data(query)
            assert len(statements) == 1, name


async def test_a_refused_query_asks_the_database_nothing(shop: Ask, statements: Statements) -> None:
    refused = {
        "{ nothing }": "GRAPHQL_VALIDATION_FAILED",
        "{": "GRAPHQL_PARSE_FAILED",
        '{ orders(after: "x") { nodes { id } } }': "BAD_USER_INPUT",
        "{ orders(first: 101) { nodes { id } } }": "BAD_USER_INPUT",
    }
    assert {query: code(await shop(query)) for query in refused} == refused
    assert len(statements) == 0


# ---- pages

PAGES: list[tuple[dict[str, Any], list[str] | None, tuple[bool, bool]]] = [
    ({"first": 2}, ["1", "2"], (False, True)),
    ({"last": 2}, ["90", "91"], (True, False)),
    ({"first": 0}, [], (False, True)),
    ({"last": 0}, [], (True, False)),
    ({"first": 100}, None, (False, False)),
    ({"last": 100}, None, (False, False)),
    ({"first": 89}, None, (False, False)),
    ({"first": 88}, ["1", "90"], (False, True)),
    ({"last": 88}, ["2", "91"], (True, False)),
]


async def test_page_info_at_the_ends(shop: Ask) -> None:
    query = """query($first: Int, $last: Int) { customers(first: $first, last: $last) {
      nodes { id } edges { cursor } pageInfo { hasPreviousPage hasNextPage startCursor endCursor } totalCount
    } }"""
    for arguments, ends, more in PAGES:
        page = (await shop.data(query, arguments))["customers"]
        ids = [node["id"].removeprefix("Customer:") for node in page["nodes"]]
        assert [*ids[:1], *ids[1:][-1:]] == (["1", "91"] if ends is None else ends), arguments
        cursors = [edge["cursor"] for edge in page["edges"]] or [None]
        info = {"hasPreviousPage": more[0], "hasNextPage": more[1], "startCursor": cursors[0], "endCursor": cursors[-1]}
        assert page["pageInfo"] == info, arguments
        assert page["totalCount"] == 89


PARTS = ["hasNextPage", "hasPreviousPage", "startCursor", "endCursor", "__typename"]


@pytest.mark.parametrize("arguments", ["first: 2", "last: 2", "first: 0", 'first: 1, where: {name: {eq: "nobody"}}', "last: 100"])
async def test_every_part_of_page_info_may_be_selected_alone(shop: Ask, arguments: str) -> None:
    whole = await shop.data(f"{{ customers({arguments}) {{ nodes {{ id }} pageInfo {{ {' '.join(PARTS)} }} }} }}")
    for part in PARTS:
        alone = await shop.data(f"{{ customers({arguments}) {{ pageInfo {{ {part} }} }} }}")
        assert alone == {"customers": {"pageInfo": {part: whole["customers"]["pageInfo"][part]}}}


async def test_a_page_may_be_asked_only_for_its_type(shop: Ask) -> None:
    assert await shop.data("{ orders { __typename pageInfo { __typename } } }") == {
        "orders": {"__typename": "OrderConnection", "pageInfo": {"__typename": "PageInfo"}}
    }


# ---- text operators

TEXTS = ["100%", "100x", "a_b", "axb", r"a\b", "a\\\\b", "ABC", "abc", "ÄBC", "äbc", "I İ ı i", "'", '"', "%", "_", "\\"]
OPERANDS = ["%", "_", "\\", "\\\\", "0%", "a_", r"a\b", "b", "BC", "ä", "Ä", "i", "'", '"', "", "%%", r"\%", r"\_"]


async def test_text_operators_know_no_wildcards_and_only_ascii_case(database: Database, ask: Ask) -> None:
    async with database.session() as session, session.begin():
        await session.execute(insert(Item), [{"sku": f"T-{i}", "name": text, "price": 0} for i, text in enumerate(TEXTS)])

    def lower(text: str) -> str:
        return "".join(chr(ord(c) + 32) if "A" <= c <= "Z" else c for c in text)

    checks: dict[str, Callable[[str, str], bool]] = {
        "contains": lambda text, part: lower(part) in lower(text),
        "startsWith": lambda text, part: lower(text).startswith(lower(part)),
        "endsWith": lambda text, part: lower(text).endswith(lower(part)),
        "eq": str.__eq__,
        "lt": str.__lt__,
        "gte": str.__ge__,
    }
    query = "query($where: ItemWhere) { items(where: $where) { nodes { name } } }"
    for operator, check in checks.items():
        for operand in OPERANDS:
            found = (await ask.data(query, {"where": {"name": {operator: operand}}}))["items"]["nodes"]
            assert [node["name"] for node in found] == [text for text in TEXTS if check(text, operand)], (operator, operand)
    for operand in OPERANDS:
        found = (await ask.data("query($s: String) { items(search: $s) { nodes { name } } }", {"s": operand}))["items"]["nodes"]
        assert [node["name"] for node in found] == [text for text in TEXTS if lower(operand) in lower(text)]


async def test_an_email_is_compared_as_it_is_stored(shop: Ask) -> None:
    query = """query($where: CustomerWhere, $email: String!) {
      customers(where: $where) { totalCount } customer(by: {email: $email}) { id }
    }"""
    for given in ("alfki@northwind.example", "  ALFKI@Northwind.EXAMPLE "):
        for operator, operand in (("eq", given), ("in", [given, "x"])):
            found = await shop.data(query, {"where": {"email": {operator: operand}}, "email": given})
            assert found == {"customers": {"totalCount": 1}, "customer": {"id": "Customer:1"}}


# ---- archived rows


#: Filters on customers, and how many customers they show.
MENTIONS: list[tuple[dict[str, Any], int]] = [
    ({}, 89),
    ({"archived": {"eq": False}}, 89),
    ({"archived": {"eq": True}}, 2),
    ({"archived": {}}, 91),
    ({"or": [{"archived": {"eq": True}}, {"archived": {"eq": False}}]}, 91),
    ({"not": {"archived": {"eq": False}}}, 2),
    ({"and": [{"or": [{"not": {"archived": {"eq": True}}}]}]}, 89),
    ({"archivedAt": {"isNull": False}}, 0),
    ({"orders": {"some": {"customer": {"archived": {"eq": True}}}}}, 0),
]


async def test_archived_rows_are_hidden_unless_the_filter_mentions_them(shop: Ask) -> None:
    query = "query($where: CustomerWhere) { customers(where: $where, first: 100) { totalCount nodes { id } } }"
    for where, expected in MENTIONS:
        page = (await shop.data(query, {"where": where}))["customers"]
        assert (page["totalCount"], len(page["nodes"])) == (expected, expected), where


async def test_archived_rows_are_hidden_in_root_lists_only(shop: Ask) -> None:
    found = await shop.data(
        """{
          node(id: "Customer:7") { ... on Customer { archived archivedBy orders(first: 1) { nodes { customer { archived } } } } }
          customer(by: {email: "blonp@northwind.example"}) { archived }
          nodes(ids: ["Item:9"]) { ... on Item { archived archivedBy } }
          items(where: {name: {eq: "Mishi Kobe Niku"}}) { totalCount }
        }"""
    )
    assert found == {
        "node": {"archived": True, "archivedBy": "Ida", "orders": {"nodes": [{"customer": {"archived": True}}]}},
        "customer": {"archived": True},
        "nodes": [{"archived": True, "archivedBy": "Ida"}],
        "items": {"totalCount": 0},
    }


# ---- injection

HOSTILE = [
    "'; DROP TABLE orders; --",
    "x' OR '1'='1",
    'x" OR "1"="1',
    "$1",
    ":p1",
    "?",
    "%(p1)s",
    "\\'; --",
    "/* */ UNION SELECT",
    "||'",
]


async def test_hostile_texts_never_reach_the_sql(shop: Ask, statements: Statements) -> None:
    query = """query($t: String!, $id: ID!, $ids: [ID!]!) {
      orders(search: $t, where: {note: {contains: $t, ne: $t, in: [$t], gt: $t}, id: {ne: $id}}) { nodes { id } }
      customer(by: {email: $t}) { id } item(by: {sku: $t}) { id } node(id: $id) { id } nodes(ids: $ids) { id }
    }"""
    for text in HOSTILE:
        marked = f"hostile{text}"
        await shop.data(query, {"t": marked, "id": marked, "ids": [marked]})
        quoted = json.dumps(marked)
        await shop.data(
            f"""{{ orders(search: {quoted}, where: {{note: {{contains: {quoted}, in: [{quoted}]}}, id: {{in: [{quoted}]}}}}) {{
              nodes {{ id }}
            }}
            customer(by: {{email: {quoted}}}) {{ id }} node(id: {quoted}) {{ id }} nodes(ids: [{quoted}]) {{ id }} }}"""
        )
    assert not [sql for sql in statements.sql if "hostile" in sql]
    assert len({*statements.sql}) == 2
    assert (await shop.data("{ orders { totalCount } }"))["orders"]["totalCount"] == 831


# ---- language


async def test_merged_fields_fragments_and_aliases(shop: Ask) -> None:
    query = """
    query Main($id: ID!) {
      node(id: $id) { id } node(id: $id) { ...all ... on Order { customer { name } } }
      first: order(by: {id: $id}) { customer { id } customer { ... { name again: name } } items { position } items { ...line } }
    }
    fragment all on Node { __typename ... on Order { number } ... on Item { sku } ... on Node { id } }
    fragment line on OrderItem { quantity item { name ...all } }
    query Other { __typename }
    """
    found = await shop.data(query, {"id": "Order:1"}, operationName="Main")
    assert found["node"] == {
        "id": "Order:1",
        "__typename": "Order",
        "number": "SO-1",
        "customer": {"name": found["first"]["customer"]["name"]},
    }
    assert list(found["first"]["customer"]) == ["id", "name", "again"]
    assert list(found["first"]["items"][0]) == ["position", "quantity", "item"]
    assert list(found["first"]["items"][0]["item"]) == ["name", "__typename", "sku", "id"]
    assert await shop.data(query, {"id": "Order:1"}, operationName="Other") == {"__typename": "Query"}


async def test_an_order_by_that_names_a_field_twice_takes_the_first(shop: Ask) -> None:
    order = [{"field": "TOTAL_AMOUNT", "direction": "DESC"}, {"field": "TOTAL_AMOUNT", "direction": "ASC"}]
    async with shop.database.session() as session:
        rows = list(await session.scalars(select(Order)))
    found = await shop.data("query($o: [OrderSort!]) { orders(orderBy: $o, first: 5) { nodes { id } } }", {"o": order})
    assert found["orders"]["nodes"] == [{"id": f"Order:{row.id}"} for row in ordered(rows, order)[:5]]

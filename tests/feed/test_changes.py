"""Changes as clients read them: `changes`, and the own feeds of orders, customers and items."""

from __future__ import annotations

from typing import Any

import orjson
import pytest
import sqlalchemy as sa

from graph.context import Context
from graph.feed.outbox import ChangeRow
from graph.feed.outlook import Outlook
from graph.feed.positions import position_of
from graph.feed.sequence import number_some
from graph.read.refusals import BadUserInput
from graph.read.rows import RULES
from graph.scope import Scope
from tests.conftest import Ask, Statements
from tests.words import done

ALL = "cursor kind type entityId version fields at by count node { __typename id ... on Order { note } ... on Item { stock } }"


async def numbered(ask: Ask) -> None:
    """What was written has its positions."""
    while await number_some(ask.app.state.database):
        pass


@pytest.fixture
async def told(ask: Ask) -> Ask:
    """A shop that has changed: an item, a customer with an order of it, the order again, the customer gone with it."""
    await done(ask, "createItem", {"sku": "A", "name": "Anvil", "price": "1.00", "stock": 10})
    orders = [{"items": [{"item": {"sku": "A"}, "quantity": 2}]}]
    await done(ask, "createCustomer", {"name": "Ada", "email": "ada@x.io", "orders": orders})
    await done(ask, "createCustomer", {"name": "Bea", "email": "bea@x.io", "orders": orders})
    await done(ask, "updateOrder", {"id": "Order:1", "note": 'so"on'})
    await done(ask, "deleteCustomer", {"id": "Customer:2"})
    await numbered(ask)
    return ask


async def page(
    ask: Ask, arguments: str = "(first: 100)", selection: str = "nodes { kind entityId }", field: str = "changes"
) -> Any:
    return (await ask.data(f"{{ page: {field}{arguments} {{ {selection} }} }}"))["page"]


def short(nodes: Any) -> list[str]:
    return [f"{node['kind']} {node['entityId']}" for node in nodes]


async def test_a_page_of_changes_is_one_statement_and_says_all(told: Ask, statements: Statements) -> None:
    statements.clear()
    answer = await page(told, selection=f"nodes {{ {ALL} }} edges {{ cursor }} totalCount pageInfo {{ hasNextPage endCursor }}")
    assert len(statements) == 1
    nodes = answer["nodes"]
    assert len(nodes) == answer["totalCount"]
    assert [node["cursor"] for node in nodes] == [edge["cursor"] for edge in answer["edges"]]
    assert answer["pageInfo"] == {"hasNextPage": False, "endCursor": nodes[-1]["cursor"]}
    (changed,) = [node for node in nodes if node["entityId"] == "Order:1" and node["kind"] == "UPDATED"]
    assert changed["at"].endswith("Z")
    assert {**changed, "cursor": "", "at": ""} == {
        "cursor": "",
        "kind": "UPDATED",
        "type": "Order",
        "entityId": "Order:1",
        "version": 2,
        "fields": ["version", "note", "updatedAt"],
        "at": "",
        "by": None,
        "count": 1,
        "node": {"__typename": "Order", "id": "Order:1", "note": 'so"on'},
    }
    item = nodes[0]
    assert (item["kind"], item["version"], item["fields"]) == ("CREATED", 1, [])
    assert item["node"] == {"__typename": "Item", "id": "Item:1", "stock": 8}
    gone = [node for node in nodes if node["kind"] == "DELETED"]
    assert sorted(node["entityId"] for node in gone) == ["Customer:2", "Order:2", "OrderItem:2"]
    assert {(node["node"], node["version"]) for node in gone} == {(None, None)}


async def test_pages_go_on_behind_any_change(told: Ask) -> None:
    everything = await page(told, selection="nodes { cursor kind entityId }")
    found: list[Any] = []
    after = ""
    while True:
        some = await page(told, f"(first: 3{after})", "nodes { cursor kind entityId } pageInfo { hasNextPage endCursor }")
        found += some["nodes"]
        if not some["pageInfo"]["hasNextPage"]:
            break
        after = f', after: "{some["pageInfo"]["endCursor"]}"'
    assert found == everything["nodes"]
    assert await page(told, f'(after: "{found[3]["cursor"]}")', "nodes { cursor kind entityId }") == {"nodes": found[4:]}
    assert await page(told, "(last: 2)", "nodes { cursor kind entityId }") == {"nodes": found[-2:]}
    assert await page(told, "(first: 0)", "pageInfo { endCursor }") == {"pageInfo": {"endCursor": None}}


async def test_types_choose(told: Ask) -> None:
    every = short((await page(told))["nodes"])
    for types, names in (("[Item]", ["Item"]), ("[OrderItem, Customer]", ["OrderItem", "Customer"]), ("[]", []), ("null", None)):
        chosen = [each for each in every if names is None or each.split()[1].split(":")[0] in names]
        assert short((await page(told, f"(first: 100, types: {types})"))["nodes"]) == chosen
        query = (
            "query ($types: [ChangedType!]) { page: changes(first: 100, types: $types) { nodes { kind entityId } totalCount } }"
        )
        found = (await told.data(query, {"types": names}))["page"]
        assert (short(found["nodes"]), found["totalCount"]) == (chosen, len(chosen))
    answer = await told("{ changes(types: [Nothing]) { totalCount } }")
    assert "data" not in answer


async def test_an_entity_has_its_own_feed(told: Ask, statements: Statements) -> None:
    """An order's holds its lines', an item's its stock, and many rows of a type are in all feeds of it."""
    statements.clear()
    feed = "changes { totalCount nodes { kind entityId node { id } } }"
    found = await told.data(f"""{{
      orders {{ nodes {{ id {feed} }} }} customers {{ nodes {{ id {feed} }} }} item(by: {{sku: "A"}}) {{ {feed} }}
    }}""")
    assert len(statements) == 1
    (order,) = found["orders"]["nodes"]
    assert sorted(short(order["changes"]["nodes"])) == ["CREATED Order:1", "CREATED OrderItem:1", "UPDATED Order:1"]
    assert order["changes"]["totalCount"] == 3
    (customer,) = found["customers"]["nodes"]
    assert short(customer["changes"]["nodes"]) == ["CREATED Customer:1"]
    assert short(found["item"]["changes"]["nodes"]) == ["CREATED Item:1", *["UPDATED Item:1"] * 3]
    rows = [{"name": f"N{n}", "email": f"n{n}@x.io"} for n in range(1_001)]
    await done(told, "insertCustomers", {"rows": rows})
    await numbered(told)
    answer = await told.data(
        '{ customer(by: {id: "Customer:1"}) { changes(last: 1) { nodes { kind entityId version count node { id } } } } }'
    )
    many = {"kind": "MANY", "entityId": None, "version": None, "count": 1_001, "node": None}
    assert answer["customer"]["changes"]["nodes"] == [many]
    assert (await told.data('{ order(by: {id: "Order:1"}) { changes { totalCount } } }'))["order"]["changes"]["totalCount"] == 3


async def test_what_is_selected_of_a_node_may_be_deep(told: Ask) -> None:
    """At the root and in a feed of a row: some of it stands beside the statement, where a parser has no room."""
    lines = "orderItems(first: 2) { nodes { order { customer { orders(first: 1) { nodes { id } } } } } }"
    deep = f"items {{ item {{ changes(first: 2) {{ nodes {{ node {{ ... on Item {{ {lines} }} }} }} }} }} }}"
    query = f"{{ changes(first: 4, types: Order) {{ nodes {{ node {{ ... on Order {{ {deep} }} }} }} }} }}"
    nodes = [node["node"] for node in (await told.data(query))["changes"]["nodes"]]
    (item,) = nodes[0]["items"]
    of_line = {"order": {"customer": {"orders": {"nodes": [{"id": "Order:1"}]}}}}
    assert item["item"]["changes"]["nodes"] == [{"node": {"orderItems": {"nodes": [of_line]}}}] * 2
    deep = "items { item { changes(first: 2) { nodes { node { ... on Item { orderItems { nodes { order { id } } } } } } } } }"
    found = (await told.data(f'{{ order(by: {{id: "Order:1"}}) {{ {deep} }} }}'))["order"]["items"][0]["item"]["changes"]["nodes"]
    assert found == [{"node": {"orderItems": {"nodes": [{"order": {"id": "Order:1"}}]}}}] * 2


async def test_a_change_is_no_node(told: Ask) -> None:
    assert await told.data('{ node(id: "Change:1") { id } nodes(ids: ["Change:1", "Item:1"]) { id } }') == {
        "node": None,
        "nodes": [None, {"id": "Item:1"}],
    }


async def test_a_cursor_of_another_kind_is_refused(told: Ask) -> None:
    other = (await told.data("{ items { pageInfo { endCursor } } }"))["items"]["pageInfo"]["endCursor"]
    forged = ['["Change position+","1"]', '["Change position+",null]', '["Change position+",1,2]', "[]", "1"]
    for cursor in (other, "", "no", "ff", *(text.encode().hex() for text in forged)):
        for query in (
            f'{{ changes(after: "{cursor}") {{ totalCount }} }}',
            "query ($c: String) { changes(after: $c) { totalCount } }",
        ):
            answer = await told(query, {"c": cursor} if "$c" in query else {})
            assert [error["extensions"]["code"] for error in answer["errors"]] == ["BAD_USER_INPUT"], cursor
            assert "data" not in answer
        with pytest.raises(BadUserInput) as refused:  # as a subscription says it
            position_of(cursor)
        assert refused.value.message == answer["errors"][0]["message"]


async def test_an_expired_cursor_is_told_so_with_the_oldest_that_works(told: Ask) -> None:
    nodes = (await page(told, selection="nodes { cursor kind entityId }"))["nodes"]
    first, third = nodes[0]["cursor"], nodes[2]["cursor"]
    database = told.app.state.database
    assert await Outlook(database).bounds() == (0, len(nodes))
    async with database.engine.begin() as connection:
        await connection.execute(sa.delete(ChangeRow).where(ChangeRow.position <= 3))
    assert await Outlook(database).bounds() == (3, len(nodes))
    for query in (
        f'{{ changes(first: 100, after: "{first}") {{ nodes {{ cursor }} }} }}',
        f'{{ changes(after: "{first}") {{ totalCount }} }}',
        f'{{ order(by: {{id: "Order:1"}}) {{ changes(after: "{first}") {{ nodes {{ cursor }} }} }} }}',
    ):
        answer = await told(query)
        (error,) = answer["errors"]
        assert (error["extensions"]["code"], error["extensions"]["oldest"]) == ("CURSOR_EXPIRED", third)
        assert answer.get("data") is None
    assert (await page(told, f'(first: 100, after: "{third}")', "nodes { cursor kind entityId }"))["nodes"] == nodes[3:]
    later = f'["Change position+",{len(nodes) + 1}]'.encode().hex()
    answer = await told(f'{{ changes(after: "{later}") {{ totalCount }} }}')
    assert answer["errors"][0]["extensions"]["code"] == "CURSOR_EXPIRED"
    assert (await page(told, f'(after: "{nodes[-1]["cursor"]}")'))["nodes"] == []


async def test_an_empty_feed(ask: Ask) -> None:
    begin = b'["Change position+",0]'.hex()
    assert await page(ask, f'(after: "{begin}")', "nodes { cursor } totalCount pageInfo { endCursor hasNextPage }") == {
        "nodes": [],
        "totalCount": 0,
        "pageInfo": {"endCursor": None, "hasNextPage": False},
    }
    assert await Outlook(ask.app.state.database).bounds() == (0, 0)


async def test_a_mutation_may_select_a_feed(told: Ask) -> None:
    """Its own change is not there yet: it is told when the mutation is over."""
    payload = await done(
        told, "updateOrder", {"id": "Order:1", "note": "x"}, "order { changes(last: 1) { nodes { kind version } } }"
    )
    assert payload["order"]["changes"]["nodes"] == [{"kind": "UPDATED", "version": 2}]


async def test_a_rule_of_rows_reaches_every_feed(told: Ask, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whose a change was or is says who is told; whether a cursor is expired is asked of all changes, seen or not."""
    database = told.app.state.database

    def own(change: Any, viewer: Any) -> Any:
        mine = sa.or_(change.owner_before == 2, change.owner_after == 2)
        return mine if viewer.kind == "bea" else None

    rules: Any = RULES
    monkeypatch.setitem(rules, ChangeRow, own)
    first = (await page(told, "(first: 1)", "nodes { cursor }"))["nodes"][0]["cursor"]
    query = f"""{{
      changes(first: 100, after: "{first}") {{ nodes {{ kind entityId }} totalCount }}
      order(by: {{id: "Order:1"}}) {{ changes {{ totalCount }} }}
    }}"""
    context = Context(database, scope=Scope("bea"))
    answer = await told.app.state.engine.run(query, {}, None, context)
    await context.close()
    data = orjson.loads(answer.data)
    assert sorted(short(data["changes"]["nodes"])) == sorted(
        f"{kind} {entity}" for kind in ("CREATED", "DELETED") for entity in ("Customer:2", "Order:2", "OrderItem:2")
    )
    assert data["changes"]["totalCount"] == 6
    assert data["order"]["changes"]["totalCount"] == 0

"""The row door: what may not be seen is not there, wherever a table enters a read."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from itertools import permutations
from typing import Any

import orjson
import pytest
import sqlalchemy as sa
from hypothesis import given, settings
from hypothesis import strategies as st

from graph.context import Context
from graph.models import Customer, Item, Order, OrderItem, OrderStatus
from graph.read import rows
from graph.read.rows import Door, seen
from graph.schema import schema
from graph.scope import Scope
from tests.conftest import Ask
from tests.examples import ALL, examples
from tests.generated import requests
from tests.unseen import SCOPES, Asked, Pair, is_seen, pair
from tests.unseen import rules as rules_of_tests
from tests.walk import load

SHOP = "varied"


#: "both" has the rules of two others.
KINDS = sorted(SCOPES) if ALL else ["both", "own", "states"]


@pytest.fixture(scope="module", params=[(kind, name) for kind in KINDS for name in ("sqlite", "postgres")], ids="-".join)
def shops(request: pytest.FixtureRequest) -> Iterator[Pair]:
    kind, name = request.param
    with pair(request.getfixturevalue(f"{name}_engines"), kind) as made:
        yield made


@settings(max_examples=examples(20))
@given(data=st.data())
def test_generated_reads_do_not_tell_of_what_is_hidden(shops: Pair, data: st.DataObject) -> None:
    request = data.draw(requests(shops.rows))
    whole, less = shops.answers(request.query, request.variables)
    assert whole == less


FIGURES = "status month count quantity lineTotal totalAmount { sum avg min max }"
SUMMARIES = [
    f"orderSummary({arguments}) {{ {FIGURES} {entity} }}"
    for arguments, entity in [
        ("first: 1", ""),
        ("groupBy: [STATUS]", ""),
        ("groupBy: [MONTH, STATUS], first: 1000", ""),
        ("groupBy: [CUSTOMER]", "customer { name orderCount totalSpent }"),
        ("groupBy: [ITEM]", "item { sku orderItems { totalCount } }"),
        ('groupBy: [ITEM, STATUS], first: 1000, where: {customer: {name: {contains: "a"}}}', "item { sku }"),
        ('groupBy: [STATUS], where: {items: {some: {item: {sku: {startsWith: "NW-"}}}}}', ""),
        ("groupBy: [CUSTOMER], where: {items: {every: {quantity: {gt: 3}}}}", "customer { email }"),
    ]
]
PLACES = [
    *SUMMARIES,
    "orders(first: 100, orderBy: [{field: CUSTOMER_NAME}]) { totalCount edges { cursor node { number customer { name } } } }",
    "customers(first: 100) { totalCount nodes { email orderCount totalSpent orders(first: 9) { totalCount nodes { number } } } }",
    "items(first: 100) { nodes { sku orderItems(last: 3) { totalCount pageInfo { startCursor } nodes { order { number } } } } }",
    'orders(search: "al") { totalCount nodes { number } }',
    'orders(where: {customer: {id: {in: ["Customer:3", "Customer:4", "Customer:5"]}}}) { totalCount nodes { number } }',
    "customers(where: {orders: {none: {}}}) { totalCount nodes { name } }",
    "customers(where: {orders: {every: {status: {eq: SHIPPED}}}}) { totalCount nodes { name } }",
    'customer(by: {email: "alfki@northwind.example"}) { name orderCount }',
    'order(by: {number: "SO-17"}) { number }',
    'item(by: {sku: "NW-1"}) { name }',
    "customers(where: {archived: {eq: true}}) { totalCount nodes { name } }",
]


@pytest.mark.parametrize("field", PLACES)
def test_each_place_where_rows_are_read(shops: Pair, field: str) -> None:
    whole, less = shops.answers(f"{{ {field} }}")
    assert "errors" not in orjson.loads(whole)
    assert whole == less


def test_every_row_is_there_or_is_not(shops: Pair) -> None:
    kind = shops.kind
    for type_name, found in shops.rows.items():
        ids = [f"{type_name}:{row.id}" for row in found]
        seen = [id_ for id_, row in zip(ids, found, strict=True) if is_seen(row, kind)]
        assert 0 < len(seen) <= len(ids)
        shown: list[str] = []
        for start in range(0, len(ids), 100):
            whole, less = shops.answers("query ($ids: [ID!]!) { nodes(ids: $ids) { id } }", {"ids": ids[start : start + 100]})
            assert whole == less
            shown += [each["id"] for each in orjson.loads(whole)["data"]["nodes"] if each is not None]
        assert shown == seen


def test_a_cursor_holds_nothing_hidden(shops: Pair) -> None:
    query = "{ orders(first: 100, orderBy: [{field: CUSTOMER_NAME}]) { edges { cursor node { customer { name } } } } }"
    whole, _ = shops.answers(query)
    hidden = {row.name for row in shops.rows["Customer"] if not is_seen(row, shops.kind)}
    for edge in orjson.loads(whole)["data"]["orders"]["edges"]:
        name = orjson.loads(bytes.fromhex(edge["cursor"]))[1]
        assert name == edge["node"]["customer"]["name"]
        assert name not in hidden or name == "Drillinge"  # three customers have this name


async def test_the_kind_of_viewer_is_part_of_a_plans_key_and_his_values_are_not(shop: Ask) -> None:
    engine = schema.engine(shop.database)

    async def names(scope: Scope) -> list[str]:
        answer = await engine.run("{ customers { nodes { id } } }", {}, None, Context(shop.database, scope=scope))
        return [node["id"] for node in orjson.loads(answer.data or b"")["customers"]["nodes"]]

    with rules_of_tests():
        assert await names(Scope("own", {"customer": 5})) == ["Customer:5"]
        planned = engine.counters.planned
        assert await names(Scope("own", {"customer": 8})) == ["Customer:8"]
        assert engine.counters.planned == planned
        assert "Customer:3" not in await names(SCOPES["thirds"])
        assert "Customer:3" in await names(Scope("open"))
        assert engine.counters.planned == planned + 2


async def test_what_an_update_may_name_is_what_is_seen(shop: Ask) -> None:
    found = await load(shop.database)
    with rules_of_tests():
        for kind, scope in SCOPES.items():
            for model in (Customer, Item, Order, OrderItem):
                table: Any = model.__table__
                query = sa.select(table.c.id).where(seen(model, scope)).order_by(table.c.id)
                async with shop.database.session() as session:
                    ids = list(await session.scalars(query))
                assert ids == sorted(row.id for row in found[model.__name__] if is_seen(row, kind)), (kind, model)


async def test_rules_may_ask_for_other_rows_whose_parents_they_judge(shop: Ask, monkeypatch: pytest.MonkeyPatch) -> None:
    """Customers with a cancelled order that is seen, items that were sold in one: orders need a customer, lines an item.

    Whatever stands first in a statement, all of them agree.
    """

    def customers(row: Any, viewer: Door) -> Any:
        order = viewer.rows(Order, "their")
        return sa.exists(sa.select(order.id).where(order.customer_id == row.id, order.status == OrderStatus.CANCELLED))

    def items(row: Any, viewer: Door) -> Any:
        line = viewer.rows(OrderItem, "sold")
        return row.id.in_(sa.select(line.item_id).where(line.quantity > 100))

    asked: dict[type[Any], Any] = {Customer: customers, Item: items, Order: lambda row, viewer: row.id % 5 != 0}
    for model, rule in asked.items():
        monkeypatch.setitem(rows.RULES, model, rule)
    found = await load(shop.database)
    orders = [row for row in found["Order"] if row.id % 5]
    theirs = {row.customer_id for row in orders if row.status is OrderStatus.CANCELLED}
    orders = [row for row in orders if row.customer_id in theirs]
    sold = {line.item_id for order in orders for line in order.items if line.quantity > 100}
    lines = [line for order in orders for line in order.items if line.item_id in sold]
    expected = {Customer: theirs, Item: sold, Order: {row.id for row in orders}, OrderItem: {line.id for line in lines}}
    assert all(0 < len(keys) < len(found[model.__name__]) for model, keys in expected.items())
    for model, keys in expected.items():
        table: Any = model.__table__
        row = rows.rows(model, Scope("any"))
        async with shop.database.session() as session:
            assert set(await session.scalars(sa.select(row.id).with_for_update(of=row))) == keys
            assert set(await session.scalars(sa.select(table.c.id).where(seen(model, Scope("any"))))) == keys
    everything = "or: [{archived: {eq: true}}, {archived: {eq: false}}]"
    fields = [
        "orders(first: 100) { totalCount nodes { customer { id } items { item { id } } } }",
        f"customers(where: {{{everything}}}) {{ totalCount }}",
        f"items(first: 100, where: {{{everything}}}) {{ totalCount nodes {{ orderItems {{ totalCount }} }} }}",
    ]
    for order_of_fields in permutations(fields):
        asked_by = Asked(shop.database, Scope("any"))
        answer = orjson.loads(await asked_by.raw("{ " + " ".join(order_of_fields) + " }"))
        assert "errors" not in answer, answer
        data = answer["data"]
        counts = {
            model: data[name]["totalCount"] for model, name in ((Customer, "customers"), (Item, "items"), (Order, "orders"))
        }
        assert counts == {model: len(expected[model]) for model in counts}
        assert sum(node["orderItems"]["totalCount"] for node in data["items"]["nodes"]) == len(lines)


async def test_a_viewer_writes_what_is_stored_whatever_he_is_shown(shop: Ask, monkeypatch: pytest.MonkeyPatch) -> None:
    def rule(row: Any, viewer: Door) -> Any:
        return row.price > 0 if viewer.kind == "told a price" else None

    item_class: type[Any] = Item
    monkeypatch.setitem(rows.RULES, item_class, rule)
    monkeypatch.setitem(rows.SHOWN, item_class, lambda row, viewer: {"price": sa.literal(1)})
    asked = Asked(shop.database, Scope("told a price"))
    line = {"item": {"sku": "NW-1"}, "quantity": 1}
    query = """mutation ($input: CreateOrderInput!) {
        createOrder(input: $input) { order { items { pricePaid item { price } } } errors { code } } }"""
    answer = orjson.loads(await asked.raw(query, {"input": {"customer": {"id": "Customer:1"}, "items": [line]}}))
    (item,) = (item for item in (await load(shop.database))["Item"] if item.sku == "NW-1")
    stored = f"{item.price // 100}.{item.price % 100:02}"
    assert stored != "0.01"
    order = {"items": [{"pricePaid": stored, "item": {"price": "0.01"}}]}
    assert answer["data"] == {"createOrder": {"order": order, "errors": []}}


def test_a_door_does_not_open_to_the_past() -> None:
    with pytest.raises(LookupError):
        Door(Scope("open", moment=datetime.now(UTC)))

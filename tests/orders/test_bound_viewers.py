"""What is not for viewers who belong to a customer: root fields, input fields, stock numbers. A refusal leaves nothing behind."""

from __future__ import annotations

import json
from typing import Any

import pytest

from graph.context import Context
from graph.feed.sequence import number_some
from graph.read.planning import groups
from graph.read.planning.groups import SummaryError
from graph.read.refusals import MAX_ERRORS
from graph.read.types import checks
from graph.read.types.mirror import MirrorError
from graph.read.types.permissions import NOT_TOLD, is_unbound
from graph.schema import schema
from tests import stock
from tests.conftest import Ask
from tests.viewers import ADMIN, READER, WRITER, answered, viewer

SHOP = [
    stock.item("A", 1, 9, name="Anvil"),
    stock.item("B", 5, name="Bolt"),
    stock.customer("Ada", [stock.line("A", 2)], [stock.line("B")], []),
]
#: Ada, with everything that one may be given.
ADA = viewer("admin", customer=1)
ORDER: dict[str, Any] = {"customer": {"id": "Customer:1"}}
LINE: dict[str, Any] = {"item": {"sku": "B"}, "quantity": 1}
NEW = {"sku": "C", "name": "Cog", "price": 1}

#: Inputs that only somebody of the house may send, and each place of theirs that is not for others.
INPUTS: list[tuple[str, dict[str, Any], list[str]]] = [
    ("createOrder", {**ORDER, "discount": "1.00"}, ["discount"]),
    ("createOrder", {**ORDER, "discount": None}, ["discount"]),
    ("createOrder", {**ORDER, "items": [LINE, {**LINE, "pricePaid": "0.01"}]}, ["items.1.pricePaid"]),
    ("createOrder", {**ORDER, "items": [{"item": {"create": NEW}, "quantity": 1}]}, ["items.0.item.create"]),
    (
        "createOrders",
        {
            "orders": [{**ORDER, "discount": 0, "items": [{**LINE, "pricePaid": 1}]}, {**ORDER, "discount": 1}],
            "onError": "CONTINUE",
        },
        ["orders.0.discount", "orders.0.items.0.pricePaid", "orders.1.discount"],
    ),
    (
        "createCustomer",
        {"name": "Eve", "email": "eve@x.io", "orders": [{"items": [{**LINE, "pricePaid": 1}]}]},
        ["orders.0.items.0.pricePaid"],
    ),
    (
        "createOrder",
        {"customer": {"create": {"name": "Eve", "email": "eve@x.io", "orders": [{"discount": 0}]}}},
        ["customer.create.orders.0.discount"],
    ),
    (
        "updateOrder",
        {"id": "Order:1", "discount": "0.10", "items": {"update": [{"id": "OrderItem:1", "pricePaid": "0.10"}]}},
        ["discount", "items.update.0.pricePaid"],
    ),
    ("updateOrder", {"id": "Order:1", "items": {"replace": [{**LINE, "pricePaid": None}]}}, ["items.replace.0.pricePaid"]),
    (
        "updateCustomer",
        {"id": "Customer:1", "orders": {"update": [{"id": "Order:1", "discount": 1}], "create": [{"discount": 1}]}},
        ["orders.create.0.discount", "orders.update.0.discount"],
    ),
    ("updateOrders", {"all": True, "set": {"discount": "0.00"}}, ["set.discount"]),
    (
        "updateOrders",
        {"where": {"items": {"some": {"item": {"stock": {"gt": 1}}}}}, "set": {"note": "x"}},
        ["where.items.some.item.stock"],
    ),
    ("transitionOrder", {"id": "Order:1", "to": "PAID"}, ["to"]),
    ("transitionOrder", {"id": "Order:1", "to": "SHIPPED"}, ["to"]),
]


def literal(value: Any) -> str:
    """A value as a document writes it."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{name}: {literal(part)}" for name, part in value.items()) + "}"
    if isinstance(value, list):
        return f"[{', '.join(map(literal, value))}]"
    return str(value) if value in ("PAID", "SHIPPED", "CONTINUE") else json.dumps(value)


def refused(answer: Any) -> list[tuple[str, str, str]]:
    """The errors of an answer: the field, the code, the place in its input."""
    return [
        (".".join(error["path"]), error["extensions"]["code"], ".".join(error["extensions"].get("path", [])))
        for error in answer["errors"]
    ]


async def test_what_is_not_for_bound_viewers_is_refused_at_its_place_however_it_is_sent(shop: Ask) -> None:
    before = await shop.snapshots.take()
    for field, input_, places in INPUTS:
        type_ = f"{field[0].upper()}{field[1:]}Input"
        ways: list[tuple[str, dict[str, Any]]] = [
            (f"mutation ($input: {type_}!) {{ made: {field}(input: $input) {{ errors {{ code }} }} }}", {"input": input_}),
            (f"mutation ($input: {type_}! = {literal(input_)}) @dryRun {{ made: {field}(input: $input) {{ __typename }} }}", {}),
            (f"mutation @atomic {{ ... {{ made: {field}(input: {literal(input_)}) {{ __typename }} }} }}", {}),
        ]
        for query, variables in ways:
            status, answer = await answered(shop.database, ADA, query, variables)
            assert refused(answer) == [("made", "FORBIDDEN", f"input.{place}") for place in places], query
            assert (status, "data" in answer) == (403, False)
    assert await shop.snapshots.take() == before


async def test_root_fields_that_are_not_for_bound_viewers_refuse_the_operation(shop: Ask) -> None:
    built = schema._schema
    assert built.mutation_type is not None
    closed = {name for name, field in built.mutation_type.fields.items() if is_unbound(field)}
    of_items = {name for name in built.mutation_type.fields if "Item" in name and "OrderItem" not in name}
    assert closed == {*of_items, "adjustStock", "deleteOrders", "discountOrders", "deleteCustomer", "purgeArchived"}
    before = await shop.snapshots.take()
    query = f"""mutation {{
      updateCustomer(input: {{id: "Customer:1", name: "Ida"}}) {{ errors {{ code }} }}
      made: createItem(input: {literal(NEW)}) {{ item {{ id }} }}
    }}"""
    status, answer = await answered(shop.database, ADA, query)
    assert (status, refused(answer)) == (403, [("made", "FORBIDDEN", "")])
    assert await shop.snapshots.take() == before


MOVE = """mutation ($id: ID!, $to: OrderStatus!) {
  transitionOrder(input: {id: $id, to: $to}) { order { status allowedTransitions } errors { code path } }
}"""
DELETE = "mutation ($id: ID!) { deleteOrder(input: {id: $id}) { order: deletedIds errors { code path } } }"
LOOK = "query ($id: ID!) { order(by: {id: $id}) { allowedTransitions } }"


async def test_a_bound_viewer_cancels_what_is_pending_and_takes_nothing_away_that_is_paid(shop: Ask) -> None:
    async def ask(who: Any, query: str, **variables: Any) -> Any:
        code, answer = await answered(shop.database, who, query, variables)
        assert code == 200, answer
        return next(iter(answer["data"].values()))

    assert await ask(ADA, LOOK, id="Order:1") == {"allowedTransitions": ["CANCELLED"]}
    assert await ask(WRITER, LOOK, id="Order:1") == {"allowedTransitions": ["PAID", "CANCELLED"]}
    paid = {"status": "PAID", "allowedTransitions": ["SHIPPED", "CANCELLED"]}
    assert (await ask(WRITER, MOVE, id="Order:1", to="PAID"))["order"] == paid
    before = await shop.snapshots.take()
    for query, more, place in ((MOVE, {"to": "CANCELLED"}, "to"), (DELETE, {}, "id")):
        payload = await ask(ADA, query, id="Order:1", **more)
        assert payload["errors"] == [{"code": "FORBIDDEN", "path": ["input", place]}]
    assert await ask(ADA, LOOK, id="Order:1") == {"allowedTransitions": []}
    assert await shop.snapshots.take() == before
    cancelled = {"order": {"status": "CANCELLED", "allowedTransitions": []}, "errors": []}
    assert await ask(ADA, MOVE, id="Order:2", to="CANCELLED") == cancelled
    assert (await ask(ADA, MOVE, id="Order:2", to="CANCELLED"))["errors"] == [{"code": "TRANSITION", "path": ["input", "to"]}]
    assert (await ask(ADA, DELETE, id="Order:3"))["errors"] == []


CHANGE = """mutation ($input: UpdateOrderInput!) {
  updateOrder(input: $input) { order { items { pricePaid } } errors { code } }
}"""


async def test_a_bound_viewer_pays_what_an_item_costs(shop: Ask) -> None:
    other = {"update": [{"id": "OrderItem:1", "item": {"sku": "B"}}]}
    more = {"update": [{"id": "OrderItem:1", "quantity": 3}]}
    back = {"replace": [{"id": "OrderItem:1", "item": {"sku": "A"}}]}
    steps = [(WRITER, other, "1.00"), (WRITER, back, "1.00"), (ADA, other, "5.00"), (ADA, more, "5.00"), (ADA, back, "1.00")]
    for who, items, price in steps:
        _, answer = await answered(shop.database, who, CHANGE, {"input": {"id": "Order:1", "items": items}})
        assert answer["data"]["updateOrder"] == {"order": {"items": [{"pricePaid": price}]}, "errors": []}, (who, items)


RAISE = "mutation ($input: UpdateOrderInput!) { updateOrder(input: $input) { errors { code path } } }"
IN_CUSTOMER = "mutation ($input: UpdateCustomerInput!) { updateCustomer(input: $input) { errors { code path } } }"
PRICE = 'mutation ($price: Decimal!) { updateItem(input: {id: "Item:1", price: $price}) { errors { code } } }'


async def test_a_bound_viewer_orders_no_more_at_a_price_that_is_past(shop: Ask) -> None:
    async def ask(who: Any, query: str, **variables: Any) -> list[tuple[str, str]]:
        status, answer = await answered(shop.database, who, query, variables)
        assert status == 200, answer
        [payload] = answer["data"].values()
        return [(error["code"], ".".join(error["path"])) for error in payload["errors"]]

    def lines(**items: Any) -> dict[str, Any]:
        return {"id": "Order:1", "items": items}

    line, more = {"id": "OrderItem:1"}, {"id": "OrderItem:1", "quantity": 3}
    await ask(WRITER, PRICE, price="2.00")
    before = await shop.snapshots.take()
    for items, place in (
        ({"update": [more]}, "update.0"),
        ({"update": [{**more, "item": {"sku": "A"}}], "create": [stock.line("A")]}, "update.0"),
        ({"replace": [stock.line("B"), more]}, "replace.1"),
    ):
        assert await ask(ADA, RAISE, input=lines(**items)) == [("FORBIDDEN", f"input.items.{place}.quantity")]
        changed = {"id": "Customer:1", "orders": {"update": [lines(**items)]}}
        nested = [("FORBIDDEN", f"input.orders.update.0.items.{place}.quantity")]
        assert await ask(ADA, IN_CUSTOMER, input=changed) == nested
    assert await shop.snapshots.take() == before
    for quantity, code in ((None, "REQUIRED"), (0, "CHECK"), (-1, "CHECK")):
        wrong = lines(update=[{**line, "quantity": quantity}])
        assert await ask(ADA, RAISE, input=wrong) == [(code, "input.items.update.0.quantity")]
    for who, items in (
        (ADA, {"update": [{**line, "quantity": 2}], "create": [stock.line("A")]}),
        (ADA, {"update": [{**line, "quantity": 1}]}),
        (WRITER, {"update": [{**line, "quantity": 2}]}),
        (ADA, {"update": [{**more, "item": {"sku": "B"}}]}),
        (ADA, {"update": [{**line, "quantity": 4}]}),
    ):
        assert await ask(who, RAISE, input=lines(**items)) == [], items
    await ask(ADA, RAISE, input=lines(update=[{**line, "item": {"sku": "A"}}]))
    await ask(WRITER, PRICE, price="3.00")
    await ask(WRITER, PRICE, price="2.00")
    assert await ask(ADA, RAISE, input=lines(update=[{**line, "quantity": 5}])) == []
    found = await shop.data('{ order(by: {id: "Order:1"}) { items { quantity pricePaid } } }')
    assert found["order"]["items"] == [{"quantity": 5, "pricePaid": "2.00"}, {"quantity": 1, "pricePaid": "2.00"}]


BY_LINES = "orders(where: {items: {every: {item: {stock: {eq: 1}}}}}) { totalCount }"
NESTED: dict[str, Any] = {"or": [{"sku": {"eq": "A"}}, {"not": {"stock": {"isNull": True}}}]}
ASKING_BY_STOCK: list[tuple[str, dict[str, Any], str]] = [
    ("{ items(where: {stock: {gt: 3}}) { nodes { id } } }", {}, "where.stock"),
    ("query ($w: ItemWhere) { items(where: $w) { totalCount } }", {"w": NESTED}, "where.or.1.not.stock"),
    ("query ($w: ItemWhere = {and: [{stock: {}}]}) { items(where: $w) { totalCount } }", {}, "where.and.0.stock"),
    ("{ orderSummary(where: {items: {some: {item: {stock: {lt: 5}}}}}) { count } }", {}, "where.items.some.item.stock"),
    ("{ items(orderBy: [{field: NAME}, {field: STOCK}]) { pageInfo { endCursor } } }", {}, "orderBy.1.field"),
    ("query ($f: ItemSortField!) { items(orderBy: {field: $f}) { edges { cursor } } }", {"f": "STOCK"}, "orderBy.0.field"),
    (f'{{ node(id: "Customer:1") {{ ... on Customer {{ {BY_LINES} }} }} }}', {}, "where.items.every.item.stock"),
    (
        f'mutation {{ updateCustomer(input: {{id: "Customer:1", name: "Ida"}}) {{ customer {{ {BY_LINES} }} }} }}',
        {},
        "where.items.every.item.stock",
    ),
]


async def test_stock_is_null_for_bound_viewers_who_cannot_ask_for_rows_by_it(shop: Ask) -> None:
    before = await shop.snapshots.take()
    for query, variables, place in ASKING_BY_STOCK:
        status, answer = await answered(shop.database, ADA, query, variables)
        (error,) = answer["errors"]
        assert (status, error["extensions"]["code"], error["extensions"]["path"]) == (403, "FORBIDDEN", place.split(".")), query
    assert await shop.snapshots.take() == before
    for query, variables, _ in ASKING_BY_STOCK:
        assert (await answered(shop.database, WRITER, query, variables))[0] == 200
    told = """{
      items { nodes { n: stock } }
      node(id: "Item:1") { ... on Item { stock } }
      order(by: {id: "Order:1"}) { items { item { ...F } } }
    } fragment F on Item { stock }"""
    for who, pieces in ((ADA, None), (WRITER, 7), (None, 7)):
        _, answer = await answered(shop.database, who, told)
        stock_of = {"stock": pieces}
        nodes = [{"n": pieces}, {"n": None}]
        assert answer["data"] == {"items": {"nodes": nodes}, "node": stock_of, "order": {"items": [{"item": stock_of}]}}


async def test_every_place_of_an_operation_is_told_and_before_all_else_that_is_wrong(shop: Ask) -> None:
    query = """query ($many: [ItemWhere!]) {
      a: items(where: {stock: {gt: 1}, or: [{name: {eq: "A"}}, {stock: {}}]}, orderBy: [{field: STOCK}]) { totalCount }
      b: items(first: -1, where: {stock: {eq: 1}}) { totalCount }
      c: node(id: "Customer:1") { ... on Customer { orders(where: {items: {some: {item: {stock: {eq: 1}}}}}) { totalCount } } }
      d: items(where: {and: $many}) { totalCount }
    }"""
    places = ["a where.or.1.stock", "a where.stock", "a orderBy.0.field", "b where.stock"]
    status, answer = await answered(shop.database, ADA, query.replace("first: -1, ", ""))
    assert (status, [f"{key} {place}" for key, _, place in refused(answer)]) == (403, [*places, "c where.items.some.item.stock"])
    status, answer = await answered(shop.database, ADA, query)
    assert (status, [f"{key} {place}" for key, _, place in refused(answer)]) == (403, places)
    found = await schema.execute(query, {"many": [{"stock": {"eq": 1}}] * 50}, Context(shop.database, viewer=ADA))
    assert len(found.errors or ()) == 4
    _, answer = await answered(shop.database, ADA, query.replace("first: -1, ", ""), {"many": [{"stock": {"eq": 1}}] * 50})
    assert len(answer["errors"]) == MAX_ERRORS


async def test_every_place_of_a_payload_is_told_and_nothing_is_written(shop: Ask) -> None:
    before = await shop.snapshots.take()
    query = """mutation ($where: ItemWhere) {
      a: updateCustomer(input: {id: "Customer:1", name: "Ida"}) {
        customer { orders(where: {items: {some: {item: {stock: {eq: 1}}}}}) { totalCount } }
        again: customer { orders(where: {items: {none: {item: {stock: {gt: 1}}}}}) { totalCount } }
        errors {
          ... on UniqueError { existing { ... on Customer { orders(where: {items: {every: {item: $where}}}) { totalCount } } } }
        }
      }
      b: updateOrder(input: {id: "Order:1", note: "Mine"}) {
        order { customer { orders(first: -1, where: {items: {some: {item: {stock: {lt: 1}}}}}) { totalCount } } }
        errors { code }
      }
    }"""
    status, answer = await answered(shop.database, ADA, query, {"where": {"stock": {"eq": 1}}})
    quantified = ["a some", "a none", "a every", "b some"]
    places = [f"{each.replace(' ', ' where.items.')}.item.stock" for each in quantified]
    assert (status, [f"{key} {place}" for key, _, place in refused(answer)]) == (403, places)
    status, answer = await answered(shop.database, ADA, query.replace("first: -1, ", ""), {"where": {"name": {"eq": "A"}}})
    assert (status, [f"{key} {place}" for key, _, place in refused(answer)]) == (403, [places[0], places[1], places[3]])
    assert await shop.snapshots.take() == before


async def test_how_many_pieces_there_are_is_not_told_where_there_are_too_few(shop: Ask) -> None:
    query = """mutation ($input: CreateOrderInput!) { createOrder(input: $input) {
      order { id } errors { message path ... on StockError { requested available } } } }"""
    lines = {**ORDER, "items": [stock.line("A", 3), stock.line("A", 5)]}
    before = await shop.snapshots.take()
    for who, available, words in ((ADA, None, "8 wanted, fewer in stock"), (WRITER, 7, "8 wanted, 7 in stock")):
        _, answer = await answered(shop.database, who, query, {"input": lines})
        assert answer["data"]["createOrder"]["errors"] == [
            {"message": words, "path": ["input", "items", "1", "quantity"], "requested": 8, "available": available}
        ]
    tried = query.replace(" {", " @dryRun {", 1)  # what is not hidden: whether so many could be had
    _, answer = await answered(shop.database, ADA, tried, {"input": {**ORDER, "items": [stock.line("A", 7)]}})
    assert answer["data"]["createOrder"]["errors"] == []
    assert await shop.snapshots.take() == before


WHO = """{
  customer(by: {id: "Customer:1"}) { archived archivedBy changes(last: 1) { nodes { kind by fields } } }
  items(where: {archived: {eq: true}}) { nodes { sku archivedBy } }
  changes(last: 2) { nodes { entityId by } }
}"""


async def test_who_did_it_is_told_to_the_house_alone(shop: Ask) -> None:
    for change in ('archiveCustomer(input: {id: "Customer:1"})', 'archiveItem(input: {id: "Item:2"})'):
        assert (await answered(shop.database, ADMIN, f"mutation {{ {change} {{ errors {{ code }} }} }}"))[0] == 200
    while await number_some(shop.database):
        pass
    for who, by in ((READER, "staff admin"), (ADA, None)):
        _, answer = await answered(shop.database, who, WHO)
        names = ["version", "updatedAt", "archived", "archivedAt", *(["archivedBy"] if by else [])]
        changes = {"nodes": [{"kind": "UPDATED", "by": by, "fields": names}]}
        assert answer["data"] == {
            "customer": {"archived": True, "archivedBy": by, "changes": changes},
            "items": {"nodes": [{"sku": "B", "archivedBy": by}]},
            "changes": {"nodes": [{"entityId": "Customer:1", "by": by}, {"entityId": "Item:2", "by": by}]},
        }
    for query, place in (
        ('{ customers(where: {archivedBy: {eq: "staff admin"}}) { totalCount } }', "where.archivedBy"),
        ("{ items(where: {not: {archivedBy: {isNull: true}}}) { totalCount } }", "where.not.archivedBy"),
    ):
        status, answer = await answered(shop.database, ADA, query)
        assert (status, [error["extensions"]["path"] for error in answer["errors"]]) == (403, [place.split(".")])


async def test_changes_name_no_field_that_is_not_told(shop: Ask) -> None:
    change = 'mutation { updateItem(input: {id: "Item:1", name: "Ansatz", stock: 4}) { errors { code } } }'
    assert (await answered(shop.database, WRITER, change))[0] == 200
    while await number_some(shop.database):
        pass
    query = '{ item(by: {sku: "A"}) { changes(last: 1) { nodes { fields node { ... on Item { stock } } } } } }'
    for who, named, pieces in (
        (WRITER, ["version", "name", "stock", "updatedAt"], 4),
        (ADA, ["version", "name", "updatedAt"], None),
    ):
        _, answer = await answered(shop.database, who, query)
        assert answer["data"]["item"]["changes"]["nodes"] == [{"fields": named, "node": {"stock": pieces}}]


def test_what_is_not_told_is_told_by_nothing_else(monkeypatch: pytest.MonkeyPatch) -> None:
    built = schema._schema

    hidden: tuple[tuple[str, str, Any, type[Exception], str], ...] = (
        ("Item", "price", checks, MirrorError, r"Item\.price is not told to all viewers, so it must be a value that may be null"),
        (
            "Item",
            "archivedAt",
            checks,
            MirrorError,
            r"Item\.archived would tell item\.archived_at to those who may not be told it",
        ),
        ("Order", "note", checks, MirrorError, r"Order: 'note' would tell orders\.note to those"),
        (
            "OrderItem",
            "quantity",
            groups,
            SummaryError,
            r"OrderSummary\.quantity would tell order_item\.quantity to those who may not",
        ),
    )
    for type_name, field, judge, kind, reason in hidden:
        made: Any = built.type_map[type_name]
        with monkeypatch.context() as patch:
            patch.setattr(made.fields[field].extensions["strawberry-definition"], "metadata", NOT_TOLD)
            with pytest.raises(kind, match=reason):
                judge.check(built)
    checks.check(built)
    groups.check(built)

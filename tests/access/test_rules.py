"""The rules of rows as declared: who is bound to a customer sees what is his, and the whole catalog; all others see all rows."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack, aclosing
from typing import Any

import orjson
import pytest

from graph.context import Context
from graph.feed.outlook import Outlook
from graph.feed.positions import cursor_at
from graph.feed.sequence import Sequencer, number_some
from graph.models import Order
from graph.operations.subscriptions import Broadcast
from graph.read.rows import RULES
from graph.read.types.checks import check_rules
from graph.read.types.mirror import MIRRORS, MirrorError
from graph.schema import schema
from graph.scope import OPEN, Viewer
from graph.write import door
from graph.write.object_graph import Graph
from graph.write.record import recorded
from tests import stock
from tests.conftest import Ask, Statements
from tests.one_page import events_after
from tests.snapshots import Snapshots
from tests.sockets import until
from tests.unseen import Asked
from tests.words import ERRORS

SHOP = [
    stock.item("A", 1, 99),
    stock.item("B", 2),
    stock.customer("Ada", [stock.line("A", 9)], []),
    stock.customer("Bob", [stock.line("A", 1), stock.line("B", 2)], [stock.line("B", 1)]),
]
ADA, BOB = (Viewer(name, name, frozenset({"admin"}), customer) for name, customer in (("ada", 1), ("bob", 2)))
CLERK = Viewer("clerk", "The clerk", frozenset({"admin"}))


def by(shop: Ask, viewer: Viewer | None) -> Asked:
    return Asked(shop.database, OPEN, viewer)


async def data(shop: Ask, viewer: Viewer | None, query: str, variables: dict[str, Any] | None = None) -> Any:
    answer = orjson.loads(await by(shop, viewer).raw(query, variables))
    assert "errors" not in answer, answer
    return answer["data"]


async def mutate(shop: Ask, viewer: Viewer | None, field: str, input_: Any, selection: str = "", how: str = "") -> Any:
    type_ = f"{field[0].upper()}{field[1:]}Input"
    query = f"mutation ($input: {type_}!) {how} {{ payload: {field}(input: $input) {{ {selection} {ERRORS} }} }}"
    return (await data(shop, viewer, query, {"input": input_}))["payload"]


EVERYTHING = """{
  customers { totalCount nodes { id orderCount } }
  orders { totalCount nodes { id customer { id } } }
  items { totalCount nodes { id orderItems { totalCount nodes { id } } } }
  orderSummary { count quantity }
  nodes(ids: ["Customer:1", "Customer:2", "Order:1", "Order:3", "OrderItem:1", "OrderItem:2", "Item:1", "Item:2"]) { id }
}"""


async def test_a_bound_viewer_sees_what_is_his_and_the_whole_catalog(shop: Ask) -> None:
    found = await data(shop, ADA, EVERYTHING)
    assert found["customers"] == {"totalCount": 1, "nodes": [{"id": "Customer:1", "orderCount": 2}]}
    assert found["orders"]["totalCount"] == 2
    assert {node["customer"]["id"] for node in found["orders"]["nodes"]} == {"Customer:1"}
    lines = [[line["id"] for line in node["orderItems"]["nodes"]] for node in found["items"]["nodes"]]
    assert lines == [["OrderItem:1"], []]
    assert found["orderSummary"] == [{"count": 2, "quantity": "9"}]
    there = [None if node is None else node["id"] for node in found["nodes"]]
    assert there == ["Customer:1", None, "Order:1", None, "OrderItem:1", None, "Item:1", "Item:2"]


async def test_all_others_see_everything_by_the_same_sql(shop: Ask, statements: Statements) -> None:
    answers, sent = [], []
    for viewer in (None, CLERK):
        await data(shop, viewer, EVERYTHING)
        statements.clear()
        answers.append(await data(shop, viewer, EVERYTHING))
        await mutate(
            shop, viewer, "updateOrder", {"id": "Order:1", "note": "x", "items": {"create": [stock.line("B")]}}, how="@dryRun"
        )
        sent.append(list(statements.sql))
    assert answers[0] == answers[1]
    assert sent[0] == sent[1]
    assert not any("_seen" in sql or "_left" in sql for sql in sent[0])


async def test_a_thousand_customers_share_one_plan(shop: Ask) -> None:
    engine = schema.engine(shop.database)
    update = 'mutation { updateOrder(input: {id: "Order:1", note: "x"}) { order { note customer { name } } errors { code } } }'
    query = "{ customers { totalCount nodes { orders { totalCount } } } orderSummary { count } }"
    await data(shop, ADA, query)
    await data(shop, ADA, update)
    planned, plans, mutations = engine.counters.planned, len(engine.plans), len(engine.mutations)
    for customer in range(2, 1_002):
        viewer = Viewer(f"v{customer}", "", frozenset({"write"}), customer)
        found = await data(shop, viewer, query)
        assert found["customers"]["totalCount"] == (customer == 2)
        if customer < 20:
            assert (await data(shop, viewer, update))["updateOrder"]["errors"] == [{"code": "NOT_FOUND"}]
    assert (engine.counters.planned, len(engine.plans), len(engine.mutations)) == (planned, plans, mutations)


#: What Ada sends that names what is Bob's, and what she is told: as of what is not there.
FOREIGN: list[tuple[str, dict[str, Any], list[tuple[str, str]]]] = [
    ("updateCustomer", {"id": "Customer:2", "name": "Mine"}, [("NOT_FOUND", "input.id")]),
    ("archiveCustomer", {"id": "Customer:2"}, [("NOT_FOUND", "input.id")]),
    ("updateOrder", {"id": "Order:3", "note": "Mine"}, [("NOT_FOUND", "input.id")]),
    ("deleteOrder", {"id": "Order:3"}, [("NOT_FOUND", "input.id")]),
    ("transitionOrder", {"id": "Order:3", "to": "CANCELLED"}, [("NOT_FOUND", "input.id")]),
    ("moveOrderItem", {"id": "OrderItem:2", "toOrder": "Order:1"}, [("NOT_FOUND", "input.id")]),
    ("moveOrderItem", {"id": "OrderItem:1", "toOrder": "Order:3"}, [("NOT_FOUND", "input.toOrder")]),
    ("createOrder", {"customer": {"id": "Customer:2"}}, [("REFERENCE_NOT_FOUND", "input.customer.id")]),
    ("createOrder", {"customer": {"email": "bob@example.com"}}, [("REFERENCE_NOT_FOUND", "input.customer.email")]),
    ("createOrder", {"customer": {"create": {"name": "Eve", "email": "eve@x.io"}}}, [("FORBIDDEN", "input.customer.create")]),
    (
        "createOrder",
        {"customer": {"create": {"name": "Eve", "email": "bob@example.com"}}},
        [("UNIQUE", "input.customer.create.email")],
    ),
    (
        "updateCustomer",
        {"id": "Customer:1", "orders": {"update": [{"id": "Order:3", "note": "Mine"}], "remove": ["Order:4"]}},
        [("NOT_FOUND", "input.orders.update.0.id"), ("NOT_FOUND", "input.orders.remove.0")],
    ),
    (
        "updateCustomer",
        {"id": "Customer:1", "orders": {"replace": [{"id": "Order:1"}, {"id": "Order:3"}]}},
        [("NOT_FOUND", "input.orders.replace.1.id")],
    ),
    (
        "updateOrder",
        {"id": "Order:1", "items": {"update": [{"id": "OrderItem:2", "quantity": 1}]}},
        [("NOT_FOUND", "input.items.update.0.id")],
    ),
    ("updateCustomer", {"id": "Customer:1", "email": "bob@example.com"}, [("UNIQUE", "input.email")]),
    ("upsertCustomer", {"name": "Mine", "email": "bob@example.com"}, [("UNIQUE", "input.email")]),
    ("createCustomer", {"name": "Eve", "email": "eve@x.io"}, [("FORBIDDEN", "input")]),
]


async def test_what_is_anothers_is_not_there(shop: Ask) -> None:
    snapshots = Snapshots(shop.database.settings.database_url)
    before = await snapshots.take()
    for number, (field, input_, expected) in enumerate(FOREIGN):
        for how in ("", "@atomic", "@dryRun") if number % 5 == 0 else ("",):
            payload = await mutate(shop, ADA, field, input_, how=how)
            assert [(error["code"], ".".join(error["path"])) for error in payload["errors"]] == expected, (field, input_)
            assert not any(error.get("existing") for error in payload["errors"])
    for field in ("updateOrders", "archiveCustomers"):
        where = {
            "where": {"id": {"in": ["Order:3", "Customer:2"]}},
            **({"set": {"note": "x"}} if field == "updateOrders" else {}),
        }
        assert (await mutate(shop, ADA, field, where, "count"))["count"] == 0
    assert await snapshots.take() == before
    await snapshots.close()
    mine = {"customer": {"id": "Customer:1"}, "items": [stock.line("B")]}
    payload = await mutate(shop, ADA, "createOrder", mine, "order { customer { id } }")
    assert payload == {"order": {"customer": {"id": "Customer:1"}}, "errors": []}


async def test_an_idempotency_key_is_its_clients_own(shop: Ask) -> None:
    create = """mutation ($customer: ID!) {
      createOrder(input: {customer: {id: $customer}}) @idempotent(key: "k") { order { id customer { id } } errors { code } }
    }"""
    first = (await data(shop, ADA, create, {"customer": "Customer:1"}))["createOrder"]
    assert (await data(shop, ADA, create, {"customer": "Customer:1"}))["createOrder"] == first
    his = (await data(shop, BOB, create, {"customer": "Customer:2"}))["createOrder"]
    assert (his["order"]["customer"]["id"], his["errors"]) == ("Customer:2", [])
    assert his["order"]["id"] != first["order"]["id"]
    # The same identity, bound to somebody else meanwhile, is told of its rows as gone.
    moved = Viewer("ada", "Ada", ADA.scopes, 2)
    again = (await data(shop, moved, create, {"customer": "Customer:1"}))["createOrder"]
    assert again == {"order": None, "errors": [{"code": "NOT_FOUND"}]}


# ---- changes


async def numbered(shop: Ask) -> None:
    while await number_some(shop.database):
        pass


async def give(shop: Ask, order: int, customer: int) -> None:
    """Have an order belong to somebody else, which no mutation does."""
    context = Context(shop.database)
    graph = Graph(context)
    await recorded(context, lambda: door.update(graph, Order, [order], {"customer_id": customer}))
    await context.close()
    await numbered(shop)


async def told(shop: Ask, viewer: Viewer | None, field: str = "changes(first: 100)") -> Any:
    """What a list of changes holds, in short; each entry's `node` is there or not as the row is."""
    await numbered(shop)
    query = f"{{ {field} {{ totalCount nodes {{ kind entityId version fields node {{ id }} }} }} }}"
    found = (await data(shop, viewer, query))[field.partition("(")[0]]
    assert found["totalCount"] == len(found["nodes"])
    return [
        (node["kind"], node["entityId"], node["version"], *node["fields"], *(["here"] if node["node"] else []))
        for node in found["nodes"]
    ]


async def test_changes_of_hidden_rows_are_not_told(shop: Ask) -> None:
    begun = len(await told(shop, CLERK))
    rows = [{"name": f"N{n}", "email": f"n{n}@x.io"} for n in range(1_001)]
    await mutate(shop, None, "insertCustomers", {"rows": rows})
    await mutate(shop, None, "updateOrder", {"id": "Order:3", "note": "Bob's", "items": {"create": [stock.line("A", 3)]}})
    await mutate(shop, None, "updateItem", {"id": "Item:2", "name": "Bolt"})
    await mutate(shop, None, "adjustStock", {"item": {"sku": "A"}, "delta": 1})
    await mutate(shop, None, "deleteCustomer", {"id": "Customer:2"})
    all_of_it = await told(shop, CLERK)
    assert all_of_it == await told(shop, None)
    assert {kind for kind, *_ in all_of_it[begun:]} == {"MANY", "CREATED", "UPDATED", "DELETED"}
    item = ("UPDATED", "Item:2", 2, "version", "name", "updatedAt", "here")
    made = [("CREATED", f"Item:{n}", 1, "here") for n in (1, 2)]
    own = [("CREATED", f"{type_}:{n}", 1, "here") for type_, n in (("Customer", 1), ("Order", 1), ("Order", 2), ("OrderItem", 1))]
    assert sorted(await told(shop, ADA)) == sorted([*made, *own, item])
    bobs = [(kind, id_) for kind, id_, *_ in await told(shop, BOB)]
    assert [id_ for kind, id_ in bobs if kind == "DELETED"] == [id_ for _, id_ in sorted(bobs) if _ == "DELETED"]
    assert ("DELETED", "Customer:2") in bobs
    assert not any(id_ == "Customer:1" for _, id_ in bobs)
    cursor = cursor_at(1)
    assert "errors" not in orjson.loads(await by(shop, ADA).raw(f'{{ changes(after: "{cursor}") {{ totalCount }} }}'))


async def test_what_moves_out_of_reach_is_gone_and_what_moves_into_it_is_new(shop: Ask) -> None:
    before = {viewer.identity: len(await told(shop, viewer)) for viewer in (ADA, BOB, CLERK)}
    await give(shop, 1, 2)
    await mutate(shop, None, "updateOrder", {"id": "Order:1", "note": "Bob's now"})
    last = ("UPDATED", "Order:1", 2, "version", "note", "updatedAt", "here")
    assert (await told(shop, CLERK))[before["clerk"] :] == [("UPDATED", "Order:1", 1, "updatedAt", "customer", "here"), last]
    assert (await told(shop, ADA))[before["ada"] :] == [("DELETED", "Order:1", None)]
    assert (await told(shop, BOB))[before["bob"] :] == [("CREATED", "Order:1", 1, "here"), last]


STATES = (
    "subscription ($order: ID, $customer: ID) { orderChanged(order: $order, customer: $customer) { orderId order { note } } }"
)
CHANGES = "subscription { changes { kind entityId fields } }"


async def hears(shop: Ask, viewer: Viewer, query: str, after: int, **variables: Any) -> Any:
    """The events after a position."""
    texts = await events_after(after, Context(shop.database, viewer=viewer), query, variables)
    return [next(iter(orjson.loads(text)["data"].values())) for text in texts]


async def test_subscribers_are_told_of_what_is_theirs(shop: Ask) -> None:
    await numbered(shop)
    _, end = await Outlook(shop.database).bounds()
    await give(shop, 1, 2)
    await mutate(shop, None, "updateOrder", {"id": "Order:1", "note": "Bob's now"})
    await mutate(shop, None, "updateOrder", {"id": "Order:2", "note": "Ada's"})
    await mutate(shop, None, "updateOrder", {"id": "Order:3", "items": {"create": [stock.line("A", 3)]}})
    await numbered(shop)
    gone, here = {"orderId": "Order:1", "order": None}, {"orderId": "Order:1", "order": {"note": "Bob's now"}}
    hers, his = {"orderId": "Order:2", "order": {"note": "Ada's"}}, {"orderId": "Order:3", "order": {"note": None}}
    assert await hears(shop, ADA, STATES, end) == [gone, hers]
    assert await hears(shop, BOB, STATES, end) == [here, his]
    assert await hears(shop, CLERK, STATES, end) == [here, hers, his]
    assert await hears(shop, ADA, STATES, end, customer="Customer:2") == [gone]
    assert await hears(shop, ADA, STATES, end, order="Order:3") == []
    assert await hears(shop, BOB, STATES, end, order="Order:3", customer="Customer:1") == []
    kinds = [(event["kind"], event["entityId"]) for event in await hears(shop, ADA, CHANGES, end)]
    assert kinds == [("DELETED", "Order:1"), ("UPDATED", "Order:2")]


async def test_two_customers_never_share_an_answer_and_nobody_is_asked_for_who_is_not_concerned(
    shop: Ask, statements: Statements
) -> None:
    await numbered(shop)
    made = Broadcast(schema.engine(shop.database), shop.database, Sequencer(shop.database))
    async with AsyncExitStack() as stack:
        events = {}
        for viewer in (ADA, BOB, CLERK):
            for query in (STATES, CHANGES):
                context = Context(made.database, viewer=viewer)
                told_ = await stack.enter_async_context(aclosing(await made(query, {}, None, context)))
                events[viewer.identity, query] = asyncio.ensure_future(anext(told_))
        await until(lambda: made.hub.members == len(events))
        statements.clear()
        await mutate(shop, None, "updateOrder", {"id": "Order:3", "note": "Bob's"})
        await numbered(shop)
        heard = {who: (await events[who]).text for who in events if who[0] != "ada"}
        read = [sql for sql in statements.sql if "changes_seen" in sql]
        assert len(heard) == 4
        assert all("Order:3" in text for text in heard.values())
        assert not any(events["ada", query].done() for query in (STATES, CHANGES))
        assert len(read) == 2  # Bob's two; nothing is asked for Ada
        await mutate(shop, None, "updateItem", {"id": "Item:2", "name": "Bolt"})
        await mutate(shop, None, "updateOrder", {"id": "Order:1", "note": "Ada's"})
        await numbered(shop)
        assert "Item:2" in (await events["ada", CHANGES]).text
        assert "Order:1" in (await events["ada", STATES]).text


def test_a_type_without_a_rule_does_not_start(monkeypatch: pytest.MonkeyPatch) -> None:
    built = schema._schema
    check_rules(built)
    for name, mirror in MIRRORS.items():
        if name in built.type_map:
            with monkeypatch.context() as patch:
                patch.delitem(RULES, mirror.model)
                with pytest.raises(MirrorError, match=rf"^{name}: who sees its rows\?"):
                    check_rules(built)

"""`subscription changes`: every change, in order, none twice; the same list as the query's."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from typing import Any

import pytest

from graph.feed.positions import cursor_at
from tests.conftest import Ask, Statements
from tests.sockets import Listening, listening, until
from tests.subscribers import event_stream, socket

FIELDS = """cursor kind type entityId version fields count at
  node { __typename id ... on Order { note customer { name } items { quantity item { sku } } } ... on Item { sku stock } }"""
TOLD = f"subscription ($after: String, $types: [ChangedType!]) {{ changes(after: $after, types: $types) {{ {FIELDS} }} }}"
LISTED = f"{{ changes(first: 100) {{ nodes {{ {FIELDS} }} }} }}"
BEGIN = b'["Change position+",0]'.hex().upper()

STEPS: list[tuple[str, dict[str, Any]]] = [
    ("createItem", {"sku": "A", "name": "Anvil", "price": "1.00", "stock": 9}),
    (
        "createCustomer",
        {"name": "Ada", "email": "ada@example.org", "orders": [{"items": [{"item": {"sku": "A"}, "quantity": 1}]}]},
    ),
    ("updateOrder", {"id": "Order:1", "note": "two\nlines", "items": {"update": [{"id": "OrderItem:1", "quantity": 3}]}}),
    ("createItem", {"sku": "B", "name": "Bolt", "price": "1.00"}),
    ("deleteOrder", {"id": "Order:1"}),
]


@pytest.fixture
async def server(ask: Ask) -> AsyncIterator[Listening]:
    async with listening(ask.app) as server:
        yield server
        await until(lambda: ask.app.state.streams.open == 0)


async def run(ask: Ask, name: str, input_: dict[str, Any]) -> None:
    type_ = f"{name[0].upper()}{name[1:]}Input!"
    payload = await ask.data(f"mutation ($input: {type_}) {{ {name}(input: $input) {{ errors {{ code }} }} }}", {"input": input_})
    assert payload[name]["errors"] == []


async def test_what_is_told_as_it_happens_is_what_the_query_lists(ask: Ask, server: Listening) -> None:
    async with socket(server.port) as client, event_stream(server.port, TOLD) as stream:
        await client.init()
        await client.subscribe("1", TOLD)
        await client.subscribe("2", TOLD, variables={"types": ["Item"]})
        await until(lambda: ask.app.state.hub.members == 3)
        for name, input_ in STEPS:
            await run(ask, name, input_)
        listed = (await ask.data(LISTED))["changes"]["nodes"]
        assert [each["kind"] for each in listed].count("DELETED") == 2
        assert [each["cursor"] for each in listed] == [cursor_at(position) for position in range(1, len(listed) + 1)]
        told: dict[str, list[Any]] = {"1": [], "2": []}
        items = [each for each in listed if each["type"] == "Item"]
        for _ in range(len(listed) + len(items)):
            message = await client.hear()
            told[message["id"]].append(message["payload"]["data"]["changes"])
        # What a row is now may have changed since it was told.
        assert [without(each) for each in told["1"]] == [without(each) for each in listed]
        assert [without(each) for each in told["2"]] == [without(each) for each in items]
        assert [without((await stream.hears())["data"]["changes"]) for _ in listed] == [without(each) for each in listed]
        again = [each["cursor"] for each in listed]
        async with event_stream(server.port, TOLD, again[1]) as resumed:
            assert [(await resumed.hears())["data"]["changes"] for _ in listed[2:]] == listed[2:]
            assert resumed.last == again[-1]


def without(change: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in change.items() if name != "node"}


async def test_a_replay_goes_page_by_page_and_then_on(ask: Ask, server: Listening) -> None:
    rows = [{"name": f"C{n}", "email": f"c{n}@example.org"} for n in range(230)]
    await run(ask, "createCustomers", {"customers": rows})
    async with socket(server.port) as client:
        await client.init()
        await client.subscribe("1", f'subscription {{ changes(after: "{BEGIN}") {{ entityId node {{ id }} }} }}')
        told = [await client.hears_any() for _ in rows]
        assert [each["entityId"] for each in told] == [f"Customer:{n}" for n in range(1, 231)]
        assert all(each["node"]["id"] == each["entityId"] for each in told)
        await run(ask, "updateCustomer", {"id": "Customer:7", "name": "Other"})
        assert (await client.hears_any())["entityId"] == "Customer:7"


async def test_a_thousand_changes_at_once_reach_who_keeps_up(ask: Ask, server: Listening) -> None:
    """More than may wait for a subscriber: they come as fast as he takes them."""
    async with socket(server.port) as client:
        await client.init()
        await client.subscribe("1", "subscription { changes(types: [Customer]) { entityId } }")
        await until(lambda: ask.app.state.hub.members == 1)
        rows = [{"name": f"C{n}", "email": f"c{n}@example.org"} for n in range(250)]
        await run(ask, "createCustomers", {"customers": rows})
        told = [(await client.hears_any())["entityId"] for _ in rows]
        assert told == [f"Customer:{n}" for n in range(1, 251)]


async def test_events_of_a_thousand_subscribers_are_read_once_for_all(
    ask: Ask, server: Listening, statements: Statements
) -> None:
    sockets, each = 10, 100
    async with AsyncExitStack() as stack:
        clients = [await stack.enter_async_context(socket(server.port)) for _ in range(sockets)]
        for client in clients:
            await client.init()
            for name in range(each):
                await client.subscribe(f"{name}", TOLD)
        await until(lambda: ask.app.state.hub.members == sockets * each)
        statements.clear()
        await run(ask, "createCustomer", {"name": "Ada", "email": "ada@example.org"})
        for client in clients:
            assert {(await client.hears_any())["entityId"] for _ in range(each)} == {"Customer:1"}
        reads = [sql for sql in statements.sql if '"feed":' in sql]
        assert len(reads) == 1, statements.sql


@pytest.mark.parametrize(
    ("query", "code"),
    [
        ("subscription { changes(types: [Nothing]) { cursor } }", "BAD_USER_INPUT"),
        ("subscription { changes { cursor } orderChanged { cursor } }", "GRAPHQL_VALIDATION_FAILED"),
        ("subscription { changes(first: 3) { cursor } }", "GRAPHQL_VALIDATION_FAILED"),
        ('subscription { changes(after: "00") { cursor } }', "BAD_USER_INPUT"),
        ("subscription { changes { node { ... on Customer { orders(first: 101) { nodes { id } } } } } }", "BAD_USER_INPUT"),
    ],
)
async def test_what_cannot_be_told_is_refused(server: Listening, query: str, code: str) -> None:
    async with event_stream(server.port, query) as stream:
        assert {error["extensions"]["code"] for error in (await stream.hears())["errors"]} == {code}
        assert await stream.hear() == ("complete", None)

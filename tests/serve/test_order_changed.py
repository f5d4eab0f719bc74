"""`orderChanged` over both transports, on both databases: states after COMMIT, cursors, what is shared, what ends it.

Faults 19 and 22 of docs/reliability.md.
"""

from __future__ import annotations

import asyncio
import re
import socket as sockets
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from graph.feed import hub
from graph.feed.positions import cursor_at
from tests.conftest import Ask, Statements, asking
from tests.sockets import PATIENCE, Listening, listening, request, until
from tests.subscribers import Socket, event_stream, socket
from tests.unhurried import unhurried

DOCUMENT = Path(__file__).parents[2] / "docs/subscriptions.md"
STATES = """subscription ($order: ID, $customer: ID, $after: String) {
  orderChanged(order: $order, customer: $customer, after: $after) {
    cursor
    orderId
    order { version note customer { name } items { quantity } }
  }
}"""
CREATE = """mutation ($name: String!, $email: String!) {
  createCustomer(input: {name: $name, email: $email, orders: [{note: "new"}]}) {
    customer { id orders { nodes { id version } } }
    errors { code message }
  }
}"""
UPDATE = """mutation ($id: ID!, $note: String) {
  updateOrder(input: {id: $id, note: $note}) { order { version } errors { code } }
}"""
DELETE = "mutation ($id: ID!) { deleteOrder(input: {id: $id}) { errors { code } } }"


DEEP = f"subscription {{ orderChanged {{ order {{ {'customer { orders(first: 100) { nodes { ' * 3} id {'} } } ' * 3} }} }} }}"


@pytest.fixture
async def server(ask: Ask) -> AsyncIterator[Listening]:
    async with listening(ask.app) as server:
        yield server
        await until(lambda: ask.app.state.streams.open == 0)
        assert ask.app.state.hub.members == 0


async def made(ask: Ask, name: str) -> tuple[str, str]:
    """A new customer and his one order."""
    found = (await ask.data(CREATE, {"name": name, "email": f"{name}@example.org"}))["createCustomer"]
    assert found["errors"] == []
    return found["customer"]["id"], found["customer"]["orders"]["nodes"][0]["id"]


async def noted(ask: Ask, order: str, note: str | None) -> None:
    assert (await ask.data(UPDATE, {"id": order, "note": note}))["updateOrder"]["errors"] == []


async def listens(ask: Ask, client: Socket, query: str, name: str = "1", **variables: Any) -> None:
    """Subscribe, and wait until it has begun."""
    before = ask.app.state.hub.members
    await client.subscribe(name, query, variables=variables)
    await until(lambda: ask.app.state.hub.members == before + 1)


async def test_states_are_told_after_their_commit_and_go_on_after_a_cursor(ask: Ask, server: Listening) -> None:
    customer, order = await made(ask, "ada")
    _, other = await made(ask, "bob")
    async with socket(server.port) as client:
        await client.init()
        await listens(ask, client, STATES, order=order)
        await noted(ask, other, "not told")
        await ask.data(UPDATE.replace(") {", ") @dryRun {", 1), {"id": order, "note": "dry"})
        await noted(ask, order, "first")
        first = (await client.hears("1"))["data"]["orderChanged"]
        cursor = first.pop("cursor")
        state = {"version": 2, "note": "first", "customer": {"name": "ada"}, "items": []}
        assert first == {"orderId": order, "order": state}
        await client.say("complete", id="1")
        await until(lambda: ask.app.state.hub.members == 0)
        await noted(ask, order, "second")
        await ask.data(DELETE, {"id": other})
        await client.subscribe("1", STATES, variables={"customer": customer, "after": cursor})
        told = (await client.hears("1"))["data"]["orderChanged"]
        assert (told["orderId"], told["order"]["version"], told["order"]["note"]) == (order, 3, "second")
        await client.subscribe("2", STATES, variables={"order": other, "after": cursor})
        gone = (await client.hears("2"))["data"]["orderChanged"]
        assert (gone["orderId"], gone["order"]) == (other, None)


async def test_an_event_has_what_is_selected_in_the_order_and_under_the_names_asked_for(ask: Ask, server: Listening) -> None:
    _, order = await made(ask, "ada")
    query = """subscription ($yes: Boolean!) { told: orderChanged { ...Some b: order { number } __typename at: cursor } }
      fragment Some on OrderChange { a: order { note @include(if: $yes) id } orderId ...Rest }
      fragment Rest on OrderChange { a: order { version } }"""
    async with socket(server.port) as client:
        await client.init()
        await listens(ask, client, query, yes=False)
        await noted(ask, order, "x")
        told = (await client.hears("1"))["data"]["told"]
        assert list(told) == ["a", "orderId", "b", "__typename", "at"]
        assert told["a"] == {"id": order, "version": 2}
        assert told["b"]["number"].startswith("SO-")
        assert told["__typename"] == "OrderChange"
        await client.say("complete", id="1")
        await listens_all(ask, 0)
        await listens(ask, client, "subscription { orderChanged { orderId } }", "2")
        await noted(ask, order, "y")
        assert await client.hears("2") == {"data": {"orderChanged": {"orderId": order}}}


@pytest.mark.parametrize(
    ("query", "variables", "code"),
    [
        ("subscription { orderChanged { cursor } other: orderChanged { cursor } }", {}, "GRAPHQL_VALIDATION_FAILED"),
        ("subscription { __typename }", {}, "GRAPHQL_VALIDATION_FAILED"),
        ("subscription { __schema { types { name } } }", {}, "GRAPHQL_VALIDATION_FAILED"),
        ("subscription ($y: Boolean!) { orderChanged @skip(if: $y) { cursor } }", {"y": True}, "GRAPHQL_VALIDATION_FAILED"),
        ("subscription { ...A @include(if: false) } fragment A on Subscription { orderChanged { cursor } }", {}, "*"),
        ("subscription { orderChanged { nothing } }", {}, "GRAPHQL_VALIDATION_FAILED"),
        (STATES, {"after": "zz"}, "BAD_USER_INPUT"),
        (STATES, {"after": ""}, "BAD_USER_INPUT"),
        (STATES, {"after": "5b5d"}, "BAD_USER_INPUT"),
        (STATES, {"order": "Customer:1"}, "BAD_USER_INPUT"),
        (STATES, {"order": "x"}, "BAD_USER_INPUT"),
        (STATES, {"customer": 7.5}, "BAD_USER_INPUT"),
        (DEEP, {}, "*"),
        ("subscription { orderChanged { order { " + " ".join(f"a{n}: id" for n in range(31)) + " } } }", {}, "*"),
    ],
)
async def test_what_cannot_be_told_is_refused_before_the_first_event(
    ask: Ask, server: Listening, query: str, variables: Any, code: str
) -> None:
    tasks = len(asyncio.all_tasks())
    async with socket(server.port) as client:
        await client.init()
        await client.subscribe("1", query, variables=variables)
        message = await client.hear()
        assert message["type"] == "error", message
        codes = {error["extensions"]["code"] for error in message["payload"]}
        assert codes == {code} or (
            code == "*" and codes <= {"GRAPHQL_VALIDATION_FAILED", "OPERATION_TOO_LARGE", "OPERATION_TOO_EXPENSIVE"}
        )
        if "order" in variables:
            said = 'order must be a global id of Order, which looks like "Order:42".'
            assert [error["message"] for error in message["payload"]] == [said]
    await until(lambda: len(asyncio.all_tasks()) <= tasks)
    assert ask.app.state.hub.members == 0


async def test_subscribers_of_one_document_share_the_statements(ask: Ask, server: Listening, statements: Statements) -> None:
    _, order = await made(ask, "ada")
    _, other = await made(ask, "bob")
    number = 60
    async with socket(server.port) as client, socket(server.port) as apart:
        await client.init()
        await apart.init()
        for name in range(number):
            await client.subscribe(f"{name}", STATES, variables={"order": order})
        await listens_all(ask, number)
        await listens(ask, apart, STATES, order=other)
        statements.clear()
        await noted(ask, order, "shared")
        told = [await client.hears_any() for _ in range(number)]
        assert {each["order"]["note"] for each in told} == {"shared"}
        reads = [sql for sql in statements.sql if '"note":' in sql]
        assert len(reads) == 1, statements.sql  # not one a subscriber, and none for whom it does not concern


async def listens_all(ask: Ask, number: int) -> None:
    await until(lambda: ask.app.state.hub.members == number)


@pytest.mark.parametrize("method", ["POST", "GET"])
async def test_an_event_stream_tells_the_same_and_goes_on_after_the_last_event_id(
    ask: Ask, server: Listening, method: str
) -> None:
    _, order = await made(ask, "ada")
    query = "subscription { orderChanged { cursor order { version note } } }"
    async with event_stream(server.port, query, method=method) as stream:
        await listens_all(ask, 1)
        await noted(ask, order, "one\nline")
        told = (await stream.hears())["data"]["orderChanged"]
        assert told["order"] == {"version": 2, "note": "one\nline"}
        assert told["cursor"] == stream.last
    await listens_all(ask, 0)
    await noted(ask, order, "two")
    async with event_stream(server.port, query, stream.last, method=method) as again:
        assert (await again.hears())["data"]["orderChanged"]["order"] == {"version": 3, "note": "two"}


async def test_event_streams_are_for_subscriptions_alone(ask: Ask, server: Listening) -> None:
    body = b'{"query":"{ __typename }"}'
    head = (b"content-type: application/json", b"accept: text/event-stream, application/json")
    assert await server.asked(request(body, *head, path=b"/graphql")) == (200, b'{"data":{"__typename":"Query"}}')
    body = b'{"query":"subscription { orderChanged { cursor } }"}'
    peer = await server.connect()
    peer.send(request(body, b"content-type: application/json", b"accept: application/json", path=b"/graphql"))
    assert 400 <= (await peer.answer())[0] < 500
    async with event_stream(server.port, 'subscription { orderChanged(after: "zz") { cursor } }') as stream:
        refusal = await stream.hears()
        assert refusal["errors"][0]["extensions"]["code"] == "BAD_USER_INPUT"
        assert await stream.hear() == ("complete", None)
        assert await stream.hear() == ("", None)


async def test_streams_end_without_complete_when_the_server_stops_and_others_are_refused(ask: Ask, server: Listening) -> None:
    async with event_stream(server.port, "subscription { orderChanged { cursor } }") as stream:
        await listens_all(ask, 1)
        ask.app.state.streams.draining.set()
        assert await stream.hear() == ("", None)
    body = b'{"query":"subscription { orderChanged { cursor } }"}'
    head = (b"content-type: application/json", b"accept: text/event-stream")
    assert (await server.asked(request(body, *head, path=b"/graphql")))[0] == 503


async def test_who_reads_nothing_is_ended_and_costs_the_others_nothing(empty_url: str) -> None:
    settings = unhurried(empty_url, max_queued_events=5)
    async with asking(settings) as ask, listening(ask.app, send_timeout_seconds=1.0) as server:
        _, order = await made(ask, "ada")
        async with socket(server.port) as client:
            await client.init()
            tasks = len(asyncio.all_tasks())
            stalled = await server.connect()
            query = b'{"query":"subscription { orderChanged { order { note } } }"}'
            stalled.send(request(query, b"content-type: application/json", b"accept: text/event-stream", path=b"/graphql"))
            await stalled.head()
            stalled.reader._transport.pause_reading()  # type: ignore[attr-defined]  # the client reads no more
            for connection in server.state.connections:
                connection.transport.get_extra_info("socket").setsockopt(sockets.SOL_SOCKET, sockets.SO_SNDBUF, 4_096)
            await listens_all(ask, 1)
            await listens(ask, client, STATES, order=order)
            for number in range(400):
                await noted(ask, order, f"{number:09}" * 1_000)
                assert (await client.hears("1"))["data"]["orderChanged"]["order"]["version"] == number + 2
                if ask.app.state.hub.members == 1:
                    break
            await until(lambda: ask.app.state.hub.members == 1)
            await client.say("complete", id="1")
            await until(lambda: len(asyncio.all_tasks()) <= tasks)


async def test_a_socket_that_falls_behind_is_told_so_and_resumes(empty_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hub, "ROOM_SECONDS", 0.05)
    settings = unhurried(empty_url, max_queued_events=3)
    async with asking(settings) as ask, listening(ask.app) as server, socket(server.port) as client:
        _, order = await made(ask, "ada")
        await client.init()
        await listens(ask, client, STATES, order=order)
        (connection,) = [each for each in server.state.connections if hasattr(each, "writable")]
        connection.writable.clear()  # as if the network took no more
        written = 0
        for waiting in (3, 0):  # as many as may, then one too many, after which none do
            while ask.app.state.hub.waiting() != waiting:
                await noted(ask, order, f"{(written := written + 1)}")
                assert written < 100
        await noted(ask, order, "last")
        connection.writable.set()
        told = []
        while (message := await client.hear())["type"] == "next":
            told.append(message["payload"]["data"]["orderChanged"])
        assert message["type"] == "error"
        assert message["payload"][0]["extensions"]["code"] == "SUBSCRIBER_TOO_SLOW"
        versions = [each["order"]["version"] for each in told]
        assert versions == sorted(versions)
        assert len(told) <= 4
        await client.subscribe("1", STATES, variables={"order": order, "after": told[-1]["cursor"]})
        while (last := (await client.hears("1"))["data"]["orderChanged"]["order"])["note"] != "last":
            pass
        assert last["version"] == 1 + written + 1


async def test_an_event_for_a_socket_that_the_server_has_closed_is_no_failure(ask: Ask, server: Listening, caplog: Any) -> None:
    _, order = await made(ask, "ada")
    async with socket(server.port) as client:
        await client.init()
        await listens(ask, client, STATES)
        opened: list[Any] = [each for each in server.state.connections if hasattr(each, "writable")]
        (connection,) = opened
        connection.conn.fail(1009, "too large")  # as for a message that is
        connection.handle_parser_exception()
        await noted(ask, order, "x")
        assert (await client.closed())[0] == 1009
        await listens_all(ask, 0)
    assert not [record for record in caplog.records if record.levelname == "ERROR"]


async def test_rows_too_large_to_be_told_together_come_one_by_one(empty_url: str) -> None:
    settings = unhurried(empty_url, max_answer_bytes=2**16, max_body_bytes=2**16, max_text_length=10_000)
    async with asking(settings) as ask, listening(ask.app) as server, socket(server.port) as client:
        await client.init()
        orders = [(await made(ask, f"c{n}"))[1] for n in range(12)]
        for order in orders:
            await noted(ask, order, "\u0001" * 9_000)  # each takes six bytes as JSON
        fields = "order { id note }"
        await client.subscribe("1", f'subscription {{ orderChanged(after: "{cursor_at(0)}") {{ {fields} }} }}')
        told: list[str] = []
        while len(told) < len(orders):
            event = await client.hears_any()
            assert event["order"]["note"] == "\u0001" * 9_000
            told.append(event["order"]["id"])
        assert told == orders


async def test_a_stream_with_nothing_to_tell_says_so_now_and_then(empty_url: str) -> None:
    async with asking(unhurried(empty_url, heartbeat_seconds=0.05)) as ask, listening(ask.app) as server:
        peer = await server.connect()
        body = b'{"query":"subscription { changes { cursor } }"}'
        peer.send(request(body, b"content-type: application/json", b"accept: text/event-stream", path=b"/graphql"))
        await peer.head()
        async with asyncio.timeout(PATIENCE):
            for _ in range(3):
                assert await peer.reader.readuntil(b"\r\n:\n\n\r\n")
        await peer.close()
        await listens_all(ask, 0)
        asked = request(body, b"content-type: application/json", b"accept: text/event-stream", method=b"QUERY", path=b"/graphql")
        assert (await server.asked(asked))[0] in (405, 406)


async def test_an_expired_cursor_is_told_with_the_oldest_that_works(ask: Ask, server: Listening, by_hand: None) -> None:
    _, order = await made(ask, "ada")
    async with socket(server.port) as client:
        await client.init()
        await listens(ask, client, STATES)
        await noted(ask, order, "one")
        first = (await client.hears("1"))["data"]["orderChanged"]["cursor"]
        await noted(ask, order, "two")
        second = (await client.hears("1"))["data"]["orderChanged"]["cursor"]
        await noted(ask, order, "three")
        await client.hears("1")
        async with ask.app.state.database.engine.begin() as connection:
            await connection.exec_driver_sql("DELETE FROM changes WHERE position <= (SELECT max(position) - 1 FROM changes)")
        await client.subscribe("2", STATES, variables={"after": first})
        message = await client.hear()
        assert (message["type"], message["id"]) == ("error", "2")
        told = message["payload"][0]["extensions"]
        assert (told["code"], told["oldest"]) == ("CURSOR_EXPIRED", second)
        listed = await ask("query ($c: String) { changes(after: $c) { totalCount } }", {"c": first})
        assert message["payload"][0]["message"] == listed["errors"][0]["message"]
        await client.subscribe("3", STATES, variables={"after": told["oldest"]})
        assert (await client.hears("3"))["data"]["orderChanged"]["order"]["note"] == "three"


@pytest.mark.parametrize("by", [-1, 5])
async def test_who_listens_is_told_where_the_feed_does_not_go_on(ask: Ask, server: Listening, by_hand: None, by: int) -> None:
    """A backup, or a server that had not heard of all, takes the place of the database; or what was to be told was deleted."""
    _, order = await made(ask, "ada")
    database = ask.app.state.database
    head = "changes_head SET position =" if database.capabilities.arrays else "sqlite_sequence SET seq ="
    last = f"(SELECT max(position) + {by} FROM changes)"
    async with socket(server.port) as client:
        await client.init()
        await listens(ask, client, STATES, order=order)
        await noted(ask, order, "one")
        await client.hears("1")
        async with database.engine.begin() as connection:
            await connection.exec_driver_sql(f"UPDATE {head} {last}")
            if by < 0:
                await connection.exec_driver_sql(f"DELETE FROM changes WHERE position > {last}")
        message = await client.hear()
        assert (message["type"], message["id"]) == ("error", "1")
        told = message["payload"][0]["extensions"]
        assert told["code"] == "CURSOR_EXPIRED"
        await client.subscribe("2", STATES, variables={"after": told["oldest"]})
        await noted(ask, order, "two")
        assert (await client.hears("2"))["data"]["orderChanged"]["order"]["note"] == "two"


async def test_the_client_of_the_document_goes_on_after_a_loss(ask: Ask, server: Listening) -> None:
    (source,) = re.findall(r"```python\n(.*?)```", DOCUMENT.read_text(encoding="utf-8"), re.DOTALL)
    client: dict[str, Any] = {"__name__": "client"}
    exec(source, client)
    told: list[str] = []
    following = asyncio.create_task(
        client["follow"](f"ws://127.0.0.1:{server.port}/graphql", lambda event: told.append(event["orderId"]))
    )
    try:
        await until(lambda: ask.app.state.hub.members == 1)
        _, order = await made(ask, "ada")
        await until(lambda: told == [order])
        for connection in list(server.state.connections):
            connection.transport.abort()
        await noted(ask, order, "meanwhile")
        await until(lambda: told == [order, order])
    finally:
        following.cancel()
        await asyncio.wait([following])
    assert following.cancelled()

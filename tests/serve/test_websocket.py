"""GraphQL over a WebSocket: `graphql-transport-ws` to the letter, its limits, and whatever else is sent.

Faults 16 and 19 of docs/reliability.md.
"""

from __future__ import annotations

import asyncio
import gc
import socket as sockets
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, suppress
from typing import Any

import httpx2
import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus

from graph.database.turns import Patience
from graph.observations import RequestShed
from graph.observations import listening as hearing
from graph.operations.persisted import hash_of
from graph.serve.admission import FEW
from graph.serve.requests import Asked
from graph.settings import Settings
from tests.conftest import Ask, asking
from tests.sockets import NEVER, PATIENCE, Listening, Peer, handshake, listening, request, until
from tests.subscribers import PROTOCOL, Socket, socket
from tests.unhurried import unhurried

CREATE = """mutation ($name: String!) {
  createCustomer(input: {name: $name, email: "ada@example.org"}) { customer { name } errors { code } }
}"""

FOLLOW = "subscription ($types: [ChangedType!]) { changes(types: $types) { cursor } }"


@pytest.fixture
async def ask(empty_url: str) -> AsyncIterator[Ask]:
    async with asking(unhurried(empty_url, init_timeout_seconds=NEVER, max_socket_operations=3)) as asker:
        yield asker


@pytest.fixture
def gate(ask: Ask, monkeypatch: pytest.MonkeyPatch) -> asyncio.Event:
    """What mutations wait for before they begin."""
    gate, engine = asyncio.Event(), ask.app.state.engine
    around = engine.around

    async def held(*arguments: Any) -> Any:
        await gate.wait()
        return await around(*arguments)

    monkeypatch.setattr(engine, "around", held)
    return gate


@pytest.fixture
async def server(ask: Ask) -> AsyncIterator[Listening]:
    async with listening(ask.app, max_message_bytes=1_000) as server:
        yield server
        await until(lambda: ask.app.state.streams.open == 0)


@pytest.fixture
async def ready(server: Listening) -> AsyncIterator[Socket]:
    async with socket(server.port) as client:
        yield await client.init()


async def test_queries_and_mutations_run_over_a_socket_each_on_its_own(ready: Socket) -> None:
    assert ready.connection.subprotocol == PROTOCOL
    await ready.subscribe("1", CREATE, variables={"name": "Ada"})
    assert await ready.hears("1") == {"data": {"createCustomer": {"customer": {"name": "Ada"}, "errors": []}}}
    assert await ready.hear() == {"type": "complete", "id": "1"}
    await ready.subscribe("1", "query A { a: __typename } query B { customers { nodes { name } } }", operationName="B")
    assert await ready.hears("1") == {"data": {"customers": {"nodes": [{"name": "Ada"}]}}}
    assert await ready.hear() == {"type": "complete", "id": "1"}


@pytest.mark.parametrize(
    ("query", "code"),
    [
        ("{", "GRAPHQL_PARSE_FAILED"),
        ("{ nothing }", "GRAPHQL_VALIDATION_FAILED"),
        ('{ order(by: {id: "x", number: "y"}) { id } }', "BAD_USER_INPUT"),
        ("{ customers(first: 1000) { nodes { id } } }", "BAD_USER_INPUT"),
    ],
)
async def test_what_does_not_run_is_an_error_of_the_operation_and_its_id_is_free_again(
    ready: Socket, query: str, code: str
) -> None:
    for _ in range(2):
        await ready.subscribe("1", query)
        message = await ready.hear()
        assert (message["type"], message["id"]) == ("error", "1")
        assert [error["extensions"]["code"] for error in message["payload"]] == [code]
    await ready.subscribe("1", "{ __typename }")
    assert await ready.hears("1") == {"data": {"__typename": "Query"}}


async def test_a_document_may_be_named_instead_of_sent(ready: Socket, ask: Ask) -> None:
    text = f"{{ __typename }} # {ask.app.state.engine.dialect.name}"
    name = hash_of(text)
    await ready.say("subscribe", id="1", payload={"documentId": name})
    message = await ready.hear()
    assert (message["type"], message["payload"][0]["message"]) == ("error", "PersistedQueryNotFound")
    for payload in ({"query": text, "extensions": {"persistedQuery": {"version": 1, "sha256Hash": name}}}, {"documentId": name}):
        await ready.say("subscribe", id="1", payload=payload)
        assert await ready.hears("1") == {"data": {"__typename": "Query"}}
        assert await ready.hear() == {"type": "complete", "id": "1"}


async def test_a_failure_shows_no_insides(ready: Socket, ask: Ask, monkeypatch: pytest.MonkeyPatch) -> None:
    async def broken(*_: Any, **__: Any) -> None:
        raise RuntimeError("secret")

    monkeypatch.setattr(ask.app.state.engine, "run", broken)
    await ready.subscribe("1", "{ __typename }")
    message = await ready.hear()
    assert message["type"] == "error"
    assert message["payload"][0]["extensions"]["code"] == "INTERNAL_SERVER_ERROR"
    assert "secret" not in str(message)


async def test_pings_are_answered_and_pongs_are_taken(server: Listening) -> None:
    async with socket(server.port) as client:
        await client.say("ping")
        assert await client.hear() == {"type": "pong"}
        await client.say("pong", payload={"at": 1})
        for payload in ('{"at":[1]}', '{"at":1.5}', '{"at":1e999}', f'{{"at":{"9" * 30}}}', '{"at":"\\ud800"}'):
            await client.send(f'{{"type":"ping","payload":{payload}}}')
            assert await client.hear() == {"type": "pong"}


SUBSCRIBE = {"type": "subscribe", "id": "1", "payload": {"query": "{ __typename }"}}


@pytest.mark.parametrize(
    ("message", "code"),
    [
        ("", 4400),
        ("null", 4400),
        ("[]", 4400),
        ("[" * 500, 4400),
        ('{"type":"ping"', 4400),
        ('{"type":NaN}', 4400),
        ("{}", 4400),
        ({"type": "start"}, 4400),
        ({"type": []}, 4400),
        ({"type": "ping", "payload": 1}, 4400),
        ({"type": "pong", "payload": "x"}, 4400),
        ({"type": "connection_init", "payload": []}, 4400),
        ({"type": "complete"}, 4400),
        ({"type": "complete", "id": 7}, 4400),
        ({**SUBSCRIBE, "id": ""}, 4400),
        ({**SUBSCRIBE, "id": None}, 4400),
        ({**SUBSCRIBE, "id": "x" * 256}, 4400),
        ('{"type":"subscribe","id":"\\ud800","payload":{"query":"{ __typename }"}}', 4400),
        ({**SUBSCRIBE, "payload": None}, 4400),
        ({**SUBSCRIBE, "payload": {"query": 1}}, 4400),
        ({**SUBSCRIBE, "payload": {"query": "{a}", "variables": []}}, 4400),
        (b'{"type":"ping"}', 4400),
        (b"\xff", 4400),
        ("x" * 1_001, 1009),
        (SUBSCRIBE, 4401),
    ],
)
async def test_what_is_no_message_closes_the_socket_with_the_protocols_code(server: Listening, message: Any, code: int) -> None:
    async with socket(server.port) as client:
        await client.send(message)
        assert (await client.closed())[0] == code


async def begun(server: Listening, stack: AsyncExitStack) -> Socket:
    """One that began in time; where the machine stands still it is another one's turn to try."""
    while True:
        client = await stack.enter_async_context(socket(server.port))
        with suppress(ConnectionClosed):
            return await client.init()


async def test_who_does_not_begin_in_time_is_closed(empty_url: str) -> None:
    settings = Settings(database_url=empty_url, init_timeout_seconds=0.3)
    async with asking(settings) as ask, listening(ask.app) as server, AsyncExitStack() as stack:
        client = await stack.enter_async_context(socket(server.port))
        with suppress(ConnectionClosed):
            async with asyncio.timeout(PATIENCE):
                while True:  # whatever else it says meanwhile
                    await client.say("ping")
                    await asyncio.sleep(0.02)
        assert await client.closed() == (4408, "Connection initialisation timeout")
        client = await begun(server, stack)
        await asyncio.sleep(0.5)
        await client.say("ping")
        assert await client.hear() == {"type": "pong"}


async def test_who_begins_twice_is_closed(ready: Socket) -> None:
    await ready.say("connection_init")
    assert await ready.closed() == (4429, "Too many initialisation requests")


async def test_an_id_that_is_taken_closes_the_socket_however_long_it_is(server: Listening, gate: asyncio.Event) -> None:
    name = "é" * 255
    async with socket(server.port) as client:
        await client.init()
        await client.subscribe(name, CREATE, variables={"name": "Ada"})
        await client.subscribe(name, "{ __typename }")
        code, reason = await client.closed()
        gate.set()
        assert code == 4409
        assert reason.startswith("Subscriber for éé")


@pytest.mark.parametrize("protocol", ["graphql-ws", "mqtt"])
async def test_another_subprotocol_is_not_spoken(server: Listening, protocol: str) -> None:
    async with socket(server.port, protocol) as client:
        assert client.connection.subprotocol is None
        assert await client.closed() == (4406, "Subprotocol not acceptable")
    async with socket(server.port, protocol, PROTOCOL) as client:
        await client.init()


async def test_pages_of_other_origins_are_kept_out(empty_url: str) -> None:
    settings = Settings(database_url=empty_url, cors_origins=("https://shop.example", "http://b.example"))
    async with asking(settings) as ask, listening(ask.app) as server:
        for origin in ("https://shop.example", "http://b.example", f"http://127.0.0.1:{server.port}"):
            async with socket(server.port, origin=origin) as client:
                await client.init()
        for origin in ("https://evil.example", "null", "https://shop.example.evil", "http://127.0.0.1"):
            with pytest.raises(InvalidStatus) as refusal:
                async with socket(server.port, origin=origin):
                    pass
            assert refusal.value.response.status_code == 403
            assert b"FORBIDDEN" in (refusal.value.response.body or b"")
            assert b"ORDERGRAPH_CORS_ORIGINS" in (refusal.value.response.body or b"")
            assert "x-request-id" in refusal.value.response.headers


async def test_one_socket_too_many_is_refused_at_the_handshake_and_let_in_once_there_is_room(empty_url: str) -> None:
    async with asking(Settings(database_url=empty_url, max_streams=2)) as ask, listening(ask.app) as server:
        async with socket(server.port) as one, socket(server.port):
            await one.init()
            with pytest.raises(InvalidStatus) as refusal:
                async with socket(server.port):
                    pass
            assert refusal.value.response.status_code == 503
            assert refusal.value.response.headers["retry-after"] == "1"
        await until(lambda: ask.app.state.streams.open == 0)
        async with socket(server.port) as one:
            await one.init()


async def test_only_so_many_operations_run_on_a_socket(ready: Socket, ask: Ask, gate: asyncio.Event) -> None:
    most = ask.app.state.database.settings.max_socket_operations
    for number in range(most + 1):
        await ready.subscribe(f"{number}", CREATE, variables={"name": f"{number}"})
    refusal = await ready.hear()
    assert (refusal["type"], refusal["id"]) == ("error", f"{most}")
    assert refusal["payload"][0]["extensions"]["code"] == "TOO_MANY_OPERATIONS"
    assert refusal["payload"][0]["extensions"]["limit"] == most
    gate.set()
    ended = [await ready.hear() for _ in range(2 * most)]
    assert sorted(message["type"] for message in ended) == ["complete"] * most + ["next"] * most
    await ready.subscribe("0", "{ __typename }")
    assert await ready.hears("0") == {"data": {"__typename": "Query"}}


async def test_who_is_turned_away_under_load_is_told_so_for_his_operation_alone(
    ready: Socket, ask: Ask, monkeypatch: pytest.MonkeyPatch
) -> None:
    admission = ask.app.state.admission
    await ready.subscribe("follows", FOLLOW, variables={"types": ["Customer"]})
    await until(lambda: ask.app.state.hub.members and not admission.working)  # who waits for events is no load
    told: list[RequestShed] = []
    with monkeypatch.context() as crowded, hearing(RequestShed, told.append):
        crowded.setattr(admission, "admits", lambda: False)
        for query in ("{ __typename }", CREATE, "{"):
            await ready.subscribe("1", query, variables={"name": "Ada"})
            message = await ready.hear()
            assert (message["type"], message["id"]) == ("error", "1")
            extensions = message["payload"][0]["extensions"]
            assert (extensions["code"], extensions["retryAfter"]) == ("SERVICE_UNAVAILABLE", 1)
    assert [(each.code, each.status) for each in told] == [("SERVICE_UNAVAILABLE", 503)] * 3
    await ready.subscribe("1", CREATE, variables={"name": "Ada"})  # it was not made before
    heard = [await ready.hear() for _ in range(3)]
    assert sorted((each["type"], each["id"]) for each in heard) == [("complete", "1"), ("next", "1"), ("next", "follows")]
    assert [each["payload"]["data"]["createCustomer"]["errors"] for each in heard if each["id"] == "1" and "payload" in each] == [
        []
    ]
    assert admission.working == 0


async def test_a_subscription_waits_for_its_turn_under_load(ready: Socket, ask: Ask, monkeypatch: pytest.MonkeyPatch) -> None:
    admission, settings = ask.app.state.admission, ask.app.state.database.settings
    answers = [False] * 8
    monkeypatch.setattr(admission, "admits", lambda: answers.pop() if answers else True)
    await ready.subscribe("1", FOLLOW, variables={"types": ["Customer"]})
    await until(lambda: ask.app.state.hub.members == 1)
    assert not answers
    monkeypatch.setattr(admission, "admits", lambda: False)
    monkeypatch.setattr("graph.serve.websocket.SHARE_OF_WAIT", 0.1 / settings.request_timeout_seconds)
    await ready.subscribe("2", FOLLOW, variables={"types": ["Item"]})
    message = await ready.hear()
    assert (message["type"], message["id"]) == ("error", "2")
    assert message["payload"][0]["extensions"]["code"] == "SERVICE_UNAVAILABLE"


async def test_who_was_turned_away_on_a_socket_and_asks_too_soon_waits_for_his_turn(
    ready: Socket, ask: Ask, monkeypatch: pytest.MonkeyPatch
) -> None:
    admission = ask.app.state.admission
    monkeypatch.setattr(admission, "admits", lambda: False)
    monkeypatch.setattr("graph.serve.admission.PAUSE_SECONDS", NEVER)
    monkeypatch.setattr("graph.serve.websocket.RETRY_AFTER_SECONDS", NEVER)  # whoever asks again asks too soon
    await ready.subscribe("1", "{ __typename }")
    assert (await ready.hear())["type"] == "error"
    for name in ("2", "3"):
        await ready.subscribe(name, "{ __typename }")
    await until(lambda: len(admission.early_on_sockets.waiting) == 1)  # the third is not read while the second waits
    admission.early_on_sockets.waiting.popleft()()
    message = await ready.hear()
    assert (message["type"], message["id"]) == ("error", "2")
    await until(lambda: len(admission.early_on_sockets.waiting) == 1)
    monkeypatch.setattr(admission, "admits", lambda: True)  # there is room when his turn has come
    admission.early_on_sockets.waiting.popleft()()
    assert await ready.hears("3") == {"data": {"__typename": "Query"}}


async def test_operations_on_sockets_and_requests_are_one_load(empty_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Patience, "until", 0.0)
    async with asking(Settings(database_url=empty_url)) as ask, listening(ask.app) as server, socket(server.port) as client:
        admission, engine, go = ask.app.state.admission, ask.app.state.engine, asyncio.Event()
        around, there = engine.around, list[Any]()

        async def held(*arguments: Any) -> Any:
            there.append(arguments)
            await go.wait()
            return await around(*arguments)

        monkeypatch.setattr(engine, "around", held)
        await client.init()
        for number in range(FEW):
            await client.subscribe(f"{number}", CREATE, variables={"name": "Ada"})
        await until(lambda: len(there) == FEW)
        admission.each_seconds, admission.alone_seconds = 1.0, 0.0  # as if each took so long
        await client.subscribe("late", "{ __typename }")
        assert (await client.hear())["payload"][0]["extensions"]["code"] == "SERVICE_UNAVAILABLE"
        status, body = await server.asked(request(b'{"query":"{ __typename }"}', path=b"/graphql"))
        assert (status, b"SERVICE_UNAVAILABLE" in body) == (503, True)
        assert (await server.asked(request(method=b"GET", path=b"/livez")))[0] == 200
        assert (await server.asked(request(method=b"GET", path=b"/readyz")))[0] == 200
        await client.say("ping")
        assert await client.hear() == {"type": "pong"}
        go.set()
        heard = [await client.hear() for _ in range(2 * FEW)]
        assert {each["type"] for each in heard} == {"next", "complete"}
        await until(lambda: admission.working == 0)


async def test_of_a_subscription_nothing_is_kept_that_its_document_does_not_name(ready: Socket, ask: Ask) -> None:
    mark = f"mark {ask.app.state.engine.dialect.name}"
    payload = {"query": FOLLOW, "variables": {"types": ["Item"], "unused": [mark]}, "extensions": {"unused": [mark]}}
    url = f"http://127.0.0.1:{ready.connection.remote_address[1]}/graphql"
    await ready.say("subscribe", id="1", payload=payload)
    headers = {"accept": "text/event-stream"}
    async with httpx2.AsyncClient(verify=False) as client, client.stream("POST", url, json=payload, headers=headers) as response:
        assert await anext(response.aiter_lines()) == ":"
        await until(lambda: ask.app.state.streams.open == 2)
        await ready.say("ping")  # the last message is another one
        assert await ready.hear() == {"type": "pong"}
        await until(lambda: not [each for each in gc.get_objects() if type(each) is Asked and mark in str(each.variables)])


async def test_who_changes_what_it_follows_quickly_is_not_told_that_too_much_runs(ready: Socket) -> None:
    for _ in range(50):
        await ready.subscribe("1", FOLLOW, variables={"types": ["Item"]})
        await ready.say("complete", id="1")
    await ready.subscribe("1", "{ __typename }")
    assert await ready.hears("1") == {"data": {"__typename": "Query"}}


async def test_what_writes_is_not_broken_off_by_who_leaves(ask: Ask, server: Listening, gate: asyncio.Event) -> None:
    tasks = len(asyncio.all_tasks())
    async with socket(server.port) as client:
        await client.init()
        await client.subscribe("1", CREATE, variables={"name": "Ada"})
        await client.say("complete", id="1")
        await client.subscribe("1", "{ __typename }")  # the id is free
        assert await client.hears("1") == {"data": {"__typename": "Query"}}
    gate.set()
    await until(lambda: len(asyncio.all_tasks()) <= tasks)
    assert (await ask.data("{ customers { nodes { name } } }"))["customers"]["nodes"] == [{"name": "Ada"}]


@pytest.mark.parametrize(
    ("bytes_", "status"),
    [
        (handshake(), 101),
        (handshake(b"/nowhere"), 403),
        (handshake(b"/graphql?a=\xc3\xa9"), 400),
        (handshake(b"/%ff%00"), 403),
        (handshake().replace(b"AAAAAAAAAAAAAAAAAAAAAA==", b"short"), 400),
        (handshake().replace(b"version: 13", b"version: 8"), 400),
        (handshake(b"/graphql", b"origin: \xff\xfe"), 403),
        (handshake(b"/graphql", b"sec-websocket-protocol: \xff,,;="), 400),
        (handshake().replace(b"GET", b"POST"), 405),
    ],
)
async def test_odd_handshakes_are_answered(server: Listening, bytes_: bytes, status: int, caplog: Any) -> None:
    peer = await server.connect()
    peer.send(bytes_)
    assert (await peer.head())[0] == status
    assert not [record for record in caplog.records if record.levelname == "ERROR"]


async def test_no_socket_opens_behind_a_request_that_is_not_answered(server: Listening, gate: asyncio.Event) -> None:
    body = b'{"query":"mutation { createCustomer(input: {name: \\"A\\", email: \\"a@b.org\\"}) { errors { code } } }"}'
    post = b"POST /graphql HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n%b"
    peer = await server.connect()
    peer.send(post % (len(body), body) + handshake())
    await asyncio.sleep(0.1)
    gate.set()
    assert await peer.answer() == (200, b'{"data":{"createCustomer":{"errors":[]}}}')
    assert (await peer.head())[0] == 400


async def test_pings_of_a_client_that_reads_nothing_pile_up_nowhere(ask: Ask) -> None:
    async with listening(ask.app, send_timeout_seconds=1.0) as server:
        peer = await server.connect()
        peer.writer.get_extra_info("socket").setsockopt(sockets.SOL_SOCKET, sockets.SO_RCVBUF, 4_096)
        peer.send(handshake())
        assert (await peer.head())[0] == 101
        peer.reader._transport.pause_reading()  # type: ignore[attr-defined]  # the client reads no more
        ping = b"\x89\xfd" + b"\0" * 4 + b"x" * 125
        (connection,) = [each for each in server.state.connections if hasattr(each, "writable")]
        most = await flood(peer, ping * 500, connection)
        assert most < 2**20
        await until(lambda: not server.state.connections)


async def flood(peer: Peer, data: bytes, connection: Any) -> int:
    """Send until the connection is gone; returns how much lay in the server's buffer at most."""
    most = 0
    while not connection.transport.is_closing() and not peer.writer.transport.is_closing():
        if peer.writer.transport.get_write_buffer_size() < 2**20:
            peer.send(data)
        most = max(most, connection.transport.get_write_buffer_size())
        await asyncio.sleep(0)
    return most

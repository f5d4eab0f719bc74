"""Connections that are slow, silent, huge or speak something else, each before an application that says what reached it."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import AsyncIterator
from pathlib import Path
from time import perf_counter
from typing import Any, cast

import httpx2
import pytest

from graph.database.turns import Patience
from graph.observations import RequestShed
from graph.observations import listening as hearing
from graph.operations.aside import Aside
from graph.serve.admission import ALIKE, BORNE_SECONDS, BUSY, FEW, TIMES_ALONE
from graph.serve.http1 import TOLD_BY_HEAD, BoundedProtocol
from graph.serve.listening import OPTIONS, listen
from tests.engines import Sqlite
from tests.servers import start as start_server
from tests.sockets import NEVER, PATIENCE, Listening, Peer, handshake, listening, request, until

pytestmark = pytest.mark.anyio

LIMIT = 1_000


async def echo(scope: Any, receive: Any, send: Any) -> None:
    """Answers what arrived. `/early` and `/unread` do not read a body, `/slow` and `/unread` take a while."""
    body, seen = b"", {"path": scope["path"], "names": [name.decode() for name, _ in scope["headers"]]}
    if scope["path"] not in ("/early", "/unread"):
        while True:
            message = await receive()
            if message["type"] == "http.disconnect":
                return
            body += message["body"]
            if not message["more_body"]:
                break
    if scope["path"] in ("/slow", "/unread"):
        await asyncio.sleep(0.12)
    answer = json.dumps({**seen, "method": scope["method"], "body": body.decode()}).encode()
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", str(len(answer)).encode())]})
    await send({"type": "http.response.body", "body": answer})


@pytest.fixture
async def server(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Listening]:
    """One whose clients have all the time."""
    monkeypatch.setattr("graph.serve.shedding.LINGER_SECONDS", NEVER)
    async with listening(echo, max_head_bytes=LIMIT, head_timeout_seconds=NEVER) as made:
        yield made


@pytest.fixture
async def hasty(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Listening]:
    """One whose clients have little time."""
    monkeypatch.setattr("graph.serve.shedding.LINGER_SECONDS", 0.1)
    async with listening(echo, max_head_bytes=LIMIT, head_timeout_seconds=0.3) as made:
        yield made


def connection_of(peer: Peer, server: Listening) -> Any:
    """The server's side of a connection."""
    connections = cast("set[BoundedProtocol]", server.state.connections)
    [found] = [each for each in connections if each.client == peer.writer.get_extra_info("sockname")]
    return found


def reached(answer: tuple[int, bytes]) -> tuple[str, str]:
    """Path and body of a request that reached the application."""
    status, body = answer
    assert status == 200, answer
    seen = json.loads(body)
    return seen["path"], seen["body"]


def code(answer: tuple[int, bytes]) -> tuple[int, str]:
    """Status and code of a refusal, which is JSON as all others are."""
    [error] = json.loads(answer[1])["errors"]
    assert error["extensions"]["requestId"]
    return answer[0], error["extensions"]["code"]


TOO_LARGE = (431, "HEAD_TOO_LARGE")


# ---- the head's size


def head_of(size: int, method: bytes = b"POST", path: bytes = b"/", body: bytes = b"body") -> bytes:
    """A request whose head has this many bytes."""
    empty = request(body, b"x: ", method=method, path=path)
    return request(body, b"x: " + b"y" * (size - len(empty) + len(body)), method=method, path=path)


async def test_a_head_has_a_limit_to_the_byte_however_it_arrives(server: Listening) -> None:
    for size in (LIMIT - 1, LIMIT):
        whole = head_of(size)
        assert reached(await server.asked(whole)) == ("/", "body")
        assert reached(await server.asked(whole[:LIMIT], whole[LIMIT:])) == ("/", "body")
    for size in (LIMIT + 1, 2 * LIMIT, 70 * LIMIT):
        whole = head_of(size)
        assert code(await server.asked(whole)) == TOO_LARGE
        peer = await server.connect()
        for at in range(0, len(whole), 501):
            peer.send(whole[at : at + 501])
            await asyncio.sleep(0)
        assert code(await peer.answer()) == TOO_LARGE
        assert await peer.rest() == b""


async def test_a_url_has_a_limit_to_the_byte_however_it_arrives() -> None:
    async with listening(echo, max_head_bytes=5 * LIMIT, max_url_bytes=LIMIT) as small:
        for size, fits in ((LIMIT, True), (LIMIT + 1, False), (3 * LIMIT, False)):
            whole = request(b"body", path=b"/?" + b"a" * (size - 2))
            for parts in ([whole], [whole[n : n + 100] for n in range(0, len(whole), 100)]):
                peer = await small.connect()
                peer.send(request(b"first"))
                assert reached(await peer.answer()) == ("/", "first")
                for part in parts:
                    peer.send(part)
                    await asyncio.sleep(0)
                answer = await peer.answer()
                assert reached(answer) == ("/", "body") if fits else code(answer) == (414, "URL_TOO_LONG")


async def test_the_method_query_reaches_the_application(server: Listening) -> None:
    status, body = await server.asked(request(b"body", method=b"QUERY"))
    assert (status, json.loads(body)["method"], json.loads(body)["body"]) == (200, "QUERY", "body")


@pytest.mark.parametrize("name", ["url", "name", "value", "many", "folded", "method"])
async def test_no_part_of_a_head_grows_past_the_limit(server: Listening, name: str) -> None:
    start = {
        "url": b"POST /" + b"a" * 5_000,
        "name": b"POST / HTTP/1.1\r\n" + b"a" * 5_000,
        "value": b"POST / HTTP/1.1\r\na: " + b"a" * 5_000,
        "many": b"POST / HTTP/1.1\r\n" + b"a: \r\n" * 1_000,
        "folded": b"POST / HTTP/1.1\r\na: b" + b"\r\n c" * 1_000,
        "method": b"M" * 5_000,
    }[name]
    status, error = code(await server.asked(start))
    assert (status, error) == TOO_LARGE or (name in ("folded", "method") and (status, error) == (400, "BAD_REQUEST"))


async def test_blank_lines_before_a_head_have_the_limit_too(server: Listening) -> None:
    assert reached(await server.asked(b"\r\n" * 10 + request(b"body"))) == ("/", "body")
    blank = b"\r\n" * 5 * LIMIT  # the parser takes them before anything begins
    for earlier in (b"", request(b"first")):
        peer = await server.connect()
        if earlier:
            peer.send(earlier)
            assert reached(await peer.answer()) == ("/", "first")
        peer.send(blank)
        assert code(await peer.answer()) == TOO_LARGE
        assert await peer.rest() == b""


async def test_what_frames_a_chunked_body_has_the_limit_too(server: Listening) -> None:
    head = b"POST / HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n"
    ones = b"1\r\na\r\n" * 3_000
    assert reached(await server.asked(head, ones, b"0\r\n\r\n")) == ("/", "a" * 3_000)
    for endless in (b"1;" + b"e" * 9_000, b"0\r\nx: " + b"y" * 9_000, b"0\r\n" + b"x: \r\n" * 3_000):
        assert code(await server.asked(head, endless)) == TOO_LARGE


async def test_what_stands_behind_a_chunked_body_is_no_header(server: Listening) -> None:
    head = b"POST / HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n"
    status, body = await server.asked(head, b"1\r\na\r\n0\r\nx-request-id: forged\r\n\r\n")
    assert status == 200
    assert json.loads(body)["names"] == ["host", "transfer-encoding"]


async def test_each_request_of_a_connection_has_the_whole_limit(server: Listening) -> None:
    peer = await server.connect()
    for _ in range(3):
        peer.send(head_of(LIMIT) + head_of(LIMIT - 1))
        assert [reached(await peer.answer()) for _ in range(2)] == [("/", "body")] * 2
    peer.send(request(b"b" * 5_000) + head_of(LIMIT) + head_of(9 * LIMIT))
    assert reached(await peer.answer()) == ("/", "b" * 5_000)
    assert reached(await peer.answer()) == ("/", "body")
    assert code(await peer.answer()) == TOO_LARGE
    assert await peer.rest() == b""


# ---- time


async def closes(peer: Peer) -> None:
    assert await peer.rest() == b""


async def test_a_client_that_says_nothing_is_closed_without_a_word(hasty: Listening) -> None:
    peers = [await hasty.connect() for _ in range(20)]
    await asyncio.gather(*(closes(peer) for peer in peers))


async def test_a_slow_head_is_refused_however_it_is_fed(hasty: Listening) -> None:
    async def drip(start: bytes, more: bytes, told: bool, kept: bool) -> None:
        peer = await hasty.connect(request() if kept else start)
        if kept:
            await peer.answer()
            peer.send(start)
        answered = asyncio.create_task(peer.answer() if told else closes(peer))
        while not answered.done():
            peer.send(more)
            await asyncio.sleep(0.02)
        if found := await answered:
            assert code(found) == (408, "REQUEST_TIMEOUT")
            await closes(peer)

    ways = [
        (b"POST / HTTP/1.1\r\n", b"a: b\r\n", True),
        (b"POST / HTTP/1.1\r\na:", b"b", True),
        (b"P", b"", True),
        (b"\r\n", b"\r\n", False),  # which a server passes over before a request
    ]
    await asyncio.gather(*(drip(*way, kept) for way in ways for kept in (False, True)))


async def test_who_was_answered_early_may_not_send_for_ever(hasty: Listening) -> None:
    peer = await hasty.connect(request(b"a" * 1_000, path=b"/early")[:-900])
    assert reached(await peer.answer()) == ("/early", "")
    while not peer.gone:  # closed before 900 bytes came
        peer.send(b"a")
        await asyncio.sleep(0.02)
    await closes(peer)


async def test_who_sends_the_rest_of_an_answered_request_goes_on(server: Listening) -> None:
    begun = request(b"a" * 1_000, path=b"/early")[:-900]
    peer = await server.connect()
    for _ in range(2):
        peer.send(begun)
        assert reached(await peer.answer()) == ("/early", "")
        peer.send(b"a" * 900 + request(b"next"))
        assert reached(await peer.answer()) == ("/", "next")
    async with listening(echo, idle_seconds=0.1, head_timeout_seconds=NEVER) as other:
        peer = await other.connect(begun)
        assert reached(await peer.answer()) == ("/early", "")
        peer.send(b"a" * 900)
        await closes(peer)  # as one who says nothing more


async def test_a_client_that_waits_for_its_answer_is_not_hurried(hasty: Listening) -> None:
    """The head's time is no limit to the answer, nor to a request of which the rest is not read yet."""
    for path in (b"/slow", b"/unread"):
        peer = await hasty.connect(request(path=path) * 3)
        assert [reached(await peer.answer()) for _ in range(3)] == [(path.decode(), "")] * 3
    peer.send(request(path=path) * 3 + request(path=path)[:20])
    await until(lambda: connection_of(peer, hasty).flow.read_paused)
    peer.send(request(path=path)[20:])
    assert [reached(await peer.answer()) for _ in range(4)] == [(path.decode(), "")] * 4


async def test_what_came_before_a_bad_request_is_answered_first(server: Listening) -> None:
    for bad in (b"NONSENSE\r\n\r\n", b"POST / HTTP/1.1\r\na: " + b"b" * 2_000):
        peer = await server.connect()
        peer.send(request(b"1", path=b"/slow") + request(b"2", path=b"/slow") + bad)
        assert [reached(await peer.answer()) for _ in range(2)] == [("/slow", "1"), ("/slow", "2")]
        assert (await peer.answer())[0] in (400, 431)
        await closes(peer)


# ---- number


async def test_where_there_is_no_room_the_longest_silent_gives_way(monkeypatch: pytest.MonkeyPatch) -> None:
    go = asyncio.Event()
    monkeypatch.setattr("graph.serve.http1.NO_ROOM_SECONDS", NEVER)
    monkeypatch.setattr("graph.serve.shedding.LINGER_SECONDS", 0.1)

    async def app(scope: Any, receive: Any, send: Any) -> None:
        if scope["path"] == "/busy":
            await go.wait()
        await echo(scope, receive, send)

    async with listening(app, max_connections=4, head_timeout_seconds=NEVER) as server:

        async def until_open(number: int) -> None:
            await until(lambda: len(server.state.connections) == number)

        silent = [await server.connect() for _ in range(4)]
        silent[0].send(b"POST / HTTP/1.1\r\na:")
        silent[1].send(request(b"body")[:-1])
        for _ in range(20):
            silent.append(await server.connect())
            silent[-1].send(request())
            await silent[-1].answer()
            await closes(silent.pop(0))
            assert len(server.state.connections) <= 5
        busy = [await server.connect() for _ in range(4)]
        for peer in busy:
            peer.send(request(b"body", path=b"/busy"))
        for peer in silent:
            await closes(peer)
        await until(lambda: len(server.state.tasks) == 4)
        refused = (503, "SERVICE_UNAVAILABLE")
        assert code(await server.asked(request(b"body" * 10_000))) == refused
        assert code(await server.asked(b"GET /livez HTTP/1.1\r\nhost:", b" x\r\n\r\n")) == refused
        assert code(await server.asked(handshake())) == refused
        assert code(await server.asked(head_of(70_000))) == TOO_LARGE
        assert code(await server.asked(b"\x16\x03\x01")) == (400, "BAD_REQUEST")
        await until_open(4)
        waiting = [await server.connect() for _ in range(TOLD_BY_HEAD)]
        await until_open(4 + TOLD_BY_HEAD)
        assert code(await server.asked()) == refused  # so many are not waited for
        for peer in waiting:
            await peer.close()
        await until_open(4)
        monkeypatch.setattr("graph.serve.http1.NO_ROOM_SECONDS", 0.05)
        for peer in [await server.connect(said) for said in (b"POST / HTTP/1.1\r\na:", b"", b"")]:
            assert code(await peer.answer()) == refused  # those who say nothing in time
            await closes(peer)
        go.set()
        assert [reached(await peer.answer()) for peer in busy] == [("/busy", "body")] * 4


async def test_descriptors_are_not_exhausted(sqlite_engines: Sqlite, tmp_path: Path) -> None:
    """A server that may open 160 files, before 300 connections that say nothing, or never end their heads."""
    url = sqlite_engines.new("empty")
    served = await start_server(url, tmp_path, descriptors=160)
    opened: list[Any] = []
    try:
        async with httpx2.AsyncClient(verify=False, timeout=PATIENCE) as client:
            for start in (b"", b"POST / HTTP/1.1\r\na:"):
                for _ in range(300):
                    opened.append((await asyncio.open_connection("127.0.0.1", served.port))[1])
                    opened[-1].write(start)
                answer = await client.post(f"{served.url}/graphql", json={"query": "{ items { totalCount } }"})
                assert answer.json() == {"data": {"items": {"totalCount": 0}}}
    finally:
        served.kill()
        for writer in opened:
            writer.transport.abort()
        sqlite_engines.drop(url)
    assert "Too many open files" not in (tmp_path / f"server-{served.port}.log").read_text()


def test_connections_notice_that_their_client_is_gone() -> None:
    [listener] = listen("127.0.0.1", 0)
    with listener, socket.create_connection(listener.getsockname()), listener.accept()[0] as taken:
        assert taken.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
        for level, option, value in OPTIONS[1:]:
            if hasattr(socket, option):
                assert taken.getsockopt(level, getattr(socket, option)) == value


# ---- load


async def test_who_would_wait_too_long_is_refused_at_once_and_only_he(monkeypatch: pytest.MonkeyPatch) -> None:
    go = asyncio.Event()
    monkeypatch.setattr(Patience, "until", 0.0)
    for name in ("BURST_SECONDS", "CALM_SECONDS"):
        monkeypatch.setattr(f"graph.serve.admission.{name}", NEVER)

    async def app(scope: Any, receive: Any, send: Any) -> None:
        if scope["path"] == "/graphql/busy":
            await go.wait()
        await echo(scope, receive, send)

    async with listening(app, pool_timeout_seconds=0.5, head_timeout_seconds=NEVER) as server:
        admission = server.protocol.admission
        served, refused = ("/graphql", ""), (503, "SERVICE_UNAVAILABLE")

        async def asked(each_seconds: float, alone_seconds: float = 0.0) -> tuple[int, bytes]:
            admission.each_seconds, admission.alone_seconds = each_seconds, alone_seconds
            return await server.asked(request(path=b"/graphql"))

        half_sent = [await server.connect() for _ in range(FEW)]
        for peer in half_sent:  # who is not done sending keeps nobody waiting
            peer.send(request(b"body", path=b"/graphql")[:-1])
        busy = [await server.connect() for _ in range(FEW)]
        for peer in busy[1:]:
            peer.send(request(b"body", path=b"/graphql/busy"))
        await until(lambda: admission.working == FEW - 1)
        assert reached(await asked(1.0)) == served  # so few are no crowd
        busy[0].send(request(b"body", path=b"/graphql/busy"))
        await until(lambda: admission.working == FEW)
        assert reached(await asked(0.01)) == served  # a burst
        assert code(await asked(1.0)) == refused  # too long a line
        assert Patience.until > perf_counter()
        assert code(await asked(0.01)) == refused  # no burst so soon
        assert reached(await asked(BORNE_SECONDS / FEW)) == served  # next to no wait
        assert reached(await asked(0.01, alone_seconds=0.4 / TIMES_ALONE)) == served  # next to no wait for so slow requests
        monkeypatch.setattr(Aside, "requests", FEW - BUSY)  # who waits for something else
        assert reached(await asked(1.0, alone_seconds=0.1)) == served  # before whom are others of another kind
        assert code(await asked(1.0, alone_seconds=1.1 / ALIKE)) == refused
        monkeypatch.setattr(Aside, "requests", FEW - BUSY + 1)
        assert reached(await asked(1.0, alone_seconds=1.1 / ALIKE)) == served  # so few keep a process busy
        monkeypatch.setattr(Aside, "requests", 0)
        assert admission.working == FEW
        go.set()
        assert {reached(await peer.answer()) for peer in busy} == {("/graphql/busy", "body")}
        await until(lambda: admission.working == 0)
        assert reached(await asked(1.0)) == served  # nobody is before
    assert admission.working == 0


async def test_what_stands_behind_a_request_on_its_connection_keeps_nobody_else_waiting() -> None:
    go, gone = asyncio.Event(), asyncio.Event()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        if scope["path"] == "/graphql/left":
            while (await receive())["type"] != "http.disconnect":
                pass
            gone.set()
            return
        await go.wait()
        await echo(scope, receive, send)

    async with listening(app) as server:
        admission, connections = server.protocol.admission, cast("set[BoundedProtocol]", server.state.connections)
        peer, leaving = await server.connect(), await server.connect()
        peer.send(request(path=b"/graphql") * 100)
        leaving.send(request(path=b"/graphql/left") + request(path=b"/graphql") * 100)
        await until(lambda: sorted(each.unanswered for each in connections) == [100, 101])
        assert admission.working == 2
        await leaving.close()  # of which the one that runs hears
        async with asyncio.timeout(PATIENCE):
            await gone.wait()
        await until(lambda: admission.working == 1)
        go.set()
        for _ in range(100):
            assert reached(await peer.answer()) == ("/graphql", "")
        await until(lambda: admission.working == 0)


@pytest.mark.parametrize(("size", "number"), [(2**24, 1), (2**15, 512)])
async def test_who_does_not_read_keeps_nobody_else_waiting(size: int, number: int) -> None:
    """An answer that is larger than what is on its way in buffers, or many that are small."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", str(size).encode())]})
        for sent in range(2**15, size + 1, 2**15):
            await send({"type": "http.response.body", "body": b"x" * 2**15, "more_body": sent < size})

    async with listening(app) as server:
        admission, peer = server.protocol.admission, await server.connect()
        peer.reader._transport.pause_reading()  # type: ignore[attr-defined]  # the stream would read ahead
        peer.send(request(path=b"/graphql") * number)
        await until(lambda: Aside.requests == 1)
        assert admission.working == 1
        peer.reader._transport.resume_reading()  # type: ignore[attr-defined]  # it reads at last
        for _ in range(number):
            assert len((await peer.answer())[1]) == size
        assert (admission.working, Aside.requests) == (0, 0)


async def test_who_is_turned_away_is_told_by_his_head_and_when_he_may_come_back(monkeypatch: pytest.MonkeyPatch) -> None:
    refused = (503, "SERVICE_UNAVAILABLE")
    async with listening(echo, max_head_bytes=LIMIT) as server:
        monkeypatch.setattr(server.protocol.admission, "admits", lambda: False)
        whole = request(b"body", path=b"/graphql")
        told: list[RequestShed] = []
        with hearing(RequestShed, told.append):
            assert code(await server.asked(whole[:-4])) == refused  # the body is not waited for
            assert code(await server.asked(request(b"body", b"origin: http://a.example", path=b"/graphql"))) == refused
        assert [(each.code, each.status) for each in told] == [("SERVICE_UNAVAILABLE", 503)] * 2
        for method in (b"POST", b"GET"):
            assert code(await server.asked(request(b"body", method=method, path=b"/graphql?query=x"))) == refused
        assert code(await server.asked(request(b"body" * 50_000, path=b"/graphql"))) == refused
        last = await server.connect()
        last.send(request(b"body", b"connection: close", path=b"/graphql"))
        assert code(await last.answer()) == refused
        assert await last.rest() == b""
        head = await server.connect()
        head.send(request(method=b"HEAD", path=b"/graphql"))
        assert (await head.head())[0] == 503
        behind = await server.connect()  # what is answered before keeps its place
        behind.send(request(b"first", path=b"/slow") + whole + request(b"last", path=b"/livez"))
        assert reached(await behind.answer()) == ("/slow", "first")
        assert code(await behind.answer()) == refused
        assert reached(await behind.answer()) == ("/livez", "last")


async def test_who_was_turned_away_and_comes_back_too_soon_waits_for_his_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    refused, whole = (503, "SERVICE_UNAVAILABLE"), request(b"body", path=b"/graphql")
    monkeypatch.setattr("graph.serve.shedding.RETRY_AFTER_SECONDS", NEVER)  # whoever comes back comes too soon
    async with listening(echo) as server:
        admission = server.protocol.admission
        monkeypatch.setattr(admission, "admits", lambda: False)
        peer = await server.connect()
        peer.send(whole[:-4])
        status, headers = await peer.head()
        assert (status, headers["retry-after"], headers.get("connection")) == (503, "1", None)
        await peer.reader.readexactly(int(headers["content-length"]))
        peer.send(b"body")
        peer.send(whole)  # too soon: he is told when his turn comes
        peer.send(request(path=b"/livez"))
        for _ in range(5):
            peer.send(whole)
        assert code(await peer.answer()) == refused
        assert reached(await peer.answer()) == ("/livez", "")
        for _ in range(5):
            assert code(await peer.answer()) == refused
        ids = {json.loads((await server.asked(whole))[1])["errors"][0]["extensions"]["requestId"] for _ in range(3)}
        assert len(ids) == 3
        gone, wrong, kept = [await server.connect() for _ in range(3)]
        for each in (gone, wrong, kept):
            each.send(whole)
            assert code(await each.answer()) == refused
        gone.send(whole)
        await gone.close()  # does not wait to be told
        wrong.send(whole.replace(b"content-length: 4", b"transfer-encoding: chunked"))  # whose body is no chunk
        assert code(await wrong.answer()) == refused
        assert code(await wrong.answer()) == (400, "BAD_REQUEST")
        await until(lambda: not admission.early.waiting)
        monkeypatch.setattr("graph.serve.admission.PAUSE_SECONDS", 60)
        kept.send(whole)
        connection = connection_of(kept, server)
        await until(lambda: connection.owed)
        connection.shutdown()  # a server that ends tells him now
        assert code(await kept.answer()) == refused
        assert await kept.rest() == b""
        assert admission.working == 0


async def test_who_waits_to_be_told_that_he_came_too_soon_is_not_cut_off_for_being_slow(monkeypatch: pytest.MonkeyPatch) -> None:
    """He is not read meanwhile, so that his body is not there yet is no fault of his."""
    refused, whole = (503, "SERVICE_UNAVAILABLE"), request(b"body", path=b"/graphql")
    monkeypatch.setattr("graph.serve.shedding.RETRY_AFTER_SECONDS", NEVER)
    monkeypatch.setattr("graph.serve.admission.PAUSE_SECONDS", NEVER)
    async with listening(echo, head_timeout_seconds=0.05) as server:
        admission = server.protocol.admission
        monkeypatch.setattr(admission, "admits", lambda: False)
        peer = await server.connect()
        peer.send(whole)
        assert code(await peer.answer()) == refused
        peer.send(whole[:-4])
        connection = connection_of(peer, server)
        await until(lambda: connection.owed)
        timer = connection.timer
        await until(lambda: connection.timer is not timer)
        assert not connection.transport.is_closing()
        (tell,) = admission.early.waiting
        tell()
        assert code(await peer.answer()) == refused


# ---- other protocols


H2C = (b"connection: Upgrade, HTTP2-Settings", b"upgrade: h2c", b"http2-settings: AAMAAABkAAQAoAAAAAIAAAAA")


@pytest.mark.parametrize(
    "offer", [H2C, (b"connection: upgrade", b"upgrade: whatever/1.0"), (b"upgrade: h2c", b"connection: upgrade")]
)
async def test_an_offer_of_another_protocol_is_answered_as_it_is(server: Listening, offer: tuple[bytes, ...]) -> None:
    whole = request(b"body", *offer)
    chunked = whole.replace(b"content-length: 4", b"transfer-encoding: chunked")[:-4] + b"4\r\nbody\r\n0\r\n\r\n"
    for sent in (whole, chunked):
        assert reached(await server.asked(sent)) == ("/", "body")
        assert reached(await server.asked(*(sent[n : n + 1] for n in range(len(sent))))) == ("/", "body")
        peer = await server.connect()
        peer.send(sent + sent + request(b"plain"))
        assert [reached(await peer.answer()) for _ in range(3)] == [("/", "body"), ("/", "body"), ("/", "plain")]
    assert reached(await server.asked(request(b"", *offer, method=b"GET", path=b"/get"))) == ("/get", "")


async def test_a_request_names_one_host(server: Listening) -> None:
    for method in (b"GET / HTTP/1.1\r\n", b"GET / HTTP/1.0\r\n"):
        for hosts in (0, 1, 2):
            answer = await server.asked(method + b"Host: x\r\n" * hosts + b"connection: close\r\n\r\n")
            fits = hosts == 1 or (not hosts and b"1.0" in method)
            assert reached(answer) == ("/", "") if fits else code(answer) == (400, "BAD_REQUEST")
    upgrade = b"GET / HTTP/1.1\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n"
    assert code(await server.asked(upgrade)) == (400, "BAD_REQUEST")


async def test_a_url_that_names_a_host_is_taken_at_its_word() -> None:
    """As a proxy or a cache before the server does, whatever `Host` says; and it passes nothing that its path would not."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        hosts = b",".join(value for name, value in scope["headers"] if name == b"host").decode()
        await echo({**scope, "path": f"{hosts} {scope['path']} {scope['query_string'].decode()}"}, receive, send)

    async with listening(app, pool_timeout_seconds=0.5) as server:
        for url, wanted in (
            (b"http://other.example:81/a?b=c://d/e", "other.example:81 /a b=c://d/e"),
            (b"HTTPS://other.example", "other.example / "),
            (b"http://[::1]:80?a", "[::1]:80 / a"),
            (b"/a?http://other.example/", "x /a http://other.example/"),
        ):
            assert reached(await server.asked(request(b"", path=url))) == (wanted, "")
        for url in (b"http://me@other.example/", b"http:///a", b"ftp://other.example/", b"other.example/a"):
            assert code(await server.asked(request(b"", path=url))) == (400, "BAD_REQUEST")
        old = b"GET http://other.example/a HTTP/1.0\r\nconnection: close\r\n\r\n"
        assert reached(await server.asked(old)) == ("other.example /a ", "")
        server.protocol.admission.admits = lambda: False  # type: ignore[method-assign]  # overloaded, from now on
        for url in (b"/graphql", b"http://other.example/graphql"):
            assert code(await server.asked(request(b"", path=url))) == (503, "SERVICE_UNAVAILABLE")


async def test_what_is_no_http_and_no_request_for_us_is_refused(server: Listening) -> None:
    for nonsense in (
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"\x16\x03\x01\x02\x00",
        b"POST / HTTP/1.1\r\na b: c\r\n\r\n",
        b"\x00" * 50,
    ):
        assert code(await server.asked(nonsense)) == (400, "BAD_REQUEST")
    answer = await server.asked(b"CONNECT example.org:443 HTTP/1.1\r\nhost: example.org:443\r\n\r\n")
    assert code(answer) == (405, "METHOD_NOT_ALLOWED")

"""Browsers: pages of other origins, names of the host, pages of the server's own, a production that shows nothing."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import Any

import httpx2
import pytest
from click.testing import CliRunner
from starlette.responses import PlainTextResponse

from graph.__main__ import main
from graph.serve import hosts
from graph.serve.app import create_app
from graph.serve.browsers import EXPOSED, may_open, page_headers
from graph.serve.turned_away import NO_ROOM, answer_refusal
from graph.settings import Settings
from tests.conftest import Ask
from tests.sockets import NEVER, listening, request, until
from tests.subscribers import socket
from tests.words import code

AskWith = Callable[..., AbstractAsyncContextManager[Ask]]

SHOP, EVIL = "https://shop.example", "https://evil.example"
COUNT = {"query": "{ items { totalCount } }"}
CREATE = {"query": 'mutation { createItem(input: {sku: "A", name: "A", price: "1"}) { item { sku } } }'}
PREFLIGHT = {"access-control-request-method": "POST", "access-control-request-headers": "content-type,x-client"}


def cors(answer: Any) -> dict[str, str]:
    """What an answer's head says to browsers of other origins."""
    return {name: value for name, value in answer.headers.items() if name.startswith("access-control-")}


async def test_a_page_of_another_origin_is_told_nothing_unless_it_is_named(ask: Ask) -> None:
    for headers in ({"origin": SHOP}, {"origin": SHOP, **PREFLIGHT}):
        answer = await ask.client.options("/graphql", headers=headers)
        assert cors(answer) == {}
    answer = await ask.client.post("/graphql", json=COUNT, headers={"origin": SHOP})
    assert cors(answer) == {}


async def test_pages_of_named_origins_may_call_and_no_others(ask_with: AskWith) -> None:
    async with ask_with(cors_origins=(SHOP,)) as ask:
        for origin, status in ((SHOP, 200), (EVIL, 400), ("null", 400), (SHOP.upper(), 400), (f"{SHOP}.evil.example", 400)):
            answer = await ask.client.options("/graphql", headers={"origin": origin, **PREFLIGHT})
            assert answer.status_code == status
            assert answer.headers.get("access-control-allow-origin") == (SHOP if status == 200 else None)
        assert "access-control-allow-credentials" not in answer.headers
        for method in ("QUERY", "GET", "DELETE"):
            answer = await ask.client.options(
                "/graphql", headers={"origin": SHOP, **PREFLIGHT, "access-control-request-method": method}
            )
            assert answer.status_code == (400 if method == "DELETE" else 200)
        assert answer.headers["access-control-allow-headers"] == "content-type,x-client"
        for body, status in ((COUNT, 200), ({"query": "{"}, 400)):
            answer = await ask.client.post("/graphql", json=body, headers={"origin": SHOP})
            assert answer.status_code == status
            assert cors(answer) == {
                "access-control-allow-origin": SHOP,
                "access-control-expose-headers": ", ".join(EXPOSED),
            }
            assert "Origin" in answer.headers["vary"]
        assert cors(await ask.client.get("/schema.graphql", headers={"origin": SHOP}))["access-control-allow-origin"] == SHOP


async def test_a_form_of_any_page_writes_nothing(ask_with: AskWith) -> None:
    """Fault 16: what a browser sends without asking first is no JSON, or a GET."""
    async with ask_with(cors_origins=(SHOP,), cors_credentials=True) as ask:
        for origin in (SHOP, EVIL):
            for media in ("text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x"):
                headers = {"origin": origin, "content-type": media}
                answer = await ask.client.post("/graphql", json=CREATE, headers=headers)
                assert (answer.status_code, code(answer.json())) == (415, "UNSUPPORTED_MEDIA_TYPE")
            answer = await ask.client.get("/graphql", params=CREATE, headers={"origin": origin})
            assert (answer.status_code, code(answer.json())) == (405, "METHOD_NOT_ALLOWED")
        assert await ask.data(COUNT["query"]) == {"items": {"totalCount": 0}}


async def test_credentials_go_with_named_origins(ask_with: AskWith) -> None:
    async with ask_with(cors_origins=(SHOP,), cors_credentials=True) as ask:
        for answer in (
            await ask.client.options("/graphql", headers={"origin": SHOP, **PREFLIGHT}),
            await ask.client.post("/graphql", json=COUNT, headers={"origin": SHOP, "cookie": "a=b"}),
        ):
            assert cors(answer)["access-control-allow-origin"] == SHOP
            assert cors(answer)["access-control-allow-credentials"] == "true"
    async with ask_with(cors_origins=("*",)) as ask:
        answer = await ask.client.post("/graphql", json=COUNT, headers={"origin": EVIL})
        assert cors(answer)["access-control-allow-origin"] == "*"
        assert "access-control-allow-credentials" not in answer.headers


@pytest.mark.anyio
async def test_who_is_turned_away_under_load_may_read_it(monkeypatch: pytest.MonkeyPatch) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        raise AssertionError("nobody is let in")

    async with listening(app, cors_origins=(SHOP,), pool_timeout_seconds=0.01) as server:
        monkeypatch.setattr(type(server.protocol.admission), "admits", lambda _: False)
        peer = await server.connect()
        for _ in range(2):  # the second comes too early
            peer.send(request(b"", f"origin: {SHOP}".encode(), path=b"/graphql"))
            status, headers = await peer.head()
            assert (status, headers["retry-after"], headers["access-control-allow-origin"]) == (503, "1", SHOP)
            await peer.reader.readexactly(int(headers["content-length"]))
        await until(lambda: not server.state.tasks)


@pytest.mark.anyio
async def test_a_page_may_read_that_there_is_no_room() -> None:
    go = asyncio.Event()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await go.wait()
        await answer_refusal(NO_ROOM, scope, receive, send)

    async with listening(app, cors_origins=(SHOP,), max_connections=1) as server:
        busy = await server.connect()
        busy.send(request(path=b"/graphql"))
        await until(lambda: len(server.state.tasks) == 1)
        asked = (b"access-control-request-method: POST", b"access-control-request-headers: content-type")
        for origin, told, allowed in ((SHOP, SHOP, 200), (EVIL, None, 400)):
            for method, more, status in ((b"POST", (), 503), (b"OPTIONS", (), 503), (b"OPTIONS", asked, allowed)):
                peer = await server.connect()
                peer.send(request(b"", f"origin: {origin}".encode(), *more, method=method, path=b"/graphql"))
                found, headers = await peer.head()
                assert (found, headers.get("access-control-allow-origin")) == (status, told)
                await peer.reader.readexactly(int(headers["content-length"]))
                assert (headers["connection"], await peer.rest()) == ("close", b"")
        go.set()
        assert (await busy.head())[0] == 503


@pytest.mark.anyio
async def test_a_page_may_read_that_its_url_is_too_long() -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        raise AssertionError("nobody is let in")

    async with listening(app, cors_origins=(SHOP,), max_url_bytes=100) as server:
        for origin, told in ((SHOP, SHOP), (EVIL, None)):
            peer = await server.connect()
            peer.send(request(b"", f"origin: {origin}".encode(), method=b"GET", path=b"/graphql?" + b"a" * 100))
            status, headers = await peer.head()
            assert (status, headers.get("access-control-allow-origin")) == (414, told)
            assert "Origin" in headers["vary"]
            await peer.close()


ASKED = b"POST /graphql HTTP/1.1\r\nhost: x\r\norigin: %b\r\n"


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("rest", "status"),
    [
        (b"x-large: " + b"a" * 2_000 + b"\r\n\r\n", 431),
        (b"content-length: many\r\n\r\n", 400),
        (b"host: y\r\n\r\n", 400),
        (b"x-slow: ", 408),
    ],
)
async def test_a_page_may_read_what_its_head_is_refused_with(rest: bytes, status: int) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        raise AssertionError("it is no request")

    seconds = 0.3 if status == 408 else NEVER
    for origins, told in (((SHOP,), {SHOP: SHOP}), (("*",), {SHOP: "*", EVIL: "*"}), ((), {})):
        async with listening(app, cors_origins=origins, max_head_bytes=1_000, head_timeout_seconds=seconds) as server:
            peers = {origin: await server.connect(ASKED % origin.encode() + rest) for origin in (SHOP, EVIL)}
            for origin, peer in peers.items():
                found, headers = await peer.head()
                assert (found, headers.get("access-control-allow-origin")) == (status, told.get(origin))
                if origin in told:
                    assert "X-Request-Id" in headers["access-control-expose-headers"]
                assert headers["x-request-id"]
                await peer.close()


@pytest.mark.parametrize(
    ("origin", "opens"),
    [
        (None, True),
        (SHOP, True),
        ("https://api.example", True),
        ("http://api.example", True),
        (EVIL, False),
        ("null", False),
        ("", False),
        ("https://api.example.evil.example", False),
        ("https://evil.example/api.example", False),
    ],
)
def test_a_page_may_open_a_socket_from_its_own_origin_and_from_named_ones(origin: str | None, opens: bool) -> None:
    """Fault 16: a browser opens a WebSocket to wherever a page likes."""
    headers = {"host": "api.example", **({} if origin is None else {"origin": origin})}
    assert may_open(Settings(cors_origins=(SHOP,)), headers) is opens
    assert may_open(Settings(cors_origins=("*",)), headers)


@pytest.mark.parametrize(
    ("host", "served"),
    [
        ("api.example", True),
        ("API.example:8443", True),
        ("eu.shop.example", True),
        ("shop.example", False),
        ("evil.example", False),
        ("api.example.evil.example", False),
        ("[::1]:80", True),
        ("", False),
    ],
)
async def test_only_requests_to_names_of_the_host_are_served(ask_with: AskWith, host: str, served: bool) -> None:
    async with ask_with(hosts=("api.example", "*.shop.example", "::1"), metrics=True) as ask:
        for path in ("/graphql", "/schema.graphql"):
            answer = await ask.client.get(path, params=COUNT, headers={"host": host})
            assert answer.status_code == (200 if served else 400)
            assert "location" not in answer.headers
            if not served:
                assert answer.headers["content-type"].startswith("application/graphql-response+json")
                (error,) = answer.json()["errors"]
                assert error["extensions"] == {"code": "BAD_REQUEST", "requestId": answer.headers["x-request-id"]}
        page = await ask.client.get("/", headers={"host": host, "accept": "text/html"})
        assert page.headers["content-type"] == "text/html; charset=utf-8"
        assert ("<h1>Bad Request</h1>" in page.text) is not served
        assert (re.findall('href="/', page.text) == []) is not served
        assert "content-security-policy" in page.headers
        for path in ("/livez", "/readyz", "/metrics"):  # probes and scrapers name an address
            assert (await ask.client.get(path, headers={"host": host})).status_code == 200


async def test_names_that_clients_make_up_are_not_remembered_without_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """One that passed is not judged again, by itself; beside another it is another."""
    monkeypatch.setattr(hosts, "KEPT_NAMES", 2)
    served: list[bytes] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        served.append(b" ".join(value for name, value in scope["headers"] if name == b"host"))

    async def nobody(*_: Any) -> Any:
        return None

    async def ask_as(*names: bytes) -> None:
        headers = [(b"host", name) for name in names]
        await named({"type": "http", "method": "GET", "path": "/graphql", "headers": headers}, nobody, nobody)

    named = hosts.NamedHosts(app, ["*.shop.example"])
    for name in (b"a", b"a", b"b", b"c", b"d"):
        await ask_as(name + b".shop.example")
    await ask_as(b"evil.example")
    await ask_as(b"evil.example", b"a.shop.example")
    assert served == [name + b".shop.example" for name in (b"a", b"a", b"b", b"c", b"d")]
    assert named.passed == {(b"a.shop.example",), (b"b.shop.example",)}


async def test_a_socket_to_another_name_is_refused(ask_with: AskWith) -> None:
    async with ask_with(hosts=("127.0.0.1",)) as ask, listening(ask.app) as server:
        async with socket(server.port) as client:
            await client.init()
        offer = (
            b"connection: upgrade",
            b"upgrade: websocket",
            b"sec-websocket-version: 13",
            b"sec-websocket-key: " + b"A" * 22 + b"==",
        )
        status, body = await server.asked(request(b"", *offer, method=b"GET", path=b"/graphql"))
        assert status == 400
        assert json.loads(body)["errors"][0]["extensions"]["code"] == "BAD_REQUEST"
        await until(lambda: ask.app.state.streams.open == 0)


async def test_a_page_runs_its_own_scripts_and_no_other(ask: Ask) -> None:
    answer = await ask.client.get("/", headers={"accept": "text/html"})
    policy = dict(part.split(" ", 1) for part in answer.headers["content-security-policy"].split("; "))
    assert policy["script-src"].count("'sha256-") == len(re.findall(r"<script>", answer.text)) > 0
    assert answer.headers["referrer-policy"] == "no-referrer"
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert page_headers("<p>") == {**page_headers(answer.text), **page_headers("<p>")}


async def test_production_shows_neither_schema_nor_playground_nor_names(ask_with: AskWith) -> None:
    """Fault 26: what is off is off by every way that leads there."""
    async with ask_with(introspection=False, suggestions=False, playground=False) as ask:
        for query in (
            "{ __schema { types { name } } }",
            '{ __type(name: "Order") { name } }',
            "{ ...F } fragment F on Query { __schema { types { name } } }",
        ):
            assert {e["extensions"]["code"] for e in (await ask(query))["errors"]} == {"GRAPHQL_VALIDATION_FAILED"}
        assert await ask.data("{ __typename }") == {"__typename": "Query"}
        told = str(
            [
                await ask(query)
                for query in ("{ item { totalCount } }", "{ items { totalCont } }", "{ items(frist: 1) { totalCount } }")
            ]
        )
        assert "Did you mean" not in told
        assert (await ask.client.get("/schema.graphql")).status_code == 404
        answer = await ask.client.get("/graphql", headers={"accept": "text/html,*/*"})
        assert "html" not in answer.headers["content-type"]


async def test_a_trusted_proxy_is_believed_and_takes_a_path_away(monkeypatch: pytest.MonkeyPatch) -> None:
    """What `serve` hands to uvicorn for these settings and options; nothing that anybody is shown depends on it."""
    handed: dict[str, Any] = {}

    class Config:
        def __init__(self, *_: Any, **given: Any) -> None:
            handed.update(given)
            raise RuntimeError("seen")

    monkeypatch.setattr("uvicorn.Config", Config)
    monkeypatch.setattr("graph.serve.listening.listen", lambda *_: [])
    monkeypatch.setattr("graph.serve.logs.configure", lambda _: None)  # for good, that is
    for proxies, expected in (((), []), (("10.0.0.0/8", "::1"), ["10.0.0.0/8", "::1"])):
        monkeypatch.setattr("graph.commands.launch.usable_settings", lambda proxies=proxies: Settings(trusted_proxies=proxies))
        monkeypatch.setattr("graph.commands.launch.finished", lambda work, _: work.close())
        found = CliRunner().invoke(main, ["serve", "--port", "0", "--root-path", "/shop/"])
        assert str(found.exception) == "seen"
        assert handed["proxy_headers"] is bool(proxies)
        assert handed["forwarded_allow_ips"] == expected
        assert handed["root_path"] == "/shop"


async def test_a_path_that_a_proxy_took_away_changes_nothing(ask: Ask) -> None:
    transport = httpx2.ASGITransport(ask.app, root_path="/shop")
    async with httpx2.AsyncClient(transport=transport, base_url="http://127.0.0.1") as client:
        assert (await client.post("/shop/graphql", json=COUNT)).json() == {"data": {"items": {"totalCount": 0}}}
        assert (await client.get("/shop/livez")).status_code == 200


async def test_middleware_stands_before_every_path(ask: Ask) -> None:
    class Closed:
        def __init__(self, app: Any) -> None: ...

        async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
            await PlainTextResponse("closed", 423)(scope, receive, send)

    app = create_app(ask.app.state.database.settings)
    app.add_middleware(Closed)
    async with httpx2.AsyncClient(transport=httpx2.ASGITransport(app), base_url="http://127.0.0.1") as client:
        assert {(await client.post(path, json=COUNT)).status_code for path in ("/graphql", "/livez")} == {423}
    await app.state.database.close()

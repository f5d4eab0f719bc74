"""/graphql over HTTP: methods, media types, bodies, headers. What is refused here writes nothing, in whatever way it is sent."""

from __future__ import annotations

import asyncio
import gzip
import json
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager
from typing import Any
from urllib.parse import urlencode

import pytest
from graphql import ExecutionResult, GraphQLError
from httpx2 import Response

from graph.context import Context
from graph.database.failures import Unavailable
from graph.operations.engine import Response as Result
from graph.serve.compression import ON_LOOP_BYTES, PAYS_BYTES
from graph.settings import Settings
from tests.conftest import Ask, Statements
from tests.sockets import NEVER, listening, request
from tests.words import code

SHOP = "varied"

AskWith = Callable[..., AbstractAsyncContextManager[Ask]]

CREATE = 'mutation { createItem(input: {sku: "A", name: "A", price: "1"}) { item { sku } } }'
MADE = {"data": {"createItem": {"item": {"sku": "A"}}}}
COUNT = "{ items { totalCount } }"
BODY = json.dumps({"query": CREATE}).encode()
JSON = "application/json"
BOM = b"\xef\xbb\xbf"


async def post(ask: Ask, body: bytes | AsyncIterator[bytes], media: str | None = JSON, **headers: str) -> Response:
    return await ask.client.post("/graphql", content=body, headers={**({"content-type": media} if media else {}), **headers})


def refused(answer: Response) -> tuple[int, str]:
    """Status and code of an answer that is one error, which names the request's id, and nothing else."""
    body = answer.json()
    [error] = body.pop("errors")
    assert body == {}
    assert error["extensions"]["requestId"] == answer.headers["x-request-id"]
    return answer.status_code, error["extensions"]["code"]


async def items(ask: Ask) -> Any:
    return (await ask.data(COUNT))["items"]["totalCount"]


# ---- media types: a page of another origin can send only those that are refused, unless the browser asks first


@pytest.mark.parametrize(
    "media",
    [
        None,
        "",
        "text/plain",
        "text/plain; application/json",
        "application/x-www-form-urlencoded",
        "multipart/form-data; boundary=x",
        "application/graphql",
        "application/jsonx",
        "application/json; charset=utf-16",
        'application/json; a=b; charset="latin-1"',
    ],
)
async def test_other_media_types_are_refused(ask: Ask, media: str | None) -> None:
    assert refused(await post(ask, BODY, media)) == (415, "UNSUPPORTED_MEDIA_TYPE")
    assert await items(ask) == 0


@pytest.mark.parametrize(
    "media",
    ["application/json", "APPLICATION/JSON ; Charset=UTF-8", 'application/json;charset="utf8"', "application/graphql+json; a=b"],
)
async def test_json_is_taken_however_it_is_named(ask: Ask, media: str) -> None:
    answer = await post(ask, BODY, media)
    assert (answer.status_code, answer.json()) == (200, MADE)
    assert await items(ask) == 1


@pytest.mark.parametrize("encoding", ["gzip", "GZIP", "deflate, gzip", "br"])
async def test_a_compressed_body_is_refused(ask: Ask, encoding: str) -> None:
    """Fault 18: nothing is unpacked, so no bomb is."""
    answer = await post(ask, gzip.compress(BODY), **{"content-encoding": encoding})
    assert refused(answer) == (415, "UNSUPPORTED_MEDIA_TYPE")
    assert await items(ask) == 0


async def test_a_body_that_is_said_to_be_plain_is_taken(ask: Ask) -> None:
    assert (await post(ask, BODY, **{"content-encoding": " Identity "})).json() == MADE


NEW, OLD = "application/graphql-response+json", "application/json"
#: Two fields, of which one breaks: `rename` has no such customer's name to take, which is data; the division of a bug is not.
PARTLY = """mutation { made: createItem(input: {sku: "P", name: "P", price: "1"}) { item { sku } }
    broken: createItem(input: {sku: "Q", name: "Q", price: "1"}) { item { sku } } }"""


@pytest.mark.parametrize(
    ("accept", "media"),
    [
        (None, NEW),
        ("", NEW),
        ("*/*", NEW),
        ("application/*", NEW),
        (f"{NEW}, {OLD};q=0.9", NEW),
        (f"{OLD}, {NEW}", NEW),
        (f"{OLD};q=0.9, */*;q=0.8", OLD),
        (f"{NEW};q=0.5, {OLD};q=0.6", OLD),
        (f"{NEW};q=0, */*", OLD),
        (f"{OLD};q=0, application/*;q=0.1", NEW),
        ("Application/JSON ; charset=utf-8", OLD),
        (f"text/event-stream, {OLD}", OLD),
        (f"{NEW};q=nonsense, {OLD}", OLD),
        (f"{NEW};charset=utf-16, {OLD}", OLD),
        ("text/csv", None),
        ("*/*;q=0", None),
        (f"{NEW};q=0, {OLD};q=0.000", None),
        ("application/jsonx", None),
        (";;,,=;q", None),
        ("text/csv, " * 2_000, None),
    ],
)
async def test_the_answer_has_the_media_type_that_is_preferred(ask: Ask, accept: str | None, media: str | None) -> None:
    """Refusals have the newer one, whatever is listed: with the older, another status than 2xx could come from anybody."""
    if accept is None:
        del ask.client.headers["accept"]
    headers = {} if accept is None else {"accept": accept}
    for query, status in ((COUNT, 200), ("{ nothing }", 422), ("{", 400)):
        answer = await post(ask, json.dumps({"query": query}).encode(), **headers)
        if media is None:
            assert refused(answer) == (406, "NOT_ACCEPTABLE")
        else:
            assert answer.status_code == status
        expected = media if answer.status_code == 200 else NEW
        assert answer.headers["content-type"] == f"{expected}; charset=utf-8"
        assert answer.headers["vary"] == "Accept, Accept-Encoding, Authorization"
        assert answer.headers["x-content-type-options"] == "nosniff"
    if media is None:
        assert refused(await post(ask, BODY, **headers)) == (406, "NOT_ACCEPTABLE")
        assert await items(ask) == 0


@pytest.mark.parametrize(("accept", "status"), [(NEW, 294), ("*/*", 294), (OLD, 200)])
async def test_data_beside_errors_is_told_by_the_status(
    ask: Ask, monkeypatch: pytest.MonkeyPatch, accept: str, status: int
) -> None:
    run = ask.app.state.engine.run

    async def breaks(*given: Any, **more: Any) -> Any:
        answer = await run(*given, **more)
        answer.result.data["broken"] = None
        error = GraphQLError("secret", path=["broken"], original_error=RuntimeError("secret"))
        return Result(None, ExecutionResult(answer.result.data, [error]))

    monkeypatch.setattr(ask.app.state.engine, "run", breaks)
    answer = await post(ask, json.dumps({"query": PARTLY}).encode(), accept=accept)
    assert answer.status_code == status
    assert answer.headers["content-type"] == f"{OLD if accept == OLD else NEW}; charset=utf-8"
    assert answer.json()["data"] == {"made": {"item": {"sku": "P"}}, "broken": None}
    assert [error["extensions"]["code"] for error in answer.json()["errors"]] == ["INTERNAL_SERVER_ERROR"]


async def test_where_the_database_serves_no_field_there_is_no_data(ask: Ask, monkeypatch: pytest.MonkeyPatch) -> None:
    """A 503 asks to send it again; `data` beside it would be half of an answer."""

    async def run(*_: Any, **__: Any) -> Any:
        error = GraphQLError("secret", path=["made"], original_error=Unavailable("secret"))
        return Result(None, ExecutionResult({"made": None}, [error]))

    monkeypatch.setattr(ask.app.state.engine, "run", run)
    for accept in (NEW, OLD):
        answer = await post(ask, BODY, accept=accept)
        assert refused(answer) == (503, "SERVICE_UNAVAILABLE")
        assert answer.headers["retry-after"] == "1"
        assert "secret" not in answer.text


@pytest.mark.parametrize(
    ("body", "status", "code_"),
    [
        ({"query": "{"}, 400, "GRAPHQL_PARSE_FAILED"),
        ({"query": ""}, 400, "GRAPHQL_PARSE_FAILED"),
        ({"query": "{ nothing }"}, 422, "GRAPHQL_VALIDATION_FAILED"),
        ({"query": "query A { __typename } query B { __typename }"}, 422, "OPERATION_RESOLUTION_FAILURE"),
        ({"query": "query A { __typename }", "operationName": "B"}, 422, "OPERATION_RESOLUTION_FAILURE"),
        ({"query": "fragment F on Query { __typename }"}, 422, None),
        ({"query": "query ($n: Int!) { items(first: $n) { totalCount } }"}, 422, "BAD_USER_INPUT"),
        ({"query": "query ($n: Int!) { items(first: $n) { totalCount } }", "variables": {"n": "1"}}, 422, "BAD_USER_INPUT"),
        ({"query": "{ items(first: -1) { totalCount } }"}, 422, "BAD_USER_INPUT"),
        ({"query": "{ a: __typename " * 40 + "}" * 40}, 422, "OPERATION_TOO_LARGE"),
        ({"query": "{ " + "__typename " * 3_000 + "}"}, 422, "OPERATION_TOO_LARGE"),
        ({"query": "subscription { x }"}, 422, None),
        ({"qeury": "{ __typename }"}, 422, "BAD_REQUEST"),
        ({"query": 7}, 422, "BAD_REQUEST"),
        ([{"query": "{ __typename }"}], 422, "BAD_REQUEST"),
    ],
    ids=lambda given: str(given)[:60],
)
async def test_each_refusal_has_its_status(ask: Ask, body: Any, status: int, code_: str | None) -> None:
    """400 for what cannot be understood, 422 for what cannot be run; alike in the words of either media type."""
    for accept in (NEW, OLD):
        answer = await post(ask, json.dumps(body).encode(), accept=accept)
        assert answer.status_code == status, answer.text
        assert answer.json().keys() == {"errors"}
        assert code_ is None or {error["extensions"]["code"] for error in answer.json()["errors"]} == {code_}


# ---- methods


@pytest.mark.parametrize("method", ["PUT", "PATCH", "DELETE", "TRACE", "SEARCH", "query"])
async def test_other_methods_are_refused(ask: Ask, method: str) -> None:
    answer = await ask.client.send(ask.client.build_request(method, "/graphql", content=BODY, headers={"content-type": JSON}))
    if method == "query":  # which the client's library writes in capitals
        assert answer.request.method == "QUERY"
        assert answer.headers["allow"] == "POST"
    else:
        assert answer.headers["allow"] == "GET, HEAD, OPTIONS, POST, QUERY"
    assert refused(answer) == (405, "METHOD_NOT_ALLOWED")
    assert await items(ask) == 0


async def test_options_tells_what_may_be_sent(ask: Ask) -> None:
    answer = await ask.client.options("/graphql")
    assert (answer.status_code, answer.content) == (204, b"")
    assert answer.headers["allow"] == "GET, HEAD, OPTIONS, POST, QUERY"
    assert answer.headers["accept-query"] == JSON


async def test_the_method_query_runs_queries_and_writes_nothing(ask: Ask) -> None:
    async def query(body: bytes, media: str = JSON, **headers: str) -> Response:
        return await ask.client.request("QUERY", "/graphql", content=body, headers={"content-type": media, **headers})

    answer = await query(json.dumps({"query": COUNT}).encode())
    assert (answer.status_code, answer.json()) == (200, {"data": {"items": {"totalCount": 0}}})
    again = await query(json.dumps({"query": COUNT}).encode(), **{"if-none-match": answer.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")
    answer = await query(BODY)
    assert refused(answer) == (405, "METHOD_NOT_ALLOWED")
    assert answer.headers["allow"] == "POST"
    assert refused(await query(BODY, "text/plain")) == (415, "UNSUPPORTED_MEDIA_TYPE")
    assert refused(await query(b"")) == (400, "BAD_REQUEST")
    assert await items(ask) == 0


async def test_an_answer_to_a_safe_request_is_kept_and_asked_for_again(ask: Ask, ask_with: AskWith) -> None:
    asked: dict[str, Any] = {"params": {"query": COUNT}}
    answer = await ask.client.get("/graphql", **asked)
    etag = answer.headers["etag"]
    assert answer.headers["cache-control"] == "no-cache"
    for given in (etag, etag[2:], f'"x", {etag}', "*"):
        for method in ("GET", "HEAD"):
            again = await ask.client.request(method, "/graphql", **asked, headers={"if-none-match": given})
            assert (again.status_code, again.content) == (304, b"")
            for name in ("etag", "cache-control", "vary"):
                assert again.headers[name] == answer.headers[name]
            assert not {"content-type", "content-length"} & again.headers.keys()
    other = await ask.client.get("/graphql", **asked, headers={"if-none-match": '"x"'})
    assert (other.status_code, other.content) == (200, answer.content)
    packed = await ask.client.get("/graphql", **asked, headers={"accept-encoding": "gzip"})
    assert packed.headers["etag"] == etag
    await post(ask, BODY)
    changed = await ask.client.get("/graphql", **asked, headers={"if-none-match": etag})
    assert changed.status_code == 200
    assert changed.headers["etag"] != etag
    wrong = await ask.client.get("/graphql", params={"query": "{ nothing }"}, headers={"if-none-match": "*"})
    assert (wrong.status_code, wrong.headers["cache-control"], "etag" in wrong.headers) == (422, "no-store", False)
    assert not {"etag", "cache-control"} & (await post(ask, json.dumps({"query": COUNT}).encode())).headers.keys()
    async with ask_with(cache_control="public, max-age=60") as other_ask:
        answer = await other_ask.client.get("/graphql", **asked)
        assert answer.headers["cache-control"] == "public, max-age=60"


async def test_answers_without_a_body_leave_a_connection_in_order(ask: Ask) -> None:
    """As bytes on one connection: 204, 304, HEAD and a compressed answer, each read to its last byte before the next."""
    types = "{ __schema { types { name description } } }"
    async with listening(ask.app) as server:
        peer = await server.connect()

        async def asked(method: str, query: str = "", *headers: bytes) -> tuple[int, dict[str, str], bytes]:
            path = b"/graphql?" + urlencode({"query": query}).encode() if query else b"/graphql"
            peer.send(request(b"", *headers, method=method.encode(), path=path))
            status, head = await peer.head()
            bare = method == "HEAD" or status in (204, 304)
            assert "transfer-encoding" not in head
            return status, head, b"" if bare else await peer.reader.readexactly(int(head["content-length"]))

        for _ in range(2):
            status, _, _ = await asked("OPTIONS")
            assert status == 204
            status, head, body = await asked("GET", COUNT)
            assert (status, body) == (200, b'{"data":{"items":{"totalCount":0}}}')
            status, _, _ = await asked("GET", COUNT, f"if-none-match: {head['etag']}".encode())
            assert status == 304
            status, head, _ = await asked("HEAD", types, b"accept-encoding: gzip")
            assert (status, head["content-encoding"]) == (200, "gzip")
            status, packed, body = await asked("GET", types, b"accept-encoding: gzip")
            assert (status, packed["content-length"]) == (200, head["content-length"])
            assert "errors" not in json.loads(gzip.decompress(body))
        assert len(server.state.connections) == 1


@pytest.mark.parametrize(
    ("given", "packed"),
    [
        ("gzip", True),
        ("br, GZIP;q=0.5, *;q=0", True),
        ("x-gzip", True),
        ("*", True),
        (None, False),
        ("", False),
        ("br, zstd", False),
        ("gzip;q=0", False),
        ("gzip;q=0, *", False),
        ("gzip;q=nonsense", False),
    ],
)
async def test_an_answer_is_compressed_for_who_asks_and_where_it_pays(ask: Ask, given: str | None, packed: bool) -> None:
    if given is None:
        del ask.client.headers["accept-encoding"]
    headers = {} if given is None else {"accept-encoding": given}
    types = "{ __schema { types { name description fields { name description } } } }"
    for query, large in (
        (COUNT, False),
        ('{ __type(name: "Order") { name description fields { name description type { name kind } } } }', True),
        (types, True),
    ):
        body = json.dumps({"query": query}).encode()
        async with ask.client.stream("POST", "/graphql", content=body, headers={"content-type": JSON, **headers}) as answer:
            sent = b"".join([part async for part in answer.aiter_raw()])
        assert answer.headers.get("content-encoding") == ("gzip" if packed and large else None)
        assert answer.headers["content-length"] == str(len(sent))
        whole = gzip.decompress(sent) if packed and large else sent
        assert "errors" not in json.loads(whole)
        assert (len(whole) > PAYS_BYTES) is large
        assert (len(whole) > ON_LOOP_BYTES) is (query == types)


async def test_a_get_does_not_write(ask: Ask, statements: Statements) -> None:
    several = f"query Q {COUNT} mutation M {CREATE.removeprefix('mutation')}"
    statements.clear()
    for parameters in ({"query": CREATE}, {"query": several, "operationName": "M"}):
        answer = await ask.client.get("/graphql", params=parameters)
        assert refused(answer) == (405, "METHOD_NOT_ALLOWED")
        assert answer.headers["allow"] == "POST"
        answer = await ask.client.head("/graphql", params=parameters)
        assert (answer.status_code, answer.content) == (405, b"")
    assert statements.sql == []
    answer = await ask.client.get("/graphql", params={"query": several, "operationName": "Q"})
    assert answer.json() == {"data": {"items": {"totalCount": 0}}}


async def test_a_get_answers_as_a_post_does_and_a_head_without_the_body(shop: Ask) -> None:
    query, variables = "query ($n: Int!) { customers(first: $n) { nodes { name } } }", {"n": 3}
    posted = await shop.raw(query, variables)
    parameters = {"query": query, "variables": json.dumps(variables)}
    answer = await shop.client.get("/graphql", params=parameters)
    assert (answer.status_code, answer.content) == (200, posted)
    assert len(answer.json()["data"]["customers"]["nodes"]) == 3
    head = await shop.client.head("/graphql", params=parameters)
    assert (head.status_code, head.content) == (200, b"")
    for name in ("content-type", "content-length"):
        assert head.headers[name] == answer.headers[name]


@pytest.mark.parametrize("query", [COUNT, CREATE, "{"])
async def test_a_head_sends_no_byte_of_a_body(ask: Ask, query: str) -> None:
    """As a server sees it: a client's library would hide a body that comes."""
    sent: dict[str, list[Any]] = {}
    for method in ("GET", "HEAD"):
        sent[method] = []

        async def receive() -> dict[str, Any]:
            return {"type": "http.request", "body": b"", "more_body": False}

        async def send(message: Any, to: list[Any] = sent[method]) -> None:
            to.append(message)

        asked: dict[str, Any] = {"type": "http", "method": method, "path": "/graphql", "headers": []}
        await ask.app({**asked, "query_string": urlencode({"query": query}).encode()}, receive, send)
    bodies = {method: b"".join(each.get("body", b"") for each in messages) for method, messages in sent.items()}
    assert bodies["GET"].startswith(b"{")
    assert bodies["HEAD"] == b""
    (got, headed) = (messages[0] for messages in sent.values())
    assert got["status"] == headed["status"]
    assert dict(headed["headers"])[b"content-length"] == str(len(bodies["GET"])).encode()


@pytest.mark.parametrize(
    ("parameters", "status"),
    [
        ({}, 422),
        ({"query": COUNT, "variables": "{"}, 400),
        ({"query": COUNT, "variables": "[]"}, 422),
        ({"query": COUNT, "extensions": "1"}, 422),
    ],
)
async def test_a_get_that_is_no_request_is_refused(ask: Ask, parameters: dict[str, str], status: int) -> None:
    assert refused(await ask.client.get("/graphql", params=parameters)) == (status, "BAD_REQUEST")


async def test_a_browser_is_shown_the_playground_unless_it_asks(ask: Ask, ask_with: AskWith) -> None:
    html = {"accept": "text/html,*/*;q=0.8"}
    assert (await ask.client.get("/graphql", headers=html)).headers["content-type"].startswith("text/html")
    answer = await ask.client.get("/graphql", params={"query": COUNT}, headers=html)
    assert answer.json() == {"data": {"items": {"totalCount": 0}}}
    async with ask_with(playground=False) as without:
        answer = await without.client.get("/graphql", headers=html)
        assert refused(answer) == (422, "BAD_REQUEST")
        assert "playground is switched off" in answer.text


async def test_nobody_is_sent_to_the_host_that_he_names(ask: Ask) -> None:
    for path in ("/graphql/", "/livez/", "/schema.graphql/", "/graphql/../livez/"):
        for method in ("GET", "POST"):
            answer = await ask.client.request(method, path, content=BODY, headers={"host": "evil.example", "content-type": JSON})
            assert answer.status_code == 404
            assert "location" not in answer.headers
            assert answer.text == "There is nothing here; GraphQL is served at /graphql.\n"
    assert await items(ask) == 0


# ---- bodies


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"null",
        b'"text"',
        b"[" + BODY + b"]",
        BODY[:-1],
        BODY + BODY,
        BODY + b"\x00",
        BODY.replace(b"A", b"\xff"),
        BODY.decode().encode("utf-16"),
        BOM + BOM + BODY,
        b'{"query": 1}',
        b'{"query": null}',
        b'{"Query": "{ __typename }"}',
        BODY[:-1] + b', "variables": []}',
        BODY[:-1] + b', "variables": "{}"}',
        BODY[:-1] + b', "variables": {"n": NaN}}',
        BODY[:-1] + b', "variables": {"n": -Infinity}}',
        BODY[:-1] + b', "operationName": 1}',
        BODY[:-1] + b', "extensions": []}',
        b"[" * 100_000,
        BODY[:-1] + b', "variables": {"v": ' + b"[" * 50_000 + b"]" * 50_000 + b"}}",
        BODY[:-1] + b', "variables": ' + b'{"v":' * 50_000 + b"1" + b"}" * 50_001,
    ],
    ids=lambda body: f"{body[:40]!r} {len(body)}",
)
async def test_a_body_that_is_no_request_is_refused(ask: Ask, body: bytes) -> None:
    try:
        json.loads(body.decode().lstrip("\ufeff" if not body.startswith(BOM * 2) else ""), parse_constant=lambda _: 1 / 0)
        status = 422
    except (ValueError, ZeroDivisionError, RecursionError):
        status = 400
    assert refused(await post(ask, body)) == (status, "BAD_REQUEST")
    assert await items(ask) == 0


async def test_a_mark_of_byte_order_is_passed_over(ask: Ask) -> None:
    """Fault 25, with the next."""
    assert (await post(ask, BOM + BODY)).json() == MADE


async def test_what_nobody_thought_of_is_told_without_its_insides(ask: Ask, monkeypatch: pytest.MonkeyPatch) -> None:
    """Fault 17: wherever it is raised."""

    async def broken(*_: Any, **__: Any) -> Any:
        raise RuntimeError("SELECT secret FROM /graph/secret.py")

    for place in ("run", "_query"):
        with monkeypatch.context() as patched:
            patched.setattr(ask.app.state.engine, place, broken)
            answer = await post(ask, json.dumps({"query": COUNT}).encode())
        assert refused(answer) == (500, "INTERNAL_SERVER_ERROR")
        assert not [word for word in ("secret", "SELECT", "graph/", "RuntimeError", "Traceback") if word in answer.text]
    assert await items(ask) == 0


async def test_of_a_key_that_is_given_twice_the_last_counts(ask: Ask) -> None:
    twice = f'{{"query": {json.dumps(CREATE)}, "query": {json.dumps(COUNT)}}}'.encode()
    assert (await post(ask, twice)).json() == {"data": {"items": {"totalCount": 0}}}
    answer = await ask.client.get("/graphql", params=[("query", CREATE), ("query", COUNT)])
    assert answer.json() == {"data": {"items": {"totalCount": 0}}}


async def test_a_body_has_a_limit_however_it_arrives(ask_with: AskWith) -> None:
    """Fault 18: at once and in chunks."""

    async def parts(body: bytes) -> AsyncIterator[bytes]:
        for start in range(0, len(body), 50):
            yield body[start : start + 50]

    async with ask_with(max_body_bytes=1_024) as ask:
        for size, expected in ((1_025, True), (5_000, True), (1_024, False)):
            body = BODY.ljust(size)
            for answer in (await post(ask, body), await post(ask, parts(body))):
                if expected:
                    assert refused(answer) == (413, "BODY_TOO_LARGE")
                else:
                    assert answer.status_code == 200
                    assert "createItem" in answer.json()["data"]
            assert await items(ask) == (0 if expected else 1)


async def test_a_body_that_is_declared_too_large_is_not_waited_for(ask: Ask) -> None:
    """Fault 18: who expects 100 Continue is told before he sends it."""
    limit = Settings().max_body_bytes
    for declared, expected in (
        (str(limit + 1), True),
        ("9" * 18, True),
        (str(limit), False),
        ("9" * 5_000, False),
        ("-1", False),
    ):
        asked: list[str] = []
        sent: list[Any] = []

        async def receive(asked: list[str] = asked) -> Any:
            asked.append("body")
            return {"type": "http.request", "body": BODY, "more_body": False}

        async def send(message: Any, sent: list[Any] = sent) -> None:
            sent.append(message)

        head = [(b"content-type", b"application/json"), (b"content-length", declared.encode())]
        scope = {"type": "http", "method": "QUERY", "path": "/graphql", "headers": head, "query_string": b""}
        await ask.app(scope, receive, send)
        assert (sent[0]["status"], asked) == ((413, []) if expected else (405, ["body"]))


async def test_a_subscription_is_refused_alike_however_it_is_asked_for(ask: Ask) -> None:
    query = "subscription { orderChanged { cursor } }"
    for method in ("POST", "QUERY", "GET"):
        sent: dict[str, Any] = {"params": {"query": query}} if method == "GET" else {"json": {"query": query}}
        for accept in (JSON, "text/event-stream;q=0, */*", "*/*"):
            answer = await ask.client.request(method, "/graphql", headers={"accept": accept}, **sent)
            assert refused(answer) == (422, "BAD_REQUEST")
            assert "event stream" in answer.json()["errors"][0]["message"]
    only = {"accept": "text/event-stream"}
    answer = await ask.client.get("/graphql", params={"query": query, "variables": "{"}, headers=only)
    assert refused(answer) == (400, "BAD_REQUEST")
    answer = await ask.client.get("/graphql", params={"documentId": "0" * 64}, headers=only)
    assert answer.status_code in (403, 404)
    assert "json" in answer.headers["content-type"]
    answer = await ask.client.get("/graphql", params={"query": "{"}, headers=only)
    assert (answer.status_code, answer.headers["content-type"]) == (200, "text/event-stream; charset=utf-8")


@pytest.mark.parametrize(("pause", "seconds", "status"), [(0.0, NEVER, 200), (NEVER, 1.0, 408)])
async def test_a_body_that_does_not_arrive_in_half_the_time(ask_with: AskWith, pause: float, seconds: float, status: int) -> None:
    """Fault 18: a slow one."""

    async def parts() -> AsyncIterator[bytes]:
        yield b'{"query": '
        await asyncio.sleep(pause)
        yield b'"{ customers { totalCount } }"}'

    async with ask_with(request_timeout_seconds=seconds) as ask:
        answer = await ask.client.post("/graphql", content=parts(), headers={"content-type": "application/json"})
        assert answer.status_code == status
        assert status == 200 or code(answer.json()) == "REQUEST_TIMEOUT"


@pytest.mark.parametrize("committed", [True, False])
async def test_a_request_over_its_time_is_503_only_where_nothing_was_committed(
    ask_with: AskWith, monkeypatch: pytest.MonkeyPatch, committed: bool
) -> None:
    """A 503 asks to send it again."""

    async def run(query: str, variables: Any, name: Any, context: Context, **more: Any) -> None:
        if committed:
            context.session.info["committed"] = True
        await asyncio.sleep(NEVER)

    async with ask_with(request_timeout_seconds=0.4) as ask:
        monkeypatch.setattr(ask.app.state.engine, "run", run)
        answer = await post(ask, BODY)
        expected = (500, "INTERNAL_SERVER_ERROR") if committed else (503, "SERVICE_UNAVAILABLE")
        assert (answer.status_code, code(answer.json())) == expected

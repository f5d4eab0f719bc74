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
from httpx2 import Response

from graph.context import Context
from tests.conftest import Ask, Statements
from tests.words import code

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
    answer = await post(ask, gzip.compress(BODY), **{"content-encoding": encoding})
    assert refused(answer) == (415, "UNSUPPORTED_MEDIA_TYPE")
    assert await items(ask) == 0


async def test_a_body_that_is_said_to_be_plain_is_taken(ask: Ask) -> None:
    assert (await post(ask, BODY, **{"content-encoding": " Identity "})).json() == MADE


@pytest.mark.parametrize(
    ("accept", "media"),
    [
        ("application/graphql-response+json, application/json;q=0.9", "application/graphql-response+json"),
        ("application/json", "application/json"),
        ("*/*", "application/json"),
        ("text/csv", "application/json"),
    ],
)
async def test_the_answer_has_the_media_type_that_is_accepted(ask: Ask, accept: str, media: str) -> None:
    for query in (COUNT, "{ nothing }"):
        answer = await post(ask, json.dumps({"query": query}).encode(), accept=accept)
        assert answer.headers["content-type"] == f"{media}; charset=utf-8"
        assert answer.status_code == (200 if query == COUNT else 400)


# ---- methods


@pytest.mark.parametrize("method", ["PUT", "PATCH", "DELETE", "OPTIONS", "TRACE"])
async def test_other_methods_are_refused(ask: Ask, method: str) -> None:
    answer = await ask.client.request(method, "/graphql", content=BODY, headers={"content-type": JSON})
    assert refused(answer) == (405, "METHOD_NOT_ALLOWED")
    assert answer.headers["allow"] == "GET, POST"
    assert await items(ask) == 0


async def test_a_get_does_not_write(ask: Ask, statements: Statements) -> None:
    several = f"query Q {COUNT} mutation M {CREATE.removeprefix('mutation')}"
    statements.clear()
    for parameters in ({"query": CREATE}, {"query": several, "operationName": "M"}):
        answer = await ask.client.get("/graphql", params=parameters)
        assert refused(answer) == (405, "METHOD_NOT_ALLOWED")
        assert answer.headers["allow"] == "GET, POST"
        answer = await ask.client.head("/graphql", params=parameters)
        assert (answer.status_code, answer.content) == (405, b"")
    assert statements.sql == []
    answer = await ask.client.get("/graphql", params={"query": several, "operationName": "Q"})
    assert answer.json() == {"data": {"items": {"totalCount": 0}}}


async def test_a_get_answers_as_a_post_does_and_a_head_without_the_body(ask_shop: Ask) -> None:
    query, variables = "query ($n: Int!) { customers(first: $n) { nodes { name } } }", {"n": 3}
    posted = await ask_shop.raw(query, variables)
    parameters = {"query": query, "variables": json.dumps(variables)}
    answer = await ask_shop.client.get("/graphql", params=parameters)
    assert (answer.status_code, answer.content) == (200, posted)
    assert len(answer.json()["data"]["customers"]["nodes"]) == 3
    head = await ask_shop.client.head("/graphql", params=parameters)
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
    "parameters",
    [
        {},
        {"query": ""},
        {"query": COUNT, "variables": "{"},
        {"query": COUNT, "variables": "[]"},
        {"query": COUNT, "extensions": "1"},
    ],
)
async def test_a_get_that_is_no_request_is_refused(ask: Ask, parameters: dict[str, str]) -> None:
    assert refused(await ask.client.get("/graphql", params=parameters)) == (400, "BAD_REQUEST")


async def test_a_browser_is_shown_the_playground_unless_it_asks(ask: Ask, ask_with: AskWith) -> None:
    html = {"accept": "text/html,*/*;q=0.8"}
    assert (await ask.client.get("/graphql", headers=html)).headers["content-type"].startswith("text/html")
    answer = await ask.client.get("/graphql", params={"query": COUNT}, headers=html)
    assert answer.json() == {"data": {"items": {"totalCount": 0}}}
    async with ask_with(playground=False) as without:
        assert refused(await without.client.get("/graphql", headers=html)) == (400, "BAD_REQUEST")


async def test_nobody_is_sent_to_the_host_that_he_names(ask: Ask) -> None:
    for path in ("/graphql/", "//graphql", "/livez/", "/schema.graphql/", "/", "/graphql/../livez/"):
        for method in ("GET", "POST"):
            answer = await ask.client.request(method, path, content=BODY, headers={"host": "evil.example", "content-type": JSON})
            assert answer.status_code == 404
            assert "location" not in answer.headers
            assert "evil" not in answer.text
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
        b'{"query": ""}',
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
    assert refused(await post(ask, body)) == (400, "BAD_REQUEST")
    assert await items(ask) == 0


async def test_a_mark_of_byte_order_is_passed_over(ask: Ask) -> None:
    assert (await post(ask, BOM + BODY)).json() == MADE


async def test_of_a_key_that_is_given_twice_the_last_counts(ask: Ask) -> None:
    twice = f'{{"query": {json.dumps(CREATE)}, "query": {json.dumps(COUNT)}}}'.encode()
    assert (await post(ask, twice)).json() == {"data": {"items": {"totalCount": 0}}}
    answer = await ask.client.get("/graphql", params=[("query", CREATE), ("query", COUNT)])
    assert answer.json() == {"data": {"items": {"totalCount": 0}}}


async def test_a_body_has_a_limit_however_it_arrives(ask_with: AskWith) -> None:
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


@pytest.mark.parametrize(("pause", "status"), [(0.0, 200), (30.0, 408)])
async def test_a_body_that_does_not_arrive_in_half_the_time(ask_with: AskWith, pause: float, status: int) -> None:
    async def parts() -> AsyncIterator[bytes]:
        yield b'{"query": '
        await asyncio.sleep(pause)
        yield b'"{ customers { totalCount } }"}'

    async with ask_with(request_timeout_seconds=1.0) as ask:
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
        await asyncio.sleep(30)

    async with ask_with(request_timeout_seconds=0.4) as ask:
        monkeypatch.setattr(ask.app.state.engine, "run", run)
        answer = await post(ask, BODY)
        expected = (500, "INTERNAL_SERVER_ERROR") if committed else (503, "SERVICE_UNAVAILABLE")
        assert (answer.status_code, code(answer.json())) == expected

"""Requests that nobody would write: whatever is sent, the answer is a well-formed one, and none is a fault of the server."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import hypothesis_graphql
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis_graphql import nodes

from graph.serve.negotiation import GRAPHQL_RESPONSE, JSON
from tests.conftest import Ask
from tests.examples import examples

SHOP = "varied"

SCHEMA = (Path(__file__).parents[2] / "schema.graphql").read_text(encoding="utf-8")
COUNT = "query Count($n: Int) { items(first: $n) { totalCount nodes { id } } }"
#: What no answer shows of the insides.
INSIDES = ("Traceback", "sqlalchemy", "graph/", "graphql.", "SELECT", "INSERT", "asyncpg", "sqlite3")

printable = st.text(st.characters(min_codepoint=32, max_codepoint=255, exclude_characters="\x7f"), max_size=40)
anything = st.text(st.characters(exclude_categories=()), max_size=20)  # lone surrogates, NUL and marks of direction among it
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | anything,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(anything, inner, max_size=3),
    max_leaves=8,
)
queries = st.sampled_from(
    [COUNT, "{ __typename }", "{", "", "{ nothing }", "mutation { nothing }", "subscription { x }", "\ud800"]
)
names = st.sampled_from(["", "a" * 64, 1]) | anything
persisted = st.fixed_dictionaries({"version": st.sampled_from([1, 2, "1"]), "sha256Hash": names})
requests = st.fixed_dictionaries(
    {},
    optional={
        "query": queries | anything | values,
        "variables": st.fixed_dictionaries({"n": values}) | values,
        "operationName": st.sampled_from(["Count", "", None]) | values,
        "extensions": st.fixed_dictionaries({"cost": st.booleans() | values, "persistedQuery": persisted | values}) | values,
        "documentId": st.sampled_from(["a" * 64, "sha256:", None]) | values,
    },
)


def written(value: Any) -> bytes:
    return json.dumps(value).encode()


whole = requests.map(written) | st.lists(requests, max_size=2).map(written) | values.map(written)
damaged = st.tuples(whole, st.integers(0, 99), st.binary(max_size=3)).map(lambda of: of[0][: of[1]] + of[2] + of[0][of[1] :])
bodies = whole | damaged | st.binary(max_size=40) | whole.map(lambda body: body.decode().encode("utf-16"))
media = st.sampled_from(
    [JSON, "application/json; charset=utf-8", "application/json;charset=utf-7", "text/plain", "multipart/form-data", ""]
)
accepts = st.sampled_from(
    [GRAPHQL_RESPONSE, JSON, "*/*", f"{JSON};q=0", "text/html", "text/event-stream", f"{JSON};q=x", "a" * 9_000]
)
headers = st.fixed_dictionaries(
    {},
    optional={
        "content-type": media | printable,
        "accept": accepts | printable,
        "accept-encoding": st.sampled_from(["gzip", "gzip;q=0", "*;q=nan"]) | printable,
        "content-encoding": st.sampled_from(["identity", "gzip"]) | printable,
        "if-none-match": st.sampled_from(["*", 'W/"x"']) | printable,
        "traceparent": printable,
        "origin": printable,
        "last-event-id": printable,
    },
)
METHODS = ["GET", "HEAD", "POST", "QUERY", "OPTIONS", "PUT", "PATCH", "DELETE", "TRACE", "BREW"]
STATUSES = {200, 204, 294, 304, 400, 403, 404, 405, 406, 413, 415, 422}


class Sent:
    """One request as the application sees it, and what it answers."""

    def __init__(self, method: str, query: bytes, head: dict[str, str], body: bytes) -> None:
        names = [(name.encode(), value.encode("latin-1")) for name, value in head.items()]
        self.scope = {"type": "http", "method": method, "path": "/graphql", "headers": names, "query_string": query}
        self.incoming: list[Any] = [{"type": "http.request", "body": body, "more_body": False}]
        self.messages: list[Any] = []

    async def answer(self, ask: Ask) -> tuple[int, dict[str, str], bytes]:
        async def receive() -> Any:
            return self.incoming.pop(0) if self.incoming else {"type": "http.disconnect"}

        async def send(message: Any) -> None:
            self.messages.append(message)

        await ask.app(self.scope, receive, send)
        start, *parts = self.messages
        head = {name.decode(): value.decode("latin-1") for name, value in start["headers"]}
        return start["status"], head, b"".join(part["body"] for part in parts)


def judge(method: str, status: int, head: dict[str, str], body: bytes) -> None:
    """An answer is one that every client understands."""
    assert status in STATUSES, body
    if status in (204, 304) or head["content-type"].startswith(("text/html", "text/event-stream")):
        assert not body or status == 200
        return
    if method == "HEAD":
        assert body == b""
        return
    assert head["content-length"] == str(len(body))
    if head.get("content-encoding") == "gzip":
        return
    found = json.loads(body)
    assert found.keys() <= {"data", "errors", "extensions"}
    assert ("data" in found) is (status < 300)
    assert ("errors" in found) is (status != 200 or (head["content-type"].startswith(JSON) and "errors" in found))
    expected = (GRAPHQL_RESPONSE, JSON) if status < 300 else (GRAPHQL_RESPONSE,)
    assert head["content-type"].partition(";")[0] in expected
    for error in found.get("errors", ()):
        assert error["extensions"]["requestId"] == head["x-request-id"]
        assert error["message"]
        assert error["extensions"]["code"]
    assert not [word for word in INSIDES if word in body.decode()]


@settings(max_examples=examples(300))
@given(method=st.sampled_from(METHODS), given_query=requests | st.none(), raw=st.binary(max_size=20), head=headers, body=bodies)
async def test_no_request_makes_the_server_fail(
    ask: Ask, method: str, given_query: dict[str, Any] | None, raw: bytes, head: dict[str, str], body: bytes
) -> None:
    """Faults 17 and 25: bodies, heads, methods and media types of every kind, and an answer of ours to each of them."""
    query = raw
    if given_query is not None:
        texts = {name: value if isinstance(value, str) else json.dumps(value) for name, value in given_query.items()}
        query = urlencode({name: text.encode("utf-8", "surrogatepass") for name, text in texts.items()}).encode()
    judge(method, *await Sent(method, query, head, body).answer(ask))


@settings(max_examples=examples(300))
@given(body=bodies)
async def test_no_body_makes_the_server_fail(ask: Ask, body: bytes) -> None:
    """Fault 25: JSON that is none, that is no request, or that is one with odd values in it."""
    judge("POST", *await Sent("POST", b"", {"content-type": JSON}, body).answer(ask))


# ---- documents of the schema


SCALARS = {
    "BigInt": st.integers(-(2**70), 2**70).map(str).map(nodes.String),
    "Date": st.dates().map(str).map(nodes.String) | anything.map(nodes.String),
    "DateTime": st.datetimes().map(lambda moment: f"{moment.isoformat()}Z").map(nodes.String) | anything.map(nodes.String),
    "Decimal": st.decimals(allow_nan=True).map(str).map(nodes.String) | st.integers().map(nodes.Int),
    "Percent": st.decimals(0, 200, places=2).map(str).map(nodes.String),
}


@settings(max_examples=examples(60))
@given(document=hypothesis_graphql.from_schema(SCHEMA, custom_scalars=SCALARS, allow_null=True))
@pytest.mark.usefixtures("by_hand")
async def test_no_document_of_the_schema_makes_the_server_fail(shop: Ask, document: str) -> None:
    """Fault 17: queries and mutations that are valid or nearly so, with values that nobody expects."""
    judge("POST", *await Sent("POST", b"", {"content-type": JSON}, written({"query": document})).answer(shop))

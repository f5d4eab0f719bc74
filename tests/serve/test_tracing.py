"""Spans: one an operation, one a statement, those straight to the driver too; context in and out; no value in any of them."""

from __future__ import annotations

import asyncio
import builtins
import socket
import threading
from collections.abc import AsyncIterator
from typing import Any

import pytest
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF
from opentelemetry.trace import SpanKind, StatusCode

from graph.serve import tracing
from graph.settings import Settings
from tests.conftest import Ask, Statements, asking
from tests.faults import passing, places
from tests.many_shops import many_shops
from tests.serve.test_logs import Caught, caught
from tests.sockets import NEVER
from tests.unhurried import unhurried

__all__ = ["caught"]

TRACE = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
FIND = 'query Find($email: String!) { customer(by: {email: $email}) { id } item(by: {sku: "pa55word"}) { id } }'
CREATE = """mutation Make($email: String!) {
    createCustomer(input: {name: "Eve", email: $email}) { customer { id } errors { code } } }"""


@pytest.fixture
def spans(monkeypatch: pytest.MonkeyPatch) -> InMemorySpanExporter:
    """What would be exported."""
    exporter, provider = InMemorySpanExporter(), TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    monkeypatch.setattr(tracing, "provider_of_environment", lambda: provider)
    return exporter


@pytest.fixture
async def traced(empty_url: str, spans: InMemorySpanExporter) -> AsyncIterator[Ask]:
    async with asking(unhurried(empty_url, traces=True)) as ask:
        async with ask.app.state.database.engine.connect():  # a connection is open, as while a server serves
            spans.clear()
        yield ask


def parts(spans: InMemorySpanExporter) -> tuple[ReadableSpan, list[ReadableSpan]]:
    """The one operation, and its statements."""
    found = spans.get_finished_spans()
    (operation,) = [span for span in found if span.kind is SpanKind.SERVER]
    statements = [span for span in found if span.kind is SpanKind.CLIENT]
    assert len(found) == 1 + len(statements)
    assert operation.context is not None
    for span in statements:
        assert span.parent is not None
        assert span.parent.span_id == operation.context.span_id
        assert operation.start_time is not None
        assert span.start_time is not None
        assert span.end_time is not None
        assert operation.end_time is not None
        assert operation.start_time <= span.start_time <= span.end_time <= operation.end_time
    return operation, statements


def attributes(span: ReadableSpan) -> dict[str, Any]:
    return dict(span.attributes or {})


async def test_a_span_says_of_which_shop_it_is(shops_url: str, spans: InMemorySpanExporter) -> None:
    async with many_shops(unhurried(shops_url, shops=True, traces=True), "acme") as shops:
        await shops.data("acme", "query Find { items { totalCount } }")
        await shops.post("cork", "query Find { items { totalCount } }")
    found = [attributes(span).get("ordergraph.shop") for span in spans.get_finished_spans() if span.kind is SpanKind.SERVER]
    assert found == ["acme", None]


async def test_a_query_is_a_span_with_one_statement_below_it(traced: Ask, spans: InMemorySpanExporter) -> None:
    body = {"query": FIND, "variables": {"email": "ada.secret@example.com"}}
    answer = await traced.client.post("/graphql", json=body, headers={"traceparent": TRACE})
    operation, (statement,) = parts(spans)
    assert operation.name == "query Find"
    assert operation.parent is not None
    assert f"{operation.parent.trace_id:032x}-{operation.parent.span_id:016x}" == TRACE[3:52]
    assert operation.context is not None
    assert answer.headers["traceresponse"] == f"{TRACE[:35]}-{operation.context.span_id:016x}-01"
    told = attributes(operation)
    assert told.pop("ordergraph.request_id") == answer.headers["x-request-id"]
    assert told == {
        "graphql.operation.type": "query",
        "graphql.operation.name": "Find",
        "http.response.status_code": 200,
        "ordergraph.outcome": "ok",
        "ordergraph.cost": 2,
    }
    system = traced.app.state.database.capabilities.system
    assert statement.name == f"SELECT {system}"
    assert attributes(statement).keys() == {"db.system.name", "db.operation.name", "db.query.text"}
    assert attributes(statement)["db.system.name"] == system
    assert "secret" not in statement.to_json()
    assert "pa55word" not in statement.to_json() + operation.to_json()


async def test_a_mutation_is_a_span_with_each_statement_below_it(
    traced: Ask, spans: InMemorySpanExporter, statements: Statements
) -> None:
    await traced.data(CREATE, {"email": "ada.secret@example.com"})
    operation, below = parts(spans)
    assert operation.name == "mutation Make"
    texts = [attributes(span)["db.query.text"] for span in below]
    assert [text for text in texts if text in statements.sql] == statements.sql
    assert any(text.startswith("INSERT") for text in texts)
    assert texts.index("COMMIT") == len(texts) - 1
    assert not any("secret" in span.to_json() or "Eve" in span.to_json() for span in (operation, *below))


async def test_what_fails_is_marked_without_its_words(
    traced: Ask, spans: InMemorySpanExporter, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("graph.database.transactions.JITTER_SECONDS", (0, 0))
    await traced("query Bad { nothing }")
    operation, none = parts(spans)
    assert none == []
    assert operation.name == "GraphQL Operation"  # it was no valid one
    assert attributes(operation)["error.type"] == "GRAPHQL_VALIDATION_FAILED"
    assert operation.status.status_code is StatusCode.UNSET  # the client's fault

    spans.clear()
    database = traced.app.state.database

    def fail(place: Any) -> None:
        if place.seen[-1].startswith("INSERT"):
            raise passing(database, place)

    with places(database, fail):
        await traced(CREATE, {"email": "ada.secret@example.com"})
    operation, below = parts(spans)
    assert attributes(operation)["error.type"] == "TRY_AGAIN"
    assert operation.status.status_code is StatusCode.ERROR
    broken = [span for span in below if span.status.status_code is StatusCode.ERROR]
    assert len(broken) == 3  # tries
    assert {attributes(span)["error.type"] for span in broken} <= {"SQLITE_BUSY", "40001"}
    assert not any(span.events or span.status.description for span in (operation, *below))


async def test_a_document_is_told_only_where_the_settings_say_so(empty_url: str, spans: InMemorySpanExporter) -> None:
    async with asking(unhurried(empty_url, traces=True, trace_documents=True)) as ask:
        await ask.data(FIND, {"email": "a@example.org"})
        assert attributes(parts(spans)[0])["graphql.document"] == FIND


@pytest.mark.parametrize("engines", ["sqlite"], indirect=True)
async def test_what_is_not_sampled_or_not_installed_costs_nobody_an_answer(
    empty_url: str, caught: Caught, monkeypatch: pytest.MonkeyPatch
) -> None:
    exporter, provider = InMemorySpanExporter(), TracerProvider(ALWAYS_OFF, shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    monkeypatch.setattr(tracing, "provider_of_environment", lambda: provider)
    async with asking(unhurried(empty_url, traces=True)) as ask:
        await ask.data(FIND, {"email": "a@example.org"})
    assert exporter.get_finished_spans() == ()
    import_ = builtins.__import__

    def without(name: str, *rest: Any, **more: Any) -> Any:
        if name.startswith("opentelemetry"):
            raise ModuleNotFoundError(name)
        return import_(name, *rest, **more)

    monkeypatch.setattr(builtins, "__import__", without)
    async with asking(unhurried(empty_url, traces=True)) as ask:
        await ask.data(FIND, {"email": "a@example.org"})
    assert sum("pip install '.[otel]'" in line for line in caught.lines) == 1


def refuse_one(collector: socket.socket) -> None:
    """Answer one who wants to export spans that nobody takes them."""
    with collector.accept()[0] as asked:
        asked.sendall(b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\nconnection: close\r\n\r\n")
        asked.shutdown(socket.SHUT_WR)
        while asked.recv(2**16):
            pass


async def test_what_the_environment_says_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    """A collector that does not answer holds nobody up."""
    with socket.create_server(("127.0.0.1", 0)) as collector:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", f"http://127.0.0.1:{collector.getsockname()[1]}")
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_TIMEOUT", str(NEVER))
        monkeypatch.setattr(tracing, "CLOSE_SECONDS", 0.1)
        before = threading.enumerate()
        for set_, name in (("", "ordergraph"), ("shop", "shop")):
            monkeypatch.setenv("OTEL_SERVICE_NAME", set_)
            made = tracing.Tracing(Settings())
            assert made.provider.resource.attributes["service.name"] == name
            made.tracer.start_span("x").end()
            await made.close()
        left = [thread for thread in threading.enumerate() if thread.daemon and thread not in before]
        assert left, "nobody waited for them"
        for _ in range(2):
            await asyncio.to_thread(refuse_one, collector)
        for thread in left:  # what they log in the end is no other test's
            await asyncio.to_thread(thread.join)

"""Traces by OpenTelemetry: a span an operation, and one below it a statement, those straight to the driver included.

What goes in: observations. What comes out: spans by the semantic conventions for GraphQL and for databases, to whatever exporter
the variables of OpenTelemetry name (OTLP by HTTP unless set). SQL is told without its values, the text of a document where the
settings say so. What may be refused here: nothing; without the extra `otel` there are no spans, and the log says so.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from contextlib import ExitStack, suppress
from time import perf_counter_ns, time_ns
from typing import TYPE_CHECKING, Any

from graph.database.failures import own_name
from graph.observations import OperationBegan, OperationFinished, StatementFinished, listening_to, running
from graph.serve import logs
from graph.serve.correlation import trace_id
from graph.settings import Settings

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import TracerProvider

logger = logging.getLogger("ordergraph.serve")

NAME = "ordergraph"
#: How long the last spans may take to be exported.
CLOSE_SECONDS = 2.0
MISSING = "ORDERGRAPH_TRACES is set, but the extra is not there, so nothing is traced: pip install '.[otel]' in its checkout"


class Tracing:
    """Makes spans of what is observed. Raises `ImportError` where the extra is not installed."""

    def __init__(self, settings: Settings, provider: TracerProvider | None = None) -> None:
        from opentelemetry import trace

        self.settings = settings
        self.provider: Any = provider if provider is not None else provider_of_environment()
        self.trace = trace
        self.tracer = self.provider.get_tracer(NAME)
        # Observations have the time of a clock that has no date.
        self.epoch_ns = time_ns() - perf_counter_ns()

    def observing(self) -> ExitStack:
        """Trace until what is returned is closed."""
        return listening_to(
            (OperationBegan, self._began), (OperationFinished, self._finished), (StatementFinished, self._statement)
        )

    async def close(self) -> None:
        """Export what is still here, for a while: a collector that does not answer holds nobody up."""
        closing = threading.Thread(target=self.provider.shutdown, daemon=True)
        closing.start()
        await asyncio.to_thread(closing.join, CLOSE_SECONDS)

    def _at(self, seconds: float) -> int:
        return self.epoch_ns + int(seconds * 1e9)

    def _began(self, seen: OperationBegan) -> None:
        trace, operation = self.trace, seen.operation
        context = None
        if operation.trace:
            flags = trace.TraceFlags(int(operation.trace[53:], 16))
            parent = trace.SpanContext(int(trace_id(operation.trace), 16), int(operation.trace[36:52], 16), True, flags)
            context = trace.set_span_in_context(trace.NonRecordingSpan(parent))
        span = self.tracer.start_span(
            "GraphQL Operation", context, kind=trace.SpanKind.SERVER, start_time=self._at(operation.began)
        )
        operation.span = span
        own = span.get_span_context()
        operation.trace = f"00-{own.trace_id:032x}-{own.span_id:016x}-{int(own.trace_flags):02x}"

    def _finished(self, seen: OperationFinished) -> None:
        trace, operation = self.trace, seen.operation
        span, operation.span = operation.span, None
        if span is None:
            return
        if span.is_recording():
            if operation.kind:
                span.update_name(f"{operation.kind} {operation.name}".rstrip())
                span.set_attribute("graphql.operation.type", operation.kind)
            if operation.name:
                span.set_attribute("graphql.operation.name", operation.name)
            if self.settings.trace_documents and operation.document:
                span.set_attribute("graphql.document", operation.document)
            told = {
                "request_id": operation.request_id,
                "outcome": operation.outcome,
                "cost": operation.cost,
                "shop": operation.shop or None,
            }
            span.set_attributes({f"{NAME}.{name}": value for name, value in told.items() if value is not None})
            if operation.status:
                span.set_attribute("http.response.status_code", operation.status)
            if operation.codes:
                span.set_attribute("error.type", operation.codes[0])
            if operation.outcome in ("unavailable", "failed"):
                span.set_status(trace.StatusCode.ERROR)
        span.end(self._at(operation.began + seen.seconds))

    def _statement(self, seen: StatementFinished) -> None:
        operation = running()
        if operation is None or operation.span is None or not operation.span.is_recording():
            return  # what the server does by itself is in no trace
        verb = seen.sql.lstrip().partition(" ")[0].upper()
        span = self.tracer.start_span(
            f"{verb} {seen.system}",
            self.trace.set_span_in_context(operation.span),
            kind=self.trace.SpanKind.CLIENT,
            attributes={"db.system.name": seen.system, "db.operation.name": verb, "db.query.text": seen.sql},
            start_time=self._at(seen.began),
        )
        if seen.error is not None:
            span.set_attribute("error.type", own_name(seen.error) or type(seen.error).__name__)
            span.set_status(self.trace.StatusCode.ERROR)  # without its message, which may hold values
        span.end(self._at(seen.ended))


def provider_of_environment() -> TracerProvider:
    """What exports spans as the variables of OpenTelemetry say: `OTEL_SERVICE_NAME`, `OTEL_EXPORTER_OTLP_ENDPOINT`, ..."""
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.resources import SERVICE_NAME, Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    resource = Resource.create()
    if str(resource.attributes[SERVICE_NAME]).startswith("unknown_service"):
        resource = resource.merge(Resource({SERVICE_NAME: NAME}))
    provider = TracerProvider(resource=resource, shutdown_on_exit=False)
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    return provider


def tracing_of(settings: Settings) -> Tracing | None:
    """Traces, where they can be had; else the log says how."""
    with suppress(ImportError):
        return Tracing(settings)
    if logs.is_first():
        logger.warning(MISSING)
    return None

"""Sends spans to a collector, with OpenTelemetry's own SDK: batched, in a thread of its own."""

from __future__ import annotations

from collections.abc import Callable
from threading import Thread
from typing import TYPE_CHECKING

from keptn_remedy.support.traces import Span, Traces
from keptn_remedy.support.variables import SettingsError

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import ReadableSpan

# A collector that is away doesn't hold up the end of the process.
CLOSE_SECONDS = 2.0


def otlp_traces(source: str, version: str) -> Traces:
    """Traces that go where OpenTelemetry's own variables say, such as OTEL_EXPORTER_OTLP_ENDPOINT.

    Raises:
        SettingsError: OpenTelemetry isn't installed.
    """
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.resources import (
            SERVICE_NAME,
            SERVICE_VERSION,
            OTELResourceDetector,
            Resource,
        )
        from opentelemetry.sdk.trace import ReadableSpan
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
        from opentelemetry.sdk.util.instrumentation import InstrumentationScope
        from opentelemetry.trace import SpanContext, SpanKind, Status, StatusCode, TraceFlags
    except ImportError as error:
        hint = f"REMEDY_TRACES: {error.name} is missing; install keptn-remedy[otel]"
        raise SettingsError([hint]) from None

    # OTEL_SERVICE_NAME and OTEL_RESOURCE_ATTRIBUTES win.
    named = Resource({SERVICE_NAME: source, SERVICE_VERSION: version})
    resource = named.merge(OTELResourceDetector().detect())
    scope = InstrumentationScope("keptn-remedy", version)
    processor = BatchSpanProcessor(OTLPSpanExporter())
    sampled = TraceFlags(TraceFlags.SAMPLED)

    def context(trace_id: int, span_id: int, *, is_remote: bool = False) -> SpanContext:
        return SpanContext(trace_id, span_id, is_remote, sampled)

    def made(span: Span) -> ReadableSpan:
        parent = context(span.trace_id, span.parent_id, is_remote=span.is_entry)
        return ReadableSpan(
            span.name,
            context=context(span.trace_id, span.span_id),
            parent=parent if span.parent_id else None,
            resource=resource,
            attributes=span.attributes,
            kind=SpanKind.CONSUMER if span.is_entry else SpanKind.INTERNAL,
            status=Status(StatusCode.ERROR, span.error) if span.error else Status(StatusCode.OK),
            start_time=span.began,
            end_time=span.ended,
            instrumentation_scope=scope,
        )

    return Traces(lambda span: processor.on_end(made(span)), lambda: _within(processor.shutdown))


def _within(shut_down: Callable[[], None]) -> None:
    """Send what is left, within `CLOSE_SECONDS`."""
    thread = Thread(target=shut_down, name="last-spans", daemon=True)
    thread.start()
    thread.join(CLOSE_SECONDS)

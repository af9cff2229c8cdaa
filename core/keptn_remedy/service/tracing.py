"""Traces what comes in and what goes out; only where traces are on is anything wrapped."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import orjson

from keptn_remedy.events import Event, Report
from keptn_remedy.keptn.transports import Accept, Receipt
from keptn_remedy.support.traces import Traces


@dataclass(frozen=True, slots=True)
class _Sent:
    """What a report tells of its trigger."""

    id: str
    context: str
    traceparent: str


def receiving(accept: Accept, traces: Traces | None) -> Accept:
    """The same, with a span for each trigger that was stored: from its arrival until then."""
    if traces is None:
        return accept

    async def accept_traced(event: Event) -> Receipt:
        began = traces.now()
        receipt = await accept(event)
        if receipt.kind == "accepted":
            of = _Sent(receipt.text, event.text("shkeptncontext"), event.text("traceparent"))
            traces.part(of, "received", began, traces.now(), {"event": event.id})
        return receipt

    return accept_traced


def sending(
    send: Callable[[Report], Awaitable[None]], traces: Traces | None
) -> Callable[[Report], Awaitable[None]]:
    """The same, with a span for each report of an execution that was sent, or was not."""
    if traces is None:
        return send

    async def send_traced(report: Report) -> None:
        if report.execution is None:
            return await send(report)
        event = orjson.loads(report.body)
        of = _Sent(report.execution, event["shkeptncontext"], event.get("traceparent", ""))
        with traces.during(of, "report", kind=report.kind):
            return await send(report)

    return send_traced

"""Where spans hang: under the sender's span, or in a trace of the Keptn context."""

from __future__ import annotations

import pytest

from keptn_remedy.support.traces import Span, TraceParent, Traces, execution_span, place_of

PARENT = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


class Trigger:
    id, context = "e1", "c1"

    def __init__(self, traceparent: str = "") -> None:
        self.traceparent = traceparent


def test_spans_hang_under_the_span_of_the_sender() -> None:
    found = place_of(PARENT, "c1")
    assert found == TraceParent(
        0x4BF92F3577B34DA6A3CE929D0E0E4736, 0x00F067AA0BA902B7, is_sampled=True
    )


@pytest.mark.parametrize(
    "traceparent",
    [
        "",
        "nonsense",
        "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
        "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
        PARENT.replace("00-4", "ff-4"),
        PARENT[:-1],
    ],
)
def test_without_a_usable_parent_one_keptn_context_is_one_trace(traceparent: str) -> None:
    found = place_of(traceparent, "c1")
    assert found == place_of("", "c1") != place_of("", "c2")
    assert (found.parent_id, found.is_sampled) == (0, True)


def test_what_the_sender_does_not_sample_is_not_traced() -> None:
    spans: list[Span] = []
    traces = Traces(spans.append)
    off = Trigger(PARENT[:-1] + "0")
    traces.execution(off, 0, {}, None)
    traces.part(off, "waited", 0, 1, {})
    assert not spans


def test_the_span_of_an_execution_has_the_same_id_in_each_process() -> None:
    spans: list[Span] = []
    for _ in range(2):
        Traces(spans.append).execution(Trigger(), 0, {}, "no better")
    assert {span.span_id for span in spans} == {execution_span("e1")}
    assert execution_span("e1") != execution_span("e2")


def test_what_a_part_raises_is_its_error() -> None:
    spans: list[Span] = []
    traces = Traces(spans.append)
    with pytest.raises(ValueError, match="no"), traces.during(Trigger(), "apply", attempt=1):
        raise ValueError("no")
    (span,) = spans
    assert (span.error, span.parent_id, span.attributes) == (
        "ValueError",
        execution_span("e1"),
        {"attempt": 1},
    )

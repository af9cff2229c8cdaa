"""Traces of a provider, as a collector gets them. The collector is a stand-in on loopback."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from keptn_remedy import Action, Context, Outcome, Retry, TemporaryError
from keptn_remedy.service import otlp
from keptn_remedy.support.variables import SettingsError
from keptn_remedy.testing import FakeKeptn, HttpPeer, http_peer, triggered
from tests.providing import event_url, provider
from tests.waiting import is_finished

PARENT = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
ENDPOINT = "OTEL_EXPORTER_OTLP_ENDPOINT"


class Hesitate(Action):
    """Passes at the second attempt."""

    name = "hesitate"
    retry = Retry(attempts=3, first=0.001, longest=0.002)

    async def run(self, context: Context, value: Any) -> Outcome:
        if context.attempt == 1:
            raise TemporaryError("not yet")
        return Outcome.passed("done")


def spans(peer: HttpPeer) -> list[Any]:
    found: list[Any] = []
    for request in peer.requests:
        assert request.path == "/v1/traces"
        export = ExportTraceServiceRequest.FromString(request.body)
        for resource in export.resource_spans:
            names = {a.key: a.value.string_value for a in resource.resource.attributes}
            assert names["service.name"] == "keptn-remedy"
            found += [span for scope in resource.scope_spans for span in scope.spans]
    return found


async def test_an_execution_is_one_tree_under_the_span_of_the_sender(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with http_peer() as collector, FakeKeptn() as keptn:
        monkeypatch.setenv(ENDPOINT, collector.url)
        async with provider(tmp_path / "j.db", keptn, Hesitate, traces=True) as service:
            event = {**triggered("hesitate"), "traceparent": PARENT}
            await keptn.deliver(event, to=event_url(service))
            await keptn.task_finished(event["id"])
        found = spans(collector)
    assert {span.trace_id.hex() for span in found} == {PARENT.split("-")[1]}
    (execution,) = [span for span in found if span.name == "execution"]
    assert execution.parent_span_id.hex() == PARENT.split("-")[2]
    parts = sorted(
        (span for span in found if span is not execution),
        key=lambda span: span.start_time_unix_nano,
    )
    assert {span.parent_span_id for span in parts} == {execution.span_id}
    assert sorted(span.name for span in parts) == [
        "received",
        "report",
        "report",
        "run",
        "run",
        "waited",
    ]
    assert all(span.start_time_unix_nano <= span.end_time_unix_nano for span in found)
    first, second = [span for span in parts if span.name == "run"]
    assert (first.status.message, second.status.message) == ("TemporaryError", "")
    attributes = {a.key: a.value for a in execution.attributes}
    assert attributes["execution"].string_value == event["id"]
    assert attributes["result"].string_value == "pass"
    assert attributes["attempts"].int_value == 2


async def test_a_collector_that_is_away_holds_nothing_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(ENDPOINT, "http://127.0.0.1:1")
    monkeypatch.setattr(otlp, "CLOSE_SECONDS", 0.05)
    journal = tmp_path / "j.db"
    async with FakeKeptn() as keptn, provider(journal, keptn, Hesitate, traces=True) as service:
        event = triggered("hesitate")
        await keptn.deliver(event, to=event_url(service))
        assert (await keptn.task_finished(event["id"])).result == "pass"
        await is_finished(service.journal, event["id"])


def test_without_the_setting_nothing_of_opentelemetry_is_imported() -> None:
    look = "import sys, keptn_remedy.service; sys.exit('opentelemetry' in sys.modules)"
    subprocess.run([sys.executable, "-c", look], check=True, timeout=60)


def test_without_the_packages_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "opentelemetry.sdk.trace.export", None)
    with pytest.raises(SettingsError, match=r"install keptn-remedy\[otel\]"):
        otlp.otlp_traces("keptn-remedy", "1")

"""Lighthouse finds what it reads in `get-sli.finished`, and other providers are left alone."""

from types import SimpleNamespace

import pytest
from pydantic import HttpUrl

from examples.get_sli.get_sli import GetSli
from keptn_remedy.testing import http_peer, run_action

PERIOD = {"start": "2026-03-02T12:00:00Z", "end": "2026-03-02T12:05:00Z"}


async def test_each_indicator_is_answered_with_its_value() -> None:
    async with http_peer() as metrics:
        metrics.answer(200, body=b"0.25")
        metrics.answer(200, body=b"812")
        settings = GetSli.Settings(metrics_url=HttpUrl(metrics.url))
        wanted = {"sliProvider": "metrics", "indicators": ["errors", "latency"], **PERIOD}
        outcome = await run_action(GetSli, wanted, settings=settings)
    assert outcome.details == {
        **PERIOD,
        "indicatorValues": [
            {"metric": "errors", "value": 0.25, "success": True},
            {"metric": "latency", "value": 812, "success": True},
        ],
    }
    assert [request.path for request in metrics.requests] == ["/errors", "/latency"]


async def test_a_metrics_service_that_is_down_is_told_to_lighthouse() -> None:
    async with http_peer() as metrics:
        metrics.answer(404)
        settings = GetSli.Settings(metrics_url=HttpUrl(metrics.url))
        outcome = await run_action(GetSli, {"indicators": ["errors"], **PERIOD}, settings=settings)
    assert (outcome.status, outcome.result) == ("errored", "fail")


@pytest.mark.parametrize(("provider", "is_ours"), [("metrics", True), ("prometheus", False)])
def test_only_triggers_for_this_provider_are_taken(provider: str, *, is_ours: bool) -> None:
    action = GetSli(GetSli.Settings(metrics_url=HttpUrl("http://metrics.example")))
    assert action.accepts(SimpleNamespace(value={"sliProvider": provider})) is is_ours

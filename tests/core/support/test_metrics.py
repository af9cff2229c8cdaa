"""The metrics: named as Prometheus wants, counting what happened, and bounded in number."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from keptn_remedy import Action, Context, Outcome, Retry, TemporaryError, service
from keptn_remedy.events import FINISHED, STARTED
from keptn_remedy.service import Service
from keptn_remedy.support.metrics import Metrics
from keptn_remedy.testing import FakeKeptn, registry_of, triggered
from tests.providing import Gate, Greet, event_url, gated, settings

UNITS = ("_seconds", "_info")
COUNTS = {
    "remedy_executions_running",
    "remedy_executions_open",
    "remedy_reports_unsent",
    "remedy_reports_parked",
    "remedy_reports_blocked",
    "remedy_executions_waiting",
    "remedy_journal_failed",
    "remedy_paused",
    "remedy_policy_rejected",
}


class Stumble(Action):
    """Succeeds at the third attempt."""

    name = "stumble"
    retry = Retry(attempts=3, first=0.001, longest=0.002)

    async def run(self, context: Context, value: Any) -> Outcome:
        if context.attempt < 3:
            raise TemporaryError("not now")
        return Outcome.passed("at last")


class Measured:
    """A provider and what its metrics say."""

    def __init__(self, running: Service, keptn: FakeKeptn, gate: Gate) -> None:
        self.service = running
        self.keptn = keptn
        self.gate = gate

    async def run(self, action: str, **fields: Any) -> str:
        event_id = await self.deliver(action, **fields)
        await self.keptn.task_finished(event_id)
        return event_id

    async def deliver(self, action: str, value: Any = None, **fields: Any) -> str:
        event = triggered(action, value, **fields)
        await self.keptn.deliver(event, to=event_url(self.service))
        return str(event["id"])

    def value(self, name: str, **labels: str) -> float:
        return self.service.ops._metrics.registry.get_sample_value(name, labels) or 0.0

    def series(self) -> int:
        families = self.service.ops._metrics.registry.collect()
        return sum(len(family.samples) for family in families)


@pytest.fixture
async def measured(tmp_path: Path) -> AsyncIterator[Measured]:
    gate = Gate()
    async with (
        FakeKeptn() as keptn,
        service.running(
            settings(tmp_path / "journal.db", keptn), registry_of(Greet, Stumble, gated(gate))
        ) as running,
    ):
        yield Measured(running, keptn, gate)
        gate.open()
        await running.drain()


def test_names_carry_our_prefix_their_unit_and_a_description() -> None:
    text = Metrics("1.2.3").exposition()[0].decode()
    families = list(text_string_to_metric_families(text))
    assert len(families) >= 10
    for family in families:
        assert family.name.startswith("remedy_")
        assert family.documentation
        if family.type != "counter":
            assert family.name.endswith(UNITS) or family.name in COUNTS
        else:
            assert f"# TYPE {family.name}_total counter" in text


def test_two_services_in_one_process_count_apart() -> None:
    one, other = Metrics("1"), Metrics("1")
    one.events("accepted").inc()
    assert (
        other.registry.get_sample_value("remedy_events_received_total", {"answer": "accepted"})
        is None
    )


def test_the_version_is_told() -> None:
    registry = Metrics("1.2.3").registry
    assert registry.get_sample_value("remedy_build_info", {"version": "1.2.3"}) == 1


def test_the_format_is_the_one_that_is_asked_for() -> None:
    metrics = Metrics("1.2.3")
    assert metrics.exposition()[1].startswith("text/plain")
    body, content_type = metrics.exposition("application/openmetrics-text; version=1.0.0")
    assert content_type.startswith("application/openmetrics-text")
    assert body.endswith(b"# EOF\n")


async def test_events_are_counted_by_their_answer(measured: Measured) -> None:
    event_id = await measured.run("greet", value={})
    await measured.deliver("greet", {}, id=event_id)
    await measured.deliver("not-ours")
    await measured.keptn.deliver(b"{}", to=event_url(measured.service))
    answers = ("accepted", "duplicate", "ignored", "invalid")
    counted = [measured.value("remedy_events_received_total", answer=a) for a in answers]
    assert counted == [1, 1, 1, 1]


async def test_executions_and_attempts_are_counted_and_timed(measured: Measured) -> None:
    await measured.run("stumble")
    await measured.run("greet", value={})
    await measured.run("greet", value="no map")
    labels = {"action": "greet", "status": "succeeded", "result": "pass"}
    assert measured.value("remedy_executions_finished_total", **labels) == 1
    labels = {"action": "greet", "status": "errored", "result": "fail"}
    assert measured.value("remedy_executions_finished_total", **labels) == 1
    assert measured.value("remedy_attempts_failed_total", action="stumble") == 2
    assert measured.value("remedy_execution_duration_seconds_count", action="greet") == 2
    assert measured.value("remedy_execution_duration_seconds_sum", action="stumble") > 0


async def test_what_runs_is_gauged(measured: Measured) -> None:
    await measured.deliver("wait", service="carts")
    await measured.deliver("wait", service="orders")
    await measured.gate.until_entered(2)
    assert measured.value("remedy_executions_running") == 2
    measured.gate.open()
    await measured.service.drain()
    assert measured.value("remedy_executions_running") == 0


async def test_reports_are_counted_by_what_became_of_them(measured: Measured) -> None:
    measured.keptn.answer_next(503, event_type=STARTED)
    await measured.run("greet", value={})
    measured.keptn.answer_next(400, event_type=FINISHED)
    parked = await measured.deliver("greet", {})
    measured.keptn.expect_unanswered(parked)
    await measured.keptn.wait_until(lambda: len(measured.keptn.log_entries) == 1)
    await measured.service.drain()
    counted = {
        (kind, answer): measured.value("remedy_reports_total", kind=kind, answer=answer)
        for kind in ("started", "finished")
        for answer in ("sent", "failed", "parked")
    }
    assert counted == {
        ("started", "sent"): 2,
        ("started", "failed"): 1,
        ("started", "parked"): 0,
        ("finished", "sent"): 1,
        ("finished", "failed"): 0,
        ("finished", "parked"): 1,
    }


async def test_commits_are_timed(measured: Measured) -> None:
    await measured.run("greet", value={})
    assert measured.value("remedy_journal_commit_seconds_count") >= 3


async def test_what_events_say_makes_no_new_series(measured: Measured) -> None:
    await measured.run("greet", value={})
    await measured.deliver("not-ours")
    before = measured.series()
    for number in range(50):
        await measured.deliver(f"not-ours-{number}")
    names = [{"project": f"p{n}", "stage": f"s{n}", "service": f"v{n}"} for n in range(20)]
    await asyncio.gather(*(measured.run("greet", value={}, **scope) for scope in names))
    assert measured.series() == before


def test_every_attribute_has_a_metric_and_every_metric_an_attribute() -> None:
    metrics = Metrics("1")
    public = {name for name in vars(metrics) if not name.startswith("_")}
    assert public - {"registry"} == set(Metrics.__annotations__)

"""wait: durations, and an execution that rests in the journal until its time is over."""

from __future__ import annotations

import asyncio
import gc
import tracemalloc
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import orjson
import pytest
import yaml

from keptn_remedy.events import stored_trigger
from keptn_remedy.keptn.transports import local
from keptn_remedy.service import Service, running
from keptn_remedy.settings import KeptnSettings
from keptn_remedy.testing import FakeKeptn, ImpatientClock, registry_of, run_action, triggered
from keptn_remedy_actions.wait import Wait, WaitSettings
from tests.clocks import MovedClock
from tests.providing import event_url, settings
from tests.waiting import until

PAGE = Path(__file__).parents[2] / "docs/actions/wait.md"


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        (5, 5),
        ("90", 90),
        ("30s", 30),
        ("5m", 300),
        ("1h 30m", 5400),
        ("1.5h", 5400),
        ("2d", 172_800),
        ("250ms", 0.25),
        ({"duration": "5m"}, 300),
    ],
)
async def test_it_waits_for_the_duration(value: Any, seconds: float) -> None:
    clock = ImpatientClock()
    outcome = await run_action(
        Wait, value, settings=WaitSettings.model_validate({"longest": "7d"}), clock=clock
    )
    assert (outcome.result, outcome.message) == ("pass", f"waited {seconds:g} s")
    assert sum(clock.slept) == pytest.approx(seconds, abs=0.1)


@pytest.mark.parametrize(
    "value",
    [None, {}, "", 0, -1, "-5m", "five", "5 apples", "5m5", True, "8d", "nan", "inf", [5], "1" * 40,
     {"duration": None}, {"seconds": 5}],
)  # fmt: skip
async def test_what_is_no_duration_is_errored(value: Any) -> None:
    outcome = await run_action(Wait, value, settings=WaitSettings(longest=60))
    assert outcome.status == "errored", outcome


async def test_more_than_the_operator_allows_is_refused() -> None:
    outcome = await run_action(Wait, "2m", settings=WaitSettings(longest=60))
    assert (outcome.status, outcome.result) == ("succeeded", "fail")
    assert "120 s is more than WAIT_LONGEST allows, 60 s" in outcome.message


async def test_a_dry_run_does_not_wait() -> None:
    clock = ImpatientClock()
    outcome = await run_action(
        Wait, "2m", settings=WaitSettings(longest=600), clock=clock, dry_run=True
    )
    assert outcome.message == "dry run: wait would have been run"
    assert clock.slept == []


async def test_the_remediation_of_the_page_runs() -> None:
    remediation = yaml.safe_load(PAGE.read_text("utf-8").split("```yaml\n")[1].split("```")[0])
    [action] = remediation["spec"]["remediations"][0]["actionsOnOpen"]
    event = triggered(action["action"], action["value"])
    outcome = await run_action(Wait, settings=WaitSettings(longest=600), event=event)
    assert outcome.message == "waited 300 s"


# --- in a provider -------------------------------------------------------------------------------


class Waiting:
    """A provider in this process, killed and started again on the same journal."""

    def __init__(self, folder: Path, keptn: FakeKeptn) -> None:
        self.clock = MovedClock()
        self.keptn = keptn
        self._journal = folder / "journal.db"

    def serving(self, **others: Any) -> Any:
        made = registry_of(Wait, settings=WaitSettings(longest=86_400))
        config = settings(self._journal, self.keptn, **others)
        return running(config, made, keptn=KeptnSettings(), clock=self.clock)

    async def deliver(self, service: Service, value: Any, name: str = "carts") -> str:
        event = triggered("wait", value, service=name)
        await self.keptn.deliver(event, to=event_url(service))
        return str(event["id"])

    async def resting(self, service: Service, count: int = 1) -> None:
        engine = service.engine
        await until(lambda: len(engine.waiting_room) == count and not engine.dispatcher.running)


@pytest.fixture
async def waiting(tmp_path: Path) -> AsyncIterator[Waiting]:
    async with FakeKeptn() as keptn:
        yield Waiting(tmp_path, keptn)


def ended(waiting: Waiting, execution: str) -> Any:
    finished = waiting.keptn.finished(execution)
    return finished[0].data if finished else None


async def test_it_takes_no_slot_and_ends_when_its_time_is_over(waiting: Waiting) -> None:
    async with waiting.serving(max_concurrent=1) as service:
        first = await waiting.deliver(service, "1h")
        second = await waiting.deliver(service, "2h", "orders")
        await waiting.resting(service, 2)
        waiting.clock.forward(3_599)
        assert len(waiting.keptn.started(first)) == 1
        assert ended(waiting, first) is None
        waiting.clock.forward(2)
        await until(lambda: ended(waiting, first))
        assert ended(waiting, first)["message"] == "waited 3600 s"
        assert ended(waiting, second) is None
        waiting.clock.forward(3_600)
        await until(lambda: ended(waiting, second))


async def test_twenty_processes_that_end_meanwhile_change_nothing(waiting: Waiting) -> None:
    async with waiting.serving() as service:
        execution = await waiting.deliver(service, "1h")
        await waiting.resting(service)
    for _ in range(20):
        waiting.clock.forward(170)
        async with waiting.serving() as service:
            await waiting.resting(service)
    assert ended(waiting, execution) is None
    waiting.clock.forward(300)
    async with waiting.serving():
        await until(lambda: ended(waiting, execution))
    assert ended(waiting, execution)["message"] == "waited 3600 s"
    assert len(waiting.keptn.started(execution)) == 1


async def test_a_clock_that_is_set_changes_nothing(waiting: Waiting) -> None:
    async with waiting.serving() as service:
        execution = await waiting.deliver(service, "1h")
        await waiting.resting(service)
        waiting.clock.shift += 86_400
        waiting.clock.forward(1_800)
        assert ended(waiting, execution) is None
        waiting.clock.shift -= 2 * 86_400
        waiting.clock.forward(1_801)
        await until(lambda: ended(waiting, execution))


async def test_an_abort_ends_it(waiting: Waiting) -> None:
    async with waiting.serving() as service:
        execution = await waiting.deliver(service, "1h")
        await waiting.resting(service)
        waiting.keptn.abort(execution)
        assert await service.journal.note_abort(execution, "the sequence was aborted")
        service.engine.abort(execution, "the sequence was aborted")

        async def is_finished() -> bool:
            record = await service.journal.record(execution)
            return record is not None and record.state == "finished"

        await until(is_finished)
    assert ended(waiting, execution) is None


async def test_a_quarter_of_a_thousand_take_a_quarter_of_five_megabytes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(local, "KEPT", 1)  # else local mode shows their reports
    made = registry_of(Wait, settings=WaitSettings(longest=86_400))
    async with running(settings(tmp_path / "journal.db"), made) as service:
        dispatcher, room = service.engine.dispatcher, service.engine.waiting_room

        async def rest(names: range) -> None:
            events = [triggered("wait", "1h", service=f"service-{name}") for name in names]
            triggers = [stored_trigger(orjson.dumps(event)) for event in events]
            await asyncio.gather(*(dispatcher.accept(trigger, "wait") for trigger in triggers))
            await until(lambda: len(room) == names.stop and not dispatcher.running)
            gc.collect()

        await rest(range(20))
        tracemalloc.start()
        try:
            await rest(range(20, 270))
            taken, _ = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
    assert taken < 1_250_000

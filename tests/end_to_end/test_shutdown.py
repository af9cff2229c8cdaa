"""SIGTERM: what arrives is stored, what runs may end, what can't goes to the next process."""

import fcntl
import os
import time
from pathlib import Path
from signal import SIGINT, SIGTERM, Signals
from typing import Any

import aiohttp
import orjson
import pytest

from keptn_remedy.events import FINISHED, STARTED, STRUCTURED
from keptn_remedy.support.output import FLUSH_SECONDS
from keptn_remedy.testing import FakeKeptn, triggered
from tests.end_to_end.provider_process import START_SECONDS, Exit, ProviderProcess, eventually

# The process counts its drain from when it notices the signal; python itself then takes a moment.
SLACK_SECONDS = 1.0
AT_ONCE_SECONDS = 1.0
# Other work on the machine may hold one exit up, and hardly each of them.
TRIES = 3


async def test_an_idle_provider_leaves_at_once(tmp_path: Path) -> None:
    async with FakeKeptn() as keptn, ProviderProcess(tmp_path, keptn) as provider:
        left: list[Exit] = []
        while not left or (left[-1].seconds >= AT_ONCE_SECONDS and len(left) < TRIES):
            await provider.start()
            left.append(await provider.stop())
        assert {each.code for each in left} == {0}
        assert min(each.seconds for each in left) < AT_ONCE_SECONDS


async def test_output_that_nobody_reads_stops_neither_events_nor_the_exit(tmp_path: Path) -> None:
    reading, writing = os.pipe()
    fcntl.fcntl(writing, fcntl.F_SETPIPE_SZ, 4096)  # a few lines fill it
    async with FakeKeptn() as keptn, ProviderProcess(tmp_path, keptn) as provider:
        provider.write_to(writing)
        await provider.start()
        os.close(writing)
        for number in range(20):
            event = triggered("run-often", service=f"service-{number}")
            await keptn.deliver(event, to=provider.url)
            await keptn.task_finished(event["id"])
        left = await provider.stop()
        assert left.code == 0
        assert left.seconds < AT_ONCE_SECONDS + FLUSH_SECONDS
    os.close(reading)


async def test_what_arrives_during_the_drain_is_stored_but_not_started(tmp_path: Path) -> None:
    async with FakeKeptn() as keptn, ProviderProcess(tmp_path, keptn) as provider:
        await provider.start()
        provider.shut("gate")
        running = triggered("run-often", {"gate": "gate"})
        arriving = triggered("run-often", service="orders")
        await keptn.deliver(running, to=provider.url)
        await provider.runs(running["id"])

        provider.send(SIGTERM)
        await _not_ready(provider)
        keptn.open(arriving)
        status, headers = await _post(provider, arriving)
        assert (status, headers["Connection"]) == (202, "close")

        provider.open("gate")
        assert (await provider.exited()).code == 0
        assert _types(keptn, running["id"]) == [STARTED, FINISHED]
        assert provider.state(arriving["id"]) == "accepted"
        assert _types(keptn, arriving["id"]) == []

        await provider.start()
        assert (await keptn.task_finished(arriving["id"])).result == "pass"
        await provider.quiet()
        assert len(provider.traces("ran", running["id"])) == 1


async def test_what_waited_for_its_turn_is_not_started_when_its_lane_gets_free(
    tmp_path: Path,
) -> None:
    async with FakeKeptn() as keptn, ProviderProcess(tmp_path, keptn) as provider:
        await provider.start()
        provider.shut("gate")
        running, waiting = triggered("run-often", {"gate": "gate"}), triggered("run-often")
        await keptn.deliver(running, to=provider.url)
        await provider.runs(running["id"])
        await keptn.deliver(waiting, to=provider.url)

        provider.send(SIGTERM)
        await _not_ready(provider)
        provider.open("gate")

        assert (await provider.exited()).code == 0
        assert provider.state(running["id"]) == "finished"
        assert provider.state(waiting["id"]) == "accepted"
        await provider.start()
        await provider.quiet()


@pytest.mark.parametrize("number", [SIGTERM, SIGINT])
@pytest.mark.parametrize("action", ["set-file", "run-often"])
async def test_what_does_not_end_in_time_is_finished_by_the_next_process(
    tmp_path: Path, action: str, number: Signals
) -> None:
    async with (
        FakeKeptn() as keptn,
        ProviderProcess(tmp_path, keptn, drain_seconds=2) as provider,
    ):
        await provider.start()
        provider.shut("gate")
        event = triggered(action, {"gate": "gate"})
        await keptn.deliver(event, to=provider.url)
        await provider.runs(event["id"])

        left = await provider.stop(number)
        assert left.code == 0
        assert left.seconds < 2 + SLACK_SECONDS
        assert provider.state(event["id"]) == "started"
        assert _types(keptn, event["id"]) == [STARTED]

        provider.open("gate")
        await provider.start()
        assert (await keptn.task_finished(event["id"])).result == "pass"
        await provider.quiet()
        assert _types(keptn, event["id"]) == [STARTED, FINISHED]
        runs = provider.traces("ran", event["id"])
        assert len(runs) == 2
        assert len(set(runs)) == 1


async def test_what_must_not_be_repeated_is_finished_as_errored_before_the_exit(
    tmp_path: Path,
) -> None:
    async with (
        FakeKeptn() as keptn,
        ProviderProcess(tmp_path, keptn, drain_seconds=2) as provider,
    ):
        await provider.start()
        provider.shut("gate")
        event = triggered("run-once", {"gate": "gate"})
        await keptn.deliver(event, to=provider.url)
        await provider.runs(event["id"])

        left = await provider.stop()
        assert left.code == 0
        assert left.seconds < 2 + SLACK_SECONDS
        outcome = keptn.outcome(event["id"])
        assert (outcome.status, outcome.result) == ("errored", "fail")
        assert "interrupted" in keptn.finished(event["id"])[0].data["message"]

        await provider.start()
        await provider.quiet()
        assert len(provider.traces("ran", event["id"])) == 1


async def test_a_second_signal_ends_it_at_once_with_the_journal_intact(tmp_path: Path) -> None:
    async with FakeKeptn() as keptn, ProviderProcess(tmp_path, keptn) as provider:
        await provider.start()
        provider.shut("gate")
        events = [triggered("set-file", {"gate": "gate"}, service=f"s{i}") for i in range(10)]
        for event in events:
            await keptn.deliver(event, to=provider.url)
        await provider.runs(events[-1]["id"])

        provider.send(SIGTERM)
        await _not_ready(provider)
        provider.send(SIGTERM)
        assert (await provider.exited()).seconds < AT_ONCE_SECONDS
        assert provider.is_intact()
        assert {provider.state(event["id"]) for event in events} == {"started"}

        provider.open("gate")
        await provider.start()
        await provider.quiet()
        for event in events:
            assert len(set(provider.traces("ran", event["id"]))) == 1


@pytest.mark.parametrize("action", ["stubborn", "stuck-thread"])
async def test_an_action_that_cannot_be_cancelled_does_not_hold_up_the_exit(
    tmp_path: Path, action: str
) -> None:
    async with (
        FakeKeptn() as keptn,
        ProviderProcess(tmp_path, keptn, drain_seconds=4) as provider,
    ):
        await provider.start()
        provider.shut("gate")
        event = triggered(action, {"gate": "gate"})
        await keptn.deliver(event, to=provider.url)
        await provider.runs(event["id"])

        left = await provider.stop()
        assert left.code == 0
        assert left.seconds < 4 + SLACK_SECONDS
        provider.open("gate")
        await provider.start()
        assert (await keptn.task_finished(event["id"])).result == "pass"
        await provider.quiet()


async def test_a_keptn_that_does_not_answer_does_not_hold_up_the_exit(tmp_path: Path) -> None:
    async with (
        FakeKeptn() as keptn,
        ProviderProcess(tmp_path, keptn, drain_seconds=2) as provider,
    ):
        await provider.start()
        keptn.hold(counted=True)
        event = triggered("run-often")
        await keptn.deliver(event, to=provider.url)
        await keptn.wait_until(lambda: keptn.posts > 0)

        left = await provider.stop()
        assert left.code == 0
        assert left.seconds < 2 + SLACK_SECONDS

        keptn.release()
        await provider.start()
        await provider.quiet()
        assert _types(keptn, event["id"]) == [STARTED, FINISHED]


async def test_a_keptn_that_is_down_does_not_hold_up_the_exit(tmp_path: Path) -> None:
    async with (
        FakeKeptn() as keptn,
        ProviderProcess(tmp_path, keptn, drain_seconds=2) as provider,
    ):
        await provider.start()
        await keptn.stop_listening()
        event = triggered("run-often")
        await keptn.deliver(event, to=provider.url)
        await provider.has_finished(event["id"])

        left = await provider.stop()
        assert left.code == 0
        assert left.seconds < 2 + SLACK_SECONDS

        await keptn.listen()
        await provider.start()
        await provider.quiet()
        assert _types(keptn, event["id"]) == [STARTED, FINISHED]


async def test_what_ends_during_the_drain_is_reported_before_the_exit(tmp_path: Path) -> None:
    async with FakeKeptn() as keptn, ProviderProcess(tmp_path, keptn) as provider:
        await provider.start()
        provider.shut("gate")
        events = [triggered("run-often", {"gate": "gate"}, service=f"s{i}") for i in range(50)]
        for event in events:
            await keptn.deliver(event, to=provider.url)
        await provider.runs(events[-1]["id"])

        provider.send(SIGTERM)
        await _not_ready(provider)
        provider.open("gate")
        assert (await provider.exited()).code == 0
        assert provider.is_quiet()


async def test_a_signal_during_the_start_is_heeded(tmp_path: Path) -> None:
    async with FakeKeptn() as keptn, ProviderProcess(tmp_path, keptn) as provider:
        provider.launch()
        await eventually(provider.journal.exists, seconds=START_SECONDS)
        left = await provider.stop()
        assert left.seconds < AT_ONCE_SECONDS
        await provider.start()
        assert provider.is_intact()


async def _not_ready(provider: ProviderProcess) -> None:
    """Wait until `/readyz` says 503, while the process still answers."""
    deadline = time.monotonic() + 5
    while (status := await provider.readiness()) == 200:
        assert time.monotonic() < deadline
    assert status == 503


async def _post(provider: ProviderProcess, event: dict[str, Any]) -> tuple[int, Any]:
    async with (
        aiohttp.ClientSession() as session,
        session.post(
            provider.url, data=orjson.dumps(event), headers={"Content-Type": STRUCTURED}
        ) as answer,
    ):
        return answer.status, answer.headers


def _types(keptn: FakeKeptn, execution: str) -> list[str]:
    return [event.type for event in keptn.events_of(execution)]

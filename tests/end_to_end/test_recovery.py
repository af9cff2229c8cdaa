"""After `kill -9` each execution is taken up where the journal says that it was."""

import hashlib
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from keptn_remedy.events import FINISHED, STARTED
from keptn_remedy.testing import FakeKeptn, triggered
from tests.end_to_end.provider_process import ProviderProcess, eventually

RETRIED_OFTEN = 4


async def test_what_was_accepted_but_not_begun_runs_after_a_kill(tmp_path: Path) -> None:
    async with FakeKeptn() as keptn, ProviderProcess(tmp_path, keptn) as provider:
        await provider.start()
        provider.shut("gate")
        first, second = triggered("run-often", {"gate": "gate"}), triggered("run-often")
        await keptn.deliver(first, to=provider.url)
        await provider.runs(first["id"])
        await keptn.deliver(second, to=provider.url)

        provider.kill()
        assert provider.state(second["id"]) == "accepted"
        assert not provider.traces("ran", second["id"])
        provider.open("gate")
        await provider.start()

        assert (await keptn.task_finished(second["id"])).result == "pass"
        assert (await keptn.task_finished(first["id"])).result == "pass"
        await provider.quiet()
        assert len(provider.traces("ran", second["id"])) == 1


async def test_what_keptn_aborted_after_a_kill_is_neither_begun_nor_answered(
    tmp_path: Path,
) -> None:
    async with FakeKeptn() as keptn, ProviderProcess(tmp_path, keptn) as provider:
        await provider.start()
        provider.shut("gate")
        first, second = triggered("run-often", {"gate": "gate"}), triggered("run-often")
        await keptn.deliver(first, to=provider.url)
        await provider.runs(first["id"])
        await keptn.deliver(second, to=provider.url)

        provider.kill()
        assert provider.state(second["id"]) == "accepted"
        keptn.abort(second["id"])
        provider.open("gate")
        await provider.start()

        assert (await keptn.task_finished(first["id"])).result == "pass"
        await eventually(lambda: provider.state(second["id"]) == "finished")
        await provider.quiet()
        assert not provider.traces("ran", second["id"])
        assert not keptn.events_of(second["id"])


async def test_a_planned_action_that_was_cut_off_applies_the_same_plan_again(
    tmp_path: Path,
) -> None:
    async with FakeKeptn() as keptn, ProviderProcess(tmp_path, keptn) as provider:
        await provider.start()
        provider.shut("gate")
        event = triggered("set-file", {"gate": "gate"})
        await keptn.deliver(event, to=provider.url)
        await provider.runs(event["id"])

        provider.kill()
        assert provider.state(event["id"]) == "started"
        provider.open("gate")
        await provider.start()

        assert (await keptn.task_finished(event["id"])).result == "pass"
        await provider.quiet()
        runs = provider.traces("ran", event["id"])
        assert len(runs) == 2
        assert set(runs) == {provider.effect(event["id"])}


async def test_an_idempotent_action_that_was_cut_off_is_run_again(tmp_path: Path) -> None:
    async with FakeKeptn() as keptn, ProviderProcess(tmp_path, keptn) as provider:
        await provider.start()
        provider.shut("gate")
        event = triggered("run-often", {"gate": "gate"})
        await keptn.deliver(event, to=provider.url)
        await provider.runs(event["id"])

        provider.kill()
        assert provider.state(event["id"]) == "started"
        provider.open("gate")
        await provider.start()

        assert (await keptn.task_finished(event["id"])).result == "pass"
        await provider.quiet()
        assert len(provider.traces("ran", event["id"])) == 2


async def test_an_action_that_must_not_be_repeated_is_finished_as_errored(tmp_path: Path) -> None:
    async with FakeKeptn() as keptn, ProviderProcess(tmp_path, keptn) as provider:
        await provider.start()
        provider.shut("gate")
        event = triggered("run-once", {"gate": "gate"})
        await keptn.deliver(event, to=provider.url)
        await provider.runs(event["id"])

        provider.kill()
        await provider.start()

        outcome = await keptn.task_finished(event["id"])
        assert (outcome.status, outcome.result) == ("errored", "fail")
        assert "interrupted" in keptn.finished(event["id"])[0].data["message"]
        await provider.quiet()
        assert len(provider.traces("ran", event["id"])) == 1


async def test_what_was_finished_but_not_reported_is_reported_and_not_run_again(
    tmp_path: Path,
) -> None:
    async with FakeKeptn() as keptn, ProviderProcess(tmp_path, keptn) as provider:
        await provider.start()
        provider.shut("gate")
        event = triggered("run-often", {"gate": "gate"})
        await keptn.deliver(event, to=provider.url)
        await keptn.wait_until(lambda: bool(keptn.started(event["id"])))
        await keptn.stop_listening()
        provider.open("gate")
        await provider.has_finished(event["id"])

        provider.kill()
        assert FINISHED in {report["type"] for report in provider.unsent()}
        await keptn.listen()
        await provider.start()

        assert (await keptn.task_finished(event["id"])).result == "pass"
        await provider.quiet()
        assert len(provider.traces("ran", event["id"])) == 1


@pytest.mark.parametrize("report", [STARTED, FINISHED])
async def test_a_report_that_keptn_counted_before_the_kill_is_not_sent_again(
    tmp_path: Path, report: str
) -> None:
    async with FakeKeptn() as keptn, ProviderProcess(tmp_path, keptn) as provider:
        await provider.start()
        keptn.drop_next(counted=True, event_type=report)
        event = triggered("run-often")
        await keptn.deliver(event, to=provider.url)
        await keptn.wait_until(lambda: report in _types(keptn, event["id"]))

        provider.kill()
        assert report in {unsent["type"] for unsent in provider.unsent()}
        await provider.start()

        await provider.quiet()
        assert _types(keptn, event["id"]) == [STARTED, FINISHED]


@pytest.mark.parametrize("report", [STARTED, FINISHED])
async def test_a_report_that_was_cut_off_before_keptn_counted_it_is_sent_again(
    tmp_path: Path, report: str
) -> None:
    async with FakeKeptn() as keptn, ProviderProcess(tmp_path, keptn) as provider:
        await provider.start()
        keptn.drop_next(counted=False, event_type=report)
        event = triggered("run-often")
        await keptn.deliver(event, to=provider.url)
        await eventually(lambda: provider.rows("SELECT 1 FROM reports WHERE attempts > 0"))

        provider.kill()
        await provider.start()

        await provider.quiet()
        assert _types(keptn, event["id"]) == [STARTED, FINISHED]


async def test_a_report_that_keptn_holds_while_we_are_killed_is_not_doubled(tmp_path: Path) -> None:
    async with FakeKeptn() as keptn, ProviderProcess(tmp_path, keptn) as provider:
        await provider.start()
        keptn.hold(counted=False)
        event = triggered("set-file")
        await keptn.deliver(event, to=provider.url)
        await keptn.wait_until(lambda: keptn.posts > 0)

        provider.kill()
        keptn.release()
        await provider.start()

        await provider.quiet()
        assert _types(keptn, event["id"]) == [STARTED, FINISHED]


async def test_where_the_sequence_cannot_be_asked_the_open_list_tells_that_we_are_done(
    tmp_path: Path,
) -> None:
    async with FakeKeptn("0.19") as keptn, ProviderProcess(tmp_path, keptn) as provider:
        await provider.start()
        provider.shut("gate")
        event = triggered("run-often", {"gate": "gate"})
        await keptn.deliver(event, to=provider.url)
        await provider.runs(event["id"])
        await eventually(lambda: not provider.unsent())
        keptn.drop_next(counted=True, event_type=FINISHED)
        provider.open("gate")
        await keptn.task_finished(event["id"])

        provider.kill()
        assert [report["type"] for report in provider.unsent()] == [FINISHED]
        await provider.start()

        await provider.quiet()
        assert _types(keptn, event["id"]) == [STARTED, FINISHED]


async def test_reports_keep_their_backoff_over_a_restart(tmp_path: Path) -> None:
    sql = "SELECT attempts, due_at, reason FROM reports WHERE kind = 'started'"
    async with FakeKeptn() as keptn, ProviderProcess(tmp_path, keptn) as provider:
        await provider.start()
        await keptn.stop_listening()
        event = triggered("run-often")
        await keptn.deliver(event, to=provider.url)
        await eventually(lambda: provider.rows(sql) and provider.rows(sql)[0][0] >= RETRIED_OFTEN)

        provider.kill()
        ((attempts, due_at, _),) = provider.rows(sql)
        await provider.start()
        ((attempts_after, due_after, _),) = provider.rows(sql)
        assert (attempts_after, due_after >= due_at) == (attempts, True)
        await eventually(lambda: provider.rows(sql)[0][0] > attempts)

        await keptn.listen()
        await provider.quiet()
        assert _types(keptn, event["id"]) == [STARTED, FINISHED]


async def test_an_event_sent_again_after_the_kill_is_a_duplicate(tmp_path: Path) -> None:
    async with FakeKeptn() as keptn, ProviderProcess(tmp_path, keptn) as provider:
        await provider.start()
        provider.shut("gate")
        event = triggered("run-often", {"gate": "gate"})
        assert (await keptn.deliver(event, to=provider.url)).status == 202

        provider.kill()
        await provider.start()

        again = await keptn.deliver(event, to=provider.url)
        assert (again.status, again.json) == (200, {"duplicate": event["id"]})
        provider.open("gate")
        await provider.quiet()


async def test_a_target_that_a_cut_off_plan_holds_is_not_planned_for_by_others(
    tmp_path: Path,
) -> None:
    async with FakeKeptn() as keptn, ProviderProcess(tmp_path, keptn) as provider:
        await provider.start()
        for gate in ("plan", "apply"):
            provider.shut(gate)
        planning = triggered("count-up", {"counter": "n", "plan_gate": "plan"}, service="a")
        applying = triggered("count-up", {"counter": "n", "gate": "apply"}, service="b")
        await keptn.deliver(planning, to=provider.url)
        await eventually(lambda: provider.traces("planned", planning["id"]))
        await keptn.deliver(applying, to=provider.url)
        await provider.runs(applying["id"])

        provider.kill()
        provider.open("plan")
        await provider.start()
        await eventually(lambda: len(provider.traces("ran", applying["id"])) == 2)
        provider.open("apply")

        await provider.quiet()
        assert provider.effect("n") == "2"


async def test_a_plan_that_another_execution_overtook_is_made_again(tmp_path: Path) -> None:
    async with FakeKeptn() as keptn, ProviderProcess(tmp_path, keptn) as provider:
        await provider.start()
        provider.shut("plan")
        slow = triggered("count-up", {"counter": "n", "plan_gate": "plan"}, service="a")
        quick = triggered("count-up", {"counter": "n"}, service="b")
        await keptn.deliver(slow, to=provider.url)
        await eventually(lambda: provider.traces("planned", slow["id"]))
        await keptn.deliver(quick, to=provider.url)
        await keptn.task_finished(quick["id"])
        provider.open("plan")

        await provider.quiet()
        assert provider.effect("n") == "2"


async def test_two_processes_do_not_serve_from_one_journal(tmp_path: Path) -> None:
    async with (
        FakeKeptn() as keptn,
        ProviderProcess(tmp_path, keptn) as provider,
        ProviderProcess(_made(tmp_path / "other"), keptn, journal=provider.journal) as other,
    ):
        await provider.start()
        other.launch()
        assert (await other.exited()).code == 1
        message = other.log_tail().strip()
        assert message.count("\n") == 0
        assert f"another process serves from the journal {provider.journal}" in message

        await keptn.deliver(event := triggered("run-often"), to=provider.url)
        assert (await keptn.task_finished(event["id"])).result == "pass"
        await provider.quiet()


async def test_a_journal_whose_process_was_killed_is_free_for_another(tmp_path: Path) -> None:
    async with (
        FakeKeptn() as keptn,
        ProviderProcess(tmp_path, keptn) as provider,
        ProviderProcess(_made(tmp_path / "other"), keptn, journal=provider.journal) as other,
    ):
        await provider.start()
        provider.kill()
        await other.start()


async def test_a_newer_journal_is_refused_and_left_alone(tmp_path: Path) -> None:
    async with FakeKeptn() as keptn, ProviderProcess(tmp_path, keptn) as provider:
        await provider.start()
        await provider.stop()
        with closing(sqlite3.connect(provider.journal)) as connection:
            connection.execute("PRAGMA user_version = 99")
        before = _digest(provider.journal)

        provider.launch()
        assert (await provider.exited()).code == 1
        assert "the journal has version 99" in provider.log_tail().splitlines()[-1]
        assert _digest(provider.journal) == before


def _types(keptn: FakeKeptn, execution: str) -> list[str]:
    return [event.type for event in keptn.events_of(execution)]


def _made(folder: Path) -> Path:
    folder.mkdir()
    return folder


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()

"""Other settings of a policy: dry runs, `ignore`, the results of refusals and failures, undo."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest_asyncio

from keptn_remedy.journal import Undo
from tests.core.guardrails.railing import Ask, Rig, rigged
from tests.providing import event_url
from tests.waiting import until

VAIN = Ask(in_vain=True)


@pytest_asyncio.fixture
async def rig(tmp_path: Path) -> AsyncIterator[Rig]:
    async with rigged(tmp_path) as rig:
        yield rig


# Dry runs


async def test_a_dry_run_tells_the_plan_and_changes_nothing(rig: Rig) -> None:
    rig.write("mode: dry-run")
    async with rig.serving():
        ended = await rig.ask()
        assert (ended.status, ended.result) == ("succeeded", "warning")
        assert ended.message == "dry run (the rule): a number: 1 -> 2"
        assert ended.details == {"plan": {"a number": "1 -> 2"}}
        greeted = await rig.ask(Ask(action="greet"))
        assert greeted.message == "dry run (the rule): greet would have been run"
    assert rig.knobs.numbers == {}
    assert rig.knobs.steps == ["plan"]


async def test_a_dry_run_says_what_would_have_come_in_the_way(rig: Rig) -> None:
    rig.write("mode: dry-run, targets_at_most: 1")
    async with rig.serving():
        ended = await rig.ask(Ask(("a", "b")))
        assert "but it would have been refused by guard-rail targets (the rule)" in ended.message
        assert ended.result == "warning"


async def test_a_dry_run_counts_for_nothing(rig: Rig) -> None:
    rig.write("mode: dry-run, once_within: 1h")
    async with rig.serving():
        for _ in range(3):
            assert "refused" not in (await rig.ask()).message


async def test_one_target_in_a_dry_run_keeps_the_whole_plan_from_being_applied(rig: Rig) -> None:
    rig.write("match: {target: b}, mode: dry-run", "mode: act")
    async with rig.serving():
        assert (await rig.ask(Ask(("a", "b")))).message.startswith("dry run")
        await rig.acts(Ask(("a",)))


# No reply


async def test_what_is_left_to_others_is_met_with_silence(rig: Rig) -> None:
    rig.write("match: {service: carts}, decision: ignore")
    async with rig.serving():
        event = Ask().event()
        answer = await rig.keptn.deliver(event, to=event_url(rig.service))
        assert answer.status == 200
        await rig.acts(Ask(service="orders"))
        assert rig.keptn.events_of(event["id"]) == []
        assert await rig.service.journal.known([event["id"]]) == set()


async def test_what_was_accepted_before_the_policy_left_it_to_others_is_refused(rig: Rig) -> None:
    async with rig.serving(drain_seconds=2) as service:
        service.engine.dispatcher.stop_starting()
        left = await rig.deliver()
    rig.write("decision: ignore")
    async with rig.serving():
        rig.is_told(await rig.ended(left), "decision", "the rule")


# The results of refusals and failures


async def test_a_refusal_may_be_reported_as_a_warning(rig: Rig) -> None:
    rig.write("decision: deny, on_refused: warning")
    async with rig.serving():
        ended = await rig.refused(Ask(), "decision", "the rule")
        assert (ended.status, ended.result) == ("succeeded", "warning")
        assert ended.message.endswith("; the sequence goes on")


async def test_a_failure_may_be_reported_as_a_warning_and_still_did_not_help(rig: Rig) -> None:
    rig.write("on_failed: warning, suspend_after: 1")
    async with rig.serving():
        ended = await rig.ask(VAIN)
        assert (ended.status, ended.result) == ("succeeded", "warning")
        assert ended.message == "in vain; undone; reported as a warning, the sequence goes on"
        await rig.refused(Ask(), "suspended", "the rule", executions=1, limit=1)


async def test_where_targets_differ_a_refusal_is_reported_as_a_failure(rig: Rig) -> None:
    rig.write("on_refused: warning, targets_at_most: 1", "match: {target: b}, on_refused: fail")
    async with rig.serving():
        assert (await rig.ask(Ask(("a", "c")))).result == "warning"
        assert (await rig.ask(Ask(("a", "b")))).result == "fail"


# Suspensions that people end


async def test_a_suspended_target_acts_again_once_a_person_resumes_it(rig: Rig) -> None:
    rig.write("suspend_after: 2")
    async with rig.serving() as service:
        await rig.acts(VAIN, VAIN)
        await rig.refused(Ask(), "suspended", "the rule", executions=2, limit=2)
        await service.journal.forgive("a", "ann")
        await rig.acts(VAIN)
    async with rig.serving():
        await rig.acts(VAIN)
        await rig.refused(Ask(), "suspended", "the rule", executions=2, limit=2)


async def test_what_the_same_problem_asks_for_again_did_not_help(rig: Rig) -> None:
    rig.write("suspend_after: 2")
    round_of_one_problem = Ask(context="problem 1")
    async with rig.serving():
        await rig.acts(round_of_one_problem, round_of_one_problem)
        await rig.refused(round_of_one_problem, "suspended", "the rule", executions=2, limit=2)
        await rig.acts(Ask(context="problem 2"))
        await rig.acts(round_of_one_problem)


# Undoing what has finished

UNDO: dict[str, Any] = {"cause": "operator", "by": "ann"}


async def undone(rig: Rig, execution_id: str) -> Undo:
    found: list[Undo] = []

    async def has_ended() -> bool:
        undo = await rig.service.journal.undo_of(execution_id)
        found[:] = [undo] if undo and undo.ended_at else []
        return bool(found)

    await until(has_ended)
    return found[0]


async def test_rates_and_cooldowns_do_not_hold_back_an_undo(rig: Rig) -> None:
    rig.write(
        "cooldown: 1h, once_within: 1h, settle: 1h, storm: {targets: 1, within: 1h},"
        " at_once: 1, turn_within: 0, at_most: [{executions: 1, within: 1h, per: action}]"
    )
    async with rig.serving() as service:
        acted = await rig.ask()
        assert await service.journal.want_undo(acted.id, **UNDO) is None
        assert (await undone(rig, acted.id)).state == "done"
    assert rig.knobs.numbers == {"a": 1}


async def test_a_pause_refuses_an_undo_that_somebody_asks_for(rig: Rig) -> None:
    async with rig.serving() as service:
        acted = await rig.ask()
        await rig.pause()
        assert await service.journal.want_undo(acted.id, **UNDO) is None
        undo = await undone(rig, acted.id)
        assert undo.state == "refused"
        assert "paused by ann" in str(undo.message)
        await rig.resume()
        assert await service.journal.want_undo(acted.id, **UNDO) is None
        assert (await undone(rig, acted.id)).state == "done"
    assert rig.knobs.numbers == {"a": 1}


async def test_an_undo_that_nobody_asked_for_waits_for_the_end_of_a_pause(rig: Rig) -> None:
    rig.write("undo: {after: 30m}")
    async with rig.serving() as service:
        acted = await rig.ask()
        await rig.pause()
    rig.clock.forward(1801)
    async with rig.serving() as service:
        await until(lambda: service.pauses.current is not None)
        assert rig.knobs.numbers == {"a": 2}
        rig.clock.forward(1)
        await rig.resume()
        assert (await undone(rig, acted.id)).state == "done"
    assert rig.knobs.numbers == {"a": 1}
    assert rig.knobs.steps.count("undo") == 1


async def test_an_undo_waits_for_who_holds_its_target(rig: Rig) -> None:
    async with rig.serving() as service:
        acted = await rig.ask()
        gate = rig.knobs.shut()
        running = await rig.deliver(Ask(service="orders"))
        await gate.until_entered(1)
        assert await service.journal.want_undo(acted.id, **UNDO) is None
        await until(lambda: service.engine.locks._interest["a"] == 2)
        assert rig.knobs.steps[-1] == "apply"
        gate.open()
        await rig.ended(running)
        undo = await undone(rig, acted.id)
        assert undo.state == "refused"
        assert f"execution {running} acted on it since" in str(undo.message)
    assert rig.knobs.numbers == {"a": 3}


async def test_a_pause_that_comes_while_an_undo_waits_for_its_target_holds_it_back(
    rig: Rig,
) -> None:
    async with rig.serving() as service:
        acted = await rig.ask()
        gate = rig.knobs.shut()
        running = await rig.deliver(Ask(service="orders"))
        await gate.until_entered(1)
        assert await service.journal.want_undo(acted.id, **UNDO) is None
        await until(lambda: service.engine.locks._interest["a"] == 2)
        await rig.pause()
        gate.open()
        await rig.ended(running)
        assert "paused by ann" in str((await undone(rig, acted.id)).message)
    assert "undo" not in rig.knobs.steps

"""Approval: an execution waits for a person with its plan visible, however long that takes."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncIterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from keptn_remedy.journal.sqlite import SqliteJournal
from tests.core.guardrails.railing import Ask, Rig, rigged
from tests.waiting import until

ASKED = "mode: approve, approve_within: 15m"


@pytest_asyncio.fixture
async def rig(tmp_path: Path) -> AsyncIterator[Rig]:
    async with rigged(tmp_path) as rig:
        rig.write(ASKED)
        yield rig


def is_resting(rig: Rig) -> bool:
    return len(rig.service.engine.waiting_room) > 0


async def asked_about(rig: Rig, execution_id: str) -> Any:
    """What the API shows of its question."""
    detail = await rig.detail(execution_id)
    return (detail["waiting"], [change["after"] for change in detail["question"]["plan"]])


async def test_what_is_approved_is_carried_out(rig: Rig) -> None:
    async with rig.serving():
        asking = await rig.asking()
        assert await asked_about(rig, asking) == ("approval", [2])
        assert rig.keptn.started(asking)
        assert rig.knobs.numbers == {}
        await rig.answer(asking, "approved")
        assert (await rig.ended(asking)).result == "pass"
    assert rig.knobs.numbers == {"a": 2}
    (line,) = rig.log.saying("approval needed")
    assert (line["rule"], line["plan"]) == ("the rule", "a number: 1 -> 2")
    assert line["how"] == f"remedy approve {asking}"


async def test_what_is_denied_is_refused_with_who_and_why(rig: Rig) -> None:
    async with rig.serving():
        asking = await rig.asking()
        await rig.answer(asking, "denied", "not on a Friday")
        ended = await rig.ended(asking)
        rig.is_told(ended, "approval", "the rule")
        assert "denied by ann: not on a Friday; the sequence stops here" in ended.message
        assert rig.refusals("approval", "the rule") == 1
    assert rig.knobs.numbers == {}


async def test_a_plain_action_asks_as_well(rig: Rig) -> None:
    async with rig.serving():
        asking = await rig.asking(Ask(action="greet"))
        await rig.answer(asking, "approved")
        assert (await rig.ended(asking)).result == "pass"


async def test_silence_is_a_no_unless_the_rule_says_otherwise(rig: Rig) -> None:
    async with rig.serving():
        asking = await rig.asking()
        rig.clock.forward(901)
        ended = await rig.ended(asking)
        rig.is_told(ended, "approval", "the rule")
        assert "nobody approved within 15m" in ended.message
    assert rig.knobs.numbers == {}


async def test_silence_is_a_yes_where_the_rule_says_so(rig: Rig) -> None:
    rig.write(f"{ASKED}, approval_default: approve")
    async with rig.serving():
        asking = await rig.asking()
        rig.clock.forward(901)
        assert (await rig.ended(asking)).result == "pass"


@pytest.mark.parametrize("default", ["deny", "approve"])
@pytest.mark.parametrize("verdict", ["denied", "approved"])
async def test_an_answer_of_the_last_moment_is_heeded_if_it_was_taken(
    rig: Rig, verdict: Any, default: str
) -> None:
    rig.write(f"{ASKED}, approval_default: {default}")
    async with rig.serving():
        asking = await rig.asking()
        with closing(sqlite3.connect(rig.journal, isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            beside = SqliteJournal.beside(rig.journal, now=rig.clock.now)
            answer = asyncio.create_task(beside.answer(asking, verdict, "ann", None))
            await asyncio.sleep(0)
            rig.clock.forward(901)
            await until(lambda: not is_resting(rig))
            other.execute("COMMIT")
        is_taken = await answer is None
        await beside.close()
        ended = await rig.ended(asking)
    acts = verdict == "approved" if is_taken else default == "approve"
    assert (ended.result == "pass") is acts
    assert rig.knobs.numbers == ({"a": 2} if acts else {})


async def test_silence_is_nobodys_answer(rig: Rig) -> None:
    rig.write(f"{ASKED}, approval_default: approve")
    async with rig.serving():
        asking = await rig.asking()
        rig.clock.forward(901)
        ended = await rig.ended(asking)
    question = ended.detail["question"]
    assert (question["verdict"], question["by"], question["reason"]) == ("approved", None, None)
    assert "approved_by" not in ended.details
    assert rig.log.saying("approved") == []


@pytest.mark.parametrize("default", ["deny", "approve"])
async def test_a_process_that_dies_once_the_time_is_over_changes_nothing_about_it(
    rig: Rig, default: str
) -> None:
    rig.write(f"{ASKED}, approval_default: {default}")
    async with rig.serving():
        asking = await rig.asking()
    journal = SqliteJournal.open(rig.journal, now=rig.clock.now)
    (execution,) = await journal.questions(1)
    assert await journal.close_question(execution)
    await journal.close()
    async with rig.serving():
        ended = await rig.ended(asking)
        assert (ended.result == "pass") is (default == "approve")
        assert ("nobody approved within 15m" in ended.message) is (default == "deny")


async def test_where_targets_differ_the_rule_that_asks_for_most_holds(rig: Rig) -> None:
    rig.write(
        "match: {target: a}, mode: approve, approve_within: 1h, approval_default: approve",
        "match: {target: b}, mode: approve, approve_within: 15m, approval_default: deny",
    )
    async with rig.serving():
        asking = await rig.asking(Ask(("a", "b")))
        rig.clock.forward(901)
        rig.is_told(await rig.ended(asking), "approval", "another rule")


async def test_a_plan_that_has_changed_meanwhile_is_asked_about_again(rig: Rig) -> None:
    async with rig.serving():
        asking = await rig.asking()
        rig.knobs.numbers["a"] = 7
        await rig.answer(asking, "approved")
        await until(lambda: rig.is_asking(asking))
        assert await asked_about(rig, asking) == ("approval", [8])
        assert rig.knobs.numbers == {"a": 7}
        await rig.answer(asking, "approved")
        assert (await rig.ended(asking)).result == "pass"
    assert rig.knobs.numbers == {"a": 8}
    assert len(rig.log.saying("approval needed")) == 2


async def test_what_changes_nothing_asks_nobody(rig: Rig) -> None:
    async with rig.serving():
        await rig.acts(Ask(to=1))
    assert rig.log.saying("approval needed") == []


async def test_what_a_rail_refuses_is_not_asked_about(rig: Rig) -> None:
    rig.write(f"{ASKED}, targets_at_most: 1")
    async with rig.serving():
        await rig.refused(Ask(("a", "b")), "targets", "the rule", targets=2, limit=1)
    assert rig.log.saying("approval needed") == []


async def test_what_is_approved_must_still_pass_the_rails(rig: Rig) -> None:
    async with rig.serving() as service:
        asking = await rig.asking()
        before = service.policy.rules
        rig.write(f"{ASKED}, decision: deny")
        service.reload.set()
        await until(lambda: service.policy.rules is not before)
        await rig.answer(asking, "approved")
        assert (await rig.ended(asking)).details["rail"] == "decision"
    assert rig.knobs.numbers == {}


async def test_who_waits_for_a_person_takes_no_slot(rig: Rig) -> None:
    rig.write(f"match: {{service: carts}}, {ASKED}")
    async with rig.serving(max_concurrent=1):
        asking = await rig.asking()
        for service in ("orders", "users"):
            await rig.acts(Ask((service,), service=service))
        await rig.answer(asking, "approved")
        assert (await rig.ended(asking)).result == "pass"


async def test_who_waits_for_a_person_takes_no_place_at_once_and_holds_no_target(rig: Rig) -> None:
    rig.write(f"match: {{service: carts}}, {ASKED}", "at_once: 1, turn_within: 0")
    async with rig.serving():
        asking = await rig.asking()
        await rig.acts(Ask(("a",), service="orders"))
        await rig.answer(asking, "denied")
        await rig.ended(asking)


async def test_nobody_waits_for_a_person_when_leaving(rig: Rig) -> None:
    async with rig.serving() as service:
        asking = await rig.asking()
        async with asyncio.timeout(10):
            await service.drain()
    async with rig.serving():
        assert await rig.is_asking(asking)
        await rig.answer(asking, "denied")
        await rig.ended(asking)


@pytest.mark.parametrize("restarts", [1, 12])
async def test_the_question_survives_restarts_and_is_not_asked_anew(
    rig: Rig, restarts: int
) -> None:
    async with rig.serving():
        asking = await rig.asking()
    for _ in range(restarts):
        async with rig.serving():
            await until(lambda: is_resting(rig))
            assert rig.knobs.numbers == {}
    async with rig.serving():
        await rig.answer(asking, "approved")
        assert (await rig.ended(asking)).result == "pass"
    assert len(rig.log.saying("approval needed")) == 1
    assert rig.knobs.numbers == {"a": 2}


@pytest.mark.parametrize(("verdict", "result"), [("approved", "pass"), ("denied", "fail")])
async def test_an_answer_that_was_given_while_nothing_ran_is_heeded(
    rig: Rig, verdict: Any, result: str
) -> None:
    async with rig.serving():
        asking = await rig.asking()
    journal = SqliteJournal.open(rig.journal, now=rig.clock.now)
    assert await journal.answer(asking, verdict, "ann", None) is None
    await journal.close()
    async with rig.serving():
        assert (await rig.ended(asking)).result == result


async def test_the_time_goes_on_while_nothing_runs(rig: Rig) -> None:
    async with rig.serving():
        asking = await rig.asking()
    rig.clock.forward(901)
    async with rig.serving():
        rig.is_told(await rig.ended(asking), "approval", "the rule")


async def test_a_plan_that_was_approved_is_not_asked_about_again_after_a_restart(
    rig: Rig,
) -> None:
    gate = rig.knobs.shut()
    async with rig.serving(drain_seconds=2):
        asking = await rig.asking()
        await rig.answer(asking, "approved")
        await gate.until_entered(1)
    gate.open()
    async with rig.serving():
        assert (await rig.ended(asking)).result == "pass"
    assert len(rig.log.saying("approval needed")) == 1

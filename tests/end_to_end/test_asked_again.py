"""What is asked a second time: of a person about a plan, of the rails after a restart."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, ClassVar

import pytest

from keptn_remedy import Change, Context, Outcome, Plan, PlannedAction
from keptn_remedy.testing import FakeKeptn, triggered
from tests.providing import Gate, event_url, gated, provider
from tests.waiting import until

ASKS = "version: 1\nrules: [{name: careful, mode: approve}]\n"
SETTLES = "version: 1\nrules: [{name: careful, settle: 1s}]\n"


class Stamp(PlannedAction):
    """Plans a time that differs each time, and a tuple, which is stored as a list."""

    name = "stamp"
    planned: ClassVar[int] = 0
    applied: ClassVar[int] = 0

    async def plan(self, context: Context, value: Any) -> Plan:
        Stamp.planned += 1
        return Plan((Change("stamp", "at", None, (self.planned, "o'clock")),))

    def is_same(self, asked: Plan, now: Plan) -> bool:
        same_word = asked.changes[0].after[1:] == now.changes[0].after[1:]
        return asked.targets == now.targets and same_word

    async def apply(self, context: Context, plan: Plan) -> None:
        Stamp.applied += 1

    async def verify(self, context: Context, plan: Plan) -> Outcome:
        return Outcome.passed("stamped")

    async def undo(self, context: Context, plan: Plan) -> None: ...


@asynccontextmanager
async def approved(folder: Path, action: type[Stamp]) -> AsyncIterator[tuple[FakeKeptn, str]]:
    """An execution of the action, which a person was asked about and has approved."""
    Stamp.planned = Stamp.applied = 0
    policy = folder / "policy.yaml"
    policy.write_text(ASKS)
    async with (
        FakeKeptn() as keptn,
        provider(folder / "j.db", keptn, action, policy=policy) as service,
    ):
        event = triggered(action.name)
        await keptn.deliver(event, to=event_url(service))

        async def asks() -> bool:
            return bool(await service.journal.questions(1))

        await until(asks)
        assert await service.journal.answer(event["id"], "approved", "ann", "fine") is None
        yield keptn, event["id"]


async def test_an_action_says_which_plans_are_the_same_to_a_person(tmp_path: Path) -> None:
    async with approved(tmp_path, Stamp) as (keptn, execution):
        assert (await keptn.task_finished(execution)).result == "pass"
        assert (Stamp.planned, Stamp.applied) == (2, 1)
        told = keptn.finished(execution)[0].data["remedy"]
        assert (told["approved_by"], told["approved_because"]) == ("ann", "fine")


class Unsure(Stamp):
    """Can't say whether two plans are the same."""

    name = "unsure"
    error: ClassVar[BaseException]

    def is_same(self, asked: Plan, now: Plan) -> bool:
        raise self.error


@pytest.mark.parametrize("error", [SystemExit(4), KeyError("word")], ids=repr)
async def test_an_action_that_can_not_say_it_applies_nothing(
    tmp_path: Path, error: BaseException
) -> None:
    Unsure.error = error
    async with approved(tmp_path, Unsure) as (keptn, execution):
        assert (await keptn.task_finished(execution)).status == "errored"
        assert (Stamp.planned, Stamp.applied) == (2, 0)


async def test_a_plain_action_that_was_cut_off_does_not_run_again_in_a_pause(
    tmp_path: Path,
) -> None:
    gate, policy = Gate(), tmp_path / "policy.yaml"
    policy.write_text(SETTLES)
    async with FakeKeptn() as keptn:
        event = triggered("wait")
        async with provider(
            tmp_path / "j.db", keptn, gated(gate), policy=policy, drain_seconds=2
        ) as service:
            await keptn.deliver(event, to=event_url(service))
            await gate.until_entered(1)
            await service.journal.pause("ann", "fire drill")
        async with provider(tmp_path / "j.db", keptn, gated(gate), policy=policy):
            await keptn.task_finished(event["id"])
        assert gate.entered == [event["id"]]
        message = keptn.finished(event["id"])[0].data["message"]
        assert message.startswith("refused by guard-rail pause")

"""Undoing an action in a test of its author."""

from __future__ import annotations

from typing import Any, ClassVar

import pytest

from keptn_remedy import Change, Context, Denied, Outcome, Plan, PlannedAction, TemporaryError
from keptn_remedy.testing import undo_action

PLAN = Plan((Change("route:a", "limit", 5, 3),), memo={"etags": ("x",)})


class SetLimit(PlannedAction):
    """Keeps limits in `limits`; `trouble` is raised, once each."""

    name = "set-limit"
    Value = dict[str, int]
    limits: ClassVar[dict[str, int]] = {}
    trouble: ClassVar[list[Exception]] = []
    undone: ClassVar[list[Plan]] = []

    async def plan(self, context: Context, value: dict[str, int]) -> Plan:
        raise AssertionError("an undo plans nothing")

    async def apply(self, context: Context, plan: Plan) -> None:
        raise AssertionError("an undo applies nothing")

    async def verify(self, context: Context, plan: Plan) -> Outcome:
        raise AssertionError("an undo verifies nothing")

    async def undo(self, context: Context, plan: Plan) -> str | None:
        self.undone.append(plan)
        if self.trouble:
            raise self.trouble.pop()
        (change,) = plan.changes
        if self.limits[change.target] == change.before:
            return "it is as it was before"
        if self.limits[change.target] != change.after:
            raise Denied(f"the limit is {self.limits[change.target]}: left alone")
        self.limits[change.target] = change.before
        return None


@pytest.fixture(autouse=True)
def gateway() -> None:
    SetLimit.limits = {"route:a": 3}
    SetLimit.trouble, SetLimit.undone = [], []


async def test_what_a_plan_did_is_undone() -> None:
    undone = await undo_action(SetLimit, PLAN)
    assert undone == ("done", "undone: route:a limit: 3 -> 5")
    assert SetLimit.limits == {"route:a": 5}


@pytest.mark.parametrize(
    ("limit", "told"),
    [
        (5, ("done", "it is as it was before")),
        (7, ("refused", "the limit is 7: left alone")),
    ],
)
async def test_it_is_told_why_nothing_was_undone(limit: int, told: tuple[str, str]) -> None:
    SetLimit.limits["route:a"] = limit
    assert await undo_action(SetLimit, PLAN) == told
    assert SetLimit.limits == {"route:a": limit}


async def test_an_undo_is_tried_again_without_waiting() -> None:
    SetLimit.trouble = [TemporaryError("busy", delay=60), TemporaryError("busy", delay=60)]
    assert (await undo_action(SetLimit, PLAN)).state == "done"
    assert len(SetLimit.undone) == 3


async def test_a_mistake_in_an_undo_is_a_failure() -> None:
    SetLimit.trouble = [ValueError("a bug")]
    undone = await undo_action(SetLimit, PLAN)
    assert undone.state == "failed"
    assert "a bug" in undone.message


async def test_the_plan_to_be_undone_comes_out_of_a_journal() -> None:
    await undo_action(SetLimit, PLAN)
    (plan,) = SetLimit.undone
    assert plan == Plan.from_json(PLAN.to_json())
    assert plan.memo == {"etags": ["x"]}


async def test_a_plan_without_changes_has_nothing_to_undo() -> None:
    with pytest.raises(LookupError, match="changed nothing"):
        await undo_action(SetLimit, Plan(()))


async def test_an_undo_is_told_of_the_trigger() -> None:
    seen: list[Any] = []

    class Look(SetLimit):
        async def undo(self, context: Context, plan: Plan) -> None:
            seen.append(context.trigger.service)

    await undo_action(Look, PLAN)
    assert seen == ["carts"]

"""Guard-rails at the edges of their numbers, on a real journal and a clock that stands still."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from keptn_remedy import Change, Plan
from keptn_remedy.guardrails.guard import Guard
from keptn_remedy.guardrails.matching import Rules
from keptn_remedy.guardrails.objections import Objection
from keptn_remedy.guardrails.pauses import NoPause
from keptn_remedy.guardrails.policy import Policy
from keptn_remedy.guardrails.rails import RAILS, Refusal
from keptn_remedy.journal import Ending, Execution
from keptn_remedy.journal.sqlite import SqliteJournal
from tests.core.journals import DONE, FAILED, SetClock, trigger

HAIR = 0.001


@dataclass
class Rails:
    """The rails on a journal; executions ask one after the other."""

    journal: SqliteJournal
    clock: SetClock
    services: int | None = 10
    rules: Rules = field(default_factory=lambda: Rules(None))
    asked: int = 0

    def set(self, settings: str) -> None:
        text = f"version: 1\nrules: [{{name: the rule, {settings}}}]"
        self.rules = Rules(Policy.load(text))

    async def execution(
        self, service: str = "carts", context: str = "", action: str = "scale"
    ) -> Execution:
        self.asked += 1
        told = replace(trigger(f"id {self.asked}", service), context=context or f"c {self.asked}")
        execution = await self.journal.accept(told, action)
        assert execution
        return execution

    async def verdict(self, execution: Execution, *changes: Change) -> Objection | None:
        async def services(project: str, stage: str) -> int | None:
            return self.services

        guard = Guard(
            journal=self.journal,
            clock=self.clock,
            policy=self,
            pauses=NoPause(),
            services=services,
        )
        return await guard.try_admit(execution, Plan(changes), approved=False, dry_run=False)

    async def refusal(self, *targets: str, service: str = "carts") -> Refusal | None:
        """Why a new execution may not touch them; None when it was admitted, and goes on."""
        changes = [Change(target, "number", 0, 1) for target in targets or ("a",)]
        verdict = await self.verdict(await self.execution(service), *changes)
        assert verdict is None or isinstance(verdict, Refusal)
        return verdict

    async def acts(
        self, *targets: str, service: str = "carts", helps: bool = True, action: str = "scale"
    ) -> None:
        """One that is admitted and ends at once."""
        execution = await self.execution(service, action=action)
        changes = [Change(target, "number", 0, 1) for target in targets or ("a",)]
        assert await self.verdict(execution, *changes) is None
        ending = Ending(DONE if helps else FAILED, is_failure=not helps)
        await self.journal.finish(execution, ending, attempts=1)

    async def resized(self, before: Any, after: Any) -> Refusal | None:
        verdict = await self.verdict(
            await self.execution(),
            Change("a", "replicas", before, after),
        )
        assert verdict is None or isinstance(verdict, Refusal)
        return verdict


@pytest_asyncio.fixture
async def rails(tmp_path: Path) -> AsyncIterator[Rails]:
    clock = SetClock()
    journal = SqliteJournal.open(tmp_path / "journal.db", now=clock.now)
    yield Rails(journal, clock)
    await journal.close()


async def refused_by(rails: Rails, *targets: str, service: str = "carts") -> str | None:
    refusal = await rails.refusal(*targets, service=service)
    return refusal.rail if refusal else None


# Time


@pytest.mark.parametrize(
    ("settings", "rail"),
    [
        ("at_most: [{executions: 1, within: 60s, per: target}]", "at-most"),
        ("once_within: 60s", "once-within"),
        ("storm: {targets: 1, within: 60s}", "storm"),
    ],
)
async def test_a_window_holds_what_is_exactly_as_old_as_it_is_long(
    rails: Rails, settings: str, rail: str
) -> None:
    rails.set(settings)
    await rails.acts("a")
    target = "b" if rail == "storm" else "a"
    rails.clock.time += 60
    assert await refused_by(rails, target) == rail
    rails.clock.time += HAIR
    assert await refused_by(rails, target) is None


@pytest.mark.parametrize(
    ("settings", "rail"), [("cooldown: 60s", "cooldown"), ("settle: 60s", "settling")]
)
async def test_a_rest_is_over_exactly_at_its_end(rails: Rails, settings: str, rail: str) -> None:
    rails.set(settings)
    await rails.acts("a")
    rails.clock.time += 60 - HAIR
    assert await refused_by(rails) == rail
    rails.clock.time += HAIR
    assert await refused_by(rails) is None


@pytest.mark.parametrize(
    ("settings", "at"),
    [
        ("cooldown: 1h", "14:46:40"),
        ("once_within: 1h", "14:46:41"),
        ("at_most: [{executions: 1, within: 1h, per: stage}]", "14:46:41"),
    ],
)
async def test_it_is_told_when_a_target_is_free_again(rails: Rails, settings: str, at: str) -> None:
    rails.set(settings)
    await rails.acts("a")
    rails.clock.time += 600.5
    refusal = await rails.refusal("a")
    assert str(refusal).endswith(f"; allowed again at 1970-01-12T{at}Z")
    rails.clock.time += 3000
    assert await rails.refusal("a") is None


async def test_what_others_did_to_a_target_since_does_not_count(rails: Rails) -> None:
    rails.set("once_within: 1h")
    await rails.acts("a")
    rails.clock.time += 600
    await rails.acts("a", action="restart")
    assert str(await rails.refusal("a")).endswith("; allowed again at 1970-01-12T14:46:41Z")


async def test_a_rate_is_free_again_once_few_enough_are_left(rails: Rails) -> None:
    rails.set("at_most: [{executions: 3, within: 1h, per: stage}]")
    for _ in range(3):
        await rails.acts("a")
        rails.clock.time += 600
    rails.set("at_most: [{executions: 2, within: 1h, per: stage}]")
    refusal = await rails.refusal("a")
    assert str(refusal).endswith("the limit is 2; allowed again at 1970-01-12T14:56:41Z")
    rails.clock.time += 2400
    assert await refused_by(rails) == "at-most"
    rails.clock.time += HAIR
    assert await refused_by(rails) is None


@pytest.mark.parametrize(
    ("settings", "rail"), [("cooldown: 60s", "cooldown"), ("settle: 60s", "settling")]
)
async def test_a_target_does_not_rest_before_its_execution_has_ended(
    rails: Rails, settings: str, rail: str
) -> None:
    rails.set(settings)
    assert await rails.refusal("a") is None
    rails.clock.time += 3600
    assert await refused_by(rails) == rail


@pytest.mark.parametrize(
    ("settings", "rail"),
    [
        ("at_most: [{executions: 1, within: 60s, per: target}]", "at-most"),
        ("once_within: 60s", "once-within"),
        ("cooldown: 60s", "cooldown"),
        ("settle: 60s", "settling"),
    ],
)
async def test_a_clock_that_goes_backwards_forgets_nothing(
    rails: Rails, settings: str, rail: str
) -> None:
    rails.set(settings)
    await rails.acts("a")
    rails.clock.time -= 7200
    refusal = await rails.refusal("a")
    assert refusal
    assert refusal.rail == rail


async def test_without_a_rest_a_clock_that_goes_backwards_holds_nothing_back(rails: Rails) -> None:
    await rails.acts("a")
    rails.clock.time -= 7200
    assert await rails.refusal("a") is None


# Numbers


async def test_the_last_one_allowed_acts_and_the_next_does_not(rails: Rails) -> None:
    rails.set("at_most: [{executions: 3, within: 60s, per: [action, target]}]")
    await rails.acts("a")
    await rails.acts("a", "b")
    assert await refused_by(rails, "a") is None
    refusal = await rails.refusal("b", "a")
    assert refusal
    assert refusal.numbers == {"executions": 3, "limit": 3, "within_seconds": 60.0}


async def test_one_target_beyond_its_limit_refuses_the_whole_plan(rails: Rails) -> None:
    rails.set("once_within: 60s")
    await rails.acts("b")
    assert await refused_by(rails, "a", "b", "c") == "once-within"
    assert await refused_by(rails, "a", "c") is None


async def test_an_execution_with_several_targets_counts_once_for_its_stage(rails: Rails) -> None:
    rails.set("at_most: [{executions: 2, within: 60s, per: stage}]")
    await rails.acts("a", "b", "c")
    await rails.acts("a", "b", "c")
    assert await refused_by(rails, "d") == "at-most"


async def test_as_many_targets_as_a_storm_may_have_are_touched_and_no_more(rails: Rails) -> None:
    rails.set("storm: {targets: 3, within: 60s}")
    await rails.acts("a")
    assert await refused_by(rails, "b", "c") is None
    assert await refused_by(rails, "c", "d") == "storm"
    assert await refused_by(rails, "a", "b", "c") is None


@pytest.mark.parametrize(
    ("services", "most"), [(1, 2), (5, 2), (8, 2), (10, 3), (12, 3), (13, 4), (None, 5), (0, 5)]
)
async def test_a_share_of_the_services_is_rounded_down_but_two_always_may(
    rails: Rails, services: int | None, most: int
) -> None:
    rails.set("storm: {targets: 99, percent: 33, within: 60s}")
    rails.services = services
    told = [await refused_by(rails, f"target {n}", service=f"service {n}") for n in range(5)]
    assert told == [None] * most + ["storm"] * (5 - most)


async def test_executions_in_a_row_end_with_one_that_helped(rails: Rails) -> None:
    rails.set("suspend_after: 2")
    for helps in (False, True, False):
        await rails.acts("a", helps=helps)
    await rails.acts("a", helps=False)
    assert await refused_by(rails) == "suspended"


async def test_who_asks_again_does_not_count_itself(rails: Rails) -> None:
    rails.set("at_once: 1, once_within: 60s, storm: {targets: 1, within: 60s}, turn_within: 0")
    execution = await rails.execution()
    change = Change("a", "number", 0, 1)
    assert await rails.verdict(execution, change) is None
    assert await rails.verdict(execution, change) is None


# Replicas


@pytest.mark.parametrize(
    ("settings", "before", "after", "limit"),
    [
        ("replicas_at_most: 5", 4, 5, None),
        ("replicas_at_most: 5", 4, 6, "at most 5"),
        ("replicas_at_most: 5", 9, 7, None),
        ("replicas_at_most: 5", None, 6, "at most 5"),
        ("replicas_at_most: 5", "4", "6", "at most 5"),
        ("replicas_at_least: 3", 4, 3, None),
        ("replicas_at_least: 3", 4, 2, "at least 3"),
        ("replicas_at_least: 3", 1, 2, None),
        ("replicas_at_least: 3, zero_replicas: true", 4, 0, None),
        ("replicas_at_least: 3", 4, 0, "0 are not allowed"),
        ("zero_replicas: true", 4, 0, None),
        ("zero_replicas: false", 0, 0, None),
        ("replicas_step: x2", 4, 8, None),
        ("replicas_step: x2", 4, 9, "a step of at most x2"),
        ("replicas_step: x2", 8, 4, None),
        ("replicas_step: x2", 8, 3, "a step of at most x2"),
        ("replicas_step: x2", None, 9, None),
        ("replicas_step: 50%", 4, 6, None),
        ("replicas_step: 50%", 4, 7, "a step of at most 50%"),
        ("replicas_step: 5", 4, 9, None),
        ("replicas_step: 5", 4, 10, "a step of at most 5"),
        ("replicas_step: 10%", 1, 2, None),
        ("zero_replicas: false", 4, 51, "at most 50"),
    ],
)
async def test_replicas_may_go_as_far_as_the_rule_says(
    rails: Rails, settings: str, before: object, after: object, limit: str | None
) -> None:
    rails.set(settings)
    refusal = await rails.resized(before, after)
    assert (refusal.numbers["limit"] if refusal else None) == limit


async def test_what_is_no_number_of_replicas_is_not_held_back(rails: Rails) -> None:
    assert await rails.resized(True, False) is None
    assert await rails.resized("many", "more") is None


async def test_a_floor_holds_where_no_rule_but_only_a_setting_allows_zero(rails: Rails) -> None:
    text = "version: 1\nrules: [{name: the rule, replicas_at_least: 3}]"
    rails.rules = Rules(Policy.load(text), zero_replicas=True)
    refusal = await rails.resized(5, 0)
    assert refusal
    assert (refusal.rule, refusal.numbers["limit"]) == ("the rule", "at least 3")


# Order


async def test_rails_are_asked_in_their_order_and_turns_come_last(rails: Rails) -> None:
    await rails.acts("a", helps=False)
    assert await rails.refusal("a") is None  # and goes on
    expected = {
        "targets": "targets_at_most: 1",
        "suspended": "suspend_after: 1",
        "settling": "settle: 30s",
        "cooldown": "cooldown: 60s",
        "once-within": "once_within: 60s",
        "at-most": "at_most: [{executions: 1, within: 60s, per: target}]",
        "storm": "storm: {targets: 1, within: 60s}",
        "at-once": "at_once: 1, turn_within: 5m",
    }
    asked = [rail.name for rail in RAILS if rail.name in expected]
    assert asked == [*expected]
    for number, rail in enumerate(asked):
        rails.set(", ".join([*expected.values()][number:]))
        refusal = await rails.refusal("a", "b")
        assert refusal
        assert refusal.rail == rail
        assert refusal.turn_within == (300.0 if rail == "at-once" else None)

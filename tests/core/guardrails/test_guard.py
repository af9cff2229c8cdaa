"""The guard: which rules apply to a plan whose targets have different ones."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from itertools import permutations
from typing import Any, cast

import orjson
import pytest
import pytest_asyncio

from keptn_remedy import Change, Plan
from keptn_remedy.events import ActionTriggered, for_subscriber, read_structured, stored_trigger
from keptn_remedy.guardrails.guard import Guard
from keptn_remedy.guardrails.matching import Fixed, Rules
from keptn_remedy.guardrails.objections import ApprovalNeeded, DryRun, Objection
from keptn_remedy.guardrails.pauses import NoPause
from keptn_remedy.guardrails.policy import Policy
from keptn_remedy.guardrails.rails import Refusal
from keptn_remedy.journal import Ending
from keptn_remedy.testing import triggered
from tests.core.journals import DONE, SetClock, trigger
from tests.core.places import AnyJournal, Place

BOTH_ORDERS = list(permutations(("a", "b")))
MONDAY_NOON = 1_767_614_400.0


async def _unknown(project: str, stage: str) -> None:
    return None


@pytest_asyncio.fixture
async def journal(place: Place) -> AsyncIterator[AnyJournal]:
    opened = place.open(now=time.time)
    yield opened
    await opened.close()


async def objection(journal: AnyJournal, **settings: str) -> Objection | None:
    """To a plan for these targets, each under a rule of its name with these settings."""
    rules = [f"{{name: {t}, match: {{target: {t}}}, {said}}}" for t, said in settings.items()]
    policy = Rules(Policy.load(f"version: 1\nrules: [{', '.join(rules)}]"))

    guard = Guard(
        journal=journal,
        clock=SetClock(),
        policy=Fixed(policy),
        pauses=NoPause(),
        services=_unknown,
    )
    execution = await journal.accept(trigger(), "scale")
    assert execution
    plan = Plan(tuple(Change(target, "number", 0, 1) for target in settings))
    return await guard.try_admit(execution, plan, approved=False, dry_run=False)


@pytest.mark.parametrize(("first", "second"), BOTH_ORDERS)
async def test_where_targets_differ_the_shorter_approval_wins(
    journal: AnyJournal, first: str, second: str
) -> None:
    found = await objection(
        journal,
        **{
            first: "mode: approve, approve_within: 15m",
            second: "mode: approve, approve_within: 1h",
        },
    )
    assert found == ApprovalNeeded(rule=first, seconds=900, default="deny")


@pytest.mark.parametrize(("first", "second"), BOTH_ORDERS)
async def test_where_targets_differ_deny_as_the_default_wins_before_the_shorter_time(
    journal: AnyJournal, first: str, second: str
) -> None:
    found = await objection(
        journal,
        **{
            first: "mode: approve, approve_within: 1h",
            second: "mode: approve, approve_within: 15m, approval_default: approve",
        },
    )
    assert found == ApprovalNeeded(rule=first, seconds=3600, default="deny")


@pytest.mark.parametrize(("first", "second"), BOTH_ORDERS)
async def test_where_targets_differ_the_mode_that_does_least_wins(
    journal: AnyJournal, first: str, second: str
) -> None:
    found = await objection(journal, **{first: "mode: dry-run", second: "mode: approve"})
    assert found == DryRun(rule=first, refusal=None)


@dataclass
class Delayed:
    """A journal in front of which something happens while an admission is queued."""

    journal: AnyJournal
    meanwhile: Callable[[], None]
    asked: int = 0

    async def admit(self, *given: Any) -> Any:
        self.asked += 1
        self.meanwhile()
        return await self.journal.admit(*given)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.journal, name)


@dataclass
class Exchanged:
    """Rules that are exchanged by a test."""

    rules: Rules


def rules(settings: str) -> Rules:
    return Rules(Policy.load(f"version: 1\nrules: [{{name: mine, {settings}}}]"))


async def asked(
    journal: AnyJournal, before: str, then: Callable[[Exchanged, SetClock], None]
) -> tuple[Objection | None, int]:
    """The objection to a plain action under these settings, where something happens while it is
    queued; and how often the journal was asked.
    """
    policy, clock = Exchanged(rules(before)), SetClock()
    clock.time = MONDAY_NOON
    delayed = Delayed(journal, lambda: then(policy, clock))
    guard = Guard(
        journal=cast("Any", delayed),
        clock=clock,
        policy=policy,
        pauses=NoPause(),
        services=_unknown,
    )
    execution = await journal.accept(trigger(), "scale")
    assert execution
    found = await guard.try_admit(execution, None, approved=False, dry_run=False)
    return found, delayed.asked


async def test_what_needs_no_history_is_refused_without_asking_the_journal(
    journal: AnyJournal,
) -> None:
    found, times = await asked(journal, "decision: deny", lambda policy, clock: None)
    assert isinstance(found, Refusal)
    assert (found.rail, times) == ("decision", 0)


async def test_a_policy_that_changed_while_the_admission_was_queued_is_asked(
    journal: AnyJournal,
) -> None:
    def exchange(policy: Exchanged, clock: SetClock) -> None:
        policy.rules = rules("decision: deny")

    found, times = await asked(journal, "cooldown: 1m", exchange)
    assert isinstance(found, Refusal)
    assert (found.rail, times) == ("decision", 1)


@pytest.mark.parametrize(
    ("mode", "expected"),
    [
        ("approve, approve_within: 1h", ApprovalNeeded(rule="mine", seconds=3600, default="deny")),
        ("dry-run", DryRun(rule="mine", refusal=None)),
    ],
)
async def test_a_mode_that_came_while_the_admission_was_queued_counts(
    journal: AnyJournal, mode: str, expected: Objection
) -> None:
    later = rules(f"mode: {mode}")

    def exchange(policy: Exchanged, clock: SetClock) -> None:
        policy.rules = later

    assert await asked(journal, "cooldown: 1m", exchange) == (expected, 2)


async def test_a_storm_that_came_while_the_admission_was_queued_knows_the_services(
    journal: AnyJournal,
) -> None:
    later = rules("storm: {percent: 50, targets: 99, within: 1h}")
    policy, known = Exchanged(rules("cooldown: 1m")), list[int]()

    def exchange() -> None:
        policy.rules = later

    async def services(project: str, stage: str) -> int:
        known.append(4)
        return 4

    guard = Guard(
        journal=cast("Any", Delayed(journal, exchange)),
        clock=SetClock(),
        policy=policy,
        pauses=NoPause(),
        services=services,
    )
    execution = await journal.accept(trigger(), "scale")
    assert execution
    assert await guard.try_admit(execution, None, approved=False, dry_run=False) is None
    assert known == [4]


async def test_a_window_that_closed_while_the_journal_was_held_up_is_closed(
    journal: AnyJournal,
) -> None:
    def pass_by(policy: Exchanged, clock: SetClock) -> None:
        clock.time += 3600

    found, times = await asked(journal, 'windows: [{from: "11:30", to: "12:30"}]', pass_by)
    assert isinstance(found, Refusal)
    assert (found.rail, times) == ("calendar", 1)


async def admitted(
    journal: AnyJournal, of: ActionTriggered, settings: str = "cooldown: 10m, once_within: 1h"
) -> Objection | None:
    """The objection to a plain execution under this rule for everything. Admitted, it ends well."""
    guard = Guard(
        journal=journal,
        clock=SetClock(),
        policy=Fixed(rules(settings)),
        pauses=NoPause(),
        services=_unknown,
    )
    execution = await journal.accept(of, of.action or of.task)
    assert execution
    found = await guard.try_admit(execution, None, approved=False, dry_run=False)
    if not found:
        await journal.finish(execution, Ending(DONE), attempts=1)
    return found


def subscribed(event_id: str) -> ActionTriggered:
    event = {**triggered("", id=event_id), "type": "sh.keptn.event.prod.remediation.triggered"}
    return for_subscriber(read_structured(orjson.dumps(event)), "notify")


def of_task(task: str, event_id: str) -> ActionTriggered:
    return stored_trigger(orjson.dumps(triggered("", id=event_id, task=task)))


async def test_a_subscriber_is_not_counted(journal: AnyJournal) -> None:
    assert [await admitted(journal, subscribed(str(n))) for n in range(2)] == [None, None]
    assert await admitted(journal, trigger("action")) is None


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ("decision: deny", "decision"),
        ('windows: [{days: [tue], from: "00:00", to: "00:01"}]', "calendar"),
    ],
)
async def test_a_subscriber_obeys_what_holds_for_everything(
    journal: AnyJournal, settings: str, expected: str
) -> None:
    found = await admitted(journal, subscribed("1"), settings)
    assert isinstance(found, Refusal)
    assert found.rail == expected


async def test_other_tasks_of_a_service_have_targets_of_their_own(journal: AnyJournal) -> None:
    assert await admitted(journal, of_task("get-sli", "1"), "cooldown: 10m") is None
    assert await admitted(journal, of_task("test", "2"), "cooldown: 10m") is None
    assert await admitted(journal, trigger("3"), "cooldown: 10m") is None
    again = await admitted(journal, of_task("get-sli", "4"), "cooldown: 10m")
    assert "on service sockshop/production/carts task get-sli ended" in str(again)


@pytest.mark.parametrize(
    "rule",
    [
        "at_most: [{executions: 2, within: 1h, per: [service]}]",
        "storm: {targets: 2, within: 10m}",
    ],
)
async def test_other_tasks_count_in_storms_and_in_the_rates_of_their_service(
    journal: AnyJournal, rule: str
) -> None:
    assert await admitted(journal, of_task("get-sli", "1"), rule) is None
    assert await admitted(journal, of_task("test", "2"), rule) is None
    assert await admitted(journal, of_task("deployment", "3"), rule) is not None

"""Each guard-rail: what it allows and what it refuses; a restart changes neither."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from keptn_remedy.guardrails.rails import RAILS, STANDING
from tests.core.guardrails.railing import ONE, Ask, Rig, rigged

REFERENCE = (Path(__file__).parents[3] / "docs" / "guard-rails.md").read_text("utf-8")
VAIN = Ask(in_vain=True)
SERVICES = ("carts", "orders", "users", "payment", *(f"another {n}" for n in range(6)))


def knob(*knobs: str, **others: Any) -> Ask:
    return Ask(knobs, **others)


def replicas(to: int) -> Ask:
    return Ask(to=to, what="replicas")


@dataclass(frozen=True)
class Case:
    """A rail in a rule. After `earlier` and `seconds`, `ask` is refused with these numbers, and
    `instead` would act; `later`: it acts so many seconds after that.
    """

    name: str
    settings: str
    ask: Ask = ONE
    earlier: tuple[Ask, ...] = ()
    seconds: float = 0.0
    instead: Ask | None = None
    later: float = 0.0
    says: str = ""
    rule: str = "the rule"
    numbers: dict[str, Any] = field(default_factory=dict[str, Any])

    @property
    def rail(self) -> str:
        return self.name.partition(":")[0]


def limit(found: int, most: int, within: int = 600) -> dict[str, Any]:
    return {"executions": found, "limit": most, "within_seconds": within}


CASES = (
    Case(
        "decision",
        "match: {target: b}, decision: deny",
        knob("b"),
        instead=knob("a"),
        says="decision: deny forbids turn on b",
    ),
    Case(
        "target",
        "targets_at_most: 5",
        knob("a", " "),
        instead=knob("a", "b"),
        rule="always",
        says="names no target",
    ),
    Case(
        "calendar: window",
        'windows: [{from: "08:00", to: "18:00"}]',
        earlier=(Ask(),),
        seconds=8 * 3600,
        later=12 * 3600 + 60,
        says="it is Mon 2026-03-02 20:00 UTC, outside daily 08:00-18:00 UTC; allowed again from",
    ),
    Case(
        "calendar: blackout",
        "blackouts: [{from: 2026-03-03, to: 2026-03-04, reason: audit}]",
        earlier=(Ask(),),
        seconds=24 * 3600,
        later=48 * 3600,
        says="blackout (audit); allowed again from Thu 2026-03-05 00:00 UTC",
    ),
    Case(
        "targets",
        "targets_at_most: 2",
        knob("a", "b", "c"),
        instead=knob("a", "b"),
        numbers={"targets": 3, "limit": 2},
        says="the plan changes 3 targets; the limit is 2",
    ),
    Case(
        "replicas: ceiling",
        "replicas_at_most: 5",
        replicas(6),
        earlier=(replicas(5),),
        instead=replicas(4),
        numbers={"replicas": 6, "limit": "at most 5"},
        says="a would go from 5 to 6 replicas; limit (replicas_at_most): at most 5",
    ),
    Case(
        "replicas: floor",
        "replicas_at_least: 3",
        replicas(2),
        earlier=(replicas(4),),
        instead=replicas(3),
        numbers={"replicas": 2, "limit": "at least 3"},
    ),
    Case(
        "replicas: zero",
        "targets_at_most: 9",
        replicas(0),
        earlier=(replicas(3),),
        instead=replicas(1),
        rule="built-in defaults",
        numbers={"replicas": 0, "limit": "0 are not allowed"},
    ),
    Case(
        "replicas: step",
        "replicas_step: x2",
        replicas(9),
        earlier=(replicas(2), replicas(4)),
        instead=replicas(8),
        numbers={"replicas": 9, "limit": "a step of at most x2"},
        says="from 4 to 9",
    ),
    Case(
        "resources",
        "memory_at_most: 2",
        Ask(to=3, what="memory limit of main"),
        instead=Ask(to=2, what="memory limit of main"),
        numbers={"limit": "at most 2"},
        says="a memory limit of main: 1 -> 3 breaks memory_at_most: at most 2",
    ),
    Case(
        "suspended",
        "suspend_after: 2",
        earlier=(VAIN, VAIN),
        instead=knob("b"),
        numbers={"executions": 2, "limit": 2},
        says="2 executions in a row of turn on a did not solve the problem; the limit is 2; to let",
    ),
    Case(
        "settling",
        "settle: 10m",
        earlier=(Ask(),),
        instead=knob("b"),
        later=601,
        numbers={"seconds_left": 600},
        says="turn on a is settling for another 10m",
    ),
    Case(
        "cooldown",
        "cooldown: 10m",
        earlier=(Ask(),),
        seconds=300,
        instead=knob("b"),
        later=301,
        numbers={"seconds": 300, "limit_seconds": 600},
        says="; the cooldown is 10m; allowed again at 2026-03-02T12:1",
    ),
    Case(
        "once-within",
        "once_within: 10m",
        earlier=(Ask(),),
        instead=Ask(action="push"),
        later=601,
        numbers=limit(1, 1),
        says="the limit is 1; allowed again at 2026-03-02T12:1",
    ),
    Case(
        "at-most: per target",
        "at_most: [{executions: 2, within: 10m, per: target}]",
        earlier=(Ask(), Ask(action="push")),
        instead=knob("b"),
        later=601,
        numbers=limit(2, 2),
        says="2 executions with the same target a within 10m; the limit is 2; allowed again at",
    ),
    Case(
        "at-most: per action",
        "at_most: [{executions: 2, within: 10m, per: action}]",
        knob("c"),
        earlier=(knob("a"), knob("b")),
        instead=knob("c", action="push"),
        later=601,
        numbers=limit(2, 2),
        says="the same action turn",
    ),
    Case(
        "at-most: per stage",
        "at_most: [{executions: 2, within: 10m, per: stage}]",
        knob("c"),
        earlier=(knob("a", service="orders"), knob("b", action="push")),
        instead=knob("c", project="bank"),
        later=601,
        numbers=limit(2, 2),
        says="the same stage production",
    ),
    Case(
        "at-most: without a policy",
        "",
        earlier=(Ask(),) * 6,
        instead=knob("b"),
        later=3601,
        rule="built-in defaults",
        numbers=limit(6, 6, 3600),
        says="the same target a within 1h",
    ),
    Case(
        "storm: targets",
        "storm: {targets: 2, within: 10m}",
        knob("c"),
        earlier=(knob("a"), knob("b")),
        instead=knob("a", "b"),
        later=601,
        numbers={"targets": 3, "limit": 2, "within_seconds": 600},
        says="with this execution, 3 targets of stage production would be touched within 10m;",
    ),
    Case(
        "storm: targets of one plan",
        "storm: {targets: 2, within: 10m}",
        knob("a", "b", "c"),
        instead=knob("a", "b"),
        numbers={"targets": 3, "limit": 2, "within_seconds": 600},
    ),
    Case(
        "storm: services",
        "storm: {targets: 100, percent: 33, within: 10m}",
        knob("d", service="payment"),
        earlier=tuple(knob(s[0], service=s) for s in SERVICES[:3]),
        instead=knob("d", service="users"),
        later=601,
        numbers={"services": 4, "limit": 3, "within_seconds": 600},
        says="4 services of stage production",
    ),
    Case(
        "at-once",
        "at_once: 1, settle: 10m, turn_within: 0",
        knob("b"),
        earlier=(knob("a"),),
        instead=None,
        later=601,
        numbers={"executions": 1, "limit": 1},
        says="1 planned execution is running or settling; the limit is 1",
    ),
)


@pytest_asyncio.fixture
async def rig(tmp_path: Path) -> AsyncIterator[Rig]:
    async with rigged(tmp_path) as rig:
        rig.keptn.add_services("sockshop", "production", *SERVICES)
        yield rig


@pytest.fixture(params=CASES, ids=lambda case: case.name)
def case(request: pytest.FixtureRequest, rig: Rig) -> Case:
    given: Case = request.param
    if given.settings:
        rig.write(given.settings)
    return given


async def led_to_the_limit(rig: Rig, case: Case) -> None:
    await rig.acts(*case.earlier)
    rig.clock.forward(case.seconds)


async def test_a_rail_lets_act_what_stays_within_it(rig: Rig, case: Case) -> None:
    async with rig.serving():
        await led_to_the_limit(rig, case)
        if case.instead:
            await rig.acts(case.instead)
        if case.later:
            rig.clock.forward(case.later)
            await rig.acts(case.ask)


async def test_a_rail_refuses_what_goes_beyond_it_and_says_so_everywhere(
    rig: Rig, case: Case
) -> None:
    async with rig.serving():
        await led_to_the_limit(rig, case)
        ended = await rig.refused(case.ask, case.rail, case.rule, **case.numbers)
        assert case.says in ended.message
        assert ended.message.endswith("; the sequence stops here")
        assert (ended.status, ended.result) == ("succeeded", "fail")


async def test_a_rail_refuses_the_same_after_a_restart_and_acts_when_its_time_is_over(
    rig: Rig, case: Case
) -> None:
    async with rig.serving():
        await led_to_the_limit(rig, case)
    async with rig.serving():
        await rig.refused(case.ask, case.rail, case.rule, **case.numbers)
    rig.clock.forward(case.later)
    async with rig.serving():
        await rig.acts(case.ask if case.later else case.instead or case.ask)


def test_every_rail_is_tried() -> None:
    assert {case.rail for case in CASES} | {"pause"} == {rail.name for rail in RAILS}


def rails_of(section: str) -> set[str]:
    """The rails that docs/guard-rails.md names in the tables of a section."""
    text = REFERENCE.partition(f"### {section}\n")[2].partition("\n#")[0]
    rows = [line.split("|") for line in text.splitlines() if line.startswith("| `")]
    return {cells[4].strip(" `") for cells in rows} - {""}


def test_the_rails_that_need_a_history_are_those_that_the_reference_says() -> None:
    counting = rails_of("How often") | rails_of("How many at once")
    others = rails_of("Whether") | rails_of("How much") | rails_of("When")
    assert {rail.name for rail in RAILS if rail.needs_history} == counting
    assert {rail.name for rail in STANDING} == {"pause", "target"} | others - {"approval"}


def test_what_needs_no_history_is_checked_first() -> None:
    assert list(RAILS[: len(STANDING)]) == list(STANDING)

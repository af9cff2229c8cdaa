"""Histories of a provider, made by hypothesis: executions, time, restarts, people."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import count
from typing import Any, Literal

from hypothesis import strategies as st

from keptn_remedy import Change, Plan
from keptn_remedy.guardrails.guard import Guard
from keptn_remedy.guardrails.matching import Fixed, Rules
from keptn_remedy.guardrails.objections import Objection
from keptn_remedy.guardrails.pauses import NoPause
from keptn_remedy.guardrails.policy import Policy
from keptn_remedy.guardrails.rails import Refusal
from keptn_remedy.journal import Ending, Execution, TargetHeld
from tests.core.guardrails.caps import Act, Ask, Judged, Limits, Past, Rate, Storm
from tests.core.journals import DONE, FAILED, SetClock, trigger
from tests.core.places import AnyJournal

ACTIONS = ("scale", "restart")
SERVICES_OF_A_STAGE = 5
BY_DEFAULT = Limits(rates=(Rate(6, 3600, ("target",)),), at_once=10)
ENDINGS = {
    "helped": Ending(DONE),
    "failed": Ending(FAILED, is_failure=True),
    "aborted": Ending(FAILED, is_aborted=True),
}
TRIGGER = trigger()

_numbers = count()

# What happens


@dataclass(frozen=True)
class Burst:
    """Executions that ask at the same time."""

    asks: tuple[Ask, ...]


@dataclass(frozen=True)
class AskAgain:
    """An execution that asks again, after a restart or while it waits for a free place."""

    which: int


@dataclass(frozen=True)
class End:
    which: int
    how: Judged


@dataclass(frozen=True)
class Pass:
    seconds: int


@dataclass(frozen=True)
class Forgive:
    target: str | None


@dataclass(frozen=True)
class Prune:
    older_than: int


Word = Literal["restart", "pause", "resume"]
Step = Burst | AskAgain | End | Pass | Forgive | Prune | Word

_TARGETS = ("a", "b", "c", "d")
_seconds = st.sampled_from((5, 10, 30))
_asks = st.builds(
    Ask,
    action=st.sampled_from(("scale", "scale", "scale", "restart")),
    project=st.sampled_from(("shop", "shop", "shop", "bank")),
    stage=st.sampled_from(("production", "production", "production", "staging")),
    service=st.sampled_from(("carts", "orders", "users", "payment")),
    context=st.sampled_from(("problem 1", "problem 1", "problem 2")),
    names=st.sampled_from(
        (
            *[("a",)] * 4,
            *[("b",)] * 2,
            *[(target,) for target in _TARGETS],
            *[("a", "b"), ("b", "c"), ("c", "d"), ("a", "b", "d"), ()],
        )
    ),
    planned=st.sampled_from((True, True, True, True, False)),
)
_bursts = st.builds(Burst, st.lists(_asks, min_size=1, max_size=4).map(tuple))
_ends = st.builds(
    End, st.integers(0, 9), st.sampled_from(("helped", "helped", "failed", "failed", "aborted"))
)
_passes = st.builds(Pass, st.sampled_from((1, 4, 5, 10, 30)))
_again = st.builds(AskAgain, st.integers(0, 9))
_forgiving = st.builds(Forgive, st.sampled_from((None, *_TARGETS)))
_prunings = st.builds(Prune, st.sampled_from((0, 10, 30, 30)))
_words = st.sampled_from(("restart", "restart", "restart", "restart", "pause", "resume", "resume"))
_steps: tuple[st.SearchStrategy[Any], ...] = (
    *[_bursts] * 6,
    *[_ends] * 6,
    *[_passes] * 3,
    *[_words] * 2,
    *[_again, _forgiving, _prunings],
)
# Not one_of: it takes each of them equally often.
steps: st.SearchStrategy[list[Step]] = st.lists(
    st.sampled_from(_steps).flatmap(lambda step: step), min_size=10, max_size=24
)

_pers = (("target",), ("action",), ("stage",), ("service",))
_both = (("action", "target"), ("action", "stage"), ("service", "target"))
_rates = st.builds(Rate, st.integers(1, 3), _seconds, st.sampled_from(_pers + _both))
_storms = st.builds(
    Storm, st.integers(1, 4), st.sampled_from((None, 20, 60)), st.sampled_from((5, 10, 30))
)
_limits = st.builds(
    Limits,
    rates=st.lists(_rates, max_size=2, unique_by=lambda rate: rate.per).map(tuple),
    once_within=st.sampled_from((None, None, None, None, 5, 10, 30)),
    cooldown=st.sampled_from((None, None, None, None, 5, 10, 30)),
    at_once=st.sampled_from((None, None, 1, 2, 3)),
    settle=st.sampled_from((0, 0, 0, 0, 5, 10)),
    storm=st.one_of(st.none(), _storms),
    suspend_after=st.sampled_from((None, None, None, 1, 1, 2, 3)),
)
_BY_POLICY = st.tuples(_limits, _limits)
policies: st.SearchStrategy[tuple[Limits, Limits] | None] = st.sampled_from(range(20)).flatmap(
    lambda number: _BY_POLICY if number else st.none()
)
"""Limits of each action; None: there is no policy."""


@lru_cache(1000)
def rules_of(policy: tuple[Limits, Limits] | None) -> Rules:
    if policy is None:
        return Rules(None)
    nothing_built_in = {"name": "nothing built in", "at_most": None, "at_once": None}
    rules = [limits.rule(a, action=a) for a, limits in zip(ACTIONS, policy, strict=True)]
    return Rules(Policy.model_validate({"version": 1, "rules": [nothing_built_in, *rules]}))


# Where it happens


Open = Callable[[Callable[[], float]], AnyJournal]
"""Opens a journal that goes by the clock."""


class World:
    """The real rails on a real journal, and the oracle beside them; each step is checked.

    Several replicas, each opened by one of `open_journals`, take the steps in turn, but for what
    has begun on one of them: that is ended there.
    """

    def __init__(self, open_journals: Sequence[Open], policy: tuple[Limits, Limits] | None) -> None:
        limits = policy or (BY_DEFAULT, BY_DEFAULT)
        self.past = Past(dict(zip(ACTIONS, limits, strict=True)), SERVICES_OF_A_STAGE)
        self.refusals: list[str] = []
        self._open_journals = open_journals
        self._clock = SetClock()
        self._rules = rules_of(policy)
        self._asked: list[tuple[Ask, Execution, Act | None]] = []
        self._replicas: dict[str, int] = {}
        self._turn = 0
        self._open()

    def _open(self) -> None:
        self._journals = [open_one(self._clock.now) for open_one in self._open_journals]
        self._guards = [
            Guard(
                journal=journal,
                clock=self._clock,
                policy=Fixed(self._rules),
                pauses=NoPause(),  # heard of too late: the transaction itself must see it
                services=_services,
            )
            for journal in self._journals
        ]

    async def close(self) -> None:
        for journal in self._journals:
            await journal.close()

    @property
    def _journal(self) -> AnyJournal:
        return self._journals[self._turn]

    def _let_the_next_one(self) -> None:
        if len(self._journals) > 1:
            self._turn = (self._turn + 1) % len(self._journals)
            self._clock.time += 0.01  # or effects of two processes could have one time

    async def take(self, step: Step) -> None:
        self._let_the_next_one()
        match step:
            case Burst(asks):
                await self._burst(asks)
            case AskAgain(which) if self._asked:
                await self._ask_again(which % len(self._asked))
            case End(which, how) if self._running:
                await self._end(*self._running[which % len(self._running)], how)
            case Pass(seconds):
                self._clock.time += seconds
            case Forgive(target):
                await self._journal.forgive(target, "ann")
                self.past.forgive(target)
            case Prune(older_than):
                newest = replace(TRIGGER, id=f"id {next(_numbers)}")  # that one would be kept
                await self._journal.accept(newest, "newest")
                await self._journal.prune(self._clock.time - older_than, 1000)
                self.past.prune(self._clock.time - older_than)
            case "restart":
                await self.close()
                self._clock.time += 0.01  # or effects of two processes could have one time
                self._open()
            case "pause":
                await self._journal.pause("ann", "release")
                self.past.is_paused = True
            case "resume":
                await self._journal.resume()
                self.past.is_paused = False
            case _:
                pass

    @property
    def _running(self) -> list[tuple[Execution, Act]]:
        return [(e, act) for _, e, act in self._asked if act and act.ended is None]

    async def _burst(self, asks: tuple[Ask, ...]) -> None:
        if self._rules.is_default:  # then nothing is counted for plain actions
            asks = tuple(replace(ask, planned=True) for ask in asks)
        executions = await asyncio.gather(*(self._accepted(ask) for ask in asks))
        verdicts = await asyncio.gather(*map(self._verdict, asks, executions))
        for ask, execution, verdict in zip(asks, executions, verdicts, strict=True):
            self._asked.append((ask, execution, self._checked(ask, verdict)))
        for back, verdict in enumerate(reversed(verdicts), start=1):
            if isinstance(verdict, TargetHeld):  # the plan is made anew
                await self._ask_again(len(self._asked) - back)

    async def _ask_again(self, index: int) -> None:
        ask, execution, act = self._asked[index]
        if act is None:
            verdict = await self._verdict(ask, execution)
            self._asked[index] = ask, execution, self._checked(ask, verdict)
        elif act.ended is None:
            admitted_before = await self._verdict(ask, execution)
            assert admitted_before is None

    async def _accepted(self, ask: Ask) -> Execution:
        trigger = replace(
            TRIGGER,
            id=f"id {next(_numbers)}",
            context=ask.context,
            project=ask.project,
            stage=ask.stage,
            service=ask.service,
        )
        execution = await self._journal.accept(trigger, ask.action)
        assert execution
        self._replicas[execution.id] = self._turn
        return execution

    async def _verdict(self, ask: Ask, execution: Execution) -> Objection | TargetHeld | None:
        plan = Plan(tuple(Change(target, "number", 0, 1) for target in ask.names))
        try:
            return await self._guards[self._replicas[execution.id]].try_admit(
                execution, plan if ask.planned else None, approved=False, dry_run=False
            )
        except TargetHeld as error:
            return error

    def _checked(self, ask: Ask, verdict: Objection | TargetHeld | None) -> Act | None:
        """No cap is exceeded, and a refusal names the one that would have been."""
        if isinstance(verdict, TargetHeld):
            assert len(self._journals) > 1
            return None
        now = self._clock.time
        reached = self.past.reached(ask, now)
        if verdict is None:
            assert not reached, f"{ask} was admitted beyond {reached}"
            return self.past.admit(ask, now)
        assert isinstance(verdict, Refusal)
        assert [verdict.rail] == reached[:1], f"{ask} was refused by {verdict}, not {reached}"
        self.refusals.append(verdict.rail)
        return None

    async def _end(self, execution: Execution, act: Act, how: Judged) -> None:
        act.end(self._clock.time, how)
        journal = self._journals[self._replicas[execution.id]]
        await journal.finish(execution, ENDINGS[how], attempts=1)


async def _services(project: str, stage: str) -> int:
    return SERVICES_OF_A_STAGE

"""Asking the guard-rails about an execution, in the transaction that admits it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from typing import Literal

from keptn_remedy.action import Plan
from keptn_remedy.clock import Clock
from keptn_remedy.events import ActionTriggered
from keptn_remedy.guardrails.defaults import ReplicaSettings
from keptn_remedy.guardrails.matching import Resolved, Rules, Scope
from keptn_remedy.guardrails.rails import (
    GLOBAL_STOP,
    RAILS,
    STANDING,
    Case,
    Refusal,
    first_refusal,
    paused_words,
)
from keptn_remedy.journal import Arm, Effect, Execution, History, Journal, Pause, insist

_STRICTNESS = ("act", "approve", "dry-run")


@dataclass(frozen=True, slots=True)
class Rehearsal:
    """The plan is to be told and not carried out; `refusal` would have come in its way."""

    rule: str
    refusal: Refusal | None


@dataclass(frozen=True, slots=True)
class Approval:
    """A person must say yes within `seconds`; otherwise `default` is what was said."""

    rule: str
    seconds: float
    default: Literal["deny", "approve"]


Verdict = Refusal | Rehearsal | Approval


@dataclass(frozen=True, slots=True, kw_only=True)
class Guard:
    """What stands between a plan and its effect.

    `rules` are those in force; `pause` is the one that is known of, from wherever; `services` tells
    how many services a stage has, None where that can't be learnt.
    """

    journal: Journal
    clock: Clock
    rules: Callable[[], Rules]
    pause: Callable[[], Pause | None]
    services: Callable[[str, str], Awaitable[int | None]]

    @classmethod
    def built_in(cls, journal: Journal, clock: Clock, replicas: ReplicaSettings) -> Guard:
        """One that knows no policy, no pause and no Keptn."""
        rules = replicas.rules(None)
        return cls(
            journal=journal, clock=clock, rules=lambda: rules, pause=lambda: None, services=_unknown
        )

    async def admit(
        self, execution: Execution, plan: Plan | None, *, approved: bool, dry_run: bool
    ) -> Verdict | None:
        """None once the plan is journaled as admitted: from then on it may be applied.

        Without a plan it is a plain action that asks. The rails and the effects that they count
        are one transaction, so that no two executions can both be the last one allowed.
        """
        if plan is None and self.rules().is_default:
            return self.paused()  # nothing is counted for it
        cases = await self._cases(execution, plan)
        changes_nothing = plan is not None and not plan.changes
        rails = STANDING if changes_nothing else RAILS
        strictest = max((case.rules for case in cases), key=_strictness)

        def decide(history: History) -> Verdict | None:
            now = self.clock.now()  # the journal may have failed for a while
            pause = self.pause() or history.pause()
            asked = [case._replace(now=now, pause=pause) for case in cases]
            refusal = first_refusal(asked, history, rails)
            if dry_run or strictest.mode == "dry-run":
                rule = "REMEDY_DRY_RUN" if dry_run else strictest.rule("mode")
                return Rehearsal(rule, refusal)
            if refusal or approved or changes_nothing or strictest.mode == "act":
                return refusal
            return _approval(strictest)

        effects = [] if changes_nothing else [_effect(case) for case in cases]
        return await insist(
            lambda: self.journal.admit(execution, plan, effects, decide), self.clock.sleep
        )

    async def still_allowed(self, execution: Execution, plan: Plan | None) -> Refusal | None:
        """What has come in the way of a plan that an earlier process had admitted."""
        # The process may be too young to have heard of a pause.
        pause = self.pause() or await insist(self.journal.paused, self.clock.sleep)
        now = self.clock.now()
        cases = await self._cases(execution, plan)
        asked = [case._replace(now=now, pause=pause) for case in cases]
        return first_refusal(asked, None, STANDING)

    def paused(self) -> Refusal | None:
        """The refusal of whatever may not be done during a pause, undo included."""
        pause = self.pause()
        if pause is None:
            return None
        return Refusal("pause", GLOBAL_STOP, paused_words(pause), {"paused_by": pause.by})

    def told_as(
        self, execution: Execution, plan: Plan | None, what: Literal["on_refused", "on_failed"]
    ) -> Literal["fail", "warning"]:
        """How a refusal or a failure is told to Keptn; `fail` where the targets differ."""
        told = {getattr(rules, what) for rules in self._resolved(execution, plan)}
        return "fail" if "fail" in told else "warning"

    def undoes_when_aborted(self, execution: Execution, plan: Plan) -> bool:
        """Whether what was applied is put back when the sequence is aborted."""
        return any(rules.undo_on_abort for rules in self._resolved(execution, plan))

    def arming(self, execution: Execution, plan: Plan) -> Arm | None:
        """When the plan is to be undone later without anybody asking."""
        if not plan.changes:
            return None
        resolved = self._resolved(execution, plan)
        on_closed = any(rules.undo_on_closed for rules in resolved)
        after = [rules.undo_after for rules in resolved if rules.undo_after is not None]
        if not on_closed and not after:
            return None
        return Arm(on_closed, self.clock.now() + min(after) if after else None)

    async def _cases(self, execution: Execution, plan: Plan | None) -> list[Case]:
        trigger, targets = execution.trigger, frozenset(targets_of(execution, plan))
        cases = [
            Case(
                scope=scope,
                rules=rules,
                target=scope.target or "",
                context=trigger.context,
                changes=plan.changes_of(scope.target) if plan else (),
                targets=targets,
                replicas=plan.replicas if plan else None,
            )
            for scope, rules in self._scopes(execution, plan)
        ]
        if not any(case.rules.storm and case.rules.storm.percent for case in cases):
            return cases
        services = await self.services(trigger.project, trigger.stage)
        return [case._replace(services=services) for case in cases]

    def _resolved(self, execution: Execution, plan: Plan | None) -> list[Resolved]:
        return [rules for _, rules in self._scopes(execution, plan)]

    def _scopes(self, execution: Execution, plan: Plan | None) -> Iterator[tuple[Scope, Resolved]]:
        rules, trigger, planned = self.rules(), execution.trigger, plan is not None
        for target in targets_of(execution, plan):
            scope = scope_of(trigger, execution.action, target, planned=planned)
            yield scope, rules.resolve(scope)


async def _unknown(project: str, stage: str) -> None:
    return None


def targets_of(execution: Execution, plan: Plan | None) -> list[str]:
    """What is counted: the plan's targets; for what names none, the service."""
    trigger = execution.trigger
    if plan and plan.changes:
        return sorted(plan.targets)
    return [f"service {trigger.project}/{trigger.stage}/{trigger.service}"]


def scope_of(
    trigger: ActionTriggered, action: str, target: str | None = None, *, planned: bool = True
) -> Scope:
    """What rules are matched with; `action` is its name in the registry."""
    return Scope(
        project=trigger.project,
        stage=trigger.stage,
        service=trigger.service,
        action=action,
        labels=tuple(sorted(trigger.labels.items())),
        planned=planned,
        target=target,
    )


def _effect(case: Case) -> Effect:
    scope = case.scope
    return Effect(
        target=case.target,
        action=scope.action,
        project=scope.project,
        stage=scope.stage,
        service=scope.service,
        context=case.context,
        planned=scope.planned,
        settle=case.rules.settle,
    )


def _strictness(rules: Resolved) -> tuple[int, bool, float]:
    """Where targets differ, the mode that does least holds, and the approval that asks for most."""
    is_denied_by_silence = rules.approval_default == "deny"
    return _STRICTNESS.index(rules.mode), is_denied_by_silence, -rules.approve_within


def _approval(rules: Resolved) -> Approval:
    return Approval(rules.rule("mode"), rules.approve_within, rules.approval_default)

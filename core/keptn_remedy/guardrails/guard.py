"""Asking the guard-rails about an execution, in the transaction that admits it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

from keptn_remedy.action import Plan
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
from keptn_remedy.support.clock import Clock

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


class Asking(NamedTuple):
    """What an execution is about to touch, and what decides whether it may."""

    effects: Sequence[Effect]
    decide: Callable[[History], Verdict | None]


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
        services = await self._services(execution, plan)
        asking = self._asking(execution, plan, services, approved=approved, dry_run=dry_run)
        return await insist(lambda: self.journal.admit(execution, plan, *asking), self.clock.sleep)

    def asking(self, execution: Execution) -> Asking | None:
        """What admits a plain action, for the change that begins it; None where nothing is counted
        for it, or something has to be learnt first.
        """
        rules = self.rules()
        if rules.is_default or rules.asks_for_services:
            return None
        return self._asking(execution, None, None, approved=False, dry_run=False)

    def _asking(
        self,
        execution: Execution,
        plan: Plan | None,
        services: int | None,
        *,
        approved: bool,
        dry_run: bool,
    ) -> Asking:
        scopes = list(self._scopes(execution, plan))
        changes_nothing = plan is not None and not plan.changes
        rails = STANDING if changes_nothing else RAILS
        strictest = max((rules for _, rules in scopes), key=_strictness)

        def decide(history: History) -> Verdict | None:
            pause = self.pause() or history.pause()
            cases = self._cases(execution, plan, scopes, pause, services)
            refusal = first_refusal(cases, history, rails)
            if dry_run or strictest.mode == "dry-run":
                rule = "REMEDY_DRY_RUN" if dry_run else strictest.rule("mode")
                return Rehearsal(rule, refusal)
            if refusal or approved or changes_nothing or strictest.mode == "act":
                return refusal
            return _approval(strictest)

        context = execution.trigger.context
        effects = [] if changes_nothing else [_effect(*it, context) for it in scopes]
        return Asking(effects, decide)

    async def still_allowed(self, execution: Execution, plan: Plan | None) -> Refusal | None:
        """What has come in the way of a plan that an earlier process had admitted."""
        pause = await self._pause_in_force()
        cases = self._cases(execution, plan, list(self._scopes(execution, plan)), pause)
        return first_refusal(cases, None, STANDING)

    def paused(self) -> Refusal | None:
        """The refusal of whatever may not be done during a pause, as far as one is known of."""
        return _refused_by(self.pause())

    async def paused_by_anybody(self) -> Refusal | None:
        """As `paused`, also by what nobody has heard yet. Undo asks this."""
        return _refused_by(await self._pause_in_force())

    async def _pause_in_force(self) -> Pause | None:
        # Another process may just have paused, or this one is too young to have heard of it.
        return self.pause() or await insist(self.journal.paused, self.clock.sleep)

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

    def _cases(
        self,
        execution: Execution,
        plan: Plan | None,
        scopes: Collection[tuple[Scope, Resolved]],
        pause: Pause | None,
        services: int | None = None,
    ) -> list[Case]:
        now, context = self.clock.now(), execution.trigger.context
        targets = frozenset([scope.target or "" for scope, _ in scopes])
        return [
            Case(
                scope,
                rules,
                scope.target or "",
                context,
                now,
                plan.changes_of(scope.target) if plan else (),
                targets,
                plan.replicas if plan else None,
                pause,
                services,
            )
            for scope, rules in scopes
        ]

    async def _services(self, execution: Execution, plan: Plan | None) -> int | None:
        """How many services the stage has, where a rule asks for a share of them."""
        if not self.rules().asks_for_services:
            return None
        resolved = self._resolved(execution, plan)
        if not any(rules.storm and rules.storm.percent for rules in resolved):
            return None
        return await self.services(execution.trigger.project, execution.trigger.stage)

    def _resolved(self, execution: Execution, plan: Plan | None) -> list[Resolved]:
        return [rules for _, rules in self._scopes(execution, plan)]

    def _scopes(self, execution: Execution, plan: Plan | None) -> Iterator[tuple[Scope, Resolved]]:
        rules, trigger, planned = self.rules(), execution.trigger, plan is not None
        for target in targets_of(execution, plan):
            scope = scope_of(trigger, execution.action, rules.label_names, target, planned=planned)
            yield scope, rules.resolve(scope)


def _refused_by(pause: Pause | None) -> Refusal | None:
    if pause is None:
        return None
    return Refusal("pause", GLOBAL_STOP, paused_words(pause), {"paused_by": pause.by})


async def _unknown(project: str, stage: str) -> None:
    return None


def targets_of(execution: Execution, plan: Plan | None) -> list[str]:
    """What is counted: the plan's targets; for what names none, the service."""
    trigger = execution.trigger
    if plan and plan.changes:
        return sorted(plan.targets)
    return [f"service {trigger.project}/{trigger.stage}/{trigger.service}"]


def scope_of(
    trigger: ActionTriggered,
    action: str,
    label_names: Collection[str],
    target: str | None = None,
    *,
    planned: bool = True,
) -> Scope:
    """What rules are matched with; `action` is its name in the registry, `label_names` those of the
    labels that matter.
    """
    return Scope(
        project=trigger.project,
        stage=trigger.stage,
        service=trigger.service,
        action=action,
        labels=_labels(trigger, label_names) if label_names else (),
        planned=planned,
        target=target,
    )


def _labels(trigger: ActionTriggered, names: Collection[str]) -> tuple[tuple[str, str], ...]:
    return tuple(sorted(label for label in trigger.labels.items() if label[0] in names))


def _effect(scope: Scope, rules: Resolved, context: str) -> Effect:
    return Effect(
        scope.target or "",
        scope.action,
        scope.project,
        scope.stage,
        scope.service,
        context,
        scope.planned,
        rules.settle,
    )


def _strictness(rules: Resolved) -> tuple[int, bool, float]:
    """Where targets differ, the mode that does least holds, and the approval that asks for most."""
    is_denied_by_silence = rules.approval_default == "deny"
    return _STRICTNESS.index(rules.mode), is_denied_by_silence, -rules.approve_within


def _approval(rules: Resolved) -> Approval:
    return Approval(rules.rule("mode"), rules.approve_within, rules.approval_default)

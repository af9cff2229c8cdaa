"""Checks an execution against the guard-rails, in the transaction that admits it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Sequence
from dataclasses import dataclass
from itertools import groupby
from operator import attrgetter
from typing import Literal, NamedTuple

from keptn_remedy.action import Change, Plan
from keptn_remedy.events import ACTION, ActionTriggered
from keptn_remedy.guardrails.foresight import foreseen
from keptn_remedy.guardrails.matching import Fixed, InForce, Resolved, Rules, Scope
from keptn_remedy.guardrails.objections import ApprovalNeeded, DryRun, Objection, PolicyExchanged
from keptn_remedy.guardrails.pauses import KnowsPause, NoPause
from keptn_remedy.guardrails.rails import GLOBAL_STOP, Case, Refusal, first_refusal, paused_words
from keptn_remedy.journal import Admissions, Arm, Effect, Execution, History, Pause, insist
from keptn_remedy.journal.foreseen import NOTHING_FORESEEN, Foreseen
from keptn_remedy.support.clock import Clock

_STRICTNESS = ("act", "approve", "dry-run")
HELD_UP_SECONDS = 1.0
REQUESTED = "requests"
"""What stands for a rule where a request must be approved whatever the rules say."""


Decide = Callable[[History], Objection | PolicyExchanged | None]
"""Says what the history has against a plan."""


class AdmissionRequest(NamedTuple):
    """What an execution would touch. `decide` runs in the admitting transaction, and asks what was
    foreseen; None admits.
    """

    effects: Sequence[Effect]
    decide: Decide
    foreseen: Foreseen = NOTHING_FORESEEN


class Touched(NamedTuple):
    """A target that an execution is about to touch, the rules for it, and its changes."""

    scope: Scope
    rules: Resolved
    changes: tuple[Change, ...]


Past = Callable[[Decide], Awaitable[Objection | PolicyExchanged | None]]
"""Calls a function with the history as it is, and returns what that returns."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Guard:
    """Decides whether a plan may be applied.

    `policy` holds the rules in force, `pauses` knows the pause, as far as this process does.
    `services` returns the number of services of a project's stage, None where it is unknown.
    """

    journal: Admissions
    clock: Clock
    policy: InForce
    pauses: KnowsPause
    services: Callable[[str, str], Awaitable[int | None]]

    @classmethod
    def built_in(cls, journal: Admissions, clock: Clock, rules: Rules) -> Guard:
        """A guard without a pause or a Keptn to ask."""
        policy = Fixed(rules)
        return cls(journal=journal, clock=clock, policy=policy, pauses=NoPause(), services=_unknown)

    async def try_admit(
        self, execution: Execution, plan: Plan | None, *, approved: bool, dry_run: bool
    ) -> Objection | None:
        """Store the plan as admitted, unless there is an objection. None: it may be applied.

        `plan` is None for a plain action. The journal counts earlier effects and stores the new
        ones in one transaction, so two executions can't both take the last free place.
        """
        is_free = self.policy.rules.is_default and not execution.trigger.is_request
        # What was approved is stored as admitted, though the policy that made it ask has gone: a
        # question that nobody heeded tells the next process that the action has not begun.
        if plan is None and is_free and not approved:
            return self.paused()  # no rail counts plain actions without a policy

        async def ask() -> Objection | PolicyExchanged | None:
            rules = self.policy.rules
            services = await self._services(execution, plan)
            request = self._request(
                execution, plan, rules, services, approved=approved, dry_run=dry_run
            )
            if not isinstance(request, AdmissionRequest):
                return request
            return await self.journal.admit(execution, plan, *request)

        # A policy is loaded about once a second at most, so this ends.
        while isinstance(said := await insist(ask, self.clock.sleep), PolicyExchanged):
            continue
        return said

    def _request(
        self,
        execution: Execution,
        plan: Plan | None,
        rules: Rules,
        services: int | None,
        *,
        approved: bool,
        dry_run: bool,
    ) -> AdmissionRequest | Objection:
        """What the journal is asked; or the objection that needs no history."""
        asked_at = self.clock.now()
        touched = self._touched(execution, plan)
        # A plain subscriber, too, leaves the service as it is: it only tells of others.
        is_counted = bool(plan.changes if plan else execution.trigger.task)
        strictest = _strictest(touched)
        changes_nothing = plan is not None and not plan.changes

        def objection(refusal: Refusal | None) -> Objection | None:
            if dry_run or strictest.mode == "dry-run":
                return DryRun("REMEDY_DRY_RUN" if dry_run else strictest.rule("mode"), refusal)
            if refusal or approved or changes_nothing:
                return refusal
            return _approval_needed(strictest, is_request=execution.trigger.is_request)

        def decide(history: History) -> Objection | PolicyExchanged | None:
            if self.policy.rules is not rules:  # mode, settling, services: all are of earlier ones
                return PolicyExchanged()
            if refusal := self._refused_since(asked_at, history, execution, plan, touched):
                return objection(refusal)
            cases = self._cases(execution, plan, touched, services=services, now=history.now)
            return objection(first_refusal(cases, history) if is_counted else None)

        cases = self._cases(execution, plan, touched, self.pauses.current)
        if refusal := first_refusal(cases, None):
            return objection(refusal) or refusal
        if not is_counted:
            return AdmissionRequest([], decide)
        effects = [_effect(each, execution.trigger.context) for each in touched]
        asked = foreseen([(each.scope, each.rules) for each in touched], rules.kinds)
        return AdmissionRequest(effects, decide, asked)

    async def preview(self, execution: Execution, plan: Plan | None, ask: Past) -> Objection | None:
        """What `try_admit` would say now, without storing anything. `ask` reads the past."""
        services = await self._services(execution, plan)
        rules = self.policy.rules
        request = self._request(execution, plan, rules, services, approved=False, dry_run=False)
        if not isinstance(request, AdmissionRequest):
            return request
        said = await ask(request.decide)
        return None if isinstance(said, PolicyExchanged) else said

    def _refused_since(
        self,
        asked_at: float,
        history: History,
        execution: Execution,
        plan: Plan | None,
        touched: Sequence[Touched],
    ) -> Refusal | None:
        """The refusal by what may have changed since the journal was asked."""
        # Another process may have paused since this one last looked.
        if refusal := _refused_by(self.pauses.current or history.pause()):
            return refusal
        if self.clock.now() - asked_at <= HELD_UP_SECONDS:
            return None
        # The calendar may say something else than then: the journal was held up.
        return first_refusal(self._cases(execution, plan, touched), None)

    async def still_allowed(self, execution: Execution, plan: Plan | None) -> Refusal | None:
        """Why a plan that an earlier process admitted may no longer be applied; None if it may.

        Rails that count are left out: they count this plan already.
        """
        pause = await self._pause_in_force()
        cases = self._cases(execution, plan, self._touched(execution, plan), pause)
        return first_refusal(cases, None)

    def paused(self) -> Refusal | None:
        """The refusal of anything that acts during a pause that this process knows of."""
        return _refused_by(self.pauses.current)

    async def paused_by_anybody(self) -> Refusal | None:
        """As `paused`, and reads the journal for a pause of another process."""
        return _refused_by(await self._pause_in_force())

    async def _pause_in_force(self) -> Pause | None:
        # Another process may have paused since this one last looked.
        return self.pauses.current or await insist(self.journal.paused, self.clock.sleep)

    def reported_as(
        self, execution: Execution, plan: Plan | None, what: Literal["on_refused", "on_failed"]
    ) -> Literal["fail", "warning"]:
        """The result that a refusal or a failure has in Keptn; `fail` where the targets differ."""
        wanted = {getattr(rules, what) for rules in self._resolved(execution, plan)}
        return "fail" if "fail" in wanted else "warning"

    def undoes_when_aborted(self, execution: Execution, plan: Plan) -> bool:
        """Whether an aborted sequence undoes the plan: one rule of one target is enough."""
        return any(rules.undo_on_abort for rules in self._resolved(execution, plan))

    def arming(self, execution: Execution, plan: Plan) -> Arm | None:
        """When the plan is undone without an order: the earliest time that a target's rules set."""
        if not (plan.changes and self.policy.rules.may_arm_undos):
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
        touched: Sequence[Touched],
        pause: Pause | None = None,
        services: int | None = None,
        now: float | None = None,
    ) -> list[Case]:
        now, wall_ahead = now or self.clock.now(), self.clock.wall_ahead
        context = execution.trigger.context
        targets = frozenset([each.scope.target or "" for each in touched])
        replicas = plan.replicas if plan else None
        return [
            Case(
                each.scope,
                each.rules,
                each.scope.target or "",
                context,
                now,
                wall_ahead,
                each.changes,
                targets,
                replicas,
                pause,
                services,
            )
            for each in touched
        ]

    async def _services(self, execution: Execution, plan: Plan | None) -> int | None:
        """The number of services of the stage, where a rule limits the share of them."""
        if not self.policy.rules.asks_for_services:
            return None
        resolved = self._resolved(execution, plan)
        if not any(rules.storm and rules.storm.percent for rules in resolved):
            return None
        return await self.services(execution.trigger.project, execution.trigger.stage)

    def _resolved(self, execution: Execution, plan: Plan | None) -> list[Resolved]:
        return [each.rules for each in self._touched(execution, plan)]

    def _touched(self, execution: Execution, plan: Plan | None) -> list[Touched]:
        rules, trigger, planned = self.policy.rules, execution.trigger, plan is not None
        action, labels = execution.action, rules.label_names
        found: list[Touched] = []
        for target, changes in targets_of(execution, plan).items():
            scope = scope_of(trigger, action, labels, target, planned=planned)
            found.append(Touched(scope, rules.resolve(scope), changes))
        return found


def _refused_by(pause: Pause | None) -> Refusal | None:
    if pause is None:
        return None
    return Refusal("pause", GLOBAL_STOP, paused_words(pause), {"paused_by": pause.by})


async def _unknown(project: str, stage: str) -> None:
    return None


def targets_of(execution: Execution, plan: Plan | None) -> dict[str, tuple[Change, ...]]:
    """The targets that rails count, in order, each with its changes: the plan's, or the service
    where no plan changes anything. There a task other than `action` has a target of its own: after
    an evaluation no action of the service has to cool down.
    """
    if plan and plan.changes:
        by_target = sorted(plan.changes, key=attrgetter("target"))
        return {t: tuple(changes) for t, changes in groupby(by_target, attrgetter("target"))}
    trigger = execution.trigger
    service = f"service {trigger.project}/{trigger.stage}/{trigger.service}"
    return {service if trigger.task in ("", ACTION) else f"{service} task {trigger.task}": ()}


def scope_of(
    trigger: ActionTriggered,
    action: str,
    label_names: Collection[str],
    target: str | None = None,
    *,
    planned: bool = True,
) -> Scope:
    """What rules are matched against.

    `action` is its name in the registry. Labels that are not in `label_names` are left out.
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


def _effect(touched: Touched, context: str) -> Effect:
    scope = touched.scope
    return Effect(
        target=scope.target or "",
        action=scope.action,
        project=scope.project,
        stage=scope.stage,
        service=scope.service,
        context=context,
        planned=scope.planned,
        settle=touched.rules.settle,
    )


def _strictest(touched: Sequence[Touched]) -> Resolved:
    """The rules that hold for a whole plan."""
    return max((each.rules for each in touched), key=_strictness)


def _strictness(rules: Resolved) -> tuple[int, bool, float]:
    """Orders the rules of a plan's targets.

    First the mode: `dry-run`, `approve`, `act`. Then `deny` as the default, then the shorter time.
    """
    is_denied_by_default = rules.approval_default == "deny"
    return _STRICTNESS.index(rules.mode), is_denied_by_default, -rules.approve_within


def _approval_needed(rules: Resolved, *, is_request: bool) -> ApprovalNeeded | None:
    if is_request:
        return ApprovalNeeded(REQUESTED, rules.approve_within, "deny")
    if rules.mode == "act":
        return None
    return ApprovalNeeded(rules.rule("mode"), rules.approve_within, rules.approval_default)

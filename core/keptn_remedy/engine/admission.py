"""From a plan to the permission to apply it: what the guard says is heeded, told or waited for."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from keptn_remedy.action import Outcome, Plan
from keptn_remedy.engine.runtime import Runtime
from keptn_remedy.guardrails.guard import Approval, Rehearsal, Verdict
from keptn_remedy.guardrails.rails import Refusal
from keptn_remedy.guardrails.units import in_words
from keptn_remedy.journal import Execution, Question
from keptn_remedy.support import logs

TURN = "turn"
# Effects may settle without anybody ringing.
LOOK_AGAIN_SECONDS = 5.0


class Told(Exception):
    """What is told instead of acting."""

    def __init__(self, outcome: Outcome, *, is_failure: bool) -> None:
        super().__init__(outcome.message)
        self.outcome = outcome
        self.is_failure = is_failure


class Admission:
    """The way of one execution past the guard. While `is_waiting`, nothing of it has begun."""

    __slots__ = ("_execution", "_is_same", "_means", "_question", "_turn_until", "is_waiting")

    def __init__(
        self, means: Runtime, execution: Execution, is_same: Callable[[Plan, Plan], bool]
    ) -> None:
        self.is_waiting = False
        self._is_same = is_same
        self._means = means
        self._execution = execution
        self._question = execution.question
        self._turn_until: float | None = None

    async def answered(self) -> None:
        """Wait until the question that was asked, if one was, has its answer.

        Raises:
            Told: it was denied, or nobody approved in time.
        """
        question = self._question
        while question and not question.verdict:
            if (left := self._seconds_left(question)) > 0:
                await self._rest(self._execution.id, left)
                question = await self._stored_question()
            else:
                question = await self._closed_question()
            self._question = question
            self._log_answer(question)
        if question and question.verdict == "denied":
            raise self.refused(_denial(question), question.plan)

    @property
    def approval(self) -> dict[str, str]:
        """Who approved, for the details of the outcome; empty where nobody had to."""
        question = self._question
        if question is None or question.verdict != "approved" or not question.by:
            return {}
        because = {"approved_because": question.reason} if question.reason else {}
        return {"approved_by": question.by, **because}

    async def verdict(self, plan: Plan | None) -> Verdict | None:
        """What stands in the way of the plan; None once it is admitted."""
        question = self._question
        approved = question is not None and self._is_about(question, plan)
        return await self._means.guard.admit(
            self._execution, plan, approved=approved, dry_run=self._means.dry_run
        )

    async def heed(self, verdict: Verdict, plan: Plan | None) -> None:
        """Ask whom the verdict wants to be asked, or wait for a turn; then plan again.

        Raises:
            Told: there is nothing to wait for.
        """
        if isinstance(verdict, Rehearsal):
            raise Told(self._rehearsed(verdict, plan), is_failure=False)
        if isinstance(verdict, Approval):
            await self._ask(verdict, plan)
        elif (left := self._turn_left(verdict)) > 0:
            await self._rest(TURN, min(left, LOOK_AGAIN_SECONDS))
        else:
            raise self.refused(verdict, plan)

    def refused(self, refusal: Refusal, plan: Plan | None) -> Told:
        """The refusal as it is told: with its rail, its rule, its numbers and what follows."""
        details = {"rail": refusal.rail, "rule": refusal.rule, **refusal.numbers}
        within = refusal.turn_within
        waited = f"; no turn came within {in_words(within)}" if within else ""
        return self.denied(Outcome.failed(f"{refusal}{waited}", **details), plan)

    def denied(self, refusal: Outcome, plan: Plan | None) -> Told:
        """A refusal, of a rail or of the action itself, as the rules want it told."""
        by_action = {"rail": "action", "rule": self._execution.action}
        details = {**by_action, **refusal.details}
        rail, rule = str(details["rail"]), str(details["rule"])
        self._means.metrics.refusals(rail, rule, self._execution.action).inc()
        told_as = self._means.guard.told_as(self._execution, plan, "on_refused")
        then = "the sequence stops here" if told_as == "fail" else "the sequence goes on"
        message = f"{refusal.message}; {then}"
        return Told(
            replace(refusal, result=told_as, message=message, details=details), is_failure=True
        )

    async def _ask(self, approval: Approval, plan: Plan | None) -> None:
        now = self._means.clock.now()
        question = Question(
            plan=plan,
            rule=approval.rule,
            asked_at=now,
            expires_at=now + approval.seconds,
            default=approval.default,
        )
        await self._means.insist(lambda: self._means.journal.ask(self._execution, question))
        self._question = question
        logs.logger().warning(
            "approval needed",
            **logs.execution_fields(self._execution.trigger, self._execution.action),
            plan=str(plan) if plan else "",
            rule=approval.rule,
            seconds=approval.seconds,
            how=f"remedy approve {self._execution.id}",
        )

    def _is_about(self, question: Question, plan: Plan | None) -> bool:
        if question.plan is None or plan is None:
            return question.plan is plan
        # As it was stored: what the author gave may be of other types.
        return self._is_same(question.plan, Plan.from_json(plan.to_json()))

    def _log_answer(self, question: Question | None) -> None:
        if question and question.verdict and question.by:
            logs.logger().info(
                question.verdict,
                **logs.execution_fields(self._execution.trigger, self._execution.action),
                by=question.by,
                reason=question.reason,
            )

    async def _stored_question(self) -> Question | None:
        journal = self._means.journal
        record = await self._means.insist(lambda: journal.record(self._execution.id))
        return record.question if record else None

    async def _closed_question(self) -> Question | None:
        journal = self._means.journal
        return await self._means.insist(lambda: journal.close_question(self._execution))

    async def _rest(self, bell: str, seconds: float) -> None:
        self.is_waiting = True
        await self._means.rests.until_rung(bell, seconds, self._means.clock)
        self.is_waiting = False

    def _seconds_left(self, question: Question) -> float:
        return question.expires_at - self._means.clock.now()

    def _turn_left(self, refusal: Refusal) -> float:
        if refusal.turn_within is None:
            return 0.0
        now = self._means.clock.monotonic()
        if self._turn_until is None:
            self._turn_until = now + refusal.turn_within
        return self._turn_until - now

    def _rehearsed(self, rehearsal: Rehearsal, plan: Plan | None) -> Outcome:
        by = "" if self._means.dry_run else f" ({rehearsal.rule})"
        said = str(plan) if plan else f"{self._execution.action} would have been run"
        if rehearsal.refusal:
            said = f"{said}; but it would have been {rehearsal.refusal}"
        return Outcome.warned(f"dry run{by}: {said}", **({"plan": described(plan)} if plan else {}))


def described(plan: Plan) -> dict[str, str]:
    """The changes of a plan, for the details of an outcome."""
    return {f"{change.target} {change.field}": change.step for change in plan.changes}


def _denial(question: Question) -> Refusal:
    if question.by:
        why = f"denied by {question.by}" + (f": {question.reason}" if question.reason else "")
    else:
        why = f"nobody approved within {in_words(question.expires_at - question.asked_at)}"
    return Refusal("approval", question.rule, why)

"""Admission: from a plan to the permission to apply it, past rails, approvers and turns."""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import replace

from keptn_remedy.action import Outcome, Plan
from keptn_remedy.engine.runtime import Runtime
from keptn_remedy.engine.still_wanted import UNCONFIRMED, StillWanted, Unconfirmed
from keptn_remedy.engine.waiting_room import WaitingRoom
from keptn_remedy.guardrails.guard import Guard
from keptn_remedy.guardrails.objections import ApprovalNeeded, DryRun, Objection
from keptn_remedy.guardrails.rails import Refusal
from keptn_remedy.guardrails.units import in_words
from keptn_remedy.journal import Execution, Question, TargetHeld
from keptn_remedy.support import logs
from keptn_remedy.support.authored import contained

# Effects settle without anybody calling the next one in.
LOOK_AGAIN_SECONDS = 5.0
# Another replica says nothing when it lets go of a target.
HELD_SECONDS = 0.5


class HeldElsewhere:
    """Another replica holds a target of the plan, or has changed it since the plan was made."""


HELD_ELSEWHERE = HeldElsewhere()


class NotAdmitted(Exception):
    """The execution may not act; `outcome` is reported instead. `is_failure`: it counts as one."""

    def __init__(self, outcome: Outcome, *, is_failure: bool) -> None:
        super().__init__(outcome.message)
        self.outcome = outcome
        self.is_failure = is_failure


class Admission:
    """The way of one execution past the guard. `is_same` tells whether two plans of its action are
    the same one. `approval` says who approved, for the details of the outcome; it is empty where
    nobody had to.
    """

    __slots__ = (
        "_execution",
        "_guard",
        "_has_waited",
        "_is_same",
        "_is_wait_noted",
        "_is_waiting",
        "_question",
        "_runtime",
        "_still_wanted",
        "_turn_until",
        "_waiting_room",
        "approval",
    )

    def __init__(
        self,
        execution: Execution,
        is_same: Callable[[Plan, Plan], bool],
        *,
        runtime: Runtime,
        guard: Guard,
        waiting_room: WaitingRoom,
        still_wanted: StillWanted,
    ) -> None:
        self._execution = execution
        self._is_same = is_same
        self._runtime = runtime
        self._guard = guard
        self._waiting_room = waiting_room
        self._still_wanted = still_wanted
        self._question = execution.question
        self._is_waiting = self._is_wait_noted = False
        # Since then Keptn may have ended the task: it is asked before the execution acts.
        self._has_waited = False
        self._turn_until = execution.turn_until
        self.approval = _approval(execution.question)

    @property
    def is_waiting(self) -> bool:
        """Whether the action has surely not begun: the execution waits for an approver or a turn,
        or has asked for approval and was not admitted since.
        """
        return self._is_waiting or (self._question is not None and not self._question.heeded)

    async def until_answered(self) -> None:
        """Wait until the question that was asked, if one was, has a verdict.

        Raises:
            NotAdmitted: an approver denied it, or nobody approved in time.
        """
        question = self._question
        while question and not question.verdict:
            if (left := self._seconds_left(question)) > 0:
                with self._waiting():
                    await self._waiting_room.until_answered(self._execution.id, left)
                question = await self._stored_question()
            else:
                question = await self._closed_question()
            self._question = question
            self._log_answer(question)
        if question and question.verdict == "denied":
            raise self.refused(_denial(question), question.plan)
        self.approval = _approval(question)

    async def try_admit(self, plan: Plan | None) -> Objection | Unconfirmed | HeldElsewhere | None:
        """Admit the plan, and store it; or return what stands in its way, and store nothing.

        Raises:
            TaskEnded: it has waited, and Keptn ended its task meanwhile.
        """
        if self._has_waited and not await self._still_wanted.is_confirmed(self._execution):
            return UNCONFIRMED
        question = self._question
        approved = question is not None and self._is_about(question, plan)
        try:
            objection = await self._guard.try_admit(
                self._execution, plan, approved=approved, dry_run=self._runtime.dry_run
            )
        except TargetHeld:
            return HELD_ELSEWHERE
        if objection is None and question:
            self._question = replace(question, heeded=True)  # as the journal has it now
        return objection

    async def wait_out(
        self, objection: Objection | Unconfirmed | HeldElsewhere, plan: Plan | None
    ) -> None:
        """Ask an approver and wait for the answer, or wait for a turn or for Keptn; then the action
        plans again.

        Raises:
            NotAdmitted: there is nothing to wait for, or the answer is no.
            TaskEnded: Keptn has ended its task.
        """
        if isinstance(objection, Unconfirmed):
            await self.note_waiting()
            await self._until_confirmed(plan)
            return
        if isinstance(objection, HeldElsewhere):
            await self.note_waiting()
            with self._waiting():
                await self._waiting_room.until_turn(HELD_SECONDS, self._turn_until)
            return
        if isinstance(objection, DryRun):
            raise NotAdmitted(self._rehearsed(objection, plan), is_failure=False)
        if isinstance(objection, ApprovalNeeded):
            await self._ask(objection, plan)
            await self.until_answered()
        elif (left := self._turn_left(objection)) > 0:
            await self.note_waiting()
            with self._waiting():
                seconds = min(left, LOOK_AGAIN_SECONDS)
                await self._waiting_room.until_turn(seconds, self._turn_until)
        else:
            raise self.refused(objection, plan)

    async def note_waiting(self) -> None:
        """Note that it waits for others, before its plan is admitted. Processes that end meanwhile
        say nothing against it, and whoever went on alone lets the next one go on.
        """
        self._waiting_room.make_way(self._execution.id)
        if self._execution.runs and not self._is_wait_noted:
            await self._runtime.insist(lambda: self._runtime.journal.note_waiting(self._execution))
            self._is_wait_noted = True

    def refused(self, refusal: Refusal, plan: Plan | None) -> NotAdmitted:
        """A rail's refusal as it is reported: with rail, rule and numbers, and what follows."""
        details = {"rail": refusal.rail, "rule": refusal.rule, **refusal.numbers}
        within = refusal.turn_within
        waited = f"; no turn came within {in_words(within)}" if within else ""
        return self.denied(Outcome.failed(f"{refusal}{waited}", **details), plan)

    def denied(self, refusal: Outcome, plan: Plan | None) -> NotAdmitted:
        """A refusal by a rail or by the action itself, reported as the rules say."""
        by_action = {"rail": "action", "rule": self._execution.action}
        details = {**by_action, **refusal.details}
        rail, rule = str(details["rail"]), str(details["rule"])
        self._runtime.metrics.refusals(rail, rule, self._execution.action).inc()
        reported_as = self._guard.reported_as(self._execution, plan, "on_refused")
        then = "the sequence stops here" if reported_as == "fail" else "the sequence goes on"
        message = f"{refusal.message}; {then}"
        return NotAdmitted(
            replace(refusal, result=reported_as, message=message, details=details), is_failure=True
        )

    async def _until_confirmed(self, plan: Plan | None) -> None:
        with self._waiting():
            stale = await self._still_wanted.until_confirmed(self._execution)
        self._has_waited = False
        if stale:
            raise self.denied(stale, plan)

    async def _ask(self, approval: ApprovalNeeded, plan: Plan | None) -> None:
        now = self._runtime.clock.now()
        question = Question(
            plan=plan,
            rule=approval.rule,
            asked_at=now,
            expires_at=now + approval.seconds,
            default=approval.default,
        )
        await self._runtime.insist(lambda: self._runtime.journal.ask(self._execution, question))
        self._question, self.approval = question, {}
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
        stored = Plan.from_json(plan.to_json())
        with contained():
            return bool(self._is_same(question.plan, stored))

    def _log_answer(self, question: Question | None) -> None:
        if question and question.verdict and question.by:
            logs.logger().info(
                question.verdict,
                **logs.execution_fields(self._execution.trigger, self._execution.action),
                by=question.by,
                reason=question.reason,
            )

    async def _stored_question(self) -> Question | None:
        journal = self._runtime.journal
        record = await self._runtime.insist(lambda: journal.record(self._execution.id))
        return record.question if record else None

    async def _closed_question(self) -> Question | None:
        journal = self._runtime.journal
        return await self._runtime.insist(lambda: journal.close_question(self._execution))

    @contextmanager
    def _waiting(self) -> Generator[None]:
        self._is_waiting = self._has_waited = True
        yield
        # Not when cancelled: it then still waits, and the next process may take it up.
        self._is_waiting = False

    def _seconds_left(self, question: Question) -> float:
        return question.expires_at - self._runtime.clock.now()

    def _turn_left(self, refusal: Refusal) -> float:
        if refusal.turn_within is None:
            return 0.0
        now = self._runtime.clock.monotonic()
        if self._turn_until is None:
            self._turn_until = now + refusal.turn_within
        return self._turn_until - now

    def _rehearsed(self, rehearsal: DryRun, plan: Plan | None) -> Outcome:
        by = "" if self._runtime.dry_run else f" ({rehearsal.rule})"
        said = str(plan) if plan else f"{self._execution.action} would have been run"
        if rehearsal.refusal:
            said = f"{said}; but it would have been {rehearsal.refusal}"
        return Outcome.warned(f"dry run{by}: {said}", **({"plan": described(plan)} if plan else {}))


def described(plan: Plan) -> dict[str, str]:
    """The changes of a plan, for the details of an outcome."""
    return {f"{change.target} {change.field}": change.step for change in plan.changes}


def _approval(question: Question | None) -> dict[str, str]:
    if question is None or question.verdict != "approved" or not question.by:
        return {}
    because = {"approved_because": question.reason} if question.reason else {}
    return {"approved_by": question.by, **because}


def _denial(question: Question) -> Refusal:
    if question.by:
        why = f"denied by {question.by}" + (f": {question.reason}" if question.reason else "")
    else:
        why = f"nobody approved within {in_words(question.expires_at - question.asked_at)}"
    return Refusal("approval", question.rule, why)

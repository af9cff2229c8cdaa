"""One execution in this process: how it is taken up, interrupted, and brought to its ending."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Collection, Sequence
from dataclasses import replace
from operator import eq
from typing import Generic, TypeVar

from keptn_remedy.action import AnyAction, Denied, Outcome, Plan, PlannedAction
from keptn_remedy.engine.admission import Admission, NotAdmitted
from keptn_remedy.engine.attempts import CANCELLED_FROM_WITHIN, Attempts
from keptn_remedy.engine.cancellation import Cancellation, Interrupted
from keptn_remedy.engine.crew import cancelled_from_within
from keptn_remedy.engine.declared import may_be_repeated
from keptn_remedy.engine.runtime import Runtime
from keptn_remedy.engine.still_wanted import StillWanted
from keptn_remedy.engine.target_locks import TargetLocks
from keptn_remedy.engine.threads import NotBegun
from keptn_remedy.engine.value import Values
from keptn_remedy.engine.waiting_room import Rest, WaitingRoom
from keptn_remedy.guardrails.guard import Guard
from keptn_remedy.journal import Ending, Execution, NotOwner, TaskEnded
from keptn_remedy.registry import Entry

# An execution during which so many processes died may be what killed them.
MAX_RUNS = 10
_INTERRUPTED = "interrupted by a restart, and not safe to repeat"
UNTOUCHED = "; nothing was done"

A = TypeVar("A", bound=AnyAction)


class RunningExecution(ABC):
    """An execution in the hands of this process."""

    __slots__ = ("_runtime", "execution")

    def __init__(self, execution: Execution, runtime: Runtime) -> None:
        self.execution = execution
        self._runtime = runtime

    @abstractmethod
    async def run(self, aborted: str | None) -> Ending:
        """Carry it out, or, if Keptn had `aborted` it before, see to what an earlier process left.

        Raises only CancelledError: the next process takes the execution up.
        """

    @property
    def attempts(self) -> int:
        """How many it has taken."""
        return 0

    @property
    def overdue_seconds(self) -> float:
        """For how long it has ignored that it was cut off; 0 while it is in time."""
        return 0.0

    @property
    def waits_for(self) -> Collection[str]:
        """The targets that it waits for."""
        return ()

    @abstractmethod
    def abort(self, reason: str) -> None:
        """Stop as soon as that is safe: Keptn has ended the task."""

    @abstractmethod
    def stop_waiting(self, holder: str) -> None:
        """Stop, since the execution `holder` holds a target, and ignores its deadline."""

    def abandoned(self, why: str) -> Ending:
        """Cut its code off once more, and wait for it no longer. Returns how the execution ends."""
        return Ending(self._runtime.presentable(Outcome.errored(why)), is_failure=True)


class NotTaken(RunningExecution):
    """An execution that can't be carried out. It runs no code, so there is nothing to stop."""

    __slots__ = ("_outcome",)

    def __init__(self, execution: Execution, runtime: Runtime, outcome: Outcome) -> None:
        super().__init__(execution, runtime)
        self._outcome = outcome

    async def run(self, aborted: str | None) -> Ending:
        plan = self.execution.plan
        left = f"; perhaps applied, and left: {plan}" if plan else ""
        ending = self._outcome
        if aborted:
            untouched = "" if plan or self.execution.runs else UNTOUCHED
            ending = Outcome.errored(f"{aborted}{untouched}")
        outcome = self._runtime.presentable(replace(ending, message=f"{ending.message}{left}"))
        return Ending(outcome, is_failure=not aborted, is_aborted=aborted is not None)

    def abort(self, reason: str) -> None:
        """Nothing runs."""

    def stop_waiting(self, holder: str) -> None:
        """It waits for nothing."""


class Taken(RunningExecution, Generic[A]):
    """What plain and planned executions have in common: everything but how they act."""

    _cancellation: Cancellation  # from `run` on

    __slots__ = (
        "_action",
        "_admission",
        "_attempts",
        "_cancellation",
        "_entry",
        "_guard",
        "_locks",
        "_may_have_acted",
        "_notes",
        "_values",
        "_waits_for",
    )

    def __init__(
        self,
        execution: Execution,
        entry: Entry,
        action: A,
        *,
        runtime: Runtime,
        guard: Guard,
        values: Values,
        waiting_room: WaitingRoom,
        still_wanted: StillWanted,
        locks: TargetLocks,
    ) -> None:
        super().__init__(execution, runtime)
        self._entry = entry
        self._action: A = action
        self._guard = guard
        self._values = values
        self._attempts = Attempts(runtime, execution, action)
        is_same = action.is_same if isinstance(action, PlannedAction) else eq
        self._admission = Admission(
            execution,
            is_same,
            runtime=runtime,
            guard=guard,
            waiting_room=waiting_room,
            still_wanted=still_wanted,
        )
        self._may_have_acted = execution.runs > 0 and not self._admission.is_waiting
        self._notes: tuple[str, ...] = ()
        self._locks = locks
        self._waits_for: Collection[str] = ()

    @property
    def attempts(self) -> int:
        return self._attempts.count

    @property
    def waits_for(self) -> Collection[str]:
        return self._waits_for

    @property
    def overdue_seconds(self) -> float:
        return self._attempts.overdue_seconds

    def abort(self, reason: str) -> None:
        self._cancellation.request(reason)

    def stop_waiting(self, holder: str) -> None:
        reason = f"its target is held by execution {holder}, which ignores its deadline"
        self._cancellation.request(reason, is_reported=True)

    def abandoned(self, why: str) -> Ending:
        self._cancellation.cut_off()
        outcome = self._runtime.presentable(Outcome.errored(f"{why}{self._perhaps_applied}"))
        is_aborted = self._cancellation.reason is not None
        return Ending(outcome, is_failure=True, is_aborted=is_aborted)

    async def run(self, aborted: str | None) -> Ending:
        self._cancellation = Cancellation(asyncio.current_task(), aborted)
        if aborted:
            return await self._interrupted(None)
        try:
            try:
                hopeless = self._hopeless()
                outcome = self._runtime.presentable(hopeless) if hopeless else await self._act()
            except BaseException as error:
                self._cancellation.left(error)
                raise
            if self._cancellation.reason is not None:
                self._cancellation.left()
        except Interrupted as interrupted:
            return await self._interrupted(interrupted.outcome)
        except TaskEnded as ended:  # noticed before anything was applied
            return await self.run(ended.reason)
        except (NotAdmitted, NotBegun, Denied) as refusal:
            ending = self._not_admitted(self._refused(refusal))
            is_untouched = isinstance(refusal, NotBegun) and not self.execution.runs
            return replace(ending, is_untouched=is_untouched)
        except asyncio.CancelledError:
            if work := cancelled_from_within():
                await work.shake_off()
                return self._ended(Outcome.errored(CANCELLED_FROM_WITHIN))
            # The process leaves. Where nothing of the action has begun, or it may be repeated, the
            # next process takes the execution up.
            is_resumable = self._admission.is_waiting or may_be_repeated(self._action)
            if self._cancellation.reason or is_resumable:
                raise
            outcome = Outcome.errored(_INTERRUPTED)
        except (GeneratorExit, Rest, NotOwner):
            raise
        except BaseException as error:  # noqa: BLE001  an author's code may fail in any way
            outcome = self._runtime.presentable(self._attempts.explained(error))
        return self._ended(outcome)

    @abstractmethod
    async def _act(self) -> Outcome:
        """Find the value, be admitted, and act. What comes back is presentable."""

    @abstractmethod
    async def _after_abort(self) -> Outcome:
        """See to what may have been applied before the execution was aborted."""

    @property
    def _plan(self) -> Plan | None:
        """The admitted plan: from then on it may be applied."""
        return None

    @property
    def _perhaps_applied(self) -> str:
        return f"; perhaps applied: {self._plan}" if self._plan else ""

    def _refused(self, refusal: NotAdmitted | NotBegun | Denied) -> NotAdmitted:
        if isinstance(refusal, NotBegun):
            return self._admission.refused(refusal.refusal, self._plan)
        if isinstance(refusal, Denied):
            return self._admission.denied(self._attempts.explained(refusal), self._plan)
        return refusal

    def _ask_pause(self) -> None:
        """Raises NotBegun if a pause came since it was admitted."""
        if refusal := self._guard.paused():
            raise NotBegun(refusal)

    def _hopeless(self) -> Outcome | None:
        """Why it is not even tried, if so."""
        if self.execution.unreadable:
            return Outcome.errored(f"the journal's entry is broken: {self.execution.unreadable}")
        runs = self.execution.runs
        if self._may_have_acted and not may_be_repeated(self._action):
            return Outcome.errored(_INTERRUPTED)
        if runs >= MAX_RUNS:
            why = f"not tried again: it was begun {runs} times, and never came to its end"
            return Outcome.errored(f"{why}{self._perhaps_applied}")
        return None

    async def _interrupted(self, outcome: Outcome | None) -> Ending:
        if self._cancellation.is_reported:
            why = f"{self._cancellation.reason}{self._perhaps_applied}"
            return self._ended(self._runtime.presentable(Outcome.errored(why)))
        return self._aborted(outcome or await self._after_abort())

    def _aborted(self, outcome: Outcome) -> Ending:
        outcome = self._with_approval(self._runtime.presentable(outcome))
        return self._with_undo(Ending(outcome, is_aborted=True), is_left=True)

    def _not_admitted(self, refusal: NotAdmitted) -> Ending:
        ending = Ending(self._runtime.presentable(refusal.outcome), refusal.is_failure)
        return self._with_undo(ending, is_left=False)

    def _ended(self, outcome: Outcome) -> Ending:
        outcome = self._with_approval(outcome)
        ending = Ending(outcome)
        if outcome.is_failure:
            ending = Ending(self._softened(outcome), is_failure=True)
        return self._with_undo(ending, is_left=True)

    def _with_undo(self, ending: Ending, *, is_left: bool) -> Ending:
        """The ending, with what became of an undo, or with when there is to be one. `is_left`: what
        was applied stays, unless it was undone.
        """
        return ending

    def _with_approval(self, outcome: Outcome) -> Outcome:
        """The outcome, and who approved it."""
        if approval := self._admission.approval:
            return replace(outcome, details={**outcome.details, **approval})
        return outcome

    def _softened(self, failure: Outcome) -> Outcome:
        if self._guard.reported_as(self.execution, self._plan, "on_failed") == "fail":
            return failure
        message = f"{failure.message}; reported as a warning, the sequence goes on"
        return replace(failure, status="succeeded", result="warning", message=message)


def with_notes(outcome: Outcome, notes: Sequence[str]) -> Outcome:
    """An outcome that passed, as a warning with the notes, if there are any."""
    if outcome.result != "pass" or not notes:
        return outcome
    return replace(outcome, result="warning", message=f"{outcome.message} ({'; '.join(notes)})")

"""A plain execution: its action plans nothing, and runs as soon as it is admitted."""

from __future__ import annotations

from collections.abc import Coroutine
from typing import Any

from keptn_remedy.action import Action, Later, Outcome
from keptn_remedy.engine.execution import UNTOUCHED, Taken, with_notes
from keptn_remedy.engine.runtime import checked
from keptn_remedy.engine.waiting_room import Rest
from keptn_remedy.guardrails.guard import targets_of

LONGEST_REST_SECONDS = 30 * 86_400.0


class PlainExecution(Taken[Action]):
    """An action that plans nothing: it is admitted, and run."""

    __slots__ = ()

    def _hopeless(self) -> Outcome | None:
        if self._runtime.dry_run and not self.execution.unreadable:
            return Outcome.warned(f"dry run: {self._action.name} would have been run")
        return super()._hopeless()

    async def _act(self) -> Outcome:
        if self.execution.runs or self.execution.has_begun:
            await self._until_due()
        value, notes = await self._values.of(self.execution.trigger, self._entry, self._attempts)
        if self.execution.runs:
            await self._ask_again()
        if self.execution.question:
            await self._admission.until_answered()
        try:
            if self.execution.trigger.is_request:
                outcome = await self._in_turn(value)
            else:  # no context that does nothing: thousands would hold one
                await self._until_admitted()
                outcome = checked(await self._run_action(value))
        except Later as later:
            raise await self._rest(later.seconds) from None
        outcome = with_notes(outcome, notes)
        return self._runtime.presentable(outcome, self.execution.trigger.task)

    async def _in_turn(self, value: Any) -> Outcome:
        """Run the action of a request while it holds its service: each request has a lane of its
        own, and they would act side by side.
        """
        has_asked = self.execution.question is not None
        # A person may take hours to answer: the service is not held meanwhile.
        if not has_asked and (objection := await self._admission.try_admit(None)):
            await self._admission.wait_out(objection, None)
        # Admitted once it holds the service: a process that ends before has surely not acted.
        target = frozenset(targets_of(self.execution, None))
        self._waits_for = target
        async with self._locks.hold(target, self.execution.id, self._locks.moment):
            self._waits_for = ()
            await self._until_admitted()
            if self.execution.runs:
                await self._ask_again()  # since an earlier process admitted it
            return checked(await self._run_action(value))

    async def _until_admitted(self) -> None:
        while objection := await self._admission.try_admit(None):
            await self._admission.wait_out(objection, None)

    async def _ask_again(self) -> None:
        """Raises NotAdmitted if what was admitted is not allowed any more."""
        if refusal := await self._guard.still_allowed(self.execution, None):
            raise self._admission.refused(refusal, None)

    def _run_action(self, value: Any) -> Coroutine[Any, Any, Outcome]:
        """The run of the action, which begins once it is awaited."""
        self._attempts.start_deadline()
        self._may_have_acted = True
        # A coroutine of its own, or names for what only the call needs, would hold memory.
        run, may_begin = self._action.run, self._ask_pause
        return self._attempts.until_done(run, value, may_begin=may_begin)

    async def _until_due(self) -> None:
        """Raises Rest while a timer of the execution runs."""
        journal, clock = self._runtime.journal, self._runtime.clock
        if timer := await self._runtime.insist(lambda: journal.timer(self.execution)):
            if (left := timer.due - clock.now()) > 0:
                raise await self._rest(left)
            self._attempts.note_waited(timer.due - timer.since)

    async def _rest(self, seconds: float) -> Rest:
        """Set the timer; what is to be raised then."""
        journal, clock = self._runtime.journal, self._runtime.clock
        seconds = min(max(seconds, 0.0), LONGEST_REST_SECONDS)
        await self._runtime.insist(lambda: journal.set_timer(self.execution, seconds))
        return Rest(clock.monotonic() + seconds)

    async def _after_abort(self) -> Outcome:
        what = "; what it had done is not known" if self._may_have_acted else UNTOUCHED
        return Outcome.errored(f"{self._cancellation.reason}{what}")

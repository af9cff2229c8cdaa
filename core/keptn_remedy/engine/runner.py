"""One execution from start to finish: whatever the action does, an outcome is told to Keptn."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection
from dataclasses import dataclass, field
from typing import Literal

from keptn_remedy.action import Outcome
from keptn_remedy.engine.admission import TURN
from keptn_remedy.engine.execution import Steps
from keptn_remedy.engine.runtime import Runtime
from keptn_remedy.events import Replies, Report
from keptn_remedy.journal import Ending, Execution, Unsent
from keptn_remedy.registry import Registry
from keptn_remedy.support import logs

WATCH_SECONDS = 5.0
OVERDUE_SECONDS = 30.0
ErrorLog = Literal["always", "auto", "never"]


@dataclass(frozen=True, slots=True)
class Runner:
    """Runs executions. `tell` takes each report once it is stored.

    `answers_aborted`: what Keptn has ended is answered all the same.
    """

    means: Runtime
    registry: Registry
    replies: Replies
    tell: Callable[[Unsent], None]
    error_log: ErrorLog = "always"
    answers_aborted: bool = False
    _running: dict[str, Steps] = field(default_factory=dict[str, Steps])
    _given_up: dict[str, str] = field(default_factory=dict[str, str])

    async def run(self, execution: Execution) -> Outcome:
        """Begin, carry out, finish. Raises only CancelledError, which leaves the execution open."""
        began = self.means.clock.monotonic()
        steps = self._steps(execution)
        try:
            if not self._reason_to_give_up(execution):
                await self._begin(execution, steps)
            attempts = 0
            if isinstance(steps, str):
                ended = self._not_taken(execution, steps)
            else:
                ended = await self._taken(steps)
                self._running.pop(execution.id, None)  # what comes now is not cut off
                attempts = steps.attempts.count
            await self._finish(execution, ended, attempts)
            self.means.targets.forget(execution.id)
            self.means.rests.ring(TURN)
            self._given_up.pop(execution.id, None)
            seconds = self.means.clock.monotonic() - began
            if execution.id not in self.means.overdue:
                self._sum_up(execution, ended, attempts, seconds)
            return ended.outcome
        finally:
            self._running.pop(execution.id, None)
            self.means.overdue.discard(execution.id)

    async def watch(self) -> None:
        """Finish what ignores its deadline: Keptn would wait for ever (contract §4.4). For ever."""
        while True:
            await self.means.clock.sleep(WATCH_SECONDS)
            for steps in list(self._running.values()):
                overdue = steps.attempts.overdue_seconds
                if overdue > OVERDUE_SECONDS:
                    await self._finish_overdue(steps, overdue)
                elif holder := self._overdue_holder(steps.waits_for):
                    steps.stop_waiting(holder)

    def _overdue_holder(self, targets: Collection[str]) -> str | None:
        holders = map(self.means.targets.holder, targets)
        return next((holder for holder in holders if holder in self.means.overdue), None)

    async def _finish_overdue(self, steps: Steps, seconds: float) -> None:
        execution = steps.execution
        self._running.pop(execution.id, None)
        if steps.task:
            steps.task.cancel()
        self.means.overdue.add(execution)
        why = f"it goes on {seconds:.0f} s after it was cut off, and is not waited for"
        outcome = self.means.presentable(Outcome.errored(f"{why}{steps.perhaps_applied}"))
        ended = Ending(outcome, is_failure=True, is_aborted=steps.reason is not None)
        logs.logger().error(
            "an execution ignores its deadline",
            **logs.execution_fields(execution.trigger, execution.action),
        )
        await self._finish(execution, ended, steps.attempts.count)
        self.means.overdue.on_finished(execution)
        self._sum_up(execution, ended, steps.attempts.count, seconds)

    def give_up(self, execution_id: str, reason: str) -> None:
        """Stop an execution whose task Keptn has ended; the journal knows of that already."""
        self._given_up[execution_id] = reason
        if steps := self._running.get(execution_id):
            steps.give_up(reason)

    async def reserve_targets(self) -> None:
        """Keep what plans of the last process touch from being planned for by others.

        Raises:
            JournalError: the plans can't be read.
        """
        for execution in await self.means.journal.planned():
            if execution.plan:
                await self.means.targets.reserve(execution.plan.targets, execution.id)

    async def announce(self, execution: Execution) -> None:
        """Tell Keptn that an execution will come to its turn.

        Raises:
            JournalError: nothing was stored.
        """
        if self._reason_to_give_up(execution):
            return
        started = self.replies.started(execution.trigger, self.means.clock.utc())
        if unsent := await self.means.journal.announce(execution, started):
            self.tell(unsent)

    def _steps(self, execution: Execution) -> Steps | str:
        """Its steps, or why none are taken."""
        if holder := self.means.overdue.in_lane(execution.lane):
            return f"its service is held by execution {holder}, which ignores its deadline"
        entry = self.registry.find(execution.trigger.action)
        if entry is None or entry.action is None:
            return f"the action {execution.trigger.action} is not switched on any more"
        return Steps(self.means, execution, entry, entry.action)

    def _not_taken(self, execution: Execution, why: str) -> Ending:
        reason = self._reason_to_give_up(execution)
        left = f"; perhaps applied, and left: {execution.plan}" if execution.plan else ""
        outcome = self.means.presentable(Outcome.errored(f"{reason or why}{left}"))
        return Ending(outcome, is_failure=not reason, is_aborted=reason is not None)

    def _taken(self, steps: Steps) -> Awaitable[Ending]:
        steps.task = asyncio.current_task()
        self._running[steps.execution.id] = steps
        reason = self._reason_to_give_up(steps.execution)
        return steps.given_up(reason) if reason else steps.ended()

    def _reason_to_give_up(self, execution: Execution) -> str | None:
        return execution.aborted or self._given_up.get(execution.id)

    async def _begin(self, execution: Execution, steps: Steps | str) -> None:
        journal, insist = self.means.journal, self.means.insist
        started = self.replies.started(execution.trigger, self.means.clock.utc())
        if isinstance(steps, Steps) and (asking := steps.asking()):
            unsent, steps.is_admitted = await insist(
                lambda: journal.begin_admitted(execution, started, *asking)
            )
        else:
            unsent = await insist(lambda: journal.begin(execution, started))
        if unsent:
            self.tell(unsent)

    async def _finish(self, execution: Execution, ended: Ending, attempts: int) -> None:
        if ended.is_aborted and not self.answers_aborted:
            reports: list[Report] = []
        else:
            reports = self._reports(execution, ended, attempts)
        finish = self.means.journal.finish
        for unsent in await self.means.insist(
            lambda: finish(execution, ended, attempts=attempts, reports=reports)
        ):
            self.tell(unsent)

    def _reports(self, execution: Execution, ended: Ending, attempts: int) -> list[Report]:
        trigger, now, outcome = execution.trigger, self.means.clock.utc(), ended.outcome
        details = {**outcome.details, "execution": execution.id, "attempts": str(attempts)}
        finished = self.replies.finished(
            trigger,
            now,
            status=outcome.status,
            result=outcome.result,
            message=outcome.message,
            details=details,
        )
        if not self._is_logged(ended):
            return [finished]
        text = f"{execution.action} {outcome.message} (attempts: {attempts}, {execution.id})"
        return [finished, self.replies.error_log(trigger, now, text)]

    def _is_logged(self, ended: Ending) -> bool:
        """Whether a log.error follows; Keptn itself logs an errored `finished` (contract §8.3)."""
        if not ended.is_failure or self.error_log == "never":
            return False
        return self.error_log == "always" or ended.outcome.status != "errored"

    def _sum_up(self, execution: Execution, ended: Ending, attempts: int, seconds: float) -> None:
        name, outcome = execution.action, ended.outcome
        status = "aborted" if ended.is_aborted else outcome.status
        self.means.metrics.finished(name, status, outcome.result).inc()
        self.means.metrics.duration(name).observe(seconds)
        if ended.undo and ended.undo.state != "wanted":
            self.means.metrics.undos(name, ended.undo.state).inc()
        log = logs.logger()
        tell = log.warning if ended.is_failure else log.info
        tell(
            "execution finished",
            **logs.execution_fields(execution.trigger, name),
            status=status,
            result=outcome.result,
            outcome=outcome.message,
            attempts=attempts,
            seconds=round(seconds, 3),
        )

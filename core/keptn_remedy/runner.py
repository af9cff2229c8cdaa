"""One execution from start to finish: whatever the action does, an outcome is told to Keptn."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from keptn_remedy import logs
from keptn_remedy.action import Outcome
from keptn_remedy.events import Replies, Report
from keptn_remedy.journal import Execution, Unsent
from keptn_remedy.means import Means
from keptn_remedy.registry import Registry
from keptn_remedy.steps import carry_out

ErrorLog = Literal["always", "auto", "never"]


@dataclass(frozen=True, slots=True)
class Runner:
    """Runs executions. `tell` takes each report once it is stored."""

    means: Means
    registry: Registry
    replies: Replies
    tell: Callable[[Unsent], None]
    error_log: ErrorLog = "always"

    async def run(self, execution: Execution) -> Outcome:
        """Begin, carry out, finish. Raises only CancelledError, which leaves the execution open."""
        began = self.means.clock.monotonic()
        await self._begin(execution)
        entry = self.registry.find(execution.trigger.action)
        outcome, attempts = await carry_out(self.means, execution, entry)
        self.means.targets.forget(execution.id)
        await self._finish(execution, outcome, attempts)
        self._sum_up(execution, outcome, attempts, self.means.clock.monotonic() - began)
        return outcome

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
        started = self.replies.started(execution.trigger, self.means.clock.utc())
        if unsent := await self.means.journal.announce(execution, started):
            self.tell(unsent)

    async def _begin(self, execution: Execution) -> None:
        started = self.replies.started(execution.trigger, self.means.clock.utc())
        if unsent := await self.means.insist(lambda: self.means.journal.begin(execution, started)):
            self.tell(unsent)

    async def _finish(self, execution: Execution, outcome: Outcome, attempts: int) -> None:
        reports = self._reports(execution, outcome, attempts)
        for unsent in await self.means.insist(
            lambda: self.means.journal.finish(execution, outcome, attempts, reports)
        ):
            self.tell(unsent)

    def _reports(self, execution: Execution, outcome: Outcome, attempts: int) -> list[Report]:
        trigger, now = execution.trigger, self.means.clock.utc()
        details = {**outcome.details, "execution": execution.id, "attempts": str(attempts)}
        finished = self.replies.finished(
            trigger,
            now,
            status=outcome.status,
            result=outcome.result,
            message=outcome.message,
            details=details,
        )
        if not self._is_logged(outcome):
            return [finished]
        text = f"{execution.action} {outcome.message} (attempts: {attempts}, {execution.id})"
        return [finished, self.replies.error_log(trigger, now, text)]

    def _is_logged(self, outcome: Outcome) -> bool:
        """Whether a log.error follows; Keptn itself logs an errored `finished` (contract §8.3)."""
        if not outcome.is_failure or self.error_log == "never":
            return False
        return self.error_log == "always" or outcome.status != "errored"

    def _sum_up(
        self, execution: Execution, outcome: Outcome, attempts: int, seconds: float
    ) -> None:
        name = execution.action
        self.means.metrics.finished(name, outcome.status, outcome.result).inc()
        self.means.metrics.duration(name).observe(seconds)
        log = logs.logger()
        tell = log.warning if outcome.is_failure else log.info
        tell(
            "execution finished",
            **logs.execution_fields(execution.trigger, name),
            status=outcome.status,
            result=outcome.result,
            outcome=outcome.message,
            attempts=attempts,
            seconds=round(seconds, 3),
        )

"""The reports that Keptn is owed for an execution: `started`, `finished`, and `log.error`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from keptn_remedy.events import ActionTriggered, Replies, Report
from keptn_remedy.journal import Ending, Execution, Unsent
from keptn_remedy.support.clock import Clock

ErrorLog = Literal["always", "auto", "never"]


@dataclass(frozen=True, slots=True)
class Reporting:
    """Builds reports. `send` takes each one once it is stored.

    `error_log` says when a failure is reported as a `log.error` as well. `answers_aborted`: a
    `finished` is sent even for a task that Keptn has ended.
    """

    replies: Replies
    clock: Clock
    send: Callable[[Unsent], None]
    error_log: ErrorLog = "always"
    answers_aborted: bool = False

    def started(self, trigger: ActionTriggered) -> Report | None:
        """The `started` of an execution that begins now, where Keptn is told."""
        return self.replies.started(trigger, self.clock.utc()) if trigger.is_answered else None

    def of_end(self, execution: Execution, ending: Ending, attempts: int) -> list[Report]:
        """The `finished` of an execution, and the `log.error` that follows where one is due."""
        if ending.is_aborted and not self.answers_aborted:
            return []
        if not execution.trigger.is_answered:
            return []
        trigger, now, outcome = execution.trigger, self.clock.utc(), ending.outcome
        is_logged = self._is_logged(ending)
        finished = self.replies.finished(
            trigger,
            now,
            status=outcome.status,
            result=outcome.result,
            message=outcome.message,
            details=outcome.details,
            attempts=attempts,
        )
        if not is_logged:
            return [finished]
        text = f"{execution.action} {outcome.message} (attempts: {attempts}, {execution.id})"
        return [finished, self.replies.error_log(trigger, now, text)]

    def _is_logged(self, ending: Ending) -> bool:
        """Whether a log.error follows; Keptn logs an errored `finished` by itself
        (docs/keptn.md#k27).
        """
        if not ending.is_failure or self.error_log == "never":
            return False
        return self.error_log == "always" or ending.outcome.status != "errored"

"""The tasks and sequences of a `FakeKeptn`: how they ended, and what ends or holds them."""

from __future__ import annotations

import asyncio
from typing import Any, Literal

from keptn_remedy.events import event_type
from keptn_remedy.testing import keptn_events
from keptn_remedy.testing.keptn_sidecar import Sidecar
from keptn_remedy.testing.keptn_task import Task, TaskOutcome

Event = dict[str, Any]


class Course(Sidecar):
    """What a test asks of tasks, and how it directs sequences.

    In release 0.8 the calls that direct sequences stand for 0.9 to 0.13; 0.8 itself had none.
    """

    def is_complete(self, trigger_id: str) -> bool:
        """Whether the task is complete, as this release counts."""
        return self._task(trigger_id).outcome is not None

    def outcome(self, trigger_id: str) -> TaskOutcome:
        """The outcome of a complete task, as this release judges it.

        Raises:
            LookupError: it is not complete.
        """
        outcome = self._task(trigger_id).outcome
        if outcome is None:
            raise LookupError(f"task {trigger_id} is not complete; {self._story(trigger_id)}")
        return outcome

    async def task_finished(self, trigger_id: str, timeout: float = 10.0) -> TaskOutcome:  # noqa: ASYNC109 - one word in a test
        """Wait until the task is complete; returns its outcome.

        Raises:
            TimeoutError: it is still open.
        """
        try:
            async with asyncio.timeout(timeout):
                await self._task(trigger_id).done.wait()
        except TimeoutError:
            story = self._story(trigger_id)
            raise TimeoutError(f"task {trigger_id} is open after {timeout} s; {story}") from None
        return self.outcome(trigger_id)

    def _task(self, trigger_id: str) -> Task:
        return self._tasks.by_id[trigger_id]

    def _story(self, trigger_id: str) -> str:
        story = [f"{event.type} from {event.source}" for event in self.events_of(trigger_id)]
        return f"it got {', '.join(story) or 'nothing'}"

    # The course of a sequence

    def pause(self, trigger_id: str) -> None:
        """Pause the sequences of the task's context; the task itself stays listed."""
        self._hold(trigger_id, "paused")

    def queue(self, trigger_id: str) -> None:
        """Let the sequence wait for another one: it is triggered, and its task isn't listed yet."""
        self._hold(trigger_id, "triggered")

    def is_held_back(self, trigger_id: str) -> bool:
        """Whether the dispatcher holds the task back for another one of its service (up to 0.16 of
        its stage). It is listed nevertheless, and its sequence is started.
        """
        return self._tasks.is_held_back(self._task(trigger_id))

    def resume(self, trigger_id: str) -> None:
        """Resume the sequences of the task's context, paused or queued."""
        self._hold(trigger_id, None)

    def _hold(self, trigger_id: str, state: Literal["paused", "triggered"] | None) -> None:
        for task in self._tasks.rounds(self._task(trigger_id)):
            task.held = state

    def abort(self, trigger_id: str) -> list[Event]:
        """Abort all sequences of the task's context, which removes open tasks from the open list.

        Returns the events that Keptn then sends, for the test to deliver: one
        `<stage>.remediation.finished` for each execution of the context, finished ones included.
        """
        rounds = self._tasks.rounds(self._task(trigger_id))
        for task in rounds:
            self._tasks.end(task, "aborted")
        return [keptn_events.sequence_finished(task, "aborted", "pass") for task in rounds]

    def time_out(self, trigger_id: str) -> Event:
        """Time out a task of which the event store holds nothing; returns the event that Keptn
        then sends.
        """
        task = self._task(trigger_id)
        if task.is_stored:
            raise ValueError(
                f"task {trigger_id} has answers, so Keptn waits for it without a time-out"
            )
        self._tasks.end(task, "timedOut")
        trigger = event_type(task.name, "triggered")
        message = f"sequence timed out while waiting for {trigger} to be answered"
        return keptn_events.sequence_finished(task, "errored", "fail", message)

    def sequence_finished(self, trigger_id: str) -> Event:
        """The event that Keptn sent when the task's sequence ended by itself."""
        outcome = self.outcome(trigger_id)
        return keptn_events.sequence_finished(
            self._task(trigger_id), outcome.status, outcome.result
        )

    def end_task(self, trigger_id: str, state: Literal["aborted", "timedOut"] = "aborted") -> None:
        """End the task as Keptn itself does: it leaves the open list and needs no answer."""
        self._tasks.end(self._task(trigger_id), state)

    def problem_closed(self, trigger_id: str, state: str = "CLOSED") -> Event:
        """The event about the end of the problem behind the task, for the test to deliver."""
        return keptn_events.problem_closed(self._task(trigger_id), state)

    def evaluate_afterwards(self) -> None:
        """Keep sequences in their evaluation after a passed action, until `end_sequence`. Otherwise
        they end at once.
        """
        self._tasks.evaluated = False

    def end_sequence(self, trigger_id: str) -> None:
        """End the evaluation that follows the task."""
        self._task(trigger_id).evaluated = True

    def miss_in_store(self, event_type: str) -> None:
        """Count events of this type without storing them: they keep no task from its time-out
        (docs/keptn.md#k19).
        """
        self._tasks.not_stored.add(event_type)

    def let_finished_overtake(self, within_seconds: float) -> None:
        """Process a `finished` first that comes so soon after its `started` (docs/keptn.md#k12)."""
        self._tasks.overtaken_within = within_seconds

    def sequence_message(self, trigger_id: str) -> str:
        """The message with which Keptn ends the sequence of a complete task: that of `finished`,
        unless it overtook `started`.
        """
        task, finished = self._task(trigger_id), self.finished(trigger_id)
        return "" if task.is_overtaken else str(finished[-1].data.get("message", ""))

    def answer_as(
        self,
        source: str,
        kind: Literal["started", "finished"],
        trigger_id: str,
        *,
        status: str = "succeeded",
        result: str = "pass",
    ) -> None:
        """Count an answer of another provider, whose answers need not balance."""
        task = self._task(trigger_id)
        task.others.add(source)
        self._tasks.count(keptn_events.answer_of_another(task, kind, source, status, result))

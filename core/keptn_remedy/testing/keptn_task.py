"""A task: its trigger, its answers, and how each release counts and judges them."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final, Literal, cast
from uuid import uuid4

from keptn_remedy.events import ACTION, task_of

Release = Literal["0.7", "0.8", "0.14", "0.19", "1.4"]
"""Stands for 0.7, which shows no tasks, 0.8-0.13, 0.14-0.18, 0.19 and later, and 1.x with its
`sequence-execution`.
"""
SCOPE: Final = ("project", "stage", "service")
SEQUENCE: Final = "remediation"
"""The name of every sequence here."""
_NOT_LISTED: Final = {"datacontenttype", "traceparent", "tracestate"}


@dataclass(frozen=True, slots=True)
class Received:
    """One event as it was posted; `at` is monotonic, in seconds."""

    event: Mapping[str, Any]
    body: bytes
    at: float

    @property
    def type(self) -> str:
        return text_of(self.event, "type")

    @property
    def kind(self) -> str:
        """`started` or `finished`, of whatever task; empty for others."""
        kind = self.type.rpartition(".")[2]
        return kind if kind in ("started", "finished") else ""

    @property
    def id(self) -> str:
        return text_of(self.event, "id")

    @property
    def source(self) -> str:
        return text_of(self.event, "source")

    @property
    def triggeredid(self) -> str:
        return text_of(self.event, "triggeredid")

    @property
    def context(self) -> str:
        return text_of(self.event, "shkeptncontext")

    @property
    def data(self) -> Mapping[str, Any]:
        """The `data` block; empty where it isn't an object."""
        return map_of(self.event.get("data"))


@dataclass(frozen=True, slots=True)
class TaskOutcome:
    """What Keptn makes of all `finished` of one task."""

    status: str
    result: str

    @property
    def goes_on(self) -> bool:
        """Whether the sequence goes on to its next task."""
        return self.result != "fail" and self.status != "errored"


def text_of(fields: Mapping[str, Any], name: str) -> str:
    """The field of that name; empty where it is missing or not text."""
    value = fields.get(name)
    return value if isinstance(value, str) else ""


def map_of(value: object) -> Mapping[str, Any]:
    """The value; empty where it isn't a map."""
    return cast("dict[str, Any]", value) if isinstance(value, dict) else {}


# How each release counts and judges (docs/keptn.md#k13, docs/keptn.md#k15)


def _matched_by_source(answers: Sequence[Received]) -> bool:
    """Complete when a `finished` finds exactly one `started` waiting, of its own source."""
    waiting: list[str] = []
    for answer in answers:
        if answer.kind == "started":
            waiting.append(answer.source)
        elif waiting == [answer.source]:
            return True
        else:
            waiting = [source for source in waiting if source != answer.source]
    return False


def _counted(answers: Sequence[Received]) -> bool:
    """Complete when there are as many `finished` as `started`, whoever sent them."""
    tally = Counter(answer.kind for answer in answers)
    return tally["started"] == tally["finished"] > 0


def _at_once(answers: Sequence[Received]) -> bool:
    """Complete with the first `finished`, whether there was a `started` or not."""
    return any(answer.kind == "finished" for answer in answers)


def _unread(finished: Sequence[Received]) -> TaskOutcome:
    """The sequence goes on, whatever the outcome."""
    return TaskOutcome("succeeded", "pass")


def _lenient(finished: Sequence[Received]) -> TaskOutcome:
    """Missing and unknown values count as a pass."""
    statuses = {answer.data.get("status") for answer in finished}
    results = {answer.data.get("result") for answer in finished}
    status = "errored" if "errored" in statuses else "succeeded"
    return TaskOutcome(status, next((bad for bad in ("fail", "warning") if bad in results), "pass"))


def _strict(finished: Sequence[Received]) -> TaskOutcome:
    """Missing and unknown values fail the task."""
    statuses = {answer.data.get("status") for answer in finished}
    results = {answer.data.get("result") for answer in finished}
    status = next((bad for bad in ("errored", "aborted") if bad in statuses), "succeeded")
    if status == "succeeded" and statuses != {"succeeded"}:
        status = "unknown"
    if status == "unknown" or results - {"pass", "warning"}:
        return TaskOutcome(status, "fail")
    return TaskOutcome(status, "warning" if "warning" in results else "pass")


@dataclass(frozen=True, slots=True)
class Ways:
    """How a release completes and judges a task, and what its API shows.

    `is_terse`: the API leaves out zeros and content types, writes empty lists as such, and lists
    the newest first, as seen of Keptn 1.4.5. `lane`: what the dispatcher lets run one at a time.
    """

    complete: Callable[[Sequence[Received]], bool]
    judge: Callable[[Sequence[Received]], TaskOutcome]
    lists_executions: bool
    resources_at: Literal["configuration-service", "resource-service"]
    lane: Literal["stage", "service"]
    is_terse: bool = False
    lists_triggers: bool = True


RELEASES: Final[Mapping[Release, Ways]] = {
    "0.7": Ways(
        _at_once,
        _unread,
        False,
        "configuration-service",
        "stage",
        lists_triggers=False,
    ),
    "0.8": Ways(_matched_by_source, _lenient, False, "configuration-service", "stage"),
    "0.14": Ways(_counted, _lenient, False, "configuration-service", "stage"),
    "0.19": Ways(_counted, _strict, False, "resource-service", "service"),
    "1.4": Ways(_counted, _strict, True, "resource-service", "service", is_terse=True),
}


@dataclass(slots=True, eq=False)
class Task:
    """One `<task>.triggered` and the sequence it belongs to."""

    trigger: Mapping[str, Any]
    name: str = field(init=False)
    answers: list[Received] = field(default_factory=list[Received])
    """Each `started` and `finished` of this task in order, late ones included."""
    acknowledged: set[str] = field(default_factory=set[str])
    """The sources whose `started` got a 2xx, counted or not: their `finished` may follow."""
    others: set[str] = field(default_factory=set[str])
    """Other providers' sources, whose answers need not balance."""
    accepted: bool = False
    held: Literal["paused", "triggered"] | None = None
    """A sequence that is `triggered` waits for another one: its first task doesn't exist yet."""
    ended: Literal["aborted", "timedOut"] | None = None
    is_stored: bool = False
    """Whether the event store holds an event of its providers."""
    is_overtaken: bool = False
    """Whether Keptn processed its `finished` before its `started`, and lost the message."""
    evaluated: bool = True
    """Whether the evaluation that follows a passed action ends at once."""
    outcome: TaskOutcome | None = None
    done: asyncio.Event = field(default_factory=asyncio.Event)
    execution_id: str = field(default_factory=lambda: str(uuid4()))
    sequence_id: str = field(default_factory=lambda: str(uuid4()))
    """The id of the event that triggered the sequence."""
    next_task_id: str = field(default_factory=lambda: str(uuid4()))

    def __post_init__(self) -> None:
        self.name = task_of(text_of(self.trigger, "type")) or ""

    @property
    def id(self) -> str:
        return text_of(self.trigger, "id")

    @property
    def is_tracked(self) -> bool:
        """Whether the controller triggered it. Lighthouse's `get-sli` it knows nothing of."""
        return self.name == ACTION or text_of(self.trigger, "source") == "shipyard-controller"

    @property
    def context(self) -> str:
        return text_of(self.trigger, "shkeptncontext")

    @property
    def data(self) -> Mapping[str, Any]:
        return map_of(self.trigger.get("data"))

    @property
    def triggered_at(self) -> datetime:
        return datetime.fromisoformat(text_of(self.trigger, "time"))

    @property
    def has_begun(self) -> bool:
        """Whether somebody has answered."""
        return bool(self.answers)

    @property
    def scope(self) -> dict[str, str]:
        return {name: text_of(self.data, name) for name in SCOPE}

    @contextmanager
    def under_way(self) -> Generator[None]:
        """Hide the task while it is being delivered, so that the sweep doesn't take it for lost."""
        self.held = self.held or "triggered"
        try:
            yield
        finally:
            self.held = None if self.held == "triggered" else self.held

    def of_kind(self, kind: Literal["started", "finished"]) -> list[Received]:
        return [answer for answer in self.answers if answer.kind == kind]

    def imbalances(self) -> Iterator[str]:
        """The answers that this task has too many or too few of."""
        if self.accepted and not self.answers:
            yield f"task {self.id} was accepted with 202, but never got an answer"
        for source in dict.fromkeys(a.source for a in self.answers if a.source not in self.others):
            tally = Counter(answer.kind for answer in self.answers if answer.source == source)
            if (tally["started"], tally["finished"]) != (1, 1):
                yield (
                    f"task {self.id} got {tally['started']} started"
                    f" and {tally['finished']} finished from {source!r}"
                )

    def listed(self, *, has_content_type: bool) -> dict[str, Any]:
        """The trigger in Keptn's own JSON model, which leaves out empty attributes."""
        event = {name: value for name, value in self.trigger.items() if value not in ("", None)}
        kept = {name: value for name, value in event.items() if name not in _NOT_LISTED}
        return {"contenttype": "application/json", **kept} if has_content_type else kept

    def execution(self) -> dict[str, Any]:
        """The sequence execution, as the control plane's API shows it."""
        sequence_type = f"sh.keptn.event.{self.scope['stage']}.{SEQUENCE}.triggered"
        return {
            "_id": self.execution_id,
            "schemaVersion": "1",
            "sequence": {
                "name": SEQUENCE,
                "tasks": [{"name": name, "properties": None} for name in (self.name, "evaluation")],
            },
            "status": {
                "state": self.state,
                "stateBeforePause": "started" if self.held == "paused" else "",
                "previousTasks": self._previous_tasks(),
                "currentTask": self._current_task(),
            },
            "scope": {**self.scope, "keptnContext": self.context, "eventType": sequence_type},
            "inputProperties": dict(self.data),
            "triggeredAt": text_of(self.trigger, "time"),
        }

    @property
    def state(self) -> str:
        """The sequence's state; an aborted one shows as finished (forceTaskSequenceCompletion)."""
        if self.ended:
            return "timedOut" if self.ended == "timedOut" else "finished"
        if self.outcome is None or self._is_evaluated_next():
            return self.held or "started"
        return "finished"

    def _is_evaluated_next(self) -> bool:
        return self.outcome is not None and self.outcome.goes_on and not self.evaluated

    def _previous_tasks(self) -> list[dict[str, Any]]:
        if self.outcome is None:
            return []
        status, result = self.outcome.status, self.outcome.result
        return [{"name": self.name, "triggeredID": self.id, "result": result, "status": status}]

    def _current_task(self) -> dict[str, Any]:
        if self.outcome is None and self.held != "triggered":
            events = [_task_event(answer) for answer in self.answers]
            return {"name": self.name, "triggeredID": self.id, "events": events}
        if self._is_evaluated_next():
            return {"name": "evaluation", "triggeredID": self.next_task_id, "events": []}
        return {"name": "", "triggeredID": "", "events": []}


def _task_event(answer: Received) -> dict[str, Any]:
    return {
        "eventType": answer.type,
        "source": answer.source,
        "result": answer.data.get("result", ""),
        "status": answer.data.get("status", ""),
        "time": text_of(answer.event, "time"),
        "properties": answer.data if answer.kind == "finished" else None,
    }

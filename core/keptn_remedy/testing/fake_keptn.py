"""A Keptn for tests: it counts reports as each release does, and checks our promises."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Literal, Self

import orjson
from aiohttp import ClientSession, ClientTimeout, TCPConnector, web

from keptn_remedy.events import STRUCTURED, TRIGGERED
from keptn_remedy.testing import keptn_events
from keptn_remedy.testing.keptn_api import ENDPOINTS, Endpoint, KeptnApi
from keptn_remedy.testing.keptn_sidecar import LogEntry, Sidecar, decode
from keptn_remedy.testing.keptn_task import RELEASES, Received, Release, Task, TaskOutcome
from keptn_remedy.testing.keptn_tasks import Tasks
from keptn_remedy.testing.loopback_port import LoopbackPort

__all__ = ["Answer", "Endpoint", "FakeKeptn", "LogEntry", "Received", "Release", "TaskOutcome"]

DELIVERY_SECONDS: Final = 5.0
_OF_CONTROL_PLANE: Final[tuple[Endpoint, ...]] = tuple(n for n in ENDPOINTS if n != "resource")

Event = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Answer:
    """The receiver's response to a delivered event."""

    status: int
    body: bytes

    @property
    def json(self) -> Any:
        """The body, decoded from JSON."""
        return orjson.loads(self.body)


class FakeKeptn(Sidecar):
    """Keptn's control plane behind the distributor sidecar, on a loopback port.

    An async context manager. Leaving it fails the test unless each task got exactly one `started`
    and one `finished` per source, and every event kept our promises.
    """

    def __init__(self, release: Release = "1.4") -> None:
        self._tasks = Tasks(RELEASES[release])
        super().__init__(self._tasks)
        self.projects = self._tasks.projects
        """The projects that Keptn knows; opening a task adds its project."""
        self._api = KeptnApi(self._tasks, RELEASES[release])
        self._unanswered: set[str] = set()
        self._expected_violations: list[str] = []
        self._port = LoopbackPort()

    async def __aenter__(self) -> Self:
        self._session = ClientSession(
            timeout=ClientTimeout(total=DELIVERY_SECONDS), connector=TCPConnector(limit=0)
        )
        await self.listen()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.release()
        await self.stop_listening()
        self._port.let_go()
        await self._session.close()
        if error is None:
            self.check()

    def check(self) -> None:
        """Assert what leaving the context asserts."""
        complaints = [*self._imbalances(), *self._unexpected()]
        if complaints:
            raise AssertionError("the reports to Keptn broke promises:\n" + "\n".join(complaints))

    def _imbalances(self) -> Iterator[str]:
        for trigger_id, task in self._tasks.by_id.items():
            if task.ended is None and trigger_id not in self._unanswered:
                yield from task.imbalances()

    def _unexpected(self) -> Iterator[str]:
        for violation in self.violations:
            if not any(expected in violation for expected in self._expected_violations):
                yield violation
        for expected in self._expected_violations:
            if not any(expected in violation for violation in self.violations):
                yield f"expected, but not seen: {expected or 'any violation'}"

    # Listening

    @property
    def url(self) -> str:
        """The sidecar's origin, which also proxies the API."""
        return f"http://127.0.0.1:{self._port.number}"

    @property
    def event_url(self) -> str:
        """Where events are posted: the value for `REMEDY_EVENT_URL`."""
        return f"{self.url}/event"

    async def listen(self) -> None:
        """Accept connections, on the same port as before."""
        await self._port.listen(self._application())

    async def stop_listening(self) -> None:
        """Cut all connections and refuse new ones."""
        await self._port.close()

    def _application(self) -> web.Application:
        application = web.Application(client_max_size=0)  # the sidecar itself rejects long bodies
        application.router.add_get("/health", _health)
        application.router.add_post("/event", self.take_event)
        self._api.add_to(application, self.take_log)
        return application

    # Tasks

    def open(self, event: Mapping[str, Any] | bytes | PathLike[str]) -> str:
        """Open a task without delivering its trigger, as if the distributor had lost it; returns
        its id.
        """
        task = self._tasks.add(decode(_body(event)) or {})
        if task is None:
            raise ValueError("Keptn would not send this as an action.triggered")
        return task.id

    async def deliver(self, event: Mapping[str, Any] | bytes | PathLike[str], *, to: str) -> Answer:
        """Post the event once, as the distributor does, after opening the task it triggers.

        Raises:
            aiohttp.ClientError: the receiver doesn't listen, or closed the connection.
            TimeoutError: no answer within 5 s.
        """
        body = _body(event)
        task = self._tasks.add(decode(body) or {})
        if task is None:
            return await self._post(body, to)
        with task.under_way():
            answer = await self._post(body, to)
        task.accepted |= answer.status == 202
        return answer

    async def _post(self, body: bytes, to: str) -> Answer:
        headers = {"Content-Type": STRUCTURED}
        async with self._session.post(to, data=body, headers=headers) as response:
            return Answer(response.status, await response.read())

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

    # The course of a sequence. In release 0.8 these stand for 0.9 to 0.13; 0.8 itself had none.

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
        message = f"sequence timed out while waiting for {TRIGGERED} to be answered"
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

    # What else Keptn knows

    def add_services(self, project: str, stage: str, *services: str) -> None:
        """Add services to a stage; opening a task adds its service."""
        self.projects.add(project)
        self._tasks.services[project, stage].update(services)

    def put_resource(
        self, name: str, content: bytes | None, project: str, stage: str = "", service: str = ""
    ) -> str:
        """Commit a version of a file of a project, stage or service; None removes the file.

        Returns the commit, for a trigger's `gitcommitid`.
        """
        place = tuple(level for level in (project, stage, service) if level)
        return self._api.resources.put(place, name, content)

    # Expectations

    def expect_unanswered(self, trigger_id: str) -> None:
        """Don't require answers to this task."""
        self._unanswered.add(trigger_id)

    def expect_violation(self, containing: str = "") -> None:
        """Require at least one broken promise whose text contains this, and allow all of those."""
        self._expected_violations.append(containing)

    # Faults of the API

    @property
    def asked(self) -> list[str]:
        """The path and query of each request to the API, in order."""
        return self._api.asked

    def fail_at(self, endpoint: Endpoint, status: int = 503) -> None:
        """Answer requests to this endpoint of the API with this status, until `recover`."""
        self._api.failing[endpoint] = status

    def hang_up_at(self, endpoint: Endpoint) -> None:
        """Close the connection of requests to this endpoint, until `recover`."""
        self._api.failing[endpoint] = None

    def answer_empty_at(self, endpoint: Literal["triggered", "sequence-execution"]) -> None:
        """Answer requests to this endpoint with 200 and an empty list, until `recover`."""
        self._api.empty.add(endpoint)

    def recover(self, endpoint: Endpoint) -> None:
        """Answer requests to this endpoint normally again."""
        self._api.failing.pop(endpoint, None)
        self._api.empty.discard(endpoint)

    @property
    def api_status(self) -> int | None:
        """The status that everything under `/controlPlane` answers; None while it works."""
        return self._api.failing.get("triggered")

    @api_status.setter
    def api_status(self, status: int | None) -> None:
        for endpoint in _OF_CONTROL_PLANE:
            self._fail(endpoint, status)

    @property
    def sequence_api_status(self) -> int | None:
        """The status that `sequence-execution` answers; None while it works."""
        return self._api.failing.get("sequence-execution")

    @sequence_api_status.setter
    def sequence_api_status(self, status: int | None) -> None:
        self._fail("sequence-execution", status)

    def _fail(self, endpoint: Endpoint, status: int | None) -> None:
        self.recover(endpoint)
        if status is not None:
            self.fail_at(endpoint, status)


async def _health(request: web.Request) -> web.Response:
    return web.Response()


def _body(event: Mapping[str, Any] | bytes | PathLike[str]) -> bytes:
    if isinstance(event, bytes):
        return event
    return orjson.dumps(event) if isinstance(event, Mapping) else Path(event).read_bytes()

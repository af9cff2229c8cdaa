"""A Keptn control plane for tests: it counts as each release does, and checks our promises."""

from __future__ import annotations

import asyncio
import socket
import time
from collections import defaultdict, deque
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Literal, Self

import orjson
from aiohttp import ClientSession, ClientTimeout, TCPConnector, web

from keptn_remedy.events import FINISHED, LOG_ERROR, STARTED, STRUCTURED, TRIGGERED
from keptn_remedy.testing.http_peer import hang_up
from keptn_remedy.testing.keptn_task import (
    RELEASES,
    SCOPE,
    Received,
    Release,
    Task,
    TaskOutcome,
    map_of,
    text_of,
)
from keptn_remedy.testing.promises import broken_promises, reasons_to_drop

__all__ = ["Answer", "FakeKeptn", "LogEntry", "Received", "Release", "TaskOutcome"]

SIDECAR_LIMIT_BYTES: Final = 64 * 1024
DELIVERY_SECONDS: Final = 5.0
DEFAULT_PAGE_SIZE: Final = 20

_KNOWN_SPECVERSIONS: Final = ("1.0", "0.3", "0.2")


@dataclass(frozen=True, slots=True)
class LogEntry:
    """A line of Keptn's error log, from a `log.error`, an errored `finished` or the log API."""

    message: str
    task: str
    context: str
    triggeredid: str
    origin: Literal["event", "finished", "api"]


@dataclass(frozen=True, slots=True)
class Answer:
    """What the receiver of a delivered event answered."""

    status: int
    body: bytes

    @property
    def json(self) -> Any:
        """The body, decoded from JSON."""
        return orjson.loads(self.body)


@dataclass(frozen=True, slots=True)
class _Fault:
    event_type: str | None
    status: int | None
    counted: bool


class FakeKeptn:
    """Keptn's control plane behind the distributor sidecar, on a loopback port.

    An async context manager. Leaving it fails the test when a task was not answered by exactly one
    `started` and one `finished` per source, or when an event broke a promise.
    """

    def __init__(self, release: Release = "1.4") -> None:
        self._ways = RELEASES[release]
        self.received: list[Received] = []
        """Every event that the sidecar took, in order, even if the control plane drops it."""
        self.posts = 0
        """How often `POST /event` was called, whatever became of it."""
        self.log_entries: list[LogEntry] = []
        self.violations: list[str] = []
        self.projects: set[str] = set()
        """The projects that Keptn knows; opening a task adds its project."""
        self.api_status: int | None = None
        """When set, everything under `/controlPlane` answers this status."""
        self.sequence_api_status: int | None = None
        """When set, `sequence-execution` alone answers this status."""
        self._tasks: dict[str, Task] = {}
        self._open: dict[str, Task] = {}
        self._by_context: defaultdict[tuple[str, str], list[Task]] = defaultdict(list)
        self._by_trigger: defaultdict[str, list[Received]] = defaultdict(list)
        self._unanswered: set[str] = set()
        self._expected_violations: list[str] = []
        self._faults: deque[_Fault] = deque()
        self._may_count = asyncio.Event()
        self._may_answer = asyncio.Event()
        self._arrived = asyncio.Condition()
        self._port = 0
        self._runner: web.AppRunner | None = None
        self._reserved: socket.socket | None = None
        self.release()

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
        self._let_go_of_port()
        await self._session.close()
        if error is None:
            self.check()

    def check(self) -> None:
        """What leaving the context asserts."""
        complaints = [*self._imbalances(), *self._unexpected()]
        if complaints:
            raise AssertionError("Keptn was not answered as promised:\n" + "\n".join(complaints))

    def _imbalances(self) -> Iterator[str]:
        for trigger_id, task in self._tasks.items():
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
        return f"http://127.0.0.1:{self._port}"

    @property
    def event_url(self) -> str:
        """Where events are posted: the value for `REMEDY_EVENT_URL`."""
        return f"{self.url}/event"

    async def listen(self) -> None:
        """Take connections, on the port of before."""
        self._let_go_of_port()
        self._runner = web.AppRunner(
            self._application(),
            access_log=None,
            shutdown_timeout=0.01,  # held requests are cut off, not waited for
        )
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", self._port, backlog=1024).start()
        self._port = self._runner.addresses[0][1]

    async def stop_listening(self) -> None:
        """Cut all connections and refuse new ones."""
        if self._runner is None:
            return
        await self._runner.cleanup()
        self._runner = None
        # Bound but not listening: refuses, while nobody else is given the port.
        self._reserved = socket.socket()
        self._reserved.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self._reserved.bind(("127.0.0.1", self._port))

    def _let_go_of_port(self) -> None:
        if self._reserved is not None:
            self._reserved.close()
            self._reserved = None

    def _application(self) -> web.Application:
        application = web.Application(client_max_size=0)  # we refuse what is too long ourselves
        application.router.add_get("/health", self._health)
        application.router.add_post("/event", self._take_event)
        api = "/controlPlane/v1"
        application.router.add_post(f"{api}/log", self._take_log)
        application.router.add_get(f"{api}/sequence-execution", self._sequence_executions)
        application.router.add_get(f"{api}/event/triggered/{{type}}", self._triggered_events)
        return application

    # Tasks

    def open(self, event: Mapping[str, Any] | bytes | PathLike[str]) -> str:
        """Open a task without delivering its trigger, as a poller finds it; returns its id."""
        task = self._opened(_body(event))
        if task is None:
            raise ValueError("this is no action.triggered that Keptn would send")
        return task.id

    async def deliver(self, event: Mapping[str, Any] | bytes | PathLike[str], *, to: str) -> Answer:
        """Post the event once, as the distributor does, after opening the task it triggers.

        Raises:
            aiohttp.ClientError: nobody listens, or the connection was cut.
            TimeoutError: no answer within 5 s.
        """
        body = _body(event)
        task = self._opened(body)
        headers = {"Content-Type": STRUCTURED}
        async with self._session.post(to, data=body, headers=headers) as response:
            answer = Answer(response.status, await response.read())
        if task is not None and answer.status == 202:
            task.accepted = True
        return answer

    def _opened(self, body: bytes) -> Task | None:
        """The task of this trigger, opened unless it is known; None when it triggers none."""
        trigger = _decode(body) or {}
        task = Task(trigger)
        if task.id in self._tasks:
            return self._tasks[task.id]
        if task.trigger.get("type") != TRIGGERED or not all(task.scope.values()) or not task.id:
            return None
        self._tasks[task.id] = self._open[task.id] = task
        self._by_context[task.scope["project"], task.context].append(task)
        self.projects.add(task.scope["project"])
        return task

    def end_task(self, trigger_id: str, state: Literal["aborted", "timedOut"] = "aborted") -> None:
        """Keptn itself ends the task: it leaves the open list and need not be answered."""
        self._tasks[trigger_id].ended = state
        self._open.pop(trigger_id, None)

    def events_of(self, trigger_id: str) -> list[Received]:
        """Every event that names this trigger and was not dropped, in order."""
        return list(self._by_trigger.get(trigger_id, ()))

    def started(self, trigger_id: str) -> list[Received]:
        return [event for event in self.events_of(trigger_id) if event.type == STARTED]

    def finished(self, trigger_id: str) -> list[Received]:
        return [event for event in self.events_of(trigger_id) if event.type == FINISHED]

    def is_complete(self, trigger_id: str) -> bool:
        """Whether the task is complete by this release's way of counting."""
        return self._tasks[trigger_id].outcome is not None

    def outcome(self, trigger_id: str) -> TaskOutcome:
        """What this release made of a task that is complete."""
        outcome = self._tasks[trigger_id].outcome
        if outcome is None:
            raise LookupError(f"task {trigger_id} is not complete; {self._story(trigger_id)}")
        return outcome

    async def task_finished(self, trigger_id: str, timeout: float = 10.0) -> TaskOutcome:  # noqa: ASYNC109 - one word in a test
        """Wait until the task is complete."""
        try:
            async with asyncio.timeout(timeout):
                await self._tasks[trigger_id].done.wait()
        except TimeoutError:
            story = self._story(trigger_id)
            raise TimeoutError(f"task {trigger_id} is open after {timeout} s; {story}") from None
        return self.outcome(trigger_id)

    async def wait_until(self, predicate: Callable[[], bool], timeout: float = 10.0) -> None:  # noqa: ASYNC109 - one word in a test
        """Wait for a condition, looked at again whenever something has been posted."""
        async with asyncio.timeout(timeout), self._arrived:
            await self._arrived.wait_for(predicate)

    def _story(self, trigger_id: str) -> str:
        story = [f"{event.type} from {event.source}" for event in self.events_of(trigger_id)]
        return f"it got {', '.join(story) or 'nothing'}"

    # Expectations

    def expect_unanswered(self, trigger_id: str) -> None:
        """Leave the task out of the balance check."""
        self._unanswered.add(trigger_id)

    def expect_violation(self, containing: str = "") -> None:
        """Want at least one broken promise whose text contains this, and forgive those."""
        self._expected_violations.append(containing)

    # Faults

    def answer_next(
        self, status: int, *, times: int = 1, counted: bool = False, event_type: str | None = None
    ) -> None:
        """Answer the next events (of that type) with this status, counted all the same or not."""
        self._faults.extend([_Fault(event_type, status, counted)] * times)

    def drop_next(
        self, *, times: int = 1, counted: bool = False, event_type: str | None = None
    ) -> None:
        """Close the connection of the next events (of that type), after counting them or before."""
        self._faults.extend([_Fault(event_type, None, counted)] * times)

    def hold(self, *, counted: bool = True) -> None:
        """Give no answer until `release()`; what arrives is counted at once, or only then."""
        (self._may_answer if counted else self._may_count).clear()

    def release(self) -> None:
        """Answer what was held, and what comes."""
        self._may_count.set()
        self._may_answer.set()

    # The sidecar: POST /event

    async def _take_event(self, request: web.Request) -> web.Response:
        body = await request.read()
        self.posts += 1
        event = _decode(body)
        fault = self._due_fault(event)
        await self._announce()
        await self._may_count.wait()
        status = 200
        if fault is None or fault.counted:
            status = self._receive(event, body)
            await self._announce()
        await self._may_answer.wait()
        if fault is None:
            return web.Response(status=status)
        return hang_up(request) if fault.status is None else web.Response(status=fault.status)

    async def _announce(self) -> None:
        async with self._arrived:
            self._arrived.notify_all()

    def _due_fault(self, event: Mapping[str, Any] | None) -> _Fault | None:
        for fault in self._faults:
            if fault.event_type in (None, text_of(event or {}, "type")):
                self._faults.remove(fault)
                return fault
        return None

    def _receive(self, event: Mapping[str, Any] | None, body: bytes) -> int:
        """Count the event; the status is what the sidecar would answer."""
        if event is None or len(body) > SIDECAR_LIMIT_BYTES:
            what = "no structured CloudEvent" if event is None else "an event over 64 KB"
            self.violations.append(f"{what} was posted: {body[:200]!r}")
            return 500
        received = Received(event, body, time.monotonic())
        self.received.append(received)
        self._log(received)
        if not self._violates(received) and received.type != LOG_ERROR:
            self._count(received)
        return 200

    def _violates(self, received: Received) -> bool:
        """Note every broken promise; true when the control plane would drop the event."""
        dropped = list(reasons_to_drop(received))
        task = self._tasks.get(received.triggeredid)
        for violation in dropped or broken_promises(received, task):
            self.violations.append(f"{received.type} {received.id}: {violation}")
        if not dropped:
            self._by_trigger[received.triggeredid].append(received)
        return bool(dropped)

    def _count(self, received: Received) -> None:
        """Add it to its task, as the controller does: found by project, context and trigger."""
        task = self._tasks.get(received.triggeredid)
        if task is None or received.type not in (STARTED, FINISHED):
            return
        if (received.data["project"], received.context) != (task.scope["project"], task.context):
            return
        task.answers.append(received)
        if task.outcome is None and task.ended is None and self._ways.complete(task.answers):
            task.outcome = self._ways.judge(task.of_type(FINISHED))
            self._open.pop(task.id)
            task.done.set()

    # The log

    def _log(self, received: Received) -> None:
        """Keep `log.error`, and what the sidecar itself draws from an errored `finished`."""
        event, data = received.event, received.data
        if received.type == LOG_ERROR:
            self._add_log(data, event, "event")
        elif received.type == FINISHED and data.get("status") == "errored":
            self._add_log({**data, "task": "action"}, event, "finished")

    def _add_log(
        self,
        entry: Mapping[str, Any],
        event: Mapping[str, Any],
        origin: Literal["event", "finished", "api"],
    ) -> None:
        message, task = text_of(entry, "message"), text_of(entry, "task")
        context, trigger_id = text_of(event, "shkeptncontext"), text_of(event, "triggeredid")
        self.log_entries.append(LogEntry(message, task, context, trigger_id, origin))

    async def _take_log(self, request: web.Request) -> web.Response:
        if self.api_status is not None:
            return _error(self.api_status, "told to fail")
        for entry in orjson.loads(await request.read())["logs"]:
            self._add_log(entry, entry, "api")
        await self._announce()
        return web.Response()

    # The control plane's API, through the sidecar's proxy

    async def _health(self, request: web.Request) -> web.Response:
        return web.Response()

    async def _sequence_executions(self, request: web.Request) -> web.Response:
        status = self.api_status or self.sequence_api_status
        if status is not None:
            return _error(status, "told to fail")
        if not self._ways.lists_executions:
            return _error(404, "page not found")
        project, context = request.query.get("project", ""), request.query.get("keptnContext", "")
        if not project:
            return _error(400, "project name must not be empty")
        if project not in self.projects:
            return _error(404, "project not found")
        executions = [task.execution() for task in self._tasks_of(project, context)]
        count = len(executions)
        return _json(
            {
                "nextPageKey": 0,
                "pageSize": count,
                "totalCount": count,
                "sequenceExecutions": executions,
            }
        )

    def _tasks_of(self, project: str, context: str) -> list[Task]:
        if context:
            return self._by_context.get((project, context), [])
        return [task for task in self._tasks.values() if task.scope["project"] == project]

    async def _triggered_events(self, request: web.Request) -> web.Response:
        if self.api_status is not None:
            return _error(self.api_status, "told to fail")
        project = request.query.get("project", "")
        if project and project not in self.projects:
            return _error(404, "project not found")
        tasks = self._listed_tasks(request)
        size = int(request.query.get("pageSize", DEFAULT_PAGE_SIZE))
        start = int(request.query.get("nextPageKey", 0))
        # Not a slip: each Keptn release measures the page out where it belongs and then fills it
        # from the front of the list, so each page repeats the first (eventhandler.go, 0.7 to 1.x).
        page = tasks[: len(tasks[start : start + size])]
        return _json(
            {
                "events": [task.listed() for task in page] or None,
                "nextPageKey": str(start + size if start + size < len(tasks) else 0),
                "totalCount": len(tasks),
            }
        )

    def _listed_tasks(self, request: web.Request) -> list[Task]:
        if request.match_info["type"] != TRIGGERED:
            return []
        wanted = {name: request.query[name] for name in SCOPE if request.query.get(name)}
        event_id = request.query.get("eventID")
        tasks = self._open.values() if not event_id else filter(None, [self._open.get(event_id)])
        return [task for task in tasks if wanted.items() <= task.scope.items()]


def _body(event: Mapping[str, Any] | bytes | PathLike[str]) -> bytes:
    if isinstance(event, bytes):
        return event
    return orjson.dumps(event) if isinstance(event, Mapping) else Path(event).read_bytes()


def _decode(body: bytes) -> Mapping[str, Any] | None:
    """A structured CloudEvent, or None for what the sidecar can't decode."""
    try:
        event = orjson.loads(body)
    except orjson.JSONDecodeError:
        return None
    return map_of(event) if map_of(event).get("specversion") in _KNOWN_SPECVERSIONS else None


def _json(content: object) -> web.Response:
    return web.Response(body=orjson.dumps(content), content_type="application/json")


def _error(status: int, message: str) -> web.Response:
    body = orjson.dumps({"code": status, "message": message})
    return web.Response(status=status, body=body, content_type="application/json")

"""A Keptn for tests: it counts reports as each release does, and checks our promises."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

import orjson
from aiohttp import ClientSession, ClientTimeout, TCPConnector, web

from keptn_remedy.events import STRUCTURED
from keptn_remedy.testing.keptn_api import Endpoint, KeptnApi
from keptn_remedy.testing.keptn_course import Course
from keptn_remedy.testing.keptn_faults import ApiFaults
from keptn_remedy.testing.keptn_sidecar import LogEntry, decode
from keptn_remedy.testing.keptn_task import RELEASES, Received, Release, TaskOutcome
from keptn_remedy.testing.keptn_tasks import Tasks
from keptn_remedy.testing.keptn_uniform import StoredIntegration
from keptn_remedy.testing.loopback_port import LoopbackPort

__all__ = ["Answer", "Endpoint", "FakeKeptn", "LogEntry", "Received", "Release", "TaskOutcome"]

DELIVERY_SECONDS: Final = 5.0


@dataclass(frozen=True, slots=True)
class Answer:
    """The receiver's response to a delivered event."""

    status: int
    body: bytes

    @property
    def json(self) -> Any:
        """The body, decoded from JSON."""
        return orjson.loads(self.body)


class FakeKeptn(Course, ApiFaults):
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

    @property
    def environment(self) -> dict[str, str]:
        """The variables with which a provider finds it."""
        return {"REMEDY_EVENT_URL": self.event_url}

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
        task = self._tasks.add(decode(body_of(event)) or {})
        if task is None:
            raise ValueError("Keptn would not send this as the trigger of a task")
        return task.id

    async def deliver(self, event: Mapping[str, Any] | bytes | PathLike[str], *, to: str) -> Answer:
        """Post the event once, as the distributor does, after opening the task it triggers.

        Raises:
            aiohttp.ClientError: the receiver doesn't listen, or closed the connection.
            TimeoutError: no answer within 5 s.
        """
        body = body_of(event)
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

    @property
    def integrations(self) -> dict[str, StoredIntegration]:
        """The integrations that are registered with the uniform, by id. Subscriptions may be
        edited, and integrations deleted, as the Bridge does.
        """
        return self._api.uniform.integrations

    # Expectations

    def expect_unanswered(self, trigger_id: str) -> None:
        """Don't require answers to this task."""
        self._unanswered.add(trigger_id)

    def expect_violation(self, containing: str = "") -> None:
        """Require at least one broken promise whose text contains this, and allow all of those."""
        self._expected_violations.append(containing)


async def _health(request: web.Request) -> web.Response:
    return web.Response()


def body_of(event: Mapping[str, Any] | bytes | PathLike[str]) -> bytes:
    """The JSON of an event, whichever way a test names it."""
    if isinstance(event, bytes):
        return event
    return orjson.dumps(event) if isinstance(event, Mapping) else Path(event).read_bytes()

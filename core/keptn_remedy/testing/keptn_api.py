"""Keptn's API as the sidecar proxies it, with endpoints that fail on demand."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final, Literal, get_args

import orjson
from aiohttp import web

from keptn_remedy.testing.http_peer import hang_up
from keptn_remedy.testing.keptn_resources import Resources
from keptn_remedy.testing.keptn_task import SCOPE, SEQUENCE, Task, Ways
from keptn_remedy.testing.keptn_tasks import Tasks
from keptn_remedy.testing.keptn_uniform import Uniform

Endpoint = Literal["log", "sequence-execution", "triggered", "service", "uniform", "resource"]
ENDPOINTS: Final[tuple[Endpoint, ...]] = get_args(Endpoint)
DEFAULT_PAGE_SIZE: Final = 20
MOST_ON_A_PAGE: Final = 50
NEW_SERVICE: Final = "resource-service"

Handle = Callable[[web.Request], Awaitable[web.Response]]


class KeptnApi:
    """Answers from the tasks and resources.

    `failing` holds the status of each endpoint that fails; None closes the connection. Those in
    `empty` answer 200 without a single item.
    """

    def __init__(self, tasks: Tasks, ways: Ways) -> None:
        self.failing: dict[Endpoint, int | None] = {}
        self.empty: set[Endpoint] = set()
        self.asked: list[str] = []
        self.resources = Resources()
        self.uniform = Uniform()
        self._tasks = tasks
        self._ways = ways

    def add_to(self, application: web.Application, take_log: Handle) -> None:
        """Serve the API in this application."""
        add = application.router.add_route
        api, files = "/controlPlane/v1", f"/{self._ways.resources_at}/v1/project/{{project}}"
        of_stage = f"{api}/project/{{project}}/stage/{{stage}}"
        add("POST", f"{api}/log", self._unless_failing("log", take_log))
        add("GET", f"{of_stage}/service", self._unless_failing("service", self._services))
        triggered = self._unless_failing("triggered", self._triggered_events)
        add("GET", f"{api}/event/triggered/{{type}}", triggered)
        executions = self._unless_failing("sequence-execution", self._sequence_executions)
        add("GET", f"{api}/sequence-execution", executions)
        registration = f"{api}/uniform/registration"
        add("POST", registration, self._unless_failing("uniform", self.uniform.register))
        add(
            "PUT", f"{registration}/{{id}}/ping", self._unless_failing("uniform", self.uniform.beat)
        )
        for level in ("", "/stage/{stage}", "/stage/{stage}/service/{service}"):
            resource = self._unless_failing("resource", self._resource)
            add("GET", f"{files}{level}/resource/{{name}}", resource)
        listed = self._unless_failing("resource", self._resources)
        add("GET", f"{files}/stage/{{stage}}/service/{{service}}/resource", listed)

    def _unless_failing(self, endpoint: Endpoint, handle: Handle) -> Handle:
        async def answer(request: web.Request) -> web.Response:
            self.asked.append(request.path_qs)
            if endpoint not in self.failing:
                return await handle(request)
            status = self.failing[endpoint]
            return hang_up(request) if status is None else error(status, "set to fail")

        return answer

    async def _sequence_executions(self, request: web.Request) -> web.Response:
        if not self._ways.lists_executions:
            return web.Response(status=404, text="404 page not found")  # as Go's router says it
        project, context = request.query.get("project", ""), request.query.get("keptnContext", "")
        if not project:
            return error(400, "project name must not be empty")
        if project not in self._tasks.projects:
            return error(404, "project not found")
        wanted = {name: request.query[name] for name in SCOPE if name in request.query}
        state, name = request.query.get("status"), request.query.get("name")
        executions = [
            task.execution()
            for task in self._tasks.of(project, context)
            if wanted.items() <= task.scope.items()
            and state in (None, task.state)
            and name in (None, SEQUENCE)
        ]
        if "sequence-execution" in self.empty:
            executions = []
        size = len(executions)
        page = {"nextPageKey": 0, "pageSize": size, "totalCount": size}
        return self._page("sequenceExecutions", executions, page)

    async def _triggered_events(self, request: web.Request) -> web.Response:
        if not self._ways.lists_triggers:
            return web.Response(status=404, text="404 page not found")
        project = request.query.get("project", "")
        if project and project not in self._tasks.projects:
            return error(404, "project not found")
        tasks = self._tasks.listed(request.match_info["type"], request.query)
        if "triggered" in self.empty:
            tasks = []
        # As in Keptn: every release gives each page its right length and then fills it from the
        # front of the list, so that each page repeats the first (eventhandler.go, 0.7 to 1.x).
        size, following = _page(request, tasks)
        events = [task.listed(has_content_type=not self._ways.is_terse) for task in tasks[:size]]
        page = {"nextPageKey": following, "totalCount": len(tasks)}
        return self._page("events", events, page)

    def _page(self, name: str, items: list[Any], page: dict[str, Any]) -> web.Response:
        """A page in the form of the release (docs/keptn.md#k33)."""
        if self._ways.is_terse:
            return _json({name: items, **{key: value for key, value in page.items() if value}})
        return _json({name: items or None, **page})

    async def _services(self, request: web.Request) -> web.Response:
        project, stage = request.match_info["project"], request.match_info["stage"]
        if (project, stage) not in self._tasks.services:
            return error(404, "stage not found")
        names = sorted(self._tasks.services[project, stage])
        size, following = _page(request, names)
        start = int(request.query.get("nextPageKey", 0))
        shown = [{"serviceName": name} for name in names[start : start + size]]
        return _json({"services": shown, "nextPageKey": following, "totalCount": len(names)})

    async def _resource(self, request: web.Request) -> web.Response:
        levels = ("project", "stage", "service")
        place = tuple(request.match_info[level] for level in levels if level in request.match_info)
        name, asked = request.match_info["name"], request.query.get("gitCommitID", "")
        if not self.resources.knows(place[0], asked) and self._ways.resources_at == NEW_SERVICE:
            return error(500, "Internal server error")
        found = self.resources.get(place, name, asked)
        if found is None:
            return error(404, "Resource not found")
        content, commit = found
        return _json(
            {
                "resourceURI": name,
                "resourceContent": b64encode(content).decode(),
                "metadata": {"version": commit, "upstreamURL": "", "branch": ""},
            }
        )

    async def _resources(self, request: web.Request) -> web.Response:
        # Whatever commit the request names, Keptn lists the newest (pagination.go, 0.8 to 1.4.5).
        place = tuple(request.match_info[level] for level in ("project", "stage", "service"))
        names = self.resources.names(place)
        if not names:
            return error(404, "Service not found")
        if int(request.query.get("pageSize", DEFAULT_PAGE_SIZE)) > MOST_ON_A_PAGE:
            return error(422, "pageSize in query should be less than or equal to 50")
        size, following = _page(request, names)
        start = int(request.query.get("nextPageKey", 0))
        shown = [{"resourceURI": f"/{name}"} for name in names[start : start + size]]
        return _json({"resources": shown, "nextPageKey": following, "totalCount": len(names)})


def _page(request: web.Request, items: Sequence[Task | str]) -> tuple[int, str]:
    """The number of items in the requested page, and the key of the next."""
    size = int(request.query.get("pageSize", DEFAULT_PAGE_SIZE))
    start = int(request.query.get("nextPageKey", 0))
    following = start + size if start + size < len(items) else 0
    return len(items[start : start + size]), str(following)


def _json(content: dict[str, Any]) -> web.Response:
    return web.Response(body=orjson.dumps(content), content_type="application/json")


def error(status: int, message: str) -> web.Response:
    """An error in the form of Keptn's services."""
    body = orjson.dumps({"code": status, "message": message})
    return web.Response(status=status, body=body, content_type="application/json")

"""Keptn's control plane, asked over HTTP: through its API, or the sidecar that proxies it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Any, Final, TypeVar

import orjson
from pydantic import ValidationError

from keptn_remedy.events import TRIGGERED, Report
from keptn_remedy.keptn.api import ApiClient, Reply, path_of
from keptn_remedy.keptn.control_plane import Progress, TaskState, answers
from keptn_remedy.keptn.control_plane.answers import Page
from keptn_remedy.keptn.control_plane.files import Files
from keptn_remedy.keptn.control_plane.open_events import Unlisted, open_events

MAX_PAGES: Final = 20
_EXECUTIONS: Final = "controlPlane/v1/sequence-execution"
# A sequence in one of these states goes on no more (docs/keptn.md#k31).
_OVER: Final = ("finished", "timedOut", "aborted")
# Besides no answer and a server's errors. 200: it answers by now, and is asked again.
_SOON: Final = (200, 408, 425, 429)
T = TypeVar("T")
P = TypeVar("P", bound=Page[Any])


class HttpControlPlane:
    """Keptn's control plane as seen by a provider that sends its reports as `source`, and answers
    triggers of these `types`.

    `files` reads the files; by default the API is asked for them. `exists`: it shows tasks at all.
    """

    def __init__(
        self,
        api: ApiClient,
        source: str,
        files: Files | None = None,
        types: Sequence[str] = (TRIGGERED,),
        *,
        exists: bool = True,
    ) -> None:
        self.exists = exists
        self._api = api
        self._files = files or Files(api)
        self._source = source
        self._types = types
        # Whether this Keptn has ever shown sequences: then no 404 says that it can't.
        self._shows_sequences = False

    async def counted(self, report: Report) -> bool | None:
        event = orjson.loads(report.body)
        triggered_id, data = event.get("triggeredid"), event["data"]
        query = {"project": data["project"], "keptnContext": event["shkeptncontext"]}
        sequences = await self._sequences(query)
        if sequences is not None:
            return any(self._has(s.status, triggered_id, report) for s in sequences)
        if report.kind == "finished":
            of_it = {"project": data["project"], "stage": data["stage"], "eventID": triggered_id}
            task = report.type.removesuffix(".finished")
            listed = await self._listed(f"{task}.triggered", of_it)
            if listed is not None:
                return triggered_id not in _ids(listed)
        return None if _may_answer_soon(await self._api.get(_EXECUTIONS, query)) else False

    async def open_triggers(self, project: str | None = None) -> dict[str, bytes] | None:
        listed = await self._open({"project": project} if project else {})
        return None if listed is None else dict(_written(listed))

    async def open_ids(self, project: str) -> frozenset[str] | None:
        listed = await self._open({"project": project})
        return None if listed is None else _ids(listed)

    async def open_trigger(self, project: str, task: TaskState) -> bytes | None:
        query = {"project": project, "eventID": task.triggered_id}
        found = await self._bodies(task.event_type, query)
        return found.get(task.triggered_id) if found else None

    async def task(self, project: str, context: str, triggered_id: str) -> TaskState | None:
        tasks = await self._tasks({"project": project, "keptnContext": context})
        found = (task for task in tasks or () if task.triggered_id == triggered_id)
        return next(found, None)

    async def progress(self, project: str, context: str, triggered_id: str) -> Progress | None:
        query = {"project": project, "keptnContext": context}
        sequences = await self._sequences(query)
        if sequences is None:
            if self._shows_sequences:
                return None
            is_old = _is_unrouted(await self._api.get(_EXECUTIONS, query))
            return "untold" if is_old else None
        for sequence in sequences:
            if (progress := _progress(sequence.status, triggered_id)) != "absent":
                return progress
        return "absent"

    async def running_tasks(self, project: str, stage: str, service: str) -> list[TaskState] | None:
        lane = {"project": project, "stage": stage, "service": service}
        tasks = await self._tasks({**lane, "status": "started"})
        return None if tasks is None else [task for task in tasks if task.sequence == "started"]

    async def services(self, project: str, stage: str) -> int | None:
        path = path_of("controlPlane", "v1", "project", project, "stage", stage, "service")
        page = await self._page(path, {}, answers.Services)
        if page is None:
            return None
        return page.total or (len(page.items) if page.is_last else None)

    async def resource(
        self, project: str, stage: str, service: str, name: str, commit: str
    ) -> bytes | None:
        return await self._files.content(project, stage, service, name, commit)

    async def resources(self, project: str, stage: str, service: str) -> list[str]:
        return await self._files.names(project, stage, service)

    async def close(self) -> None:
        await self._api.close()
        await self._files.close()

    def _has(self, status: answers.Status, triggered_id: str, report: Report) -> bool:
        if any(task.triggered_id == triggered_id for task in status.previous):
            return True
        current = status.current
        return current.triggered_id == triggered_id and any(
            event.source == self._source and event.type == report.type for event in current.events
        )

    async def _tasks(self, query: Mapping[str, str]) -> list[TaskState] | None:
        sequences = await self._sequences(query)
        if sequences is None:
            return None
        tasks = ((sequence.status.state, sequence.status.current) for sequence in sequences)
        return [TaskState(t.name, t.triggered_id, s, t.events) for s, t in tasks if t.triggered_id]

    async def _sequences(self, query: Mapping[str, str]) -> list[answers.Sequence] | None:
        found = await self._pages(_EXECUTIONS, query, answers.Sequences)
        self._shows_sequences |= found is not None
        return found

    async def _bodies(self, event_type: str, query: Mapping[str, str]) -> dict[str, bytes] | None:
        listed = await self._listed(event_type, query)
        return None if listed is None else dict(_written(listed))

    async def _open(self, query: Mapping[str, str]) -> Sequence[Mapping[str, Any]] | None:
        """The lists of all our tasks; None unless each of them is known."""
        found: list[Mapping[str, Any]] = []
        for event_type in self._types:
            listed = await self._listed(event_type, query)
            if listed is None:
                return None
            found += listed
        return found

    async def _listed(
        self, event_type: str, query: Mapping[str, str]
    ) -> Sequence[Mapping[str, Any]] | None:
        """The whole list of open triggers of a type, as it was at one moment."""
        with suppress(Unlisted):
            return await open_events(self._api, event_type, query)
        return None

    async def _pages(
        self, path: str, query: Mapping[str, str], model: type[Page[T]]
    ) -> list[T] | None:
        """All items of a paged list; None unless each page is a 200 that parses."""
        found: list[T] = []
        next_page: dict[str, str] = {}
        for _ in range(MAX_PAGES):
            page = await self._page(path, {**query, **next_page}, model)
            if page is None:
                return None
            found += page.items
            if page.is_last:
                return found
            next_page = {"nextPageKey": page.next}
        return None

    async def _page(self, path: str, query: Mapping[str, str], model: type[P]) -> P | None:
        reply = await self._api.get(path, query)
        if reply.status != 200:
            return None
        try:
            return model.model_validate_json(reply.body)
        except ValidationError:
            return None


def _progress(status: answers.Status, triggered_id: str) -> Progress:
    if any(task.triggered_id == triggered_id for task in status.previous):
        return "answered"
    if status.current.triggered_id != triggered_id:
        return "absent"
    return "ended" if status.state in _OVER else "open"


def _may_answer_soon(reply: Reply) -> bool:
    """Whether Keptn may say it when it is asked again: it can't be reached, or is overloaded."""
    return reply.status is None or reply.status in _SOON or reply.status >= 500


def _is_unrouted(reply: Reply) -> bool:
    """Whether this release may have no such endpoint. Its router says so in plain text, where a
    handler answers 404 with JSON (docs/keptn.md#k29); so may a proxy before any release.
    """
    return reply.status == 404 and not answers.is_keptns_error(reply.body)


def _ids(listed: Sequence[Mapping[str, Any]]) -> frozenset[str]:
    return frozenset(event["id"] for event in listed if isinstance(event.get("id"), str))


def _written(listed: Sequence[Mapping[str, Any]]) -> Iterator[tuple[str, bytes]]:
    for event in listed:
        # An event that can't be written as JSON again (a number beyond 64 bits) is unanswerable.
        with suppress(orjson.JSONEncodeError):
            yield str(event.get("id")), orjson.dumps(event)

"""The distributor's sidecar: it takes events, checks and counts them, and fails on demand."""

from __future__ import annotations

import asyncio
import time
from collections import defaultdict, deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

import orjson
from aiohttp import web

from keptn_remedy.events import LOG_ERROR, STATUS_CHANGED, event_type
from keptn_remedy.testing.http_peer import hang_up
from keptn_remedy.testing.keptn_task import Received, map_of, text_of
from keptn_remedy.testing.keptn_tasks import Tasks
from keptn_remedy.testing.promises import broken_promises, reasons_to_drop

SIDECAR_LIMIT_BYTES: Final = 64 * 1024

_KNOWN_SPECVERSIONS: Final = ("1.0", "0.3", "0.2")


@dataclass(frozen=True, slots=True)
class LogEntry:
    """An entry of Keptn's error log, from a `log.error`, an errored `finished` or the log API."""

    message: str
    task: str
    context: str
    triggeredid: str
    origin: Literal["event", "finished", "api"]
    integration: str = ""


@dataclass(frozen=True, slots=True)
class _Fault:
    event_type: str | None
    status: int | None
    counted: bool


class Sidecar:
    """Takes events, and counts those that the control plane wouldn't drop."""

    _logs_finished = True
    """Whether an errored `finished` makes an entry of the log, as a sidecar sees to."""

    def __init__(self, tasks: Tasks) -> None:
        self.received: list[Received] = []
        """Every event that the sidecar took, in order, even if the control plane drops it."""
        self.posts = 0
        """How often `POST /event` was called, failed calls included."""
        self.log_entries: list[LogEntry] = []
        self.violations: list[str] = []
        self._refused_types: set[str] = set()
        self._tasks = tasks
        self._by_trigger: defaultdict[str, list[Received]] = defaultdict(list)
        self._faults: deque[_Fault] = deque()
        self._may_count = asyncio.Event()
        self._may_answer = asyncio.Event()
        self._arrived = asyncio.Condition()
        self.release()

    def events_of(self, trigger_id: str) -> list[Received]:
        """The events with this `triggeredid` that were not dropped, in order."""
        return list(self._by_trigger.get(trigger_id, ()))

    def started(self, trigger_id: str) -> list[Received]:
        return [event for event in self.events_of(trigger_id) if event.kind == "started"]

    def finished(self, trigger_id: str) -> list[Received]:
        return [event for event in self.events_of(trigger_id) if event.kind == "finished"]

    async def wait_until(self, predicate: Callable[[], bool], timeout: float = 10.0) -> None:  # noqa: ASYNC109 - one word in a test
        """Wait for a condition, which is checked whenever something is posted."""
        async with asyncio.timeout(timeout), self._arrived:
            await self._arrived.wait_for(predicate)

    # Faults

    def answer_next(
        self, status: int, *, times: int = 1, counted: bool = False, event_type: str | None = None
    ) -> None:
        """Answer the next events (of that type) with this status, counted nevertheless or not."""
        self._faults.extend([_Fault(event_type, status, counted)] * times)

    def drop_next(
        self, *, times: int = 1, counted: bool = False, event_type: str | None = None
    ) -> None:
        """Close the connection of the next events (of that type), after counting them or before."""
        self._faults.extend([_Fault(event_type, None, counted)] * times)

    def hold(self, *, counted: bool = True) -> None:
        """Answer nothing until `release()`; events are counted on arrival, or only then."""
        (self._may_answer if counted else self._may_count).clear()

    def release(self) -> None:
        """Answer the held events, and later ones at once."""
        self._may_count.set()
        self._may_answer.set()

    def refuse_status_changed(self) -> None:
        """Answer 400 to `action.status.changed`, as Keptn's API does with validation."""
        self._refused_types.add(STATUS_CHANGED)

    # POST /event

    async def take_event(self, request: web.Request) -> web.Response:
        """Handle `POST /event`."""
        body = await request.read()
        self.posts += 1
        event = decode(body)
        fault = self._due_fault(event)
        await self._announce()
        await self._may_count.wait()
        status = 200
        if fault is None or fault.counted:
            status = self._count(body)
            await self._announce()
        elif fault.status is not None and fault.status < 300:
            self._lose(event or {})
        await self._may_answer.wait()
        if fault is None:
            return web.Response(status=status)
        return hang_up(request) if fault.status is None else web.Response(status=fault.status)

    async def _announce(self) -> None:
        """Have `wait_until` look again."""
        async with self._arrived:
            self._arrived.notify_all()

    def _due_fault(self, event: Mapping[str, Any] | None) -> _Fault | None:
        for fault in self._faults:
            if fault.event_type in (None, text_of(event or {}, "type")):
                self._faults.remove(fault)
                return fault
        return None

    def _count(self, body: bytes) -> int:
        """Count an event; returns the status that the sidecar would answer."""
        event = decode(body)
        if event is None or len(body) > SIDECAR_LIMIT_BYTES:
            what = "not a structured CloudEvent" if event is None else "over 64 KB"
            self.violations.append(f"the posted event is {what}: {body[:200]!r}")
            return 500
        if text_of(event, "type") in self._refused_types:
            return 400
        received = Received(event, body, time.monotonic())
        self.received.append(received)
        self._log(received)
        if not self._violates(received) and received.type != LOG_ERROR:
            self._tasks.count(received)
        return 200

    def _lose(self, event: Mapping[str, Any]) -> None:
        """Acknowledge an event that Keptn then doesn't get (docs/keptn.md#k9)."""
        task = self._tasks.by_id.get(text_of(event, "triggeredid"))
        if task is not None and text_of(event, "type") == event_type(task.name, "started"):
            task.acknowledged.add(text_of(event, "source"))

    def _violates(self, received: Received) -> bool:
        """Record every broken promise; true when the control plane would drop the event."""
        dropped = list(reasons_to_drop(received))
        task = self._tasks.by_id.get(received.triggeredid)
        for violation in dropped or broken_promises(received, task):
            self.violations.append(f"{received.type} {received.id}: {violation}")
        if not dropped:
            self._by_trigger[received.triggeredid].append(received)
        return bool(dropped)

    # The log

    def _log(self, received: Received) -> None:
        """Log a `log.error`, and an errored `finished` where that makes an entry."""
        event, data = received.event, received.data
        if received.type == LOG_ERROR:
            self._add_log(data, event, "event")
        elif (self._logs_finished, received.kind, data.get("status")) == (
            True,
            "finished",
            "errored",
        ):
            self._add_log({**data, "task": received.type.split(".")[-2]}, event, "finished")

    def _add_log(
        self,
        entry: Mapping[str, Any],
        event: Mapping[str, Any],
        origin: Literal["event", "finished", "api"],
    ) -> None:
        message, task = text_of(entry, "message"), text_of(entry, "task")
        context, trigger_id = text_of(event, "shkeptncontext"), text_of(event, "triggeredid")
        integration = text_of(entry, "integrationid")
        self.log_entries.append(LogEntry(message, task, context, trigger_id, origin, integration))

    async def take_log(self, request: web.Request) -> web.Response:
        """Handle the control plane's log API."""
        for entry in orjson.loads(await request.read())["logs"]:
            self._add_log(entry, entry, "api")
        await self._announce()
        return web.Response()


def decode(body: bytes) -> Mapping[str, Any] | None:
    """The structured CloudEvent in the body; None where the sidecar can't decode it."""
    try:
        event = orjson.loads(body)
    except orjson.JSONDecodeError:
        return None
    return map_of(event) if map_of(event).get("specversion") in _KNOWN_SPECVERSIONS else None

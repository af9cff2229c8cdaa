"""The kit for testing actions: real runs, real HTTP peers, and a Keptn that counts reports."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple
from uuid import uuid4

import orjson
from pydantic import TypeAdapter

from keptn_remedy import events, service
from keptn_remedy.action import AnyAction, Outcome, Plan, PlannedAction, ReadFiles
from keptn_remedy.guardrails.defaults import ReplicaSettings
from keptn_remedy.keptn.resources import files_of
from keptn_remedy.registry import Entry, Registry
from keptn_remedy.support.clock import Clock
from keptn_remedy.testing.fake_keptn import FakeKeptn
from keptn_remedy.testing.http_peer import HttpPeer, http_peer

__all__ = [
    "FakeKeptn",
    "HttpPeer",
    "ImpatientClock",
    "Undone",
    "http_peer",
    "registry_of",
    "run_action",
    "triggered",
    "undo_action",
]


class ImpatientClock(Clock):
    """Real time, except that a pause ends at once and the clock moves on by its length."""

    def __init__(self) -> None:
        self.slept: list[float] = []

    def now(self) -> float:
        return super().now() + sum(self.slept)

    def monotonic(self) -> float:
        return super().monotonic() + sum(self.slept)

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        await super().sleep(0)


# Rails must not restrict what an action's own settings allow.
_ANY_NUMBER = ReplicaSettings(max_replicas=2**31, allow_zero=True)


async def run_action(
    action: type[AnyAction],
    value: Any = None,
    *,
    settings: Any = None,
    event: Mapping[str, Any] | None = None,
    dry_run: bool = False,
    clock: Clock | None = None,
    resources: Mapping[str, str | bytes] | None = None,
) -> Outcome:
    """Carry out one trigger as the service does: with retries, plan, verification and undo.

    `settings` is an instance of the action's `Settings`. `event` replaces the trigger that is made
    from `value`; for an action with subscriptions that is an event with this data. Pauses between
    attempts take no time unless a `clock` is given. `resources` are the files that
    `context.keptn` finds, at any level and commit.
    """
    trigger = _trigger(action, event, value)
    registry = registry_of(action, settings=settings)
    try:
        return await service.run_once(
            registry,
            trigger,
            dry_run=dry_run,
            clock=clock or ImpatientClock(),
            replicas=_ANY_NUMBER,
            files=_reading(resources or {}),
        )
    finally:
        await registry.close()


class Undone(NamedTuple):
    """How an undo ended (`done`, `refused` or `failed`), and its message."""

    state: str
    message: str


async def undo_action(
    action: type[PlannedAction],
    plan: Plan,
    *,
    settings: Any = None,
    event: Mapping[str, Any] | None = None,
    clock: Clock | None = None,
    resources: Mapping[str, str | bytes] | None = None,
) -> Undone:
    """Undo a plan that the action has applied, as the service does: with retries.

    The action gets the plan from a journal, as after a restart. `settings`, `event`, `clock` and
    `resources` are those of `run_action`.
    """
    trigger = _trigger(action, event)
    registry = registry_of(action, settings=settings)
    try:
        ended = await service.undo_once(
            registry,
            trigger,
            plan,
            clock=clock or ImpatientClock(),
            files=_reading(resources or {}),
        )
    finally:
        await registry.close()
    return Undone(ended.state, ended.message or "")


class _Files:
    """Files that are the same at any level and commit."""

    def __init__(self, files: Mapping[str, str | bytes]) -> None:
        self._files = files

    async def resource(
        self, project: str, stage: str, service: str, name: str, commit: str
    ) -> bytes | None:
        content = self._files.get(name)
        return content.encode() if isinstance(content, str) else content

    async def resources(self, project: str, stage: str, service: str) -> list[str]:
        return list(self._files)


def _reading(files: Mapping[str, str | bytes]) -> ReadFiles:
    return files_of(_Files(files))


def _trigger(
    action: type[AnyAction], event: Mapping[str, Any] | None, value: Any = None
) -> events.ActionTriggered:
    if not action.subscriptions:
        made = event or triggered(action.name, value, task=action.task)
        return events.stored_trigger(orjson.dumps(made))
    received = event or {**triggered(""), "type": action.subscriptions[0], "data": value or {}}
    return events.for_subscriber(events.read_structured(orjson.dumps(received)), action.name)


def registry_of(*actions: type[AnyAction], settings: Any = None) -> Registry:
    """A registry with these actions switched on, all with the same settings."""
    return Registry(
        Entry(
            cls=action,
            origin="test",
            action=action(action.Settings() if settings is None else settings),
            off=None,
            value=TypeAdapter(action.Value),
        )
        for action in actions
    )


def triggered(
    action: str,
    value: Any = None,
    *,
    id: str | None = None,  # noqa: A002  the attribute's name
    project: str = "sockshop",
    stage: str = "production",
    service: str = "carts",
    task: str = events.ACTION,
    **data: Any,
) -> dict[str, Any]:
    """A trigger as Keptn sends it, with a new id and context at each call. For another task than
    `action` the value is what is below `data.<task>`.
    """
    block: Any = {"name": action, "action": action}
    if task != events.ACTION:
        block = {} if value is None else value
    elif value is not None:
        block["value"] = value
    return {
        "specversion": "1.0",
        "id": id or str(uuid4()),
        "source": "shipyard-controller",
        "type": events.event_type(task, "triggered"),
        "datacontenttype": "application/json",
        "time": "2026-01-01T00:00:00.000Z",
        "shkeptncontext": str(uuid4()),
        "shkeptnspecversion": "0.2.4",
        "data": {
            "project": project,
            "stage": stage,
            "service": service,
            "labels": {},
            task: block,
            "problem": {"State": "OPEN", "ProblemTitle": "Failure rate increase"},
            **data,
        },
    }

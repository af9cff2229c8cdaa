"""Events that Keptn's own services and other providers send, for tests to deliver or count."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import Any, Literal
from uuid import uuid4

import orjson

from keptn_remedy.events import event_type
from keptn_remedy.testing.keptn_task import SEQUENCE, Received, Task

_PROBLEM_URL = "https://monitoring.example.com/#problems/{}"


def sequence_finished(
    task: Task, status: str, result: str, message: str | None = None
) -> dict[str, Any]:
    """The end of the task's sequence, as the shipyard-controller sends it (docs/keptn.md#k41)."""
    attributes = _attributes(task, "shipyard-controller")
    del attributes["shkeptnspecversion"]
    labels, told = task.data.get("labels"), {} if message is None else {"message": message}
    return {
        **attributes,
        "time": f"{attributes['time'].removesuffix('Z')}000000Z",  # in nanoseconds
        "type": f"sh.keptn.event.{task.scope['stage']}.{SEQUENCE}.finished",
        "triggeredid": task.sequence_id,
        "data": {**task.scope, "status": status, "result": result, **told}
        | ({"labels": labels} if labels else {}),
    }


def problem_closed(task: Task, state: str) -> dict[str, Any]:
    """The end of the problem behind the task, by the dynatrace-service (docs/keptn.md#k45)."""
    url = _PROBLEM_URL.format(task.context)
    data = {
        **task.scope,
        "labels": {"Problem URL": url},
        "State": state,
        "ProblemID": "P-2304183",
        "PID": "-8401643851710288421_1681200840000V2",
        "ProblemTitle": "CPU saturation",
        "ProblemURL": url,
        "ProblemDetails": {"displayName": "P-2304183", "status": state},
        "ImpactedEntity": "CPU saturation on process group checkout",
        "Tags": ", ".join(f"keptn_{name}:{value}" for name, value in task.scope.items()),
    }
    return {
        **_attributes(task, "dynatrace-service"),
        "type": "sh.keptn.events.problem",
        "data": data,
    }


def answer_of_another(
    task: Task, kind: Literal["started", "finished"], source: str, status: str, result: str
) -> Received:
    """Another provider's `started` or `finished` for the task."""
    outcome = {"status": status, "result": result} if kind == "finished" else {}
    event = {
        **_attributes(task, source),
        "type": event_type(task.name, kind),
        "triggeredid": task.id,
        "data": {**task.scope, **outcome},
    }
    return Received(event, orjson.dumps(event), time.monotonic())


def _attributes(task: Task, source: str) -> dict[str, Any]:
    now = datetime.now(UTC).isoformat(timespec="milliseconds")
    return {
        "specversion": "1.0",
        "id": str(uuid4()),
        "source": source,
        "datacontenttype": "application/json",
        "time": now.replace("+00:00", "Z"),
        "shkeptncontext": task.context,
        "shkeptnspecversion": "0.2.4",
    }

"""What Keptn requires of every event we send, and what we promise besides."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, Final, cast

from keptn_remedy.events import ACTION, LOG_ERROR, MAX_REPORT_BYTES
from keptn_remedy.testing.keptn_task import SCOPE, Received, Task, map_of, text_of

_TIME: Final = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,9})?(Z|[+-]\d\d:\d\d)", re.ASCII)
_OUR_KEYS: Final = {*SCOPE, "labels", "status", "result", "message", "action", "remedy"}


def reasons_to_drop(received: Received) -> Iterator[str]:
    """Why the control plane would drop the event (docs/keptn.md#k10)."""
    for name in ("id", "source", "type"):
        if not text_of(received.event, name):
            yield f"{name} is missing or not text"
    if not _TIME.fullmatch(text_of(received.event, "time")):
        yield "time is not an RFC 3339 time with a zone"
    if not isinstance(received.event.get("data"), dict):
        yield "data is not an object"
    elif received.type != LOG_ERROR:
        yield from _reasons_in_data(received.data)


def _reasons_in_data(data: Mapping[str, Any]) -> Iterator[str]:
    for name in SCOPE:
        if not text_of(data, name):
            yield f"data.{name} is missing or not text"
    for name in ("status", "result", "message"):
        if not isinstance(data.get(name), str | None):
            yield f"data.{name} is not text"
    if not isinstance(data.get("labels"), dict | None):
        yield "data.labels is not a map"
    if not all(isinstance(value, str) for value in map_of(data.get("labels")).values()):
        yield "data.labels holds a value that is not text"


def broken_promises(received: Received, task: Task | None) -> Iterator[str]:
    """Our own promises that the event breaks."""
    legacy = task is not None and task.trigger.get("specversion") == "0.2"
    if received.event["specversion"] != ("0.2" if legacy else "1.0"):
        yield "specversion is not the one that the trigger calls for"
    if not text_of(received.event, "time").endswith("Z"):
        yield "time is not in UTC with a Z"
    if received.event.get("contenttype" if legacy else "datacontenttype") != "application/json":
        yield "the content type of data is not application/json"
    if len(received.body) > MAX_REPORT_BYTES:
        yield f"{len(received.body)} bytes are over {MAX_REPORT_BYTES}"
    if received.type == LOG_ERROR and not text_of(received.data, "message"):
        yield "data.message is missing"
    if received.kind:
        yield from _foreign_content(received.data, task.name if task else ACTION)
    if received.kind == "finished":
        is_bare = legacy and "status" not in received.data  # for Keptn 0.7 alone
        yield from _unclear_legacy(received.data) if is_bare else _unclear_outcome(received.data)
    if task is not None and received.kind:
        yield from _mismatches(received, task)


def _foreign_content(sent: Mapping[str, Any], task: str) -> Iterator[str]:
    """Keptn merges it into later tasks, where numbers freeze and lists grow (docs/keptn.md#k22).
    What is below the name of another task than `action` is its own.
    """
    data = {name: value for name, value in sent.items() if name != task or task == ACTION}
    for name in data.keys() - _OUR_KEYS:
        yield f"data.{name} must not be sent"
    for name in map_of(data.get("action")).keys() - {"status", "result"}:
        yield f"data.action.{name} must not be sent"
    if not _is_text_or_map(data):
        yield "data holds more than text and maps of text"


def _is_text_or_map(value: object) -> bool:
    if isinstance(value, dict):
        return all(_is_text_or_map(item) for item in map_of(cast("object", value)).values())
    return isinstance(value, str)


def _unclear_outcome(data: Mapping[str, Any]) -> Iterator[str]:
    if data.get("status") not in ("succeeded", "errored"):
        yield "data.status is neither succeeded nor errored"
    if data.get("result") not in ("pass", "warning", "fail"):
        yield "data.result is not pass, warning or fail"


def _unclear_legacy(data: Mapping[str, Any]) -> Iterator[str]:
    outcome = map_of(data.get("action"))
    if outcome.get("status") not in ("succeeded", "errored"):
        yield "data.action.status is neither succeeded nor errored"
    if outcome.get("result") not in ("pass", "failed"):
        yield "data.action.result is neither pass nor failed"


def _mismatches(received: Received, task: Task) -> Iterator[str]:
    if received.context != task.context:
        yield "shkeptncontext differs from the trigger's"
    for name, value in task.scope.items():
        if received.data[name] != value:
            yield f"data.{name} differs from the trigger's"
    if received.kind == "finished":
        starters = {answer.source for answer in task.of_kind("started")} | task.acknowledged
        if not starters:
            yield "it came before any started"
        elif received.source not in starters:
            yield f"source {received.source!r} sent no started for the task"

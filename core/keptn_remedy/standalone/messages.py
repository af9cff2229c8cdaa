"""The messages of each kind of source, read as alerts."""

from __future__ import annotations

import hmac
from collections.abc import Callable, Mapping
from hashlib import sha256
from typing import Any, cast

import orjson

from keptn_remedy import events
from keptn_remedy.events import PROBLEM, Event, NotACloudEvent, Problem
from keptn_remedy.events.cloud_event import is_object
from keptn_remedy.standalone.alertmanager import BadMessage, Message, alerts_in, texts
from keptn_remedy.standalone.mapping import Alert

# An older signature may be one that somebody has recorded.
OLDEST_SECONDS = 300.0
_CLOSED = ("CLOSED", "RESOLVED", "MERGED")
_INCIDENT = "dev.cdevents.incident."
_PLACES = ("project", "stage", "service")
_MOST = 200


def read(kind: str, headers: Mapping[str, str], body: bytes) -> Message:
    """What a message of this kind of source says.

    Raises:
        BadMessage: it is none.
    """
    return _READERS[kind](headers, body)


def is_signed(secret: str, body: bytes, signature: str, timestamp: str | None, now: float) -> bool:
    """Whether the signature is the secret's: hex HMAC-SHA-256 of the body, after the timestamp and
    a colon where one is sent; such a timestamp must be of the last minutes.
    """
    if timestamp is not None:
        if not (timestamp.isascii() and timestamp.isdigit() and len(timestamp) < 12):
            return False
        if abs(now - int(timestamp)) > OLDEST_SECONDS:
            return False
        body = timestamp.encode() + b":" + body
    made = hmac.new(secret.encode(), body, sha256).hexdigest()
    # A header may hold bytes that are no UTF-8.
    given = signature.strip().lower().encode(errors="surrogateescape")
    return hmac.compare_digest(made.encode(), given)


def _alertmanager(_: Mapping[str, str], body: bytes) -> Message:
    return alerts_in(body)


def _dynatrace(_: Mapping[str, str], body: bytes) -> Message:
    """A message of the template that docs/standalone.md shows; the tenant chooses what is sent."""
    try:
        sent = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise BadMessage(f"the body is not JSON: {error}") from None
    if not isinstance(sent, dict):
        raise BadMessage("the body is no object; use the template of docs/standalone.md")
    return Message([_problem(Problem(cast("object", sent)), {})])


def _cloudevents(headers: Mapping[str, str], body: bytes) -> Message:
    try:
        event = events.read(headers, body)
    except NotACloudEvent as error:
        raise BadMessage(error.reason) from None
    data = event.data
    if not is_object(data):
        return Message([])
    if event.type.startswith(_INCIDENT):
        return Message(_incident(event, data))
    is_trigger = event.type.endswith(".remediation.triggered")
    if event.type != PROBLEM and not is_trigger:
        return Message([])
    place = texts({f"keptn_{name}": data.get(name) for name in _PLACES})
    problem = data.get("problem") if is_trigger else data
    return Message([_problem(Problem(problem), {**texts(data.get("labels")), **place}, event)])


def _problem(problem: Problem, labels: Mapping[str, str], event: Event | None = None) -> Alert:
    """A problem with the fields that Keptn's events and Dynatrace's have, in any case."""
    own = _text(problem, "PID") or _text(problem, "ProblemID")
    context = event.text("shkeptncontext") if event else ""
    fingerprint = own or context or (event.id if event else "")
    if not fingerprint:
        raise BadMessage("the problem has no PID, by which it could be known again")
    names = (problem.root_cause, problem.title, _text(problem, "ProblemTitle"))
    return Alert(
        fingerprint=fingerprint[:_MOST],
        is_firing=_text(problem, "State").upper() not in _CLOSED,
        labels={**_tags(problem), **labels, "problem": fingerprint[:_MOST]},
        annotations={},
        starts_at=_sent_at(event) if event else "",
        url=problem.url[:2000],
        names=tuple(dict.fromkeys(filter(None, names))),
        key=fingerprint[:_MOST],
    )


def _tags(problem: Problem) -> dict[str, str]:
    """The place that tags or fields name: `keptn_project:shop`, `KeptnProject`."""
    found: dict[str, str] = {}
    for tag in _text(problem, "Tags").split(","):
        name, _, value = tag.strip().partition(":")
        if name in ("keptn_project", "keptn_stage", "keptn_service") and value:
            found[name] = value.strip()
    for name in _PLACES:
        if value := _text(problem, f"Keptn{name}"):
            found[f"keptn_{name}"] = value
    return found


def _text(problem: Problem, name: str) -> str:
    value = problem.get(name)
    return value if isinstance(value, str) else ""


def _sent_at(event: Event) -> str:
    """The event's own time: of one that is delivered again it is the same."""
    return event.time.isoformat() if event.time else ""


def _incident(event: Event, data: Mapping[str, Any]) -> list[Alert]:
    """An incident of CDEvents: detected, reported or resolved."""
    subject = data.get("subject")
    about = cast("dict[str, Any]", subject) if isinstance(subject, dict) else {}
    if not isinstance(about.get("id"), str) or not about["id"]:
        raise BadMessage("the incident has no subject.id")
    content = about.get("content")
    fields = cast("dict[str, Any]", content) if isinstance(content, dict) else {}
    labels = {"problem": about["id"][:_MOST]}
    for label, name in (("keptn_stage", "environment"), ("keptn_service", "service")):
        found = fields.get(name)
        if isinstance(found, dict) and isinstance(cast("Any", found).get("id"), str):
            labels[label] = cast("Any", found)["id"]
    description = fields.get("description")
    return [
        Alert(
            fingerprint=about["id"][:_MOST],
            is_firing=not event.type.startswith(f"{_INCIDENT}resolved"),
            labels=labels,
            annotations={},
            starts_at=_sent_at(event),
            names=(description,) if isinstance(description, str) and description else (),
            key=about["id"][:_MOST],
        )
    ]


_READERS: Mapping[str, Callable[[Mapping[str, str], bytes], Message]] = {
    "alertmanager": _alertmanager,
    "grafana": _alertmanager,
    "dynatrace": _dynatrace,
    "cloudevents": _cloudevents,
}

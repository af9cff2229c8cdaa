"""The trigger: a `<task>.triggered`, parsed as far as our replies need it."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from sys import intern
from typing import Any, Final, NamedTuple, cast
from uuid import NAMESPACE_OID, uuid4, uuid5

import orjson
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from keptn_remedy.events.cloud_event import Event, read_structured

ACTION: Final = "action"
"""The task of remediation; its triggers name an action."""
TRIGGERED: Final = "sh.keptn.event.action.triggered"
_OF_A_TASK: Final = re.compile(r"sh\.keptn\.event\.([A-Za-z0-9_-]{1,100})\.triggered")
_CONTROLLER: Final = "shipyard-controller"
# The extension attribute of an event as it is stored for a subscriber, whose name is its value.
_SUBSCRIBER: Final = "remedysubscriber"
REQUEST: Final = "request-"
"""How the ids of executions begin that somebody asked for here. No event may bring such an id."""
LADDER: Final = "keptn-remedy/standalone"
"""The source of what the ladder triggers, in standalone mode."""
_OURS: Final = f"attribute {_SUBSCRIBER} is set here only"
# Reports repeat these attributes, so longer ones would not fit into MAX_REPORT_BYTES.
MAX_ATTRIBUTE_CHARACTERS: Final = 1_024
KEPTN_SPEC_VERSION: Final = "0.2.4"


class Unusable(Exception):
    """A CloudEvent that can't be answered: not a trigger, or without what a report must hold."""


@dataclass(frozen=True, slots=True)
class ActionTriggered:
    """The trigger: one `sh.keptn.event.<task>.triggered`, parsed.

    `action` is the name as sent, trimmed; it is empty for a `task` other than `action`. `value` is
    `data.action.value`, or `values` where that is missing; for another task it is `data.<task>`.
    `labels` are text. Everything else that the event carries is in `data`.

    Any event may stand here for a subscriber, which answers none: then there is no `task`, `action`
    is the subscriber's name, `value` is all of `data`, and project, stage and service may be empty.
    `may_hold_answers`: it may be of a later round, into which Keptn merges what we answered.

    `is_request`: somebody asked for it here, so that Keptn knows nothing of it, and a person must
    approve it. `is_answered`: Keptn is told of its start and its end.
    """

    id: str
    type: str
    source: str
    context: str
    specversion: str
    project: str
    stage: str
    service: str
    task: str
    action: str
    value: Any
    labels: Mapping[str, str]
    keptn_spec_version: str
    git_commit_id: str
    traceparent: str
    tracestate: str
    may_hold_answers: bool
    is_request: bool
    is_answered: bool
    _text: bytes = field(repr=False, compare=False)
    _find: Callable[[str], bytes] | None = field(default=None, repr=False, compare=False)

    @property
    def body(self) -> bytes:
        """The event in its structured JSON form. Once it is stored, it is read from there."""
        # In this order: an action's thread may ask while it is put away.
        text, find = self._text, self._find
        return text if find is None else find(self.id)

    def put_away(self, find: Callable[[str], bytes]) -> None:
        """Keep the body no longer, since it is stored: `find` reads it by the trigger's id.
        Thousands of triggers wait or are carried out, and hardly one is asked for its body.
        """
        object.__setattr__(self, "_find", find)
        object.__setattr__(self, "_text", b"")

    @property
    def data(self) -> dict[str, Any]:
        """The whole `data` block; each access reads and decodes it again."""
        data: dict[str, Any] = orjson.loads(self.body)["data"]
        return data

    @property
    def is_tracked(self) -> bool:
        """Whether Keptn's controller triggered it, and so can tell whether it is still open. Others
        trigger tasks too (docs/keptn.md#k50).
        """
        if self.is_request:
            return False
        return self.task == ACTION or (bool(self.task) and self.source == _CONTROLLER)

    @property
    def problem(self) -> Problem:
        """The problem behind the trigger; empty when the sequence was triggered by hand."""
        return Problem(self.data.get("problem"))


class Problem:
    """`data.problem`, whose field names are read in any case (docs/keptn.md#k44)."""

    def __init__(self, fields: object) -> None:
        self.fields: Mapping[str, Any] = fields if isinstance(fields, dict) else {}

    def get(self, name: str) -> Any:
        """The field of that name; camelCase wins where several spellings are present."""
        spellings = [key for key in self.fields if key.lower() == name.lower()]
        return self.fields[max(spellings)] if spellings else None

    @property
    def title(self) -> str:
        return str(self.get("problemTitle") or "")

    @property
    def root_cause(self) -> str:
        return str(self.get("rootCause") or "")

    @property
    def url(self) -> str:
        return str(self.get("problemURL") or "")


class _ActionBlock(BaseModel):
    model_config = ConfigDict(str_strip_whitespace=True)
    action: str = ""
    value: Any = None
    values: Any = None


class _Place(BaseModel):
    project: str = Field(default="", max_length=MAX_ATTRIBUTE_CHARACTERS)
    stage: str = Field(default="", max_length=MAX_ATTRIBUTE_CHARACTERS)
    service: str = Field(default="", max_length=MAX_ATTRIBUTE_CHARACTERS)
    labels: Any = None


class _PlainPlace(NamedTuple):
    """What is plainly a place."""

    project: str
    stage: str
    service: str
    labels: Any


class _Data(_Place):
    project: str = Field(min_length=1, max_length=MAX_ATTRIBUTE_CHARACTERS)
    stage: str = Field(min_length=1, max_length=MAX_ATTRIBUTE_CHARACTERS)
    service: str = Field(min_length=1, max_length=MAX_ATTRIBUTE_CHARACTERS)


class _ActionData(_Data):
    action: _ActionBlock


def event_type(task: str, kind: str) -> str:
    """The type of an event of a task, such as `sh.keptn.event.get-sli.finished`."""
    return f"sh.keptn.event.{task}.{kind}"


def task_of(triggered: str) -> str | None:
    """The task that an event of this type triggers; None if it triggers none. The type of a
    sequence has one part more (docs/keptn.md#k41).
    """
    if triggered == TRIGGERED:
        return ACTION
    found = _OF_A_TASK.fullmatch(triggered)
    return found[1] if found else None


def trigger_of(event: Event, subscriber: str = "") -> ActionTriggered:
    """The event as a trigger; with a `subscriber`, as its one.

    Raises:
        Unusable: it is not a `<task>.triggered`, or lacks what every report must hold.
    """
    task = "" if subscriber else task_of(event.type)
    if task is None:
        raise Unusable(f"type {event.type[:100]} triggers no task")
    attributes = event.attributes
    if _SUBSCRIBER in attributes and not subscriber:
        raise Unusable(_OURS)
    data, action, value = _read(task, event.data)
    context = _text(attributes, "shkeptncontext")
    if not context and task:
        raise Unusable("shkeptncontext is missing")
    if max(len(event.id), len(context)) > MAX_ATTRIBUTE_CHARACTERS:
        raise Unusable(f"id or shkeptncontext is over {MAX_ATTRIBUTE_CHARACTERS} characters")
    keptn_spec_version = _text(attributes, "shkeptnspecversion")[:64] or KEPTN_SPEC_VERSION
    git_commit_id = _text(attributes, "gitcommitid")[:MAX_ATTRIBUTE_CHARACTERS]
    traceparent = _text(attributes, "traceparent")[:MAX_ATTRIBUTE_CHARACTERS]
    tracestate = _text(attributes, "tracestate")[:MAX_ATTRIBUTE_CHARACTERS]
    is_request = event.id.startswith(REQUEST)
    # The same few names occur in thousands of executions: one copy of each saves memory.
    return ActionTriggered(
        id=event.id,
        type=intern(event.type),
        source=intern(_text(attributes, "source")),
        context=context,
        specversion=intern(event.specversion),
        project=intern(data.project),
        stage=intern(data.stage),
        service=data.service,  # each of those that run has another one
        task=intern(task),
        action=intern(subscriber or action),
        value=value,
        labels=_labels(data.labels),
        keptn_spec_version=intern(keptn_spec_version),
        git_commit_id=intern(git_commit_id),
        traceparent=traceparent,
        tracestate=tracestate,
        may_hold_answers=task == ACTION and b'"remedy"' in event.body,
        is_request=is_request,
        is_answered=bool(task) and not is_request,
        _text=event.body,
    )


def _read(task: str, sent: Any) -> tuple[_Place | _PlainPlace, str, Any]:
    """What every report must hold, the action's name, and the value."""
    if not isinstance(sent, dict):
        raise Unusable("data must be an object")
    data = cast("dict[str, Any]", sent)
    if task == ACTION and (plain := _plainly(data)):
        return plain
    try:
        if not task:
            return _Place.model_validate(data), "", data
        if task != ACTION:
            return _Data.model_validate(data), "", data.get(task)
        read = _ActionData.model_validate(data)
    except ValidationError as error:
        raise Unusable(_first_mistake(error)) from None
    action = read.action
    return read, action.action, action.values if action.value is None else action.value


def _plainly(data: Mapping[str, Any]) -> tuple[_PlainPlace, str, Any] | None:
    """The same of what is plainly well-formed; pydantic, at three times the cost, has the last word
    on the rest.
    """
    sent = data.get("action")
    if type(sent) is not dict:
        return None
    block = cast("dict[str, Any]", sent)
    texts = data.get("project"), data.get("stage"), data.get("service"), block.get("action")
    for text in texts:
        if type(text) is not str or not 0 < len(text) <= MAX_ATTRIBUTE_CHARACTERS:
            return None
    project, stage, service, action = cast("tuple[str, str, str, str]", texts)
    found, value = _PlainPlace(project, stage, service, data.get("labels")), block.get("value")
    return found, action.strip(), block.get("values") if value is None else value


def for_subscriber(event: Event, name: str) -> ActionTriggered:
    """An event of any type as the trigger of the subscriber of that name. It has an id of its own:
    one event may have several subscribers, and an action that answers it.

    Raises:
        Unusable: its data is no object, has a place that is not text, or it is such a copy already.
    """
    if not event.body:
        raise Unusable("data must be an object")
    if _SUBSCRIBER in event.attributes:
        raise Unusable(_OURS)
    whole = orjson.loads(event.body)
    return stored_trigger(orjson.dumps({**whole, "id": _copy_id(event, name), _SUBSCRIBER: name}))


def requested_trigger(data: Mapping[str, Any], source: str, now: str) -> ActionTriggered:
    """A trigger that nobody sent: its `data` were asked for here, at that RFC 3339 time.

    Raises:
        Unusable: the data lack what every trigger holds.
    """
    event = {
        "specversion": "1.0",
        "id": f"{REQUEST}{uuid4()}",
        "type": TRIGGERED,
        "source": source,
        "time": now,
        "datacontenttype": "application/json",
        "shkeptncontext": str(uuid4()),
        "data": data,
    }
    return stored_trigger(orjson.dumps(event))


def _copy_id(event: Event, name: str) -> str:
    """The id of a subscriber's copy: the same for the same event, however it comes. The event's id
    alone doesn't tell: each `status.changed` of an execution of ours has the same.
    """
    time = event.time
    told = [event.text("source"), event.type, event.id, time.isoformat() if time else "", name]
    return str(uuid5(NAMESPACE_OID, orjson.dumps(told).decode()))


def _text(attributes: Mapping[str, Any], name: str) -> str:
    """The attribute as text; empty where it is absent or no text."""
    value = attributes.get(name)
    return value if isinstance(value, str) else ""


def stored_trigger(body: bytes) -> ActionTriggered:
    """The trigger from the structured JSON form that the journal keeps."""
    event = read_structured(body)
    return trigger_of(event, event.attributes.get(_SUBSCRIBER, ""))


_WORDS = {
    "missing": "is missing",
    "model_type": "must be a JSON object",
    "string_type": "must be text",
    "string_too_short": "must not be empty",
    "string_too_long": f"is over {MAX_ATTRIBUTE_CHARACTERS} characters",
}


def _first_mistake(error: ValidationError) -> str:
    mistake = error.errors(include_url=False, include_input=False)[0]
    said = _WORDS.get(mistake["type"], "is not valid")
    return f"{'.'.join(('data', *map(str, mistake['loc'])))} {said}"


def _labels(labels: Any) -> Mapping[str, str]:
    """Labels as text: Keptn drops an event with any other label (docs/keptn.md#k10)."""
    if not isinstance(labels, dict):
        return {}
    return {name: _label(value) for name, value in cast("dict[str, Any]", labels).items()}


def _label(value: Any) -> str:
    if value is None:
        return ""  # as Keptn itself reads it
    return value if isinstance(value, str) else orjson.dumps(value).decode()

"""The words Keptn speaks: CloudEvents read and written, the trigger, and our replies to it."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final, Literal, TypeGuard, cast
from urllib.parse import unquote
from uuid import NAMESPACE_URL, uuid5

import orjson
from cloudevents.core.base import BaseCloudEvent, EventFactory
from cloudevents.core.bindings.http import (
    HTTPMessage,
    from_binary,
    from_structured,
    to_structured_event,
)
from cloudevents.core.exceptions import CloudEventValidationError
from cloudevents.core.formats.json import JSONFormat
from cloudevents.core.v1.event import CloudEvent
from pydantic import BaseModel, ConfigDict, Field, ValidationError

TRIGGERED: Final = "sh.keptn.event.action.triggered"
STARTED: Final = "sh.keptn.event.action.started"
FINISHED: Final = "sh.keptn.event.action.finished"
LOG_ERROR: Final = "sh.keptn.log.error"

# Keptn's gateway and sidecar refuse 64 KB; half of it leaves room for what they add (contract §6).
MAX_REPORT_BYTES: Final = 32_000
MAX_MESSAGE_CHARACTERS: Final = 2_000
# What a report must echo; longer ones could not be answered within MAX_REPORT_BYTES.
MAX_ATTRIBUTE_CHARACTERS: Final = 1_024
# What is nested less deeply can be read and written by everybody.
SURE_LEVELS: Final = 200
KEPTN_SPEC_VERSION: Final = "0.2.4"

STRUCTURED: Final = "application/cloudevents+json"
_BATCH: Final = "application/cloudevents-batch"
_REQUIRED: Final = ("specversion", "id", "source", "type")
_OPTIONAL: Final = ("datacontenttype", "dataschema", "subject", "time")
_LEGACY_VERSIONS: Final = ("0.2", "0.3")
_EXTENSION_NAME: Final = re.compile(r"[a-z0-9]+")
_RFC3339: Final = re.compile(
    r"\d{4}-\d\d-\d\d[Tt]\d\d:\d\d:\d\d(\.\d+)?([Zz]|[+-]\d\d:\d\d)", re.ASCII
)
_REPORT_IDS: Final = uuid5(NAMESPACE_URL, "https://keptn.sh/keptn-remedy/report")


class NotACloudEvent(Exception):
    """A request body that is no CloudEvent.

    `attribute` names what is wrong; `unsupported_media_type` asks for HTTP 415 rather than 400.
    """

    def __init__(
        self, reason: str, attribute: str | None = None, *, unsupported_media_type: bool = False
    ) -> None:
        super().__init__(reason)
        self.reason = reason
        self.attribute = attribute
        self.unsupported_media_type = unsupported_media_type


class Unusable(Exception):
    """A CloudEvent that nobody could answer: not a trigger, or without what an answer must hold."""


@dataclass(frozen=True, slots=True)
class Event:
    """A CloudEvent as it came in.

    `specversion` is the one it was sent with, `body` its structured JSON form (empty for what came
    in binary mode without a map as `data`: it is of no use).
    """

    id: str
    type: str
    specversion: str
    attributes: Mapping[str, Any]
    data: Any
    body: bytes

    def text(self, name: str) -> str:
        """The attribute as text; empty when it is absent or not text."""
        value = self.attributes.get(name)
        return value if isinstance(value, str) else ""


@dataclass(frozen=True, slots=True)
class ActionTriggered:
    """The trigger: one `sh.keptn.event.action.triggered`, parsed.

    `action` is the name as sent, trimmed; `value` is `data.action.value`, or `values` where that is
    missing; `labels` are text. What else the event carries is in `data` and `problem`.
    """

    id: str
    source: str
    context: str
    specversion: str
    project: str
    stage: str
    service: str
    action: str
    value: Any
    labels: Mapping[str, str]
    keptn_spec_version: str
    git_commit_id: str
    traceparent: str
    tracestate: str
    body: bytes

    @property
    def data(self) -> dict[str, Any]:
        """The whole `data` block, decoded anew on each access."""
        data: dict[str, Any] = orjson.loads(self.body)["data"]
        return data

    @property
    def problem(self) -> Problem:
        """The problem that led here; empty when the sequence was triggered by hand."""
        return Problem(self.data.get("problem"))


class Problem:
    """`data.problem`, looked up without regard to case (contract §5.3)."""

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


ReportKind = Literal["started", "finished", "log.error"]
_TYPES: Final[Mapping[ReportKind, str]] = {
    "started": STARTED,
    "finished": FINISHED,
    "log.error": LOG_ERROR,
}


@dataclass(frozen=True, slots=True)
class Report:
    """An event we owe Keptn. `execution` is None for what belongs to no trigger."""

    kind: ReportKind
    execution: str | None
    body: bytes

    @property
    def type(self) -> str:
        """The CloudEvents type."""
        return _TYPES[self.kind]


def read(headers: Mapping[str, str], body: bytes) -> Event:
    """Read one CloudEvent from an HTTP message, in structured or binary mode.

    `headers` is looked up without regard to case, or has lower-case names. The mode follows from
    Content-Type first, so that a stray `ce-` header of a mesh can't turn a structured event into a
    broken binary one (CloudEvents HTTP binding §3).

    Raises:
        NotACloudEvent: with the attribute that is wrong.
    """
    media_type = headers.get("content-type", "").partition(";")[0].strip().lower()
    if media_type == STRUCTURED:
        return read_structured(body)
    if media_type.startswith(_BATCH):
        raise NotACloudEvent("batches are not taken, send one event", unsupported_media_type=True)
    named = {name.lower(): value for name, value in headers.items()}
    if any(name.startswith("ce-") for name in named):
        return _read_binary(named, body)
    if media_type == "application/json":
        return read_structured(body)
    raise NotACloudEvent(
        f"send {STRUCTURED}, or ce- headers for binary mode", unsupported_media_type=True
    )


def read_structured(body: bytes) -> Event:
    """Read one CloudEvent from its structured JSON form.

    Raises:
        NotACloudEvent: with the attribute that is wrong.
    """
    raw = _json(body)
    if isinstance(raw, list):
        raise NotACloudEvent("batches are not taken, send one event", unsupported_media_type=True)
    if not _is_object(raw):
        raise NotACloudEvent("the body is not a JSON object")
    version = _check_presence(raw)
    event = _sdk(lambda factory: from_structured(HTTPMessage({}, body), _Known(raw), factory), raw)
    return _event(event, version, body)


def _read_binary(headers: Mapping[str, str], body: bytes) -> Event:
    attributes: dict[str, Any] = {
        name[3:]: value for name, value in headers.items() if name.startswith("ce-")
    }
    for name, value in attributes.items():
        if not value.isascii() and _is_broken(value):
            raise NotACloudEvent(f"header ce-{name} is not UTF-8", name)
    version = _check_presence(attributes)
    if "time" in attributes:
        attributes["time"] = _time(unquote(attributes["time"])).isoformat()
    kept = {f"ce-{name}": value for name, value in attributes.items()}
    if content_type := headers.get("content-type"):
        kept["content-type"] = content_type
    event = _sdk(lambda factory: from_binary(HTTPMessage(kept, body), _FORMAT, factory), attributes)
    return _event(event, version, b"")


def _is_broken(text: str) -> bool:
    """Whether it stands for bytes that are no UTF-8, which JSON can't hold."""
    return any("\ud800" <= character <= "\udfff" for character in text)


def _json(body: bytes) -> Any:
    """The body decoded. What couldn't be written again, such as 300 levels of it, is refused."""
    try:
        decoded = orjson.loads(body)
        if body.count(b"[") + body.count(b"{") > SURE_LEVELS:
            orjson.dumps(decoded)
    except orjson.JSONDecodeError as error:
        raise NotACloudEvent(f"the body is not JSON: {error}") from None
    except orjson.JSONEncodeError as error:
        raise NotACloudEvent(f"the body can't be kept: {error}") from None
    return decoded


def _is_object(decoded: Any) -> TypeGuard[dict[str, Any]]:
    """Whether it is a JSON object, of which the names are text."""
    return isinstance(decoded, dict)


def _check_presence(attributes: dict[str, Any]) -> str:
    """Drop what is absent in Keptn's sense and refuse what the SDK would invent; keep the version.

    Go writes absent attributes as empty text; foreign extension names are none of our business.
    """
    for name in [name for name in attributes if not _kept(name, attributes[name])]:
        del attributes[name]
    for name in _REQUIRED:
        if name not in attributes:
            raise NotACloudEvent(f"attribute {name} is missing", name)
    version = attributes["specversion"]
    if version in _LEGACY_VERSIONS:
        # The SDK knows 0.3, of which 0.2 differs for us only in the name of the content type.
        attributes["specversion"] = "0.3"
        if "contenttype" in attributes:
            attributes.setdefault("datacontenttype", attributes.pop("contenttype"))
    elif version != "1.0":
        raise NotACloudEvent("specversion is none of 1.0, 0.3, 0.2", "specversion")
    return str(version)


def _kept(name: str, value: Any) -> bool:
    if name in ("data", "data_base64") or name in _REQUIRED:
        return value is not None or name == "data"
    if name in _OPTIONAL:
        return value is not None and value != ""
    return isinstance(value, str | int) and _EXTENSION_NAME.fullmatch(name) is not None


def _sdk(
    build: Callable[[EventFactory | None], BaseCloudEvent], attributes: Mapping[str, Any]
) -> BaseCloudEvent:
    """Let the SDK build and validate the event; its five kinds of exception become one."""
    factory: EventFactory | None = CloudEvent if attributes["specversion"] == "1.0" else None
    try:
        event = build(factory)
    except CloudEventValidationError as error:
        name, problems = next(iter(error.errors.items()))
        raise NotACloudEvent(str(problems[0]), name) from None
    except (ValueError, TypeError, AttributeError, RecursionError) as error:
        raise NotACloudEvent(str(error)) from None
    return event


def _event(event: BaseCloudEvent, version: str, body: bytes) -> Event:
    attributes = event.get_attributes()
    data = event.get_data()
    if not body and isinstance(data, dict):
        body = orjson.dumps({**attributes, "specversion": version, "data": data})
    return Event(event.get_id(), event.get_type(), version, attributes, data, body)


def _time(text: object) -> datetime:
    if not isinstance(text, str) or not _RFC3339.fullmatch(text):
        raise NotACloudEvent("time is not an RFC 3339 time with a zone", "time")
    try:
        return datetime.fromisoformat(text.upper())
    except ValueError:
        raise NotACloudEvent("time is not an RFC 3339 time with a zone", "time") from None


class _OrjsonFormat(JSONFormat):
    """The SDK's JSON format on orjson: refuses NaN and broken data, writes no null attribute."""

    def read_data(self, body: bytes, datacontenttype: str | None) -> Any:
        if not body:
            return None
        if datacontenttype is None or self.JSON_CONTENT_TYPE_PATTERN.match(datacontenttype):
            return _json(body)
        return super().read_data(body, datacontenttype)

    def write(self, event: BaseCloudEvent) -> bytes:
        attributes = event.get_attributes()
        time = _timestamp(attributes["time"])
        return orjson.dumps({**attributes, "time": time, "data": event.get_data()})


class _Known(_OrjsonFormat):
    """Reads from JSON that was decoded and checked before."""

    def __init__(self, raw: dict[str, Any]) -> None:
        self._raw = raw

    def read(self, event_factory: EventFactory | None, data: str | bytes) -> BaseCloudEvent:
        attributes = self._raw
        if "time" in attributes:
            attributes["time"] = _time(attributes["time"])
        content = attributes.pop("data", None)
        if event_factory is None or "data_base64" in attributes:
            attributes = {**attributes, "data": content} if content is not None else attributes
            return super().read(event_factory, orjson.dumps(attributes))
        return event_factory(attributes, content)


_FORMAT: Final = _OrjsonFormat()


class _ActionBlock(BaseModel):
    model_config = ConfigDict(str_strip_whitespace=True)
    action: str = ""
    value: Any = None
    values: Any = None


class _DataBlock(BaseModel):
    project: str = Field(min_length=1, max_length=MAX_ATTRIBUTE_CHARACTERS)
    stage: str = Field(min_length=1, max_length=MAX_ATTRIBUTE_CHARACTERS)
    service: str = Field(min_length=1, max_length=MAX_ATTRIBUTE_CHARACTERS)
    labels: Any = None
    action: _ActionBlock


def trigger(event: Event) -> ActionTriggered:
    """The event as a trigger.

    Raises:
        Unusable: it is no `action.triggered`, or lacks what every answer must hold.
    """
    if event.type != TRIGGERED:
        raise Unusable(f"type {event.type[:100]} is not {TRIGGERED}")
    context = event.text("shkeptncontext")
    if not context:
        raise Unusable("shkeptncontext is missing")
    if max(len(event.id), len(context)) > MAX_ATTRIBUTE_CHARACTERS:
        raise Unusable(f"id or shkeptncontext is over {MAX_ATTRIBUTE_CHARACTERS} characters")
    if not _is_object(event.data):
        raise Unusable("data is not an object")
    try:
        data = _DataBlock.model_validate(event.data)
    except ValidationError as error:
        raise Unusable(_first_mistake(error)) from None
    return ActionTriggered(
        id=event.id,
        source=event.text("source"),
        context=context,
        specversion=event.specversion,
        project=data.project,
        stage=data.stage,
        service=data.service,
        action=data.action.action,
        value=data.action.values if data.action.value is None else data.action.value,
        labels=_labels(data.labels),
        keptn_spec_version=event.text("shkeptnspecversion")[:64] or KEPTN_SPEC_VERSION,
        git_commit_id=event.text("gitcommitid")[:MAX_ATTRIBUTE_CHARACTERS],
        traceparent=event.text("traceparent")[:MAX_ATTRIBUTE_CHARACTERS],
        tracestate=event.text("tracestate")[:MAX_ATTRIBUTE_CHARACTERS],
        body=event.body,
    )


def stored_trigger(body: bytes) -> ActionTriggered:
    """The trigger from the structured JSON form that the journal keeps."""
    return trigger(read_structured(body))


def _first_mistake(error: ValidationError) -> str:
    mistake = error.errors(include_url=False, include_input=False)[0]
    return f"data.{'.'.join(map(str, mistake['loc']))}: {mistake['msg']}"


def _labels(labels: Any) -> Mapping[str, str]:
    """Labels as text: the control plane drops an event with any other label (contract §1)."""
    if not _is_object(labels):
        return {}
    return {
        name: value if isinstance(value, str) else orjson.dumps(value).decode()
        for name, value in labels.items()
    }


@dataclass(frozen=True, slots=True)
class Replies:
    """Writes our answers to a trigger, all under one `source`.

    `mirror_outcome` repeats the outcome in `data.action`, where Keptn's documentation and 0.7
    expect it (contract §3.3).
    """

    source: str
    mirror_outcome: bool = True

    def started(self, trigger: ActionTriggered, now: datetime) -> Report:
        """`action.started`, which promises a `finished`."""
        return self._report("started", trigger, now, _scope(trigger))

    def finished(
        self,
        trigger: ActionTriggered,
        now: datetime,
        *,
        status: str,
        result: str,
        message: str,
        details: Mapping[str, Any],
    ) -> Report:
        """`action.finished`; `details` go under the key `remedy` as text and maps of text."""
        data: dict[str, Any] = {
            **_scope(trigger),
            "status": status,
            "result": result,
            "message": message[:MAX_MESSAGE_CHARACTERS],
            "remedy": as_text(details),
        }
        if self.mirror_outcome or trigger.specversion == "0.2":
            mirrored = "failed" if result == "fail" else "pass"
            data["action"] = {"status": status, "result": mirrored}
        return self._report("finished", trigger, now, data)

    def error_log(self, trigger: ActionTriggered | None, now: datetime, message: str) -> Report:
        """`sh.keptn.log.error`; without a trigger in the form that belongs to no sequence."""
        data = {"message": message[:MAX_MESSAGE_CHARACTERS]}
        if trigger is not None:
            data["task"] = "action"
        return self._report("log.error", trigger, now, data)

    def _report(
        self,
        kind: ReportKind,
        trigger: ActionTriggered | None,
        now: datetime,
        data: dict[str, Any],
    ) -> Report:
        attributes: dict[str, Any] = {
            "specversion": "1.0",
            "id": report_id(trigger.id if trigger else f"{now.isoformat()} {data}", kind),
            "source": self.source,
            "type": _TYPES[kind],
            "datacontenttype": "application/json",
            "time": now,
        }
        if trigger is not None:
            attributes["shkeptncontext"] = trigger.context
            attributes["triggeredid"] = trigger.id
            attributes["shkeptnspecversion"] = trigger.keptn_spec_version
            optional = {
                "gitcommitid": trigger.git_commit_id,
                "traceparent": trigger.traceparent,
                "tracestate": trigger.tracestate,
            }
            attributes.update({name: value for name, value in optional.items() if value})
        legacy = trigger is not None and trigger.specversion == "0.2"
        body = _write(attributes, data, legacy=legacy)
        while len(body) > MAX_REPORT_BYTES and _shrink(data):
            body = _write(attributes, data, legacy=legacy)
        return Report(kind, trigger.id if trigger else None, body)


def report_id(trigger_id: str, kind: ReportKind) -> str:
    """The same for every attempt to send one report (UUIDv5 of the trigger's id and the kind)."""
    return str(uuid5(_REPORT_IDS, f"{kind} {trigger_id}"))


def _write(attributes: dict[str, Any], data: dict[str, Any], *, legacy: bool) -> bytes:
    body = to_structured_event(CloudEvent(attributes, data), _FORMAT).body
    if not legacy:
        return body
    # Keptn 0.7 speaks CloudEvents 0.2, which the SDK doesn't write (contract E12).
    event = orjson.loads(body)
    event["specversion"] = "0.2"
    event["contenttype"] = event.pop("datacontenttype")
    return orjson.dumps(event)


def _scope(trigger: ActionTriggered) -> dict[str, Any]:
    return {
        "project": trigger.project,
        "stage": trigger.stage,
        "service": trigger.service,
        "labels": dict(trigger.labels),
    }


def _shrink(data: dict[str, Any]) -> bool:
    """Cut what may be cut, dearest last; False when nothing is left to cut."""
    if len(data.get("message", "")) > 200:
        data["message"] = data["message"][:200]
    elif data.get("remedy"):
        data["remedy"] = {}
    elif data.get("labels"):
        data["labels"] = {}
    else:
        return False
    return True


def as_text(value: Mapping[str, Any]) -> dict[str, Any]:
    """Text and maps only: Keptn freezes numbers and concatenates lists (contract §4.5)."""
    return {str(name): _text_or_map(item) for name, item in value.items()}


def _text_or_map(value: Any) -> Any:
    if isinstance(value, Mapping):
        return as_text(cast("Mapping[str, Any]", value))
    if isinstance(value, str):
        return value
    try:
        return orjson.dumps(value, default=str, option=orjson.OPT_NON_STR_KEYS).decode()
    except orjson.JSONEncodeError:  # a number beyond 64 bits, half a surrogate
        return repr(value)


def _timestamp(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")

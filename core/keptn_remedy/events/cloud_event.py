"""Reading and writing CloudEvents: the only module that uses the SDK, with the checks it lacks."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final, TypeGuard
from urllib.parse import unquote

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

STRUCTURED: Final = "application/cloudevents+json"
# Every JSON reader and writer handles fewer levels than this.
SURE_LEVELS: Final = 200
_BATCH: Final = "application/cloudevents-batch"
_NO_BATCH: Final = "batches are not supported; send one event per request"
_REQUIRED: Final = ("specversion", "id", "source", "type")
_OPTIONAL: Final = ("datacontenttype", "dataschema", "subject", "time")
_KEPTN: Final = ("shkeptncontext", "shkeptnspecversion", "triggeredid", "gitcommitid")
_USUAL: Final = frozenset((*_REQUIRED, *_OPTIONAL, *_KEPTN, "contenttype", "data"))
# Of events that need no second look if these are text: those that Keptn sends are no other ones.
_PLAIN: Final = frozenset((*_USUAL, "traceparent", "tracestate"))
_LEGACY_VERSIONS: Final = ("0.2", "0.3")
_EXTENSION_NAME: Final = re.compile(r"[a-z0-9]+")
_RFC3339: Final = re.compile(
    r"\d{4}-\d\d-\d\d[Tt]\d\d:\d\d:\d\d(\.\d+)?([Zz]|[+-]\d\d:\d\d)", re.ASCII
)


class NotACloudEvent(Exception):
    """A request that is not a valid CloudEvent.

    `attribute` names the wrong one; `unsupported_media_type` asks for HTTP 415 rather than 400.
    """

    def __init__(
        self, reason: str, attribute: str | None = None, *, unsupported_media_type: bool = False
    ) -> None:
        super().__init__(reason)
        self.reason = reason
        self.attribute = attribute
        self.unsupported_media_type = unsupported_media_type


# Not frozen: that triples what making one costs, and each event makes one. So it is with others.
@dataclass(slots=True)
class Event:
    """A CloudEvent as it was received. Nobody changes it.

    `specversion` is the one it was sent with. `body` is its structured JSON form; it is empty for
    an event in binary mode whose `data` is not a map, which no one here can use.
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

    @property
    def time(self) -> datetime | None:
        """When it was sent; None where the sender didn't say.

        The body decides, because the SDK puts the current time among the attributes.
        """
        time = self.attributes.get("time")
        has_time = bool(self.body and orjson.loads(self.body).get("time"))
        return time if has_time and isinstance(time, datetime) else None


def read(headers: Mapping[str, str], body: bytes) -> Event:
    """Read one CloudEvent from an HTTP message, in structured or binary mode.

    `headers` ignores case, or has lower-case names. Content-Type decides the mode first, so that a
    `ce-` header added by a mesh can't turn a structured event into a broken binary one (CloudEvents
    HTTP binding §3).

    Raises:
        NotACloudEvent: it is invalid.
    """
    media_type = headers.get("content-type", "").partition(";")[0].strip().lower()
    if media_type == STRUCTURED:
        return read_structured(body)
    if media_type.startswith(_BATCH):
        raise NotACloudEvent(_NO_BATCH, unsupported_media_type=True)
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
        NotACloudEvent: it is invalid.
    """
    raw = _json(body)
    if isinstance(raw, list):
        raise NotACloudEvent(_NO_BATCH, unsupported_media_type=True)
    if not is_object(raw):
        raise NotACloudEvent("the body is not a JSON object")
    if _is_plain(raw):
        raw["time"] = _time(raw["time"])
        return _event(raw, raw.pop("data", None), "1.0", body)
    version = _check_presence(raw)
    event = _sdk(lambda factory: from_structured(HTTPMessage({}, body), _Known(raw), factory), raw)
    return _event(event.get_attributes(), event.get_data(), version, body)


def _is_plain(attributes: Mapping[str, Any]) -> bool:
    """Whether it is plainly an event of version 1.0, which the SDK would read as it is, if only its
    time is one. The SDK takes 20 µs to find that out.
    """
    if attributes.get("specversion") != "1.0" or not attributes.keys() <= _PLAIN:
        return False
    if not ("id" in attributes and "source" in attributes and "type" in attributes):
        return False
    for name, value in attributes.items():
        if (type(value) is not str or not value) and name != "data":
            return False
    return "time" in attributes


def _is_plain_in_headers(attributes: Mapping[str, Any]) -> bool:
    """The same for attributes from headers, where nothing may have to be decoded."""
    return _is_plain(attributes) and "data" not in attributes and "%" not in str(attributes)


def _read_binary(headers: Mapping[str, str], body: bytes) -> Event:
    attributes: dict[str, Any] = {
        name[3:]: value for name, value in headers.items() if name.startswith("ce-")
    }
    for name, value in attributes.items():
        if not value.isascii() and _is_broken(value):
            raise NotACloudEvent(f"header ce-{name} is not UTF-8", name)
    version = _check_presence(attributes)
    content_type = headers.get("content-type")
    if content_type == "application/json" and _is_plain_in_headers(attributes):
        attributes |= {"time": _time(attributes["time"]), "datacontenttype": content_type}
        return _event(attributes, _FORMAT.read_data(body, content_type), version, b"")
    if "time" in attributes:
        attributes["time"] = _time(unquote(attributes["time"])).isoformat()
    kept = {f"ce-{name}": value for name, value in attributes.items()}
    if content_type:
        kept["content-type"] = content_type
    event = _sdk(lambda factory: from_binary(HTTPMessage(kept, body), _FORMAT, factory), attributes)
    return _event(event.get_attributes(), event.get_data(), version, b"")


def _is_broken(text: str) -> bool:
    """Whether it stands for bytes that are not UTF-8, which JSON can't hold."""
    return any("\ud800" <= character <= "\udfff" for character in text)


def _json(body: bytes) -> Any:
    """The body decoded; invalid if it couldn't be written again, such as one with 300 levels."""
    try:
        decoded = orjson.loads(body)
        if body.count(b"[") + body.count(b"{") > SURE_LEVELS:
            orjson.dumps(decoded)
    except orjson.JSONDecodeError as error:
        raise NotACloudEvent(f"the body is not JSON: {error}") from None
    except orjson.JSONEncodeError as error:
        raise NotACloudEvent(f"the body can't be stored: {error}") from None
    return decoded


def _check_presence(attributes: dict[str, Any]) -> str:
    """Drop attributes without a value, require those that the SDK would make up, and return the
    specversion.

    Go writes an absent attribute as empty text. Extensions with invalid names are dropped too.
    """
    for name in [n for n, v in attributes.items() if not (v and n in _USUAL) and not _kept(n, v)]:
        del attributes[name]
    for name in _REQUIRED:
        if name not in attributes:
            raise NotACloudEvent(f"attribute {name} is missing", name)
    version = attributes["specversion"]
    if version in _LEGACY_VERSIONS:
        # The SDK reads 0.3. For us 0.2 differs only in the name of the content type.
        attributes["specversion"] = "0.3"
        if "contenttype" in attributes:
            attributes.setdefault("datacontenttype", attributes.pop("contenttype"))
    elif version != "1.0":
        raise NotACloudEvent("specversion must be 1.0, 0.3 or 0.2", "specversion")
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
    """Let the SDK build and validate the event, and raise one kind of exception for its five."""
    factory: EventFactory | None = CloudEvent if attributes["specversion"] == "1.0" else None
    try:
        event = build(factory)
    except CloudEventValidationError as error:
        name, problems = next(iter(error.errors.items()))
        raise NotACloudEvent(str(problems[0]), name) from None
    except (ValueError, TypeError, AttributeError, RecursionError) as error:
        raise NotACloudEvent(str(error)) from None
    return event


def _event(attributes: dict[str, Any], data: Any, version: str, body: bytes) -> Event:
    if not body and isinstance(data, dict):
        body = orjson.dumps({**attributes, "specversion": version, "data": data})
    return Event(attributes["id"], attributes["type"], version, attributes, data, body)


def _time(text: object) -> datetime:
    if not isinstance(text, str) or not _RFC3339.fullmatch(text):
        raise NotACloudEvent("time must be an RFC 3339 time with a zone", "time")
    try:
        return datetime.fromisoformat(text.upper())
    except ValueError:
        raise NotACloudEvent("time must be an RFC 3339 time with a zone", "time") from None


def write_structured(attributes: dict[str, Any], data: dict[str, Any], *, legacy: bool) -> bytes:
    body = to_structured_event(CloudEvent(attributes, data), _FORMAT).body
    if not legacy:
        return body
    # Keptn 0.7 expects CloudEvents 0.2, which the SDK can't write (docs/keptn.md#k47).
    event = orjson.loads(body)
    event["specversion"] = "0.2"
    event["contenttype"] = event.pop("datacontenttype")
    return orjson.dumps(event)


def is_object(decoded: Any) -> TypeGuard[dict[str, Any]]:
    """Whether it is a JSON object."""
    return isinstance(decoded, dict)


def is_array(decoded: Any) -> TypeGuard[list[Any]]:
    """Whether it is a JSON array."""
    return isinstance(decoded, list)


class _OrjsonFormat(JSONFormat):
    """The SDK's JSON format with orjson: rejects NaN and broken data, writes no null attribute."""

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
    """Reads an event from JSON that is already decoded and checked."""

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


def _timestamp(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")

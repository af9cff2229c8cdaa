"""Plain events pass by the CloudEvents SDK, which is the oracle for what they are."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any
from uuid import NAMESPACE_URL, uuid5

import orjson
import pytest
from cloudevents.core.exceptions import CloudEventValidationError
from hypothesis import example, given, settings
from hypothesis import strategies as st

from keptn_remedy import events
from keptn_remedy.events import NotACloudEvent, Replies, cloud_event, trigger
from keptn_remedy.testing import triggered

STRUCTURED = {"content-type": events.STRUCTURED}
KEPTN = {"gitcommitid": "abc", "traceparent": "00-1-2-01", "tracestate": "a=b"}
PLAIN: dict[str, Any] = {**triggered("scaling", "2"), **KEPTN}
NAMES = [*PLAIN, "subject", "dataschema", "contenttype", "data_base64", "foreign", "Foreign"]
TEXTS = [
    *("", " ", "1.0", "0.3", "0.2", "a b", "ä", "%41", '"', "\0", "e30=", "yesterday"),
    *("2020-01-01t00:00:00.123456789z", "2020-13-01T00:00:00Z", "2020-01-01T24:00:00+02:00"),
    *("2020-01-01T00:00:60Z", "2020-01-01T00:00:00", "application/json", "text/plain"),
]
ODD: st.SearchStrategy[Any] = st.sampled_from(
    [*TEXTS, None, 0, 7, True, False, 1.5, [], {}, {"a": [{}]}]
)
CHANGES = st.dictionaries(st.sampled_from(NAMES), ODD | st.just(...), max_size=3)
HEADERS = st.dictionaries(
    st.sampled_from(NAMES), st.sampled_from([*TEXTS, "\udcff", ...]), max_size=3
)
MEDIA_TYPES = st.sampled_from([None, "", "application/json", "application/json; a=b", "text/plain"])
BODIES = st.sampled_from([b"", b"{}", b"[1]", b"7", b"{broken", b"\xff", orjson.dumps(PLAIN)])
TEXT = st.text(max_size=3)

examples = settings(max_examples=100, deadline=None)


def changed(plain: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in {**plain, **changes}.items() if value is not ...}


def read(headers: dict[str, str], body: bytes) -> object:
    """The event, with its attributes in their order, or why it is none."""
    try:
        event = events.read(headers, body)
    except NotACloudEvent as error:
        return error.reason, error.attribute, error.unsupported_media_type
    # The SDK invents a time where none was sent.
    time = event.time and event.time.isoformat()
    stored = orjson.loads(event.body) | {"time": time} if event.body else b""
    return event.id, event.type, event.specversion, event.data, stored, [
        (name, time if name == "time" else value) for name, value in event.attributes.items()
    ]  # fmt: skip


def read_by_the_sdk(headers: dict[str, str], body: bytes) -> object:
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(cloud_event, "_is_plain", lambda attributes: False)
        return read(headers, body)


def binary(attributes: dict[str, Any], media_type: str | None) -> dict[str, str]:
    headers = {f"ce-{name}": value for name, value in attributes.items()}
    return headers if media_type is None else {**headers, "content-type": media_type}


@examples
@given(CHANGES)
def test_a_structured_event_is_read_as_the_sdk_reads_it(changes: dict[str, Any]) -> None:
    body = orjson.dumps(changed(PLAIN, changes))
    assert read(STRUCTURED, body) == read_by_the_sdk(STRUCTURED, body)


DATA: dict[str, Any] = PLAIN["data"]
IN_DATA = st.dictionaries(
    st.sampled_from(["project", "stage", "service", "labels", "action"]),
    ODD | st.just("x" * 1025) | st.just(...),
    max_size=2,
)
IN_ACTION = st.dictionaries(
    st.sampled_from(["action", "value", "values", "name"]),
    ODD | st.sampled_from(["x" * 1025, " scaling ", ...]),
    max_size=2,
)


def trigger_of(event: events.Event) -> object:
    """The trigger, or why it is none."""
    try:
        return events.trigger_of(event)
    except events.Unusable as error:
        return str(error)


@examples
@given(IN_DATA, IN_ACTION)
def test_a_plain_trigger_is_read_as_pydantic_reads_it(
    in_data: dict[str, Any], in_action: dict[str, Any]
) -> None:
    data = changed({**DATA, "action": changed(DATA["action"], in_action)}, in_data)
    event = events.read(STRUCTURED, orjson.dumps({**PLAIN, "data": data}))
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(trigger, "_plainly", lambda data: None)
        by_pydantic = trigger_of(event)
    assert trigger_of(event) == by_pydantic


@examples
@given(HEADERS, MEDIA_TYPES, BODIES)
@example({"gitcommitid": "%41"}, "application/json", b"{}")
@example({"data": "x"}, "application/json", b"{}")
@example({}, "application/json", b"")
def test_a_binary_event_is_read_as_the_sdk_reads_it(
    changes: dict[str, Any], media_type: str | None, body: bytes
) -> None:
    plain = {name: value for name, value in PLAIN.items() if isinstance(value, str)}
    headers = binary(changed(plain, changes), media_type)
    assert read(headers, body) == read_by_the_sdk(headers, body)


def test_what_keptn_sends_passes_by_the_sdk(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(cloud_event, "_sdk")
    monkeypatch.delattr(cloud_event, "CloudEvent")
    trigger = events.trigger_of(events.read(STRUCTURED, orjson.dumps(PLAIN)))
    attributes = {name: value for name, value in PLAIN.items() if name != "data"}
    headers = binary(attributes, "application/json")
    assert events.read(headers, orjson.dumps(PLAIN["data"])).data == PLAIN["data"]
    assert Replies("keptn-remedy").started(trigger, datetime.now(UTC)).body


@examples
@given(TEXT, TEXT, st.datetimes(), st.dictionaries(TEXT, TEXT, max_size=2), CHANGES)
def test_a_report_is_written_as_the_sdk_writes_it(
    source: str, message: str, now: datetime, details: dict[str, str], changes: dict[str, Any]
) -> None:
    try:
        event = events.read(STRUCTURED, orjson.dumps(changed(PLAIN, changes)))
        trigger = events.trigger_of(event)
    except (NotACloudEvent, events.Unusable):
        return
    outcome: dict[str, Any] = {"status": "succeeded", "result": "pass", "message": message}
    replies = Replies(source or "keptn-remedy")
    for report in (
        replies.started(trigger, now.replace(tzinfo=UTC)),
        replies.finished(trigger, now.replace(tzinfo=UTC), details=details, **outcome),
    ):
        written = orjson.loads(report.body)
        data = written.pop("data")
        is_legacy = written["specversion"] == "0.2"
        if is_legacy:
            written |= {"specversion": "1.0", "datacontenttype": written.pop("contenttype")}
        time = datetime.fromisoformat(written["time"])
        by_the_sdk = cloud_event.write_structured({**written, "time": time}, data, legacy=is_legacy)
        assert orjson.loads(report.body) == orjson.loads(by_the_sdk)
        if not is_legacy:
            assert report.body == by_the_sdk


def test_a_report_that_is_no_event_is_refused_by_the_sdk() -> None:
    trigger = events.trigger_of(events.read(STRUCTURED, orjson.dumps(PLAIN)))
    with pytest.raises(CloudEventValidationError, match="source"):
        Replies("").started(trigger, datetime.now(UTC))


@given(st.text(max_size=20))
def test_a_report_has_the_id_that_uuid5_makes(trigger_id: str) -> None:
    reports = uuid5(NAMESPACE_URL, "https://keptn.sh/keptn-remedy/report")
    expected = uuid5(reports, f"finished {trigger_id}")
    assert events.report_id(trigger_id, "finished") == str(expected)

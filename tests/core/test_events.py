"""Events: what is read, what is refused, and what our replies look like."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import orjson
import pytest

from keptn_remedy import events
from keptn_remedy.events import NotACloudEvent, Replies, Unusable
from keptn_remedy.events.bounds import bounded, shortened
from keptn_remedy.testing import triggered

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
STRUCTURED = {"content-type": "application/cloudevents+json"}
BINARY = {
    "content-type": "application/json",
    "ce-specversion": "1.0",
    "ce-id": "7",
    "ce-source": "shipyard-controller",
    "ce-type": events.TRIGGERED,
    "ce-shkeptncontext": "context",
}
REPLIES = Replies("keptn-remedy")


def structured(**changes: Any) -> bytes:
    event = {**triggered("scaling", "2"), **changes}
    return orjson.dumps({name: value for name, value in event.items() if value is not ...})


def trigger(**changes: Any) -> events.ActionTriggered:
    return events.trigger_of(events.read(STRUCTURED, structured(**changes)))


def decoded(report: events.Report) -> dict[str, Any]:
    event: dict[str, Any] = orjson.loads(report.body)
    return event


@pytest.mark.parametrize("attribute", ["id", "source", "type", "specversion"])
@pytest.mark.parametrize("value", [..., None, "", 7])
def test_a_required_attribute_that_is_absent_or_no_text_is_refused_by_name(
    attribute: str, value: Any
) -> None:
    with pytest.raises(NotACloudEvent) as caught:
        events.read(STRUCTURED, structured(**{attribute: value}))
    assert caught.value.attribute == attribute


@pytest.mark.parametrize("attribute", ["id", "source", "type", "specversion"])
def test_a_required_attribute_that_is_missing_in_binary_mode_is_refused(attribute: str) -> None:
    headers = {name: value for name, value in BINARY.items() if name != f"ce-{attribute}"}
    with pytest.raises(NotACloudEvent) as caught:
        events.read(headers, b"{}")
    assert caught.value.attribute == attribute


@pytest.mark.parametrize(
    "time",
    ["2020-01-01T00:00:00", "2020-01-01", "yesterday", "1587624420", 7, "2020-13-01T00:00:00Z"],
)
def test_a_time_that_is_not_rfc_3339_with_a_zone_is_refused(time: Any) -> None:
    with pytest.raises(NotACloudEvent) as caught:
        events.read(STRUCTURED, structured(time=time))
    assert caught.value.attribute == "time"


@pytest.mark.parametrize(
    "time",
    [..., None, "", "2019-06-07T07:02:15.64489Z", "2023-04-11T08:15:04.731562103Z",
     "2020-01-01t00:00:00z", "2020-01-01T00:00:00+02:00"],
)  # fmt: skip
def test_every_time_that_keptn_sends_is_read(time: Any) -> None:
    assert events.read(STRUCTURED, structured(time=time)).id


@pytest.mark.parametrize(
    "body", [b"", b"null", b'"x"', b"{", b"\xff", b"\xef\xbb\xbf{}", b"[" * 100_000, b'{"a":NaN}']
)
def test_what_is_no_json_object_is_refused(body: bytes) -> None:
    with pytest.raises(NotACloudEvent):
        events.read(STRUCTURED, body)


@pytest.mark.parametrize(
    "headers",
    [{}, {"content-type": "text/plain"}, {"content-type": "application/cloudevents-batch+json"}],
)
def test_a_media_type_that_holds_no_single_event_is_unsupported(headers: dict[str, str]) -> None:
    with pytest.raises(NotACloudEvent) as caught:
        events.read(headers, structured())
    assert caught.value.unsupported_media_type


def test_a_stray_ce_header_leaves_a_structured_event_as_it_is() -> None:
    read = events.read({**STRUCTURED, "ce-id": "of-a-mesh"}, structured(id="mine"))
    assert read.id == "mine"


def test_json_without_ce_headers_is_read_as_structured() -> None:
    assert events.read({"content-type": "application/json"}, structured(id="mine")).id == "mine"


def test_a_binary_event_is_the_same_trigger_after_the_journal() -> None:
    body = orjson.dumps(triggered("scaling", "2")["data"])
    read = events.trigger_of(events.read({**BINARY, "ce-time": "2020-01-01T00:00:00Z"}, body))
    assert (read.id, read.action, read.value) == ("7", "scaling", "2")
    assert events.stored_trigger(read.body) == read


def test_broken_json_in_binary_mode_is_refused() -> None:
    with pytest.raises(NotACloudEvent):
        events.read(BINARY, b"{broken")


def test_foreign_extensions_that_break_the_naming_rule_are_dropped() -> None:
    read = events.read(
        STRUCTURED, structured(shkeptnContext="x", extensions={"a": 1}, contentType="y")
    )
    assert not {"shkeptnContext", "extensions", "contentType"} & set(read.attributes)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"type": "sh.keptn.event.prod.remediation.triggered"}, "type"),
        ({"shkeptncontext": ...}, "shkeptncontext"),
        ({"shkeptncontext": ""}, "shkeptncontext"),
        ({"shkeptncontext": 7}, "shkeptncontext"),
        ({"id": "x" * 2000}, "1024"),
        ({"data": ...}, "data"),
        ({"data": []}, "data"),
        ({"data": "text"}, "data"),
        ({"data": {"stage": "s", "service": "s", "action": {}}}, "data.project"),
        ({"data": {"project": "", "stage": "s", "service": "s", "action": {}}}, "data.project"),
        ({"data": {"project": "p", "stage": "s", "service": 7, "action": {}}}, "data.service"),
        ({"data": {"project": "p", "stage": "s", "service": "s"}}, "data.action"),
        ({"data": {"project": "p", "stage": "s", "service": "s", "action": "x"}}, "data.action"),
    ],
)
def test_an_event_that_nobody_could_answer_is_unusable_and_says_why(
    changes: dict[str, Any], reason: str
) -> None:
    with pytest.raises(Unusable, match=reason):
        trigger(**changes)


def test_values_stands_in_for_a_missing_value() -> None:
    data = triggered("toggle-feature")["data"]
    data["action"]["values"] = {"promo": "off"}
    assert trigger(data=data).value == {"promo": "off"}


def test_a_value_of_false_is_not_missing() -> None:
    data = triggered("toggle-feature")["data"]
    data["action"] |= {"value": False, "values": 7}
    assert trigger(data=data).value is False


@pytest.mark.parametrize("labels", [None, [], "text", 7])
def test_labels_that_are_no_map_count_as_none(labels: Any) -> None:
    assert trigger(data={**triggered("scaling")["data"], "labels": labels}).labels == {}


def test_labels_that_are_no_text_become_their_json_text_and_null_becomes_empty() -> None:
    labels = {"text": "t", "number": 1.5, "flag": True, "nothing": None, "map": {"a": [1]}}
    read = trigger(data={**triggered("scaling")["data"], "labels": labels})
    assert read.labels == {
        "text": "t", "number": "1.5", "flag": "true", "nothing": "", "map": '{"a":[1]}',
    }  # fmt: skip


def test_problem_fields_are_found_in_any_case_and_camel_case_wins() -> None:
    problem = {"ProblemTitle": "pascal", "problemTitle": "camel", "ROOTCAUSE": "cpu"}
    found = trigger(data={**triggered("scaling")["data"], "problem": problem}).problem
    assert (found.title, found.root_cause, found.url) == ("camel", "cpu", "")


def test_a_started_holds_the_scope_and_the_task_and_nothing_else() -> None:
    read = trigger(gitcommitid="abc", traceparent="00-1-2-01")
    event = decoded(REPLIES.started(read, NOW))
    assert event["data"] == {
        "project": "sockshop", "stage": "production", "service": "carts", "labels": {},
    }  # fmt: skip
    assert event["triggeredid"] == read.id
    assert event["shkeptncontext"] == read.context
    assert (event["gitcommitid"], event["traceparent"]) == ("abc", "00-1-2-01")
    assert (event["specversion"], event["time"]) == ("1.0", "2026-01-02T03:04:05.000Z")


@pytest.mark.parametrize(
    ("result", "mirrored"), [("pass", "pass"), ("warning", "pass"), ("fail", "failed")]
)
def test_the_outcome_is_mirrored_as_keptns_documentation_words_it(
    result: str, mirrored: str
) -> None:
    finished = REPLIES.finished(
        trigger(), NOW, status="succeeded", result=result, message="", details={}
    )
    assert decoded(finished)["data"]["result"] == result
    assert decoded(finished)["data"]["action"] == {"status": "succeeded", "result": mirrored}


def test_the_mirror_can_be_switched_off_except_for_keptn_0_7() -> None:
    quiet = Replies("keptn-remedy", mirror_outcome=False)
    outcome: dict[str, Any] = {
        "status": "succeeded",
        "result": "pass",
        "message": "",
        "details": {},
    }
    assert "action" not in decoded(quiet.finished(trigger(), NOW, **outcome))["data"]
    legacy = trigger(specversion="0.2", time="2020-09-21T13:40:11.512Z")
    assert "action" in decoded(quiet.finished(legacy, NOW, **outcome))["data"]


def test_a_0_2_trigger_is_answered_in_0_2() -> None:
    event = decoded(
        REPLIES.started(trigger(specversion="0.2", contenttype="application/json"), NOW)
    )
    assert (event["specversion"], event["contenttype"]) == ("0.2", "application/json")
    assert "datacontenttype" not in event


def test_details_are_sent_as_text_and_maps_only() -> None:
    finished = REPLIES.finished(
        trigger(), NOW, status="succeeded", result="pass", message="",
        details={"n": 1, "list": [1, {"a": 2}], "map": {"deep": True, 7: None}},
    )  # fmt: skip
    assert decoded(finished)["data"]["remedy"] == {
        "n": "1", "list": '[1,{"a":2}]', "map": {"deep": "true", "7": "null"},
    }  # fmt: skip


@pytest.mark.parametrize(
    "too_much",
    [
        {"message": "x" * 200_000},
        {"message": "é" * 200_000, "details": {"log": "y" * 200_000, "execution": "e1"}},
    ],
)
def test_a_report_stays_under_its_limit_whatever_the_action_says(too_much: dict[str, Any]) -> None:
    outcome = {"status": "errored", "result": "fail", "message": "", "details": {}, **too_much}
    report = REPLIES.finished(trigger(), NOW, **outcome)
    assert len(report.body) <= events.MAX_REPORT_BYTES
    data = decoded(report)["data"]
    assert data["status"] == "errored"
    assert len(data["message"]) <= 2_000
    assert data["message"].endswith(" … (cut)")
    if "details" in too_much:
        assert len(data["message"]) == 200
        assert data["remedy"] == {"execution": "e1", "cut": "the details were left out"}


def test_a_short_message_is_whole_and_a_long_one_is_cut_with_a_mark() -> None:
    assert shortened("x" * 2_000) == "x" * 2_000
    assert shortened("x" * 2_001) == "x" * 1_992 + " … (cut)"


def test_details_are_bounded_and_say_what_was_left_out() -> None:
    few = {"n": "1", "map": {"a": "b"}}
    assert bounded(few) is few
    one = bounded({"log": "y" * 5_000_000, "n": "1"})
    assert one == {"log": shortened("y" * 5_000_000), "n": "1"}
    many = bounded({f"detail {n}": {"deep": "z" * 3_000} for n in range(100)})
    assert len(orjson.dumps(many)) <= 64 * 1024
    assert many["detail 0"].startswith('{"deep":"zzz')
    assert many["cut"] == f"{101 - len(many)} of 100 details were left out"


def test_labels_that_would_burst_a_report_are_left_out_last() -> None:
    read = trigger(data={**triggered("scaling")["data"], "labels": {"log": "z" * 100_000}})
    event = decoded(REPLIES.started(read, NOW))
    assert event["data"]["labels"] == {}


def test_report_ids_depend_on_the_trigger_and_the_kind_alone() -> None:
    read = trigger(id="a")
    first = decoded(REPLIES.started(read, NOW))["id"]
    later = decoded(REPLIES.started(read, datetime.now(UTC)))["id"]
    assert first == later
    assert len({first, events.report_id("a", "finished"), events.report_id("b", "started")}) == 3


def test_a_log_entry_without_a_trigger_belongs_to_no_task() -> None:
    event = decoded(REPLIES.error_log(None, NOW, "the journal failed"))
    assert event["data"] == {"message": "the journal failed"}
    assert not {"triggeredid", "shkeptncontext"} & set(event)

"""What the screens make of records, without a browser."""

from __future__ import annotations

import math
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import orjson
import pytest

from keptn_remedy import Change, Plan
from keptn_remedy.events import LADDER, REQUEST
from keptn_remedy.journal import (
    Cursor,
    FailedAttempt,
    Hour,
    OpenReport,
    Question,
    Undo,
    WholeRecord,
)
from keptn_remedy.ops.digests import digest
from keptn_remedy.ops.page import address, pictures
from keptn_remedy.ops.page.links import links
from keptn_remedy.ops.page.views.execution import execution_view
from keptn_remedy.ops.page.views.shown import diffs, lasted
from keptn_remedy.ops.page.views.why_not import WhyNot, why_not
from keptn_remedy.remediation.example import example
from keptn_remedy.support.link_templates import mistake
from keptn_remedy.testing import triggered

AT = datetime(2026, 3, 2, 3, 0, tzinfo=UTC)
PLAN = Plan((Change("deployments.apps/shop/carts", "replicas", 3, 5),))
RECORD = WholeRecord(
    cursor=Cursor(1),
    id="e/1",
    state="finished",
    action="scale",
    context="c&1",
    project="shop",
    stage="prod",
    service="carts",
    accepted_at=AT,
    started_at=AT + timedelta(seconds=5),
    finished_at=AT + timedelta(seconds=65),
    reported_at=AT + timedelta(seconds=66),
    attempts=1,
    status="succeeded",
    result="pass",
    message="5 of 5 replicas are ready",
    undone=None,
    details={},
    plan=PLAN,
    undelivered=(),
    event=orjson.dumps({"data": {"problem": {"ProblemTitle": "slow"}}}),
)


def refused(rail: str, message: str, **details: Any) -> WholeRecord:
    text = f"refused by guard-rail {rail} (calm): {message}; the sequence stops here"
    found = {"rail": rail, "rule": "calm", **details}
    return replace(RECORD, result="fail", message=text, details=found, plan=None)


@pytest.mark.parametrize(
    ("record", "free_at", "until"),
    [
        (
            refused("cooldown", "it ended 1 s ago; allowed again at 2026-03-02T03:20:00Z"),
            datetime(2026, 3, 2, 3, 20, tzinfo=UTC),
            "",
        ),
        (
            refused("settling", "it is settling", seconds_left=90.0),
            AT + timedelta(seconds=65 + 90),
            "",
        ),
        (
            refused("calendar", "it is late; allowed again from Mon 08:00 Europe/Berlin"),
            None,
            "free again from Mon 08:00 Europe/Berlin",
        ),
        (refused("pause", "paused by ada"), None, "free again once somebody resumes"),
    ],
)
def test_why_it_did_not_act_says_when_it_could(
    record: WholeRecord, free_at: datetime | None, until: str
) -> None:
    why = why_not(record, "Keptn")
    assert why
    assert (why.rail, why.rule) == (record.details["rail"], "calm")
    assert (why.free_at, why.until) == (free_at, until)
    assert "allowed again" not in why.sentence  # the page tells it once
    assert why.sentence.endswith("; the sequence stops here")


def test_what_acted_has_no_reason_why_not() -> None:
    assert why_not(RECORD, "Keptn") is None
    assert why_not(replace(RECORD, state="started", status=None), "Keptn") is None
    dry = replace(RECORD, result="warning", message="dry run: 3 -> 5")
    aborted = replace(RECORD, status="aborted", aborted="the sequence was aborted")
    said = [why_not(it, "") or WhyNot("", "", "", None, "") for it in (dry, aborted)]
    assert [each.sentence for each in said] == [
        "dry run: 3 -> 5",
        "Nobody waits for it: the sequence was aborted",
    ]
    why = why_not(aborted, "The ladder")
    assert why
    assert why.sentence == "The ladder no longer waits for it: the sequence was aborted"


def titles(record: WholeRecord) -> list[str]:
    return [step.title for step in execution_view(record, []).steps]


def test_the_time_line_tells_the_whole_story_in_order() -> None:
    undo = Undo("done", cause="an order", by="cleo", asked_at=AT + timedelta(seconds=90))
    undone = replace(undo, ended_at=AT + timedelta(seconds=91), message="put back")
    told = {"approved_by": "ben", "approved_because": "seen"}
    record = replace(RECORD, undo=undone, details=told, attempts=3)
    assert titles(record) == [
        "Received, and stored",
        "Waited 5.0 s for its turn",
        "Begun",
        "Approved by ben",
        "Plan stored: 1 change",
        "3 attempts",
        "Ended: succeeded / pass",
        "The outcome is acknowledged",
        "Undo: an order by cleo",
        "Undo done",
    ]


@pytest.mark.parametrize(
    ("event", "received", "lines", "peer"),
    [
        (triggered("scale"), "Received, and stored", ["from the source shipyard-controller"], True),
        (
            {**triggered("scale"), "source": LADDER},
            "Asked for by the ladder, and stored",
            [],
            True,
        ),
        (
            {**triggered("scale"), "id": f"{REQUEST}1"},
            "Requested by an agent, and stored",
            [],
            False,
        ),
    ],
    ids=["an event", "the ladder", "an agent"],
)
def test_the_time_line_names_who_asked_and_who_is_told(
    event: dict[str, Any], received: str, lines: list[str], *, peer: bool
) -> None:
    record = replace(RECORD, event=orjson.dumps(event))
    view = execution_view(record, [])
    assert (view.steps[0].title, view.steps[0].lines) == (received, lines)
    told = [line for step in view.steps for line in (step.title, *step.lines)]
    assert ("The outcome is acknowledged" in told) is peer
    assert ("started is acknowledged" in told) is peer
    assert not [line for line in told if "Keptn" in line]


def test_the_time_line_tells_why_attempts_failed() -> None:
    failed = (
        FailedAttempt(AT + timedelta(seconds=20), "plan", 1, "503 Service Unavailable"),
        FailedAttempt(AT + timedelta(seconds=40), "run", 2, "no end within 5 s"),
    )
    view = execution_view(replace(RECORD, attempts=3, failed_attempts=failed), [])
    told = [(step.title, *step.lines) for step in view.steps if "ttempt" in step.title]
    assert told == [
        ("Attempt 1 failed (plan)", "503 Service Unavailable"),
        ("Attempt 2 failed", "no end within 5 s"),
        ("3 attempts",),
    ]


def test_the_time_line_tells_what_keptn_was_not_told() -> None:
    owed = OpenReport("finished", "parked", 2, AT, "400 Bad Request")
    record = replace(RECORD, reported_at=None, undelivered=(owed,))
    view = execution_view(record, [])
    (step,) = [it for it in view.steps if it.title == "finished is parked after 2 attempts"]
    to_do = f"Not sent again by itself: remedy reports resend {RECORD.id}"
    assert (step.tone, list(step.lines)) == ("bad", ["400 Bad Request", to_do])


def test_a_parked_started_is_told_while_the_execution_runs() -> None:
    owed = OpenReport("started", "parked", 1, AT, "400 Bad Request")
    running = replace(RECORD, state="started", status=None, reported_at=None, undelivered=(owed,))
    steps = {step.title: list(step.lines) for step in execution_view(running, []).steps}
    assert "started is parked after 1 attempt" in steps
    assert steps["Begun"] == ["started was refused"]


def test_an_execution_that_is_being_aborted_says_so() -> None:
    running = replace(RECORD, state="started", status=None, aborted="the sequence was aborted")
    steps = {step.title: list(step.lines) for step in execution_view(running, []).steps}
    assert steps["Nobody waits for it any more"][0] == "the sequence was aborted"


@pytest.mark.parametrize(
    ("undo", "said"),
    [
        (Undo("refused", cause="an order", message="somebody changed it"), "somebody changed it"),
        (Undo("done", cause="an order", message="put back"), ""),
    ],
)
def test_an_undo_that_left_things_as_they_are_is_told_at_the_top(undo: Undo, said: str) -> None:
    found = execution_view(replace(RECORD, undo=undo), []).undo.unsuccessful
    assert found == (f"refused: {said}" if said else "")


def test_a_question_is_shown_with_its_plan_and_its_end() -> None:
    question = Question(PLAN, "prod", AT.timestamp(), AT.timestamp() + 900)
    record = replace(RECORD, state="started", status=None, plan=None, question=question)
    view = execution_view(record, [])
    assert view.question
    assert view.question.digest == digest(PLAN)
    assert view.question.expires_at == AT + timedelta(seconds=900)
    assert (view.diffs, view.was_applied) == (diffs(PLAN), False)
    assert any("it is denied" in line for step in view.steps for line in step.lines)


def test_a_digest_changes_with_anything_in_a_plan() -> None:
    others = (
        Plan((Change("deployments.apps/shop/carts", "replicas", 3, 6),)),
        Plan((Change("deployments.apps/shop/carts", "replicas", 2, 5),)),
        replace(PLAN, notes=("a note",)),
        replace(PLAN, memo={"a": 1}),
        None,
    )
    assert len({digest(PLAN), *map(digest, others)}) == 6
    assert digest(Plan.from_json(PLAN.to_json())) == digest(PLAN)


@pytest.mark.parametrize(
    ("before", "after", "shown", "picture"),
    [
        (True, False, ("on", "off"), "switch"),
        (3, 5, ("3", "5"), "bars"),
        (None, "blue", ("nothing", "blue"), ""),
        (False, 1, ("off", "1"), ""),
        ({"b": 1, "a": [2]}, "", ('{"a":[2],"b":1}', '""'), ""),
    ],
)
def test_a_change_is_two_lines(before: Any, after: Any, shown: Any, picture: str) -> None:
    (diff,) = diffs(Plan((Change("t", "f", before, after),)))
    assert ((diff.before, diff.after), diff.picture) == (shown, picture)


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (-1, "0 ms"),
        (0.25, "250 ms"),
        (4.21, "4.2 s"),
        (33, "33 s"),
        (83, "1 min 23 s"),
        (900, "15 min"),
        (7300, "2 h 2 min"),
    ],
)
def test_a_duration_is_short(seconds: float, words: str) -> None:
    assert lasted(seconds) == words


def test_a_link_leads_to_the_host_of_its_template_alone() -> None:
    templates = {"Bridge": "https://keptn.example/{project}/{context}?id={id}"}
    record = replace(RECORD, project="//evil.example/..@x", context="a&b#c")
    (link,) = links(templates, record)
    assert link.url == ("https://keptn.example/%2F%2Fevil.example%2F..%40x/a%26b%23c?id=e%2F1")


@pytest.mark.parametrize(
    "template",
    ["javascript:alert(1)", "//x/{id}", "https://{service}.example/", "https://x/{secret}", "/x"],
)
def test_a_template_that_could_lead_elsewhere_is_refused(template: str) -> None:
    assert mistake(template)


def test_filters_are_read_as_people_write_them() -> None:
    query = {"service": " carts ", "since": "2h", "result": "refused", "before": "17", "x": "y"}
    found, before = address.browsed(query, 10_000.0)
    assert (found.service, found.since, found.result, before) == ("carts", 2800.0, "refused", 17)
    moment, _ = address.browsed({"since": "2026-03-02T03:00"}, 0.0)
    assert moment.since == AT.timestamp()
    for wrong in ({"result": "good"}, {"since": "soon"}, {"before": "-1"}):
        with pytest.raises(address.WrongFilter):
            address.browsed(wrong, 0.0)


def test_pictures_have_their_words() -> None:
    hours = [
        Hour(0, {}, {}),
        Hour(3600, {"pass": 3, "errored": 1, "refused": 2}, {1.0: 1, 60.0: 2}),
    ]
    outcomes, times = pictures.outcomes(hours), pictures.times(hours)
    assert outcomes.words == "In the last 24 hours: 3 passed, 2 refused or aborted, 1 failed."
    assert [bar.tone for bar in outcomes.bars] == ["good", "off", "bad"]
    assert all(0 <= bar.y <= bar.y + bar.height <= pictures.HEIGHT + 0.1 for bar in outcomes.bars)
    assert times.words == (
        "In the last 24 hours: 3 executions passed, also with a warning, half of them within 1 min."
    )
    nothing = [Hour(0, {}, {})]
    assert (pictures.outcomes(nothing).bars, pictures.times(nothing).bars) == ([], [])
    late = [Hour(0, {"pass": 1}, {math.inf: 1})]
    assert pictures.times(late).words.endswith("with a warning, after 15 min.")


def test_an_action_is_asked_for_as_its_schema_says() -> None:
    schema = {
        "type": "object",
        "properties": {"zone": {"type": "string", "title": "Zone"}, "n": {"type": "integer"}},
        "required": ["zone"],
    }
    assert example("purge", schema) == "- action: purge\n  name: purge\n  value:\n    zone: ZONE\n"
    either = {**schema, "properties": {"zone": {"anyOf": [{"type": "string"}, {"type": "null"}]}}}
    assert example("purge", either).endswith("    zone: ZONE\n")
    optional = example("purge", {**schema, "required": []})
    assert optional == "- action: purge\n  name: purge\n"
    assert example("plain", {}) == "- action: plain\n  name: plain\n"
    recursive = {"$ref": "#/$defs/A", "$defs": {"A": {"$ref": "#/$defs/A"}}}
    assert "value" not in example("odd", recursive)

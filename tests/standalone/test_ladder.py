"""What follows for an episode, as a table: from its state and one new fact."""

from __future__ import annotations

from dataclasses import asdict, replace
from typing import Any

import pytest

from keptn_remedy.journal import Episode, Move, Rung
from keptn_remedy.standalone import ladder
from keptn_remedy.standalone.ladder import Confirmation, Ended, Finding
from keptn_remedy.standalone.rules import Criterion, LadderRules, Remedy

RULES = LadderRules(wait=60, window=100, hold_for=30, quiet_for=300, confirm_for=300)
NOW = 1_000_000.0
ENTRY: dict[str, Any] = {
    "problem_type": "Slow",
    "rungs": [asdict(Remedy(action=each, criterion=Criterion())) for each in ("scale", "restart")],
}
EPISODE = Episode(
    handle=1,
    id="e",
    version=0,
    source="shop",
    key="k",
    project="p",
    stage="s",
    service="v",
    names=("Slow",),
    labels={},
    annotations={},
    url="",
    state="waiting",
    opened_at=NOW - 60,
    firing_at=NOW - 60,
    quiet_since=None,
    absent_since=None,
    due_at=NOW,
    remedy=ENTRY,
    digest="d",
    index=0,
    tries=0,
    reason=None,
    held_from=None,
    held_since=None,
    helped_at=None,
    escalated_at=None,
    told_at=None,
    closed_at=None,
    closing=None,
)
RUNG = Rung(number=0, index=0, execution="x", action="scale", began_at=NOW - 90)


@pytest.mark.parametrize(
    ("given", "need"),
    [
        ({"state": "open"}, "remedy"),
        ({}, "confirmation"),
        ({"due_at": NOW + 1}, "nothing"),
        ({"state": "acting"}, "outcome"),
        ({"state": "acting", "quiet_since": NOW - 900}, "outcome"),
        ({"state": "settling", "due_at": NOW + 1}, "nothing"),
        ({"state": "settling"}, "reading"),
        ({"state": "judging", "quiet_since": NOW - 900}, "reading"),
        ({"quiet_since": NOW - 299}, "confirmation"),
        ({"quiet_since": NOW - 300}, "closing"),
        ({"absent_since": NOW - 300}, "closing"),
        ({"state": "helped", "helped_at": NOW - 1799}, "nothing"),
        ({"state": "helped", "helped_at": NOW - 1800}, "lasting"),
        ({"state": "helped", "helped_at": NOW - 1800, "absent_since": NOW - 1}, "nothing"),
        ({"state": "helped", "helped_at": NOW - 1800, "quiet_since": NOW - 1}, "nothing"),
        ({"state": "helped", "quiet_since": NOW - 300}, "closing"),
        ({"state": "held", "held_from": "waiting"}, "confirmation"),
        ({"state": "held", "held_from": "open"}, "nothing"),
        ({"state": "held", "held_from": "judging"}, "nothing"),
        ({"state": "escalated"}, "telling"),
        ({"firing_at": NOW - 86_400, "opened_at": NOW - 90_000}, "closing"),
    ],
)
def test_what_an_episode_needs_next(given: dict[str, Any], need: str) -> None:
    assert ladder.need(replace(EPISODE, **given), NOW, RULES) == need


def test_each_reason_to_hold_has_a_beginning_of_its_own() -> None:
    episode = replace(
        EPISODE,
        state="held",
        held_from="waiting",
        held_since=NOW - 3600,
        reason="the alert is silenced or inhibited",
    )
    move = ladder.confirmed(episode, "unknown", NOW, RULES)
    assert move
    assert (move.fields["state"], move.fields["held_since"]) == ("held", NOW)


@pytest.mark.parametrize(
    ("said", "given", "state"),
    [
        ("firing", {}, None),
        ("suppressed", {}, "held"),
        ("absent", {}, "waiting"),
        ("unknown", {}, "held"),
        ("unknown", {"state": "held", "held_since": NOW - 299}, "held"),
        ("unknown", {"state": "held", "held_since": NOW - 300}, "escalated"),
    ],
)
def test_what_follows_before_an_act(
    said: Confirmation, given: dict[str, Any], state: str | None
) -> None:
    asked = {"reason": "no Alertmanager can be asked", **given}
    move = ladder.confirmed(replace(EPISODE, **asked), said, NOW, RULES)
    assert (move and move.fields["state"]) == state


@pytest.mark.parametrize(
    ("end", "index", "state"),
    [
        (Ended("succeeded", "pass", "done"), 0, "settling"),
        (Ended("succeeded", "warning", "clamped"), 0, "settling"),
        (Ended("succeeded", "warning", "dry run: …", acted=False), 0, "settling"),
        (Ended("succeeded", "fail", "no effect"), 0, "waiting"),
        (Ended("errored", "fail", "no such flag"), 0, "waiting"),
        (Ended("errored", "fail", "no such flag"), 1, "escalated"),
        (Ended("succeeded", "fail", "not now", rail="cooldown"), 0, "held"),
        (Ended("succeeded", "warning", "not now", rail="calendar"), 1, "held"),
        (Ended("succeeded", "fail", "never", rail="decision"), 0, "waiting"),
        (Ended("aborted", "fail", "", is_aborted=True), 0, "waiting"),
    ],
)
def test_what_follows_an_execution(end: Ended, index: int, state: str) -> None:
    episode = replace(EPISODE, state="acting", index=index, tries=1)
    move = ladder.ended(episode, replace(RUNG, index=index), end, NOW, RULES)
    assert move.fields["state"] == state
    if state == "settling":
        assert move.fields["due_at"] == NOW + 60


def judged(rung: Rung, finding: Finding, now: float = NOW, **of_it: Any) -> Move:
    entry = {**ENTRY, "rungs": [{**each, **of_it} for each in ENTRY["rungs"]]}
    episode = replace(EPISODE, state="judging", remedy=entry, tries=1, index=rung.index)
    return ladder.judged(episode, rung, finding, now, RULES)[0]


OPEN = replace(RUNG, window_ends_at=NOW + 50, numbers={"good": 1, "bad": 1, "unknown": 0})
OVER = replace(OPEN, window_ends_at=NOW)
GOOD, BAD, NONE = Finding(True, "fine"), Finding(False, "bad"), Finding(None, "no data")


@pytest.mark.parametrize(
    ("rung", "finding", "of_it", "state"),
    [
        (OPEN, GOOD, {}, "judging"),
        (replace(OPEN, good_since=NOW - 29), GOOD, {}, "judging"),
        (replace(OPEN, good_since=NOW - 30), GOOD, {}, "helped"),
        (replace(OPEN, good_since=NOW - 30), BAD, {}, "judging"),
        (replace(OPEN, good_since=NOW - 30), NONE, {}, "judging"),
        (OVER, BAD, {}, "waiting"),
        (OVER, GOOD, {}, "judging"),
        (replace(OVER, good_since=NOW - 29), GOOD, {}, "judging"),
        (replace(OVER, good_since=NOW - 29), BAD, {}, "waiting"),
        (OVER, NONE, {}, "escalated"),
        (replace(OVER, numbers={"unknown": 1}), GOOD, {}, "judging"),
        (OVER, NONE, {"on_unknown": "next"}, "waiting"),
        (OVER, NONE, {"on_unknown": "hold"}, "held"),
        (replace(OVER, index=1), BAD, {}, "escalated"),
        (OPEN, replace(BAD, is_worse=True), {}, "waiting"),
    ],
)
def test_what_follows_what_the_judge_sees(
    rung: Rung, finding: Finding, of_it: dict[str, Any], state: str
) -> None:
    assert judged(rung, finding, **of_it).fields["state"] == state


def test_what_is_good_at_a_look_long_after_the_window_helped_once_it_has_held() -> None:
    late = replace(OVER, window_ends_at=NOW - 600, numbers={"unknown": 1})
    move = judged(late, GOOD)
    assert move.rung
    assert (move.rung.verdict, move.rung.good_since) == (None, NOW)
    # Not at once again and again.
    assert NOW + 1 <= move.fields["due_at"] <= NOW + 30
    assert judged(move.rung, GOOD, NOW + 30).fields["state"] == "helped"


def test_no_data_begins_the_time_of_good_values_again() -> None:
    since = replace(OPEN, good_since=NOW - 29)
    move = judged(since, NONE)
    assert move.rung
    assert move.rung.good_since is None


def test_the_numbers_of_a_try_are_kept_and_never_too_many() -> None:
    rung = replace(RUNG, began_at=NOW)
    for second in range(1000):
        seen = Finding(False, "bad", float(second), bound=5.0)
        found = judged(rung, seen, NOW + second / 100).rung
        assert found is not None
        rung = found
    numbers = rung.numbers or {}
    curve = numbers["curve"]
    assert (numbers["bound"], numbers["value"]) == (5.0, 999.0)
    assert len(curve) <= ladder.MOST_POINTS
    assert (curve[0], curve[-1]) == ([0.0, 0.0], [10.0, 999.0])
    assert curve == sorted(curve)


def test_a_try_has_the_same_id_whenever_it_is_asked_for_and_no_other_has_it() -> None:
    ids = [ladder.execution_id(EPISODE, number) for number in range(3)]
    assert ids == [ladder.execution_id(EPISODE, number) for number in range(3)]
    assert len({*ids, ladder.execution_id(replace(EPISODE, id="f"), 0)}) == 4
    assert ladder.begun(EPISODE, None, NOW).fields["state"] == "acting"

"""How executions look in lists and whole: answers, plans, undos."""

import json
import re
from pathlib import Path
from typing import Any

import orjson
import pytest

from keptn_remedy import Outcome, events
from keptn_remedy.cli import execution_text, terminal
from keptn_remedy.journal import Arm, Ending, UndoAtOnce
from keptn_remedy.journal.sqlite import SqliteJournal
from keptn_remedy.support.clock import Clock
from keptn_remedy.testing import triggered
from tests.commands import local_provider, remedy
from tests.core.cli.folders import look, saved
from tests.core.cli.orders import show
from tests.ordering import PLAN, REPLIES, TARGET, asking, begun, ended, say

ASKED = r"^approval +asked at 2\S+Z by the rule production; denied unless answered by 2\S+Z$"


def test_what_an_event_brought_can_not_steer_the_terminal(tmp_path: Path) -> None:
    event = triggered("toggle-feature", {"\x1b[2J\x9b": "off"}, service="\x1b]0;pwned\x07")
    with local_provider(tmp_path) as running:
        remedy(tmp_path, "send", saved(tmp_path, event), "--to", running.events)
        running.stop()
    shown = look(tmp_path, "show", event["id"]) + look(tmp_path, "list") + look(tmp_path, "export")
    assert shown.replace("\n", "").isprintable()


async def test_people_see_an_errored_execution_as_errored(
    tmp_path: Path, journal: SqliteJournal, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(execution_text, "is_terminal", lambda: True)
    await ended(journal, Outcome.errored("no answer"))
    await ended(journal, Outcome.failed("no better"))
    listed = (await say(tmp_path, "journal", "list", COLUMNS="100")).out
    assert re.findall(r"^\S{36}  (\w+) +\d s ago$", listed, re.MULTILINE) == ["fail", "errored"]


async def test_a_plan_that_was_denied_is_shown(tmp_path: Path, journal: SqliteJournal) -> None:
    execution = await asking(journal)
    await journal.answer(execution.id, "denied", "ann@shop", "not today")
    await journal.finish(execution, Ending(Outcome.failed("refused"), is_failure=True), attempts=0)
    shown = await show(tmp_path, execution.id)
    assert re.search(r"^denied +by ann@shop: not today$", shown, re.MULTILINE)
    assert re.search(rf"^would have done +{TARGET} replicas: 1 -> 2$", shown, re.MULTILINE)


async def test_a_plan_that_nobody_approved_in_time_is_shown(
    tmp_path: Path, journal: SqliteJournal
) -> None:
    execution = await asking(journal)
    await journal.finish(execution, Ending(Outcome.failed("refused"), is_failure=True), attempts=0)
    shown = await show(tmp_path, execution.id)
    assert re.search(ASKED, shown, re.MULTILINE)
    assert re.search(r"^would have done +", shown, re.MULTILINE)


async def test_what_to_do_next_stands_beside_what_waits_for_a_person(
    tmp_path: Path, journal: SqliteJournal
) -> None:
    execution = await asking(journal)
    shown = await show(tmp_path, execution.id)
    assert re.search(rf"^to answer +remedy approve {execution.id}$", shown, re.MULTILINE)
    assert re.search(rf"^ +remedy deny {execution.id}$", shown, re.MULTILINE)
    await journal.finish(execution, Ending(Outcome.failed("refused"), is_failure=True), attempts=0)
    assert "to answer" not in await show(tmp_path, execution.id)


async def test_what_to_do_next_stands_beside_a_parked_report(
    tmp_path: Path, journal: SqliteJournal
) -> None:
    trigger = events.stored_trigger(orjson.dumps(triggered("scale")))
    execution = await journal.accept(trigger, "scale")
    assert execution
    started = await journal.begin(execution, REPLIES.started(trigger, Clock().utc()))
    assert started
    assert "to send again" not in await show(tmp_path, execution.id)
    await journal.park(started, "400")
    resend = rf"^to send again +remedy reports resend {execution.id}$"
    assert re.search(resend, await show(tmp_path, execution.id), re.MULTILINE)


async def test_what_silence_decided_is_reported_as_asked_and_by_nobody(
    tmp_path: Path, journal: SqliteJournal
) -> None:
    execution = await asking(journal)
    await journal.close_question(execution)
    shown = await show(tmp_path, execution.id)
    assert re.search(ASKED, shown, re.MULTILINE)
    assert "by None" not in shown
    said = await say(tmp_path, "deny", execution.id)
    assert said.code == 1
    told = "nobody answered in time, so it was denied; see remedy journal show"
    assert said.mistakes == [f"remedy: {execution.id!r} is not denied: {told} {execution.id}"]


async def test_who_approved_what_was_done_is_shown_beside_the_plan(
    tmp_path: Path, journal: SqliteJournal
) -> None:
    execution = await asking(journal)
    await journal.answer(execution.id, "approved", "ann@shop", "looks right")
    await journal.admit(execution, PLAN, [], lambda history: None)
    details = {"approved_by": "ann@shop", "approved_because": "looks right"}
    await journal.finish(execution, Ending(Outcome.passed("2 replicas", **details)), attempts=1)
    shown = await show(tmp_path, execution.id)
    assert re.search(r"^approved +by ann@shop: looks right$", shown, re.MULTILINE)
    assert re.search(rf"^plan +{TARGET} replicas: 1 -> 2$", shown, re.MULTILINE)
    assert "would have done" not in shown


async def test_who_approved_is_shown_by_the_details_alone(
    tmp_path: Path, journal: SqliteJournal
) -> None:
    details = {"approved_by": "ann@shop"}
    execution = await ended(journal, Outcome.passed("2 replicas", **details))
    assert re.search(r"^approved +by ann@shop$", await show(tmp_path, execution.id), re.MULTILINE)


async def test_an_answer_is_shown(tmp_path: Path, journal: SqliteJournal) -> None:
    execution = await asking(journal)
    await journal.answer(execution.id, "denied", "ann@shop", "not today")
    shown = await show(tmp_path, execution.id)
    assert re.search(r"^state +started$", shown, re.MULTILINE)
    assert re.search(r"^denied +by ann@shop: not today$", shown, re.MULTILINE)


async def test_an_undo_is_shown_from_armed_to_done(tmp_path: Path, journal: SqliteJournal) -> None:
    execution = await begun(journal)
    await journal.admit(execution, PLAN, [], lambda history: None)
    arm = Arm(on_closed=True, due_at=4_102_444_800.0)
    await journal.finish(execution, Ending(Outcome.passed("2 replicas"), arm=arm), attempts=1)
    shown = await show(tmp_path, execution.id)
    armed = r"^undo +will run when the problem closes or at 2100-01-01T00:00:00Z$"
    assert re.search(armed, shown, re.MULTILINE)
    await journal.want_undo(execution.id, "an order", "ann@shop", "too much")
    shown = await show(tmp_path, execution.id)
    order = r"\(an order by ann@shop: too much\)"
    assert re.search(rf"^undo +requested {order}$", shown, re.MULTILINE)
    await journal.begin_undo(execution.id)
    await journal.end_undo(execution.id, "done", "1 replica again")
    shown = await show(tmp_path, execution.id)
    assert re.search(rf"^undo +done at \S+: 1 replica again {order}$", shown, re.MULTILINE)


@pytest.mark.parametrize(
    ("state", "told"),
    [("done", "; undone"), ("refused", "; undo refused"), ("failed", "; undo failed")],
)
async def test_how_an_undo_ended_is_listed(
    tmp_path: Path, journal: SqliteJournal, state: Any, told: str
) -> None:
    execution = await ended(journal)
    await journal.want_undo(execution.id, "an order", "ann@shop")
    assert (await say(tmp_path, "journal", "list")).out.endswith("  succeeded/pass: 2 replicas\n")
    await journal.begin_undo(execution.id)
    await journal.end_undo(execution.id, state, "1 replica again")
    listed = (await say(tmp_path, "journal", "list")).out
    assert listed.endswith(f"  succeeded/pass: 2 replicas{told}\n")


@pytest.mark.parametrize(
    ("undo", "told"),
    [
        (UndoAtOnce("done", "undone"), "undone"),
        (UndoAtOnce("refused", "changed since"), "not undone: changed since"),
        (UndoAtOnce("failed", "no such flag"), "UNDO FAILED: no such flag"),
    ],
)
async def test_an_undo_that_the_outcome_tells_is_not_told_twice(
    tmp_path: Path, journal: SqliteJournal, undo: UndoAtOnce, told: str
) -> None:
    execution = await begun(journal)
    await journal.finish(
        execution,
        Ending(Outcome.failed(f"no better; {told}"), is_failure=True, undo=undo),
        attempts=1,
    )
    listed = (await say(tmp_path, "journal", "list")).out
    assert listed.endswith(f"  succeeded/fail: no better; {told}\n")


async def test_people_get_whole_ids_and_no_line_beyond_80_columns(
    tmp_path: Path, journal: SqliteJournal, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(execution_text, "is_terminal", lambda: True)
    await ended(journal, Outcome.failed("the CDN rejects the purge of zone shop-frontend: " * 3))
    execution = await asking(journal)
    listed = (await say(tmp_path, "journal", "list", COLUMNS="80")).out
    assert max(map(len, listed.splitlines())) <= 80
    assert re.search(
        rf"^{execution.id}  waits for approval  \d s ago\n    scale for sockshop/",
        listed,
        re.MULTILINE,
    )
    assert " zone shop-frontend: the CDN" in " ".join(listed.split())


async def test_an_aborted_execution_is_shown_as_such(
    tmp_path: Path, journal: SqliteJournal
) -> None:
    execution = await asking(journal)
    assert await journal.note_abort(execution.id, "Keptn gave the sequence up")
    await journal.finish(
        execution, Ending(Outcome.errored("aborted before it acted"), is_aborted=True), attempts=0
    )
    shown = await show(tmp_path, execution.id)
    assert re.search(r"^outcome +aborted/fail: aborted before it acted$", shown, re.MULTILINE)
    assert re.search(r"^aborted +Keptn gave the sequence up$", shown, re.MULTILINE)
    listed = json.loads((await say(tmp_path, "journal", "list", "--json")).out)
    assert (listed["status"], listed["waiting"]) == ("aborted", None)


async def test_people_see_the_time_line_first_and_no_line_beyond_80_columns(
    tmp_path: Path, journal: SqliteJournal, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in (execution_text, terminal):
        monkeypatch.setattr(module, "is_terminal", lambda: True)
    outcome = Outcome.failed("the CDN rejects the purge of zone shop-frontend: " * 9)
    execution = await ended(journal, outcome, service="carts-" * 9)
    await journal.want_undo(execution.id, "an order", "ann@shop", "much too much " * 9)
    shown = (await say(tmp_path, "journal", "show", execution.id, COLUMNS="80")).out
    head, _, facts = shown.partition("\n\n")
    title, *line = head.splitlines()
    assert title == f"{execution.id}  finished"
    happened = [
        re.sub(r"^\s*\S+Z\s+(\+\S+ \w+\s+)?", "", each) for each in line if "Z " in each[:25]
    ]
    assert happened[:2] == ["accepted", "started"]
    assert happened[2].startswith("finished: succeeded/fail: the CDN rejects")
    assert happened[-1] == "undo requested (an order)"
    facts = facts.partition("The event as received:")[0]
    assert max(map(len, [*head.splitlines(), *facts.splitlines()])) <= 80


async def test_the_task_is_shown_where_it_is_not_action(
    tmp_path: Path, journal: SqliteJournal
) -> None:
    await begun(journal, task="get-sli")
    listed = (await say(tmp_path, "journal", "list")).out
    assert "scale (get-sli)" in listed
    assert json.loads((await say(tmp_path, "journal", "list", "--json")).out)["task"] == "get-sli"

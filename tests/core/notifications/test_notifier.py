"""From what the journal noted to what waits for the channels."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import orjson
import pytest
from yarl import URL

from keptn_remedy import Outcome
from keptn_remedy.guardrails.matching import Fixed, Rules
from keptn_remedy.guardrails.pauses import Pauses
from keptn_remedy.guardrails.policy import Policy
from keptn_remedy.journal import Ending, Pause, Question, UndoAtOnce
from keptn_remedy.journal.sqlite import SqliteJournal
from keptn_remedy.notifications.channels.webhook import Webhook
from keptn_remedy.notifications.composing import Composer
from keptn_remedy.notifications.courier import Courier
from keptn_remedy.notifications.notification import Notification
from keptn_remedy.notifications.notifier import GIVE_UP_SECONDS, Notifier
from keptn_remedy.notifications.pace import Pace
from keptn_remedy.notifications.routes import Routes
from keptn_remedy.notifications.sender import Sender
from keptn_remedy.support.masking import Mask
from keptn_remedy.support.metrics import Metrics
from tests.core.journals import FAILED, PLAN, SetClock, accepted, admitted
from tests.core.notifications.told import notification

SECRET = "hunter2-hunter2"


def notifier(
    journal: SqliteJournal,
    clock: SetClock,
    *names: str,
    policy: str = "version: 1",
    pause_file: Path | None = None,
) -> Notifier:
    """One whose couriers don't run, for channels with these names."""
    mask, metrics = Mask([SECRET]), Metrics("test")
    channel = Webhook(URL("http://127.0.0.1:1"), "keptn-remedy", clock.now)
    sender = Sender(mask)
    return Notifier(
        journal,
        journal.record,
        [Courier(n, channel, Pace(20), journal, sender, clock, metrics) for n in names],
        routes=Routes(names, None),
        policy=Fixed(Rules(Policy.load(policy))),
        pauses=Pauses(journal, pause_file),
        composer=Composer("https://remedy.example"),
        clock=clock,
        mask=mask,
        metrics=metrics,
    )


async def queue(journal: SqliteJournal, channel: str = "hook") -> list[Notification]:
    found = await journal.unnotified(channel, 100)
    return [Notification.from_json(one.body) for one in found]


async def ended(journal: SqliteJournal, event_id: str, outcome: Outcome, **more: Any) -> None:
    execution = await accepted(journal, event_id, event_id)
    ending = Ending(outcome, is_failure=outcome.is_failure, **more)
    await journal.finish(execution, ending, attempts=1)


async def test_what_fails_is_queued_for_each_channel_once_and_nothing_else_is(
    journal: SqliteJournal, clock: SetClock
) -> None:
    it = notifier(journal, clock, "hook", "chat")
    await ended(journal, "passed", Outcome.passed("done"))
    await ended(journal, "aborted", FAILED, is_aborted=True)
    await ended(journal, "failed", FAILED)
    for _ in range(2):
        await it.look()
    for channel in ("hook", "chat"):
        (one,) = await queue(journal, channel)
        assert (one.kind, one.text, one.link) == (
            "failed",
            "no better",
            "https://remedy.example/executions/failed",
        )
    assert await journal.notices(9) == []


async def test_without_channels_notices_are_only_deleted(
    journal: SqliteJournal, clock: SetClock
) -> None:
    await ended(journal, "failed", FAILED)
    await notifier(journal, clock).look()
    assert await journal.notices(9) == []
    assert await journal.waiting_notifications() == []


async def test_secrets_are_masked_in_what_is_stored(
    journal: SqliteJournal, clock: SetClock
) -> None:
    await ended(journal, "failed", Outcome.failed(f"the token {SECRET} is wrong"))
    await notifier(journal, clock, "hook").look()
    (one,) = await journal.unnotified("hook", 9)
    assert SECRET.encode() not in one.body


@pytest.mark.parametrize(
    ("rail", "kind", "command"),
    [("cooldown", "refused", None), ("suspended", "suspended", "remedy resume --suspended")],
)
async def test_the_same_refusal_is_told_once_in_a_quarter_of_an_hour(
    rail: str, kind: str, command: str | None, journal: SqliteJournal, clock: SetClock
) -> None:
    it = notifier(journal, clock, "hook")
    refusal = Outcome.failed("refused by guard-rail", rail=rail, rule="calm")
    for event_id, later in (("1", 0), ("2", 899), ("3", 2)):
        clock.time += later
        execution = await accepted(journal, event_id)
        await journal.finish(execution, Ending(refusal, is_failure=True), attempts=1)
        await it.look()
        await journal.note_notified([one.handle for one in await journal.unnotified("hook", 9)])
        sent = await journal._rows("SELECT body FROM notifications", ())
        (one,) = [Notification.from_json(body) for (body,) in sent]
        assert (one.kind, one.command) == (kind, command)
        assert one.facts["execution"] == ("3" if event_id == "3" else "1")


async def test_an_undo_that_failed_at_once_is_told_beside_the_failure(
    journal: SqliteJournal, clock: SetClock
) -> None:
    await ended(journal, "1", FAILED, undo=UndoAtOnce("failed", "the flag is gone"))
    await ended(journal, "2", FAILED, undo=UndoAtOnce("wanted"))
    await notifier(journal, clock, "hook").look()
    told = {(one.kind, one.title.partition(":")[0]) for one in await queue(journal)}
    assert told == {("failed", "Failed"), ("undone", "Undo failed")}


async def question(journal: SqliteJournal, clock: SetClock, event_id: str = "1") -> Any:
    execution = await accepted(journal, event_id, event_id)
    asked = Question(PLAN, "ask", clock.time, clock.time + 900)
    await journal.ask(execution, asked)
    return execution


async def test_silence_and_an_abort_end_an_approval_that_was_told(
    journal: SqliteJournal, clock: SetClock
) -> None:
    it = notifier(journal, clock, "hook")
    silent, aborted = [await question(journal, clock, name) for name in ("silent", "aborted")]
    await it.look()
    assert [one.until for one in await queue(journal)] == [clock.time + 900] * 2
    await journal.note_notified([one.handle for one in await journal.unnotified("hook", 9)])
    await journal.close_question(silent)
    await journal.finish(aborted, Ending(FAILED, is_aborted=True), attempts=1)
    await it.look()
    assert sorted(one.title.partition(": ")[0] for one in await queue(journal)) == [
        "Denied",
        "Not needed any more",
    ]
    assert await journal.standing() == []
    assert {one.is_over for one in await queue(journal)} == {True}


async def test_an_approval_that_was_given_before_anybody_was_told_is_not_told(
    journal: SqliteJournal, clock: SetClock
) -> None:
    await question(journal, clock)
    await journal.answer("1", "approved", "ann", None)
    await notifier(journal, clock, "hook").look()
    assert await queue(journal) == []


async def test_a_pause_by_a_file_is_told_and_its_end(
    journal: SqliteJournal, clock: SetClock, tmp_path: Path
) -> None:
    path = tmp_path / "pause"
    path.write_text("fire drill")
    it = notifier(journal, clock, "hook", pause_file=path)
    await it._pauses.look()
    for _ in range(2):
        await it.look()
    (one,) = await queue(journal)
    assert one.title == f"All actions are paused by file {path}: fire drill"
    assert one.command is None  # `remedy resume` would not end it
    await journal.note_notified([h.handle for h in await journal.unnotified("hook", 9)])
    path.unlink()
    await it._pauses.look()
    await it.look()
    (over,) = await queue(journal)
    assert over.title.startswith("Resumed: ")
    assert over.key == one.key


async def test_what_was_given_up_is_logged_and_counted(
    journal: SqliteJournal, clock: SetClock, capsys: pytest.CaptureFixture[str]
) -> None:
    it = notifier(journal, clock, "hook")
    await ended(journal, "failed", FAILED)
    await it.look()
    clock.time += GIVE_UP_SECONDS + 1
    it._tidied_at = None
    await it.look()
    assert await queue(journal) == []
    assert "notifications given up" in capsys.readouterr().out
    counted = it._metrics.registry.get_sample_value(
        "remedy_notifications_total", {"channel": "hook", "answer": "given_up"}
    )
    assert counted == 1


async def test_a_rule_for_the_target_says_who_is_told(
    journal: SqliteJournal, clock: SetClock
) -> None:
    policy = "version: 1\nrules: [{name: flags, match: {target: flag}, notify: [chat]}]"
    it = notifier(journal, clock, "hook", "chat", policy=policy)
    execution = await admitted(journal, "1", "flag")
    await journal.finish(execution, Ending(FAILED, is_failure=True), attempts=1)
    await it.look()
    assert (len(await queue(journal, "chat")), await queue(journal)) == (1, [])


async def test_what_was_noted_whole_goes_to_the_channels_that_it_names(
    journal: SqliteJournal, clock: SetClock
) -> None:
    told = notification(key="escalation 1", kind="escalation", severity="critical", stands=True)
    about = {"notification": orjson.loads(told.to_json()), "channels": ["hook", "gone"]}
    row = ("escalated 1", "ready", None, clock.time, orjson.dumps(about))
    await journal._write(
        ("INSERT INTO notices (key, kind, execution, at, about) VALUES (?, ?, ?, ?, ?)", row)
    )
    await notifier(journal, clock, "hook").look()
    (one,) = await queue(journal)
    assert (one.key, one.kind) == ("escalation 1", "escalation")
    assert len(await journal.standing()) == 1


async def test_a_notice_that_cannot_be_told_stands_in_nobodys_way(
    journal: SqliteJournal, clock: SetClock, capsys: pytest.CaptureFixture[str]
) -> None:
    broken = ("broken", "ready", None, clock.time, b'{"channels": []}')
    await journal._write(
        ("INSERT INTO notices (key, kind, execution, at, about) VALUES (?, ?, ?, ?, ?)", broken)
    )
    await ended(journal, "failed", FAILED)
    await notifier(journal, clock, "hook").look()
    assert [one.kind for one in await queue(journal)] == ["failed"]
    assert "a notice can't be told" in capsys.readouterr().out
    assert await journal.notices(9) == []


def test_a_pause_has_one_key_for_as_long_as_it_lasts() -> None:
    pause = Pause("ann", "fire drill", datetime(2026, 3, 2, tzinfo=UTC))
    composer = Composer(None)
    assert composer.paused(pause).key == composer.paused(pause).key
    assert composer.link("a b/c") is None
    assert Composer("https://x/").link("a b/c") == "https://x/executions/a%20b%2Fc"

"""Triggers that Keptn waits for and never delivered are accepted, once, and only when sure."""

import asyncio
import sqlite3
import time
from collections.abc import AsyncIterator, Collection, Mapping
from contextlib import asynccontextmanager, closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import orjson
import pytest
from aiohttp import ClientSession

from keptn_remedy import Outcome, events
from keptn_remedy.events import STRUCTURED, Event, Replies
from keptn_remedy.guardrails.matching import Rules
from keptn_remedy.journal import Ending, Unsent
from keptn_remedy.journal.sqlite import SqliteJournal
from keptn_remedy.keptn.api import ApiClient
from keptn_remedy.keptn.control_plane import Progress, answers
from keptn_remedy.keptn.control_plane.over_http import HttpControlPlane
from keptn_remedy.keptn.missed_triggers import SWEEP_SECONDS, MissedTriggers
from keptn_remedy.keptn.reopened_tasks import ReopenedTasks
from keptn_remedy.keptn.subscriptions import Filters, Subscription
from keptn_remedy.keptn.task_ends import AT_ONCE
from keptn_remedy.keptn.transports import Receipt
from keptn_remedy.keptn.uniform import Integration, Uniform
from keptn_remedy.support.clock import Clock
from keptn_remedy.testing import FakeKeptn, registry_of
from keptn_remedy.testing import triggered as triggered_long_ago
from keptn_remedy.testing.fake_keptn import Release
from tests.clocks import StandingClock
from tests.core.places import AnyJournal, Place, in_sqlite
from tests.log_lines import captured_logs
from tests.providing import Greet
from tests.waiting import until

SOURCE = "keptn-remedy"
OLD: list[Release] = ["0.8", "0.14", "0.19"]


class Hands(Clock):
    """A clock that is set by hand, whose pauses pass at once."""

    def __init__(self) -> None:
        self.time = super().now()
        self.pauses: list[float] = []

    def now(self) -> float:
        return self.time

    async def sleep(self, seconds: float) -> None:
        self.pauses.append(seconds)
        await super().sleep(0.001)


def at(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat()


def triggered(action: str = "greet", **scope: str) -> dict[str, Any]:
    return triggered_long_ago(action, **scope)


class Broom:
    """A sweep over one journal, what it accepted and what it reported."""

    def __init__(
        self,
        keptn: FakeKeptn,
        journal: AnyJournal,
        *,
        clock: Clock | None = None,
        filters: Filters | None = None,
        uniform: Uniform | None = None,
        sweeps: bool = True,
        answers: bool = False,
        asking: type[HttpControlPlane] = HttpControlPlane,
    ) -> None:
        self.asked_to_accept: list[str] = []
        self.accepted: list[str] = []
        self.reported: list[Unsent] = []
        self.takes = True
        self.journal_failures = 0
        self.rules = Rules(None)
        self.journal = journal
        self.clock = clock or Hands()
        self.control_plane = asking(ApiClient(keptn.url), SOURCE)
        self.sweep = MissedTriggers(
            journal,
            self.control_plane,
            registry_of(Greet),
            self.clock,
            Replies(SOURCE),
            filters=filters or Filters(),
            uniform=uniform,
            policy=self,
            accept=self.accept if sweeps else None,
            report=self.reported.append if answers else None,
            reopened=ReopenedTasks(
                journal, self.control_plane, self.clock, Replies(SOURCE), self.reported.append
            ),
            compare=self.compare,
        )

    async def compare(self, listed: Collection[str]) -> None:
        """Nothing was lost."""

    async def accept(self, event: Event) -> Receipt:
        self.asked_to_accept.append(event.id)
        if self.journal_failures:
            self.journal_failures -= 1
            return Receipt("unavailable", "the journal can't be written")
        if not self.takes:
            return Receipt("ignored", "a rule leaves it to other providers")
        execution = await self.journal.accept(events.trigger_of(event), "greet")
        if execution is None:
            return Receipt("duplicate", event.id)
        self.accepted.append(event.id)
        return Receipt("accepted", event.id)


@asynccontextmanager
async def sweeping(keptn: FakeKeptn, journal: AnyJournal, **options: Any) -> AsyncIterator[Broom]:
    broom = Broom(keptn, journal, **options)
    yield broom
    await broom.control_plane.close()


async def swept(keptn: FakeKeptn, journal: AnyJournal, **options: Any) -> list[str]:
    async with sweeping(keptn, journal, **options) as broom:
        await broom.sweep.once()
    return broom.accepted


@pytest.fixture
async def journal(place: Place) -> AsyncIterator[AnyJournal]:
    opened = place.open(now=time.time)
    yield opened
    await opened.close()


@pytest.fixture
async def keptn() -> AsyncIterator[FakeKeptn]:
    async with FakeKeptn() as keptn:
        yield keptn


async def begin(keptn: FakeKeptn, event: dict[str, Any], *, finish: bool = False) -> None:
    """What a provider under our source reports of an execution."""
    trigger, replies = events.stored_trigger(orjson.dumps(event)), Replies(SOURCE)
    now = datetime.now(UTC)
    reports = [replies.started(trigger, now)]
    if finish:
        passed = {"status": "succeeded", "result": "pass", "message": "", "details": {}}
        reports.append(replies.finished(trigger, now, **passed))  # type: ignore[arg-type]  # as named
    for report in reports:
        await send(keptn, report.body)


async def send(keptn: FakeKeptn, body: bytes) -> None:
    headers = {"Content-Type": STRUCTURED}
    async with (
        ClientSession() as session,
        session.post(keptn.event_url, data=body, headers=headers) as answer,
    ):
        assert answer.status == 200


# Taken up


async def test_what_was_lost_before_we_listened_is_accepted(
    keptn: FakeKeptn, journal: AnyJournal
) -> None:
    event = {**triggered(), "gitcommitid": "7c1de0d3"}
    id_ = keptn.open(event)
    assert await swept(keptn, journal) == [id_]
    [execution] = await journal.records()
    trigger = await journal.trigger(id_)
    assert (execution.id, execution.project, execution.state) == (id_, "sockshop", "accepted")
    assert trigger is not None
    assert trigger.data == event["data"]
    assert trigger.git_commit_id == "7c1de0d3"


async def test_what_was_lost_during_a_restart_is_accepted_and_what_is_known_is_not(
    keptn: FakeKeptn, journal: AnyJournal
) -> None:
    known, lost = triggered(stage="dev"), triggered(stage="prod")
    for event in (known, lost):
        keptn.open(event)
    await journal.accept(events.stored_trigger(orjson.dumps(known)), "greet")
    assert await swept(keptn, journal) == [lost["id"]]
    assert await swept(keptn, journal) == []


async def test_the_lost_of_hundreds_are_found(keptn: FakeKeptn, journal: AnyJournal) -> None:
    triggers = [triggered(stage=f"stage-{n}") for n in range(300)]
    lost = triggers[150]["id"]
    for event in triggers:
        keptn.open(event)
    known = [events.stored_trigger(orjson.dumps(e)) for e in triggers if e["id"] != lost]
    await asyncio.gather(*(journal.accept(trigger, "greet") for trigger in known))
    assert await swept(keptn, journal) == [lost]


async def test_behind_keptns_clock_a_trigger_is_young_for_no_longer_than_elsewhere(
    keptn: FakeKeptn, journal: AnyJournal
) -> None:
    clock = StandingClock()
    clock.shift -= 5 * 3600
    async with sweeping(keptn, journal, clock=clock) as broom:
        id_ = keptn.open({**triggered(), "time": at(Clock().now())})
        await broom.sweep.once()
        clock.forward(29)
        await broom.sweep.once()
        assert broom.accepted == []
        clock.forward(1)
        await broom.sweep.once()
        assert broom.accepted == [id_]


async def test_it_sweeps_at_once_and_every_minute(keptn: FakeKeptn, journal: AnyJournal) -> None:
    clock = Hands()
    async with sweeping(keptn, journal, clock=clock) as broom:
        task = asyncio.create_task(broom.sweep.run())
        await until(lambda: len(keptn.asked) > 1)
        id_ = keptn.open(triggered())
        await until(lambda: broom.accepted == [id_])
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
    assert set(clock.pauses) == {SWEEP_SECONDS}


@in_sqlite
async def test_it_sweeps_on_when_the_journal_works_again(
    keptn: FakeKeptn, journal: AnyJournal, tmp_path: Path
) -> None:
    clock = Hands()
    id_ = keptn.open(triggered())
    with closing(sqlite3.connect(tmp_path / "journal.db")) as other:
        other.execute("ALTER TABLE executions RENAME TO away")
        async with sweeping(keptn, journal, clock=clock) as broom:
            task = asyncio.create_task(broom.sweep.run())
            await until(lambda: len(clock.pauses) > 2)
            assert broom.accepted == []
            other.execute("ALTER TABLE away RENAME TO executions")
            await until(lambda: broom.accepted == [id_])
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)


async def test_a_sweep_that_fails_unexpectedly_is_logged_and_the_next_follows(
    keptn: FakeKeptn, journal: AnyJournal, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def failing() -> None:
        raise OverflowError("year is out of range")

    id_ = keptn.open(triggered())
    async with sweeping(keptn, journal, clock=Hands()) as broom:
        with captured_logs() as lines, monkeypatch.context() as broken:
            broken.setattr(broom.sweep, "once", failing)
            task = asyncio.create_task(broom.sweep.run())
            await until(lambda: bool(lines.all))
        await until(lambda: broom.accepted == [id_])
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
    assert lines.all[0]["message"] == "the sweep failed unexpectedly"


async def test_what_is_delivered_while_it_is_being_swept_is_one_execution(
    keptn: FakeKeptn, journal: AnyJournal
) -> None:
    event = triggered()
    keptn.open(event)
    async with sweeping(keptn, journal) as broom:
        delivered = events.read_structured(orjson.dumps(event))
        await asyncio.gather(
            broom.sweep.once(), broom.accept(delivered), broom.sweep.once(), broom.sweep.once()
        )
        assert broom.accepted == [event["id"]]
        await broom.accept(delivered)
    assert len(await journal.records()) == 1


async def test_what_is_ignored_is_not_offered_again(keptn: FakeKeptn, journal: AnyJournal) -> None:
    id_ = keptn.open(triggered())
    async with sweeping(keptn, journal) as broom:
        broom.takes = False
        for _ in range(3):
            await broom.sweep.once()
    assert broom.asked_to_accept == [id_]


async def test_what_was_ignored_is_offered_again_when_other_rules_are_in_force(
    keptn: FakeKeptn, journal: AnyJournal
) -> None:
    id_ = keptn.open(triggered())
    async with sweeping(keptn, journal) as broom:
        broom.takes = False
        await broom.sweep.once()
        broom.takes, broom.rules = True, Rules(None)
        await broom.sweep.once()
    assert broom.accepted == [id_]


# Left to Keptn and to others


async def test_what_may_still_be_delivered_is_not_accepted(
    keptn: FakeKeptn, journal: AnyJournal
) -> None:
    clock = Hands()
    keptn.open({**triggered(), "time": at(clock.time - 29)})
    assert await swept(keptn, journal, clock=clock) == []
    clock.time += 2
    assert len(await swept(keptn, journal, clock=clock)) == 1


async def test_a_trigger_without_a_time_is_not_accepted(
    keptn: FakeKeptn, journal: AnyJournal
) -> None:
    keptn.open({**triggered(), "time": ""})
    assert await swept(keptn, journal) == []


async def test_what_is_not_ours_is_not_accepted(keptn: FakeKeptn, journal: AnyJournal) -> None:
    keptn.open(triggered("somebody-elses"))
    keptn.open({**triggered(), "shkeptncontext": ""})
    assert await swept(keptn, journal) == []
    assert len(keptn.asked) == 1


async def test_an_action_is_ours_under_its_other_names_too(
    keptn: FakeKeptn, journal: AnyJournal
) -> None:
    keptn.open(triggered("Say_Hello"))
    assert len(await swept(keptn, journal)) == 1


@pytest.mark.parametrize(
    "filters",
    [
        Filters(projects=("sockshop-2", "shop")),
        Filters(stages=("prod",)),
        Filters(services=("cart",)),
        Filters(projects=("sockshop",), stages=("production",), services=("cart",)),
    ],
)
async def test_what_the_distributor_filters_out_is_not_accepted(
    filters: Filters, keptn: FakeKeptn, journal: AnyJournal
) -> None:
    keptn.open(triggered())
    assert await swept(keptn, journal, filters=filters) == []


async def test_what_the_distributor_lets_pass_is_accepted(
    keptn: FakeKeptn, journal: AnyJournal
) -> None:
    keptn.open(triggered())
    filters = Filters(("webshop", "sockshop"), ("production",), ("carts", "orders"))
    assert len(await swept(keptn, journal, filters=filters)) == 1


async def test_what_no_subscription_is_known_for_yet_is_not_accepted(
    keptn: FakeKeptn, journal: AnyJournal
) -> None:
    keptn.open(triggered())
    us = Integration(name="us", namespace="n", hostname="h", pod="p", version="0", location="")
    api = ApiClient(keptn.url)
    uniform = Uniform(api, us, [Subscription(events.TRIGGERED)], StandingClock())
    keptn.fail_at("uniform")
    await uniform.beat()
    assert await swept(keptn, journal, uniform=uniform) == []
    keptn.recover("uniform")
    await uniform.beat()
    assert len(await swept(keptn, journal, uniform=uniform)) == 1
    await api.close()


async def test_what_another_provider_answered_is_not_accepted(
    keptn: FakeKeptn, journal: AnyJournal
) -> None:
    keptn.answer_as("another", "started", keptn.open(triggered()))
    assert await swept(keptn, journal) == []


async def test_what_we_answered_before_the_journal_forgot_is_not_run_again(
    keptn: FakeKeptn, journal: AnyJournal
) -> None:
    event = triggered()
    keptn.expect_unanswered(keptn.open(event))
    await begin(keptn, event)
    assert await swept(keptn, journal) == []


async def test_what_is_paused_is_accepted_only_when_it_is_resumed(
    keptn: FakeKeptn, journal: AnyJournal
) -> None:
    id_ = keptn.open(triggered())
    keptn.pause(id_)
    assert await swept(keptn, journal) == []
    keptn.resume(id_)
    assert await swept(keptn, journal) == [id_]


async def test_what_is_queued_is_not_accepted(keptn: FakeKeptn, journal: AnyJournal) -> None:
    keptn.queue(keptn.open(triggered()))
    assert await swept(keptn, journal) == []


async def test_what_keptn_ended_is_not_accepted(keptn: FakeKeptn, journal: AnyJournal) -> None:
    keptn.abort(keptn.open(triggered()))
    keptn.time_out(keptn.open(triggered()))
    assert await swept(keptn, journal) == []


# A service whose other sequence runs: Keptn holds the trigger back, and does not show it


async def test_what_another_sequence_of_the_service_holds_back_is_not_accepted(
    keptn: FakeKeptn, journal: AnyJournal
) -> None:
    running = keptn.open(triggered("somebody-elses"))
    keptn.answer_as("another", "started", running)
    held_back = keptn.open(triggered())
    assert keptn.is_held_back(held_back)
    assert await swept(keptn, journal) == []
    keptn.answer_as("another", "finished", running)
    assert not keptn.is_held_back(held_back)
    assert await swept(keptn, journal) == [held_back]


async def test_another_service_of_the_stage_holds_nothing_back(
    keptn: FakeKeptn, journal: AnyJournal
) -> None:
    keptn.answer_as("another", "started", keptn.open(triggered(service="orders")))
    missed = keptn.open(triggered())
    assert not keptn.is_held_back(missed)
    assert await swept(keptn, journal) == [missed]


async def test_what_waits_for_an_evaluation_of_the_service_is_not_accepted(
    keptn: FakeKeptn, journal: AnyJournal
) -> None:
    keptn.evaluate_afterwards()
    evaluated = keptn.open(triggered("somebody-elses"))
    keptn.answer_as("another", "started", evaluated)
    keptn.answer_as("another", "finished", evaluated)
    queued = keptn.open(triggered())
    assert await swept(keptn, journal) == []
    keptn.end_sequence(evaluated)
    assert await swept(keptn, journal) == [queued]


async def test_of_two_of_a_service_the_older_is_accepted_first(
    keptn: FakeKeptn, journal: AnyJournal
) -> None:
    younger = keptn.open({**triggered(), "time": "2026-01-01T00:00:01Z"})
    older = keptn.open({**triggered(), "time": "2026-01-01T00:00:00.9Z"})
    assert await swept(keptn, journal) == [older]
    keptn.answer_as("another", "started", older)
    keptn.answer_as("another", "finished", older)
    assert await swept(keptn, journal) == [younger]


MIDNIGHT = ("2026-01-01T00:00:00Z", "2026-01-01T00:00:00.000000000Z", "2026-01-01T01:00:00+01:00")


async def test_what_was_triggered_at_one_moment_is_accepted_in_its_order(
    keptn: FakeKeptn, journal: AnyJournal
) -> None:
    noon = keptn.open({**triggered(), "time": "2026-01-01T12:00:00Z"})
    listed = [keptn.open({**triggered(), "time": time}) for time in MIDNIGHT * 3]
    assert await swept(keptn, journal) == listed
    assert noon not in await journal.known([noon])


async def test_what_the_journal_did_not_take_is_not_overtaken_in_its_service(
    keptn: FakeKeptn, journal: AnyJournal
) -> None:
    first, second = (keptn.open({**triggered(), "time": time}) for time in MIDNIGHT[:2])
    other = keptn.open({**triggered(service="orders"), "time": "2026-01-01T00:00:01Z"})
    async with sweeping(keptn, journal) as broom:
        broom.journal_failures = 1
        await broom.sweep.once()
        assert broom.accepted == [other]
        await broom.sweep.once()
        assert broom.accepted == [other, first, second]


class DeafAtFirst(HttpControlPlane):
    """Gets no answer to its first question about sequences."""

    questions = 0

    async def _sequences(self, query: Mapping[str, str]) -> list[answers.Sequence] | None:
        self.questions += 1
        return None if self.questions < 3 else await super()._sequences(query)


async def test_what_keptn_says_nothing_of_is_not_overtaken_in_its_service(
    keptn: FakeKeptn, journal: AnyJournal
) -> None:
    both = [keptn.open({**triggered(), "time": time}) for time in MIDNIGHT[:2]]
    async with sweeping(keptn, journal, asking=DeafAtFirst) as broom:
        await broom.sweep.once()
        assert broom.accepted == []
        await broom.sweep.once()
        assert broom.accepted == both


async def test_a_paused_sequence_holds_nothing_back(keptn: FakeKeptn, journal: AnyJournal) -> None:
    paused = keptn.open(triggered())
    keptn.pause(paused)
    id_ = keptn.open(triggered())
    assert await swept(keptn, journal) == [id_]


async def test_other_stages_and_projects_hold_nothing_back(
    keptn: FakeKeptn, journal: AnyJournal
) -> None:
    for scope in ({"stage": "dev"}, {"project": "another"}):
        keptn.answer_as("another", "started", keptn.open(triggered("somebody-elses", **scope)))
    id_ = keptn.open(triggered())
    assert await swept(keptn, journal) == [id_]


# A Keptn that can't be asked


@pytest.mark.parametrize("release", OLD)
async def test_a_keptn_that_does_not_tell_who_answered_is_left_alone(
    release: Release, journal: AnyJournal
) -> None:
    async with FakeKeptn(release) as keptn:
        keptn.open(triggered())
        assert await swept(keptn, journal, answers=True) == []
    assert await journal.records() == []


@pytest.mark.parametrize("status", [401, 404, 429, 500, 503, None])
@pytest.mark.parametrize("endpoint", ["triggered", "sequence-execution"])
async def test_where_keptn_fails_nothing_happens(
    endpoint: Any, status: int | None, keptn: FakeKeptn, journal: AnyJournal
) -> None:
    id_ = keptn.open(triggered())
    if status:
        keptn.fail_at(endpoint, status)
    else:
        keptn.hang_up_at(endpoint)
    assert await swept(keptn, journal) == []
    keptn.recover(endpoint)
    assert await swept(keptn, journal) == [id_]


class ShortOfBreath(HttpControlPlane):
    """Answers the first question about a sequence, and not the second."""

    async def running_tasks(self, project: str, stage: str, service: str) -> None:
        return None


async def test_what_may_be_held_back_is_not_accepted(keptn: FakeKeptn, journal: AnyJournal) -> None:
    keptn.open(triggered())
    broom = Broom(keptn, journal, asking=ShortOfBreath)
    await broom.sweep.once()
    await broom.control_plane.close()
    assert broom.accepted == []


async def test_a_project_that_keptn_does_not_know_is_left_alone(
    keptn: FakeKeptn, journal: AnyJournal
) -> None:
    keptn.open(triggered())
    keptn.projects.clear()
    assert await swept(keptn, journal) == []


# What an earlier journal had begun


async def test_what_was_begun_and_lost_with_the_volume_is_answered_errored(
    keptn: FakeKeptn, journal: AnyJournal
) -> None:
    event = triggered()
    id_ = keptn.open(event)
    await begin(keptn, event)
    async with sweeping(keptn, journal, answers=True) as broom:
        await broom.sweep.once()
        await broom.sweep.once()
    [unsent] = broom.reported
    await send(keptn, unsent.report.body)
    outcome = keptn.outcome(id_)
    assert (outcome.status, outcome.result) == ("errored", "fail")
    assert "lost with an earlier journal" in keptn.finished(id_)[0].data["message"]
    [record] = await journal.records()
    assert (record.id, record.action, record.state) == (id_, "greet", "finished")
    assert broom.accepted == []


async def test_a_death_between_storing_and_reporting_loses_no_answer_and_makes_no_second(
    keptn: FakeKeptn, tmp_path: Path
) -> None:
    event = triggered()
    id_ = keptn.open(event)
    await begin(keptn, event)
    first = SqliteJournal.open(tmp_path / "journal.db")
    async with sweeping(keptn, first, answers=True) as broom:
        await broom.sweep.once()
    await first.close()
    second = SqliteJournal.open(tmp_path / "journal.db")
    async with sweeping(keptn, second, answers=True) as after:
        await after.sweep.once()
    [unsent] = (await second.claim_reports(10)).items
    await second.close()
    await send(keptn, unsent.report.body)
    assert after.reported == []
    assert keptn.outcome(id_).status == "errored"


async def test_what_was_lost_is_left_open_unless_that_is_switched_on(
    keptn: FakeKeptn, journal: AnyJournal
) -> None:
    event = triggered()
    keptn.expect_unanswered(keptn.open(event))
    await begin(keptn, event)
    assert await swept(keptn, journal) == []
    assert await journal.records() == []


async def test_it_can_answer_what_was_lost_without_taking_anything_up(
    keptn: FakeKeptn, journal: AnyJournal
) -> None:
    lost, undelivered = triggered(stage="dev"), triggered(stage="prod")
    for event in (lost, undelivered):
        keptn.expect_unanswered(keptn.open(event))
    await begin(keptn, lost)
    async with sweeping(keptn, journal, answers=True, sweeps=False) as broom:
        await broom.sweep.once()
    assert [unsent.report.execution for unsent in broom.reported] == [lost["id"]]
    assert broom.accepted == []


async def test_what_others_began_and_what_is_under_way_is_not_answered(
    keptn: FakeKeptn, journal: AnyJournal
) -> None:
    under_way, known_to_be_done = triggered(stage="a"), triggered(stage="b")
    for event in (under_way, known_to_be_done):
        keptn.expect_unanswered(keptn.open(event))
    await journal.accept(events.stored_trigger(orjson.dumps(under_way)), "greet")
    await begin(keptn, under_way)
    keptn.answer_as("another", "started", known_to_be_done["id"])
    await begin(keptn, known_to_be_done, finish=True)
    keptn.answer_as("another", "started", keptn.open(triggered(stage="c")))
    async with sweeping(keptn, journal, answers=True) as broom:
        await broom.sweep.once()
    assert broom.reported == []


async def test_what_was_lost_and_is_paused_is_answered_all_the_same(
    keptn: FakeKeptn, journal: AnyJournal
) -> None:
    event = triggered()
    keptn.expect_unanswered(keptn.open(event))
    await begin(keptn, event)
    keptn.pause(event["id"])
    async with sweeping(keptn, journal, answers=True) as broom:
        await broom.sweep.once()
    assert len(broom.reported) == 1


# What was closed here as aborted, and is listed as open again


async def closed(journal: AnyJournal, event: dict[str, Any], *, was_started: bool) -> None:
    """Close an execution as aborted, as a list that lacked it made us do."""
    trigger = events.stored_trigger(orjson.dumps(event))
    execution = await journal.accept(trigger, "greet")
    assert execution
    if was_started:
        started = await journal.begin(
            execution, Replies(SOURCE).started(trigger, datetime.now(UTC))
        )
        assert started
        await journal.forget([started])
    aborted = Ending(Outcome.errored("Keptn no longer waits for it"), is_aborted=True)
    await journal.finish(execution, aborted, attempts=1)


@pytest.mark.parametrize("release", ["0.19", "1.4"])
@pytest.mark.parametrize("was_started", [False, True])
async def test_what_was_closed_and_is_open_again_is_answered_errored_once(
    was_started: bool, release: Release, journal: AnyJournal
) -> None:
    event = triggered()
    async with FakeKeptn(release) as keptn:
        id_ = keptn.open(event)
        if was_started:
            await begin(keptn, event)
        await closed(journal, event, was_started=was_started)
        async with sweeping(keptn, journal) as broom:
            await broom.sweep.once()
            await broom.sweep.once()
        for unsent in broom.reported:
            await send(keptn, unsent.report.body)
        assert keptn.outcome(id_).status == "errored"
        told = keptn.finished(id_)[0].data["message"]
        assert "lists it as open again: Keptn no longer waits for it" in told
    record = await journal.record(id_)
    assert record
    assert (record.status, record.result) == ("errored", "fail")


class Unrouted(HttpControlPlane):
    """Says once that there is no such endpoint, as a proxy may."""

    said = False

    async def progress(self, project: str, context: str, triggered_id: str) -> Progress | None:
        if not self.said:
            self.said = True
            return "untold"
        return await super().progress(project, context, triggered_id)


async def test_one_404_answers_nothing_that_keptn_ended(
    keptn: FakeKeptn, journal: SqliteJournal
) -> None:
    event = triggered()
    keptn.open(event)
    keptn.end_task(event["id"])
    await closed(journal, event, was_started=False)
    async with sweeping(keptn, journal, asking=Unrouted) as broom:
        assert broom.sweep._reopened
        for _ in range(2):
            await broom.sweep._reopened.answer([event["id"]])
    assert broom.reported == []


async def test_what_keptn_really_ended_is_not_answered(
    keptn: FakeKeptn, journal: AnyJournal
) -> None:
    event = triggered()
    keptn.open(event)
    keptn.end_task(event["id"])
    await closed(journal, event, was_started=False)
    async with sweeping(keptn, journal) as broom:
        assert broom.sweep._reopened
        await broom.sweep._reopened.answer([event["id"]])
        keptn.fail_at("sequence-execution")
        await broom.sweep._reopened.answer([event["id"]])
    assert broom.reported == []


async def test_a_keptn_that_says_nothing_of_what_is_open_again_is_asked_about_a_few(
    keptn: FakeKeptn, journal: AnyJournal
) -> None:
    """Each may take a time-out, and the rest of the sweep waits for it."""
    again = [triggered(service=f"s{number}") for number in range(3 * AT_ONCE)]
    for event in again:
        keptn.expect_unanswered(keptn.open(event))
        await closed(journal, event, was_started=False)
    ids = [event["id"] for event in again]
    async with sweeping(keptn, journal) as broom:
        assert broom.sweep._reopened
        keptn.fail_at("sequence-execution")
        await broom.sweep._reopened.answer(ids)
        contexts = {path.partition("keptnContext=")[2].partition("&")[0] for path in keptn.asked}
        assert len(contexts - {""}) == AT_ONCE
        keptn.recover("sequence-execution")
        await broom.sweep._reopened.answer(ids)
    assert {unsent.report.execution for unsent in broom.reported} == set(ids)

"""Executions whose task Keptn has ended are aborted: once that is certain, and only then."""

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Collection, Coroutine
from contextlib import asynccontextmanager, closing
from pathlib import Path
from typing import Any, Literal

import orjson
import pytest

from keptn_remedy import events
from keptn_remedy.journal import JournalError
from keptn_remedy.journal.sqlite import SqliteJournal
from keptn_remedy.keptn.aborted_tasks import AbortedTasks
from keptn_remedy.keptn.api import ApiClient
from keptn_remedy.keptn.control_plane.over_http import HttpControlPlane
from keptn_remedy.keptn.task_ends import DOUBTED_PERIODS, TaskEnds
from keptn_remedy.support.clock import Clock
from keptn_remedy.testing import FakeKeptn, HttpPeer, triggered
from keptn_remedy.testing.fake_keptn import Endpoint, Release
from tests.log_lines import captured_logs
from tests.waiting import until

PERIOD = 5.0
OLD: list[Release] = ["0.8", "0.14", "0.19"]
GONE = "Keptn no longer waits for it"


class Hands(Clock):
    """A clock that is set by hand, whose pauses pass at once."""

    def __init__(self) -> None:
        self.time = super().now()

    def now(self) -> float:
        return self.time

    monotonic = now

    async def sleep(self, seconds: float) -> None:
        self.time += seconds
        await super().sleep(0.001)


@pytest.fixture
def clock() -> Hands:
    return Hands()


@pytest.fixture
async def journal(tmp_path: Path, clock: Hands) -> AsyncIterator[SqliteJournal]:
    opened = SqliteJournal.open(tmp_path / "journal.db", now=clock.now)
    yield opened
    await opened.close()


@pytest.fixture
async def keptn() -> AsyncIterator[FakeKeptn]:
    async with FakeKeptn() as keptn:
        yield keptn


class Watch:
    """The watch over one journal, and what it aborted."""

    def __init__(self, keptn: FakeKeptn | HttpPeer, journal: SqliteJournal, clock: Hands) -> None:
        self.aborted: dict[str, str] = {}
        self.journal, self.clock = journal, clock
        self.control_plane = HttpControlPlane(ApiClient(keptn.url), "keptn-remedy")
        self.ends = TaskEnds(self.control_plane, clock, period_seconds=PERIOD)
        self.aborts = AbortedTasks(
            journal,
            self.ends,
            clock,
            self._abort,
            period_seconds=PERIOD,
            other_tasks={"get-sli"},
        )

    def _abort(self, execution_id: str, reason: str) -> None:
        assert execution_id not in self.aborted
        self.aborted[execution_id] = reason

    async def accept(self, event: dict[str, Any], action: str = "scale") -> str:
        """An execution of ours that is old enough to be asked about."""
        await self.journal.accept(events.stored_trigger(orjson.dumps(event)), action)
        self.clock.time += PERIOD + 1
        return str(event["id"])

    async def look(self, times: int = 1) -> None:
        for _ in range(times):
            self.clock.time += PERIOD
            await self.aborts.compare()

    async def hear(self, event: dict[str, Any]) -> list[str]:
        return await self.aborts.abort_by_event(events.read_structured(orjson.dumps(event)))


@pytest.fixture
async def watch(keptn: FakeKeptn, journal: SqliteJournal, clock: Hands) -> AsyncIterator[Watch]:
    watch = Watch(keptn, journal, clock)
    yield watch
    await watch.control_plane.close()


@asynccontextmanager
async def watching(
    release: Release, journal: SqliteJournal, clock: Hands
) -> AsyncIterator[tuple[FakeKeptn, Watch]]:
    """A Keptn of that release, watched."""
    async with FakeKeptn(release) as keptn:
        watch = Watch(keptn, journal, clock)
        yield keptn, watch
        await watch.control_plane.close()


async def opened(keptn: FakeKeptn, watch: Watch, event: dict[str, Any]) -> str:
    keptn.open(event)
    return await watch.accept(event)


@asynccontextmanager
async def running(loop: Coroutine[Any, Any, None]) -> AsyncIterator[asyncio.Task[None]]:
    task = asyncio.create_task(loop)
    yield task
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


@pytest.mark.parametrize("release", OLD)
async def test_what_was_listed_and_then_is_missing_twice_is_aborted(
    release: Release, journal: SqliteJournal, clock: Hands
) -> None:
    async with watching(release, journal, clock) as (keptn, watch):
        id_ = await opened(keptn, watch, triggered("scale"))
        keptn.open(triggered("scale"))
        await watch.look()
        keptn.abort(id_)
        await watch.look()
        assert watch.aborted == {}
        await watch.look()
    assert watch.aborted == {id_: GONE}
    [task] = await journal.open_tasks(clock.now())
    assert task.aborted == GONE


@pytest.mark.parametrize("release", OLD)
async def test_a_list_that_lacks_everything_is_doubted_for_a_minute(
    release: Release, journal: SqliteJournal, clock: Hands
) -> None:
    async with watching(release, journal, clock) as (keptn, watch):
        ids = [await opened(keptn, watch, triggered("scale")) for _ in range(5)]
        await watch.look()
        keptn.answer_empty_at("triggered")
        await watch.look(times=DOUBTED_PERIODS)
        assert watch.aborted == {}
        await watch.look()
    assert sorted(watch.aborted) == sorted(ids)


@pytest.mark.parametrize("empty", ["triggered", "sequence-execution"])
async def test_one_empty_answer_ends_nothing_however_long_it_lasts(
    empty: Literal["triggered", "sequence-execution"], keptn: FakeKeptn, watch: Watch
) -> None:
    for _ in range(5):
        await opened(keptn, watch, triggered("scale"))
    await watch.look()
    keptn.answer_empty_at(empty)
    await watch.look(times=10 * DOUBTED_PERIODS)
    assert watch.aborted == {}


async def test_what_both_answers_lack_is_doubted_for_a_minute(
    keptn: FakeKeptn, watch: Watch
) -> None:
    id_ = await opened(keptn, watch, triggered("scale"))
    keptn.open(triggered("scale"))
    await watch.look()
    keptn.answer_empty_at("triggered")
    keptn.answer_empty_at("sequence-execution")
    await watch.look(times=DOUBTED_PERIODS)
    assert watch.aborted == {}
    await watch.look()
    assert watch.aborted == {id_: GONE}


@pytest.mark.parametrize("was_listed", [False, True])
async def test_a_sequence_that_shows_its_abort_is_believed_at_once(
    was_listed: bool, keptn: FakeKeptn, watch: Watch
) -> None:
    id_ = await opened(keptn, watch, triggered("scale"))
    if was_listed:
        await watch.look()
    keptn.abort(id_)
    await watch.look()
    assert watch.aborted == {id_: GONE}


async def test_keptn_is_asked_about_hundreds_at_once_and_no_more_where_it_fails(
    keptn: FakeKeptn, watch: Watch
) -> None:
    ids = [await opened(keptn, watch, triggered("scale")) for _ in range(25)]
    for id_ in ids:
        keptn.abort(id_)
    keptn.fail_at("sequence-execution")
    await watch.look()
    assert len(keptn.asked) <= 1 + 2 * 10
    assert watch.aborted == {}
    keptn.recover("sequence-execution")
    await watch.look()
    assert sorted(watch.aborted) == sorted(ids)


async def test_what_is_aborted_is_aborted_once(keptn: FakeKeptn, watch: Watch) -> None:
    id_ = await opened(keptn, watch, triggered("scale"))
    await watch.look()
    [told] = keptn.abort(id_)
    await watch.look(times=4)
    assert await watch.hear(told) == []
    assert list(watch.aborted) == [id_]


async def test_keptn_is_not_asked_about_what_is_aborted(keptn: FakeKeptn, watch: Watch) -> None:
    [told] = keptn.abort(await opened(keptn, watch, triggered("scale")))
    await watch.hear(told)
    asked = list(keptn.asked)
    await watch.look()
    assert keptn.asked == asked


async def test_what_timed_out_is_aborted(keptn: FakeKeptn, watch: Watch) -> None:
    id_ = await opened(keptn, watch, triggered("scale"))
    await watch.look()
    keptn.time_out(id_)
    await watch.look(times=2)
    assert list(watch.aborted) == [id_]


async def test_what_another_provider_finished_is_aborted(keptn: FakeKeptn, watch: Watch) -> None:
    id_ = await opened(keptn, watch, triggered("scale"))
    await watch.look()
    keptn.answer_as("another", "started", id_)
    await watch.look(times=2)
    assert watch.aborted == {}
    keptn.answer_as("another", "finished", id_)
    await watch.look(times=2)
    assert list(watch.aborted) == [id_]


async def test_what_comes_back_is_doubted_anew(journal: SqliteJournal, clock: Hands) -> None:
    async with watching("0.19", journal, clock) as (keptn, flickering):
        id_ = await opened(keptn, flickering, triggered("scale"))
        await flickering.look()
        for _ in range(3):
            keptn.answer_empty_at("triggered")
            await flickering.look(times=DOUBTED_PERIODS)
            keptn.recover("triggered")
            await flickering.look()
        assert flickering.aborted == {}
        keptn.answer_empty_at("triggered")
        await flickering.look(times=DOUBTED_PERIODS + 1)
        assert list(flickering.aborted) == [id_]


async def test_what_is_over_is_not_counted_any_more(journal: SqliteJournal, clock: Hands) -> None:
    async with watching("0.19", journal, clock) as (keptn, old):
        id_ = await opened(keptn, old, triggered("scale"))
        await old.look()
        keptn.abort(id_)
        await old.look()
        assert list(old.ends._absent_since) == [id_]
        assert await old.journal.note_abort(id_, "an event told")
        await old.look()
        assert old.ends._absent_since == {}


@pytest.mark.parametrize("status", [404, 401, 429, 500, 503, None])
@pytest.mark.parametrize("endpoint", ["triggered", "sequence-execution"])
async def test_an_answer_that_fails_ends_nothing(
    endpoint: Endpoint, status: int | None, keptn: FakeKeptn, watch: Watch
) -> None:
    id_ = await opened(keptn, watch, triggered("scale"))
    await watch.look()
    keptn.abort(id_)
    if status:
        keptn.fail_at(endpoint, status)
    else:
        keptn.hang_up_at(endpoint)
    await watch.look(times=2 * DOUBTED_PERIODS)
    assert watch.aborted == {}
    keptn.recover(endpoint)
    await watch.look()
    assert list(watch.aborted) == [id_]


async def test_a_project_that_keptn_forgot_changes_nothing(keptn: FakeKeptn, watch: Watch) -> None:
    await opened(keptn, watch, triggered("scale"))
    await watch.look()
    keptn.projects.clear()
    await watch.look(times=2 * DOUBTED_PERIODS)
    assert watch.aborted == {}


async def test_what_keptn_never_heard_of_is_not_aborted(keptn: FakeKeptn, watch: Watch) -> None:
    keptn.open(triggered("scale"))
    await watch.accept(triggered("scale"))
    await watch.look(times=2 * DOUBTED_PERIODS)
    assert watch.aborted == {}


async def test_what_was_listed_before_a_restart_is_aborted_after_it(
    keptn: FakeKeptn, watch: Watch
) -> None:
    id_ = await opened(keptn, watch, triggered("scale"))
    await watch.look()
    keptn.abort(id_)
    after = Watch(keptn, watch.journal, watch.clock)
    await after.look(times=2)
    await after.control_plane.close()
    assert list(after.aborted) == [id_]


async def test_a_pause_is_no_abort(keptn: FakeKeptn, watch: Watch) -> None:
    id_ = await opened(keptn, watch, triggered("scale"))
    await watch.look()
    keptn.pause(id_)
    await watch.look(times=5)
    assert watch.aborted == {}


async def test_keptn_is_asked_once_for_all_of_a_project(keptn: FakeKeptn, watch: Watch) -> None:
    for _ in range(50):
        await opened(keptn, watch, triggered("scale"))
    await opened(keptn, watch, triggered("scale", project="other"))
    await watch.look()
    assert len(keptn.asked) == 2


async def test_nothing_is_asked_while_nothing_is_open(keptn: FakeKeptn, watch: Watch) -> None:
    await watch.look()
    assert keptn.asked == []


async def test_it_looks_on_when_the_journal_works_again(
    keptn: FakeKeptn, watch: Watch, tmp_path: Path
) -> None:
    id_ = await opened(keptn, watch, triggered("scale"))
    await watch.look()
    keptn.abort(id_)
    with closing(sqlite3.connect(tmp_path / "journal.db")) as other:
        other.execute("ALTER TABLE executions RENAME TO away")
        async with running(watch.aborts.run()):
            before = watch.clock.time
            await until(lambda: watch.clock.time > before + 3 * PERIOD)
            assert watch.aborted == {}
            other.execute("ALTER TABLE away RENAME TO executions")
            await until(lambda: id_ in watch.aborted)


async def test_a_look_that_fails_for_one_project_ends_when_it_has_ended_for_all(
    keptn: FakeKeptn, watch: Watch, monkeypatch: pytest.MonkeyPatch
) -> None:
    await opened(keptn, watch, triggered("scale"))
    await opened(keptn, watch, triggered("scale", project="slow"))
    failed, answer = asyncio.Event(), asyncio.Event()
    open_ids = watch.control_plane.open_ids

    async def slow_ids(project: str) -> frozenset[str] | None:
        if project == "slow":
            await answer.wait()
        return await open_ids(project)

    async def broken(ids: Collection[str]) -> None:
        failed.set()
        raise JournalError("disk I/O error")

    monkeypatch.setattr(watch.control_plane, "open_ids", slow_ids)
    monkeypatch.setattr(watch.journal, "note_listed", broken)
    look = asyncio.create_task(watch.look())
    await failed.wait()
    for _ in range(10):
        await asyncio.sleep(0)
    assert not look.done()
    answer.set()
    with pytest.raises(JournalError):
        await look


async def test_it_looks_every_few_seconds(keptn: FakeKeptn, watch: Watch) -> None:
    id_ = await opened(keptn, watch, triggered("scale"))
    async with running(watch.aborts.run()):
        await until(lambda: len(keptn.asked) > 2)
        keptn.abort(id_)
        await until(lambda: id_ in watch.aborted)


async def test_a_look_that_fails_unexpectedly_is_logged_and_the_next_follows(
    keptn: FakeKeptn, watch: Watch, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def failing() -> None:
        raise OverflowError("year is out of range")

    id_ = await opened(keptn, watch, triggered("scale"))
    with captured_logs() as lines, monkeypatch.context() as broken:
        broken.setattr(watch.aborts, "compare", failing)
        async with running(watch.aborts.run()):
            await until(lambda: bool(lines.all))
            broken.undo()
            keptn.abort(id_)
            await until(lambda: id_ in watch.aborted)
    assert lines.all[0]["message"] == "looking for aborted tasks failed unexpectedly"


# What arrives


async def test_the_end_of_an_aborted_sequence_aborts_its_executions(
    keptn: FakeKeptn, watch: Watch
) -> None:
    id_ = await opened(keptn, watch, triggered("scale"))
    [told] = keptn.abort(id_)
    assert await watch.hear(told) == [id_]
    assert watch.aborted == {id_: "Keptn ended the sequence"}


@pytest.mark.parametrize(
    "change",
    [
        {"shkeptncontext": "another"},
        {"type": "sh.keptn.event.staging.remediation.finished"},
        {"type": "sh.keptn.event.production.remediation.started"},
        {"type": "sh.keptn.event.action.finished"},
        {"data": None},
        {"data": {"project": "another", "service": "carts", "status": "aborted"}},
    ],
)
async def test_the_end_of_another_sequence_is_no_reason_to_ask(
    change: dict[str, Any], keptn: FakeKeptn, watch: Watch
) -> None:
    id_ = await opened(keptn, watch, triggered("scale"))
    [told] = keptn.abort(id_)
    assert await watch.hear({**told, **change}) == []
    assert watch.aborted == {}
    assert keptn.asked == []


async def test_the_end_of_a_round_before_aborts_nothing(keptn: FakeKeptn, watch: Watch) -> None:
    first = triggered("scale")
    earlier = keptn.open(first)
    keptn.answer_as("another", "started", earlier)
    keptn.answer_as("another", "finished", earlier)
    second = {**triggered("scale"), "shkeptncontext": first["shkeptncontext"]}
    await opened(keptn, watch, second)
    assert await watch.hear(keptn.sequence_finished(earlier)) == []
    assert watch.aborted == {}


async def test_a_time_out_is_heard_as_an_abort_is(keptn: FakeKeptn, watch: Watch) -> None:
    id_ = await opened(keptn, watch, triggered("scale"))
    assert await watch.hear(keptn.time_out(id_)) == [id_]


async def test_a_task_that_keptn_does_not_know_outlives_an_aborted_sequence_of_its_context(
    keptn: FakeKeptn, watch: Watch
) -> None:
    scaling = triggered("scale")
    id_ = await opened(keptn, watch, scaling)
    of_lighthouse = {"source": "lighthouse-service", "shkeptncontext": scaling["shkeptncontext"]}
    sli = {**triggered("", task="get-sli"), **of_lighthouse}
    sli_id = await watch.accept(sli, "get-sli")
    [told] = keptn.abort(id_)
    assert await watch.hear(told) == [id_]
    await watch.look(DOUBTED_PERIODS + 1)
    assert sli_id not in watch.aborted


@pytest.mark.parametrize("release", OLD)
async def test_where_sequences_are_not_shown_the_event_and_the_list_agree(
    release: Release, journal: SqliteJournal, clock: Hands
) -> None:
    async with watching(release, journal, clock) as (keptn, watch):
        id_ = await opened(keptn, watch, triggered("scale"))
        [told] = keptn.abort(id_)
        assert await watch.hear(told) == [id_]


@pytest.mark.parametrize("sequence", ["remediation", "delivery"])
async def test_an_event_is_not_believed_while_keptn_can_not_be_asked(
    sequence: str, keptn: FakeKeptn, watch: Watch
) -> None:
    id_ = await opened(keptn, watch, triggered("scale"))
    await watch.look()
    [told] = keptn.abort(id_)
    keptn.fail_at("triggered", 503)
    told = {**told, "type": f"sh.keptn.event.production.{sequence}.finished"}
    assert await watch.hear(told) == []
    assert watch.aborted == {}
    keptn.recover("triggered")
    await watch.look(times=2)
    assert watch.aborted == {id_: GONE}


async def test_an_abort_ends_all_rounds_that_are_open(keptn: FakeKeptn, watch: Watch) -> None:
    first = triggered("scale")
    ids = [
        await opened(keptn, watch, first),
        await opened(
            keptn, watch, {**triggered("scale"), "shkeptncontext": first["shkeptncontext"]}
        ),
    ]
    told, _ = keptn.abort(ids[0])
    assert await watch.hear(told) == ids


# Asked together


async def test_those_who_ask_together_share_an_answer_that_is_not_older_than_they(
    keptn: FakeKeptn, watch: Watch
) -> None:
    id_ = await opened(keptn, watch, triggered("scale"))
    together = (watch.ends.listed("sockshop") for _ in range(100))
    assert await asyncio.gather(*together) == [{id_}] * 100
    assert len(keptn.asked) == 1
    early = asyncio.create_task(watch.ends.listed("sockshop"))
    await until(lambda: len(keptn.asked) == 2)
    keptn.abort(id_)
    assert await watch.ends.listed("sockshop") == set()
    await early


async def test_an_answer_of_the_last_seconds_is_shared_where_that_is_allowed(
    keptn: FakeKeptn, watch: Watch
) -> None:
    event = triggered("scale")
    place = ("sockshop", event["shkeptncontext"], await opened(keptn, watch, event))
    await watch.look()
    keptn.abort(event["id"])
    assert await watch.ends.has_ended(*place, max_age=2.0) is False
    assert await watch.ends.has_ended(*place) is True
    assert await watch.ends.has_ended(*place, max_age=2.0) is True

"""Several replicas on one PostgreSQL: what each may take, and what it is refused."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from threading import Event
from typing import Any

import pytest
import pytest_asyncio

from keptn_remedy import Change, Plan
from keptn_remedy.journal import (
    Address,
    Alike,
    Count,
    Counted,
    Ending,
    Execution,
    History,
    Kind,
    NotOwner,
    Question,
    TargetHeld,
    open_journal,
)
from keptn_remedy.journal.foreseen import Foreseen
from keptn_remedy.journal.postgres import PostgresJournal
from keptn_remedy.journal.postgres_connection import LOCK_SECONDS
from tests.core.journals import DONE, FAILED, SetClock, accepted, allow, effect, reports_of, trigger
from tests.core.places import PostgresPlace
from tests.postgres_server import PostgresServer
from tests.waiting import until

LEASE_SECONDS = 2.0
# `LATE_WRITES=1000` makes the same proof a long one.
LATE = int(os.environ.get("LATE_WRITES", "100"))
WAITS = Alike(action="wait")
PLAN = Plan((Change("flag", "enabled", True, False),))


@pytest.fixture
def shared(postgres: PostgresServer, clock: SetClock) -> PostgresPlace:
    return PostgresPlace(postgres, clock.now)


@pytest_asyncio.fixture
async def two(shared: PostgresPlace) -> AsyncIterator[tuple[PostgresJournal, PostgresJournal]]:
    """Two replicas; a test may close or freeze the first."""
    journals = [shared.open(lease_seconds=LEASE_SECONDS) for _ in range(2)]
    yield journals[0], journals[1]
    await journals[0].close()
    await journals[1].close()


Two = tuple[PostgresJournal, PostgresJournal]


def freeze(journal: PostgresJournal) -> None:
    """As SIGSTOP does: its lease is not renewed any more."""
    assert journal._replica
    journal._replica._closed.set()
    journal._replica._waking.ring()


def nothing() -> None:
    """Nobody cares."""


class Told:
    """What a replica was told."""

    def __init__(self, journal: PostgresJournal) -> None:
        self.found = self.ordered = False
        journal.ownership.notify(nothing, self._find, self._order)

    def _find(self) -> None:
        self.found = True

    def _order(self) -> None:
        self.ordered = True


async def claimed(journal: PostgresJournal) -> list[str]:
    return [execution.id for execution in (await journal.claim(9)).items]


async def taken_over(journal: PostgresJournal) -> Execution:
    """What the other replica had, as soon as it may be claimed."""
    async with asyncio.timeout(10):
        while not (found := (await journal.claim(9)).items):  # noqa: ASYNC110  nobody tells
            await asyncio.sleep(0.02)
    return found[0]


async def test_a_trigger_that_reaches_both_is_one_execution(two: Two) -> None:
    both = await asyncio.gather(*(journal.accept(trigger("1"), "wait") for journal in two))
    assert [execution is None for execution in both].count(True) == 1


async def test_what_one_has_is_not_the_others(two: Two) -> None:
    first, second = two
    execution = await accepted(first, "1")
    assert execution.is_claimed
    assert await claimed(second) == []
    assert not (await accepted(second, "2")).is_claimed
    await first.finish(execution, Ending(DONE), attempts=1)
    assert await claimed(second) == ["2"]


async def test_a_lane_is_one_lane_for_all(two: Two, clock: SetClock) -> None:
    first, second = two
    execution = await accepted(first, "1")
    started, _ = reports_of(execution, clock)
    begun = await second.accept_and_begin(trigger("2"), "wait", started)
    assert begun
    assert begun.started is None
    assert not begun.execution.is_claimed
    elsewhere = await second.accept_and_begin(
        trigger("3", "orders"), "wait", reports_of(await accepted(first, "4", "else"), clock)[0]
    )
    assert elsewhere
    assert elsewhere.started


async def test_what_an_ended_replica_had_is_taken_up_and_its_late_writes_are_refused(
    two: Two, clock: SetClock
) -> None:
    first, second = two
    execution = await accepted(first, "1")
    started, finished = reports_of(execution, clock)
    await first.begin(execution, started)
    freeze(first)
    mine = await taken_over(second)
    assert not first.ownership.may_act()
    with pytest.raises(NotOwner):
        await first.admit(execution, PLAN, [effect(execution)], allow)
    with pytest.raises(NotOwner):
        await first.keep_failure(execution, FAILED)
    with pytest.raises(NotOwner):
        await first.set_timer(execution, 60)
    with pytest.raises(NotOwner):
        await first.note_waiting(execution)
    assert await second.timer(mine) is None
    assert await first.read_again(execution.handle) is None
    with pytest.raises(NotOwner):
        await first.finish(execution, Ending(DONE), attempts=1, reports=[finished])
    assert await second.admit(mine, PLAN, [effect(mine)], allow) is None
    # It comes after `started`, which is in doubt.
    assert await second.finish(mine, Ending(FAILED), attempts=1, reports=[finished]) == []
    assert [record.state for record in await second.records()] == ["finished"]


async def test_whoever_leaves_takes_no_run_of_another_replica_back(
    two: Two, clock: SetClock
) -> None:
    first, second = two
    execution = await accepted(first, "1")
    started, _ = reports_of(execution, clock)
    await first.begin(execution, started)
    freeze(first)
    mine = await taken_over(second)
    await second.begin(mine, started)
    for replica, runs in ((first, 2), (second, 1)):
        await replica.note_left([mine.handle])
        again = await second.read_again(mine.handle)
        assert again is not None
        assert again.runs == runs


async def test_each_late_write_of_an_ended_replica_is_refused(
    two: Two, shared: PostgresPlace
) -> None:
    first, second = two
    late = [await accepted(first, str(number), f"service {number}") for number in range(LATE)]
    freeze(first)
    await taken_over(second)
    writes = (first.finish(each, Ending(DONE), attempts=1) for each in late)
    said = await asyncio.gather(*writes, return_exceptions=True)
    assert [type(each) for each in said] == [NotOwner] * LATE
    assert shared.look("SELECT count(*) FROM executions WHERE state = 'finished'") == [(0,)]


async def test_nobody_takes_over_what_is_being_admitted(
    two: Two, shared: PostgresPlace, clock: SetClock
) -> None:
    """A replica that was stopped between the look at its ownership and the write."""
    first, second = two
    execution = await accepted(first, "1")
    looked, may_go_on = Event(), Event()

    def stop(history: History) -> None:
        looked.set()
        assert may_go_on.wait(10)

    admission = asyncio.ensure_future(first.admit(execution, PLAN, [effect(execution)], stop))
    await asyncio.to_thread(looked.wait, 10)
    freeze(first)
    await until(second.ownership.has_duty)
    # Nor does the lock keep the other one from renewing its lease.
    replica = second._replica
    assert replica
    renewed_until = replica._deadline
    async with asyncio.timeout(LOCK_SECONDS - 1):
        await until(lambda: replica._deadline > renewed_until + LEASE_SECONDS)
    assert await claimed(second) == []
    may_go_on.set()
    await admission
    mine = await taken_over(second)
    assert mine.plan == PLAN


async def test_reports_of_an_ended_replica_are_in_doubt(two: Two, clock: SetClock) -> None:
    first, second = two
    execution = await accepted(first, "1")
    started, _ = reports_of(execution, clock)
    assert await first.begin(execution, started)
    assert not (await second.claim_reports(9)).items
    freeze(first)
    await taken_over(second)
    clock.time += 10
    (unsent,) = (await second.claim_reports(9)).items
    assert unsent.doubtful


async def test_one_replica_announces_what_waits_with_any_of_them(
    two: Two, clock: SetClock, shared: PostgresPlace
) -> None:
    first, second = two
    waits = [await accepted(first, number, f"service {number}") for number in ("1", "2")]
    found = await second.unannounced(clock.time + 1, 9)
    assert [execution.id for execution in found] == ["1", "2"]
    started = reports_of(found[0], clock)[0]
    assert await second.announce(found[0], started)
    assert await second.announce(found[0], started) is None
    assert await first.begin(waits[0], started) is None  # it is announced, and still its own
    assert await first.finish(waits[0], Ending(DONE), attempts=1) == []
    freeze(first)
    await until(lambda: bool(shared.look("SELECT 1 FROM executions WHERE owner = 0")))
    assert await second.announce(found[1], reports_of(found[1], clock)[0])
    assert await second.unannounced(clock.time + 1, 9) == []


async def test_a_report_does_not_overtake_what_another_replica_has_to_send(
    two: Two, clock: SetClock
) -> None:
    first, second = two
    execution = await accepted(first, "1")
    _, finished = reports_of(execution, clock)
    assert await second.accept(trigger("2"), "wait")  # it announces what waits for the first
    waiting = (await second.unannounced(clock.time + 1, 9))[-1]
    announced = await second.announce(waiting, reports_of(waiting, clock)[0])
    assert announced
    assert await first.finish(execution, Ending(DONE), attempts=1, reports=[finished])
    (mine,) = (await first.claim(9)).items
    _, finished = reports_of(mine, clock)
    assert await first.finish(mine, Ending(DONE), attempts=1, reports=[finished]) == []
    await second.forget([announced])
    found = (await first.claim_reports(9)).items
    assert [unsent.report.execution for unsent in found] == ["2"]


async def test_a_target_is_held_for_all_until_its_execution_has_finished(two: Two) -> None:
    first, second = two
    one, other = await accepted(first, "1"), await accepted(second, "2", "orders")
    assert await first.admit(one, PLAN, [effect(one)], allow) is None
    with pytest.raises(TargetHeld):
        await second.admit(other, PLAN, [effect(other)], allow)
    await first.finish(one, Ending(DONE), attempts=1)
    # It was changed since the second one planned: the first time it must plan anew.
    with pytest.raises(TargetHeld):
        await second.admit(other, PLAN, [effect(other)], allow)
    assert await second.admit(other, PLAN, [effect(other)], allow) is None


async def test_an_undo_holds_its_targets_too(two: Two) -> None:
    first, second = two
    await until(first.ownership.has_duty)
    one, other = await accepted(first, "1"), await accepted(second, "2", "orders")
    await first.admit(one, PLAN, [effect(one)], allow)
    await first.finish(one, Ending(DONE), attempts=1)
    await second.want_undo("1", "an order", "somebody")
    assert await second.due_undos(0, 9) == []
    assert [due.execution.id for due in await first.due_undos(0, 9)] == ["1"]
    assert not await second.begin_undo("1")
    assert await first.begin_undo("1")
    with pytest.raises(TargetHeld):
        await second.admit(other, PLAN, [effect(other)], allow)
    await first.end_undo("1", "done", "undone")
    with pytest.raises(TargetHeld):
        await second.admit(other, PLAN, [effect(other)], allow)
    assert await second.admit(other, PLAN, [effect(other)], allow) is None


async def test_an_undo_that_an_ended_replica_had_begun_is_carried_out_by_another(two: Two) -> None:
    first, second = two
    await until(first.ownership.has_duty)
    one = await accepted(first, "1")
    await first.admit(one, PLAN, [effect(one)], allow)
    await first.finish(one, Ending(DONE), attempts=1)
    await first.want_undo("1", "an order", "somebody")
    assert await first.begin_undo("1")
    assert await first.due_undos(0, 9) == []
    freeze(first)
    await until(second.ownership.has_duty)
    assert [due.execution.id for due in await second.due_undos(0, 9)] == ["1"]
    assert await second.begin_undo("1")
    assert await second.due_undos(0, 9) == []
    await first.put_off_undo("1")
    await first.end_undo("1", "failed", "too late")
    other = await accepted(second, "2", "orders")
    undo = await second.undo_of("1")
    assert undo
    assert undo.state == "running"
    await second.end_undo("1", "done", "undone")
    assert await second.admit(other, PLAN, [effect(other)], allow) is None


async def test_of_many_that_ask_at_once_no_more_are_admitted_than_there_is_room(two: Two) -> None:
    """Write skew: each would count before the other is stored."""
    counted: Counted = ("executions", WAITS)
    foreseen = Foreseen(counted_in=(counted,), kinds=frozenset({("executions", ("action",))}))

    def one_at_most(history: History) -> str | None:
        return "no" if history.count(0, WAITS) else None

    async def ask(number: int) -> str | None:
        journal = two[number % 2]
        execution = await accepted(journal, str(number), f"service {number}")
        effects = [effect(execution, f"target {number}")]
        return await journal.admit(execution, None, effects, one_at_most, foreseen)

    said = await asyncio.gather(*(ask(number) for number in range(20)))
    assert said.count(None) == 1


async def test_what_another_replica_has_admitted_counts_at_once(two: Two) -> None:
    """Also where this one has counted before, and found less than the limit."""
    counted: Counted = ("executions", WAITS)
    foreseen = Foreseen(
        counts=(Count(counted, 3600, 3),),
        counted_in=(counted,),
        kinds=frozenset({("executions", ("action",))}),
    )

    def three_at_most(history: History) -> str | None:
        return "no" if history.count(history.now - 3600, WAITS, 3) >= 3 else None

    async def ask(journal: PostgresJournal, number: int) -> str | None:
        execution = await accepted(journal, str(number), f"service {number}")
        effects = [effect(execution, f"target {number}")]
        return await journal.admit(execution, None, effects, three_at_most, foreseen)

    first, second = two
    assert await ask(first, 1) is None
    assert [await ask(second, number) for number in (2, 3, 4)] == [None, None, "no"]
    assert await ask(first, 5) == "no"


async def test_those_of_one_batch_count_for_one_another(two: Two) -> None:
    first, _ = two
    stage = Alike(None, None, "sockshop", "production")
    kinds: frozenset[Kind] = frozenset(
        {("executions", ("action",)), ("effects", ("project", "stage"))}
    )
    foreseen = Foreseen(
        counts=(Count(("executions", WAITS), 3600, 99), Count(("effects", stage), 3600, 99)),
        unsettled=True,
        counted_in=(("executions", WAITS), ("effects", stage)),
        kinds=kinds,
    )
    seen: list[tuple[int, int, int]] = []

    def count(history: History) -> None:
        since = history.now - 3600
        targets = history.effects(since, "sockshop", "production", 99)
        seen.append((history.count(since, WAITS, 99), targets, history.unsettled(history.now)))
        # What nobody foresaw is asked all the same, and sees the same.
        assert len(history.distinct("target", since, "sockshop", "production")) == targets

    async def admit(number: int) -> None:
        execution = await accepted(first, str(number), f"service {number}")
        targets = [f"one {number}", f"two {number}"]
        plan = Plan(tuple(Change(target, "enabled", True, False) for target in targets))
        effects = [effect(execution, target) for target in targets]
        await first.admit(execution, plan, effects, count, foreseen)

    await asyncio.gather(*(admit(number) for number in range(8)))
    assert seen == [(number, 2 * number, number) for number in range(8)]


async def test_only_one_has_the_duty_and_another_takes_it(two: Two) -> None:
    first, second = two
    await until(first.ownership.has_duty)
    assert not second.ownership.has_duty()
    freeze(first)
    await until(second.ownership.has_duty)
    assert not first.ownership.has_duty()


async def test_nothing_acts_by_a_new_lease_before_it_was_told_that_the_old_one_is_lost(
    two: Two, shared: PostgresPlace
) -> None:
    first, _ = two
    could_act: list[bool] = []
    first.ownership.notify(lambda: could_act.append(first.ownership.may_act()), nothing, nothing)
    replica = first._replica
    assert replica
    number = replica.no
    shared.change("UPDATE replicas SET ended = TRUE WHERE no = ?", (number,))
    await until(lambda: replica.no != number and first.ownership.may_act())
    assert could_act[0] is False


async def test_a_lease_is_renewed_again_whatever_went_wrong(
    two: Two, monkeypatch: pytest.MonkeyPatch
) -> None:
    replica, has_failed = two[0]._replica, Event()
    assert replica

    def fail() -> None:
        has_failed.set()
        raise ValueError("nobody thought of it")

    with monkeypatch.context() as broken:
        broken.setattr(replica, "_connected", fail)
        await until(has_failed.is_set)
    renewed_until = replica._until
    await until(lambda: replica._until > renewed_until)


async def test_what_is_stored_while_the_lease_is_lost_is_not_acted_on(
    two: Two, shared: PostgresPlace, clock: SetClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It was stored under the old number: whoever takes it up may be another replica."""
    first, _ = two
    started, _ = reports_of(await accepted(first, "0", "else"), clock)
    replica, commit = first._replica, first._writer._commit
    assert replica
    number, is_stored, may_go_on = replica.no, Event(), Event()

    def commit_and_wait(connection: Any, batch: Any) -> None:
        commit(connection, batch)
        is_stored.set()
        may_go_on.wait(30)

    monkeypatch.setattr(first._writer, "_commit", commit_and_wait)
    storing = asyncio.create_task(first.accept_and_begin(trigger("1"), "wait", started))
    await until(is_stored.is_set)
    shared.change("UPDATE replicas SET ended = TRUE WHERE no = ?", (number,))
    await until(lambda: replica.no != number)
    may_go_on.set()
    begun = await storing
    assert begun
    assert (begun.started, begun.execution.is_claimed) == (None, False)


@pytest.mark.parametrize("restored", ["until = until - 86400", "name = 'another process'"])
async def test_a_lease_that_a_restored_backup_holds_is_nobodys(
    two: Two, shared: PostgresPlace, restored: str
) -> None:
    replica = two[0]._replica
    assert replica
    number = replica.no
    shared.change(f"UPDATE replicas SET {restored} WHERE no = ?", (number,))  # noqa: S608
    await until(lambda: replica.no != number and replica.may_act())


async def test_an_order_is_heard_when_all_have_heard_it(two: Two) -> None:
    first, second = two
    await first.pause("somebody", "a test")
    await first.note_heard(await first.orders_given())
    assert not await second.all_heard()
    await second.note_heard(await second.orders_given())
    assert await first.all_heard()


async def test_who_leaves_in_order_is_taken_over_at_once(shared: PostgresPlace) -> None:
    first, second = shared.open(), shared.open()
    await accepted(first, "1")
    await first.close()
    assert await claimed(second) == ["1"]
    await second.close()


async def test_reports_of_who_left_in_order_are_in_doubt(
    shared: PostgresPlace, clock: SetClock
) -> None:
    """What was cut off when it stopped may have reached Keptn."""
    first, second = shared.open(), shared.open()
    execution = await accepted(first, "1")
    started, _ = reports_of(execution, clock)
    assert await first.begin(execution, started)
    await first.close()
    assert (await second.claim_reports(9)).items == []
    clock.time += 2
    (unsent,) = (await second.claim_reports(9)).items
    assert unsent.doubtful
    await second.close()


async def test_an_abort_that_another_has_noted_is_known(two: Two) -> None:
    first, second = two
    await accepted(first, "1")
    assert await second.note_abort("1", "Keptn no longer waits for it")
    assert await first.ownership.aborted(["1", "2"]) == {"1": "Keptn no longer waits for it"}


async def test_a_lease_is_as_long_as_it_is_set(shared: PostgresPlace) -> None:
    journal = open_journal(Address(shared.url), lease_seconds=60)
    replica = shared.look("SELECT until - extract(epoch FROM clock_timestamp()) FROM replicas")
    assert 30 < replica[0][0] <= 60
    await journal.close()


# What one tells the others


@pytest_asyncio.fixture
async def hardly_looking(
    shared: PostgresPlace,
) -> AsyncIterator[tuple[PostgresJournal, PostgresJournal]]:
    """Two replicas that look at one another each minute; the first one knows of the second."""
    second = shared.open(lease_seconds=300)
    first = shared.open(lease_seconds=300)
    yield first, second
    await first.close()
    await second.close()


async def test_what_one_is_done_with_is_told_to_whoever_waits_for_it(hardly_looking: Two) -> None:
    first, second = hardly_looking
    told = Told(second)
    execution, elsewhere = await accepted(first, "1"), await accepted(first, "2", "orders")
    await accepted(second, "3")
    await first.finish(elsewhere, Ending(DONE), attempts=1)
    assert await claimed(second) == []
    await first.finish(execution, Ending(DONE), attempts=1)
    await until(lambda: told.found)
    assert await claimed(second) == ["3"]


async def test_that_a_target_is_free_is_told_to_whoever_waits_for_it(hardly_looking: Two) -> None:
    first, second = hardly_looking
    told = Told(second)
    one, other = await accepted(first, "1"), await accepted(second, "2", "orders")
    assert await first.admit(one, PLAN, [effect(one)], allow) is None
    with pytest.raises(TargetHeld):
        await second.admit(other, PLAN, [effect(other)], allow)
    await first.finish(one, Ending(DONE), attempts=1)
    await until(lambda: told.found)


@pytest.mark.parametrize("order", ["pause", "resume", "abort", "answer", "undo", "resend"])
async def test_an_order_is_told_to_the_others(
    hardly_looking: Two, clock: SetClock, order: str
) -> None:
    first, second = hardly_looking
    execution = await accepted(second, "1")
    await second.admit(execution, PLAN, [effect(execution)], allow)
    told = Told(second)
    if order == "pause":
        await first.pause("somebody", "a test")
    elif order == "resume":
        await first.resume()
    elif order == "abort":
        await first.note_abort("1", "a test")
    elif order == "answer":
        await second.ask(execution, Question(PLAN, "all", clock.time, clock.time + 60))
        assert await first.answer("1", "denied", "somebody", None) is None
    elif order == "undo":
        await second.finish(execution, Ending(DONE), attempts=1)
        assert await first.want_undo("1", "an order", "somebody") is None
    else:
        _, finished = reports_of(execution, clock)
        (report,) = await second.finish(execution, Ending(DONE), attempts=1, reports=[finished])
        await second.park(report, "refused")
        assert await first.resend("1")
    await until(lambda: told.ordered)


async def test_an_order_of_a_command_is_told_to_all(
    hardly_looking: Two, shared: PostgresPlace
) -> None:
    told = [Told(journal) for journal in hardly_looking]
    command = shared.beside()
    await command.pause("somebody", "a test")
    await command.close()
    await until(lambda: all(each.ordered for each in told))


async def test_who_leaves_is_taken_over_without_another_look(
    hardly_looking: Two, shared: PostgresPlace
) -> None:
    _, second = hardly_looking
    told = Told(second)
    leaving = shared.open(lease_seconds=300)
    await accepted(leaving, "1")
    await leaving.close()
    await until(lambda: told.found)
    assert await claimed(second) == ["1"]


async def test_what_was_said_while_nobody_could_hear_is_looked_for(
    hardly_looking: Two, postgres: PostgresServer
) -> None:
    told = Told(hardly_looking[1])
    postgres.execute(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
        " WHERE pid <> pg_backend_pid() AND datname = current_database()"
    )
    await until(lambda: told.found and told.ordered)

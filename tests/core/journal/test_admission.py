"""Who is let act, on real SQLite files: admission in one transaction, and the pause."""

from __future__ import annotations

import asyncio

import pytest

from keptn_remedy import Change, Outcome, Plan
from keptn_remedy.journal import (
    Alike,
    Counted,
    Ending,
    Foreseen,
    History,
    JournalError,
    Kind,
    Pause,
)
from keptn_remedy.journal import statements as sql
from tests.core.journals import (
    DONE,
    PLAN,
    SetClock,
    accepted,
    admitted,
    allow,
    asked,
    done,
    effect,
    reports_of,
)
from tests.core.places import AnyJournal, Place


async def test_what_is_admitted_is_stored_with_its_plan(journal: AnyJournal, place: Place) -> None:
    execution = await admitted(journal, "1", "a", "b")
    (found,) = await journal.planned()
    assert (found.id, found.plan, found.runs) == (execution.id, PLAN, 1)
    stored = place.look("SELECT target, admitted_at, ended_at FROM effects")
    assert stored == [("a", 1_000_000.0, None), ("b", 1_000_000.0, None)]


async def test_what_is_refused_leaves_no_trace(journal: AnyJournal) -> None:
    execution = await accepted(journal)
    refusal = await journal.admit(execution, PLAN, [effect(execution)], lambda history: "no")
    assert refusal == "no"
    assert await journal.planned() == []
    assert await asked(journal, lambda history: history.last("flag")) is None


async def test_what_was_admitted_before_a_restart_is_not_asked_about_again(
    place: Place, clock: SetClock
) -> None:
    first = place.open()
    planned = await admitted(first, "planned", "a")
    plain = await accepted(first, "plain", "plain")
    assert await first.admit(plain, None, [effect(plain)], allow) is None
    nothing = await accepted(first, "nothing", "nothing")
    assert await first.admit(nothing, Plan(()), [], allow) is None
    await first.close()
    second = place.open()
    for execution in (planned, plain, nothing):
        assert await second.admit(execution, None, [], lambda history: "no") is None
    assert await asked(second, lambda history: history.count(0, Alike(action="wait"))) == 2
    await second.close()


async def test_of_two_that_ask_at_once_the_second_sees_the_first(journal: AnyJournal) -> None:
    def one_at_most(history: History) -> str | None:
        return "no" if history.count(0, Alike(target="flag")) else None

    executions = [await accepted(journal, str(n), str(n)) for n in range(20)]
    verdicts = await asyncio.gather(
        *(journal.admit(e, PLAN, [effect(e)], one_at_most) for e in executions)
    )
    assert verdicts == [None, *["no"] * 19]


async def test_what_deciding_raises_reaches_the_caller_and_takes_no_neighbour_along(
    journal: AnyJournal,
) -> None:
    def broken(history: History) -> str:
        raise ZeroDivisionError("a mistake in a rail")

    first, second, third = [await accepted(journal, n, n) for n in "123"]
    results = await asyncio.gather(
        journal.finish(first, Ending(DONE), attempts=1),
        journal.admit(second, PLAN, [effect(second)], broken),
        journal.finish(third, Ending(DONE), attempts=1),
        return_exceptions=True,
    )
    assert isinstance(results[1], ZeroDivisionError)
    states = {r.id: r.state for r in await journal.records()}
    assert states == {"1": "finished", "2": "accepted", "3": "finished"}
    assert not journal.failure
    assert await journal.planned() == []


async def test_what_a_decision_raised_keeps_no_lock_when_a_neighbour_fails(
    journal: AnyJournal,
) -> None:
    """What was raised holds on to the connection that wrote the batch."""

    def broken(history: History) -> None:
        assert history.last("flag") is None
        raise ZeroDivisionError

    first, second, third = [await accepted(journal, n, n) for n in "123"]
    results = await asyncio.gather(
        journal.finish(first, Ending(DONE), attempts=1),
        journal.admit(second, PLAN, [effect(second)], broken),
        journal.finish(third, Ending(Outcome.passed("\udcff")), attempts=1),  # no UTF-8
        return_exceptions=True,
    )
    assert results[0] == []
    assert isinstance(results[1], ZeroDivisionError)
    assert isinstance(results[2], JournalError)
    assert "locked" not in str(results[2])


async def test_deciding_again_after_a_neighbour_failed_counts_nothing_twice(
    journal: AnyJournal,
) -> None:
    """A batch that fails is written again change by change."""
    calls: list[int] = []

    def decide(history: History) -> str | None:
        calls.append(history.count(0, Alike(action="wait")))
        return None

    first, second = [await accepted(journal, n, n) for n in "12"]
    await asyncio.gather(
        journal.admit(first, PLAN, [effect(first)], decide),
        journal.finish(second, Ending(Outcome.passed("\udcff")), attempts=1),  # no UTF-8
        return_exceptions=True,
    )
    assert set(calls) == {0}
    assert await asked(journal, lambda history: history.count(0, Alike(action="wait"))) == 1


async def test_nothing_is_admitted_once_it_finished(journal: AnyJournal) -> None:
    execution = await accepted(journal)
    await journal.finish(execution, Ending(DONE), attempts=1)
    with pytest.raises(LookupError, match="not open"):
        await journal.admit(execution, PLAN, [effect(execution)], allow)
    assert await asked(journal, lambda history: history.unsettled(0)) == 0


async def test_counting_goes_on_where_it_was_left_out(journal: AnyJournal, clock: SetClock) -> None:
    """A limit that is far away is not counted up to."""
    waits = Alike(action="wait")
    counted: Counted = "executions", waits
    foreseen = Foreseen(counted_in=(counted,), kinds=frozenset({("executions", ("action",))}))
    counts: list[int] = []

    def count(history: History) -> None:
        counts.append(history.count(0, waits, 5))

    for number in range(9):
        execution = await accepted(journal, str(number), str(number))
        admission = [effect(execution, f"target {number}")], count, foreseen
        await journal.admit(execution, PLAN, *admission)
        clock.time += 1
    assert [number if number >= 5 else "below" for number in counts] == [*["below"] * 5, 5, 6, 7, 8]
    stage = (0.0, "sockshop", "production")
    assert await asked(journal, lambda history: history.effects(*stage, 3)) == 9


async def test_what_was_admitted_without_foresight_is_counted(journal: AnyJournal) -> None:
    waits = Alike(action="wait")
    kinds: frozenset[Kind] = frozenset({("executions", ("action",))})
    foreseen = Foreseen(counted_in=(("executions", waits),), kinds=kinds)
    counts: list[int] = []

    def count(history: History) -> None:
        counts.append(history.count(0, waits, 2))

    for number, known in enumerate((foreseen, Foreseen(), Foreseen(), foreseen)):
        execution = await accepted(journal, str(number), str(number))
        admission = [effect(execution, f"target {number}")], count, known
        await journal.admit(execution, PLAN, *admission)
    assert counts == [0, 1, 2, 3]


async def test_an_effect_that_is_named_twice_is_one(journal: AnyJournal) -> None:
    plan = Plan((Change("a", "replicas", 1, 2), Change("a", "image", "x", "y")))
    execution = await accepted(journal)
    effects = [effect(execution, change.target) for change in plan.changes]
    assert await journal.admit(execution, plan, effects, allow) is None
    assert await asked(journal, lambda history: history.count(0, Alike(target="a"))) == 1


async def test_pruning_takes_the_effects_along(
    journal: AnyJournal, place: Place, clock: SetClock
) -> None:
    await done(journal, "old", "a")
    running = await admitted(journal, "running", "b")
    clock.time += 10
    await done(journal, "young", "c")
    assert await journal.prune(clock.time - 5, 100) == 1
    targets = place.look("SELECT target FROM effects ORDER BY target")
    assert targets == [("b",), ("c",)]
    assert await asked(journal, lambda history: history.unsettled(0)) == 1
    await journal.finish(running, Ending(DONE), attempts=1, reports=[reports_of(running, clock)[1]])


async def test_a_pause_holds_over_restarts_until_it_is_ended(place: Place, clock: SetClock) -> None:
    first = place.open()
    await first.pause("bob", "too early")
    ada = await first.pause("ada", "maintenance")
    assert ada == Pause("ada", "maintenance", clock.utc())
    await first.close()
    second = place.open()
    assert await second.paused() == ada
    assert await asked(second, lambda history: history.pause()) == ada
    assert await second.resume() == ada
    assert await second.resume() is None
    assert await second.paused() is None
    assert await asked(second, lambda history: history.pause()) is None
    await second.close()


async def test_a_journal_that_fails_while_it_is_asked_says_so_and_stores_nothing(
    journal: AnyJournal, monkeypatch: pytest.MonkeyPatch
) -> None:
    execution = await accepted(journal)
    with monkeypatch.context() as patch:
        patch.setattr(sql, "LAST", "SELECT 1 FROM nowhere")
        with pytest.raises(JournalError, match="nowhere"):
            await journal.admit(execution, PLAN, [], lambda history: history.last("a"))
    assert await journal.planned() == []
    assert await journal.admit(execution, PLAN, [effect(execution)], allow) is None

"""What rails ask about the past, on real SQLite files: effects, streaks and forgiveness."""

from __future__ import annotations

import pytest

from keptn_remedy.journal import Alike, Ending, History, Last
from keptn_remedy.journal.effects import executions
from keptn_remedy.journal.foreseen import NOTHING_FORESEEN, Foreseen
from tests.core.journals import (
    DONE,
    FAILED,
    SetClock,
    accepted,
    admitted,
    allow,
    asked,
    done,
    effect,
)
from tests.core.places import AnyJournal, Place


async def test_executions_are_counted_by_what_their_effects_have_in_common(
    journal: AnyJournal, clock: SetClock
) -> None:
    await done(journal, "1", "a", "b", action="scale", stage="prod", service="carts")
    await done(journal, "2", "a", action="scale", stage="dev", service="carts")
    clock.time += 10
    await done(journal, "3", "a", action="restart", stage="prod", service="orders")

    async def count(since: float = 0, **same: str) -> int:
        return await asked(journal, lambda history: history.count(since, Alike(**same)))

    assert await count(target="a") == 3
    assert await count(target="a", action="scale") == 2
    assert await count(action="scale") == 2  # one of them with two effects
    assert await count(project="sockshop", stage="prod") == 2
    assert await count(clock.time, project="sockshop", stage="prod") == 1
    assert await count(project="sockshop", stage="prod", service="carts") == 1
    assert await count(project="another", stage="prod") == 0
    assert await count(clock.time, action="scale") == 0


async def test_a_count_without_an_index_is_a_mistake() -> None:
    with pytest.raises(TypeError, match="by target, action, or project and stage"):
        executions(("project", "service"))


async def test_the_last_effect_on_a_target_tells_when_it_ended_and_settled(
    journal: AnyJournal, clock: SetClock
) -> None:
    await done(journal, "0", "a")
    clock.time += 1
    execution = await admitted(journal, "1", "a", settle=30.0)
    at = clock.time

    async def last() -> Last | None:
        return await asked(journal, lambda history: history.last("a"))

    assert await last() == Last(execution.handle, "wait", at, None, None)
    clock.time += 5
    await journal.finish(execution, Ending(DONE), attempts=1)
    assert await last() == Last(execution.handle, "wait", at, at + 5, at + 35)
    clock.time += 5
    await journal.finish(execution, Ending(DONE), attempts=1)
    assert await last() == Last(execution.handle, "wait", at, at + 5, at + 35)


async def test_what_was_affected_in_a_stage_is_told_once_each(
    journal: AnyJournal, clock: SetClock
) -> None:
    await done(journal, "0", "too old", stage="prod", service="old")
    clock.time += 10
    since = clock.time
    await done(journal, "1", "a", "b", stage="prod", service="carts")
    await done(journal, "2", "a", stage="prod", service="orders")
    await done(journal, "3", "c", stage="dev", service="carts")

    def prod(history: History) -> list[object]:
        stage = (since, "sockshop", "prod")
        return [
            history.effects(*stage),
            history.distinct("target", *stage),
            history.distinct("service", *stage),
        ]

    assert await asked(journal, prod) == [3, {"a", "b"}, {"carts", "orders"}]


async def test_planned_executions_count_as_unsettled_until_their_effects_settled(
    journal: AnyJournal, clock: SetClock
) -> None:
    async def unsettled() -> int:
        return await asked(journal, lambda history: history.unsettled(clock.time))

    await admitted(journal, "plain", "s", planned=False, settle=60.0)
    first = await admitted(journal, "1", "a", "b", settle=60.0)
    second = await admitted(journal, "2", "c")
    assert await unsettled() == 2
    await journal.finish(first, Ending(DONE), attempts=1)
    await journal.finish(second, Ending(DONE), attempts=1)
    assert await unsettled() == 1
    clock.time += 60
    assert await unsettled() == 0


async def streak_of(journal: AnyJournal, context: str) -> int:
    """The streak of `wait` on `a`, foreseen or not."""
    foreseen = Foreseen(targets=("a",), streaks=(("wait", "a"),))
    known, found = [
        await asked(journal, lambda history: history.streak("wait", "a", context), beforehand)
        for beforehand in (foreseen, NOTHING_FORESEEN)
    ]
    assert known == found
    return found


async def test_failures_in_a_row_make_a_streak_that_a_success_ends(
    journal: AnyJournal, clock: SetClock
) -> None:
    async def streak(context: str = "new") -> int:
        return await streak_of(journal, context)

    for number, outcome in enumerate((FAILED, DONE, FAILED, FAILED)):
        clock.time += 1
        await done(journal, str(number), "a", outcome=outcome)
    assert await streak() == 2
    await done(journal, "another action", "a", action="scale")
    await done(journal, "another target", "b")
    assert await streak() == 2
    clock.time += 1
    await done(journal, "helps", "a")
    assert await streak() == 0


async def test_what_had_to_be_asked_for_again_did_not_help(
    journal: AnyJournal, clock: SetClock
) -> None:
    async def streak(context: str) -> int:
        return await streak_of(journal, context)

    await done(journal, "1", "a", context="problem")
    clock.time += 1
    await done(journal, "2", "a", context="problem")
    assert await streak("another problem") == 0
    assert await streak("problem") == 2


async def test_what_others_came_after_did_not_have_to_be_asked_for_again(
    journal: AnyJournal, clock: SetClock
) -> None:
    await done(journal, "1", "a", context="problem")
    clock.time += 1
    await done(journal, "2", "a", context="another problem", outcome=FAILED)
    assert await streak_of(journal, "problem") == 1


async def test_an_outcome_may_be_reported_as_good_and_still_not_have_helped(
    journal: AnyJournal,
) -> None:
    execution = await admitted(journal, "1", "a")
    await journal.finish(execution, Ending(DONE, is_failure=True), attempts=1)
    assert await streak_of(journal, "new") == 1


async def test_running_and_aborted_executions_are_passed_over_in_a_streak(
    journal: AnyJournal, clock: SetClock
) -> None:
    await done(journal, "1", "a", outcome=FAILED)
    clock.time += 1
    aborted = await admitted(journal, "2", "a")
    await journal.finish(aborted, Ending(FAILED, is_aborted=True), attempts=1)
    clock.time += 1
    await admitted(journal, "3", "a")
    assert await streak_of(journal, "new") == 1


async def test_what_was_forgiven_counts_no_more(
    journal: AnyJournal, place: Place, clock: SetClock
) -> None:
    async def streaks() -> list[int]:
        def look(history: History) -> list[int]:
            return [history.streak("wait", target, "last") for target in "ab"]

        return await asked(journal, look)

    for target in "ab":
        await done(journal, f"1{target}", target, outcome=FAILED)
        clock.time += 1
        await done(journal, f"2{target}", target, context="last")
    assert await streaks() == [2, 2]
    assert await journal.forgive("a", "ada") == 1
    assert await streaks() == [0, 2]
    assert await journal.forgive("a", "ada") == 0
    assert await journal.forgive("never touched", "ada") == 0
    assert await journal.forgive(None, "ada") == 1
    assert await streaks() == [0, 0]
    clock.time += 1
    await done(journal, "3", "a", outcome=FAILED)
    assert await streaks() == [1, 0]
    assert place.look("SELECT DISTINCT who FROM forgiven") == [("ada",)]


async def test_a_target_whose_action_was_asked_for_again_is_among_the_forgiven(
    journal: AnyJournal, clock: SetClock
) -> None:
    await done(journal, "1", "a", context="problem")
    clock.time += 1
    await done(journal, "2", "a", context="problem")
    assert await journal.forgive(None, "ada") == 1


async def test_the_execution_of_the_last_effect_is_named(journal: AnyJournal) -> None:
    await done(journal, "1", "a")

    def named(history: History) -> str:
        last = history.last("a")
        assert last
        return history.execution_id(last)

    assert await asked(journal, named) == "1"


async def test_of_two_effects_of_one_moment_the_later_admitted_is_the_newer(
    journal: AnyJournal,
) -> None:
    """Whichever of the two was accepted first."""
    early, late = await accepted(journal, "early"), await accepted(journal, "late")
    for execution in (late, early):
        assert await journal.admit(execution, None, [effect(execution, "a")], allow) is None
    newest = await asked(journal, lambda history: history.last("a"))
    assert newest
    assert newest.handle == early.handle

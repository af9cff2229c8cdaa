"""What the page asks of a journal."""

from __future__ import annotations

import math
from collections.abc import AsyncIterator
from typing import Any

import orjson
import pytest_asyncio

from keptn_remedy import Outcome, events
from keptn_remedy.journal import (
    Browsed,
    Browsing,
    Ending,
    Execution,
    Names,
    Question,
    open_browsing,
)
from keptn_remedy.testing import triggered
from tests.core.journals import PLAN, SetClock, admitted
from tests.core.places import AnyJournal, Place


@pytest_asyncio.fixture
async def browsing(journal: AnyJournal, place: Place, clock: SetClock) -> AsyncIterator[Browsing]:
    opened = open_browsing(place.address, clock.now)
    yield opened
    await opened.close()


async def stored(
    journal: AnyJournal, execution_id: str, outcome: Outcome | None = None, **of: Any
) -> Execution:
    """An execution in a lane of its own, ended if an outcome is given."""
    action = of.pop("action", "scale")
    event = triggered(action, **of) | {"id": execution_id, "shkeptncontext": execution_id}
    execution = await journal.accept(events.stored_trigger(orjson.dumps(event)), action)
    assert execution
    if outcome:
        ending = Ending(outcome, is_failure=outcome.is_failure)
        await journal.finish(execution, ending, attempts=1)
    return execution


def refused(rail: str, **details: Any) -> Outcome:
    return Outcome.failed("refused", rail=rail, **details)


async def some(journal: AnyJournal, clock: SetClock) -> None:
    """One of each kind, ten seconds apart."""
    await stored(journal, "passed", Outcome.passed("done"), service="a")
    clock.time += 10
    await stored(journal, "warned", Outcome.warned("perhaps"), service="b")
    clock.time += 10
    failed = Outcome.failed("no", text='{"rail": "none"}', deeper={"rail": "none"})
    await stored(journal, "failed", failed, service="c")
    clock.time += 10
    await stored(journal, "errored", Outcome.errored("no"), service="d")
    clock.time += 10
    await stored(journal, "refused", refused("storm", rule="calm"), service="e")
    clock.time += 10
    await stored(journal, "begun", service="f", action="restart")
    asking = await stored(journal, "asking", service="g")
    await journal.ask(asking, Question(PLAN, "production", clock.now(), clock.now() + 9))


FOUND = [
    (Browsed(), "asking begun refused errored failed warned passed"),
    (Browsed(service="c"), "failed"),
    (Browsed(action="restart"), "begun"),
    (Browsed(project="sockshop", stage="production", service="a", action="scale"), "passed"),
    (Browsed(stage="nowhere"), ""),
    (Browsed(since=1_000_025.0), "asking begun refused errored"),
    (Browsed(result="pass"), "passed"),
    (Browsed(result="warning"), "warned"),
    (Browsed(result="fail"), "refused failed"),
    (Browsed(result="fail", service="c"), "failed"),
    (Browsed(result="errored"), "errored"),
    (Browsed(result="aborted"), ""),
    (Browsed(result="refused"), "refused"),
    (Browsed(result="refused", service="a"), ""),
    (Browsed(result="open"), "asking begun"),
    (Browsed(result="open", action="restart"), "begun"),
    (Browsed(result="waiting"), "asking"),
]


async def test_executions_are_browsed_by_what_they_have_in_common(
    journal: AnyJournal, browsing: Browsing, clock: SetClock
) -> None:
    await some(journal, clock)
    for browsed, found in FOUND:
        assert [record.id for record in await browsing.browse(browsed)] == found.split(), browsed


async def test_pages_meet_without_gap_or_overlap(
    journal: AnyJournal, browsing: Browsing, clock: SetClock
) -> None:
    await some(journal, clock)
    first = await browsing.browse(Browsed(), limit=4)
    second = await browsing.browse(Browsed(), before=first[-1].cursor, limit=4)
    assert [record.id for record in (*first, *second)] == (
        ["asking", "begun", "refused", "errored", "failed", "warned", "passed"]
    )


async def test_a_refusal_is_found_with_its_rail_and_rule(
    journal: AnyJournal, browsing: Browsing, place: Place, clock: SetClock
) -> None:
    await some(journal, clock)
    await stored(journal, "damaged", refused("storm"), service="h")
    place.change("UPDATE executions SET details = ? WHERE id = 'damaged'", (b"{no JSON",))
    [found] = await browsing.refused(clock.time - 60, 9)
    assert (found.record.id, found.rail, found.rule) == ("refused", "storm", "calm")
    assert await browsing.refused(clock.time - 5, 9) == []


async def test_what_finished_is_counted_by_the_hour_with_how_long_it_took(
    journal: AnyJournal, browsing: Browsing, clock: SetClock
) -> None:
    begin = int(clock.time)
    await some(journal, clock)
    late = await stored(journal, "late", service="l")
    clock.time += 3_000
    await journal.finish(late, Ending(Outcome.passed("at last")), attempts=1)
    [hour, next_one] = await browsing.hours([begin, begin + 3_600])
    assert (hour.begin, next_one.ended, next_one.took) == (begin, {}, {})
    assert hour.ended == {"pass": 2, "warning": 1, "fail": 1, "errored": 1, "refused": 1}
    assert hour.took == {1.0: 2, math.inf: 1}


async def test_what_was_acted_on_and_when_is_told(
    journal: AnyJournal, browsing: Browsing, clock: SetClock
) -> None:
    await admitted(journal, "first", "flag")
    clock.time += 5
    await admitted(journal, "second", "flag", "other")
    found = await browsing.touched(clock.time - 60, 9)
    assert {(each.target, each.admitted_at) for each in found} == {
        ("flag", clock.time),
        ("other", clock.time),
    }
    assert all(each.planned is True for each in found)
    assert await browsing.touched(clock.time + 1, 9) == []
    assert await browsing.admitted_at("first") == clock.time - 5
    assert await browsing.admitted_at("unknown") is None


async def test_the_past_is_asked_as_rails_ask_it(journal: AnyJournal, browsing: Browsing) -> None:
    await admitted(journal, "first", "flag")
    last = await browsing.past(lambda history: history.last("flag"))
    assert last
    assert last.action == "wait"


async def test_names_are_those_of_recent_executions(
    journal: AnyJournal, browsing: Browsing, clock: SetClock
) -> None:
    await some(journal, clock)
    assert await browsing.names() == Names(
        ["sockshop"], ["production"], [*"abcdefg"], ["restart", "scale"]
    )


async def test_each_change_has_a_stamp_of_its_own(journal: AnyJournal, browsing: Browsing) -> None:
    stamps = [await browsing.stamp()]
    execution = await stored(journal, "first")
    stamps.append(await browsing.stamp())
    await journal.finish(execution, Ending(Outcome.passed("done")), attempts=1)
    stamps.append(await browsing.stamp())
    await journal.pause("ada", "why")
    stamps.append(await browsing.stamp())
    assert len(set(stamps)) == 4

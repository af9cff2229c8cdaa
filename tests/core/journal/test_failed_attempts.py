"""Why attempts failed is kept for people, the newest ones of each execution."""

from __future__ import annotations

from keptn_remedy.journal import Ending
from keptn_remedy.journal.sql_failed_attempts import MOST_KEPT
from tests.core.journals import DONE, SetClock, accepted
from tests.core.places import AnyJournal, Place


async def test_the_newest_failures_are_kept_in_order_and_go_with_their_execution(
    journal: AnyJournal, place: Place, clock: SetClock
) -> None:
    first, other = await accepted(journal, "1", "carts"), await accepted(journal, "2", "orders")
    for number in range(1, MOST_KEPT + 6):
        clock.time += 1
        await journal.note_failed_attempt(first, "apply", number, f"cause {number}")
    await journal.note_failed_attempt(other, "run", 1, "503 \0")
    record = await journal.record("1")
    assert record
    assert [each.number for each in record.failed_attempts] == [*range(6, MOST_KEPT + 6)]
    newest = record.failed_attempts[-1]
    assert (newest.phase, newest.cause) == ("apply", f"cause {MOST_KEPT + 5}")
    assert newest.failed_at.timestamp() == clock.time
    beside = await journal.record("2")
    assert beside
    assert [each.cause[:3] for each in beside.failed_attempts] == ["503"]

    await journal.finish(first, Ending(DONE), attempts=9)
    await journal.finish(other, Ending(DONE), attempts=9)
    clock.time += 10
    assert await journal.prune(clock.time, 9) == 1  # the newest row stays
    assert place.look("SELECT count(*) FROM failed_attempts") == [(1,)]

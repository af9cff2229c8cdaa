"""Keeping the journal in order: outages reported to Keptn, old executions pruned, ages kept."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress

from keptn_remedy.events import Replies
from keptn_remedy.journal import Journal, JournalError, Maintenance, Unsent
from keptn_remedy.support import logs
from keptn_remedy.support.clock import Clock, SteadyClock
from keptn_remedy.support.metrics import Metrics

PROBE_SECONDS = 1.0
PRUNE_SECONDS = 60.0
PRUNE_AT_ONCE = 200
DAY_SECONDS = 86_400
LOOK_AT_CLOCK_SECONDS, NOTE_CLOCK_SECONDS = 1.0, 30.0


async def watch(
    journal: Journal,
    clock: Clock,
    replies: Replies,
    offer: Callable[[Unsent], None],
    take_up: Callable[[], None],
    metrics: Metrics,
) -> None:
    """See each second whether the journal could store an event, and report each of its outages to
    Keptn once it works again, until cancelled.

    `offer` takes the report that is then stored. `take_up` is called to look for executions that
    were stored during the outage without anybody knowing.
    """
    failure: str | None = None
    while True:
        await clock.sleep(PROBE_SECONDS)
        refusal = await _refusal(journal)
        failure = refusal or journal.take_failure() or failure
        metrics.journal_failed.set(failure is not None)
        if failure is None:
            continue
        logs.logger().error("the journal failed", reason=failure)
        if refusal:
            continue
        try:
            text = f"the journal failed: {failure}"
            report = await journal.owe(replies.error_log(None, clock.utc(), text))
        except JournalError:
            continue
        failure = None
        journal.take_failure()  # of the same outage
        metrics.journal_failed.set(0)
        logs.logger().info("the journal works again")
        offer(report)
        take_up()


async def _refusal(journal: Journal) -> str | None:
    try:
        await journal.rehearse()
    except JournalError as error:
        return str(error)
    return None


async def prune(journal: Maintenance, clock: Clock, retention_days: float) -> None:
    """Delete executions that finished so many days ago, a few at a time, until cancelled."""
    while True:
        before = clock.now() - retention_days * DAY_SECONDS
        try:
            while await journal.prune(before, PRUNE_AT_ONCE) == PRUNE_AT_ONCE:
                await clock.sleep(0)
        except JournalError as error:
            logs.logger().warning("old executions can't be pruned", reason=str(error))
        await clock.sleep(PRUNE_SECONDS)


async def take_over(
    journal: Maintenance, clock: SteadyClock, count: Callable[[float], None]
) -> None:
    """Let what is stored keep its age, though the clock may have been set while no service ran.

    Raises:
        JournalError: the journal can't be used.
    """
    gap = await journal.take_over(clock.reading())
    if gap.step:
        _tell(gap.step, count)


async def watch_clock(
    journal: Maintenance, clock: SteadyClock, count: Callable[[float], None]
) -> None:
    """Notice when the wall clock is set, and keep what the clocks say, until cancelled."""
    due_at = 0.0
    while True:
        if step := clock.step():
            _tell(step, count)
            due_at = 0.0
        if clock.monotonic() >= due_at:
            due_at = clock.monotonic() + NOTE_CLOCK_SECONDS
            with suppress(JournalError):  # `watch` reports the outage
                await journal.note_reading(clock.reading())
        await clock.sleep(LOOK_AT_CLOCK_SECONDS)


def _tell(step: float, count: Callable[[float], None]) -> None:
    count(step)
    logs.logger().warning(
        "the clock was set",
        direction="forward" if step > 0 else "back",
        seconds=round(abs(step), 1),
        so="what waits keeps its time",
    )

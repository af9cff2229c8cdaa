"""Keeping the journal in order: its outages reported to Keptn, old executions pruned."""

from __future__ import annotations

from collections.abc import Callable

from keptn_remedy.events import Replies
from keptn_remedy.journal import Journal, JournalError, Maintenance, Unsent
from keptn_remedy.support import logs
from keptn_remedy.support.clock import Clock

PROBE_SECONDS = 1.0
PRUNE_SECONDS = 60.0
PRUNE_AT_ONCE = 200
DAY_SECONDS = 86_400


async def watch(
    journal: Journal,
    clock: Clock,
    replies: Replies,
    offer: Callable[[Unsent], None],
    take_up: Callable[[], None],
) -> None:
    """Report each outage of the journal to Keptn once the journal works again, until cancelled.

    `offer` takes the report that is then stored. `take_up` is called to look for executions that
    were stored during the outage without anybody knowing.
    """
    failure: str | None = None
    while True:
        await clock.sleep(PROBE_SECONDS)
        failure = journal.take_failure() or failure
        if failure is None:
            continue
        logs.logger().error("the journal failed", reason=failure)
        try:
            text = f"the journal failed: {failure}"
            report = await journal.owe(replies.error_log(None, clock.utc(), text))
        except JournalError:
            continue
        failure = None
        journal.take_failure()  # of the same outage
        logs.logger().info("the journal works again")
        offer(report)
        take_up()


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

"""Keeping journal, policy and pause file in order: healed, pruned, and read again."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress

from keptn_remedy.events import Replies
from keptn_remedy.guardrails.pauses import Pauses
from keptn_remedy.guardrails.policy_file import PolicyFile
from keptn_remedy.journal import Journal, JournalError, Unsent
from keptn_remedy.support import logs
from keptn_remedy.support.clock import Clock
from keptn_remedy.support.metrics import Metrics

PROBE_SECONDS = 1.0
PRUNE_SECONDS = 60.0
PRUNE_AT_ONCE = 200
DAY_SECONDS = 86_400
POLICY_SECONDS = 1.0
PAUSE_SECONDS = 0.5


async def watch(
    journal: Journal,
    clock: Clock,
    replies: Replies,
    tell: Callable[[Unsent], None],
    take_up: Callable[[], None],
) -> None:
    """See whether a journal that failed works again, and tell Keptn that it had failed; for ever.

    `take_up` looks for what was stored while nobody could be sure of it.
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
        tell(report)
        take_up()


async def prune(journal: Journal, clock: Clock, retention_days: float) -> None:
    """Forget executions that were finished that long ago, a few at a time; for ever."""
    while True:
        before = clock.now() - retention_days * DAY_SECONDS
        try:
            while await journal.prune(before, PRUNE_AT_ONCE) == PRUNE_AT_ONCE:
                await clock.sleep(0)
        except JournalError as error:
            logs.logger().warning("old executions can't be pruned", reason=str(error))
        await clock.sleep(PRUNE_SECONDS)


async def watch_policy(
    policy: PolicyFile,
    journal: Journal,
    clock: Clock,
    replies: Replies,
    tell: Callable[[Unsent], None],
    metrics: Metrics,
    reload: asyncio.Event,
) -> None:
    """Take the policy file when it changes, and tell Keptn when it is no good; for ever."""
    is_news = is_owed = policy.problem is not None
    while True:
        if is_news:
            _log(policy)
        with suppress(JournalError):  # tried again, and told of by whoever watches the journal
            if is_owed and policy.problem:
                text = f"the policy was rejected, the last good one holds: {policy.problem}"
                tell(await journal.owe(replies.error_log(None, clock.utc(), text)))
            is_owed = False
        metrics.policy_rejected.set(1 if policy.problem else 0)
        await clock.wait(reload, POLICY_SECONDS)
        at_once = reload.is_set()
        reload.clear()
        is_news = False
        with suppress(JournalError):
            is_news = await policy.look(at_once=at_once)
        is_owed = is_owed or is_news


async def watch_pause_file(pauses: Pauses, clock: Clock) -> None:
    """Look at the pause file twice a second, for ever."""
    while True:
        await pauses.look()
        await clock.sleep(PAUSE_SECONDS)


def _log(policy: PolicyFile) -> None:
    if policy.problem is None:
        logs.logger().info("the policy is in force", **policy.in_force)
    else:
        logs.logger().error("the policy was rejected", reason=policy.problem, **policy.in_force)

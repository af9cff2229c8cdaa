"""Watches the mounted files: the policy and the pause file."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress

from keptn_remedy.events import Replies
from keptn_remedy.guardrails.brake import BrakeHistory
from keptn_remedy.guardrails.pauses import Pauses
from keptn_remedy.guardrails.policy_file import PolicyFile
from keptn_remedy.journal import JournalError, Memories, Reports, Unsent
from keptn_remedy.support import logs
from keptn_remedy.support.clock import Clock
from keptn_remedy.support.metrics import Metrics

POLICY_SECONDS = 1.0
PAUSE_SECONDS = 0.5


async def watch_policy(
    policy: PolicyFile,
    journal: Reports,
    clock: Clock,
    replies: Replies,
    offer: Callable[[Unsent], None],
    metrics: Metrics,
    reload: asyncio.Event,
) -> None:
    """Put the policy file in force when it changes, until cancelled.

    A rejected file is reported to Keptn: `offer` gets the report once it is stored. Setting
    `reload` reads the file at once.
    """
    is_news = is_owed = policy.problem is not None
    while True:
        if is_news:
            _log(policy)
        with suppress(
            JournalError
        ):  # the next pass tries again; `journal.maintenance.watch` logs the outage
            if is_owed and policy.problem:
                text = f"the policy was rejected, an earlier one stays in force: {policy.problem}"
                offer(await journal.owe(replies.error_log(None, clock.utc(), text)))
            is_owed = False
        metrics.policy_rejected.set(1 if policy.problem else 0)
        await clock.wait(reload, POLICY_SECONDS)
        at_once = reload.is_set()
        reload.clear()
        is_news = False
        with suppress(JournalError):
            is_news = await policy.look(at_once=at_once)
        is_owed = is_owed or is_news


async def watch_pause_file(pauses: Pauses, journal: Memories, clock: Clock) -> None:
    """Read the pause file twice a second, and keep what was paused, until cancelled."""
    history = BrakeHistory(journal)
    while True:
        await pauses.look()
        with suppress(JournalError):  # the next look tries again
            await history.note(pauses, clock.now())
        await clock.sleep(PAUSE_SECONDS)


def _log(policy: PolicyFile) -> None:
    if policy.problem is None:
        logs.logger().info("the policy is in force", **policy.in_force)
    else:
        logs.logger().error("the policy was rejected", reason=policy.problem, **policy.in_force)

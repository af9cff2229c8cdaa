"""Telling Keptn: reports leave in order, and stay in the journal until acknowledged."""

from __future__ import annotations

import asyncio
import random
from collections import deque
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import replace
from functools import partial
from typing import Protocol

from keptn_remedy.events import Replies, Report
from keptn_remedy.http_client import in_words
from keptn_remedy.journal import JournalError, Reports, Unsent, insist
from keptn_remedy.journal.feed import Feed
from keptn_remedy.journal.ownership import Owned
from keptn_remedy.keptn.held_back import HeldBack
from keptn_remedy.keptn.transports import Blocked, Rejected, Undelivered
from keptn_remedy.support import logs
from keptn_remedy.support.clock import Clock
from keptn_remedy.support.metrics import Metrics
from keptn_remedy.support.workers import Workers

IN_FLIGHT = 256
# More that are held back would cost memory; they wait in the journal.
MOST_HELD = 10_000
# Time for Keptn to count what reached it, before it is asked (docs/keptn.md#k12).
GRACE_SECONDS = 2.0
# So long Keptn is asked whether it has a report in doubt; then that is sent again.
ASKED_SECONDS = 60.0
FIRST_PAUSE_SECONDS = 0.1
EARLY_SECONDS, EARLY_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS = 60.0, 5.0, 30.0
# A way that takes no report is mended by people, not by trying often.
BLOCKED_SECONDS = 30.0
FLUSH_LOOK_SECONDS = 0.02
# One change of the journal for all that was delivered meanwhile.
FORGET_SECONDS = 0.02


class OwnedReports(Reports, Owned, Protocol):
    """The reports of this process."""


class Outbox:
    """Delivers each execution's reports one after the other, executions side by side.

    A new report is sent straight from memory. What could not be sent, or is too much at once, is
    left to the journal, and fetched from there when it is due (see `Feed`). A `finished` is held
    back until `held_seconds` after its `started` was acknowledged.
    """

    def __init__(
        self,
        journal: OwnedReports,
        send: Callable[[Report], Awaitable[None]],
        counted: Callable[[Report], Awaitable[bool | None]],
        *,
        replies: Replies,
        clock: Clock,
        metrics: Metrics,
        held_seconds: float = 0.0,
    ) -> None:
        self._journal = journal
        self._send = send
        self._counted = counted
        self._replies = replies
        self._clock = clock
        self._metrics = metrics
        # What is being delivered, or held back, by chain: one after the other, so that a later one
        # queues up.
        self._chains: dict[str, deque[Unsent]] = {}
        # Of these, those that were under way as the lease ended: they are left to the journal, even
        # if there is another lease by now.
        self._lost: set[str] = set()
        self._workers = Workers("a report", self._deliver_all, IN_FLIGHT)
        self._held = HeldBack(held_seconds, self._workers.put, clock) if held_seconds else None
        # Since when, by the monotonic clock, Keptn can't say whether it has a report, by handle.
        self._asked_since: dict[int, float] = {}
        # What Keptn has, and the journal still has to forget; claimed until then.
        self._delivered: list[Unsent] = []
        self._forgetting: asyncio.Task[None] | None = None
        self._feed = Feed(
            journal.claim_reports,
            self._start,
            journal.release_report,
            room=self._room,
            clock=clock,
        )

    def offer(self, unsent: Unsent) -> None:
        """Deliver a stored report as soon as possible."""
        chain = self._chains.get(unsent.chain)
        if chain is not None and unsent.is_claimed:
            chain.append(unsent)
        else:
            self._feed.offer(unsent)

    def look_again(self) -> None:
        """Take up what the journal holds and nobody offered."""
        self._feed.look_again()

    def lose(self) -> None:
        """Leave to the journal what is not being sent: it is another replica's, or may be."""
        for key, chain in self._chains.items():
            self._lost.add(key)
            kept = 0 if self._held is not None and self._held.holds(key) else 1
            while len(chain) > kept:
                self._journal.release_report(chain.pop())
        self._asked_since.clear()
        self.look_again()

    async def run(self) -> None:
        """Fetch from the journal what waits there and is due, until cancelled."""
        await asyncio.gather(
            self._feed.run(), *([self._held.run()] if self._held is not None else ())
        )

    async def flush(self) -> None:
        """Wait until every report is delivered."""
        self.look_again()
        while self._chains or self._delivered or self._feed.is_left:
            await self._clock.sleep(FLUSH_LOOK_SECONDS)

    async def close(self) -> None:
        """Stop sending. What was cut off is in doubt, and the next process asks."""
        await self._workers.cancel()
        if self._forgetting:
            self._forgetting.cancel()
            await asyncio.gather(self._forgetting, return_exceptions=True)
        with suppress(JournalError):  # the next process asks Keptn
            await self._forget_delivered()

    def _room(self) -> int:
        """How many more chains may begin. Those that are held back are not under way."""
        held = 0 if self._held is None else len(self._held)
        return min(IN_FLIGHT - (len(self._chains) - held), MOST_HELD - held)

    def _start(self, unsent: Unsent) -> None:
        if (chain := self._chains.get(unsent.chain)) is not None:
            chain.append(unsent)  # both came while the journal was asked
            return
        self._chains[unsent.chain] = deque((unsent,))
        if not self._hold(unsent):
            self._workers.put(unsent.chain)

    def _hold(self, unsent: Unsent) -> bool:
        return self._held is not None and self._held.hold(unsent)

    async def _deliver_all(self, key: str) -> None:
        chain = self._chains[key]
        is_held = False
        try:
            while chain and not is_held and await self._deliver(chain[0]):
                chain.popleft()
                is_held = bool(chain) and self._hold(chain[0])
        finally:
            self._lost.discard(key)
            if not is_held:
                del self._chains[key]
        if is_held or not chain:
            self._feed.note_room()
            return
        # The first one failed, and what comes after it must not overtake it.
        for unsent in chain:
            self._journal.release_report(unsent)
        self._feed.look_again()

    async def _deliver(self, unsent: Unsent) -> bool:
        """Whether the next report of the chain may follow."""
        report = unsent.report
        if not self._is_ours(unsent):
            return False
        try:
            if unsent.doubtful and report.kind != "log.error" and await self._is_counted(unsent):
                answer = "counted"
            elif not self._is_ours(unsent):  # Race: the lease may have ended as Keptn was asked
                return False
            else:
                await self._send(report)
                answer = "sent"
        except Undelivered as error:
            await self._postpone(unsent, error)
            return False
        except Rejected as error:
            await self._park(unsent, str(error))
            return False
        except Exception as error:  # noqa: BLE001  our own mistake must not lose a report
            fields = logs.report_fields(report, unsent.action)
            logs.logger().error("report failed unexpectedly", **fields, exc_info=error)
            await self._postpone(unsent, Undelivered(in_words(error), doubtful=True))
            return False
        self._metrics.reports(report.kind, answer).inc()
        if self._held is not None and report.kind == "started" and answer == "sent":
            self._held.note_started(unsent.chain)
        self._forget(unsent)
        return True

    def _is_ours(self, unsent: Unsent) -> bool:
        """Whether no other replica may be sending it by now."""
        return unsent.chain not in self._lost and self._journal.ownership.may_act()

    async def _is_counted(self, unsent: Unsent) -> bool:
        """Whether Keptn has a report in doubt; False also where it could not say for too long.

        Raises:
            Undelivered: it can't say at the moment.
        """
        counted = await self._counted(unsent.report)
        if counted is None:
            now = self._clock.monotonic()
            if now - self._asked_since.setdefault(unsent.handle, now) < ASKED_SECONDS:
                raise Undelivered("Keptn can't say whether it has it", doubtful=True)
        self._asked_since.pop(unsent.handle, None)
        return bool(counted)

    def _forget(self, unsent: Unsent) -> None:
        self._delivered.append(unsent)
        if self._forgetting is None:
            self._forgetting = asyncio.create_task(self._forget_all())

    async def _forget_all(self) -> None:
        """Have the journal forget what was delivered, many at a time, for as long as it fails."""
        while self._delivered:
            await self._clock.sleep(FORGET_SECONDS)
            await insist(self._forget_delivered, self._clock.sleep)
            self._feed.note_room()
        self._forgetting = None

    async def _forget_delivered(self) -> None:
        delivered = self._delivered[:]
        if delivered:
            await self._journal.forget(delivered)
            del self._delivered[: len(delivered)]

    async def _postpone(self, unsent: Unsent, error: Undelivered) -> None:
        self._metrics.reports(unsent.report.kind, "failed").inc()
        attempts = unsent.attempts + 1
        doubtful = unsent.doubtful or error.doubtful
        is_blocked = isinstance(error, Blocked)
        pause = BLOCKED_SECONDS if is_blocked else self._pause(unsent, error.retry_after)
        if doubtful:
            pause = max(pause, GRACE_SECONDS)
        if attempts == 1:
            logs.logger().warning(
                "report not delivered",
                **logs.report_fields(unsent.report, unsent.action),
                reason=error.reason,
            )
        later = replace(unsent, attempts=attempts, doubtful=doubtful)
        due_at = self._clock.now() + pause
        # Until doubt and pause are stored, the report stays in our hands.
        await insist(
            lambda: self._journal.postpone(later, due_at, error.reason, is_blocked=is_blocked),
            self._clock.sleep,
        )

    def _pause(self, unsent: Unsent, retry_after: float | None) -> float:
        early = self._clock.now() - unsent.created_at < EARLY_SECONDS
        longest = EARLY_PAUSE_SECONDS if early else LONGEST_PAUSE_SECONDS
        if retry_after is not None:
            return min(retry_after, longest)
        exponential = FIRST_PAUSE_SECONDS * 2.0 ** min(unsent.attempts, 10)
        return random.uniform(FIRST_PAUSE_SECONDS / 2, min(exponential, longest))  # noqa: S311  (jitter, not a secret)

    async def _park(self, unsent: Unsent, reason: str) -> None:
        report = unsent.report
        self._metrics.reports(report.kind, "parked").inc()
        logs.logger().error(
            "report parked", **logs.report_fields(report, unsent.action), reason=reason
        )
        text = f"{report.kind} of execution {report.execution} was refused for good: {reason}"
        # A rejected log entry is not reported: that report would be rejected too, without end.
        is_reported = report.kind != "log.error"
        entry = self._replies.error_log(None, self._clock.utc(), text) if is_reported else None
        park = partial(self._journal.park, unsent, reason, entry)
        if log_entry := await insist(park, self._clock.sleep):
            self.offer(log_entry)

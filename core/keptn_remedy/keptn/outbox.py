"""Telling Keptn: reports leave in order, and stay in the journal until acknowledged."""

from __future__ import annotations

import asyncio
import random
from collections import deque
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import replace

from keptn_remedy.events import Replies, Report
from keptn_remedy.journal import Journal, JournalError, Unsent, insist
from keptn_remedy.keptn.transports import Rejected, Undelivered
from keptn_remedy.support import logs
from keptn_remedy.support.clock import Clock
from keptn_remedy.support.metrics import Metrics

IN_FLIGHT = 256
# Time for Keptn to count what reached it, before it is asked (design §5.2).
GRACE_SECONDS = 2.0
FIRST_PAUSE_SECONDS = 0.1
EARLY_SECONDS, EARLY_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS = 60.0, 5.0, 30.0
IDLE_SECONDS = 5.0
FLUSH_LOOK_SECONDS = 0.02
# One change of the journal for all that was delivered meanwhile.
FORGET_SECONDS = 0.02


class Outbox:
    """Delivers each execution's reports one after the other, executions side by side.

    A new report is sent straight from memory. What could not be sent, or is too much at once, is
    left to the journal and fetched from there when it is due.
    """

    def __init__(
        self,
        journal: Journal,
        send: Callable[[Report], Awaitable[None]],
        counted: Callable[[Report], Awaitable[bool]],
        *,
        replies: Replies,
        clock: Clock,
        metrics: Metrics,
    ) -> None:
        self._journal = journal
        self._send = send
        self._counted = counted
        self._replies = replies
        self._clock = clock
        self._metrics = metrics
        self._chains: dict[str, deque[Unsent]] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        # Sent, but not yet forgotten by the journal: must not be fetched and sent again.
        self._delivered: dict[int, Unsent] = {}
        self._forgetting: asyncio.Task[None] | None = None
        self._left_to_journal = True
        # What is offered while the journal is being asked; None at other times.
        self._arrived: list[Unsent] | None = None
        self._wake = asyncio.Event()

    def offer(self, unsent: Unsent) -> None:
        """Deliver a stored report as soon as possible."""
        key = _chain_key(unsent)
        chain = self._chains.get(key)
        if unsent.seq in self._delivered or any(unsent.seq == u.seq for u in chain or ()):
            return  # a look into the journal was quicker than whoever stored it
        if self._arrived is not None:
            self._arrived.append(unsent)
        elif chain is not None:
            chain.append(unsent)
        elif self._left_to_journal or len(self._chains) >= IN_FLIGHT:
            self._left_to_journal = True
            self._wake.set()
        else:
            self._start(key, unsent)

    async def run(self) -> None:
        """Fetch what is due from the journal, for ever."""
        while True:
            self._wake.clear()
            pause = IDLE_SECONDS
            try:
                pause = await self._fetch()
            except JournalError:
                self._left_to_journal = True
            await self._clock.wait(self._wake, pause)

    async def flush(self) -> None:
        """Wait until nothing is left to be told."""
        while self._tasks or (await self._journal.backlog()).unsent:
            self._wake.set()
            await self._clock.sleep(FLUSH_LOOK_SECONDS)

    async def close(self) -> None:
        """Stop sending. What was cut off is in doubt, and the next process asks."""
        if self._forgetting:
            self._tasks.add(self._forgetting)
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._forget_now()

    async def _fetch(self) -> float:
        """Start what is due; returns seconds until the next look."""
        self._arrived = []
        try:
            now = self._clock.now()
            started = await self._start_due(now)
            # A chain that breaks while we ask sets it again.
            self._left_to_journal = False
            is_left, next_due = await self._journal.next_due(self._known(), self._chains.keys())
        finally:
            arrived, self._arrived = self._arrived, None
        self._left_to_journal |= is_left
        for unsent in arrived:
            if unsent.seq not in started:
                self.offer(unsent)
        if next_due is None:
            return IDLE_SECONDS  # the end of a chain wakes us
        return min(max(next_due - now, 0.01), IDLE_SECONDS)

    async def _start_due(self, now: float) -> set[int]:
        started: set[int] = set()
        room = IN_FLIGHT - len(self._chains)
        if room <= 0:
            return started
        # What was in our hands when the journal was asked may be stale in its answer.
        known = set(self._known())
        for unsent in await self._journal.unsent(now, room, self._chains.keys()):
            if unsent.seq in self._delivered:
                self._forget(unsent)
            elif unsent.seq not in known and _chain_key(unsent) not in self._chains:
                self._start(_chain_key(unsent), unsent)
                started.add(unsent.seq)
        return started

    def _known(self) -> list[int]:
        in_chains = [unsent.seq for chain in self._chains.values() for unsent in chain]
        return [*in_chains, *self._delivered]

    def _start(self, key: str, unsent: Unsent) -> None:
        chain = self._chains[key] = deque((unsent,))
        task = asyncio.create_task(self._deliver_all(key, chain))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _deliver_all(self, key: str, chain: deque[Unsent]) -> None:
        try:
            while chain:
                if not await self._deliver(chain[0]):
                    self._left_to_journal = True
                    break
                chain.popleft()
        finally:
            del self._chains[key]
            if self._left_to_journal:
                self._wake.set()

    async def _deliver(self, unsent: Unsent) -> bool:
        """Whether the next report of the chain may follow."""
        report = unsent.report
        try:
            if unsent.doubtful and report.kind != "log.error" and await self._counted(report):
                answer = "counted"
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
            await self._postpone(unsent, Undelivered(repr(error), doubtful=True))
            return False
        self._metrics.reports(report.kind, answer).inc()
        self._forget(unsent)
        return True

    def _forget(self, unsent: Unsent) -> None:
        self._delivered[unsent.seq] = unsent
        if self._forgetting is None:
            self._forgetting = asyncio.create_task(self._forget_soon())

    async def _forget_soon(self) -> None:
        """Have the journal forget what was delivered, a few at a time."""
        await self._clock.sleep(FORGET_SECONDS)
        self._forgetting = None
        await self._forget_now()

    async def _forget_now(self) -> None:
        delivered = list(self._delivered.values())
        with suppress(JournalError):  # the next look finds them again
            await self._journal.forget(delivered)
            for unsent in delivered:
                self._delivered.pop(unsent.seq, None)

    async def _postpone(self, unsent: Unsent, error: Undelivered) -> None:
        self._metrics.reports(unsent.report.kind, "failed").inc()
        attempts = unsent.attempts + 1
        doubtful = unsent.doubtful or error.doubtful
        pause = self._pause(unsent, error.retry_after)
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
        await insist(lambda: self._journal.postpone(later, due_at, error.reason), self._clock.sleep)

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
        # A refused log entry is not told of: that would be refused as well, for ever.
        is_told = report.kind != "log.error"
        entry = self._replies.error_log(None, self._clock.utc(), text) if is_told else None
        told = await insist(lambda: self._journal.park(unsent, reason, entry), self._clock.sleep)
        if told:
            self.offer(told)


def _chain_key(unsent: Unsent) -> str:
    return unsent.report.execution or f"report {unsent.seq}"

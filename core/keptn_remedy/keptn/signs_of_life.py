"""Signs of life: Keptn hears regularly of what waits or runs, so that it doesn't time it out."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Final

from keptn_remedy.events import Replies, Report
from keptn_remedy.journal import Journal, JournalError
from keptn_remedy.keptn.transports import Rejected, Undelivered
from keptn_remedy.support import logs
from keptn_remedy.support.clock import Clock
from keptn_remedy.support.metrics import Metrics

PERIOD_SECONDS: Final = 180.0
LOOK_SECONDS: Final = 15.0


class SignsOfLife:
    """Sends `action.status.changed` every 3 minutes for each open execution that was started.

    Keptn ends a task after 10 minutes for which its event store holds nothing of ours, even if it
    counted the `started` (docs/keptn.md#k19). These events are not stored: one that is lost is
    followed by the next. A Keptn that refuses one gets no other.
    """

    def __init__(
        self,
        journal: Journal,
        send: Callable[[Report], Awaitable[None]],
        replies: Replies,
        clock: Clock,
        metrics: Metrics,
    ) -> None:
        self._journal = journal
        self._send = send
        self._replies = replies
        self._clock = clock
        self._metrics = metrics
        # By execution, when its next one is due, by the monotonic clock.
        self._due: dict[str, float] = {}
        self._is_refused = False

    async def run(self) -> None:
        """Send what is due, until cancelled or refused."""
        while not self._is_refused:
            await self._clock.sleep(LOOK_SECONDS)
            # `journal.maintenance.watch` reports the outage
            with logs.surviving("the signs of life"), suppress(JournalError):
                await self.once()

    async def once(self) -> None:
        """Send what is due, one after the other, for as long as Keptn takes it.

        Raises:
            JournalError: the journal can't be read.
        """
        now = self._clock.monotonic()
        # Most end before they are asked for. What is found for the first time is due at once.
        under_way = await self._journal.begun(self._clock.now() - PERIOD_SECONDS)
        self._due = {id_: self._due.get(id_, now) for id_ in under_way}
        for execution_id, due in list(self._due.items()):
            if due <= now:
                if not await self._tell(execution_id):
                    return
                self._due[execution_id] = now + PERIOD_SECONDS

    async def _tell(self, execution_id: str) -> bool:
        """Whether Keptn takes such events now."""
        trigger = await self._journal.trigger(execution_id)
        if trigger is None or not trigger.is_answered:
            return True
        report = self._replies.status_changed(trigger, self._clock.utc())
        try:
            await self._send(report)
        except Undelivered:
            self._metrics.reports(report.kind, "failed").inc()
            return False
        except Rejected as error:
            self._is_refused = True
            logs.logger().info("Keptn takes no status.changed", reason=str(error))
            return False
        self._metrics.reports(report.kind, "sent").inc()
        return True

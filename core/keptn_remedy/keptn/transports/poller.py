"""Events from Keptn's list of open triggers, looked at regularly and passed on once each."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

import orjson

from keptn_remedy import events
from keptn_remedy.events import Event
from keptn_remedy.keptn.api import ApiClient
from keptn_remedy.keptn.control_plane.open_events import Unlisted, open_events
from keptn_remedy.keptn.dispatched import place_of
from keptn_remedy.keptn.subscriptions import Filters, Subscription
from keptn_remedy.keptn.transports import Accept
from keptn_remedy.support import logs
from keptn_remedy.support.clock import Clock
from keptn_remedy.support.metrics import Metrics

AT_ONCE = 16
JITTER = 0.1

Listed = Mapping[str, Any]


class Poller:
    """Looks every `interval_seconds` for open events of the subscriptions, which may change.

    Keptn lists an event until its task is over, and also while it holds it back: `is_dispatched`
    says whether it doesn't. An event that was passed on is remembered for as long as it is listed.
    """

    def __init__(
        self,
        api: ApiClient,
        subscriptions: Callable[[], Sequence[Subscription]],
        is_dispatched: Callable[[Event], Awaitable[bool]],
        clock: Clock,
        metrics: Metrics,
        *,
        interval_seconds: float,
    ) -> None:
        self._api = api
        self._subscriptions = subscriptions
        self._is_dispatched = is_dispatched
        self._clock = clock
        self._metrics = metrics
        self._interval_seconds = interval_seconds
        # By type, the ids of those that were passed on, or never will be.
        self._known: dict[str, set[str]] = {}
        self._failure: Unlisted | None = None
        self._stopped = asyncio.Event()

    @property
    def trouble(self) -> str | None:
        """Why Keptn gave no list at the last look."""
        return None if self._failure is None else f"{self._api.address} {self._failure}"

    async def run(self, accept: Accept) -> None:
        """Look at once and then regularly, until it is stopped."""
        while not self._stopped.is_set():
            try:
                await self.look(accept)
            except Exception as error:  # noqa: BLE001  our own mistake must not leave us deaf
                logs.logger().error("polling failed unexpectedly", exc_info=error)
            jitter = random.uniform(1 - JITTER, 1 + JITTER)  # noqa: S311  (no secret)
            await self._clock.wait(self._stopped, self._interval_seconds * jitter)

    def stop(self) -> None:
        """Look for nothing more."""
        self._stopped.set()

    async def look(self, accept: Accept) -> None:
        """Pass on what is new."""
        by_type: dict[str, list[Filters]] = {}
        for subscription in self._subscriptions():
            by_type.setdefault(subscription.event_type, []).append(subscription.filters)
        self._known = {name: ids for name, ids in self._known.items() if name in by_type}
        failure: Unlisted | None = None
        for event_type, filters in by_type.items():
            try:
                await self._look_at(event_type, filters, accept)
            except Unlisted as error:
                failure = error
                break
        self._note(failure)

    async def _look_at(self, event_type: str, filters: Sequence[Filters], accept: Accept) -> None:
        query = filters[0].query if len(filters) == 1 else {}
        listed = await open_events(self._api, event_type, query)
        by_id = {str(event.get("id")): event for event in listed}
        known = self._known[event_type] = self._known.get(event_type, set()) & by_id.keys()
        new = sorted(by_id.keys() - known, key=lambda id_: str(by_id[id_].get("time")))
        room = asyncio.Semaphore(AT_ONCE)

        async def take(id_: str) -> None:
            async with room:
                if await self._take(by_id[id_], filters, accept):
                    known.add(id_)

        await asyncio.gather(*map(take, new))

    async def _take(self, listed: Listed, filters: Sequence[Filters], accept: Accept) -> bool:
        """Whether nothing more is to be done about the event."""
        try:
            # A number beyond 64 bits can't be written, and then the event can't be answered.
            event = events.read_structured(orjson.dumps(listed))
        except (events.NotACloudEvent, orjson.JSONEncodeError) as error:
            self._metrics.events("invalid").inc()
            id_ = str(listed.get("id"))
            logs.logger().warning("not a CloudEvent", event_id=id_, detail=str(error))
            return True
        place = place_of(event)
        if not any(each.let_pass(place.project, place.stage, place.service) for each in filters):
            return True
        if not await self._is_dispatched(event):
            return False
        receipt = await accept(event)
        self._metrics.events(receipt.kind).inc()
        return receipt.kind != "unavailable"

    def _note(self, failure: Unlisted | None) -> None:
        """Tell of an outage once: when it begins, when it becomes a refusal, when it is over."""
        before, self._failure = self._failure, failure
        if failure is None:
            if before is not None:
                logs.logger().info("Keptn's API gives its list of events again")
        elif before is None or before.is_refused != failure.is_refused:
            logs.logger().warning("Keptn's API gives no list of events", reason=self.trouble)

"""Events from Keptn's list of open triggers, looked at regularly and passed on once each."""

from __future__ import annotations

import asyncio
import random
from collections import defaultdict
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping, Sequence, Set
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import orjson

from keptn_remedy import events
from keptn_remedy.events import Event
from keptn_remedy.events.cloud_event import is_object
from keptn_remedy.keptn.api import ApiClient
from keptn_remedy.keptn.control_plane.open_events import Unlisted, open_events
from keptn_remedy.keptn.subscriptions import Filters, Subscription
from keptn_remedy.keptn.transports import Accept
from keptn_remedy.support import logs
from keptn_remedy.support.clock import Clock
from keptn_remedy.support.metrics import Metrics

AT_ONCE = 16
JITTER = 0.1
# As long as the engine holds what Keptn can't be asked about (decision 17).
UNSURE_SECONDS = 60.0
LAST = datetime.max.replace(tzinfo=UTC)

Listed = Mapping[str, Any]


@dataclass(slots=True)
class _Seen:
    """What is remembered of the listed events of one type: the ids that were passed on or never
    will be, and since when (monotonic, in seconds) it isn't known whether Keptn has sent one out.
    """

    known: set[str] = field(default_factory=set[str])
    unsure_since: dict[str, float] = field(default_factory=dict[str, float])

    def forget_all_but(self, listed: Set[str]) -> None:
        self.known &= listed
        self.unsure_since = {i: since for i, since in self.unsure_since.items() if i in listed}


class Poller:
    """Looks every `interval_seconds` for open events of the subscriptions, which may change.

    Keptn lists an event until its task is over, and also while it holds it back: `is_dispatched`
    says whether it doesn't; after a minute without an answer the event is passed on all the same.
    One that was passed on is remembered for as long as it is listed.
    """

    def __init__(
        self,
        api: ApiClient,
        subscriptions: Callable[[], Sequence[Subscription]],
        is_dispatched: Callable[[Event], Awaitable[bool | None]],
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
        self._seen: dict[str, _Seen] = {}
        self._failure: Unlisted | None = None
        self._stopped = asyncio.Event()

    @property
    def trouble(self) -> str | None:
        """Why Keptn gave no list at the last look."""
        return None if self._failure is None else f"{self._api.address} {self._failure}"

    async def run(self, accept: Accept) -> None:
        """Look at once and then regularly, until it is stopped."""
        while not self._stopped.is_set():
            with logs.surviving("polling"):
                await self.look(accept)
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
        self._seen = {name: self._seen.get(name, _Seen()) for name in by_type}
        failure: Unlisted | None = None
        for event_type, filters in by_type.items():
            try:
                await self._look_at(event_type, filters, accept)
            except Unlisted as error:
                failure = failure or error  # the API's client itself pauses where all is refused
        self._note(failure)

    async def _look_at(self, event_type: str, filters: Sequence[Filters], accept: Accept) -> None:
        query = filters[0].query if len(filters) == 1 else {}
        listed = await open_events(self._api, event_type, query)
        by_id = {str(event.get("id")): event for event in listed if _is_ours(event, filters)}
        seen = self._seen[event_type]
        seen.forget_all_but(by_id.keys())
        # Keptn lists the newest first, also of those with the same time.
        unknown = [each for id_, each in reversed(by_id.items()) if id_ not in seen.known]
        new = [event for each in unknown if (event := self._read(each, seen))]
        room = asyncio.Semaphore(AT_ONCE)

        async def is_due(event: Event) -> bool:
            async with room:
                return await self._is_due(event, seen)

        async with asyncio.TaskGroup() as tasks:
            for service in _by_service(new):
                # Race: the answers come in any order. What was triggered first is passed on first.
                due = [(event, tasks.create_task(is_due(event))) for event in service]
                tasks.create_task(self._pass_on(due, seen, accept))

    def _read(self, listed: Listed, seen: _Seen) -> Event | None:
        try:
            # A number beyond 64 bits can't be written, and then the event can't be answered.
            return events.read_structured(orjson.dumps(listed))
        except (events.NotACloudEvent, orjson.JSONEncodeError) as error:
            self._metrics.events("invalid").inc()
            logs.logger().warning("not a CloudEvent", event_id=listed.get("id"), detail=str(error))
            seen.known.add(str(listed.get("id")))
            return None

    async def _pass_on(
        self, due: Iterable[tuple[Event, asyncio.Task[bool]]], seen: _Seen, accept: Accept
    ) -> None:
        """Pass on the events of one service one after the other, until one isn't taken."""
        for event, is_due in due:
            if not await is_due:
                continue
            receipt = await accept(event)
            self._metrics.events(receipt.kind).inc()
            if receipt.kind == "unavailable":
                return
            seen.known.add(event.id)

    async def _is_due(self, event: Event, seen: _Seen) -> bool:
        is_dispatched = await self._is_dispatched(event)
        if is_dispatched is not None:
            seen.unsure_since.pop(event.id, None)
            return is_dispatched
        now = self._clock.monotonic()
        return now - seen.unsure_since.setdefault(event.id, now) >= UNSURE_SECONDS

    def _note(self, failure: Unlisted | None) -> None:
        """Tell of an outage once: when it begins, when it becomes a refusal, when it is over."""
        before, self._failure = self._failure, failure
        if failure is None:
            if before is not None:
                logs.logger().info("Keptn's API gives its list of events again")
        elif before is None or before.is_refused != failure.is_refused:
            logs.logger().warning("Keptn's API gives no list of events", reason=self.trouble)


def _is_ours(listed: Listed, filters: Sequence[Filters]) -> bool:
    place = _place(listed.get("data"))
    return any(each.let_pass(*place) for each in filters)


def _by_service(found: Sequence[Event]) -> Collection[Sequence[Event]]:
    """The events of each service, in the order in which they were triggered; those with the same
    time stay as they are.
    """
    by_place: defaultdict[str, list[Event]] = defaultdict(list)
    for event in sorted(found, key=_moment):
        by_place[str(_place(event.data))].append(event)
    return by_place.values()


def _moment(event: Event) -> datetime:
    """When it was triggered; last what doesn't say."""
    time = event.time or LAST
    return time if time.tzinfo else time.replace(tzinfo=UTC)


def _place(data: Any) -> Sequence[Any]:
    scope = data if is_object(data) else {}
    return [scope.get(level) for level in ("project", "stage", "service")]

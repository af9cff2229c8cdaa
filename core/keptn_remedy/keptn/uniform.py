"""Our registration with Keptn's uniform: the Bridge lists us, and says which events are ours."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from typing import Final

import orjson
from pydantic import ValidationError

from keptn_remedy.events import ActionTriggered
from keptn_remedy.keptn.api import ApiClient, Reply, path_of
from keptn_remedy.keptn.control_plane import answers
from keptn_remedy.keptn.subscriptions import Filters, Subscription
from keptn_remedy.support import logs
from keptn_remedy.support.clock import Clock

PATH: Final = "controlPlane/v1/uniform/registration"
BEAT_SECONDS: Final = 10.0
FIRST_SECONDS: Final = 1.0
# For so long what Keptn lists waits for subscriptions that it doesn't tell although it answers.
AWAITED_SECONDS: Final = 60.0
# The Bridge shows only integrations that name one; go-sdk sends this (docs/keptn.md#k7).
_DISTRIBUTOR: Final = "0.15.0"


@dataclass(frozen=True, slots=True, kw_only=True)
class Integration:
    """What Keptn is told about us. Those of one `name` and `namespace` share one registration."""

    name: str
    namespace: str
    hostname: str
    pod: str
    version: str
    location: str

    def body(self, subscriptions: Iterable[answers.Subscription]) -> bytes:
        """The request that registers us with these subscriptions."""
        kubernetes = {
            "namespace": self.namespace,
            "podname": self.pod,
            "deploymentname": self.name,
        }
        metadata = {
            "hostname": self.hostname,
            "integrationversion": self.version,
            "distributorversion": _DISTRIBUTOR,
            "location": self.location,
            "kubernetesmetadata": kubernetes,
        }
        listed = [each.model_dump() for each in subscriptions]
        return orjson.dumps({"name": self.name, "metadata": metadata, "subscriptions": listed})


class Uniform:
    """Registers us, says regularly that we are there, and knows our subscriptions.

    `ours` are the subscriptions of a first registration. Those that Keptn has stored count instead,
    as the Bridge edits them; while Keptn can't be asked, those that it told last. Before it has
    told any, `ours` count for what is delivered; what Keptn lists can wait (`is_awaited`).
    `filters` count for events of types that `ours` lack.
    """

    def __init__(
        self,
        api: ApiClient,
        integration: Integration,
        ours: Sequence[Subscription],
        clock: Clock,
        filters: Filters | None = None,
    ) -> None:
        self._api = api
        self._integration = integration
        self._clock = clock
        self._filters = filters or Filters()
        self._types = tuple(dict.fromkeys(each.event_type for each in ours))
        self._stored = tuple(_stored(each) for each in ours)
        self._subscriptions = tuple(ours)
        self._id: str | None = None
        self._failure: str | None = None
        # Whether Keptn has told subscriptions, and since when (monotonic, in seconds) it could.
        self._is_told = False
        self._asked_since: float | None = None

    @property
    def id(self) -> str | None:
        """The integration's id, once Keptn has told it."""
        return self._id

    @property
    def is_awaited(self) -> bool:
        """Whether Keptn is being asked for the subscriptions and hasn't told them yet. After a
        minute in which it answered without telling them, they are awaited no more.
        """
        if self._is_told or self._asked_since is None:
            return False
        return self._clock.monotonic() - self._asked_since < AWAITED_SECONDS

    @property
    def subscriptions(self) -> Sequence[Subscription]:
        """The subscriptions in force to the types of events that we handle; none while they are
        awaited.
        """
        return () if self.is_awaited else self._subscriptions

    @property
    def trouble(self) -> str | None:
        """Why we aren't registered, or get no event."""
        if self._failure or self._subscriptions:
            return self._failure
        return f"no subscription of {self._integration.name} is left: add one in the Bridge"

    def lets_pass(self, trigger: ActionTriggered) -> bool:
        """Whether a subscription matches a trigger; for a subscriber it may be any event."""
        scope = trigger.project, trigger.stage, trigger.service
        if trigger.type not in self._types:
            return not trigger.task and self._filters.let_pass(*scope)
        return any(
            each.event_type == trigger.type and each.filters.let_pass(*scope)
            for each in self._subscriptions
        )

    async def begin(self) -> None:
        """Register before the first event arrives, where Keptn answers at once."""
        with logs.surviving("the registration"), suppress(TimeoutError):
            async with asyncio.timeout(FIRST_SECONDS):
                await self.beat()

    async def run(self) -> None:
        """Say every 10 s that we are there, until cancelled; every second while the subscriptions
        are awaited. Nobody is unregistered at the end: the next process goes on with the same
        registration.
        """
        while True:
            await self._clock.sleep(FIRST_SECONDS if self.is_awaited else BEAT_SECONDS)
            with logs.surviving("the registration"):
                await self.beat()

    async def beat(self) -> None:
        """Register where Keptn doesn't know us; hear which subscriptions there are."""
        if self._asked_since is None:
            self._asked_since = self._clock.monotonic()
        failure = None if self._id else await self._register()
        if failure is None:
            reply = await self._api.put(f"{PATH}/{path_of(self._id or '')}/ping")
            if reply.status == 404:  # it expired, or somebody deleted it
                failure = await self._register()
            else:
                failure = self._heed(reply)
        if failure != self._failure:
            self._failure = failure
            self._tell()

    async def _register(self) -> str | None:
        """Why we aren't registered; None where we are now."""
        reply = await self._api.post(PATH, self._integration.body(self._stored))
        self._note(reply)
        try:
            body = reply.body if reply.status in (200, 201) else b""
            self._id = answers.Registered.model_validate_json(body).id
        except ValidationError:
            return f"the registration is refused: Keptn {_reason(reply)}"
        self._failure = None
        self._tell()
        return None

    def _heed(self, reply: Reply) -> str | None:
        """Take the subscriptions that Keptn has; why it tells none."""
        self._note(reply)
        try:
            body = reply.body if reply.status == 200 else b""
            stored = answers.Integration.model_validate_json(body).subscriptions
        except ValidationError:
            return f"Keptn doesn't tell our subscriptions: it {_reason(reply)}"
        self._stored, self._is_told = stored, True
        subscriptions = tuple(self._of_our_types(stored))
        if set(subscriptions) != set(self._subscriptions):
            told = [asdict(each) for each in subscriptions]
            without = sorted(set(self._types) - {each.event_type for each in subscriptions})
            logs.logger().warning(
                "Keptn's uniform has other subscriptions, which count",
                subscriptions=told,
                none_for=without,
            )
        self._subscriptions = subscriptions
        return None

    def _note(self, reply: Reply) -> None:
        """A Keptn that can't be reached, or doesn't know us, gives no list of events either; one
        that forbids only this (403) may do.
        """
        is_unreachable = reply.status is None and not reply.is_refused
        if is_unreachable or reply.status in (401, 429):
            self._asked_since = self._clock.monotonic()

    def _of_our_types(self, stored: Iterable[answers.Subscription]) -> Iterator[Subscription]:
        for each in stored:
            found = each.filter
            filters = Filters(found.projects, found.stages, found.services)
            for ours in self._types:
                if _matches(each.event, ours):
                    yield Subscription(ours, filters)

    def _tell(self) -> None:
        if self._failure:
            logs.logger().warning("not registered with Keptn", reason=self._failure)
        else:
            logs.logger().info("registered with Keptn", integration=self._id)


def _stored(ours: Subscription) -> answers.Subscription:
    filters = ours.filters
    return answers.Subscription(
        event=ours.event_type,
        filter=answers.Filter(
            projects=filters.projects, stages=filters.stages, services=filters.services
        ),
    )


def _matches(pattern: str, type_: str) -> bool:
    """Whether a subject of NATS, perhaps with the wildcards `*` and `>`, matches the type."""
    wanted, found = pattern.split("."), type_.split(".")
    if wanted[-1] == ">" and len(found) >= len(wanted):
        wanted, found = wanted[:-1], found[: len(wanted) - 1]
    return len(wanted) == len(found) and all(
        each in ("*", part) for each, part in zip(wanted, found, strict=True)
    )


def _reason(reply: Reply) -> str:
    """Why a reply is of no use, with what Keptn itself says about it."""
    try:
        return f"{reply.reason}: {answers.ErrorBody.model_validate_json(reply.body).said}"
    except ValidationError:
        return reply.reason

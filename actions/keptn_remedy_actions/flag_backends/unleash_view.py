"""What applications see of Unleash flags, looked at through the client that they use."""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Protocol, cast

from pydantic import BaseModel, ValidationError
from UnleashClient import UnleashClient
from UnleashClient.cache import BaseCache
from UnleashClient.events import BaseEvent, UnleashFetchedEvent
from UnleashClient.utils import InstanceAllowType

from keptn_remedy_actions.flag_backends import on_or_off

SAMPLED_USERS = 100
_APPLICATION = "keptn-remedy"
_UNSEEN = "unknown (nothing could be fetched with UNLEASH_CLIENT_TOKEN)"

# It logs a traceback for each failed poll; the outcome says what was seen.
logging.getLogger("UnleashClient").setLevel(logging.CRITICAL)


@dataclass(frozen=True, slots=True)
class Sight:
    """What applications see of one flag, and whether that agrees with what was asked for.

    `is_known` is False where it could not be fetched.
    """

    agrees: bool
    said: str
    is_known: bool = True


class _Strategy(BaseModel):
    name: str
    parameters: dict[str, Any] | None = None
    constraints: list[Any] | None = None
    segments: list[Any] | None = None

    @property
    def is_for_everyone(self) -> bool:
        if self.constraints or self.segments:
            return False
        return self.name == "default" or self._rollout == "100"

    @property
    def _rollout(self) -> str:
        return str((self.parameters or {}).get("rollout", ""))

    def __str__(self) -> str:
        rollout = f" {self._rollout} %" if self._rollout else ""
        constraints = " with constraints" if self.constraints or self.segments else ""
        return f"{self.name}{rollout}{constraints}"


class _Feature(BaseModel):
    """A flag as applications fetch it."""

    name: str
    enabled: bool
    strategies: list[_Strategy] = []

    @property
    def is_for_everyone(self) -> bool:
        strategies = self.strategies
        return not strategies or any(strategy.is_for_everyone for strategy in strategies)


class _Payload(BaseModel):
    features: list[_Feature]


class _Evaluates(Protocol):
    """The client's one method that we use; its own annotations are incomplete."""

    def is_enabled(self, feature_name: str, context: dict[str, str] | None = None) -> bool: ...


class _Memory(BaseCache):
    """A cache in memory. The default one is a file, which may hold an old answer."""

    def __init__(self) -> None:
        self._values: dict[str, Any] = {}

    def set(self, key: str, value: Any) -> None:
        self._values[key] = value

    def mset(self, data: dict[str, Any]) -> None:
        self._values.update(data)

    def get(self, key: str, default: Any = None) -> Any:
        return self._values.get(key, default)

    def exists(self, key: str) -> bool:  # pyright: ignore[reportIncompatibleMethodOverride]
        # The base class lacks the annotation, not the meaning.
        return key in self._values

    def destroy(self) -> None:
        self._values.clear()


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """The flags of one environment, as its applications fetch and evaluate them.

    The client is the one for threads: the asynchronous one can't use a proxy.
    """

    url: str
    token: str
    environment: str
    poll_seconds: float
    request_seconds: float

    async def watch(self, wanted: Mapping[str, bool], *, seconds: float) -> Mapping[str, Sight]:
        """The first look that agrees with all of `wanted`, or the last one.

        Looking ends after `seconds`. It does not count as a use of the flags: nothing is sent.
        """
        fetched: asyncio.Queue[UnleashFetchedEvent] = asyncio.Queue()
        client = self._client(fetched)
        evaluator = cast("_Evaluates", client)
        sights: Mapping[str, Sight] = {
            name: Sight(False, _UNSEEN, is_known=False) for name in wanted
        }
        try:
            async with asyncio.timeout(seconds):
                await asyncio.to_thread(client.initialize_client)
                while not all(sight.agrees for sight in sights.values()):
                    # The client answers False where it fetched nothing: wait for a fetch.
                    found = _features(await fetched.get())
                    sights = {
                        name: _sight(evaluator, name, found.get(name), on)
                        for name, on in wanted.items()
                    }
        except TimeoutError:
            pass
        finally:
            await asyncio.to_thread(client.destroy)
        return sights

    def _client(self, fetched: asyncio.Queue[UnleashFetchedEvent]) -> UnleashClient:
        """A client that puts each fetch into the queue."""
        loop = asyncio.get_running_loop()

        def note(event: BaseEvent) -> None:  # called on a thread of the client
            if isinstance(event, UnleashFetchedEvent):
                with suppress(RuntimeError):  # the loop has ended
                    loop.call_soon_threadsafe(fetched.put_nowait, event)

        return UnleashClient(
            self.url,
            app_name=_APPLICATION,
            environment=self.environment,
            custom_headers={"Authorization": self.token},
            refresh_interval=math.ceil(self.poll_seconds),
            request_timeout=math.ceil(self.request_seconds),
            request_retries=0,
            # Looking must not count as a use of the flags.
            disable_metrics=True,
            disable_registration=True,
            cache=_Memory(),
            multiple_instance_mode=InstanceAllowType.SILENTLY_ALLOW,
            event_callback=note,
        )


def _features(event: UnleashFetchedEvent) -> Mapping[str, _Feature]:
    try:
        payload = _Payload.model_validate_json(event.raw_features)
    except ValidationError:  # not Unleash's answer, such as a log-in page
        return {}
    return {feature.name: feature for feature in payload.features}


def _sight(client: _Evaluates, name: str, found: _Feature | None, on: bool) -> Sight:
    if found is None:
        unknown = "unknown (UNLEASH_CLIENT_TOKEN does not show this flag)"
        return Sight(False, unknown, is_known=False)
    is_on = client.is_enabled(name)
    if not (on and found.enabled) or found.is_for_everyone:
        return Sight(found.enabled is on and is_on is on, on_or_off(is_on))
    users = [{"userId": f"{_APPLICATION}-{number}"} for number in range(SAMPLED_USERS)]
    reached = sum(client.is_enabled(name, user) for user in users)
    strategies = ", ".join(map(str, found.strategies))
    return Sight(True, f"on for {reached} of {SAMPLED_USERS} sampled users ({strategies})")

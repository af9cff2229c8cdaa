"""What applications are told about Unleash flags, seen through the client that they use."""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol, cast

from pydantic import BaseModel, ValidationError
from UnleashClient.cache import BaseCache
from UnleashClient.clients.async_unleash_client import AsyncUnleashClient
from UnleashClient.events import BaseEvent, UnleashFetchedEvent
from UnleashClient.utils import InstanceAllowType

from keptn_remedy_actions.flag_backends import on_or_off

SAMPLED_USERS = 100

# It logs a traceback for each poll that fails; what it saw, or didn't, is told in the outcome.
logging.getLogger("UnleashClient").setLevel(logging.CRITICAL)


@dataclass(frozen=True, slots=True)
class Sight:
    """What applications are told about one flag, and whether that is what was wished.

    `is_known` is False when it could not be found out.
    """

    agrees: bool
    said: str
    is_known: bool = True


class _Memory(BaseCache):
    """The default cache is a file, from which an old answer could come."""

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


class _Told(BaseModel):
    """A flag as applications are told about it."""

    name: str
    enabled: bool
    strategies: list[_Strategy] = []

    @property
    def is_for_everyone(self) -> bool:
        strategies = self.strategies
        return not strategies or any(strategy.is_for_everyone for strategy in strategies)


class _Payload(BaseModel):
    features: list[_Told]


def _told(event: UnleashFetchedEvent) -> Mapping[str, _Told]:
    try:
        payload = _Payload.model_validate_json(event.raw_features)
    except ValidationError:  # somebody else's answer, such as a page to log in
        return {}
    return {feature.name: feature for feature in payload.features}


class _Evaluates(Protocol):
    """The client's one method that we use; its own annotations are incomplete."""

    def is_enabled(self, feature_name: str, context: dict[str, str] | None = None) -> bool: ...


async def watch(
    url: str,
    token: str,
    environment: str,
    wishes: Mapping[str, bool],
    *,
    seconds: float,
    poll_seconds: int,
    request_seconds: float,
) -> Mapping[str, Sight]:
    """What applications see, once that agrees with all wishes or the time is over."""
    fetched: asyncio.Queue[UnleashFetchedEvent] = asyncio.Queue()
    loop = asyncio.get_running_loop()

    def heard(event: BaseEvent) -> None:  # on a thread of the client's
        if isinstance(event, UnleashFetchedEvent):
            loop.call_soon_threadsafe(fetched.put_nowait, event)

    client = AsyncUnleashClient(
        url,
        app_name="keptn-remedy",
        environment=environment,
        custom_headers={"Authorization": token},
        refresh_interval=poll_seconds,
        request_timeout=math.ceil(request_seconds),
        request_retries=0,
        # Our looking must not count as a use of the flags.
        disable_metrics=True,
        disable_registration=True,
        cache=_Memory(),
        multiple_instance_mode=InstanceAllowType.SILENTLY_ALLOW,
        event_callback=heard,
    )
    evaluator = cast("_Evaluates", client)
    unseen = "unknown (nothing could be fetched with UNLEASH_CLIENT_TOKEN)"
    sights: Mapping[str, Sight] = {name: Sight(False, unseen, is_known=False) for name in wishes}
    try:
        async with asyncio.timeout(seconds):
            await client.initialize_client()
            while not all(sight.agrees for sight in sights.values()):
                # The client says False for what it could not fetch: only a fetch is believed.
                told = _told(await fetched.get())
                sights = {
                    name: _sight(evaluator, name, told.get(name), on) for name, on in wishes.items()
                }
    except TimeoutError:
        pass
    finally:
        await client.destroy()
    return sights


def _sight(client: _Evaluates, name: str, told: _Told | None, on: bool) -> Sight:
    if told is None:
        unknown = "unknown (UNLEASH_CLIENT_TOKEN does not show this flag)"
        return Sight(False, unknown, is_known=False)
    is_on = client.is_enabled(name)
    if not (on and told.enabled) or told.is_for_everyone:
        return Sight(told.enabled is on and is_on is on, on_or_off(is_on))
    users = [{"userId": f"keptn-remedy-{number}"} for number in range(SAMPLED_USERS)]
    reached = sum(client.is_enabled(name, user) for user in users)
    strategies = ", ".join(map(str, told.strategies))
    return Sight(True, f"on for {reached} of {SAMPLED_USERS} sampled users ({strategies})")

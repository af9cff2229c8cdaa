"""What applications see of Unleash flags, evaluated by the client that they use."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, Protocol, cast

from aiohttp import ClientError, ClientSession, ClientTimeout
from pydantic import BaseModel, ValidationError
from UnleashClient.cache import BaseCache
from UnleashClient.clients.unleash_client import UnleashClient
from UnleashClient.constants import FEATURES_URL
from UnleashClient.utils import InstanceAllowType
from yarl import URL

from keptn_remedy import proxy_for
from keptn_remedy_actions.flag_backends import on_or_off

SAMPLED_USERS = 100
_APPLICATION = "keptn-remedy"
_UNSEEN = "unknown (nothing could be fetched with UNLEASH_CLIENT_TOKEN)"

# It logs a warning where it finds nothing; the outcome says what was seen.
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
    """The client's methods that we use; its own annotations are incomplete."""

    def initialize_client(self, fetch_toggles: bool = True) -> None: ...

    def is_enabled(self, feature_name: str, context: dict[str, str] | None = None) -> bool: ...

    def destroy(self) -> None: ...


class _Fetched(BaseCache):
    """A cache that holds what was fetched. The default one is a file, with an answer of before."""

    def __init__(self, body: str) -> None:
        self._values: dict[str, Any] = {FEATURES_URL: body}

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

    They are fetched by our own session, since the asynchronous client can't use a proxy; the client
    evaluates them without a connection.
    """

    http: ClientSession
    url: str
    token: str
    environment: str
    poll_seconds: float
    request_seconds: float

    async def watch(self, wanted: Mapping[str, bool], *, seconds: float) -> Mapping[str, Sight]:
        """The first look that agrees with all of `wanted`, or the last one.

        Looking ends after `seconds`. It does not count as a use of the flags: nothing is sent.
        """
        sights: Mapping[str, Sight] = {
            name: Sight(False, _UNSEEN, is_known=False) for name in wanted
        }
        try:
            async with asyncio.timeout(seconds):
                while True:
                    body = await self._fetched()
                    sights = await asyncio.to_thread(self._looked, body, wanted) or sights
                    if all(sight.agrees for sight in sights.values()):
                        break
                    await asyncio.sleep(self.poll_seconds)
        except TimeoutError:
            pass
        return sights

    async def _fetched(self) -> str:
        """The body that an application gets; "" where it gets none."""
        url = URL(f"{self.url}/api/client/features")
        try:
            async with self.http.get(
                url,
                headers={"Authorization": self.token},
                timeout=ClientTimeout(self.request_seconds),
                proxy=proxy_for(url),
                allow_redirects=False,
                raise_for_status=False,
            ) as answer:
                return await answer.text() if answer.status == HTTPStatus.OK else ""
        except (ClientError, TimeoutError, ValueError):
            return ""

    def _looked(self, body: str, wanted: Mapping[str, bool]) -> Mapping[str, Sight]:
        """What the body says; nothing where it isn't Unleash's answer, such as a log-in page."""
        try:
            payload = _Payload.model_validate_json(body)
        except ValidationError:
            return {}
        features = {feature.name: feature for feature in payload.features}
        client = self._client(body)
        try:
            client.initialize_client(fetch_toggles=False)
            return {
                name: _sight(client, name, features.get(name), on) for name, on in wanted.items()
            }
        finally:
            client.destroy()

    def _client(self, body: str) -> _Evaluates:
        client = UnleashClient(
            self.url,
            app_name=_APPLICATION,
            environment=self.environment,
            # Looking must not count as a use of the flags.
            disable_metrics=True,
            disable_registration=True,
            cache=_Fetched(body),
            multiple_instance_mode=InstanceAllowType.SILENTLY_ALLOW,
        )
        return cast("_Evaluates", client)


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

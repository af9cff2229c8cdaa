"""What applications see of Unleash flags, by the engine that Unleash's clients evaluate with."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from http import HTTPStatus
from importlib import import_module
from typing import Any, Protocol

from aiohttp import ClientError, ClientSession, ClientTimeout
from pydantic import BaseModel
from yarl import URL

from keptn_remedy_actions.flag_backends import on_or_off
from keptn_remedy_actions.flag_backends.proxy import proxy_for

SAMPLED_USERS = 100
_APPLICATION = "keptn-remedy"
_UNSEEN = "unknown (nothing could be fetched with UNLEASH_CLIENT_TOKEN)"


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


class _Answer(Protocol):
    @property
    def is_enabled(self) -> bool: ...


class _Engine(Protocol):
    """What we use of the engine, which has no annotations that can be checked."""

    def take_state(self, state_json: str) -> object: ...

    def check_enabled(self, toggle_name: str, context: dict[str, Any]) -> _Answer: ...


def _engine() -> _Engine:
    module: Any = import_module("yggdrasil_engine.engine")
    engine: _Engine = module.UnleashEngine()
    return engine


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """The flags of one environment, as its applications fetch and evaluate them."""

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
        engine = _engine()
        try:
            payload = _Payload.model_validate_json(body)
            engine.take_state(body)
        except Exception:  # noqa: BLE001 - the engine raises whatever its parser meets
            return {}
        features = {feature.name: feature for feature in payload.features}
        return {
            name: self._sight(engine, name, features.get(name), wanted[name]) for name in wanted
        }

    def _sight(self, engine: _Engine, name: str, found: _Feature | None, on: bool) -> Sight:
        if found is None:
            unknown = "unknown (UNLEASH_CLIENT_TOKEN does not show this flag)"
            return Sight(False, unknown, is_known=False)
        is_on = engine.check_enabled(name, self._context()).is_enabled
        if not (on and found.enabled) or found.is_for_everyone:
            return Sight(found.enabled is on and is_on is on, on_or_off(is_on))
        users = (self._context(userId=f"{_APPLICATION}-{n}") for n in range(SAMPLED_USERS))
        reached = sum(engine.check_enabled(name, user).is_enabled for user in users)
        strategies = ", ".join(map(str, found.strategies))
        return Sight(True, f"on for {reached} of {SAMPLED_USERS} sampled users ({strategies})")

    def _context(self, **known: str) -> dict[str, Any]:
        """What an application tells about itself and a user."""
        return {
            "appName": _APPLICATION,
            "environment": self.environment,
            "currentTime": datetime.now(UTC).isoformat(),
            "properties": {},
            **known,
        }

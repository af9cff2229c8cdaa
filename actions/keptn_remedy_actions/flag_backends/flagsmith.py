"""Flags in one environment of Flagsmith: the feature's state there, without its overrides."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, cast

from keptn_remedy import PermanentError, TemporaryError
from keptn_remedy_actions.flag_backends import Wish, near
from keptn_remedy_actions.flag_backends.compared import Found
from keptn_remedy_actions.flag_backends.http_api import HttpApi, Refused, segment
from keptn_remedy_actions.flag_backends.restoring import Gone


@dataclass(frozen=True, slots=True)
class Flagsmith:
    """A `Backend` in the environment with this key. Overrides of segments and identities stay."""

    api: HttpApi
    environment: str

    MOST_PAGES: ClassVar[int] = 20

    @property
    def place(self) -> str:
        return f"environment {self.environment} of Flagsmith"

    def target(self, name: str) -> str:
        return f"flagsmith:{self.environment}/{name}"

    async def read(self, name: str) -> Found:
        states = await self._states(name)
        if not states:
            raise Gone(f"there is no feature {name} in {self.place}{await self._hint(name)}")
        state = states[0]
        if len(states) > 1 or not isinstance(state.get("enabled"), bool):
            raise self.api.stranger()
        return Found({"enabled": state["enabled"]}, state["id"])

    def enabled(self, found: Found, wish: Wish) -> bool | str:
        return bool(found.fields["enabled"])

    def wished(self, name: str, found: Found, wish: Wish) -> Any:
        if isinstance(wish, str):
            raise PermanentError(f"{name} can only be on or off in Flagsmith, not {wish}")
        return {"enabled": wish}

    async def write(self, name: str, found: Found, fields: Any) -> None:
        path = f"{self._environment}/featurestates/{found.facts}/"
        try:
            await self.api.call("PATCH", path, body={"enabled": fields["enabled"]})
        except Refused as error:
            raise PermanentError(
                f"{error} (where change requests are on, Flagsmith takes no direct change)"
            ) from None

    async def seen(self, name: str) -> bool | None:
        """What applications get that name no identity."""
        try:
            flag = (await self._as_an_application(feature=name)).map
        except PermanentError:
            return None  # such as a feature for server-side keys alone
        return flag["enabled"] if isinstance(flag.get("enabled"), bool) else None

    async def examine(self) -> str:
        await self._call(f"{self._environment}/featurestates/", {"page": "1"})
        return f"{self.api.url}: the features of environment {self.environment} can be read"

    @property
    def _environment(self) -> str:
        return f"api/v1/environments/{segment(self.environment, 'environment')}"

    async def _states(self, name: str) -> Sequence[dict[str, Any]]:
        """The states of the feature itself, page by page."""
        states = list[dict[str, Any]]()
        for page in range(1, self.MOST_PAGES + 1):
            query = {"feature_name": name, "page": str(page)}
            answer = (await self._call(f"{self._environment}/featurestates/", query)).map
            if not isinstance(answer.get("results"), list):
                raise self.api.stranger()
            found = cast("list[dict[str, Any]]", answer["results"])
            states += [s for s in found if not s.get("identity") and not s.get("feature_segment")]
            if not answer.get("next"):
                break
        return states

    async def _call(self, path: str, query: dict[str, str]) -> Any:
        try:
            return await self.api.call("GET", path, query=query)
        except Gone as error:
            raise PermanentError(
                f"Flagsmith has no environment {self.environment}: FLAGSMITH_ENVIRONMENT has the"
                f" keys of environments by stage ({error})"
            ) from None

    async def _as_an_application(self, **query: str) -> Any:
        headers = {"X-Environment-Key": self.environment}
        return await self.api.call("GET", "api/v1/flags/", query=query, headers=headers)

    async def _hint(self, name: str) -> str:
        """The feature that was meant, as far as they can be listed."""
        try:
            found: Any = (await self._as_an_application()).body
        except (PermanentError, TemporaryError):
            return ""
        flags = cast("list[dict[str, Any]]", found if isinstance(found, list) else [])
        return near(name, [str(f["feature"]["name"]) for f in flags if "feature" in f])

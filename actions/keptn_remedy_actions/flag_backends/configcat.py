"""Flags in ConfigCat, by its public management API; the SDK key is config and environment."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, cast

from keptn_remedy import PermanentError
from keptn_remedy_actions.flag_backends import Wish, percentage, share
from keptn_remedy_actions.flag_backends.compared import Found
from keptn_remedy_actions.flag_backends.http_api import HttpApi, segment
from keptn_remedy_actions.flag_backends.restoring import Gone

_FIELDS: Final = ("defaultValue", "targetingRules")


@dataclass(frozen=True, slots=True)
class ConfigCat:
    """A `Backend` in the environment and config of one SDK key.

    Targeting rules would keep a flag from being on or off for everybody. So they are removed, and
    restored.
    """

    api: HttpApi
    sdk_key: str
    environment: str
    reason: str

    @property
    def place(self) -> str:
        return f"{self.environment} (ConfigCat)"

    def target(self, name: str) -> str:
        return f"configcat:{self.environment}/{name}"

    async def read(self, name: str) -> Found:
        try:
            found = (await self.api.call("GET", self._path(name), headers=self._key)).map
        except Gone as error:
            raise Gone(
                f"there is no flag {name} in {self.place}: {error} (CONFIGCAT_SDK_KEY says where to"
                " look)"
            ) from None
        default: Any = found.get("defaultValue")
        if not isinstance(default, dict) or not isinstance(found.get("targetingRules"), list):
            raise self.api.stranger()
        is_on = cast("Mapping[str, Any]", default).get("boolValue")
        if not isinstance(is_on, bool):
            raise PermanentError(f"{name} is no boolean flag in {self.place}")
        value = {"boolValue": is_on}
        rules = _without_nulls(found["targetingRules"])
        return Found({"defaultValue": value, "targetingRules": rules})

    def enabled(self, found: Found, wish: Wish) -> bool | str:
        rules = found.fields["targetingRules"]
        if not rules:
            return bool(found.fields["defaultValue"]["boolValue"])
        percent = _percent(rules)
        return "decided by targeting rules" if percent is None else share(percent)

    def wished(self, name: str, found: Found, wish: Wish) -> Any:
        if isinstance(wish, bool):
            return {"defaultValue": {"boolValue": wish}, "targetingRules": []}
        percent = percentage(wish)
        if percent is None:
            raise PermanentError(f"{name} can be on, off or a percentage in ConfigCat: {wish}")
        return {"defaultValue": {"boolValue": False}, "targetingRules": [_rule(percent)]}

    async def write(self, name: str, found: Found, fields: Any) -> None:
        patch = [
            {"op": "replace", "path": f"/{field}", "value": fields[field]}
            for field in _FIELDS
            if fields[field] != found.fields[field]
        ]
        await self.api.call(
            "PATCH",
            self._path(name),
            query={"reason": self.reason},
            body=patch,
            headers=self._key,
        )

    async def seen(self, name: str) -> bool | None:
        return None

    async def examine(self) -> str:
        await self.api.call("GET", "v1/me")
        return f"{self.api.url}: the credential is known"

    @property
    def _key(self) -> dict[str, str]:
        return {"X-CONFIGCAT-SDKKEY": self.sdk_key}

    def _path(self, name: str) -> str:
        return f"v2/settings/{segment(name)}/value"


def _rule(percent: int) -> Any:
    options = [
        {"percentage": percent, "value": {"boolValue": True}},
        {"percentage": 100 - percent, "value": {"boolValue": False}},
    ]
    return {"conditions": [], "percentageOptions": options}


def _without_nulls(value: Any) -> Any:
    """ConfigCat answers with every field that there could be."""
    if isinstance(value, list):
        items = cast("Sequence[Any]", value)
        return [_without_nulls(each) for each in items]
    if isinstance(value, dict):
        fields = cast("Mapping[str, Any]", value)
        return {name: _without_nulls(each) for name, each in fields.items() if each is not None}
    return value


def _percent(rules: Any) -> int | None:
    """The percentage that a single rule for everybody has; None for any other rules."""
    if len(rules) != 1 or rules[0].get("conditions"):
        return None
    on: list[int] = [
        option["percentage"]
        for option in rules[0].get("percentageOptions") or ()
        if option["value"].get("boolValue") is True
    ]
    return sum(on)

"""Flags in LaunchDarkly, by its REST API: GET and PATCH of a flag, as semantic patches."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Final, cast

from keptn_remedy import Denied, PermanentError, TemporaryError
from keptn_remedy_actions.flag_backends import Wish, near, percentage, share
from keptn_remedy_actions.flag_backends.compared import Found
from keptn_remedy_actions.flag_backends.http_api import HttpApi, Refused, segment
from keptn_remedy_actions.flag_backends.restoring import Gone

_SEMANTIC: Final = "application/json; domain-model=launchdarkly.semanticpatch"
_WHOLE: Final = 100_000
"""The sum of the weights of a rollout."""
_DEFAULTS: Final = {"bucketBy": "key", "contextKind": "user"}
_KEPT: Final = {"rolloutContextKind": "contextKind", "rolloutBucketBy": "bucketBy"}


@dataclass(frozen=True, slots=True)
class LaunchDarkly:
    """A `Backend` in one environment of one LaunchDarkly project."""

    api: HttpApi
    project: str
    environment: str
    reason: str

    PAGE: ClassVar[int] = 100
    MOST_PAGES: ClassVar[int] = 10

    @property
    def place(self) -> str:
        return f"{self.environment} (LaunchDarkly project {self.project})"

    def target(self, name: str) -> str:
        return f"launchdarkly:{self.project}/{self.environment}/{name}"

    async def read(self, name: str) -> Found:
        try:
            query = {"env": self.environment}
            flag = (await self.api.call("GET", self._path(name), query=query)).map
        except Gone as error:
            raise Gone(
                f"there is no flag {name} in {self.place}{await self._hint(name)}: {error}"
            ) from None
        if flag.get("archived"):
            raise Gone(f"flag {name} of LaunchDarkly project {self.project} is archived")
        environments: Any = flag.get("environments")
        if not isinstance(environments, dict) or not isinstance(flag.get("variations"), list):
            raise self.api.stranger()
        state = cast("dict[str, Any]", environments).get(self.environment)
        settings = cast("dict[str, Any]", state if isinstance(state, dict) else {})
        if not isinstance(settings.get("on"), bool):
            raise PermanentError(
                f"LaunchDarkly project {self.project} has no environment {self.environment}:"
                " LAUNCHDARKLY_ENVIRONMENT maps Keptn's stages to them"
            )
        fallthrough = _normal(settings.get("fallthrough") or {})
        fields = {"on": settings["on"], "fallthrough": fallthrough}
        return Found(fields, flag["variations"], _warnings(name, settings))

    def enabled(self, found: Found, wish: Wish) -> bool | str:
        on: bool = found.fields["on"]
        if isinstance(wish, bool) or not on:
            return on
        percent = _percent(found.fields["fallthrough"], _index(found.facts, True))
        return "on, for whom its rules say" if percent is None else share(percent)

    def wished(self, name: str, found: Found, wish: Wish) -> Any:
        if isinstance(wish, bool):
            return {**found.fields, "on": wish}
        percent = percentage(wish)
        if percent is None:
            raise PermanentError(f"{name} can be on, off or a percentage in LaunchDarkly: {wish}")
        on, off = _index(found.facts, True), _index(found.facts, False)
        if on is None or off is None:
            raise PermanentError(
                f"{name} has no variations true and false, so {wish} means nothing"
            )
        rollout = _rollout(found.fields["fallthrough"])
        if "experimentAllocation" in rollout:
            raise Denied(f"an experiment of {name} is running in {self.place}")
        weight = percent * _WHOLE // 100
        by_variation = {on: weight, off: _WHOLE - weight}
        weights = [{"variation": each, "weight": by_variation[each]} for each in (0, 1)]
        kept = {its: rollout[its] for its in _DEFAULTS if its in rollout}
        return {"on": True, "fallthrough": {"rollout": {**kept, "variations": weights}}}

    async def write(self, name: str, found: Found, fields: Any) -> None:
        instructions = list[Mapping[str, Any]]()
        if fields["fallthrough"] != found.fields["fallthrough"]:
            instructions.append(_falling_through(fields["fallthrough"], found.facts))
        if fields["on"] != found.fields["on"]:
            instructions.append({"kind": "turnFlagOn" if fields["on"] else "turnFlagOff"})
        body = {
            "comment": self.reason,
            "environmentKey": self.environment,
            "instructions": instructions,
        }
        try:
            headers = {"Content-Type": _SEMANTIC}
            await self.api.call("PATCH", self._path(name), body=body, headers=headers)
        except Refused as error:
            if error.status == 405:
                raise Denied(
                    f"{self.place} requires an approval in LaunchDarkly: ask for one there"
                ) from None
            raise

    async def seen(self, name: str) -> bool | None:
        return None

    async def examine(self) -> str:
        project = segment(self.project, "project")
        await self.api.call("GET", f"api/v2/flags/{project}", query={"limit": "1"})
        if self.environment:
            environment = segment(self.environment, "environment")
            await self.api.call("GET", f"api/v2/projects/{project}/environments/{environment}")
        where = self.environment or self.project
        return f"{self.api.url}: the flags of {where} can be read"

    def _path(self, name: str) -> str:
        return f"api/v2/flags/{segment(self.project, 'project')}/{segment(name)}"

    async def _hint(self, name: str) -> str:
        """The flag that was meant, as far as the flags can be listed."""
        try:
            return near(name, await self._names())
        except (PermanentError, TemporaryError):
            return ""

    async def _names(self) -> Sequence[str]:
        path, names = f"api/v2/flags/{segment(self.project, 'project')}", list[str]()
        for page in range(self.MOST_PAGES):
            query = {"limit": str(self.PAGE), "offset": str(page * self.PAGE), "summary": "true"}
            items: Any = (await self.api.call("GET", path, query=query)).map.get("items")
            found = cast("list[dict[str, Any]]", items) if isinstance(items, list) else []
            names += [str(flag.get("key")) for flag in found]
            if len(found) < self.PAGE:
                break
        return names


def _falling_through(wanted: Any, variations: Sequence[Mapping[str, Any]]) -> Mapping[str, Any]:
    kind = "updateFallthroughVariationOrRollout"
    if not (rollout := _rollout(wanted)):
        return {"kind": kind, "variationId": variations[wanted["variation"]]["_id"]}
    weights: dict[str, int] = {
        variations[each["variation"]]["_id"]: each["weight"] for each in rollout["variations"]
    }
    kept = {name: rollout[its] for name, its in _KEPT.items() if its in rollout}
    return {"kind": kind, "rolloutWeights": weights, **kept}


def _normal(fallthrough: Any) -> Any:
    """The rule without what says nothing: defaults, and the order of weights."""
    if not (rollout := _rollout(fallthrough)):
        return fallthrough
    kept = {its: v for its, v in rollout.items() if v not in (None, _DEFAULTS.get(its))}
    kept["variations"] = sorted(rollout["variations"], key=lambda each: each["variation"])
    return {**fallthrough, "rollout": kept}


def _rollout(fallthrough: Any) -> Mapping[str, Any]:
    return fallthrough.get("rollout") or {}


def _index(variations: Sequence[Mapping[str, Any]], value: bool) -> int | None:
    """Where the variation of this value is; None where the flag isn't boolean."""
    if len(variations) != 2:
        return None
    return next((n for n, each in enumerate(variations) if each.get("value") is value), None)


def _percent(fallthrough: Any, on: int | None) -> int | None:
    """The percentage that gets the variation `true` by default; None where it isn't a whole one."""
    if "variation" in fallthrough:
        return 100 if fallthrough["variation"] == on else 0
    rollout = _rollout(fallthrough)
    weighed: list[Any] = rollout["variations"] if rollout else []
    weights: dict[Any, int] = {each["variation"]: each["weight"] for each in weighed}
    weight = weights.get(on, 0)
    return weight * 100 // _WHOLE if on is not None and not weight * 100 % _WHOLE else None


def _warnings(name: str, state: Mapping[str, Any]) -> Sequence[str]:
    """What else decides who gets the flag while it is on."""
    words = {"prerequisites": "prerequisites", "rules": "rules", "targets": "targets"}
    others = [said for key, said in words.items() if state.get(key)]
    return (f"{name} also has {' and '.join(others)}, which stay",) if others else ()

"""Flags of a GitLab project: the scopes of one environment, or the whole flag."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any, ClassVar, Final, cast

from keptn_remedy import Denied, PermanentError, TemporaryError
from keptn_remedy_actions.flag_backends import Wish, near, percentage, share
from keptn_remedy_actions.flag_backends.compared import Found
from keptn_remedy_actions.flag_backends.http_api import HttpApi, segment
from keptn_remedy_actions.flag_backends.restoring import Gone

EVERYWHERE: Final = "*"
"""As the environment: the whole flag is switched, for all environments at once."""

_LEVELS: Final = ("project", "group")
_DEVELOPER: Final = 30
_ROLLOUTS: Final = {"flexibleRollout": "rollout", "gradualRolloutUserId": "percentage"}
Strategy = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class GitLab:
    """A `Backend` in one environment of one GitLab project.

    A flag is on in an environment while it is active and a strategy has a scope that matches the
    environment. Only scopes of exactly this name are ours to add and remove: others hold elsewhere.
    """

    api: HttpApi
    project: str
    environment: str

    PAGE: ClassVar[int] = 100
    MOST_PAGES: ClassVar[int] = 10

    @property
    def place(self) -> str:
        return f"{self.environment} (GitLab project {self.project})"

    def target(self, name: str) -> str:
        return f"gitlab:{self.project}/{self.environment}/{name}"

    async def read(self, name: str) -> Found:
        try:
            flag = (await self.api.call("GET", self._path(name))).map
        except Gone as error:
            hint = await self._hint(name)
            raise Gone(f"there is no flag {name} in {self.place}{hint}: {error}") from None
        strategies: Any = flag.get("strategies")
        if not isinstance(flag.get("active"), bool) or not isinstance(strategies, list):
            raise self.api.stranger()
        live = cast("list[Strategy]", strategies)
        if self.environment == EVERYWHERE:
            return Found({"active": flag["active"]}, live)
        ours = sorted((_image(each, self.environment) for each in self._ours(live)), key=str)
        return Found({"active": flag["active"], "strategies": ours}, live)

    def enabled(self, found: Found, wish: Wish) -> bool | str:
        fields = found.fields
        if not fields["active"] or "strategies" not in fields:
            return bool(fields["active"])
        acting = [*fields["strategies"], *self._wider(found.facts)]
        if not acting:
            return False
        if any(_percent(each) == 100 and each["name"] == "default" for each in acting):
            return True
        if len(acting) == 1 and (percent := _percent(acting[0])) is not None:
            return share(percent)
        return f"for whom {' and '.join(sorted({each['name'] for each in acting}))} says"

    def wished(self, name: str, found: Found, wish: Wish) -> Any:
        percent = percentage(wish)
        if isinstance(wish, str) and percent is None:
            raise PermanentError(f"{name} can be on, off or a percentage in GitLab: {wish}")
        if self.environment == EVERYWHERE:
            if percent is not None:
                raise PermanentError(f"{name}: {wish} needs an environment in GITLAB_ENVIRONMENT")
            return {"active": wish}
        if wish is not False:
            self._check_active(name, found)
        if wish is not True and (wider := self._wider(found.facts)):
            scopes = ", ".join(sorted({s for each in wider for s in _scopes(each)}))
            raise Denied(
                f"{name} reaches {self.environment} by a scope that other environments share,"
                f" {scopes}: give {self.environment} a strategy of its own in GitLab, or set"
                " GITLAB_ENVIRONMENT=* to switch the flag everywhere"
            )
        if wish is True and self.enabled(found, wish) is True:
            return found.fields
        return {**found.fields, "strategies": _strategies(wish, percent)}

    async def write(self, name: str, found: Found, fields: Any) -> None:
        if "strategies" not in fields:
            body: Mapping[str, Any] = {"active": fields["active"]}
        else:
            body = {"strategies": self._edits(found, fields["strategies"])}
        await self.api.call("PUT", self._path(name), body=body)

    async def seen(self, name: str) -> bool | None:
        return None

    async def examine(self) -> str:
        project = (await self.api.call("GET", f"api/v4/projects/{self._project}")).map
        held: Any = project.get("permissions") or {}
        access: list[Any] = [held.get(f"{of}_access") or {} for of in _LEVELS]
        levels: list[int] = [each.get("access_level", 0) for each in access]
        if max(levels) < _DEVELOPER:
            raise PermanentError(f"the token has no role Developer in {self.project}")
        return f"{self.api.url}: the token may change the flags of {self.project}"

    def _edits(self, found: Found, wanted: Sequence[Strategy]) -> list[Mapping[str, Any]]:
        """What GitLab is asked to do to the strategies: it destroys, extends and creates."""
        edits, missing = list[Mapping[str, Any]](), list(wanted)
        for live in self._ours(found.facts):
            if (image := _image(live, self.environment)) in missing:
                missing.remove(image)
            elif image["shared"]:
                ours = [
                    s["id"] for s in live["scopes"] if s["environment_scope"] == self.environment
                ]
                gone = [{"id": identity, "_destroy": True} for identity in ours]
                edits.append({"id": live["id"], "scopes": gone})
            else:
                edits.append({"id": live["id"], "_destroy": True})
        return edits + [self._addition(found.facts, each) for each in missing]

    def _addition(self, live: Sequence[Strategy], wanted: Strategy) -> Mapping[str, Any]:
        scope = [{"environment_scope": self.environment}]
        alike = [e for e in live if _content(e) == {k: wanted[k] for k in _content(e)}]
        if wanted["shared"] and alike:
            return {"id": alike[0]["id"], "scopes": scope}
        made = {"name": wanted["name"], "parameters": wanted["parameters"], "scopes": scope}
        return made | ({"user_list_id": wanted["list"]} if wanted["list"] is not None else {})

    def _ours(self, live: Sequence[Strategy]) -> list[Strategy]:
        return [each for each in live if self.environment in _scopes(each)]

    def _wider(self, live: Sequence[Strategy]) -> list[Strategy]:
        """The strategies that reach the environment by a pattern, such as `*`."""
        name = self.environment
        return [
            each
            for each in live
            if any(s != name and fnmatchcase(name, s.replace("[", "[[]")) for s in _scopes(each))
        ]

    def _check_active(self, name: str, found: Found) -> None:
        if not found.fields["active"]:
            raise Denied(
                f"{name} is inactive in all environments of GitLab project {self.project}: activate"
                " it in GitLab, or set GITLAB_ENVIRONMENT=* to switch the flag everywhere"
            )

    def _path(self, name: str) -> str:
        return f"api/v4/projects/{self._project}/feature_flags/{segment(name)}"

    @property
    def _project(self) -> str:
        return "%2F".join(segment(part, "project") for part in self.project.split("/"))

    async def _hint(self, name: str) -> str:
        """The flag that was meant, as far as the flags can be listed."""
        try:
            return near(name, await self._names())
        except (PermanentError, TemporaryError):
            return ""

    async def _names(self) -> Sequence[str]:
        names, page = list[str](), "1"
        for _ in range(self.MOST_PAGES):
            answer = await self.api.call(
                "GET",
                f"api/v4/projects/{self._project}/feature_flags",
                query={"per_page": str(self.PAGE), "page": page},
            )
            found = cast("list[Strategy]", answer.body) if isinstance(answer.body, list) else []
            names += [str(flag.get("name")) for flag in found]
            page = answer.headers.get("X-Next-Page", "")
            if not page:
                break
        return names


def _strategies(wish: Wish, percent: int | None) -> list[Strategy]:
    """The strategies of the environment that make it so."""
    if wish is False:
        return []
    alone = {"list": None, "shared": False}
    if percent is None:
        return [{"name": "default", "parameters": {}, **alone}]
    parameters = {"groupId": "default", "rollout": str(percent), "stickiness": "default"}
    return [{"name": "flexibleRollout", "parameters": parameters, **alone}]


def _image(strategy: Strategy, environment: str) -> Strategy:
    """What is compared and restored; ids are new where a strategy is made again."""
    others = [scope for scope in _scopes(strategy) if scope != environment]
    return {**_content(strategy), "shared": bool(others)}


def _content(strategy: Strategy) -> Mapping[str, Any]:
    users: Mapping[str, Any] = strategy.get("user_list") or {}
    parameters: Mapping[str, Any] = strategy.get("parameters") or {}
    return {"name": strategy["name"], "parameters": parameters, "list": users.get("id")}


def _scopes(strategy: Strategy) -> list[str]:
    return [scope["environment_scope"] for scope in strategy.get("scopes") or ()]


def _percent(strategy: Strategy) -> int | None:
    """The percentage of users that a strategy is for; None where it is for others."""
    if strategy["name"] == "default":
        return 100
    parameters: Mapping[str, Any] = strategy.get("parameters") or {}
    said = str(parameters.get(_ROLLOUTS.get(strategy["name"], ""), ""))
    return int(said) if said.isascii() and said.isdigit() else None

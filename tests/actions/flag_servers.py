"""Stand-ins for the stores of feature flags. Each answers as its documentation says: codes, paging,
conflicts and limits. They hold one environment, and keep the flags in the store's own shape.
"""

from __future__ import annotations

import base64
import copy
import json
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any, ClassVar

from aiohttp import web

from keptn_remedy_actions.toggle_feature import ToggleFeatureSettings

SECRET = "very-secret"
Json = dict[str, Any]


@dataclass
class Fault:
    """What becomes of a request: it is answered so, or without a status cut off, before the server
    handles it or after.
    """

    status: int | None = None
    headers: Mapping[str, str] = field(default_factory=dict[str, str])
    body: bytes = b""
    after: bool = False


class Refusal(Exception):
    """The stand-in answers with this status and JSON."""

    def __init__(self, status: int, body: Any) -> None:
        super().__init__(status)
        self.status, self.body = status, body


class StandIn(ABC):
    """One store. The flags `hero` and `promo` are on; `dark` is off."""

    store: ClassVar[str]
    has_percentages: ClassVar[bool] = True
    has_paths: ClassVar[bool] = True
    """Whether the name of a flag is a part of the address."""

    def __init__(self) -> None:
        self.url = ""
        self.flags: dict[str, Any] = {
            n: self.made(on=n != "dark") for n in ("hero", "promo", "dark")
        }
        self.requests: list[tuple[str, str]] = []
        self.writes = 0
        self.faults: deque[Fault | None] = deque()

    @abstractmethod
    def made(self, *, on: bool) -> Any: ...

    @abstractmethod
    def routes(self) -> list[web.RouteDef]: ...

    @abstractmethod
    def settings(self, folder: Path) -> ToggleFeatureSettings: ...

    @abstractmethod
    def allows(self, request: web.Request) -> bool: ...

    @abstractmethod
    def meddle(self, name: str) -> None:
        """As somebody else would: change who gets the flag to something that we don't set."""

    def snapshot(self) -> Any:
        """Everything that the store holds."""
        return copy.deepcopy(self.flags)

    def flag(self, name: str) -> Any:
        if name not in self.flags:
            raise Refusal(404, {"message": "404 Not found"})
        return self.flags[name]

    def wrote(self, name: str, flag: Any) -> None:
        if flag != self.flags[name]:
            self.writes += 1
        self.flags[name] = flag

    def cut(self, at: int, *, after: bool) -> None:
        """Cut off the request of this number, counted from now."""
        self.faults = deque([None] * at + [Fault(after=after)])

    @web.middleware
    async def _middleware(self, request: web.Request, handler: Any) -> web.StreamResponse:
        self.requests.append((request.method, request.raw_path))
        fault = self.faults.popleft() if self.faults else None
        if fault and not fault.after:
            return _given(request, fault)
        answer = await self._answered(request, handler)
        return _given(request, fault) if fault else answer

    async def _answered(self, request: web.Request, handler: Any) -> web.StreamResponse:
        if not self.allows(request):
            return web.json_response({"message": f"unknown {SECRET}"}, status=401)
        try:
            found: web.StreamResponse = await handler(request)
        except Refusal as refusal:
            return web.json_response(refusal.body, status=refusal.status)
        except web.HTTPException as error:
            return web.json_response({"message": error.reason}, status=error.status)
        return found

    @asynccontextmanager
    async def served(self) -> AsyncIterator[StandIn]:
        app = web.Application(middlewares=[self._middleware])
        app.add_routes(self.routes())
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.01)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        self.url = "http://{}:{}".format(*runner.addresses[0])
        try:
            yield self
        finally:
            await runner.cleanup()


def _given(request: web.Request, fault: Fault) -> web.Response:
    if fault.status is not None:
        return web.Response(status=fault.status, headers=fault.headers, body=fault.body)
    if request.transport is not None:
        request.transport.close()
    return web.Response()


def settings(**given: Any) -> ToggleFeatureSettings:
    return ToggleFeatureSettings(**given)


def page_of(request: web.Request, items: list[Any], size: int) -> tuple[list[Any], int | None]:
    """The items of `?page=`, and the next page."""
    number = int(request.query.get("page", "1"))
    end = number * size
    return items[end - size : end], number + 1 if end < len(items) else None


class LaunchDarklyServer(StandIn):
    store = "launchdarkly"
    needs_approval = False

    def made(self, *, on: bool) -> Any:
        return {"on": on, "fallthrough": {"variation": 0}, "rules": [], "targets": []}

    def settings(self, folder: Path) -> ToggleFeatureSettings:
        return settings(
            launchdarkly_api_token=SECRET,
            launchdarkly_url=self.url,
            launchdarkly_project="shop",
        )

    def allows(self, request: web.Request) -> bool:
        return request.headers.get("Authorization") == SECRET

    def meddle(self, name: str) -> None:
        weights = [{"variation": 0, "weight": 33000}, {"variation": 1, "weight": 67000}]
        self.flags[name]["fallthrough"] = {"rollout": {"variations": weights}}

    def routes(self) -> list[web.RouteDef]:
        return [
            web.get("/api/v2/flags/shop", self.listed),
            web.get("/api/v2/projects/shop/environments/{env}", self.environment),
            web.get("/api/v2/flags/shop/{flag}", self.read),
            web.patch("/api/v2/flags/shop/{flag}", self.patch),
        ]

    async def environment(self, request: web.Request) -> web.Response:
        return web.json_response({"key": request.match_info["env"]})

    async def listed(self, request: web.Request) -> web.Response:
        limit, offset = int(request.query["limit"]), int(request.query.get("offset", "0"))
        keys = sorted(self.flags)[offset : offset + limit]
        items = [{"key": key} for key in keys]
        return web.json_response({"items": items, "totalCount": len(self.flags)})

    async def read(self, request: web.Request) -> web.Response:
        return web.json_response(self._shown(request.match_info["flag"]))

    def _shown(self, name: str) -> Json:
        values = [{"_id": f"id-{value}", "value": value} for value in (True, False)]
        environments = {"production": self.flag(name)}
        return {"key": name, "kind": "boolean", "variations": values, "environments": environments}

    async def patch(self, request: web.Request) -> web.Response:
        name, body = request.match_info["flag"], await request.json()
        if request.content_type != "application/json" or "semanticpatch" not in request.headers.get(
            "Content-Type", ""
        ):
            raise Refusal(400, {"code": "invalid_request", "message": "no semantic patch"})
        if self.needs_approval:
            raise Refusal(405, {"code": "method_not_allowed", "message": "approval required"})
        flag = copy.deepcopy(self.flag(name))
        if body["environmentKey"] != "production" or not body["instructions"]:
            raise Refusal(400, {"code": "invalid_request", "message": "no instructions"})
        for instruction in body["instructions"]:
            self._follow(flag, instruction)
        self.wrote(name, flag)
        return web.json_response(self._shown(name))

    def _follow(self, flag: Json, instruction: Json) -> None:
        number = {"id-True": 0, "id-False": 1}
        match instruction:
            case {"kind": "turnFlagOn"}:
                flag["on"] = True
            case {"kind": "turnFlagOff"}:
                flag["on"] = False
            case {"kind": "updateFallthroughVariationOrRollout", "variationId": chosen}:
                flag["fallthrough"] = {"variation": number[chosen]}
            case {"kind": "updateFallthroughVariationOrRollout", "rolloutWeights": weights}:
                if sum(weights.values()) != 100_000:
                    raise Refusal(400, {"message": "weights must sum to 100000"})
                its = [{"variation": number[i], "weight": weight} for i, weight in weights.items()]
                flag["fallthrough"] = {"rollout": {"contextKind": "user", "variations": its}}
            case _:
                raise Refusal(400, {"message": f"unknown instruction {instruction['kind']}"})


class GitLabServer(StandIn):
    store = "gitlab"
    role = 30

    def __init__(self) -> None:
        self.numbers = count(1)
        super().__init__()

    def strategy(self, *scopes: str, name: str = "default", **parameters: str) -> Json:
        its = [{"id": next(self.numbers), "environment_scope": scope} for scope in scopes]
        identity = next(self.numbers)
        return {
            "id": identity,
            "name": name,
            "parameters": parameters,
            "scopes": its,
            "user_list": None,
        }

    def made(self, *, on: bool) -> Any:
        scopes = ("production", "staging") if on else ("staging",)
        return {"active": True, "strategies": [self.strategy(*scopes)]}

    def settings(self, folder: Path) -> ToggleFeatureSettings:
        return settings(
            gitlab_api_token=SECRET,
            gitlab_url=self.url,
            gitlab_project="shop/carts",
        )

    def allows(self, request: web.Request) -> bool:
        return request.headers.get("PRIVATE-TOKEN") == SECRET

    def snapshot(self) -> Any:
        """Without the ids, which GitLab gives anew."""
        return {
            name: {
                "active": flag["active"],
                "strategies": sorted(
                    (
                        {
                            **{key: s[key] for key in ("name", "parameters", "user_list")},
                            "scopes": sorted(scope["environment_scope"] for scope in s["scopes"]),
                        }
                        for s in flag["strategies"]
                    ),
                    key=str,
                ),
            }
            for name, flag in self.flags.items()
        }

    def meddle(self, name: str) -> None:
        users = self.strategy("production", name="userWithId", userIds="1,2")
        self.flags[name]["strategies"] = [users]

    def routes(self) -> list[web.RouteDef]:
        project = "/api/v4/projects/shop%2Fcarts"
        return [
            web.get(project, self.project),
            web.get(f"{project}/feature_flags", self.listed),
            web.get(f"{project}/feature_flags/{{flag}}", self.read),
            web.put(f"{project}/feature_flags/{{flag}}", self.put),
        ]

    async def project(self, request: web.Request) -> web.Response:
        access = {"project_access": {"access_level": self.role}, "group_access": None}
        return web.json_response({"id": 7, "permissions": access})

    async def listed(self, request: web.Request) -> web.Response:
        size = min(int(request.query.get("per_page", "20")), 100)
        names, after = page_of(request, sorted(self.flags), size)
        headers = {"X-Next-Page": "" if after is None else str(after)}
        return web.json_response([{"name": name} for name in names], headers=headers)

    async def read(self, request: web.Request) -> web.Response:
        name = request.match_info["flag"]
        return web.json_response({"name": name, "version": "new_version_flag", **self.flag(name)})

    async def put(self, request: web.Request) -> web.Response:
        name, body = request.match_info["flag"], await request.json()
        flag = copy.deepcopy(self.flag(name))
        flag["active"] = body.get("active", flag["active"])
        for edit in body.get("strategies", ()):
            self._edit(flag["strategies"], edit)
        self.wrote(name, flag)
        return await self.read(request)

    def _edit(self, strategies: list[Json], edit: Json) -> None:
        if "id" not in edit:
            made = self.strategy(
                *(s["environment_scope"] for s in edit["scopes"]), name=edit["name"]
            )
            if edit["name"] == "flexibleRollout" and set(edit["parameters"]) != {
                "groupId",
                "rollout",
                "stickiness",
            }:
                raise Refusal(400, {"message": "parameters are invalid"})
            made["parameters"] = edit["parameters"]
            made["user_list"] = {"id": edit["user_list_id"]} if "user_list_id" in edit else None
            strategies.append(made)
            return
        [live] = [each for each in strategies if each["id"] == edit["id"]]
        if edit.get("_destroy"):
            strategies.remove(live)
        for scope in edit.get("scopes", ()):
            if scope.get("_destroy"):
                live["scopes"] = [each for each in live["scopes"] if each["id"] != scope["id"]]
            else:
                name = scope["environment_scope"]
                live["scopes"].append({"id": next(self.numbers), "environment_scope": name})


class FlagsmithServer(StandIn):
    store = "flagsmith"
    has_percentages = False
    has_paths = False
    PAGE = 2

    def made(self, *, on: bool) -> Any:
        return {"enabled": on, "value": "blue"}

    def settings(self, folder: Path) -> ToggleFeatureSettings:
        return settings(
            flagsmith_api_token=SECRET,
            flagsmith_url=self.url,
            flagsmith_environment="production=env-key",
        )

    def allows(self, request: web.Request) -> bool:
        if request.path == "/api/v1/flags/":
            return request.headers.get("X-Environment-Key") == "env-key"
        return request.headers.get("Authorization") == f"Api-Key {SECRET}"

    def meddle(self, name: str) -> None:
        raise NotImplementedError("a feature's state is on or off, and nothing else")

    def routes(self) -> list[web.RouteDef]:
        states = "/api/v1/environments/env-key/featurestates/"
        return [
            web.get(states, self.listed),
            web.patch(f"{states}{{id}}/", self.patch),
            web.get("/api/v1/flags/", self.evaluated),
        ]

    async def listed(self, request: web.Request) -> web.Response:
        states = [self._shown(name) for name in sorted(self.flags)]
        if wanted := request.query.get("feature_name"):
            states = [each for each in states if each["name"] == wanted]
            # Overrides of segments come first, and fill the first page.
            if states:
                overrides = [{"id": 900 + n, "enabled": True, "feature_segment": n} for n in (1, 2)]
                states = [*overrides, *states]
        results, after = page_of(request, states, self.PAGE)
        following = None if after is None else f"{self.url}{request.path}?page={after}"
        return web.json_response({"count": len(states), "next": following, "results": results})

    def _shown(self, name: str) -> Json:
        number = sorted(self.flags).index(name)
        enabled = self.flag(name)["enabled"]
        return {
            "id": number,
            "name": name,
            "enabled": enabled,
            "feature_segment": None,
            "identity": None,
        }

    async def patch(self, request: web.Request) -> web.Response:
        name = sorted(self.flags)[int(request.match_info["id"])]
        body = await request.json()
        self.wrote(name, {**self.flag(name), "enabled": body["enabled"]})
        return web.json_response(self._shown(name))

    async def evaluated(self, request: web.Request) -> web.Response:
        name = request.query.get("feature")
        if name is None:
            return web.json_response([{"feature": {"name": each}} for each in self.flags])
        return web.json_response({"feature": {"name": name}, "enabled": self.flag(name)["enabled"]})


class ConfigCatServer(StandIn):
    store = "configcat"

    def made(self, *, on: bool) -> Any:
        users = {"comparisonAttribute": "Email", "comparator": "isOneOf"}
        rule = {"conditions": [{"userCondition": users}], "value": {"boolValue": not on}}
        return {"defaultValue": {"boolValue": on}, "targetingRules": [rule] if on else []}

    def settings(self, folder: Path) -> ToggleFeatureSettings:
        return settings(
            configcat_user="me",
            configcat_password=SECRET,
            configcat_sdk_key="production=sdk/key",
            configcat_url=self.url,
        )

    def allows(self, request: web.Request) -> bool:
        account = base64.b64encode(f"me:{SECRET}".encode()).decode()
        return request.headers.get("Authorization") == f"Basic {account}"

    def meddle(self, name: str) -> None:
        self.flags[name]["targetingRules"] = [
            {"conditions": [{"x": 1}], "value": {"boolValue": True}}
        ]

    def routes(self) -> list[web.RouteDef]:
        return [
            web.get("/v1/me", self.me),
            web.get("/v2/settings/{flag}/value", self.read),
            web.patch("/v2/settings/{flag}/value", self.patch),
        ]

    async def me(self, request: web.Request) -> web.Response:
        return web.json_response({"email": "me@example.com"})

    async def read(self, request: web.Request) -> web.Response:
        if request.headers.get("X-CONFIGCAT-SDKKEY") != "sdk/key":
            raise Refusal(404, {"message": "no such config"})
        flag = self.flag(request.match_info["flag"])
        value = {"stringValue": None, "intValue": None, "doubleValue": None, **flag["defaultValue"]}
        return web.json_response(
            {**flag, "defaultValue": value, "percentageEvaluationAttribute": None}
        )

    async def patch(self, request: web.Request) -> web.Response:
        name = request.match_info["flag"]
        flag = copy.deepcopy(self.flag(name))
        for operation in await request.json():
            if operation["op"] != "replace" or operation["path"][1:] not in flag:
                raise Refusal(400, {"message": "invalid patch"})
            flag[operation["path"][1:]] = operation["value"]
        for rule in flag["targetingRules"]:
            options = rule.get("percentageOptions")
            if options and sum(option["percentage"] for option in options) != 100:
                raise Refusal(400, {"message": "percentages must sum to 100"})
        if flag == self.flags[name]:
            return web.Response(status=204)
        self.wrote(name, flag)
        return await self.read(request)


class OpenFeatureServer(StandIn):
    """An API server with one FeatureFlag resource; tests/cluster has a real one."""

    store = "openfeature"
    has_paths = False

    def __init__(self) -> None:
        super().__init__()
        self.version = 1

    def made(self, *, on: bool) -> Any:
        rule = {"if": [{"in": ["@example.com", {"var": "email"}]}, "off"]}
        default = "on" if on else "off"
        variants = {"on": True, "off": False}
        made = {"state": "ENABLED", "variants": variants, "defaultVariant": default}
        return {**made, "targeting": rule} if on else made

    def settings(self, folder: Path) -> ToggleFeatureSettings:
        user = {"name": "me", "user": {"token": SECRET}}
        cluster = {"name": "here", "cluster": {"server": self.url}}
        context = {"name": "x", "context": {"cluster": "here", "user": "me"}}
        lists = {"clusters": [cluster], "users": [user], "contexts": [context]}
        path = folder / "kubeconfig"
        path.write_text(json.dumps({"kind": "Config", "current-context": "x", **lists}))
        return settings(openfeature_flags="shop-{stage}/flags", kubeconfig=str(path))

    def allows(self, request: web.Request) -> bool:
        return request.headers.get("Authorization") == f"Bearer {SECRET}"

    def meddle(self, name: str) -> None:
        self.flags[name]["defaultVariant"] = "on"
        self.flags[name]["targeting"] = {"if": [True, "off"]}
        self.version += 1

    def routes(self) -> list[web.RouteDef]:
        path = "/apis/core.openfeature.dev/v1beta1/namespaces/shop-production/featureflags/flags"
        review = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"
        return [
            web.get(path, self.read),
            web.patch(path, self.patch),
            web.post(review, self.review),
        ]

    async def review(self, request: web.Request) -> web.Response:
        return web.json_response({"status": {"allowed": True}}, status=201)

    async def read(self, request: web.Request) -> web.Response:
        meta = {"name": "flags", "uid": "1", "resourceVersion": str(self.version)}
        return web.json_response({"metadata": meta, "spec": {"flagSpec": {"flags": self.flags}}})

    async def patch(self, request: web.Request) -> web.Response:
        name, flag = "", dict[str, Any]()
        for operation in json.loads(await request.text()):
            path = operation["path"].split("/")
            if operation["op"] == "test" and len(path) == 5:
                name, flag = path[4], copy.deepcopy(self.flag(path[4]))
                if flag != operation["value"]:
                    raise Refusal(422, {"message": "the server rejected our request"})
            elif operation["op"] == "add":
                flag[path[5]] = operation["value"]
            elif operation["op"] == "remove":
                del flag[path[5]]
        self.wrote(name, flag)
        self.version += 1
        return await self.read(request)


class UnleashServer(StandIn):
    """Unleash's admin API; test_toggle_feature_unleash.py has a real server."""

    store = "unleash"

    def made(self, *, on: bool) -> Any:
        parameters = {"rollout": "100", "stickiness": "default", "groupId": "x"}
        strategy = {"id": "1", "name": "flexibleRollout", "parameters": parameters}
        return {"enabled": on, "strategies": [{**strategy, "disabled": False}]}

    def settings(self, folder: Path) -> ToggleFeatureSettings:
        return settings(unleash_url=self.url, unleash_api_token=SECRET)

    def allows(self, request: web.Request) -> bool:
        return request.headers.get("Authorization") == SECRET

    def meddle(self, name: str) -> None:
        raise NotImplementedError("a flag's switch is on or off, and nothing else")

    def routes(self) -> list[web.RouteDef]:
        flags = "/api/admin/projects/default/features"
        return [
            web.get(flags, self.listed),
            web.get("/api/admin/user", self.user),
            web.get(f"{flags}/{{flag}}", self.read),
            web.post(f"{flags}/{{flag}}/environments/production/{{what}}", self.turn),
            web.patch(f"{flags}/{{flag}}/environments/production/strategies/1", self.patch),
        ]

    async def listed(self, request: web.Request) -> web.Response:
        return web.json_response({"features": [{"name": name} for name in self.flags]})

    async def user(self, request: web.Request) -> web.Response:
        return web.json_response({"permissions": [{"permission": "ADMIN"}]})

    async def read(self, request: web.Request) -> web.Response:
        environment = {"name": "production", **self.flag(request.match_info["flag"])}
        return web.json_response({"environments": [environment]})

    async def patch(self, request: web.Request) -> web.Response:
        name, [operation] = request.match_info["flag"], await request.json()
        if (operation["op"], operation["path"]) != ("replace", "/parameters/rollout"):
            raise Refusal(400, {"name": "BadDataError", "message": "no such path"})
        flag = copy.deepcopy(self.flag(name))
        flag["strategies"][0]["parameters"]["rollout"] = operation["value"]
        self.wrote(name, flag)
        return web.json_response(flag["strategies"][0])

    async def turn(self, request: web.Request) -> web.Response:
        name = request.match_info["flag"]
        self.wrote(name, {**self.flag(name), "enabled": request.match_info["what"] == "on"})
        return web.Response()


SERVERS: tuple[type[StandIn], ...] = (
    UnleashServer,
    OpenFeatureServer,
    LaunchDarklyServer,
    GitLabServer,
    FlagsmithServer,
    ConfigCatServer,
)

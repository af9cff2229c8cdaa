"""Flags in a FeatureFlag resource of the OpenFeature operator, which flagd serves."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, cast

from aiohttp import ClientError, ClientSession, ClientTimeout
from yarl import URL

from keptn_remedy import PermanentError, TemporaryError, proxy_for
from keptn_remedy_actions.cluster import Kind, Object, Ref, spec_of, uid_of, version_of
from keptn_remedy_actions.cluster.api import (
    JSON_PATCH,
    ClusterApi,
    Conflict,
    NotFound,
    Unprocessable,
)
from keptn_remedy_actions.cluster.targets import LABEL, SUBDOMAIN, check_name
from keptn_remedy_actions.flag_backends import Wish, flagd_definition, near
from keptn_remedy_actions.flag_backends.compared import Found, Raced
from keptn_remedy_actions.flag_backends.flagd_definition import FIELDS, Definition
from keptn_remedy_actions.flag_backends.restoring import Gone

FEATURE_FLAG = Kind("FeatureFlag", "core.openfeature.dev", "v1beta1", "featureflags")


def reference(resource: str) -> Ref:
    """The resource of this `namespace/name`."""
    namespace, _, name = resource.partition("/")
    check_name("namespace", namespace, LABEL)
    check_name("FeatureFlag", name, SUBDOMAIN)
    return Ref(FEATURE_FLAG, namespace, name)


@dataclass(frozen=True, slots=True)
class FeatureFlags:
    """A `Backend` in one FeatureFlag resource. With `ofrep_url`, flagd is asked what it serves."""

    api: ClusterApi
    http: ClientSession
    ref: Ref
    ofrep_url: str = ""

    REQUEST_SECONDS: ClassVar[float] = 10.0

    @property
    def place(self) -> str:
        return str(self.ref)

    def target(self, name: str) -> str:
        return f"{self.ref.target}#{name}"

    async def read(self, name: str) -> Found:
        try:
            live = await self.api.get(self.ref)
        except NotFound:
            raise Gone(
                f"there is no {self.ref}, or the cluster has no OpenFeature operator"
            ) from None
        flags = _flags_of(live)
        for each, definition in flags.items():
            if fault := flagd_definition.fault(definition):
                raise PermanentError(
                    f"flag {each} in {self.place} {fault}, so flagd refuses the whole resource;"
                    " correct that first"
                )
        if name not in flags:
            raise Gone(f"there is no flag {name} in {self.place}{near(name, flags)}")
        fields = flagd_definition.fields(flags[name])
        return Found(fields, {"definition": flags[name], "live": live})

    def enabled(self, found: Found, wish: Wish) -> bool | str:
        variants = found.facts["definition"]["variants"]
        return flagd_definition.enabled({"variants": variants, **found.fields}, wish)

    def wished(self, name: str, found: Found, wish: Wish) -> Any:
        variants: Definition = found.facts["definition"]["variants"]
        after = flagd_definition.wished(found.fields, variants, wish)
        if after is None:
            raise flagd_definition.lack(self.place, name, variants, wish)
        return after

    async def write(self, name: str, found: Found, fields: Any) -> None:
        pointer = f"/spec/flagSpec/flags/{name.replace('~', '~0').replace('/', '~1')}"
        live: Object = found.facts["live"]
        operations: list[dict[str, Any]] = [
            {"op": "test", "path": "/metadata/uid", "value": uid_of(live)},
            {"op": "test", "path": pointer, "value": found.facts["definition"]},
        ]
        for field in FIELDS:
            if field not in fields and field in found.fields:
                operations.append({"op": "remove", "path": f"{pointer}/{field}"})
            elif field in fields and fields[field] != found.fields.get(field):
                added = {"op": "add", "path": f"{pointer}/{field}", "value": fields[field]}
                operations.append(added)
        try:
            await self.api.patch(self.ref, JSON_PATCH, operations)
        except Conflict as error:
            raise Raced(str(error)) from None
        except Unprocessable as error:
            # A failed test, or a refusal that no further try would end otherwise.
            if version_of(await self.api.get(self.ref)) != version_of(live):
                raise Raced(str(error)) from None
            raise

    async def examine(self) -> str:
        await self.api.get(self.ref)
        return f"{self.ref} can be read"

    async def seen(self, name: str) -> bool | None:
        """What flagd answers to a caller without a context (OpenFeature's remote protocol)."""
        if not self.ofrep_url:
            return None
        url = URL(f"{self.ofrep_url}/ofrep/v1/evaluate/flags").joinpath(name)
        try:
            async with self.http.post(
                url,
                json={"context": {}},
                proxy=proxy_for(url),
                timeout=ClientTimeout(self.REQUEST_SECONDS),
                allow_redirects=False,
                raise_for_status=False,
            ) as answer:
                if answer.status != 200:
                    raise TemporaryError(f"flagd at {self.ofrep_url} answers {answer.status}")
                value: Any = await answer.json(content_type=None)
        except (ClientError, TimeoutError, ValueError) as error:
            why = type(error).__name__
            raise TemporaryError(f"flagd at {self.ofrep_url} can't be asked: {why}") from None
        served = cast("Mapping[str, Any]", value).get("value") if isinstance(value, dict) else None
        if not isinstance(served, bool):
            raise TemporaryError(f"flagd at {self.ofrep_url} serves {name} neither on nor off")
        return served


def _flags_of(live: Object) -> Definition:
    spec: Mapping[str, Any] = spec_of(live).get("flagSpec") or {}
    flags: Definition = spec.get("flags") or {}
    return flags

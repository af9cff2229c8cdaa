"""toggle-feature on FeatureFlag resources of the OpenFeature operator, on a real API server.

The operator itself isn't there: only its resource, whose required fields are those of the real one.
"""

from __future__ import annotations

import copy
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from openfeature.contrib.provider.flagd import FlagdProvider
from openfeature.contrib.provider.flagd.config import ResolverType
from openfeature.evaluation_context import EvaluationContext

from keptn_remedy import Denied, PermanentError
from keptn_remedy_actions.flag_backends.compared import ComparedFlags
from keptn_remedy_actions.toggle_feature import ToggleFeature, ToggleFeatureSettings
from tests.actions.driving import Driven, driven
from tests.cluster.access import kubeconfig_of, service_account
from tests.cluster.client import Cluster, Json
from tests.cluster.driving import Patient
from tests.cluster.namespace import Namespace
from tests.cluster.reduced_crds import register_feature_flags

RIGHTS = {
    "apiGroups": ["core.openfeature.dev"],
    "resources": ["featureflags"],
    "verbs": ["get", "patch"],
}
BOOLEAN = {"state": "ENABLED", "variants": {"on": True, "off": False}, "defaultVariant": "on"}
STAFF = {"if": [{"in": ["@example.com", {"var": "email"}]}, "on", "off"]}
FLAGS = {
    "hero": {**BOOLEAN, "targeting": STAFF},
    "a/b~c": BOOLEAN,
    "asleep": {**BOOLEAN, "state": "DISABLED", "metadata": {"team": "shop"}},
}


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ComparedFlags, "SETTLE_SECONDS", 0.0)


class Resource:
    """The resource `flags` of a namespace."""

    def __init__(self, namespace: Namespace) -> None:
        self.namespace = namespace
        self._all = f"/apis/core.openfeature.dev/v1beta1/namespaces/{namespace.name}/featureflags"

    async def create(self) -> None:
        version = {"apiVersion": "core.openfeature.dev/v1beta1", "kind": "FeatureFlag"}
        spec = {"flagSpec": {"flags": copy.deepcopy(FLAGS)}}
        made = {**version, "metadata": {"name": "flags"}, "spec": spec}
        await self.namespace.cluster.create(self._all, made)

    async def spec(self) -> Json:
        return dict((await self.namespace.cluster.get(f"{self._all}/flags"))["spec"])

    async def flags(self) -> Json:
        return dict((await self.spec())["flagSpec"]["flags"])

    async def generation(self) -> int:
        """How often its spec was changed."""
        return int(
            (await self.namespace.cluster.get(f"{self._all}/flags"))["metadata"]["generation"]
        )

    async def meddle(self, flag: str, **fields: Any) -> None:
        patch = {"spec": {"flagSpec": {"flags": {flag: fields}}}}
        await self.namespace.cluster.call("PATCH", f"{self._all}/flags", patch)

    async def evaluated(self, flag: str, folder: Path, *keys: str) -> list[bool]:
        """What flagd's own client makes of the resource, for callers of these keys."""
        path = folder / "flags.json"
        path.write_text(json.dumps((await self.spec())["flagSpec"]))
        provider = FlagdProvider(
            resolver_type=ResolverType.FILE, offline_flag_source_path=str(path)
        )
        try:
            provider.initialize(EvaluationContext())
            contexts = [EvaluationContext(key, {"email": "@example.com"}) for key in keys]
            return [provider.resolve_boolean_details(flag, True, c).value for c in contexts]
        finally:
            provider.shutdown()


@pytest.fixture
async def resource(namespace: Namespace, cluster: Cluster) -> Resource:
    await register_feature_flags(cluster)
    resource = Resource(namespace)
    await resource.create()
    return resource


@asynccontextmanager
async def acting(resource: Resource, kubeconfig: Path | None = None) -> AsyncIterator[Driven]:
    path = str(kubeconfig or resource.namespace.cluster.kubeconfig)
    flags = f"{resource.namespace.name}/flags"
    action = ToggleFeature(ToggleFeatureSettings(openfeature_flags=flags, kubeconfig=path))
    async with driven(action) as drive:
        try:
            yield Patient(drive.action, drive.event, drive.context, drive.logged)
        finally:
            await action.close()


async def test_a_flag_goes_off_for_everybody_once_and_comes_back_exactly(
    resource: Resource, tmp_path: Path
) -> None:
    before, generation = await resource.spec(), await resource.generation()
    async with acting(resource) as drive:
        plan = await drive.plan({"hero": "off", "a/b~c": "off"})
        assert (await resource.spec(), await resource.generation()) == (before, generation)
        for _ in range(3):  # as after crashes
            await drive.apply(plan)
        assert await resource.generation() == generation + 2
        outcome = await drive.verify(plan)
        assert (
            outcome.message
            == f"hero off, a/b~c off in FeatureFlag flags in {resource.namespace.name}"
        )
        assert await resource.evaluated("hero", tmp_path, "a", "b") == [False, False]
        assert await resource.evaluated("a/b~c", tmp_path, "a") == [False]
        assert await drive.undo(plan) == "undone"
        assert await drive.undo(plan) == "it is as it was before"
    assert await resource.spec() == before
    assert await resource.generation() == generation + 4


async def test_a_percentage_reaches_that_many_callers(resource: Resource, tmp_path: Path) -> None:
    before = await resource.spec()
    async with acting(resource) as drive:
        plan = await drive.plan({"hero": "10%"})
        assert "enabled: decided by targeting -> 10%" in str(plan)
        await drive.apply(plan)
        assert (await drive.verify(plan)).result == "pass"
        keys = [f"user-{number}" for number in range(1000)]
        assert 60 < sum(await resource.evaluated("hero", tmp_path, *keys)) < 140
        await drive.undo(plan)
    assert await resource.spec() == before


async def test_a_disabled_flag_is_enabled_and_disabled_again(resource: Resource) -> None:
    before = await resource.spec()
    async with acting(resource) as drive:
        plan = await drive.plan({"asleep": "off"})
        await drive.apply(plan)
        asleep = (await resource.flags())["asleep"]
        assert (asleep["state"], asleep["defaultVariant"]) == ("ENABLED", "off")
        assert asleep["metadata"] == {"team": "shop"}
        await drive.undo(plan)
    assert await resource.spec() == before


async def test_somebody_elses_change_is_kept(resource: Resource) -> None:
    async with acting(resource) as drive:
        plan = await drive.plan({"hero": "off"})
        await resource.meddle("hero", defaultVariant="off")
        there = await resource.flags()
        with pytest.raises(PermanentError, match="changed by somebody else"):
            await drive.apply(plan)
        plan = await drive.plan({"a/b~c": "off"})
        await resource.meddle("hero", defaultVariant="on")  # a neighbour is no obstacle
        await drive.apply(plan)
        await resource.meddle("a/b~c", targeting=STAFF)
        assert (await drive.verify(plan)).result == "fail"
        with pytest.raises(Denied, match=r"was changed since, so it is left alone"):
            await drive.undo(plan)
    assert (await resource.flags())["a/b~c"] == {
        **BOOLEAN,
        "defaultVariant": "off",
        "targeting": STAFF,
    }
    assert there["hero"]["defaultVariant"] == "off"


@pytest.mark.parametrize(
    ("flag", "wish", "said"),
    [
        ("heroo", "off", "there is no flag heroo in FeatureFlag flags"),
        ("hero", "blue", "has no variant blue: it has off, on"),
        ("hero", "101%", "101% is no percentage"),
    ],
)
async def test_what_can_not_be_switched_is_told(
    resource: Resource, flag: str, wish: str, said: str
) -> None:
    async with acting(resource) as drive:
        assert said in await drive.refusal({flag: wish})


async def test_a_missing_resource_and_a_missing_right_are_named(
    resource: Resource, tmp_path: Path
) -> None:
    namespace = resource.namespace
    reader = [{**RIGHTS, "verbs": ["get"]}]
    kubeconfig = await kubeconfig_of(namespace, await service_account(namespace, reader), tmp_path)
    async with acting(resource, kubeconfig) as drive:
        outcome = await drive.run({"hero": "off"})
        assert "not allowed: patch featureflags.core.openfeature.dev flags" in outcome.message
        action: Any = drive.action
        [finding] = await action.diagnose(drive.context.http, [])
        assert (finding.is_good, finding.message) == (
            False,
            f"toggle-feature lacks in {namespace.name}: patch featureflags",
        )
    path = str(namespace.cluster.kubeconfig)
    settings = ToggleFeatureSettings(openfeature_flags=f"{namespace.name}/other", kubeconfig=path)
    made = ToggleFeature(settings)
    async with driven(made) as drive:
        assert "there is no FeatureFlag other in" in await drive.refusal({"hero": "off"})
        await made.close()


async def test_the_charts_rights_are_enough(resource: Resource, tmp_path: Path) -> None:
    account = await service_account(resource.namespace, [RIGHTS], name="enough")
    async with acting(
        resource, await kubeconfig_of(resource.namespace, account, tmp_path)
    ) as drive:
        assert (await drive.run({"hero": "off"})).result == "pass"
        action: Any = drive.action
        [finding] = await action.diagnose(drive.context.http, [])
        assert finding.is_good

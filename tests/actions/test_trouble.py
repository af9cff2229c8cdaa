"""The reasons given for a workload that does not become ready."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from keptn_remedy_actions.cluster import DEPLOYMENT, POD, Kind, Ref, Workload, replicas, trouble
from keptn_remedy_actions.cluster.api import ClusterApi
from keptn_remedy_actions.cluster.settings import KubernetesSettings
from tests.actions.objects import showing

SHARD = Kind("Shard", "example.com", "v1", "shards")
NAMESPACE = "sockshop-production"


@asynccontextmanager
async def cluster(
    folder: Path, objects: Mapping[tuple[Kind, str], Any]
) -> AsyncIterator[ClusterApi]:
    async with showing(folder, objects) as kubeconfig:
        api = ClusterApi(KubernetesSettings(kubeconfig=kubeconfig))
        yield api
        await api.close()


def workload(**spec: Any) -> Workload:
    live = {"metadata": {"name": "carts", "uid": "1"}, "spec": spec, "status": {}}
    return Workload(Ref(DEPLOYMENT, NAMESPACE, "carts"), live)


@pytest.mark.parametrize(
    ("selector", "query"),
    [
        ({"matchLabels": {"app": "carts", "tier": "web"}}, "app=carts,tier=web"),
        (
            {
                "matchLabels": {"app": "carts"},
                "matchExpressions": [
                    {"key": "tier", "operator": "In", "values": ["web", "api"]},
                    {"key": "old", "operator": "DoesNotExist"},
                    {"key": "new", "operator": "Exists"},
                    {"key": "zone", "operator": "NotIn", "values": ["a"]},
                ],
            },
            "app=carts,tier in (web,api),!old,new,zone notin (a)",
        ),
        ("app=carts", ""),  # a custom resource may say it as text
        (None, ""),
    ],
)
def test_a_selector_becomes_a_query(selector: Any, query: str) -> None:
    assert trouble.selector(workload(selector=selector).live) == query


@pytest.mark.parametrize(
    ("statuses", "told"),
    [
        (
            {
                "containerStatuses": [
                    {"name": "a", "state": {"waiting": {"reason": "ErrImagePull"}}}
                ]
            },
            "ErrImagePull",
        ),
        (
            {
                "containerStatuses": [
                    {
                        "name": "a",
                        "state": {"waiting": {"reason": "CrashLoopBackOff", "message": "back-off"}},
                        "lastState": {"terminated": {"exitCode": 137, "reason": "OOMKilled"}},
                    }
                ]
            },
            "CrashLoopBackOff: back-off, ended with 137 (OOMKilled)",
        ),
        (
            {
                "initContainerStatuses": [
                    {"name": "migrate", "state": {"terminated": {"exitCode": 3, "reason": "Error"}}}
                ]
            },
            "ended with 3 (Error)",
        ),
        (
            {"containerStatuses": [{"name": "web", "ready": False, "state": {"running": {}}}]},
            "container web runs, but is not ready",
        ),
        (
            {"containerStatuses": [{"name": "web", "ready": True, "state": {"running": {}}}]},
            None,
        ),
        (
            {"initContainerStatuses": [{"name": "a", "state": {"terminated": {"exitCode": 0}}}]},
            None,
        ),
        (
            {
                "containerStatuses": [
                    {"name": "a", "state": {"waiting": {"reason": "PodInitializing"}}}
                ]
            },
            None,
        ),
    ],
)
async def test_what_its_containers_say_is_told(
    tmp_path: Path, statuses: Any, told: str | None
) -> None:
    async with cluster(tmp_path, {(POD, "carts-1"): {"status": statuses}}) as api:
        found = await trouble.reasons(api, workload(selector={"matchLabels": {"app": "carts"}}))
    assert found == (f"pod carts-1: {told}" if told else "")


async def test_a_long_refusal_is_told_whole_and_a_longer_one_cut_with_a_mark(
    tmp_path: Path,
) -> None:
    told = (
        'pods "carts" is forbidden: violates PodSecurity "restricted:latest": ' + "seccomp, " * 50
    )
    failing = workload()
    failing = Workload(
        failing.ref,
        {
            **failing.live,
            "status": {
                "conditions": [{"type": "ReplicaFailure", "status": "True", "message": told}]
            },
        },
    )
    async with cluster(tmp_path, {}) as api:
        assert await trouble.reasons(api, failing) == told.strip()
        failing.live["status"]["conditions"][0]["message"] = told * 2
        assert (await trouble.reasons(api, failing)).endswith("seccomp,…")


async def test_pods_of_a_workload_that_selects_none_are_not_told(tmp_path: Path) -> None:
    waiting = {"name": "a", "state": {"waiting": {"reason": "ErrImagePull"}}}
    others = {(POD, "others-1"): {"status": {"containerStatuses": [waiting]}}}
    async with cluster(tmp_path, others) as api:
        assert await trouble.reasons(api, workload(selector="app=carts")) == ""
        assert "ErrImagePull" in await trouble.reasons(api, workload(), labels="app=others")


async def test_a_kind_that_tells_nothing_is_believed_what_its_scale_says(tmp_path: Path) -> None:
    scale = {"spec": {"replicas": 3}, "status": {"replicas": 2}}
    async with cluster(tmp_path, {(SHARD, "carts"): scale}) as api:
        seen = await replicas.look(api, Ref(SHARD, NAMESPACE, "carts"))
    assert (seen.ordered, seen.there, seen.ready) == (3, 2, 2)

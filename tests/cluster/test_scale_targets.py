"""Which workload `scale` chooses on a real API server."""

from collections.abc import AsyncIterator
from typing import Any

import pytest

from keptn_remedy_actions.scale import Scale
from tests.actions.driving import Driven
from tests.cluster.driving import acting
from tests.cluster.namespace import Namespace


@pytest.fixture
async def drive(namespace: Namespace) -> AsyncIterator[Driven]:
    async with acting(Scale, namespace) as drive:
        yield drive


async def test_the_value_may_name_another_target(namespace: Namespace) -> None:
    await namespace.deployment("carts")
    other = await namespace.stateful_set("carts-db")
    async with acting(Scale, namespace, namespace_template="nowhere") as drive:
        target = {"namespace": namespace.name, "kind": "sts", "name": "carts-db"}
        assert (await drive.run({"replicas": 2, **target})).result == "pass"
    assert await other.ordered() == 2


async def test_a_name_that_two_kinds_have_is_refused(drive: Driven, namespace: Namespace) -> None:
    await namespace.deployment(ready=False)
    await namespace.stateful_set(ready=False)
    assert "there are Deployment and StatefulSet; set `kind`" in await drive.refusal(2)


async def test_a_missing_workload_is_answered_with_similar_names(
    drive: Driven, namespace: Namespace
) -> None:
    await namespace.deployment("carts-primary", ready=False)
    await namespace.stateful_set("orders", ready=False)
    refusal = await drive.refusal(2)
    assert f"no Deployment or StatefulSet or Rollout named carts in {namespace.name}" in refusal
    assert refusal.endswith("similar: Deployment carts-primary")


@pytest.mark.parametrize(
    ("settings", "refusal"),
    [
        (
            {"workload_template": "{labels[tier]}"},
            "needs labels[tier], which the event doesn't have",
        ),
        ({"workload_template": "../{service}"}, "'../carts' is not a valid name of a workload"),
        ({"namespace_template": "{stage}/{project}"}, "is not a valid name of a namespace"),
    ],
)
async def test_a_target_that_is_no_name_is_refused(
    namespace: Namespace, settings: dict[str, Any], refusal: str
) -> None:
    async with acting(Scale, namespace, **settings) as drive:
        assert refusal in await drive.refusal(2)


@pytest.mark.parametrize(
    ("target", "refusal"),
    [
        ({"kind": "DaemonSet"}, "a DaemonSet can't be the target"),
        ({"kind": "Widget"}, "needs value.apiVersion"),
        ({"apiVersion": "apps/v1"}, "needs value.kind"),
        ({"kind": "Widget", "apiVersion": "example.com/v1"}, "the cluster has no example.com/v1"),
        ({"kind": "DaemonSet", "apiVersion": "apps/v9"}, "the cluster has no apps/v9"),
        ({"kind": "Widget", "apiVersion": "../../v1"}, "is not an apiVersion"),
        ({"kind": "ControllerRevision", "apiVersion": "apps/v1"}, "has no ControllerRevision with"),
        ({"name": "a/b"}, "'a/b' is not a valid name"),
        ({"namespace": "UPPER"}, "'UPPER' is not a valid name"),
    ],
)
async def test_a_target_that_cannot_be_scaled_is_refused(
    drive: Driven, target: dict[str, str], refusal: str
) -> None:
    assert refusal in await drive.refusal({"replicas": 2, **target})


async def test_any_kind_with_a_scale_subresource_will_do(
    drive: Driven, namespace: Namespace
) -> None:
    """A ReplicaSet without an owner, which the action knows only by API discovery."""
    pod = {"containers": [{"name": "main", "image": "pause:3.9"}]}
    template = {"metadata": {"labels": {"app": "lone"}}, "spec": pod}
    spec = {"replicas": 1, "selector": {"matchLabels": {"app": "lone"}}, "template": template}
    await namespace.create("replicasets", "lone", spec=spec)
    target = {"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "lone"}
    assert (await drive.run({"replicas": 3, **target})).result == "pass"
    assert (await namespace.get("replicasets", "lone"))["status"]["readyReplicas"] == 3


async def test_the_core_group_has_kinds_to_scale_too(drive: Driven, namespace: Namespace) -> None:
    pod = {"containers": [{"name": "main", "image": "pause:3.9"}]}
    template = {"metadata": {"labels": {"app": "old"}}, "spec": pod}
    body = {
        "apiVersion": "v1",
        "kind": "ReplicationController",
        "metadata": {"name": "old"},
        "spec": {"replicas": 1, "selector": {"app": "old"}, "template": template},
    }
    path = f"/api/v1/namespaces/{namespace.name}/replicationcontrollers"
    await namespace.cluster.create(path, body)
    target = {"apiVersion": "v1", "kind": "ReplicationController", "name": "old"}
    plan = await drive.plan({"replicas": 3, **target})
    await drive.apply(plan)
    assert (await namespace.cluster.get(f"{path}/old"))["spec"]["replicas"] == 3


async def test_an_argo_rollout_is_scaled_and_stands_above_the_deployment_that_it_uses(
    drive: Driven, namespace: Namespace, reduced_crds: None
) -> None:
    await namespace.deployment(replicas=0, ready=False)
    uses = {"apiVersion": "apps/v1", "kind": "Deployment", "name": "carts"}
    rollout = await namespace.rollout(replicas=1, workloadRef=uses)
    plan = await drive.plan(2)
    await drive.apply(plan)
    generation = (await rollout.live())["metadata"]["generation"]
    await rollout.set_status(
        {"observedGeneration": str(generation), "readyReplicas": 2, "HPAReplicas": 2}
    )
    assert (await drive.verify(plan)).result == "pass"
    assert await rollout.ordered() == 2


async def test_a_rollout_without_replicas_is_refused_and_not_tried_for_minutes(
    drive: Driven, namespace: Namespace, reduced_crds: None
) -> None:
    rollout = await namespace.rollout()
    await rollout.patch([{"op": "remove", "path": "/spec/replicas"}])
    assert "does not exist" in await drive.refusal(2)

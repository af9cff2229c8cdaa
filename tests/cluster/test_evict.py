"""evict, drain-node and uncordon on a real API server, by its Eviction API."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
import yaml

from keptn_remedy import Denied
from keptn_remedy.testing import run_action, triggered
from keptn_remedy_actions.cluster.nodes import NodeSettings
from keptn_remedy_actions.drain_node import DrainNode
from keptn_remedy_actions.evict import Evict, EvictSettings
from keptn_remedy_actions.uncordon import Uncordon
from tests.actions.driving import driven
from tests.cluster.access import kubeconfig_of, service_account
from tests.cluster.client import Json
from tests.cluster.driving import Patient
from tests.cluster.namespace import IMAGES, Namespace

PAGES = Path(__file__).parents[2] / "docs/actions"


def settings(namespace: Namespace, cls: Any = EvictSettings, **others: Any) -> Any:
    limits = {"evict_most_pods": 2} if cls is EvictSettings else {"drain_most_nodes": 50}
    given = {"kubeconfig": str(namespace.cluster.kubeconfig), **limits, **others}
    return cls(namespace_template=namespace.name, **given)


@asynccontextmanager
async def acting(
    action: Any, namespace: Namespace, *, seconds: float = 60, **others: Any
) -> AsyncIterator[Patient]:
    cls = EvictSettings if action is Evict else NodeSettings
    made = action(settings(namespace, cls, **others))
    async with driven(made, seconds=seconds) as drive:
        try:
            yield Patient(drive.action, drive.event, drive.context, drive.logged)
        finally:
            await made.close()


async def pod_names(namespace: Namespace) -> set[str]:
    pods = await namespace.items("pods", labelSelector="app=carts")
    return {pod["metadata"]["name"] for pod in pods if "deletionTimestamp" not in pod["metadata"]}


async def budget(namespace: Namespace, least: int) -> None:
    """A budget that its controller has seen."""
    path = f"/apis/policy/v1beta1/namespaces/{namespace.name}/poddisruptionbudgets"
    spec = {"minAvailable": least, "selector": {"matchLabels": {"app": "carts"}}}
    await namespace.cluster.create(path, {"metadata": {"name": "budget"}, "spec": spec})
    await namespace.cluster.until(
        f"{path}/budget", lambda it: it.get("status", {}).get("currentHealthy") == 2
    )


# --- evict ---------------------------------------------------------------------------------------


async def test_a_pod_is_evicted_once_and_made_anew(namespace: Namespace) -> None:
    await namespace.deployment(replicas=2)
    before = await pod_names(namespace)
    async with acting(Evict, namespace) as drive:
        plan = await drive.plan({})
        assert await pod_names(namespace) == before
        for _ in range(3):  # as after crashes
            await drive.apply(plan)
        assert (await drive.verify(plan)).result == "pass"
        with pytest.raises(Denied, match="an eviction can't be undone"):
            await drive.undo(plan)
    after = await pod_names(namespace)
    assert len(after & before) == 1


async def test_a_budget_that_allows_nothing_is_honoured_and_told(namespace: Namespace) -> None:
    await namespace.deployment(replicas=2)
    await budget(namespace, 2)
    before = await pod_names(namespace)
    async with acting(Evict, namespace, seconds=5.5) as drive:
        plan = await drive.plan({})
        await drive.apply(plan)
        outcome = await drive.verify(plan)
    assert outcome.result == "fail"
    assert "1 of 1 pod has not left in time" in outcome.message
    assert "disruption budget" in outcome.message
    assert await pod_names(namespace) == before


async def test_under_a_budget_that_allows_one_the_pods_go_in_turn(namespace: Namespace) -> None:
    await namespace.deployment(replicas=2)
    await budget(namespace, 1)
    before = await pod_names(namespace)
    async with acting(Evict, namespace) as drive:
        plan = await drive.plan({"pods": 2})
        await drive.apply(plan)
        assert await pod_names(namespace) & before  # one of them waits
        assert (await drive.verify(plan)).result == "pass"
    assert not await pod_names(namespace) & before


async def test_pods_of_another_workload_with_the_same_labels_stay(namespace: Namespace) -> None:
    await namespace.deployment()
    labels = {"app": "carts", "track": "canary"}
    pod = {
        "automountServiceAccountToken": False,
        "containers": [{"name": "main", "image": IMAGES[0]}],
    }
    template = {"metadata": {"labels": labels}, "spec": pod}
    selector = {"matchLabels": labels}
    await namespace.deployment("carts-canary", selector=selector, template=template)
    assert len(await pod_names(namespace)) == 2
    async with acting(Evict, namespace) as drive:
        for name, is_canary in (("carts", False), ("carts-canary", True)):
            plan = await drive.plan({"pods": 2, "name": name})
            [pod] = plan.memo["pods"]
            assert pod["pod"]["name"].startswith("carts-canary-") == is_canary


async def test_a_workload_that_was_scaled_down_meanwhile_needs_no_more_pods(
    namespace: Namespace,
) -> None:
    workload = await namespace.deployment(replicas=2)
    async with acting(Evict, namespace) as drive:
        plan = await drive.plan({})
        await drive.apply(plan)
        await namespace.patch("deployments", "carts", {"spec": {"replicas": 1}})
        await workload.rolled_out()
        outcome = await drive.verify(plan)
    assert outcome.message.endswith(f"; Deployment carts in {namespace.name} was scaled down since")


async def test_unready_pods_go_first(namespace: Namespace) -> None:
    await namespace.deployment(replicas=2)
    sick = sorted(await pod_names(namespace))[1]
    conditions = [{"type": "Ready", "status": "False"}]
    await namespace.patch("pods", sick, {"status": {"conditions": conditions}}, "status")
    async with acting(Evict, namespace) as drive:
        for value in ({}, {"unready": True, "pods": 2}):
            plan = await drive.plan(value)
            assert [pod["pod"]["name"] for pod in plan.memo["pods"]] == [sick]


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ({"pods": 3}, "3 pods are more than EVICT_MOST_PODS allows, 2"),
        ({"pods": 0}, "value.pods"),
        ({"pods": "many"}, "value.pods"),
        ({"name": "gone"}, "no Deployment or StatefulSet or DaemonSet"),
        ({"unready": True}, "has no pod that is not ready"),
        ({"pod": 1}, "did you mean 'pods'?"),
    ],
)
async def test_what_can_not_be_evicted_is_told(
    namespace: Namespace, value: Any, message: str
) -> None:
    await namespace.deployment()
    outcome = await run_action(Evict, value, settings=settings(namespace))
    assert outcome.result == "fail"
    assert message in outcome.message


async def test_the_missing_right_to_evict_is_named(namespace: Namespace, tmp_path: Path) -> None:
    await namespace.deployment()
    rules = [
        {"apiGroups": ["apps"], "resources": ["deployments"], "verbs": ["get", "list"]},
        {"apiGroups": [""], "resources": ["pods"], "verbs": ["list", "get"]},
    ]
    kubeconfig = await kubeconfig_of(namespace, await service_account(namespace, rules), tmp_path)
    async with acting(Evict, namespace, kubeconfig=str(kubeconfig)) as drive:
        outcome = await drive.run({"kind": "Deployment"})
    assert "not allowed: create pods/eviction carts-" in outcome.message


# --- nodes ---------------------------------------------------------------------------------------


@pytest.fixture
async def node(namespace: Namespace) -> AsyncIterator[str]:
    """A node of this test alone, on which no DaemonSet of others runs."""
    name = f"node-{uuid4().hex[:10]}"
    taints = [{"key": "test", "effect": "NoSchedule"}]
    await namespace.cluster.create(
        "/api/v1/nodes", {"metadata": {"name": name}, "spec": {"taints": taints}}
    )
    yield name
    await namespace.cluster.delete(f"/api/v1/nodes/{name}")


async def live(namespace: Namespace, node: str) -> Json:
    return dict((await namespace.cluster.get(f"/api/v1/nodes/{node}"))["spec"])


async def pods_on(namespace: Namespace, node: str, count: int = 2) -> None:
    """A Deployment whose pods are on this node; the next ones are on none."""
    workload = await namespace.deployment(replicas=0, ready=False)
    spec = {"nodeName": node, "tolerations": [{"operator": "Exists"}]}
    await namespace.patch(
        "deployments", "carts", {"spec": {"replicas": count, "template": {"spec": spec}}}
    )
    await workload.rolled_out()


async def there(namespace: Namespace, node: str) -> int:
    pods = await namespace.items("pods", fieldSelector=f"spec.nodeName={node}")
    return sum("deletionTimestamp" not in pod["metadata"] for pod in pods)


async def test_a_node_is_closed_drained_and_opened_again(namespace: Namespace, node: str) -> None:
    await pods_on(namespace, node)
    async with acting(DrainNode, namespace) as drive:
        plan = await drive.plan(node)
        assert "unschedulable" not in await live(namespace, node)
        gone = {"spec": {"template": {"spec": {"nodeName": None}}}}
        await namespace.patch(
            "deployments", "carts", {**gone, "spec": {**gone["spec"], "paused": True}}
        )
        await namespace.patch("deployments", "carts", {"spec": {"replicas": 0}})
        for _ in range(3):
            await drive.apply(plan)
        outcome = await drive.verify(plan)
        assert outcome.message == f"Node {node} is closed, and 2 pods left it"
        assert (await live(namespace, node))["unschedulable"] is True
        assert "takes pods again; those that left stay where they are" in await drive.undo(plan)
        assert await drive.undo(plan) == "it is as it was before"
    assert "unschedulable" not in await live(namespace, node)


async def test_what_would_be_lost_is_refused_without_a_word(
    namespace: Namespace, node: str
) -> None:
    spec: Any = {"nodeName": node, "containers": [{"name": "main", "image": "pause:3.9"}]}
    # The namespace's token may not have been made yet.
    spec |= {"automountServiceAccountToken": False, "tolerations": [{"operator": "Exists"}]}
    await namespace.create("pods", "alone", spec=spec)
    async with acting(DrainNode, namespace) as drive:
        with pytest.raises(Denied, match="nobody would make pods alone anew; `unmanaged: true`"):
            await drive.plan(node)
        assert len((await drive.plan({"node": node, "unmanaged": True})).changes) == 2
    await namespace.delete("pods", "alone")
    await namespace.create(
        "pods", "data", spec={**spec, "volumes": [{"name": "v", "emptyDir": {}}]}
    )
    async with acting(DrainNode, namespace) as drive:
        with pytest.raises(Denied, match="would lose an emptyDir; `local_data: true`"):
            await drive.plan({"node": node, "unmanaged": True})
    assert "unschedulable" not in await live(namespace, node)


async def test_nodes_that_are_closed_already_count(namespace: Namespace, node: str) -> None:
    other = f"{node}-too"
    spec = {"unschedulable": True}
    await namespace.cluster.create("/api/v1/nodes", {"metadata": {"name": other}, "spec": spec})
    try:
        async with acting(DrainNode, namespace, drain_most_nodes=1) as drive:
            with pytest.raises(Denied, match="DRAIN_MOST_NODES allows 1"):
                await drive.plan(node)
    finally:
        await namespace.cluster.delete(f"/api/v1/nodes/{other}")


async def test_a_node_with_too_many_pods_is_refused(namespace: Namespace, node: str) -> None:
    await pods_on(namespace, node)
    async with acting(DrainNode, namespace, drain_most_pods=1) as drive:
        with pytest.raises(Denied, match="has 2 pods, and DRAIN_MOST_PODS allows 1"):
            await drive.plan(node)


async def test_what_somebody_changed_since_is_left_alone(namespace: Namespace, node: str) -> None:
    async with acting(DrainNode, namespace) as drive:
        plan = await drive.plan(node)
        await drive.apply(plan)
        path = f"/api/v1/nodes/{node}"
        await namespace.cluster.patch(path, {"spec": {"unschedulable": None}})
        assert "somebody opened" in (await drive.verify(plan)).message
        assert await drive.undo(plan) == "it is as it was before"
        await namespace.cluster.delete(path)
        await namespace.cluster.create(path.rpartition("/")[0], {"metadata": {"name": node}})
        with pytest.raises(Denied, match="was deleted and recreated since"):
            await drive.undo(plan)


async def test_a_node_is_uncordoned_and_closed_again(namespace: Namespace, node: str) -> None:
    path = f"/api/v1/nodes/{node}"
    await namespace.cluster.patch(path, {"spec": {"unschedulable": True}})
    async with acting(Uncordon, namespace) as drive:
        plan = await drive.plan(node)
        await drive.apply(plan)
        await drive.apply(plan)
        assert (await drive.verify(plan)).message == f"Node {node} takes pods"
        again = await drive.plan(node)
        assert again.notes == (f"Node {node} takes pods already",)
        assert await drive.undo(plan) == "undone"
    assert (await live(namespace, node))["unschedulable"] is True


@pytest.mark.parametrize("action", [DrainNode, Uncordon])
@pytest.mark.parametrize(
    ("value", "message"),
    [
        (None, "needs labels[node], which the event doesn't have"),
        ("Not/A/Node", "is not a valid name of a node"),
        ("gone", "nodes gone in the cluster"),
        ({"nodes": ["a"]}, "value.nodes"),
    ],
)
async def test_what_is_no_node_is_told(
    namespace: Namespace, action: Any, value: Any, message: str
) -> None:
    outcome = await run_action(action, value, settings=settings(namespace, NodeSettings))
    assert outcome.status == "errored"
    assert message in outcome.message


async def test_the_missing_right_on_nodes_is_named(
    namespace: Namespace, node: str, tmp_path: Path
) -> None:
    kubeconfig = await kubeconfig_of(namespace, await service_account(namespace, []), tmp_path)
    async with acting(DrainNode, namespace, kubeconfig=str(kubeconfig)) as drive:
        assert f"not allowed: get nodes {node} in the cluster" in await drive.refusal(node)


@pytest.mark.parametrize("name", ["evict", "drain-node", "uncordon"])
async def test_the_remediation_of_the_page_runs(namespace: Namespace, node: str, name: str) -> None:
    text = (PAGES / f"{name}.md").read_text("utf-8").split("```yaml\n")[1].split("```")[0]
    [action] = yaml.safe_load(text)["spec"]["remediations"][0]["actionsOnOpen"]
    await namespace.deployment(replicas=2)
    if name == "uncordon":
        await namespace.cluster.patch(f"/api/v1/nodes/{node}", {"spec": {"unschedulable": True}})
    event = triggered(action["action"], action.get("value"), labels={"node": node})
    classes = {"evict": Evict, "drain-node": DrainNode, "uncordon": Uncordon}
    cls = EvictSettings if name == "evict" else NodeSettings
    made = settings(namespace, cls)
    outcome = await run_action(classes[name], event=event, settings=made)
    assert outcome.result == "pass", outcome
    assert await there(namespace, node) == 0

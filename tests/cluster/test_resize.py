"""resize on a real API server, with a stand-in for what Kubernetes 1.33 adds to it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml

from keptn_remedy import Denied, PermanentError, Plan
from keptn_remedy.guardrails.container_sizes import broken_limit
from keptn_remedy.guardrails.matching import Rules, Scope
from keptn_remedy.guardrails.policy import Policy
from keptn_remedy.testing import run_action, triggered
from keptn_remedy_actions.cluster import POD
from keptn_remedy_actions.cluster.resize_value import ResizeSettings
from keptn_remedy_actions.resize import Resize
from tests.actions.driving import driven
from tests.cluster.access import kubeconfig_of, service_account
from tests.cluster.driving import Patient
from tests.cluster.namespace import IMAGES, Namespace
from tests.cluster.resizing import Resizing
from tests.cluster.workload import Workload
from tests.deploy.charts import needs_helm, the

PAGE = Path(__file__).parents[2] / "docs/actions/resize.md"
SIZE = {
    "requests": {"cpu": "100m", "memory": "128Mi"},
    "limits": {"cpu": "200m", "memory": "256Mi"},
}
GUARANTEED = {"requests": {"cpu": "1", "memory": "1Gi"}, "limits": {"cpu": "1", "memory": "1Gi"}}
Json = dict[str, Any]


def settings(kubeconfig: Path, namespace: Namespace, **others: Any) -> ResizeSettings:
    limits = {
        "resize_most_cpu": "2",
        "resize_most_memory": "2Gi",
        "resize_step_cpu": "x10",
        **others,
    }
    return ResizeSettings(kubeconfig=str(kubeconfig), namespace_template=namespace.name, **limits)


async def sized(namespace: Namespace, size: Any = SIZE, *, replicas: int = 2) -> Workload:
    """A Deployment `carts` whose one container has this size."""
    container = {"name": "main", "image": IMAGES[0], "resources": size}
    return await of_containers(namespace, [container], replicas=replicas)


async def of_containers(
    namespace: Namespace, containers: Sequence[Json], *, replicas: int = 1
) -> Workload:
    spec = {
        "automountServiceAccountToken": False,
        "terminationGracePeriodSeconds": 1,
        "containers": [{"image": IMAGES[0], **each} for each in containers],
    }
    template = {"metadata": {"labels": {"app": "carts"}}, "spec": spec}
    return await namespace.deployment(replicas=replicas, template=template)


@pytest.fixture
async def gateway(namespace: Namespace, tmp_path: Path) -> AsyncIterator[Resizing]:
    async with Resizing.before(namespace.cluster.kubeconfig, tmp_path) as gateway:
        yield gateway


def refused_by(settings: str, plan: Plan) -> str:
    """The setting of a rule that refuses the plan; empty if none does."""
    rules = Rules(Policy.load(f"version: 1\nrules: [{{name: sizes, {settings}}}]"))
    scope = Scope("sockshop", "production", "carts", "resize")
    broken = broken_limit(rules.resolve(scope), plan.changes)
    return broken.setting if broken else ""


@asynccontextmanager
async def acting(
    gateway: Resizing, namespace: Namespace, *, seconds: float = 60, **others: Any
) -> AsyncIterator[Patient]:
    made = Resize(settings(gateway.kubeconfig, namespace, **others))
    async with driven(made, seconds=seconds) as drive:
        try:
            yield Patient(drive.action, drive.event, drive.context, drive.logged)
        finally:
            await made.close()


async def sizes(action: Any, namespace: Namespace) -> list[Any]:
    """The resources of the pods' first containers, as the action reads them."""
    pods = await action.api.list(POD, namespace.name, labels="app=carts")
    live = [pod for pod in pods if "deletionTimestamp" not in pod["metadata"]]
    return [pod["spec"]["containers"][0]["resources"] for pod in live]


async def test_pods_are_resized_in_place_once_and_back_exactly(
    gateway: Resizing, namespace: Namespace
) -> None:
    await sized(namespace)
    async with acting(gateway, namespace) as drive:
        plan = await drive.plan({"memory": "+30%", "cpu": "x2"})
        assert str(plan).count("until the next rollout") == 4
        assert [change.step for change in plan.changes] == [
            "100m -> 200m",
            "200m -> 400m",
            "128Mi -> 167Mi",
            "256Mi -> 333Mi",
        ]
        assert gateway.resized == 0
        assert refused_by('memory_step: "+30%", cpu_step: x2', plan) == ""
        assert refused_by('memory_step: "+29%"', plan) == "memory_step"
        assert refused_by("cpu_at_most: 399m", plan) == "cpu_at_most"
        for _ in range(3):  # as after crashes
            await drive.apply(plan)
        assert gateway.resized == 2
        outcome = await drive.verify(plan)
        assert outcome.result == "pass"
        assert "resized in 2 pods; the next rollout takes it back" in outcome.message
        limits = [each["limits"] for each in await sizes(drive.action, namespace)]
        assert limits == [{"cpu": "400m", "memory": "333Mi"}] * 2
        assert await drive.undo(plan) == "undone"
        assert await drive.undo(plan) == "it is as it was before"
        assert await sizes(drive.action, namespace) == [SIZE] * 2
    reasons = {event["reason"] for event in await namespace.events("carts")}
    assert {"RemedyResized", "RemedyUndone"} <= reasons


async def test_the_template_is_changed_where_that_is_asked_for_and_allowed(
    gateway: Resizing, namespace: Namespace
) -> None:
    workload = await sized(namespace, replicas=1)
    asked = {"memory": "512Mi", "template": True}
    async with acting(gateway, namespace) as drive:
        with pytest.raises(Denied, match="needs RESIZE_TEMPLATES=true"):
            await drive.plan(asked)
    async with acting(gateway, namespace, resize_templates=True) as drive:
        plan = await drive.plan(asked)
        assert "next rollout" not in str(plan)
        await drive.apply(plan)
        await drive.apply(plan)
        assert (await drive.verify(plan)).message.endswith("in 1 pod and in its template")
        [container] = (await workload.live())["spec"]["template"]["spec"]["containers"]
        assert container["resources"]["limits"] == {"cpu": "200m", "memory": "512Mi"}
        assert await drive.undo(plan) == "undone"
    [container] = (await workload.live())["spec"]["template"]["spec"]["containers"]
    assert container["resources"] == SIZE


async def test_what_can_not_be_resized_is_refused(gateway: Resizing, namespace: Namespace) -> None:
    names = [{"name": name, "resources": GUARANTEED} for name in ("main", "proxy")]
    await of_containers(namespace, names)
    async with acting(gateway, namespace) as drive:
        with pytest.raises(PermanentError, match="must name one of the containers: main, proxy"):
            await drive.plan({"cpu": "x2"})
        with pytest.raises(PermanentError, match="no container 'sidecar'; there are main, proxy"):
            await drive.plan({"cpu": "x2", "container": "sidecar"})
        with pytest.raises(PermanentError, match="no Deployment or StatefulSet or DaemonSet"):
            await drive.plan({"cpu": "x2", "name": "gone"})
        plan = await drive.plan({"cpu": "x4", "container": "proxy"})
        assert [change.step for change in plan.changes] == ["1 -> 2"] * 2
        assert plan.notes == ("asked for 4 of cpu, but RESIZE_MOST_CPU: set to 2",)
        gateway.refuses = "Pod QOS Class may not change as a result of resizing"
        assert "Pod QOS Class may not change" in await drive.refusal(
            {"cpu": "x2", "container": "main"}
        )
    assert gateway.resized == 0


async def test_what_a_node_can_never_give_fails_at_once(
    gateway: Resizing, namespace: Namespace
) -> None:
    await sized(namespace, replicas=1)
    async with acting(gateway, namespace) as drive:
        plan = await drive.plan({"cpu": "2"})
        gateway.pending = "Infeasible", "Node didn't have enough capacity: cpu"
        await drive.apply(plan)
        outcome = await drive.verify(plan)
        assert outcome.result == "fail"
        assert "can't be resized: Infeasible: Node didn't have enough capacity" in outcome.message
        assert await drive.undo(plan) == "undone"


async def test_what_waits_for_room_is_waited_for(gateway: Resizing, namespace: Namespace) -> None:
    await sized(namespace, replicas=1)
    async with acting(gateway, namespace, seconds=5.5) as drive:
        plan = await drive.plan({"cpu": "2"})
        gateway.pending = "Deferred", "Node didn't have enough resource: cpu"
        await drive.apply(plan)
        outcome = await drive.verify(plan)
        assert "Deferred: Node didn't have enough resource" in outcome.message
        gateway.kubelet_acts()
        assert (await drive.verify(plan)).result == "pass"


async def test_what_somebody_changed_since_is_left_alone(
    gateway: Resizing, namespace: Namespace
) -> None:
    workload = await sized(namespace, replicas=1)
    async with acting(gateway, namespace) as drive:
        plan = await drive.plan({"cpu": "400m"})
        await drive.apply(plan)
        other = await drive.plan({"cpu": "600m"})
        await drive.apply(other)
        assert "overridden: somebody gave Pod" in (await drive.verify(plan)).message
        with pytest.raises(PermanentError, match="was changed since, so it is left alone"):
            await drive.apply(plan)
        with pytest.raises(Denied, match=r"cpu of Pod carts-.* is 600m, and 400m was expected"):
            await drive.undo(plan)
        assert gateway.resized == 2
        await workload.update(IMAGES[1])
        assert (
            await drive.undo(other)
            == "nothing was left to undo: the pods of the plan were replaced"
        )
        with pytest.raises(PermanentError, match="were replaced since"):
            await drive.apply(other)


async def test_pods_that_were_replaced_since_are_not_said_to_be_resized(
    gateway: Resizing, namespace: Namespace
) -> None:
    workload = await sized(namespace, replicas=2)
    async with acting(gateway, namespace) as drive:
        plan = await drive.plan({"cpu": "400m"})
        await drive.apply(plan)
        await namespace.delete("pods", plan.memo["pods"][0]["pod"]["name"])
        await workload.rolled_out()
        assert "in 2 pods, of which 1 was replaced since" in (await drive.verify(plan)).message
        await workload.update(IMAGES[1])
        outcome = await drive.verify(plan)
    assert outcome.result == "fail"
    assert "all pods of Deployment carts" in outcome.message


async def test_an_api_server_without_the_subresource_is_named_at_planning(
    namespace: Namespace,
) -> None:
    await sized(namespace, replicas=1)
    given = settings(namespace.cluster.kubeconfig, namespace)
    outcome = await run_action(Resize, {"cpu": "1"}, settings=given)
    assert outcome.result == "fail"
    assert "the cluster has no pods/resize: resizing in place needs Kubernetes 1.33" in (
        outcome.message
    )


async def test_a_size_that_is_there_already_changes_nothing(
    gateway: Resizing, namespace: Namespace
) -> None:
    await sized(namespace, replicas=1)
    async with acting(gateway, namespace) as drive:
        outcome = await drive.run({"memory": "256Mi"})
    assert outcome.result == "warning"
    assert "container main of Deployment carts" in outcome.message
    assert gateway.resized == 0


@needs_helm
async def test_the_role_of_the_chart_is_enough_and_what_is_missing_is_named(
    namespace: Namespace, tmp_path: Path
) -> None:
    await sized(namespace, replicas=1)
    values = {
        "actions": {"toggle-feature": False, "resize": True},
        "rbac": {"targetNamespaces": [namespace.name]},
    }
    rules = the("Role", values)["rules"]
    lacking = [rule for rule in rules if "pods/resize" not in rule["resources"]]
    for name, granted in (("all", rules), ("lacking", lacking)):
        account = await service_account(namespace, granted, name=name)
        kubeconfig = await kubeconfig_of(namespace, account, tmp_path)
        async with (
            Resizing.before(kubeconfig, tmp_path) as gateway,
            acting(gateway, namespace) as drive,
        ):
            outcome = await drive.run({"cpu": "1"})
        if name == "all":
            assert outcome.result == "pass", outcome
        else:
            assert "not allowed: patch pods/resize carts-" in outcome.message


async def test_the_remediation_of_the_page_runs(gateway: Resizing, namespace: Namespace) -> None:
    text = PAGE.read_text("utf-8").split("```yaml\n")[1].split("```")[0]
    [action] = yaml.safe_load(text)["spec"]["remediations"][0]["actionsOnOpen"]
    await sized(namespace)
    event = triggered(action["action"], action["value"])
    outcome = await run_action(
        Resize, event=event, settings=settings(gateway.kubeconfig, namespace)
    )
    assert outcome.result == "pass", outcome

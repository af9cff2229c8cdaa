"""Remedies that begin in a sick state, on a real API server with its controllers."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any

import pytest

from keptn_remedy import Denied, Outcome
from keptn_remedy_actions.cluster import standstill, stateful
from keptn_remedy_actions.cluster.action import ClusterAction
from keptn_remedy_actions.cluster.obstacles import check_namespace_stays
from keptn_remedy_actions.restart import Restart
from keptn_remedy_actions.rollback import Rollback
from keptn_remedy_actions.scale import Scale
from tests.cluster.client import Json
from tests.cluster.driving import acting
from tests.cluster.namespace import BROKEN_IMAGE, IMAGES, Namespace
from tests.cluster.workload import Workload

HELD = "tests.keptn/hold"
ACTIONS: list[tuple[type[ClusterAction], Json]] = [
    (Scale, {"replicas": "+1"}),
    (Rollback, {}),
    (Restart, {}),
]


@pytest.fixture(autouse=True)
def _hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(standstill, "STALLED_SECONDS", 1.0)


@pytest.fixture
def _start_fast(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(standstill, "STARTING_SECONDS", 0.5)


async def staying(workload: Workload) -> list[Json]:
    """Its pods, but for those of an earlier revision that are on their way out."""
    return [pod for pod in await workload.pods() if "deletionTimestamp" not in pod["metadata"]]


async def make_unready(workload: Workload, count: int) -> None:
    """Have so many of its pods report that they are not ready, as after a failed probe."""
    pods = sorted(await staying(workload), key=lambda pod: str(pod["metadata"]["name"]))
    ready = len(pods) - count
    for pod in pods[ready:]:
        conditions = [{"type": "Ready", "status": "False"}]
        status = {"status": {"conditions": conditions}}
        await workload.namespace.patch("pods", pod["metadata"]["name"], status, "status")
    name = "numberReady" if workload.resource == "daemonsets" else "readyReplicas"
    await workload.until(lambda live: live["status"].get(name, 0) == ready)


async def updated_once(namespace: Namespace, kind: str) -> Workload:
    """With three pods, or one on each node, of its second revision."""
    specs: dict[str, Json] = {
        "deployment": {"replicas": 3},
        "stateful_set": {"replicas": 3, "podManagementPolicy": "Parallel"},
        "daemon_set": {},
    }
    carts: Workload = await getattr(namespace, kind)(**specs[kind])
    await carts.update(IMAGES[1])
    return carts


@pytest.mark.parametrize(
    ("ordered", "unready", "value", "message"),
    [
        (3, 1, "+1", "replicas 3 -> 4, 3 of 4 ready, 2 were before"),
        (4, 3, "-1", "replicas 4 -> 3, 1 of 3 ready, 1 were before"),
        (2, 2, "+2", "replicas 2 -> 4, 2 of 4 ready, 0 were before"),
    ],
)
async def test_pods_that_were_missing_before_are_not_missed_after_a_scaling(
    namespace: Namespace, ordered: int, unready: int, value: str, message: str
) -> None:
    carts = await namespace.deployment(replicas=ordered)
    await make_unready(carts, unready)
    async with acting(Scale, namespace) as drive:
        outcome = await drive.run(value)
    assert (outcome.status, outcome.result) == ("succeeded", "warning"), outcome
    assert outcome.message == f"Deployment carts in {namespace.name}: {message}"
    assert await carts.ordered() == ordered + int(value), "it was kept"


async def acted_in_a_sick_state(
    action: type[ClusterAction], carts: Workload, *, unready: int, is_over: bool = False
) -> Outcome:
    """The outcome where so many pods are missing afterwards, or when the deadline `is_over`. One is
    missing at planning.
    """
    async with acting(action, carts.namespace, seconds=600) as drive:
        await make_unready(carts, 1)
        plan = await drive.plan({})
        await drive.apply(plan)
        await carts.rolled_out()
        await make_unready(carts, unready)
        if is_over:
            drive.context = replace(drive.context, deadline=time.time())
        return await drive.verify(plan)


@pytest.mark.parametrize("kind", ["deployment", "stateful_set", "daemon_set"])
@pytest.mark.parametrize("action", [Restart, Rollback])
@pytest.mark.usefixtures("_start_fast")
async def test_a_pod_that_was_missing_before_is_not_missed_long_before_the_deadline(
    namespace: Namespace, action: type[ClusterAction], kind: str
) -> None:
    carts = await updated_once(namespace, kind)
    number = len(await staying(carts))
    outcome = await acted_in_a_sick_state(action, carts, unready=1)
    assert outcome.result == "warning", outcome
    assert f", {number - 1} of {number} available, {number - 1} were before" in outcome.message


@pytest.mark.parametrize(("action", "kind"), [(Restart, "deployment"), (Rollback, "daemon_set")])
async def test_fewer_pods_than_before_are_a_failure(
    namespace: Namespace, action: type[ClusterAction], kind: str
) -> None:
    carts = await updated_once(namespace, kind)
    number = len(await staying(carts))
    outcome = await acted_in_a_sick_state(action, carts, unready=2, is_over=True)
    assert outcome.result == "fail"
    assert f"{number - 2} of {number} pods are available" in outcome.message


# Refused pods


@pytest.mark.parametrize("kind", ["deployment", "stateful_set"])
async def test_refused_pods_are_told_long_before_the_deadline(
    namespace: Namespace, kind: str
) -> None:
    carts: Workload = await getattr(namespace, kind)(replicas=1)
    await namespace.quota(pods="1")
    async with acting(Scale, namespace, seconds=600) as drive:
        outcome = await drive.run(3)
    assert outcome.result == "fail"
    assert "exceeded quota: quota, requested: pods=1, used: pods=1, limited: pods=1" in (
        outcome.message
    )
    assert await carts.ordered() == 1, "it was undone"


async def test_a_workload_whose_pods_are_refused_is_not_asked_for_more(
    namespace: Namespace,
) -> None:
    await namespace.quota(pods="2")
    carts = await namespace.deployment(replicas=3, ready=False)
    await carts.until(lambda live: "ReplicaFailure" in str(live["status"]))
    async with acting(Scale, namespace) as drive:
        with pytest.raises(Denied, match=r"can't get more pods: .*exceeded quota"):
            await drive.plan("+1")


async def test_an_ordered_set_that_waits_for_a_pod_is_not_scaled(
    namespace: Namespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    carts = await namespace.stateful_set(replicas=3)
    unready = {"status": {"conditions": [{"type": "Ready", "status": "False"}]}}
    await namespace.patch("pods", "carts-1", unready, "status")
    await carts.until(lambda live: live["status"].get("readyReplicas") == 2)
    async with acting(Scale, namespace) as drive:
        assert (await drive.plan("+1")).changes, "it may recover yet"
        monkeypatch.setattr(stateful, "STUCK_SECONDS", 0)
        for value in ("+1", "-1"):
            with pytest.raises(Denied, match="pod carts-1 is not ready, and until it is, "):
                await drive.plan(value)
        assert (await drive.plan("-2")).changes, "the last pod may go though it is not ready"


# What is being deleted


async def hold(namespace: Namespace) -> Workload:
    carts = await namespace.deployment()
    await carts.update(IMAGES[1])
    await carts.patch({"metadata": {"finalizers": [HELD]}})
    return carts


async def delete_it(carts: Workload) -> None:
    await carts.delete()


async def delete_its_namespace(carts: Workload) -> None:
    cluster, name = carts.namespace.cluster, carts.namespace.name
    await cluster.delete(f"/api/v1/namespaces/{name}")
    await cluster.until(
        f"/api/v1/namespaces/{name}", lambda it: it["status"]["phase"] == "Terminating"
    )


@pytest.mark.parametrize("delete", [delete_it, delete_its_namespace])
async def test_nothing_is_planned_for_what_is_being_deleted(
    namespace: Namespace, delete: Callable[[Workload], Awaitable[None]]
) -> None:
    carts = await hold(namespace)
    await delete(carts)
    for action, value in ACTIONS:
        async with acting(action, namespace) as drive:
            with pytest.raises(Denied, match=f"carts in {namespace.name} is being deleted|^namesp"):
                await drive.plan(value)
    await carts.patch({"metadata": {"finalizers": None}})


@pytest.mark.parametrize(("action", "value"), [(Scale, "+1"), (Restart, {})])
async def test_a_deletion_that_begins_meanwhile_ends_the_waiting(
    namespace: Namespace, action: type[ClusterAction], value: Any
) -> None:
    carts = await namespace.deployment(image=BROKEN_IMAGE, ready=False)
    await carts.patch({"metadata": {"finalizers": [HELD]}})
    async with acting(action, namespace, seconds=600) as drive:
        plan = await drive.plan(value)
        await drive.apply(plan)
        waiting = asyncio.create_task(drive.verify(plan))
        await carts.delete()
        with pytest.raises(Denied, match="is being deleted, since "):
            await waiting
    await carts.patch({"metadata": {"finalizers": None}})


async def test_a_namespace_on_its_way_out_is_seen_before_its_workloads_go(
    namespace: Namespace,
) -> None:
    async with acting(Scale, namespace) as drive:
        assert isinstance(drive.action, Scale)
        await check_namespace_stays(drive.action.api, namespace.name)
        carts = await hold(namespace)
        await delete_its_namespace(carts)
        with pytest.raises(Denied, match=f"^namespace {namespace.name} is being deleted$"):
            await check_namespace_stays(drive.action.api, namespace.name)
    await carts.patch({"metadata": {"finalizers": None}})


# A measure of success that is true before anything happened


@pytest.mark.parametrize(
    ("action", "value"), [(action, value) for action, value in ACTIONS if action is not Scale]
)
async def test_a_set_whose_partition_holds_every_pod_is_refused(
    namespace: Namespace, action: type[ClusterAction], value: Json
) -> None:
    carts = await namespace.stateful_set(replicas=2)
    await carts.update(IMAGES[1])
    rolling = {"type": "RollingUpdate", "rollingUpdate": {"partition": 2}}
    await carts.patch({"spec": {"updateStrategy": rolling}})
    await carts.observed()
    async with acting(action, namespace) as drive:
        with pytest.raises(Denied, match="has partition 2, above all its pods, so "):
            await drive.plan(value)


async def test_what_a_partition_keeps_from_a_restart_is_told(namespace: Namespace) -> None:
    rolling = {"type": "RollingUpdate", "rollingUpdate": {"partition": 1}}
    await namespace.stateful_set(replicas=2, updateStrategy=rolling)
    async with acting(Restart, namespace) as drive:
        outcome = await drive.run({})
    assert outcome.result == "warning"
    assert "has partition 1: 1 of 2 pods are replaced" in outcome.message

"""`restart` on a real API server with its controllers."""

import time
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any, cast

import pytest

from keptn_remedy import Denied
from keptn_remedy_actions.cluster.swap import AnotherTemplate
from keptn_remedy_actions.restart import Restart
from tests.actions.driving import Driven
from tests.cluster.driving import acting
from tests.cluster.namespace import BROKEN_IMAGE, IMAGES, Namespace
from tests.cluster.workload import Workload

KINDS = pytest.mark.parametrize("kind", ["deployment", "stateful_set", "daemon_set"])
ANNOTATION = "kubectl.kubernetes.io/restartedAt"


@pytest.fixture
async def drive(namespace: Namespace) -> AsyncIterator[Driven]:
    async with acting(Restart, namespace) as drive:
        yield drive


async def uids(carts: Workload) -> set[str]:
    pods = [pod for pod in await carts.pods() if "deletionTimestamp" not in pod["metadata"]]
    return {pod["metadata"]["uid"] for pod in pods}


@KINDS
async def test_all_pods_are_replaced(drive: Driven, namespace: Namespace, kind: str) -> None:
    carts: Workload = await getattr(namespace, kind)()
    before = await uids(carts)
    outcome = await drive.run({})
    assert (outcome.result, outcome.message) == (
        "pass",
        f"{carts.kind} carts in {namespace.name} restarted, all pods are available",
    )
    after = await uids(carts)
    assert after
    assert not after & before
    assert "RemedyRestarted" in {event["reason"] for event in await namespace.events("carts")}


async def test_applying_twice_is_one_restart(drive: Driven, namespace: Namespace) -> None:
    carts = await namespace.deployment()
    plan = await drive.plan({})
    await drive.apply(plan)
    generation = (await carts.rolled_out())["metadata"]["generation"]
    await drive.apply(plan)
    assert (await carts.live())["metadata"]["generation"] == generation
    with pytest.raises(Denied, match="a restart can't be undone"):
        await drive.undo(plan)


async def test_a_later_restart_of_somebody_else_is_left(
    drive: Driven, namespace: Namespace
) -> None:
    carts = await namespace.deployment()
    plan = await drive.plan({})
    later = "2099-01-01T00:00:00+02:00"
    await carts.patch({"spec": {"template": {"metadata": {"annotations": {ANNOTATION: later}}}}})
    await drive.apply(plan)
    live = await carts.live()
    assert live["spec"]["template"]["metadata"]["annotations"][ANNOTATION] == later
    assert (await drive.verify(plan)).result == "pass"


@pytest.mark.parametrize("told", ["2099-01-01T00:00:00Z", "2099-01-01T00:00:00+02:00", "soon"])
async def test_a_time_that_was_there_before_is_no_restart(
    drive: Driven, namespace: Namespace, told: str
) -> None:
    carts = await namespace.deployment()
    await carts.update_template({"metadata": {"annotations": {ANNOTATION: told}}})
    before = await uids(carts)
    assert (await drive.run({})).result == "pass"
    assert not await uids(carts) & before


async def test_a_restart_within_the_same_second_is_another(
    drive: Driven, namespace: Namespace
) -> None:
    carts = await namespace.deployment()
    now = f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}"
    await carts.patch({"spec": {"template": {"metadata": {"annotations": {ANNOTATION: now}}}}})
    [change] = (await drive.plan({})).changes
    assert change.before == now < change.after


@pytest.mark.usefixtures("reduced_crds")
async def test_a_rollouts_restart_that_was_scheduled_is_not_waited_for(
    drive: Driven, namespace: Namespace
) -> None:
    carts = await namespace.rollout(restartAt="2099-01-01T00:00:00Z")
    plan = await drive.plan({})
    await drive.apply(plan)
    assert (await carts.live())["spec"]["restartAt"] == plan.changes[0].after


async def test_a_workload_that_was_made_anew_is_not_restarted(
    drive: Driven, namespace: Namespace
) -> None:
    carts = await namespace.deployment()
    plan = await drive.plan({})
    await carts.delete()
    await carts.until(lambda it: not it)
    carts = await namespace.deployment()
    with pytest.raises(AnotherTemplate, match="was deleted and recreated"):
        await drive.apply(plan)
    assert "annotations" not in (await carts.live())["spec"]["template"]["metadata"]


@pytest.mark.usefixtures("reduced_crds")
@pytest.mark.parametrize("resource", ["deployments", "rollouts"])
async def test_a_workload_that_is_made_anew_while_it_is_restarted_is_not_restarted(
    drive: Driven, namespace: Namespace, resource: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    make = namespace.deployment if resource == "deployments" else namespace.rollout
    carts = await make()
    plan = await drive.plan({"kind": resource.removesuffix("s")})
    action = cast("Restart", drive.action)
    patch = action.api.patch

    async def made_anew_before(*given: Any, **more: Any) -> Any:
        await carts.delete()
        await carts.until(lambda it: not it)
        await make()
        return await patch(*given, **more)

    monkeypatch.setattr(action.api, "patch", made_anew_before)
    with pytest.raises(AnotherTemplate, match="was deleted and recreated"):
        await drive.apply(plan)
    spec = (await carts.live())["spec"]
    assert "restartAt" not in spec
    assert ANNOTATION not in spec["template"]["metadata"].get("annotations", {})


async def test_a_pod_that_an_ordered_set_waits_for_is_told(namespace: Namespace) -> None:
    await namespace.stateful_set(replicas=2)
    unready = {"status": {"conditions": [{"type": "Ready", "status": "False"}]}}
    await namespace.patch("pods", "carts-1", unready, "status")
    async with acting(Restart, namespace, seconds=6) as drive:
        plan = await drive.plan({})
        await drive.apply(plan)
        outcome = await drive.verify(plan)
    assert outcome.result == "fail"
    told = "pod carts-1 is not ready, and an ordered StatefulSet waits for it"
    assert told in outcome.message
    assert (await namespace.get("pods", "carts-1"))["metadata"].get("deletionTimestamp") is None


async def test_a_restart_that_was_taken_back_is_told(drive: Driven, namespace: Namespace) -> None:
    carts = await namespace.deployment()
    plan = await drive.plan({})
    await drive.apply(plan)
    await carts.patch({"spec": {"template": {"metadata": {"annotations": None}}}})
    outcome = await drive.verify(plan)
    assert outcome.result == "fail"
    assert "reverted the restart of Deployment carts" in outcome.message


async def test_nothing_is_planned_for_a_paused_deployment(
    drive: Driven, namespace: Namespace
) -> None:
    await namespace.deployment(paused=True, ready=False)
    with pytest.raises(Denied, match="is paused, so a restart would not begin; resume it first"):
        await drive.plan({})


@pytest.mark.parametrize("kind", ["stateful_set", "daemon_set"])
async def test_workloads_that_wait_for_deletions_are_refused(
    drive: Driven, namespace: Namespace, kind: str
) -> None:
    await getattr(namespace, kind)(updateStrategy={"type": "OnDelete"}, ready=False)
    with pytest.raises(Denied, match="OnDelete"):
        await drive.plan({})


async def test_a_workload_without_pods_is_a_warning(drive: Driven, namespace: Namespace) -> None:
    await namespace.deployment(replicas=0)
    outcome = await drive.run({})
    assert outcome.result == "warning"
    assert "has no pods to restart" in outcome.message


async def test_pods_that_do_not_come_back_are_told(namespace: Namespace) -> None:
    await namespace.deployment(image=BROKEN_IMAGE, ready=False)
    async with acting(Restart, namespace, seconds=8) as drive:
        plan = await drive.plan({})
        await drive.apply(plan)
        outcome = await drive.verify(plan)
    assert outcome.result == "fail"
    assert "is not available after its restart" in outcome.message
    assert "ImagePullBackOff" in outcome.message


@pytest.mark.usefixtures("reduced_crds")
async def test_a_rollouts_controller_is_told_the_time(drive: Driven, namespace: Namespace) -> None:
    carts = await namespace.rollout(image=IMAGES[0])
    plan = await drive.plan({})
    await drive.apply(plan)
    at = (await carts.live())["spec"]["restartAt"]
    assert at == plan.changes[0].after
    await carts.set_status(
        {"observedGeneration": "2", "phase": "Healthy", "restartedAt": at, "replicas": 1}
    )
    assert (await drive.verify(plan)).result == "pass"


@pytest.mark.usefixtures("reduced_crds")
async def test_a_pod_that_a_rollout_missed_before_is_not_missed_after_its_restart(
    namespace: Namespace,
) -> None:
    carts = await namespace.rollout(replicas=3)
    sick = {"observedGeneration": "2", "phase": "Progressing", "message": "more replicas needed"}
    pods = {"replicas": 3, "updatedReplicas": 3, "availableReplicas": 2}
    await carts.set_status({**sick, **pods})
    async with acting(Restart, namespace) as drive:
        plan = await drive.plan({})
        await drive.apply(plan)
        drive.context = replace(drive.context, deadline=time.time())  # one look each
        not_begun = await drive.verify(plan)
        await carts.set_status({**sick, **pods, "restartedAt": plan.changes[0].after})
        kept = await drive.verify(plan)
    assert (not_begun.result, kept.result) == ("fail", "warning")
    assert "its controller restarts pods only while all" in not_begun.message
    assert "2 of 3 available, 2 were before" in kept.message


@pytest.mark.usefixtures("reduced_crds")
async def test_a_rollouts_restart_does_not_wait_for_the_promotion_of_an_update(
    drive: Driven, namespace: Namespace
) -> None:
    carts = await namespace.rollout()
    plan = await drive.plan({})
    await drive.apply(plan)
    paused = {"phase": "Paused", "pauseConditions": [{"reason": "CanaryPauseStep"}]}
    done = {"restartedAt": plan.changes[0].after, "availableReplicas": 1}
    await carts.set_status({"observedGeneration": "2", **paused, **done})
    assert (await drive.verify(plan)).result == "pass"

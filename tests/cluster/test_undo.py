"""Undoing finished executions on a real API server: exactly, or not at all."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import replace
from typing import Any

import orjson
import pytest

from keptn_remedy import Denied, Plan
from keptn_remedy.events import stored_trigger
from keptn_remedy.testing import triggered
from keptn_remedy_actions.cluster.action import ClusterAction
from keptn_remedy_actions.cluster.api import ClusterApi
from keptn_remedy_actions.restart import Restart
from keptn_remedy_actions.rollback import Rollback
from keptn_remedy_actions.scale import Scale
from tests.actions.driving import Driven
from tests.cluster.client import Json
from tests.cluster.driving import acting
from tests.cluster.namespace import IMAGES, Namespace
from tests.cluster.updates import (
    before_the_next_patch,
    reconciled,
    replica_set,
    updated_twice,
)
from tests.cluster.workload import Workload

AS_BEFORE = "it is as it was before"
CAUSE = "kubernetes.io/change-cause"
KINDS = pytest.mark.parametrize("kind", ["deployment", "stateful_set", "daemon_set"])
HPAS = "horizontalpodautoscalers"
# What writes, controllers and kubectl's history leave behind, whatever was written.
_BOOKKEEPING = ("managedFields", "resourceVersion", "generation")
_COUNTED = ("deployment.kubernetes.io/revision", "deprecated.daemonset.template.generation")
# Where autoscaling/v1 keeps what later releases have as status.
_OBSERVED = ("autoscaling.alpha.kubernetes.io/conditions",)

Drive = Callable[[type[ClusterAction]], Awaitable[Driven]]


@pytest.fixture
async def drive(namespace: Namespace) -> AsyncIterator[Drive]:
    """Drives actions on this namespace, each with a trigger of its own."""
    async with AsyncExitStack() as stack:

        async def drive(action: type[ClusterAction]) -> Driven:
            return await stack.enter_async_context(acting(action, namespace))

        yield drive


async def carried_out(driven: Driven, value: Any) -> Plan:
    """One finished execution."""
    plan = await driven.plan(value)
    await driven.apply(plan)
    assert (await driven.verify(plan)).result in ("pass", "warning")
    return plan


def later(driven: Driven) -> Driven:
    """Another execution of the same action, which has the same memory."""
    trigger = stored_trigger(orjson.dumps(triggered(driven.action.name)))
    return replace(driven, context=replace(driven.context, trigger=trigger))


def kept(live: Json) -> Json:
    """The parts of an object that an undo must restore."""
    metadata = {name: live["metadata"][name] for name in live["metadata"]}
    notes = metadata.get("annotations") or {}
    theirs = _COUNTED + _OBSERVED
    metadata["annotations"] = {name: notes[name] for name in notes if name not in theirs}
    metadata = {name: metadata[name] for name in metadata if name not in _BOOKKEEPING}
    return {**{name: live[name] for name in live if name != "status"}, "metadata": metadata}


async def version(workload: Workload) -> str:
    return str((await workload.rolled_out())["metadata"]["resourceVersion"])


async def told(namespace: Namespace, name: str = "carts") -> list[tuple[str, str, str]]:
    """Of our Events about undoing: type, reason, message without the execution."""
    events = [it for it in await namespace.events(name) if it["reason"].startswith("RemedyUnd")]
    return [(it["type"], it["reason"], it["message"].partition(" (keptn")[0]) for it in events]


# scale


@pytest.mark.parametrize("kind", ["deployment", "stateful_set"])
@pytest.mark.parametrize("wish", ["+2", 1])
async def test_undoing_scale_restores_the_workload_exactly(
    drive: Drive, namespace: Namespace, kind: str, wish: Any
) -> None:
    workload: Workload = await getattr(namespace, kind)(replicas=2)
    before = await workload.live()
    scale = await drive(Scale)
    plan = await carried_out(scale, wish)
    assert await scale.undo(plan) == "undone"
    assert kept(await workload.rolled_out()) == kept(before)
    assert await told(namespace) == [("Normal", "RemedyUndone", f"undone: {plan}")]


async def newest_autoscaling(namespace: Namespace) -> str:
    """The path of the newest release of autoscaling that the cluster serves with `metrics`."""
    served = (await namespace.cluster.get("/apis/autoscaling"))["versions"]
    names = [version["version"] for version in served]
    return f"/apis/autoscaling/{next(v for v in ('v2', 'v2beta2') if v in names)}"


async def test_undoing_scale_restores_an_hpa_exactly(drive: Drive, namespace: Namespace) -> None:
    workload = await namespace.deployment(replicas=2)
    hpas = f"{await newest_autoscaling(namespace)}/namespaces/{namespace.name}/{HPAS}"
    behavior = {"scaleDown": {"selectPolicy": "Disabled"}}
    target = {"type": "AverageValue", "averageValue": "100m"}
    pods = {"type": "Pods", "pods": {"metric": {"name": "requests"}, "target": target}}
    spec = {"scaleTargetRef": workload.reference, "minReplicas": 2, "maxReplicas": 3}
    await namespace.cluster.create(
        hpas,
        {
            "metadata": {"name": "by-load", "annotations": {"team": "checkout"}},
            "spec": {**spec, "behavior": behavior, "metrics": [pods]},
        },
    )
    before = await namespace.cluster.get(f"{hpas}/by-load")
    deployment = await workload.live()
    scale = await drive(Scale)
    plan = await carried_out(scale, "+3")
    assert (await namespace.cluster.get(f"{hpas}/by-load"))["spec"]["minReplicas"] == 5
    assert await scale.undo(plan) == "undone"
    assert kept(await namespace.cluster.get(f"{hpas}/by-load")) == kept(before)
    # Its HorizontalPodAutoscaler decides how many, now between the bounds of before.
    after = await workload.until(lambda it: it["spec"]["replicas"] == 3)
    deployment["spec"]["replicas"] = 3
    assert kept(after) == kept(deployment)


@pytest.mark.usefixtures("reduced_crds")
async def test_undoing_scale_restores_a_custom_resource_exactly(
    drive: Drive, namespace: Namespace
) -> None:
    workload = await namespace.rollout(replicas=2)
    before = await workload.live()
    scale = await drive(Scale)
    plan = await scale.plan(5)
    await scale.apply(plan)
    assert await workload.ordered() == 5
    assert await scale.undo(plan) == "undone"
    assert kept(await workload.live()) == kept(before)


@pytest.mark.usefixtures("reduced_crds")
@pytest.mark.parametrize(
    "spec", [{}, {"minReplicaCount": 0}, {"minReplicaCount": 1, "maxReplicaCount": 2}]
)
async def test_undoing_scale_restores_a_scaled_object_exactly(
    drive: Drive, namespace: Namespace, spec: Json
) -> None:
    workload = await namespace.deployment(replicas=1)
    spec = {"scaleTargetRef": workload.reference, "triggers": [{"type": "cpu"}], **spec}
    before = await namespace.create("scaledobjects", "carts", spec=spec)
    scale = await drive(Scale)
    plan = await scale.plan(3)
    await scale.apply(plan)
    assert kept(await namespace.get("scaledobjects", "carts")) != kept(before)
    assert await scale.undo(plan) == "undone"
    assert kept(await namespace.get("scaledobjects", "carts")) == kept(before)


async def test_scaling_by_somebody_else_since_is_left_alone(
    drive: Drive, namespace: Namespace
) -> None:
    workload = await namespace.deployment(replicas=1)
    scale = await drive(Scale)
    plan = await carried_out(scale, 3)
    await workload.scale(4)
    there = await version(workload)
    where = f"Deployment carts in {namespace.name}"
    # This release of the API server doesn't record who wrote through a scale subresource.
    why = rf"^replicas of {where} is 4, and 3 was expected: \S+ changed it since, so it is left"
    with pytest.raises(Denied, match=why) as denied:
        await scale.undo(plan)
    assert await version(workload) == there
    refused = ("Warning", "RemedyUndoRefused", f"not undone: {denied.value}")
    assert await told(namespace) == [refused]


@pytest.mark.parametrize("field", ["minReplicas", "maxReplicas"])
async def test_one_bound_that_somebody_changed_since_leaves_both_alone(
    drive: Drive, namespace: Namespace, field: str
) -> None:
    workload = await namespace.deployment(replicas=2)
    await namespace.autoscaler(workload, 2, 3)
    scale = await drive(Scale)
    plan = await carried_out(scale, 5)
    theirs = {"minReplicas": 4, "maxReplicas": 9}
    await namespace.patch(HPAS, "carts", {"spec": {field: theirs[field]}})
    before = await namespace.get(HPAS, "carts")
    why = rf"^{field} of .* is {theirs[field]}, and 5 was expected: \S+ changed it since"
    with pytest.raises(Denied, match=why):
        await scale.undo(plan)
    assert kept(await namespace.get(HPAS, "carts")) == kept(before)


async def test_a_later_scaling_of_ours_is_left_alone(drive: Drive, namespace: Namespace) -> None:
    workload = await namespace.deployment(replicas=1)
    first = await drive(Scale)
    plan = await carried_out(first, 2)
    second = later(first)
    newer = await carried_out(second, 3)
    there = await version(workload)
    with pytest.raises(Denied, match="is 3, and 2 was expected"):
        await first.undo(plan)
    assert await version(workload) == there
    # The other way round both can be undone.
    assert await second.undo(newer) == "undone"
    assert await first.undo(plan) == "undone"
    assert await workload.ordered() == 1


async def test_undoing_scale_again_changes_nothing(drive: Drive, namespace: Namespace) -> None:
    workload = await namespace.deployment(replicas=1)
    scale = await drive(Scale)
    plan = await carried_out(scale, 2)
    await scale.undo(plan)
    there = await version(workload)
    assert await scale.undo(plan) == AS_BEFORE
    assert await version(workload) == there
    assert len(await told(namespace)) == 1


async def test_an_autoscaler_that_is_gone_is_told_on_the_workload(
    drive: Drive, namespace: Namespace
) -> None:
    workload = await namespace.deployment(replicas=1)
    await namespace.autoscaler(workload, 1, 9)
    scale = await drive(Scale)
    plan = await carried_out(scale, 2)
    await namespace.delete(HPAS, "carts")
    gone = f"HorizontalPodAutoscaler carts in {namespace.name} is gone"
    with pytest.raises(Denied, match=f"^{gone}$"):
        await scale.undo(plan)
    assert await told(namespace) == [("Warning", "RemedyUndoRefused", f"not undone: {gone}")]
    await namespace.autoscaler(workload, 2, 9)
    with pytest.raises(Denied, match=r"^Horizontal.* was deleted and recreated since"):
        await scale.undo(plan)
    assert (await namespace.get(HPAS, "carts"))["spec"]["minReplicas"] == 2


async def test_a_failed_execution_tells_what_it_left_to_others(namespace: Namespace) -> None:
    workload = await namespace.deployment(replicas=1)
    async with acting(Scale, namespace, settle_seconds=20) as scale:
        running = asyncio.create_task(scale.run(2))
        await workload.until(lambda it: it["spec"]["replicas"] == 2)
        await workload.patch({"spec": {"replicas": 5}})
        outcome = await running
    where = f"of Deployment carts in {namespace.name}"
    left = f"; not undone: replicas {where} is 5, and 2 was expected: "
    assert outcome.message.partition(left)[0].endswith(f"set replicas {where} to 5")
    assert outcome.message.endswith(" changed it since, so it is left alone")
    assert await workload.ordered() == 5


async def test_two_undoings_at_once_are_one(drive: Drive, namespace: Namespace) -> None:
    workload = await namespace.deployment(replicas=1)
    scale = await drive(Scale)
    plan = await carried_out(scale, 2)
    both = await asyncio.gather(scale.undo(plan), scale.undo(plan))
    assert sorted(both) == [AS_BEFORE, "undone"]
    assert await workload.ordered() == 1


async def test_what_changes_after_the_last_look_is_not_undone(
    drive: Drive, namespace: Namespace
) -> None:
    workload = await namespace.deployment(replicas=1)
    scale = await drive(Scale)
    plan = await carried_out(scale, 2)
    before_the_next_patch(scale, lambda: workload.scale(7))
    with pytest.raises(Denied, match="is 7, and 2 was expected"):
        await scale.undo(plan)
    assert await workload.ordered() == 7


# Whatever the action

Act = Callable[[Drive, Namespace], Awaitable[tuple[Driven, Plan, Workload]]]


async def scaled(drive: Drive, namespace: Namespace) -> tuple[Driven, Plan, Workload]:
    carts = await namespace.deployment()
    driven = await drive(Scale)
    return driven, await carried_out(driven, 2), carts


async def rolled_back(drive: Drive, namespace: Namespace) -> tuple[Driven, Plan, Workload]:
    carts = await updated_twice(namespace)
    driven = await drive(Rollback)
    return driven, await carried_out(driven, {}), carts


async def restarted(drive: Drive, namespace: Namespace) -> tuple[Driven, Plan, Workload]:
    carts = await namespace.deployment()
    driven = await drive(Restart)
    return driven, await carried_out(driven, {}), carts


@pytest.mark.parametrize("act", [scaled, rolled_back, restarted])
async def test_a_target_that_is_gone_is_told_so(
    drive: Drive, namespace: Namespace, act: Act
) -> None:
    driven, plan, carts = await act(drive, namespace)
    await carts.delete()
    await carts.until(lambda it: not it)
    with pytest.raises(Denied, match=f"^Deployment carts in {namespace.name} is gone$"):
        await driven.undo(plan)


@pytest.mark.parametrize("act", [scaled, rolled_back, restarted])
async def test_a_namesake_of_the_target_is_left_alone(
    drive: Drive, namespace: Namespace, act: Act
) -> None:
    driven, plan, carts = await act(drive, namespace)
    replicas = await carts.ordered()
    await carts.delete()
    await carts.until(lambda it: not it)
    carts = await namespace.deployment(image=IMAGES[1], replicas=replicas)
    there = await version(carts)
    with pytest.raises(Denied, match="was deleted and recreated since, so it is left alone"):
        await driven.undo(plan)
    assert await version(carts) == there
    assert [reason for _, reason, _ in await told(namespace)] == ["RemedyUndoRefused"]


@pytest.mark.parametrize("act", [scaled, rolled_back])
async def test_an_undo_that_was_killed_in_its_middle_is_ended_by_the_next(
    drive: Drive, namespace: Namespace, act: Act, monkeypatch: pytest.MonkeyPatch
) -> None:
    driven, plan, carts = await act(drive, namespace)
    patch = ClusterApi.patch

    async def patch_and_die(*request: Any) -> None:
        await patch(*request)
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(ClusterApi, "patch", patch_and_die)
        with pytest.raises(KeyboardInterrupt):
            await driven.undo(plan)
    there = await carts.rolled_out()
    assert await driven.undo(plan) == AS_BEFORE
    assert kept(await carts.live()) == kept(there)
    assert await told(namespace) == [("Normal", "RemedyUndone", AS_BEFORE)]


# rollback


@KINDS
async def test_undoing_a_rollback_restores_the_template_exactly(
    drive: Drive, namespace: Namespace, kind: str
) -> None:
    carts: Workload = await getattr(namespace, kind)()
    await carts.update(IMAGES[1])
    restarted = {"kubectl.kubernetes.io/restartedAt": "2026-01-01T00:00:00Z", "flag": "on"}
    container = {"name": "main", "image": IMAGES[2], "env": [{"name": "A", "value": "b"}]}
    template = {"metadata": {"annotations": restarted}, "spec": {"containers": [container]}}
    notes = {CAUSE: "three", "team": "checkout"}
    await carts.patch({"metadata": {"annotations": notes}, "spec": {"template": template}})
    before = await carts.rolled_out()
    rollback = await drive(Rollback)
    plan = await carried_out(rollback, {})
    assert await carts.image() == IMAGES[1]
    assert await rollback.undo(plan) == "undone"
    assert kept(await carts.rolled_out()) == kept(before)
    assert await told(namespace) == [("Normal", "RemedyUndone", f"undone: {plan}")]


@KINDS
async def test_a_cause_that_its_history_does_not_know_survives_the_undo(
    drive: Drive, namespace: Namespace, kind: str
) -> None:
    carts: Workload = await getattr(namespace, kind)()
    await carts.update(IMAGES[1])
    await carts.patch({"metadata": {"annotations": {CAUSE: "told afterwards"}}})
    before = await carts.rolled_out()
    rollback = await drive(Rollback)
    await rollback.undo(await carried_out(rollback, {}))
    assert kept(await carts.rolled_out()) == kept(before)


@KINDS
async def test_a_template_that_somebody_deployed_since_is_left_alone(
    drive: Drive, namespace: Namespace, kind: str
) -> None:
    carts = await updated_twice(namespace, kind)
    rollback = await drive(Rollback)
    plan = await carried_out(rollback, {})
    await carts.update(IMAGES[0])
    there = await version(carts)
    with pytest.raises(Denied) as denied:
        await rollback.undo(plan)
    given = f"gave {carts.kind} carts in {namespace.name} another template, with image {IMAGES[0]}"
    expected = f"and revision 2 (image {IMAGES[1]}) was expected: it is left alone"
    assert str(denied.value).endswith(f"{given}, {expected}")
    assert await version(carts) == there
    assert await told(namespace) == [
        ("Warning", "RemedyUndoRefused", f"not undone: {denied.value}")
    ]


async def test_a_template_that_is_not_rolled_out_as_its_deployment_is_paused_is_left_alone(
    drive: Drive, namespace: Namespace
) -> None:
    driven, plan, carts = await rolled_back(drive, namespace)
    await carts.patch({"spec": {"paused": True}})
    with pytest.raises(Denied, match="is paused, so its former template has no effect"):
        await driven.undo(plan)
    await carts.set_image(IMAGES[0])
    await carts.observed()
    with pytest.raises(Denied, match=f"another template, with image {IMAGES[0]}"):
        await driven.undo(plan)
    assert await carts.image() == IMAGES[0]


@KINDS
async def test_a_later_restart_of_ours_is_left_alone(
    drive: Drive, namespace: Namespace, kind: str
) -> None:
    carts = await updated_twice(namespace, kind)
    rollback = await drive(Rollback)
    plan = await carried_out(rollback, {})
    await carried_out(await drive(Restart), {})
    there = await version(carts)
    with pytest.raises(Denied, match=r"restarted .* carts in .* since, and revision 2"):
        await rollback.undo(plan)
    assert await version(carts) == there


async def test_a_later_rollback_of_ours_is_left_alone(drive: Drive, namespace: Namespace) -> None:
    carts = await updated_twice(namespace)
    first = await drive(Rollback)
    plan = await carried_out(first, {})
    second = later(first)
    newer = await carried_out(second, {})
    there = await version(carts)
    with pytest.raises(Denied, match=f"gave .* another template, with image {IMAGES[0]}"):
        await first.undo(plan)
    assert await version(carts) == there
    assert await second.undo(newer) == "undone"
    assert await first.undo(plan) == "undone"
    assert await carts.image() == IMAGES[2]


async def test_a_later_template_of_ours_that_contains_the_former_one_is_not_that(
    drive: Drive, namespace: Namespace
) -> None:
    carts = await namespace.deployment()
    await carts.update_template({"metadata": {"annotations": {"flag": "on"}}})
    await carts.update(IMAGES[1])
    first = await drive(Rollback)
    plan = await carried_out(first, {"revision": 1})
    await carried_out(later(first), {"revision": 2})
    there = await version(carts)
    with pytest.raises(Denied, match="another template"):
        await first.undo(plan)
    assert await version(carts) == there


async def test_a_template_that_left_the_history_can_not_be_put_back(
    drive: Drive, namespace: Namespace
) -> None:
    driven, plan, carts = await rolled_back(drive, namespace)
    await carts.patch({"spec": {"revisionHistoryLimit": 0}})
    await namespace.cluster.until(
        namespace.path("replicasets"), lambda it: len(it.get("items", ())) == 1
    )
    there = await version(carts)
    with pytest.raises(Denied, match="is no longer in the history of Deployment carts"):
        await driven.undo(plan)
    assert await version(carts) == there


async def test_a_template_that_changes_after_the_last_look_is_not_overwritten(
    drive: Drive, namespace: Namespace
) -> None:
    driven, plan, carts = await rolled_back(drive, namespace)
    before_the_next_patch(driven, lambda: carts.update(IMAGES[0]))
    with pytest.raises(Denied, match=f"another template, with image {IMAGES[0]}"):
        await driven.undo(plan)
    assert await carts.image() == IMAGES[0]


@KINDS
async def test_undoing_a_rollback_again_changes_nothing(
    drive: Drive, namespace: Namespace, kind: str
) -> None:
    carts = await updated_twice(namespace, kind)
    rollback = await drive(Rollback)
    plan = await carried_out(rollback, {})
    await rollback.undo(plan)
    there = await version(carts)
    assert await rollback.undo(plan) == AS_BEFORE
    assert await version(carts) == there


@pytest.mark.usefixtures("reduced_crds")
async def test_a_stable_template_that_followed_an_abort_of_ours_is_somebody_elses(
    drive: Drive, namespace: Namespace
) -> None:
    carts = await namespace.rollout(image=IMAGES[1])
    await replica_set(carts, 1, IMAGES[0])
    await replica_set(carts, 2, IMAGES[1])
    updating = {"stableRS": "hash1", "currentPodHash": "hash2", "phase": "Progressing"}
    await reconciled(carts, **updating)
    rollback = await drive(Rollback)
    plan = await rollback.plan({})
    await rollback.apply(plan)
    await carts.set_image(IMAGES[0])  # the update is reverted at its source
    await reconciled(carts, currentPodHash="hash1", abort=False, phase="Healthy")
    there = (await carts.live())["metadata"]["resourceVersion"]
    with pytest.raises(Denied, match=f"gave Rollout carts .* image {IMAGES[0]}"):
        await rollback.undo(plan)
    assert (await carts.live())["metadata"]["resourceVersion"] == there


# restart


@KINDS
async def test_a_restart_can_not_be_undone(drive: Drive, namespace: Namespace, kind: str) -> None:
    carts: Workload = await getattr(namespace, kind)()
    restart = await drive(Restart)
    plan = await carried_out(restart, {})
    there = await version(carts)
    why = "a restart can't be undone: the old pods are gone"
    for _ in range(2):
        with pytest.raises(Denied, match=f"^{why}$"):
            await restart.undo(plan)
    assert await version(carts) == there
    assert await told(namespace) == [("Warning", "RemedyUndoRefused", f"not undone: {why}")]


async def test_a_restart_that_was_never_ordered_needs_no_undoing(
    drive: Drive, namespace: Namespace
) -> None:
    await namespace.deployment()
    restart = await drive(Restart)
    assert await restart.undo(await restart.plan({})) == AS_BEFORE

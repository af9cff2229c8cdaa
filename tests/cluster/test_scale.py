"""`scale` on a real API server with its controllers."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import pytest

from keptn_remedy import Denied, PermanentError
from keptn_remedy_actions.cluster.api import ClusterApi
from keptn_remedy_actions.cluster.compare_and_set import ChangedMeanwhile
from keptn_remedy_actions.scale import Scale
from tests.actions.driving import Driven
from tests.cluster.driving import acting
from tests.cluster.namespace import BROKEN_IMAGE, Namespace
from tests.cluster.workload import Workload
from tests.waiting import until


@pytest.fixture
async def drive(namespace: Namespace) -> AsyncIterator[Driven]:
    async with acting(Scale, namespace) as drive:
        yield drive


def named(drive: Driven, action: str) -> None:
    """Have the trigger call the action by an alias."""
    drive.event["data"]["action"]["action"] = action
    drive.context = replace(drive.context, trigger=replace(drive.context.trigger, action=action))


async def scaled(drive: Driven, value: Any) -> Any:
    plan = await drive.plan(value)
    await drive.apply(plan)
    return await drive.verify(plan)


@pytest.mark.parametrize("kind", ["deployment", "stateful_set"])
async def test_more_and_fewer_replicas_are_ordered_and_become_ready(
    drive: Driven, namespace: Namespace, kind: str
) -> None:
    workload = await getattr(namespace, kind)(replicas=1)
    assert (await drive.run("+2")).result == "pass"
    assert await workload.ready() == 3
    assert (await drive.run("-50%")).result == "pass"
    assert await workload.ordered() == 2
    assert (await drive.run("x2")).message == (
        f"{workload.kind} carts in {namespace.name}: replicas 2 -> 4, all ready"
    )


async def test_a_bare_number_is_an_increment_where_keptns_helm_service_said_so(
    drive: Driven, namespace: Namespace
) -> None:
    workload = await namespace.deployment(replicas=2)
    named(drive, "scaling")
    assert (await scaled(drive, "1")).result == "pass"
    assert await workload.ordered() == 3
    named(drive, "scale-replicas")
    assert (await scaled(drive, "1")).result == "pass"
    assert await workload.ordered() == 1


async def test_a_relative_wish_counts_what_is_ordered_and_not_what_is_ready(
    drive: Driven, namespace: Namespace
) -> None:
    await namespace.deployment(replicas=3, image=BROKEN_IMAGE, ready=False)
    plan = await drive.plan("+1")
    assert [change.after for change in plan.changes] == [4]


async def test_what_is_clamped_is_a_warning(drive: Driven, namespace: Namespace) -> None:
    workload = await namespace.deployment(replicas=2)
    outcome = await drive.run({"replicas": "x10", "max": 4})
    assert outcome.result == "warning"
    assert "20 wished for, but max is 4: so it gets 4" in outcome.message
    assert await workload.ready() == 4


async def test_the_ceiling_holds_whatever_the_value_says(namespace: Namespace) -> None:
    workload = await namespace.deployment(replicas=1)
    async with acting(Scale, namespace, max_replicas=2) as drive:
        outcome = await drive.run({"replicas": 9, "max": 8})
        assert "KUBERNETES_MAX_REPLICAS is 2" in outcome.message
    assert await workload.ordered() == 2


async def test_what_is_so_already_is_a_warning_and_changes_nothing(
    drive: Driven, namespace: Namespace
) -> None:
    workload = await namespace.deployment(replicas=2)
    version = (await workload.live())["metadata"]["resourceVersion"]
    outcome = await drive.run(2)
    assert outcome.result == "warning"
    assert "it had 2 already" in outcome.message
    assert (await workload.live())["metadata"]["resourceVersion"] == version


@pytest.mark.parametrize("value", [0, "x0", "0%", "-100%"])
async def test_none_at_all_is_refused(drive: Driven, namespace: Namespace, value: Any) -> None:
    workload = await namespace.deployment(replicas=2)
    outcome = await drive.run(value)
    assert (outcome.status, outcome.result) == ("succeeded", "fail")
    assert "KUBERNETES_ALLOW_ZERO" in outcome.message
    assert await workload.ordered() == 2


async def test_fewer_than_there_are_leaves_one(drive: Driven, namespace: Namespace) -> None:
    workload = await namespace.deployment(replicas=2)
    assert (await drive.run("-5")).result == "warning"
    assert await workload.ordered() == 1


async def test_where_zero_is_allowed_it_is_reached_and_left_again(namespace: Namespace) -> None:
    workload = await namespace.deployment(replicas=2)
    async with acting(Scale, namespace, allow_zero=True) as drive:
        plan = await drive.plan(0)
        await drive.apply(plan)
        assert (await drive.verify(plan)).result == "pass"
        await drive.apply(plan)  # a Scale has no `replicas` at 0
        assert await drive.undo(plan) == "undone"
        assert await workload.ordered() == 2
        await drive.apply(plan)
        assert (await drive.run("+3")).result == "pass"
    assert await workload.ready() == 3


# Others act too


async def test_applying_twice_is_applying_once(drive: Driven, namespace: Namespace) -> None:
    workload = await namespace.deployment(replicas=2)
    plan = await drive.plan("+2")
    await drive.apply(plan)
    await drive.apply(plan)
    assert await workload.ordered() == 4


async def test_what_somebody_else_scaled_meanwhile_is_left_to_them(
    drive: Driven, namespace: Namespace
) -> None:
    workload = await namespace.deployment(replicas=2)
    plan = await drive.plan("+2")
    await workload.scale(7)
    with pytest.raises(ChangedMeanwhile, match="is 7 now, and not 2"):
        await drive.apply(plan)
    assert await drive.undo(plan) == "nothing of ours is there to undo"
    assert await workload.ordered() == 7


async def test_what_changes_after_the_last_look_is_not_overwritten(
    drive: Driven, namespace: Namespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    workload = await namespace.deployment(replicas=2)
    plan = await drive.plan("+2")
    look = ClusterApi.get

    async def look_then_be_overtaken(api: ClusterApi, ref: Any, subresource: str = "") -> Any:
        seen = await look(api, ref, subresource)
        if subresource == "scale":
            monkeypatch.undo()
            await workload.scale(7)
        return seen

    monkeypatch.setattr(ClusterApi, "get", look_then_be_overtaken)
    with pytest.raises(ChangedMeanwhile, match="is 7 now"):
        await drive.apply(plan)
    assert await workload.ordered() == 7


async def test_changes_of_other_fields_are_no_conflict(drive: Driven, namespace: Namespace) -> None:
    workload = await namespace.deployment(replicas=1)
    plan = await drive.plan(3)

    async def label(number: int) -> None:
        await workload.patch({"metadata": {"labels": {"touched": str(number)}}})

    await asyncio.gather(drive.apply(plan), *map(label, range(20)))
    assert await workload.ordered() == 3


async def test_undo_restores_the_number_of_before(drive: Driven, namespace: Namespace) -> None:
    workload = await namespace.deployment(replicas=2)
    plan = await drive.plan("+2")
    await drive.apply(plan)
    assert await drive.undo(plan) == "undone"
    assert await workload.ordered() == 2
    assert await drive.undo(plan) == "it is as it was before"


async def test_who_overrides_it_is_named_and_nothing_is_undone(
    drive: Driven, namespace: Namespace
) -> None:
    workload = await namespace.deployment(replicas=1)
    plan = await drive.plan(2)
    await drive.apply(plan)
    await workload.patch({"spec": {"replicas": 5}})
    outcome = await drive.verify(plan)
    assert outcome.result == "fail"
    assert f"set replicas of Deployment carts in {namespace.name} to 5" in outcome.message


async def test_a_workload_that_is_deleted_meanwhile_is_not_missed_silently(
    drive: Driven, namespace: Namespace
) -> None:
    workload = await namespace.deployment(replicas=1)
    plan = await drive.plan(2)
    await drive.apply(plan)
    await workload.delete()
    await workload.until(lambda live: not live)
    with pytest.raises(PermanentError, match="not found"):
        await drive.verify(plan)
    assert "is gone" in await drive.undo(plan)


# What keeps pods from becoming ready


@pytest.mark.parametrize("kind", ["deployment", "stateful_set"])
async def test_a_quota_is_told_and_the_scaling_undone(namespace: Namespace, kind: str) -> None:
    workload = await getattr(namespace, kind)(replicas=1)
    await namespace.quota(pods="1")
    async with acting(Scale, namespace, seconds=8) as drive:
        plan = await drive.plan(4)
        await drive.apply(plan)
        outcome = await drive.verify(plan)
        assert await drive.undo(plan) == "undone"
    assert outcome.result == "fail"
    assert "exceeded quota" in outcome.message
    assert "1 replicas are ready, 4 were to be" in outcome.message
    assert await workload.ordered() == 1


async def test_what_became_ready_of_more_is_kept_and_the_rest_told(namespace: Namespace) -> None:
    workload = await namespace.deployment(replicas=1)
    await namespace.quota(pods="3")
    async with acting(Scale, namespace, seconds=8) as drive:
        outcome = await scaled(drive, 5)
    assert outcome.result == "warning"
    assert "3 replicas are ready, 5 were to be" in outcome.message
    assert await workload.ordered() == 5


@pytest.mark.parametrize(("of", "at"), [("ours", "2020"), ("a namesake's", "2999")])
async def test_old_troubles_and_those_of_namesakes_are_not_told(
    namespace: Namespace, of: str, at: str
) -> None:
    workload = await namespace.deployment(replicas=1, image=BROKEN_IMAGE, ready=False)
    uid = (await workload.live())["metadata"]["uid"] if of == "ours" else of
    about = {"kind": "Deployment", "name": "carts", "namespace": namespace.name, "uid": uid}
    told = {"reason": "Woe", "type": "Warning", "lastTimestamp": f"{at}-01-01T00:00:00Z"}
    await namespace.create("events", "woe", involvedObject=about, message="a story", **told)
    async with acting(Scale, namespace, seconds=8) as drive:
        outcome = await scaled(drive, 2)
    assert "ImagePullBackOff" in outcome.message
    assert "a story" not in outcome.message


async def test_a_pod_that_cannot_be_scheduled_is_told(namespace: Namespace) -> None:
    workload = await namespace.deployment(replicas=1, image=BROKEN_IMAGE, ready=False)
    async with acting(Scale, namespace, seconds=8) as drive:
        plan = await drive.plan(2)
        await drive.apply(plan)
        await until(lambda: _has_reported_pods(workload, 2))
        told = "0/2 nodes are available: 2 Insufficient cpu."
        condition = {"type": "PodScheduled", "status": "False", "message": told}
        for pod in await workload.pods():
            status = {"status": {"conditions": [condition]}}
            await namespace.patch("pods", pod["metadata"]["name"], status, "status")
        outcome = await drive.verify(plan)
    assert told in outcome.message


async def test_an_image_that_cannot_be_pulled_is_told(namespace: Namespace) -> None:
    await namespace.deployment(replicas=1, image=BROKEN_IMAGE, ready=False)
    async with acting(Scale, namespace, seconds=8) as drive:
        outcome = await scaled(drive, 2)
    assert "ImagePullBackOff" in outcome.message


async def _has_reported_pods(workload: Workload, count: int) -> bool:
    """Whether a kubelet has said something of so many."""
    pods = await workload.pods()
    return sum("containerStatuses" in pod["status"] for pod in pods) == count


# The trace it leaves


async def test_one_event_tells_what_was_done_on_whose_order(
    drive: Driven, namespace: Namespace
) -> None:
    await namespace.deployment(replicas=1)
    plan = await drive.plan(2)
    await drive.apply(plan)
    await drive.apply(plan)
    events = await namespace.events("carts")
    [told] = [event for event in events if event["reason"] == "RemedyScaled"]
    assert told["reportingComponent"] == "keptn-remedy"
    assert "replicas: 1 -> 2" in told["message"]
    assert drive.context.trigger.id in told["message"]


# Which workload


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
        ({"workload_template": "{labels[tier]}"}, "wants labels[tier], which the event lacks"),
        ({"workload_template": "../{service}"}, "'../carts' is no name of a workload"),
        ({"namespace_template": "{stage}/{project}"}, "is no name of a namespace"),
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
        ({"kind": "Widget", "apiVersion": "../../v1"}, "is no apiVersion"),
        ({"kind": "ControllerRevision", "apiVersion": "apps/v1"}, "has no ControllerRevision with"),
        ({"name": "a/b"}, "'a/b' is no name"),
        ({"namespace": "UPPER"}, "'UPPER' is no name"),
    ],
)
async def test_a_target_that_cannot_be_scaled_is_refused(
    drive: Driven, target: dict[str, str], refusal: str
) -> None:
    assert refusal in await drive.refusal({"replicas": 2, **target})


async def test_any_kind_with_a_scale_subresource_will_do(
    drive: Driven, namespace: Namespace
) -> None:
    """A ReplicaSet of nobody, which the action knows nothing about but by API discovery."""
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


# Autoscalers


async def test_under_an_hpa_its_bounds_are_changed_and_restored(
    drive: Driven, namespace: Namespace
) -> None:
    workload = await namespace.deployment(replicas=2)
    await namespace.autoscaler(workload, 2, 3)
    plan = await drive.plan("+3")
    assert [str(change).partition(" ")[2] for change in plan.changes] == [
        "minReplicas of HorizontalPodAutoscaler carts: 2 -> 5",
        "maxReplicas of HorizontalPodAutoscaler carts: 3 -> 5",
    ]
    assert {change.target.rpartition("/")[2] for change in plan.changes} == {"carts"}
    await drive.apply(plan)
    await drive.apply(plan)
    assert (await drive.verify(plan)).result == "pass"
    assert await workload.ready() == 5
    assert await drive.undo(plan) == "undone"
    spec = (await namespace.get("horizontalpodautoscalers", "carts"))["spec"]
    assert (spec["minReplicas"], spec["maxReplicas"]) == (2, 3)


async def test_what_an_hpa_was_ordered_counts_before_it_acted(
    drive: Driven, namespace: Namespace
) -> None:
    workload = await namespace.deployment(replicas=2)
    first = await drive.plan("+2")
    await namespace.autoscaler(workload, 4, 9)
    second = await drive.plan("+2")
    assert [change.after for change in first.changes] == [4]
    assert [change.after for change in second.changes] == [6]


async def test_fewer_than_an_hpa_wants_would_be_a_fight(
    drive: Driven, namespace: Namespace
) -> None:
    workload = await namespace.deployment(replicas=4)
    await namespace.autoscaler(workload, 2, 9)
    with pytest.raises(Denied, match="chose 4 replicas, of 2 at least: 3 would be a fight"):
        await drive.plan(3)
    plan = await drive.plan(1)
    assert [change.after for change in plan.changes] == [1]
    await drive.apply(plan)
    outcome = await drive.verify(plan)  # its controller, without metrics, keeps the 4
    assert outcome.result == "warning"
    assert outcome.message.endswith("and orders 4 still")


async def test_zero_past_an_hpa_that_has_not_acted_yet_is_no_conflict(namespace: Namespace) -> None:
    workload = await namespace.deployment(replicas=2)
    async with acting(Scale, namespace, allow_zero=True) as drive:
        await namespace.autoscaler(workload, 4, 9)
        plan = await drive.plan(0)
    [change] = plan.changes
    assert change.before in (2, 4)  # what its Scale says, and not what the HPA is going to say


async def test_an_hpa_that_is_switched_off_is_left_so(drive: Driven, namespace: Namespace) -> None:
    workload = await namespace.deployment(replicas=1)
    await namespace.autoscaler(workload, 1, 9)
    await workload.scale(0)
    with pytest.raises(Denied, match="switches its HorizontalPodAutoscaler off"):
        await drive.plan(3)


async def test_zero_goes_past_an_hpa_where_it_is_allowed(namespace: Namespace) -> None:
    workload = await namespace.deployment(replicas=2)
    await namespace.autoscaler(workload, 1, 9)
    async with acting(Scale, namespace, allow_zero=True) as drive:
        assert (await drive.run(0)).result == "pass"
    assert await workload.ordered() == 0


async def test_several_hpas_on_one_workload_are_refused(
    drive: Driven, namespace: Namespace
) -> None:
    workload = await namespace.deployment(replicas=1)
    await namespace.autoscaler(workload, 1, 9, name="one")
    await namespace.autoscaler(workload, 1, 9, name="two")
    with pytest.raises(Denied, match=r"several horizontalpodautoscalers claim .*: one, two"):
        await drive.plan(3)


async def test_under_keda_the_scaled_object_is_changed_and_restored(
    drive: Driven, namespace: Namespace, reduced_crds: None
) -> None:
    workload = await namespace.deployment(replicas=1)
    await namespace.scaled_object(workload, 0, 2)
    plan = await drive.plan(3)
    await drive.apply(plan)
    spec = (await namespace.get("scaledobjects", "carts"))["spec"]
    assert (spec["minReplicaCount"], spec["maxReplicaCount"]) == (3, 3)
    await workload.scale(3)  # as KEDA would
    assert (await drive.verify(plan)).result == "pass"
    assert await drive.undo(plan) == "undone"
    spec = (await namespace.get("scaledobjects", "carts"))["spec"]
    assert (spec["minReplicaCount"], spec["maxReplicaCount"]) == (0, 2)


async def test_bounds_that_a_scaled_object_did_not_have_are_taken_away_again(
    drive: Driven, namespace: Namespace, reduced_crds: None
) -> None:
    workload = await namespace.deployment(replicas=1)
    await namespace.create("scaledobjects", "carts", spec={"scaleTargetRef": workload.reference})
    plan = await drive.plan(3)
    await drive.apply(plan)
    assert (await namespace.get("scaledobjects", "carts"))["spec"]["minReplicaCount"] == 3
    await drive.undo(plan)
    assert "minReplicaCount" not in (await namespace.get("scaledobjects", "carts"))["spec"]


async def test_a_number_at_which_keda_is_paused_is_what_changes(
    drive: Driven, namespace: Namespace, reduced_crds: None
) -> None:
    workload = await namespace.deployment(replicas=2)
    await namespace.scaled_object(workload, 0, 9, paused_replicas="2")
    plan = await drive.plan("+2")
    await drive.apply(plan)
    notes = (await namespace.get("scaledobjects", "carts"))["metadata"]["annotations"]
    assert notes == {"autoscaling.keda.sh/paused-replicas": "4"}
    await drive.undo(plan)
    notes = (await namespace.get("scaledobjects", "carts"))["metadata"]["annotations"]
    assert notes == {"autoscaling.keda.sh/paused-replicas": "2"}


async def test_where_keda_is_paused_the_workload_itself_is_scaled(
    drive: Driven, namespace: Namespace, reduced_crds: None
) -> None:
    workload = await namespace.deployment(replicas=1)
    await namespace.scaled_object(workload, 0, 9, paused="true")
    assert (await drive.run(2)).result == "pass"
    assert await workload.ordered() == 2


async def test_a_dry_run_changes_nothing(drive: Driven, namespace: Namespace) -> None:
    workload = await namespace.deployment(replicas=1)
    version = (await workload.live())["metadata"]["resourceVersion"]
    outcome = await drive.run(3, dry_run=True)
    assert outcome.message.startswith("dry run: ")
    assert (await workload.live())["metadata"]["resourceVersion"] == version

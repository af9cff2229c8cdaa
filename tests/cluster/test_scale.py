"""`scale` on a real API server with its controllers."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
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


async def scaled(
    drive: Driven, value: Any, *, once: Callable[[], Awaitable[bool]] | None = None
) -> Any:
    """What the action sees of its change, once this condition holds."""
    plan = await drive.plan(value)
    await drive.apply(plan)
    if once:
        await until(once)
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
    named(drive, "increment")
    assert (await scaled(drive, 1)).result == "pass"
    assert await workload.ordered() == 4
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
    assert "asked for 20 replicas, but max is 4: set to 4" in outcome.message
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
    assert "it already has 2 replicas" in outcome.message
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
    with pytest.raises(ChangedMeanwhile, match="is 7, and 2 was expected"):
        await drive.apply(plan)
    with pytest.raises(Denied, match="is 7, and 4 was expected"):
        await drive.undo(plan)
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
    with pytest.raises(ChangedMeanwhile, match="is 7, and"):
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
    with pytest.raises(Denied, match=f"^Deployment carts in {namespace.name} is gone$"):
        await drive.undo(plan)


async def test_a_disruption_budget_is_asked_though_the_api_server_does_not(
    drive: Driven, namespace: Namespace
) -> None:
    await namespace.deployment(replicas=3)
    served = (await namespace.cluster.get("/apis/policy"))["preferredVersion"]["groupVersion"]
    path = f"/apis/{served}/namespaces/{namespace.name}/poddisruptionbudgets"
    spec = {"minAvailable": 2, "selector": {"matchLabels": {"app": "carts"}}}
    await namespace.cluster.create(path, {"metadata": {"name": "two"}, "spec": spec})
    with pytest.raises(Denied, match="PodDisruptionBudget two wants 2 pods available, so"):
        await drive.plan(1)
    assert (await drive.run(2)).result == "pass"


# What keeps pods from becoming ready


@pytest.mark.parametrize("kind", ["deployment", "stateful_set"])
async def test_a_quota_is_told_and_the_scaling_undone(namespace: Namespace, kind: str) -> None:
    workload = await getattr(namespace, kind)(replicas=1)
    await namespace.quota(pods="1")
    async with acting(Scale, namespace, seconds=8) as drive:
        plan = await drive.plan(4)
        await drive.apply(plan)
        await until(lambda: _is_over_quota(workload, 1))
        outcome = await drive.verify(plan)
        assert await drive.undo(plan) == "undone"
    assert outcome.result == "fail"
    assert "exceeded quota" in outcome.message
    assert "1 replica is ready, 4 are wanted" in outcome.message
    assert await workload.ordered() == 1


async def test_what_became_ready_of_more_is_kept_and_the_rest_told(namespace: Namespace) -> None:
    workload = await namespace.deployment(replicas=1)
    await namespace.quota(pods="3")
    async with acting(Scale, namespace, seconds=8) as drive:
        outcome = await scaled(drive, 5, once=lambda: _is_over_quota(workload, 3))
    assert outcome.result == "warning"
    assert "3 replicas are ready, 5 are wanted" in outcome.message
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
        outcome = await scaled(drive, 2, once=lambda: _has_reported_pods(workload, 2))
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
    workload = await namespace.deployment(replicas=1, image=BROKEN_IMAGE, ready=False)
    async with acting(Scale, namespace, seconds=8) as drive:
        outcome = await scaled(drive, 2, once=lambda: _has_reported_pods(workload, 2))
    assert "ImagePullBackOff" in outcome.message


async def _is_over_quota(workload: Workload, ready: int) -> bool:
    told = str(await workload.namespace.items("events"))
    return "exceeded quota" in told and await workload.ready() == ready


async def _has_reported_pods(workload: Workload, count: int) -> bool:
    """Whether a kubelet has reported on this number of pods."""
    pods = await workload.pods()
    return sum("containerStatuses" in pod["status"] for pod in pods) == count


# The Kubernetes Events it leaves


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


async def test_a_dry_run_changes_nothing(drive: Driven, namespace: Namespace) -> None:
    workload = await namespace.deployment(replicas=1)
    version = (await workload.live())["metadata"]["resourceVersion"]
    outcome = await drive.run(3, dry_run=True)
    assert outcome.message.startswith("dry run: ")
    assert (await workload.live())["metadata"]["resourceVersion"] == version

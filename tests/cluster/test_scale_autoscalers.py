"""`scale` under a HorizontalPodAutoscaler, or KEDA, on a real API server."""

from collections.abc import AsyncIterator

import pytest

from keptn_remedy import Denied
from keptn_remedy_actions.scale import Scale
from tests.actions.driving import Driven
from tests.cluster.driving import acting
from tests.cluster.namespace import Namespace


@pytest.fixture
async def drive(namespace: Namespace) -> AsyncIterator[Driven]:
    async with acting(Scale, namespace) as drive:
        yield drive


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
    with pytest.raises(Denied, match=r"chose 4 replicas \(its minimum is 2\) and would revert 3"):
        await drive.plan(3)
    plan = await drive.plan(1)
    assert [change.after for change in plan.changes] == [1]
    await drive.apply(plan)
    outcome = await drive.verify(plan)  # its controller, without metrics, keeps the 4
    assert outcome.result == "warning"
    assert outcome.message.endswith("so far it keeps 4")


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
        plan = await drive.plan(0)
        await drive.apply(plan)
        assert (await drive.verify(plan)).result == "pass"
        assert await workload.ordered() == 0
        assert await drive.undo(plan) == "undone"
    assert await workload.ordered() == 2


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

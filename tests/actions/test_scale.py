"""The plans that `scale` makes; tests/cluster carries them out."""

from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from keptn_remedy import Denied, PermanentError, Plan
from keptn_remedy_actions.cluster import DEPLOYMENT, HPA, SCALED_OBJECT, STATEFUL_SET, Kind
from keptn_remedy_actions.scale import Scale
from tests.actions.driving import Driven, driven
from tests.actions.objects import showing

Objects = Mapping[tuple[Kind, str], Any]
Cluster = Callable[..., AbstractAsyncContextManager[Driven]]

CARTS = {"apiVersion": "apps/v1", "kind": "Deployment", "name": "carts"}


@pytest.fixture
def cluster(tmp_path: Path) -> Cluster:
    @asynccontextmanager
    async def acting(objects: Objects, **settings: Any) -> AsyncIterator[Driven]:
        async with showing(tmp_path, objects) as kubeconfig:
            action = Scale(Scale.Settings(kubeconfig=kubeconfig, **settings))
            async with driven(action) as drive:
                yield drive
            await action.close()

    return acting


def replicas(number: int) -> Any:
    return {"spec": {"replicas": number}}


def hpa(low: int, high: int) -> Any:
    return {"spec": {"scaleTargetRef": CARTS, "minReplicas": low, "maxReplicas": high}}


def steps(plan: Plan) -> list[str]:
    return [str(change) for change in plan.changes]


async def test_a_relative_value_becomes_absolute(cluster: Cluster) -> None:
    async with cluster({(DEPLOYMENT, "carts"): replicas(3)}) as drive:
        plan = await drive.plan("+2")
    assert steps(plan) == ["deployments.apps/sockshop-production/carts replicas: 3 -> 5"]


async def test_the_plan_tells_the_numbers_of_replicas_whatever_is_changed(cluster: Cluster) -> None:
    carts = {(DEPLOYMENT, "carts"): replicas(3)}
    paused = {"annotations": {"autoscaling.keda.sh/paused-replicas": "4"}, "name": "carts"}
    scaled_object = {"metadata": paused, "spec": {"scaleTargetRef": CARTS}}
    for more, before in (
        ({}, 3),
        ({(HPA, "carts"): hpa(2, 4)}, 3),
        ({(HPA, "carts"): hpa(5, 9)}, 5),
        ({(SCALED_OBJECT, "carts"): scaled_object}, 4),
    ):
        async with cluster({**carts, **more}) as drive:
            plan = await drive.plan("+2")
        assert plan.replicas == (before, before + 2)


async def test_the_templates_name_the_target(cluster: Cluster) -> None:
    objects = {(STATEFUL_SET, "carts-primary"): replicas(1)}
    async with cluster(objects, workload_template="{service}-primary") as drive:
        plan = await drive.plan(2)
    assert plan.targets == {"statefulsets.apps/sockshop-production/carts-primary"}


async def test_an_hpa_is_changed_within_the_ceiling(cluster: Cluster) -> None:
    objects = {(DEPLOYMENT, "carts"): replicas(3), (HPA, "carts"): hpa(2, 4)}
    async with cluster(objects, max_replicas=6) as drive:
        plan = await drive.plan("x3")
    of = "of HorizontalPodAutoscaler carts"
    target = "deployments.apps/sockshop-production/carts"
    assert steps(plan) == [
        f"{target} minReplicas {of}: 2 -> 6",
        f"{target} maxReplicas {of}: 4 -> 6",
    ]
    assert plan.notes == ("asked for 9 replicas, but KUBERNETES_MAX_REPLICAS is 6: set to 6",)


async def test_an_hpa_of_another_workload_is_none_of_our_business(cluster: Cluster) -> None:
    other = {"spec": {**hpa(2, 9)["spec"], "scaleTargetRef": {**CARTS, "name": "orders"}}}
    async with cluster({(DEPLOYMENT, "carts"): replicas(3), (HPA, "orders"): other}) as drive:
        assert [change.field for change in (await drive.plan(4)).changes] == ["replicas"]


async def test_an_hpa_that_somebody_else_keeps_is_left_alone(cluster: Cluster) -> None:
    """Such as KEDA's, where we have no right to read ScaledObjects."""
    kept = {"ownerReferences": [{"controller": True, "kind": "ScaledObject", "name": "carts"}]}
    of_keda = {"metadata": {"name": "keda-hpa-carts", **kept}, **hpa(1, 9)}
    objects = {(DEPLOYMENT, "carts"): replicas(3), (HPA, "keda-hpa-carts"): of_keda}
    async with cluster(objects) as drive:
        with pytest.raises(Denied, match="belongs to ScaledObject carts"):
            await drive.plan(4)


async def test_kedas_own_hpa_makes_way_for_its_scaled_object(cluster: Cluster) -> None:
    objects = {
        (DEPLOYMENT, "carts"): replicas(3),
        (HPA, "keda-hpa-carts"): hpa(1, 9),
        (SCALED_OBJECT, "carts"): {"spec": {"scaleTargetRef": {"name": "carts"}}},
    }
    async with cluster(objects) as drive:
        plan = await drive.plan(4)
    assert [change.field for change in plan.changes] == ["minReplicaCount of ScaledObject carts"]


async def test_more_than_keda_would_go_to_by_itself_raises_its_maximum(cluster: Cluster) -> None:
    objects = {
        (DEPLOYMENT, "carts"): replicas(3),
        (SCALED_OBJECT, "carts"): {"spec": {"scaleTargetRef": {"name": "carts"}}},
    }
    async with cluster(objects, max_replicas=500) as drive:
        plan = await drive.plan(120)
    assert [(change.before, change.after) for change in plan.changes] == [(None, 120), (None, 120)]


@pytest.mark.parametrize(
    ("value", "wanted", "note"),
    [
        (200, 50, "asked for 200 replicas, but KUBERNETES_MAX_REPLICAS is 50: set to 50"),
        ({"replicas": 9, "max": 4}, 4, "asked for 9 replicas, but max is 4: set to 4"),
        ({"replicas": 1, "min": 2}, 2, "asked for 1 replica, but min is 2: set to 2"),
        ("-7", 1, "asked for -4 replicas, but 0 needs KUBERNETES_ALLOW_ZERO: set to 1"),
        ({"replicas": 4, "max": 2}, None, "asked for 4 replicas, but max is 2: left at 3"),
    ],
)
async def test_the_limit_that_acted_is_named(
    cluster: Cluster, value: Any, wanted: int | None, note: str
) -> None:
    async with cluster({(DEPLOYMENT, "carts"): replicas(3)}) as drive:
        plan = await drive.plan(value)
    assert [change.after for change in plan.changes] == ([wanted] if wanted else [])
    assert plan.notes == (note,)


async def test_a_minimum_above_the_ceiling_is_refused(cluster: Cluster) -> None:
    async with cluster({(DEPLOYMENT, "carts"): replicas(3)}) as drive:
        with pytest.raises(PermanentError, match="min is 60, but KUBERNETES_MAX_REPLICAS is 50"):
            await drive.plan({"replicas": 9, "min": 60})


async def test_two_workloads_of_one_name_are_ambiguous(cluster: Cluster) -> None:
    objects = {(DEPLOYMENT, "carts"): replicas(3), (STATEFUL_SET, "carts"): replicas(1)}
    async with cluster(objects) as drive:
        with pytest.raises(PermanentError, match="is ambiguous"):
            await drive.plan(2)
        plan = await drive.plan({"replicas": 2, "kind": "statefulset"})
    assert plan.targets == {"statefulsets.apps/sockshop-production/carts"}


async def test_similar_names_are_told(cluster: Cluster) -> None:
    async with cluster({(DEPLOYMENT, "cart"): replicas(3), (STATEFUL_SET, "db"): {}}) as drive:
        with pytest.raises(PermanentError, match=r"similar: Deployment cart$"):
            await drive.plan(2)


async def test_what_an_earlier_round_left_in_the_value_is_told_and_ignored(
    cluster: Cluster,
) -> None:
    async with cluster({(DEPLOYMENT, "carts"): replicas(3)}) as drive:
        plan = await drive.plan({"replicas": 4, "PromotionCampaign": "off"})
    assert [change.after for change in plan.changes] == [4]
    assert plan.notes == ("ignored in value, as it is not for this action: PromotionCampaign",)


@pytest.mark.parametrize(
    ("name", "template", "complaint"),
    [
        ("namespace_template", "{stage.__class__}", r"there is no {stage\.__class__}"),
        ("workload_template", "{tenant}", "there is no {tenant}"),
        ("workload_template", "{labels}", "there is no {labels}"),
        ("owner_policy", "helm=sometimes", "write pairs such as helm=refuse"),
        ("owner_policy", "puppet=warn", "owners are argocd, flux, controller, helm"),
        ("max_replicas", 0, "greater than or equal to 1"),
    ],
)
def test_settings_that_make_no_sense_are_refused_at_the_start(
    name: str, template: Any, complaint: str
) -> None:
    with pytest.raises(ValueError, match=complaint):
        Scale.Settings(service_host="::1", service_port="443", **{name: template})


def test_a_kubeconfig_that_does_not_exist_is_refused_at_the_start(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="nowhere does not exist"):
        Scale.Settings(kubeconfig="nowhere")
    (tmp_path / "one").touch()
    both = f"{tmp_path}/none:{tmp_path}/one"
    assert Scale.Settings(kubeconfig=both).kubeconfig == both


def test_without_a_cluster_it_is_off() -> None:
    with pytest.raises(ValueError, match="this is not a pod, and KUBECONFIG is not set"):
        Scale.Settings()

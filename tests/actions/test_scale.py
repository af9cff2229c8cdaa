"""The plans that `scale` makes; tests/cluster carries them out."""

from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from keptn_remedy import Denied, PermanentError, Plan
from keptn_remedy_actions.cluster import (
    DEPLOYMENT,
    HPA,
    OLD_HPA,
    ROLLOUT,
    SCALED_OBJECT,
    STATEFUL_SET,
    Kind,
)
from keptn_remedy_actions.scale import Scale
from tests.actions.driving import Driven, driven
from tests.actions.objects import showing

Objects = Mapping[tuple[Kind, str], Any]
Cluster = Callable[..., AbstractAsyncContextManager[Driven]]

CARTS = {"apiVersion": "apps/v1", "kind": "Deployment", "name": "carts"}


@pytest.fixture
def cluster(tmp_path: Path) -> Cluster:
    @asynccontextmanager
    async def acting(
        objects: Objects, server: Mapping[str, Any] | None = None, **settings: Any
    ) -> AsyncIterator[Driven]:
        async with showing(tmp_path, objects, **server or {}) as kubeconfig:
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


@pytest.mark.parametrize(("lacks", "version"), [((), "v2"), ((HPA,), "v1")])
async def test_an_hpa_is_changed_in_the_newest_version_that_is_served(
    cluster: Cluster, lacks: tuple[Kind, ...], version: str
) -> None:
    """In v1 an Object metric of type AverageValue is invalid, whatever is changed."""
    kind = OLD_HPA if lacks else HPA
    objects = {(DEPLOYMENT, "carts"): replicas(3), (kind, "carts"): hpa(2, 4)}
    async with cluster(objects, {"lacks": lacks}) as drive:
        plan = await drive.plan("+2")
    assert plan.memo["holder"]["kind"]["version"] == version


GONE_SOON = {"name": "carts", "deletionTimestamp": "2026-01-01T00:00:00Z"}


@pytest.mark.parametrize(
    ("more", "going"),
    [
        ({(DEPLOYMENT, "carts"): {"metadata": GONE_SOON, **replicas(3)}}, "Deployment carts"),
        ({(HPA, "carts"): {"metadata": GONE_SOON, **hpa(2, 4)}}, "HorizontalPodAutoscaler carts"),
        (
            {
                (SCALED_OBJECT, "carts"): {
                    "metadata": GONE_SOON,
                    "spec": {"scaleTargetRef": {"name": "carts"}},
                }
            },
            "ScaledObject carts",
        ),
    ],
)
async def test_what_is_being_deleted_is_not_scaled(
    cluster: Cluster, more: Objects, going: str
) -> None:
    async with cluster({(DEPLOYMENT, "carts"): replicas(3), **more}) as drive:
        with pytest.raises(Denied, match=f"^{going} in sockshop-production is being deleted"):
            await drive.plan("+1")


def condition(name: str, status: str, message: str) -> Any:
    return {"status": {"conditions": [{"type": name, "status": status, "message": message}]}}


SCALED = {"spec": {"scaleTargetRef": {"name": "carts"}}}
QUOTA = condition("ReplicaFailure", "True", 'pods "carts-x" is forbidden: exceeded quota')
MUTE = condition("AbleToScale", "False", "the HPA controller was unable to get the target's scale")
UNREADY = condition("Ready", "False", "ScaledObject doesn't have correct triggers specification")


@pytest.mark.parametrize(
    ("more", "why"),
    [
        ({(HPA, "carts"): {**hpa(2, 4), **MUTE}}, "can't act: the HPA controller was unable"),
        ({(SCALED_OBJECT, "carts"): {**SCALED, **UNREADY}}, "can't act: ScaledObject doesn't have"),
        ({(DEPLOYMENT, "carts"): {**replicas(3), **QUOTA}}, "can't get more pods: pods .*quota"),
    ],
)
async def test_who_says_that_it_cannot_act_is_believed_at_planning(
    cluster: Cluster, more: Objects, why: str
) -> None:
    async with cluster({(DEPLOYMENT, "carts"): replicas(3), **more}) as drive:
        with pytest.raises(Denied, match=why):
            await drive.plan("+2")


async def test_a_rollout_with_an_invalid_spec_is_not_scaled(cluster: Cluster) -> None:
    """Its controller ignores it until the spec is mended."""
    invalid = condition("InvalidSpec", "True", "spec.strategy.strategy: Required value")
    async with cluster({(ROLLOUT, "carts"): {**replicas(3), **invalid}}) as drive:
        with pytest.raises(Denied, match=r"can't act: spec\.strategy\.strategy: Required value"):
            await drive.plan("+1")


async def test_a_refused_template_is_no_reason_against_more_pods_of_the_old_one(
    cluster: Cluster,
) -> None:
    refused = condition("ReplicaFailure", "True", 'pods "x" is forbidden: violates PodSecurity')
    for updated, is_refused in ((0, False), (3, True)):
        refused["status"] |= {"replicas": 3, "updatedReplicas": updated}
        async with cluster({(DEPLOYMENT, "carts"): {**replicas(3), **refused}}) as drive:
            if is_refused:
                with pytest.raises(Denied, match=r"can't get more pods: .*violates PodSecurity"):
                    await drive.plan("+1")
            else:
                assert (await drive.plan("+1")).changes


async def test_fewer_pods_need_no_quota(cluster: Cluster) -> None:
    async with cluster({(DEPLOYMENT, "carts"): {**replicas(3), **QUOTA}}) as drive:
        assert [change.after for change in (await drive.plan("-1")).changes] == [2]


@pytest.mark.parametrize(("ordered", "is_idle"), [(0, True), (3, False)])
async def test_an_idle_scaled_object_brings_no_pods_for_its_minimum(
    cluster: Cluster, ordered: int, is_idle: bool
) -> None:
    spec = {"scaleTargetRef": {"name": "carts"}, "idleReplicaCount": 0, "minReplicaCount": 2}
    objects = {
        (DEPLOYMENT, "carts"): replicas(ordered),
        (SCALED_OBJECT, "carts"): {"spec": spec},
    }
    async with cluster(objects) as drive:
        if is_idle:
            with pytest.raises(Denied, match="idleReplicaCount 0 until a trigger of it is active"):
                await drive.plan("+2")
        else:
            assert [change.after for change in (await drive.plan("+2")).changes] == [5]


# Admission, by a server that answers dry runs as a cluster with policies does


def capped(most: int) -> Callable[[Any], Any]:
    def admit(patched: Any) -> Any:
        patched["spec"]["replicas"] = min(patched["spec"]["replicas"], most)
        return patched

    return admit


async def test_what_admission_makes_of_a_number_is_planned(cluster: Cluster) -> None:
    objects = {(DEPLOYMENT, "carts"): replicas(3)}
    async with cluster(objects, {"admit": capped(5)}) as drive:
        plan = await drive.plan(9)
    assert steps(plan) == ["deployments.apps/sockshop-production/carts replicas: 3 -> 5"]
    assert plan.notes == ("asked for 9 replicas, but the cluster's admission makes it 5",)
    assert plan.replicas == (3, 5)


@pytest.mark.parametrize(("most", "changes"), [(3, 0), (2, None)])
async def test_what_admission_turns_round_is_not_done(
    cluster: Cluster, most: int, changes: int | None
) -> None:
    async with cluster({(DEPLOYMENT, "carts"): replicas(3)}, {"admit": capped(most)}) as drive:
        if changes is None:
            with pytest.raises(Denied, match="would not set 9 replicas, but leave replicas 2"):
                await drive.plan(9)
        else:
            plan = await drive.plan(9)
            assert plan.changes == ()
            assert "admission makes it 3" in plan.notes[0]


def refused(code: int, message: str) -> Callable[[Any], Any]:
    return lambda _: web.json_response({"message": message, "code": code}, status=code)


async def test_a_denial_is_known_at_planning(cluster: Cluster) -> None:
    denial = 'admission webhook "no.example.com" denied the request: freeze until Monday'
    objects = {(DEPLOYMENT, "carts"): replicas(3)}
    async with cluster(objects, {"admit": refused(400, denial)}) as drive:
        with pytest.raises(PermanentError, match="denied the request: freeze until Monday"):
            await drive.plan("+1")


async def test_a_conflict_about_an_object_that_nobody_changed_is_a_refusal(
    cluster: Cluster,
) -> None:
    objects = {(DEPLOYMENT, "carts"): {"metadata": {"resourceVersion": "7"}, **replicas(3)}}
    async with cluster(objects, {"admit": refused(409, "not now")}) as drive:
        with pytest.raises(PermanentError, match="refused, as nobody changed it meanwhile: "):
            await drive.plan("+1")


async def test_a_webhook_that_takes_no_part_in_dry_runs_is_asked_later(cluster: Cluster) -> None:
    said = 'admission webhook "x" does not support dry run'
    objects = {(DEPLOYMENT, "carts"): replicas(3)}
    async with cluster(objects, {"admit": refused(400, said)}) as drive:
        assert [change.after for change in (await drive.plan(9)).changes] == [9]


@pytest.mark.parametrize("released", [True, False])
async def test_who_applied_the_field_is_told_who_owns_it_until_the_undo(
    cluster: Cluster, released: bool
) -> None:
    fields: Any = {"f:spec": {"f:replicas": {}}}
    entry = {"manager": "helm", "operation": "Apply", "fieldsV1": fields}
    carts = {"metadata": {"name": "carts", "managedFields": [entry]}, **replicas(3)}
    async with cluster({(DEPLOYMENT, "carts"): carts}, release_fields=released) as drive:
        notes = (await drive.plan(4)).notes
    told = "keptn-remedy owns replicas of Deployment carts in sockshop-production; the next"
    assert [told in note and "helm" in note for note in notes] == ([] if released else [True])


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

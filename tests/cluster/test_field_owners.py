"""Who owns a field that we changed: a team's next server-side apply, on a real API server."""

from collections.abc import AsyncIterator
from typing import Any

import pytest

from keptn_remedy_actions.cluster import DEPLOYMENT, Ref
from keptn_remedy_actions.cluster.managers import let_go
from keptn_remedy_actions.rollback import TEMPLATE, Rollback
from keptn_remedy_actions.scale import Scale
from tests.actions.driving import Driven
from tests.cluster.client import APPLY_PATCH, ApiError, Json
from tests.cluster.driving import acting
from tests.cluster.namespace import IMAGES, Namespace
from tests.cluster.workload import Workload

PATH = "/apis/apps/v1/namespaces/{}/deployments/carts"


async def apply(namespace: Namespace, image: str) -> Workload:
    """As `helm upgrade` of Helm 4 and `kubectl apply --server-side` do."""
    labels = {"app": "carts"}
    pod = {
        "automountServiceAccountToken": False,
        "terminationGracePeriodSeconds": 1,
        "containers": [{"name": "main", "image": image}],
    }
    spec = {
        "replicas": 1,
        "selector": {"matchLabels": labels},
        "template": {"metadata": {"labels": labels}, "spec": pod},
    }
    body: Json = {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "carts"},
        "spec": spec,
    }
    path = PATH.format(namespace.name)
    query = {"fieldManager": "helm"}
    await namespace.cluster.call("PATCH", path, body, query=query, content_type=APPLY_PATCH)
    carts = Workload(namespace, "deployments", "carts")
    await carts.rolled_out()
    return carts


async def managers(carts: Workload) -> set[str]:
    entries = (await carts.live())["metadata"].get("managedFields", [])
    return {entry["manager"] for entry in entries}


@pytest.fixture
async def carts(namespace: Namespace) -> Workload:
    await apply(namespace, IMAGES[0])
    return await apply(namespace, IMAGES[1])


@pytest.fixture
async def drive(namespace: Namespace) -> AsyncIterator[Driven]:
    async with acting(Rollback, namespace) as drive:
        yield drive


async def acted(drive: Driven, value: Any) -> Any:
    plan = await drive.plan(value)
    await drive.apply(plan)
    assert (await drive.verify(plan)).result == "pass"
    return plan


async def test_until_the_undo_the_owners_next_apply_conflicts_and_the_plan_says_so(
    namespace: Namespace, carts: Workload, drive: Driven
) -> None:
    plan = await acted(drive, {})
    [note] = plan.notes
    assert note.startswith("until it is undone, keptn-remedy owns template of Deployment carts")
    assert note.endswith("apply by helm conflicts: take it back with --force-conflicts")
    with pytest.raises(ApiError, match='conflict with "keptn-remedy"'):
        await apply(namespace, IMAGES[2])


async def test_after_the_undo_we_own_nothing(
    namespace: Namespace, carts: Workload, drive: Driven
) -> None:
    plan = await acted(drive, {})
    assert await drive.undo(plan) == "undone"
    assert "keptn-remedy" not in await managers(carts)
    await apply(namespace, IMAGES[2])
    assert await carts.image() == IMAGES[2]


async def test_with_the_setting_we_own_nothing_from_the_start(
    namespace: Namespace, carts: Workload
) -> None:
    async with acting(Rollback, namespace, release_fields=True) as drive:
        plan = await acted(drive, {})
        assert plan.notes == ()
        assert "keptn-remedy" not in await managers(carts)
        assert await drive.undo(plan) == "undone"
        assert await carts.image() == IMAGES[1]
    await apply(namespace, IMAGES[2])


async def test_the_bounds_of_an_autoscaler_are_let_go_too(namespace: Namespace) -> None:
    workload = await namespace.deployment(replicas=1)
    await namespace.autoscaler(workload, 1, 9)
    async with acting(Scale, namespace) as drive:
        plan = await acted(drive, 2)
        assert "keptn-remedy" in await owners_of_hpa(namespace)
        assert await drive.undo(plan) == "undone"
    assert "keptn-remedy" not in await owners_of_hpa(namespace)


async def owners_of_hpa(namespace: Namespace) -> set[str]:
    hpa = await namespace.get("horizontalpodautoscalers", "carts")
    return {entry["manager"] for entry in hpa["metadata"]["managedFields"]}


async def test_the_last_entry_can_go_as_well(
    namespace: Namespace, carts: Workload, drive: Driven
) -> None:
    """An empty list of entries would be ignored."""
    await acted(drive, {})
    ours = [it for it in (await carts.live())["metadata"]["managedFields"] if _is_ours(it)]
    replaced = {"op": "replace", "path": "/metadata/managedFields", "value": ours}
    await carts.patch([replaced])
    assert isinstance(drive.action, Rollback)
    await let_go(drive.action.api, Ref(DEPLOYMENT, namespace.name, "carts"), [TEMPLATE])
    assert "keptn-remedy" not in await managers(carts)


def _is_ours(entry: Json) -> bool:
    return bool(entry["manager"] == "keptn-remedy")

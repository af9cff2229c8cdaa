"""Dry runs on a real API server: nothing at all is written."""

import asyncio
import json
from collections.abc import Mapping

import pytest

from keptn_remedy_actions.cluster.action import ClusterAction
from keptn_remedy_actions.restart import Restart
from keptn_remedy_actions.rollback import Rollback
from keptn_remedy_actions.scale import Scale
from tests.cluster.client import Json
from tests.cluster.driving import acting
from tests.cluster.namespace import Namespace
from tests.cluster.updates import updated_twice
from tests.waiting import until

ACTIONS: Mapping[type[ClusterAction], Json] = {
    Scale: {"replicas": "+1"},
    Rollback: {},
    Restart: {},
}


async def listable(namespace: Namespace) -> list[str]:
    """The path of every resource in the namespace that can be listed, by API discovery."""
    cluster = namespace.cluster
    groups = (await cluster.get("/apis"))["groups"]
    roots = ["/api/v1", *(f"/apis/{group['preferredVersion']['groupVersion']}" for group in groups)]
    found = await asyncio.gather(*map(cluster.get, roots))
    return [
        f"{root}/namespaces/{namespace.name}/{resource['name']}"
        for root, resources in zip(roots, found, strict=True)
        for resource in resources["resources"]
        if resource["namespaced"] and "list" in resource["verbs"]
    ]


async def versions(namespace: Namespace, paths: list[str]) -> dict[str, str]:
    """The resourceVersion of every object, but for Events that a controller repeats for itself: an
    HPA without metrics complains at each look.
    """
    lists = await asyncio.gather(*map(namespace.cluster.items, paths))
    return {
        f"{path}/{item['metadata']['name']}": item["metadata"]["resourceVersion"]
        for path, items in zip(paths, lists, strict=True)
        for item in items
        if "resourceVersion" in item["metadata"]  # computed objects have none
        if not path.endswith("/events") or "keptn-remedy" in json.dumps(item)
    }


async def settled(namespace: Namespace, paths: list[str]) -> dict[str, str]:
    """Once nothing changes any more from one look of the HPA's controller to the next."""
    seen = [await versions(namespace, paths)]

    async def is_quiet() -> bool:
        await asyncio.sleep(1.2)  # nothing shows when it has looked
        seen.append(await versions(namespace, paths))
        return seen[-1] == seen[-2]

    await until(is_quiet)
    return seen[-1]


async def workloads(namespace: Namespace, kind: str) -> None:
    """`carts`, which has former revisions, and another Deployment under an HPA."""
    await updated_twice(namespace, kind)
    user = await namespace.deployment("user", replicas=2)
    await user.update_template({"metadata": {"annotations": {"flag": "on"}}})
    await namespace.autoscaler(user, 2, 3)
    await namespace.until(
        "horizontalpodautoscalers", "user", lambda it: "ScalingActive" in str(it.get("metadata"))
    )


@pytest.mark.parametrize("kind", ["deployment", "stateful_set", "daemon_set"])
async def test_dry_runs_change_nothing(namespace: Namespace, kind: str) -> None:
    await workloads(namespace, kind)
    paths = await listable(namespace)
    before = await settled(namespace, paths)
    for action, value in ACTIONS.items():
        async with acting(action, namespace) as drive:
            for name in ("carts", "user"):
                if (action, kind, name) == (Scale, "daemon_set", "carts"):
                    continue  # which has no number of replicas
                outcome = await drive.run({**value, "name": name}, dry_run=True)
                assert outcome.message.startswith("dry run: "), outcome
                assert f"/{name} " in outcome.message
    assert await versions(namespace, paths) == before
    kinds = {path.split("/")[-2] for path in before}
    assert {"pods", "horizontalpodautoscalers", "replicasets", "configmaps"} <= kinds


async def test_what_no_dry_run_does_is_seen(namespace: Namespace) -> None:
    await workloads(namespace, "deployment")
    paths = await listable(namespace)
    before = await settled(namespace, paths)
    async with acting(Scale, namespace) as drive:
        await drive.apply(await drive.plan({"replicas": 3, "name": "user"}))
    after = await versions(namespace, paths)
    changed = {path.split("/")[-2] for path in after if after[path] != before.get(path)}
    assert {"horizontalpodautoscalers", "events"} <= changed

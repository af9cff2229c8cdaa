"""Workloads with former revisions, for tests of rollbacks."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any

import orjson

from keptn_remedy import Outcome
from keptn_remedy.events import stored_trigger
from keptn_remedy.testing import triggered
from tests.actions.driving import Driven
from tests.cluster.client import Json
from tests.cluster.namespace import IMAGES, Namespace
from tests.cluster.workload import IMAGE, Workload, is_observed
from tests.waiting import until

ROLLOUT_HASH = "rollouts-pod-template-hash"


async def updated_twice(namespace: Namespace, kind: str = "deployment", **spec: Any) -> Workload:
    carts: Workload = await getattr(namespace, kind)(**spec)
    await carts.update(IMAGES[1])
    await carts.update(IMAGES[2])
    return carts


async def rolled_back(drive: Driven, **value: Any) -> Outcome:
    """One execution, with a trigger of its own."""
    trigger = stored_trigger(orjson.dumps(triggered(drive.action.name)))
    drive.context = replace(drive.context, trigger=trigger)
    plan = await drive.plan(value)
    await drive.apply(plan)
    return await drive.verify(plan)


def before_the_next_patch(drive: Driven, happens: Callable[[], Awaitable[Any]]) -> None:
    """Let something happen after the action's last look, just before it patches."""
    api: Any = getattr(drive.action, "api")  # noqa: B009  a ClusterAction's
    patch = api.patch

    async def patch_after_it(*request: Any) -> Any:
        api.patch = patch
        await happens()
        return await patch(*request)

    api.patch = patch_after_it


async def stuck(carts: Workload, image: str) -> None:
    """Give it an image with which no pod becomes available, until its controller gives up."""
    hurry = {"op": "add", "path": "/spec/progressDeadlineSeconds", "value": 1}
    await carts.patch([hurry, {"op": "replace", "path": IMAGE, "value": image}])
    await carts.until(_is_given_up)


def _is_given_up(live: Json) -> bool:
    # A pod that is counted only then would be progress again.
    has_begun = live["status"].get("updatedReplicas", 0) > 0
    return has_begun and is_observed(live) and "ProgressDeadlineExceeded" in str(live)


async def runs_only(carts: Workload, image: str) -> None:
    """Wait until all remaining pods have this image."""

    async def runs_nothing_else() -> bool:
        pods = [pod for pod in await carts.pods() if "deletionTimestamp" not in pod["metadata"]]
        return {pod["spec"]["containers"][0]["image"] for pod in pods} == {image}

    await until(runs_nothing_else)


# Argo Rollouts, whose controller the tests are


async def replica_set(carts: Workload, number: int, image: str, replicas: int = 1) -> str:
    """The ReplicaSet of a revision, named by its hash."""
    live = await carts.live()
    labels = {"app": "carts", ROLLOUT_HASH: f"hash{number}"}
    owner = {
        "apiVersion": carts.api_version,
        "kind": carts.kind,
        "name": "carts",
        "uid": live["metadata"]["uid"],
        "controller": True,
    }
    container = {"name": "main", "image": image}
    pod = {"automountServiceAccountToken": False, "containers": [container]}
    await carts.namespace.create(
        "replicasets",
        f"carts-hash{number}",
        metadata={
            "labels": labels,
            "annotations": {"rollout.argoproj.io/revision": str(number)},
            "ownerReferences": [owner],
        },
        spec={
            "replicas": replicas,
            "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": pod},
        },
    )
    if replicas:
        await carts.namespace.until(
            "replicasets",
            f"carts-hash{number}",
            lambda it: it["status"].get("availableReplicas") == replicas,
        )
    return f"hash{number}"


async def reconciled(carts: Workload, **status: Any) -> None:
    generation = (await carts.live())["metadata"]["generation"]
    await carts.set_status({"observedGeneration": str(generation), "phase": "Healthy", **status})

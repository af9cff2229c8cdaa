"""The health of a workload's revisions: which one was complete, and which never was."""

from pathlib import Path
from typing import Any

import pytest

from keptn_remedy_actions.cluster import (
    CONTROLLER_REVISION,
    DAEMON_SET,
    DEPLOYMENT,
    POD,
    REPLICA_SET,
    ROLLOUT,
    STATEFUL_SET,
    Kind,
    Ref,
    Workload,
)
from keptn_remedy_actions.cluster.api import ClusterApi
from keptn_remedy_actions.cluster.history import read
from keptn_remedy_actions.cluster.revisions import Health
from keptn_remedy_actions.cluster.settings import KubernetesSettings
from tests.actions.objects import showing

OWNED = {"ownerReferences": [{"controller": True, "uid": "ours"}]}
TEMPLATE = {"metadata": {}, "spec": {"containers": [{"name": "main", "image": "carts"}]}}
Objects = dict[tuple[Kind, str], Any]


async def health(folder: Path, kind: Kind, objects: Objects, **status: Any) -> dict[int, Health]:
    """The health of the revisions, by number."""
    live = {"metadata": {"uid": "ours"}, "spec": {"template": TEMPLATE}, "status": status}
    workload = Workload(Ref(kind, "sockshop-production", "carts"), live)
    async with showing(folder, objects) as kubeconfig:
        api = ClusterApi(KubernetesSettings(kubeconfig=kubeconfig))
        try:
            history = await read(api, workload, with_health=True)
        finally:
            await api.close()
    return {each.number: each.health for each in history.revisions}


def replica_sets(*counts: tuple[int, int], prefix: str = "deployment.kubernetes.io") -> Objects:
    """One per revision, from the first: how many pods it wants, and has available."""
    return {
        (REPLICA_SET, f"carts-{number}"): {
            "metadata": {
                **OWNED,
                "name": f"carts-{number}",
                "annotations": {f"{prefix}/revision": str(number)},
            },
            "spec": {"replicas": ordered, "template": TEMPLATE},
            "status": {"replicas": ordered, "availableReplicas": available},
        }
        for number, (ordered, available) in enumerate(counts, start=1)
    }


def revisions(*counts: tuple[int, int]) -> Objects:
    """One per revision, from the first: how many pods it has, and how many of them are ready."""
    objects: Objects = {}
    for number, (there, ready) in enumerate(counts, start=1):
        name = f"carts-{number}"
        data = {"spec": {"template": TEMPLATE}}
        metadata = {**OWNED, "name": name}
        objects[CONTROLLER_REVISION, name] = {
            "metadata": metadata,
            "revision": number,
            "data": data,
        }
        for pod in range(there):
            objects[POD, f"{name}-{pod}"] = {
                "metadata": {**OWNED, "labels": {"controller-revision-hash": name}},
                "status": {"conditions": [{"type": "Ready", "status": str(pod < ready)}]},
            }
    return objects


@pytest.mark.parametrize(
    ("counts", "seen"),
    [
        pytest.param(
            [(0, 0), (3, 3), (2, 0)],
            ["unknown", "serving", "broken"],
            id="an update of 4 that is stuck leaves 3, and all of these serve",
        ),
        pytest.param(
            [(0, 0), (3, 1), (2, 0)],
            ["unknown", "unknown", "broken"],
            id="one of three pods is no service",
        ),
        pytest.param(
            [(2, 2), (1, 1), (1, 0)],
            ["serving", "unfinished", "broken"],
            id="what replaced a former one only in part was never complete",
        ),
        pytest.param(
            [(2, 2), (0, 0), (1, 0)],
            ["serving", "unfinished", "broken"],
            id="and less so if nothing is left of it",
        ),
        pytest.param(
            [(0, 0), (0, 0), (3, 3)],
            ["unknown", "unknown", "serving"],
            id="what has no pods shows nothing",
        ),
        pytest.param(
            [(0, 0), (0, 0)], ["unknown", "serving"], id="no pods at all show nothing, either"
        ),
    ],
)
async def test_of_a_deployment_the_oldest_with_pods_was_complete(
    tmp_path: Path, counts: list[tuple[int, int]], seen: list[Health]
) -> None:
    found = await health(tmp_path, DEPLOYMENT, replica_sets(*counts))
    assert [found[number] for number in sorted(found)] == seen


async def test_a_replica_set_without_a_number_is_no_revision(tmp_path: Path) -> None:
    objects = replica_sets((2, 2), (1, 0))
    stray: Any = replica_sets((1, 1), prefix="example.com")[REPLICA_SET, "carts-1"]
    objects[REPLICA_SET, "stray"] = stray
    assert await health(tmp_path, DEPLOYMENT, objects) == {1: "serving", 2: "broken"}


@pytest.mark.parametrize(
    ("stable", "counts", "seen"),
    [
        (1, [(3, 3), (1, 1), (1, 1)], ["serving", "unfinished", "unfinished"]),
        (1, [(3, 2), (1, 1), (1, 1)], ["unknown", "unfinished", "unfinished"]),
        (1, [(3, 0), (1, 1), (1, 1)], ["broken", "unfinished", "unfinished"]),
        (2, [(1, 1), (1, 1)], ["unknown", "serving"]),
        (None, [(1, 0), (1, 1)], ["broken", "unfinished"]),
    ],
)
async def test_of_a_rollout_the_stable_one_was_complete(
    tmp_path: Path, stable: int | None, counts: list[tuple[int, int]], seen: list[Health]
) -> None:
    objects = replica_sets(*counts, prefix="rollout.argoproj.io")
    status = {"stableRS": str(stable)} if stable else {}
    found = await health(tmp_path, ROLLOUT, objects, **status, currentPodHash=str(len(counts)))
    assert [found[number] for number in sorted(found)] == seen


@pytest.mark.parametrize(
    ("current", "counts", "seen"),
    [
        (1, [(2, 2), (1, 0), (0, 0)], ["serving", "broken", "unfinished"]),
        (1, [(2, 1), (1, 1), (0, 0)], ["unknown", "unfinished", "unfinished"]),
        (2, [(0, 0), (0, 0), (3, 0)], ["unknown", "serving", "broken"]),
        (2, [(1, 1), (1, 1), (1, 1)], ["unknown", "serving", "unfinished"]),
    ],
)
async def test_of_a_stateful_set_the_current_one_was_complete(
    tmp_path: Path, current: int, counts: list[tuple[int, int]], seen: list[Health]
) -> None:
    status = {"currentRevision": f"carts-{current}"}
    found = await health(tmp_path, STATEFUL_SET, revisions(*counts), **status)
    assert [found[number] for number in sorted(found)] == seen


@pytest.mark.parametrize(
    ("counts", "seen"),
    [
        ([(2, 2), (0, 0), (1, 0)], ["serving", "unfinished", "broken"]),
        ([(2, 1), (0, 0), (1, 0)], ["unknown", "unfinished", "broken"]),
        ([(0, 0), (0, 0), (3, 3)], ["unknown", "unknown", "serving"]),
    ],
)
async def test_of_a_daemon_set_the_oldest_with_pods_was_complete(
    tmp_path: Path, counts: list[tuple[int, int]], seen: list[Health]
) -> None:
    found = await health(tmp_path, DAEMON_SET, revisions(*counts))
    assert [found[number] for number in sorted(found)] == seen

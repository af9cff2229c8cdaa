"""Broken pods that an ordered StatefulSet waits for, and which of them a rollback deletes."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any

import pytest

from keptn_remedy_actions.cluster import POD, STATEFUL_SET, Ref
from keptn_remedy_actions.cluster import Workload as Looked
from keptn_remedy_actions.cluster import stateful as stateful_sets
from keptn_remedy_actions.cluster.api import ClusterApi
from keptn_remedy_actions.cluster.stateful import delete_stuck, obstacle
from keptn_remedy_actions.rollback import Rollback
from tests.actions.driving import Driven
from tests.cluster.driving import acting
from tests.cluster.namespace import BROKEN_IMAGE, IMAGES, Namespace
from tests.cluster.updates import rolled_back, runs_only
from tests.cluster.workload import Workload

LONG_AGO = "2026-01-01T00:00:00Z"
ON_DELETE = {"type": "OnDelete"}
MINE = "tests.keptn/hold"


@pytest.fixture
async def drive(namespace: Namespace) -> AsyncIterator[Driven]:
    async with acting(Rollback, namespace) as drive:
        yield drive


@pytest.fixture
def api(drive: Driven) -> ClusterApi:
    assert isinstance(drive.action, Rollback)
    return drive.action.api


async def outdated(namespace: Namespace, **spec: Any) -> Workload:
    """Three pods with another revision than the live one, which its controller leaves alone."""
    carts = await namespace.stateful_set(replicas=3, updateStrategy=ON_DELETE, **spec)
    await carts.set_image(IMAGES[1])
    await carts.observed()
    return carts


async def unready(namespace: Namespace, *ordinals: int, since: str = LONG_AGO) -> None:
    condition = {"type": "Ready", "status": "False", "lastTransitionTime": since}
    for ordinal in ordinals:
        status = {"status": {"conditions": [condition]}}
        await namespace.patch("pods", f"carts-{ordinal}", status, "status")


async def look(carts: Workload) -> Looked:
    return Looked(Ref(STATEFUL_SET, carts.namespace.name, "carts"), await carts.live())


async def uids(carts: Workload) -> dict[str, str]:
    return {pod["metadata"]["name"]: pod["metadata"]["uid"] for pod in await carts.pods()}


def _is_another(pod: Any, uid: str) -> bool:
    return bool(pod) and pod["metadata"]["uid"] != uid and "containerStatuses" in pod["status"]


async def test_a_set_that_waits_for_a_broken_pod_is_helped(
    drive: Driven, namespace: Namespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stateful_sets, "STUCK_SECONDS", 1)
    carts = await namespace.stateful_set(replicas=3)
    await carts.set_image(BROKEN_IMAGE)
    await namespace.until("pods", "carts-2", lambda it: "ImagePullBackOff" in str(it))
    stuck = await namespace.get("pods", "carts-2")
    assert (await rolled_back(drive)).result == "pass"
    assert (await namespace.get("pods", "carts-2"))["metadata"]["uid"] != stuck["metadata"]["uid"]
    await runs_only(carts, IMAGES[0])
    assert any("waited for" in str(line) for line in drive.logged.calls)


async def test_a_broken_pod_of_an_earlier_attempt_is_deleted_too(
    drive: Driven, namespace: Namespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stateful_sets, "STUCK_SECONDS", 1)
    carts = await namespace.stateful_set(replicas=2)
    await carts.set_image(BROKEN_IMAGE)
    await namespace.until("pods", "carts-1", lambda it: "ImagePullBackOff" in str(it))
    await carts.set_image(IMAGES[1])  # which reaches no pod
    await carts.observed()
    assert (await rolled_back(drive)).result == "pass"
    await runs_only(carts, IMAGES[0])


async def test_pods_are_deleted_one_by_one_from_the_first(
    api: ClusterApi, namespace: Namespace
) -> None:
    carts = await outdated(namespace)
    await unready(namespace, 0, 1, 2)
    before = await uids(carts)
    assert await delete_stuck(api, await look(carts)) == "carts-0"
    after = await uids(carts)
    assert (after["carts-1"], after["carts-2"]) == (before["carts-1"], before["carts-2"])
    await namespace.until("pods", "carts-0", lambda it: _is_another(it, before["carts-0"]))
    assert await delete_stuck(api, await look(carts)) == "carts-1"


async def test_ready_pods_are_left(api: ClusterApi, namespace: Namespace) -> None:
    carts = await outdated(namespace)
    before = await uids(carts)
    assert await delete_stuck(api, await look(carts)) is None
    await unready(namespace, 1)
    assert await delete_stuck(api, await look(carts)) == "carts-1"
    assert {**before, "carts-1": ""} == {**await uids(carts), "carts-1": ""}


async def test_a_pod_of_the_live_revision_is_left(api: ClusterApi, namespace: Namespace) -> None:
    carts = await namespace.stateful_set(replicas=2)
    await unready(namespace, 0, 1)
    assert await delete_stuck(api, await look(carts)) is None


async def test_a_pod_that_was_ready_a_moment_ago_is_left(
    api: ClusterApi, namespace: Namespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    carts = await outdated(namespace)
    await unready(namespace, 0, since=f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}")
    await unready(namespace, 1)
    assert await delete_stuck(api, await look(carts)) is None
    monkeypatch.setattr(stateful_sets, "STUCK_SECONDS", 0)
    assert await delete_stuck(api, await look(carts)) == "carts-0"


async def test_a_new_pod_without_conditions_is_left(
    api: ClusterApi, namespace: Namespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    carts = await outdated(namespace)
    nothing = [{"op": "replace", "path": "/status/conditions", "value": []}]
    await namespace.patch("pods", "carts-0", nothing, "status")
    assert await delete_stuck(api, await look(carts)) is None
    monkeypatch.setattr(stateful_sets, "STUCK_SECONDS", 0)
    assert await delete_stuck(api, await look(carts)) == "carts-0"


async def test_while_a_pod_is_on_its_way_out_no_other_is_deleted(
    api: ClusterApi, namespace: Namespace
) -> None:
    carts = await outdated(namespace)
    await unready(namespace, 0, 1)
    await namespace.patch("pods", "carts-0", {"metadata": {"finalizers": [MINE]}})
    await namespace.delete("pods", "carts-0")
    deleted = await delete_stuck(api, await look(carts))
    await namespace.patch("pods", "carts-0", {"metadata": {"finalizers": None}})
    assert deleted is None


async def test_pods_below_the_partition_are_left(api: ClusterApi, namespace: Namespace) -> None:
    partition = {"type": "RollingUpdate", "rollingUpdate": {"partition": 1}}
    carts = await outdated(namespace)
    await unready(namespace, 0, 1)
    await carts.patch({"spec": {"updateStrategy": partition}})
    await carts.observed()
    before = await uids(carts)
    assert await delete_stuck(api, await look(carts)) is None
    assert await uids(carts) == before
    partition["rollingUpdate"] = {"partition": 0}
    await carts.patch({"spec": {"updateStrategy": partition}})
    assert await delete_stuck(api, await look(carts)) == "carts-0"


async def test_pods_of_others_are_left(api: ClusterApi, namespace: Namespace) -> None:
    carts = await outdated(namespace)
    pod: Any = {"containers": [{"name": "main", "image": BROKEN_IMAGE}]}
    pod["automountServiceAccountToken"] = False
    await namespace.create("pods", "stray-0", metadata={"labels": {"app": "carts"}}, spec=pod)
    await namespace.until("pods", "stray-0", lambda it: "ImagePullBackOff" in str(it))
    status = {"conditions": [{"type": "Ready", "status": "False", "lastTransitionTime": LONG_AGO}]}
    await namespace.patch("pods", "stray-0", {"status": status}, "status")
    assert await delete_stuck(api, await look(carts)) is None
    await unready(namespace, 2)
    assert await delete_stuck(api, await look(carts)) == "carts-2"
    assert (await namespace.get("pods", "stray-0"))["metadata"].get("deletionTimestamp") is None


async def test_a_pod_that_came_after_the_look_is_left(
    api: ClusterApi, namespace: Namespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    carts = await outdated(namespace)
    await unready(namespace, 0)
    seen, before = await api.list(POD, namespace.name), await uids(carts)
    await namespace.delete("pods", "carts-0")
    await namespace.until("pods", "carts-0", lambda it: _is_another(it, before["carts-0"]))
    after = await uids(carts)

    async def look_that_is_old(*_: Any, **__: Any) -> Any:
        return seen

    monkeypatch.setattr(api, "list", look_that_is_old)
    assert await delete_stuck(api, await look(carts)) is None
    assert await uids(carts) == after


async def test_stuck_pods_of_a_parallel_set_are_deleted_whichever_comes_first(
    api: ClusterApi, namespace: Namespace
) -> None:
    """Where MaxUnavailableStatefulSet is on (1.35), the controller may leave them, as here."""
    carts = await outdated(namespace, podManagementPolicy="Parallel")
    await unready(namespace, 0, since=f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}")
    await unready(namespace, 1, 2)
    before = await uids(carts)
    assert await delete_stuck(api, await look(carts)) == "carts-1", "carts-0 may recover"
    await namespace.until("pods", "carts-1", lambda it: _is_another(it, before["carts-1"]))
    assert await delete_stuck(api, await look(carts)) == "carts-2"
    assert (await uids(carts))["carts-0"] == before["carts-0"]


async def test_what_it_waits_for_is_told(api: ClusterApi, namespace: Namespace) -> None:
    carts = await namespace.stateful_set(replicas=2)
    assert await obstacle(api, await look(carts)) == ""
    await unready(namespace, 1)
    told = "pod carts-1 is not ready, and an ordered StatefulSet waits for it"
    assert await obstacle(api, await look(carts)) == told


async def test_a_set_that_is_not_ordered_waits_for_none(
    api: ClusterApi, namespace: Namespace
) -> None:
    carts = await namespace.stateful_set(replicas=2, podManagementPolicy="Parallel")
    await unready(namespace, 1)
    assert await obstacle(api, await look(carts)) == ""

"""When waiting longer would not help: pods are refused, or missing as before."""

from pathlib import Path
from typing import Any

import pytest

from keptn_remedy_actions.cluster import DEPLOYMENT, POD, Ref, Workload, standstill
from keptn_remedy_actions.cluster.api import ClusterApi
from keptn_remedy_actions.cluster.settings import KubernetesSettings
from keptn_remedy_actions.cluster.standstill import Standstill
from tests.actions.objects import showing


class Seconds:
    """The clock of the module under test, which a test sets."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 0.0
        monkeypatch.setattr(standstill, "monotonic", lambda: self.now)


QUOTA = 'pods "carts-x" is forbidden: exceeded quota'


def live(ready: int, there: int = 3, *, why: str = QUOTA) -> Any:
    counts = {"replicas": there, "readyReplicas": ready}
    failure = {"type": "ReplicaFailure", "status": "True", "message": why}
    return {"status": {**counts, "conditions": [failure] if why else []}}


@pytest.fixture
def watch() -> Standstill:
    """Of a Deployment, which needs no API server."""
    api = ClusterApi(KubernetesSettings(service_host="::1", service_port="1"))
    return Standstill(api, Ref(DEPLOYMENT, "shop", "carts"), since="2026-01-01T00:00:00Z")


async def test_refused_pods_end_it_once_nothing_moves(
    watch: Standstill, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert not await watch.is_refused(live(2))
    assert not await watch.is_refused(live(3))
    monkeypatch.setattr(standstill, "STALLED_SECONDS", 0)
    for why in ("", "Internal error occurred: etcd is restarting"):
        assert not await watch.is_refused(live(3, why=why))
    assert await watch.is_refused(live(3))


async def test_pods_that_are_starting_get_their_time(
    watch: Standstill, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An old pod that goes thereupon leaves its room to the refused one."""
    monkeypatch.setattr(standstill, "STALLED_SECONDS", 0)
    assert not await watch.is_refused(live(2))
    assert not await watch.is_refused(live(2))
    monkeypatch.setattr(standstill, "STARTING_SECONDS", 0)
    assert await watch.is_refused(live(2))


# Pods that were missing before

SINCE = "2026-01-01T00:00:00Z"


def rolled_out(available: int, *, updated: int = 3, settles: int = 0) -> Workload:
    """Of three replicas that have its template."""
    counts = {"replicas": 3, "updatedReplicas": updated, "availableReplicas": available}
    spec = {"replicas": 3, "selector": {}, "minReadySeconds": settles}
    ref = Ref(DEPLOYMENT, "sockshop-production", "carts")
    return Workload(ref, {"spec": spec, "status": counts})


def ready_after(seconds: int) -> Any:
    """A pod that needed so many seconds."""
    at = f"2026-01-01T00:{seconds // 60:02}:{seconds % 60:02}Z"
    ready = {"type": "Ready", "status": "True", "lastTransitionTime": at}
    return {"metadata": {"creationTimestamp": SINCE}, "status": {"conditions": [ready]}}


@pytest.mark.parametrize(
    ("workload", "before", "pods", "lasts"),
    [
        (rolled_out(2), 2, [ready_after(10)], True),
        (rolled_out(2), 3, [ready_after(10)], False),
        (rolled_out(1), 2, [ready_after(10)], False),
        (rolled_out(2), None, [ready_after(10)], False),
        (rolled_out(2, updated=2), 2, [ready_after(10)], False),
        (rolled_out(2), 2, [ready_after(10), ready_after(51)], False),
        (rolled_out(2, settles=50), 2, [ready_after(10)], False),
    ],
    ids=[
        "as before",
        "none was missing before",
        "more are missing",
        "not known from an older plan",
        "an old pod is there",
        "one of the others needed half of the time",
        "pods count as available much later",
    ],
)
async def test_pods_missing_as_before_end_it_once_they_had_twice_the_time_of_the_others(
    workload: Workload,
    before: int | None,
    pods: list[Any],
    lasts: bool,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    objects = {(POD, f"carts-{n}"): pod for n, pod in enumerate(pods)}
    clock = Seconds(monkeypatch)
    async with showing(tmp_path, objects) as kubeconfig:
        api = ClusterApi(KubernetesSettings(kubeconfig=kubeconfig))
        watch = Standstill(api, workload.ref, since=SINCE)
        assert not await watch.will_last(workload, before)
        clock.now += 59
        assert not await watch.will_last(workload, before)
        clock.now += 42
        assert await watch.will_last(workload, before) is lasts
        await api.close()

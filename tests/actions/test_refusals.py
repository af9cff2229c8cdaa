"""When refused pods end the waiting for them."""

from typing import Any

import pytest

from keptn_remedy_actions.cluster import DEPLOYMENT, Ref, refusals
from keptn_remedy_actions.cluster.api import ClusterApi
from keptn_remedy_actions.cluster.refusals import Refusals
from keptn_remedy_actions.cluster.settings import KubernetesSettings

QUOTA = 'pods "carts-x" is forbidden: exceeded quota'


def live(ready: int, there: int = 3, *, why: str = QUOTA) -> Any:
    counts = {"replicas": there, "readyReplicas": ready}
    failure = {"type": "ReplicaFailure", "status": "True", "message": why}
    return {"status": {**counts, "conditions": [failure] if why else []}}


@pytest.fixture
def watch() -> Refusals:
    """Of a Deployment, which needs no API server."""
    api = ClusterApi(KubernetesSettings(service_host="::1", service_port="1"))
    return Refusals(api, Ref(DEPLOYMENT, "shop", "carts"), since="2026-01-01T00:00:00Z")


async def test_refused_pods_end_it_once_nothing_moves(
    watch: Refusals, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert not await watch.persist(live(2))
    assert not await watch.persist(live(3))
    monkeypatch.setattr(refusals, "STALLED_SECONDS", 0)
    for why in ("", "Internal error occurred: etcd is restarting"):
        assert not await watch.persist(live(3, why=why))
    assert await watch.persist(live(3))


async def test_pods_that_are_starting_get_their_time(
    watch: Refusals, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An old pod that goes thereupon leaves its room to the refused one."""
    monkeypatch.setattr(refusals, "STALLED_SECONDS", 0)
    assert not await watch.persist(live(2))
    assert not await watch.persist(live(2))
    monkeypatch.setattr(refusals, "STARTING_SECONDS", 0)
    assert await watch.persist(live(2))

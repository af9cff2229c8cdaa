"""The cluster's times are compared with the API server's clock, not with ours."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from typing import Any

import pytest

from keptn_remedy.testing import HttpPeer, http_peer
from keptn_remedy_actions.cluster import DEPLOYMENT, STATEFUL_SET, Ref, Workload, stateful
from keptn_remedy_actions.cluster.api import ClusterApi, rfc3339
from keptn_remedy_actions.cluster.settings import KubernetesSettings
from tests.actions.test_cluster_api import kubeconfig

AHEAD = [timedelta(hours=-2), timedelta(), timedelta(hours=2)]
SET: dict[str, Any] = {
    "metadata": {"name": "carts", "uid": "1"},
    "spec": {"selector": {"matchLabels": {"app": "carts"}}},
    "status": {"updateRevision": "new"},
}


@pytest.fixture
async def peer() -> AsyncIterator[HttpPeer]:
    async with http_peer() as peer:
        yield peer


@pytest.fixture
async def api(peer: HttpPeer, tmp_path: Path) -> AsyncIterator[ClusterApi]:
    api = ClusterApi(KubernetesSettings(kubeconfig=kubeconfig(tmp_path, peer.url)))
    yield api
    await api.close()


@pytest.mark.parametrize("ahead", AHEAD, ids=str)
async def test_the_time_is_that_of_the_api_server(
    api: ClusterApi, peer: HttpPeer, ahead: timedelta
) -> None:
    theirs = datetime.now(UTC) + ahead
    peer.answer(json={}, headers={"Date": format_datetime(theirs, usegmt=True)})
    await api.get(Ref(DEPLOYMENT, "shop", "carts"))
    assert abs(api.now() - theirs) < timedelta(seconds=30)


async def test_without_a_usable_date_the_time_is_ours(api: ClusterApi, peer: HttpPeer) -> None:
    peer.answer(json={}, headers={"Date": "yesterday"})
    await api.get(Ref(DEPLOYMENT, "shop", "carts"))
    assert abs(api.now() - datetime.now(UTC)) < timedelta(seconds=30)


@pytest.mark.parametrize("ahead", AHEAD, ids=str)
@pytest.mark.parametrize(("unready_seconds", "deleted"), [(2, None), (600, "carts-0")])
async def test_a_pod_is_stuck_by_the_clock_that_stamped_it(
    api: ClusterApi, peer: HttpPeer, ahead: timedelta, unready_seconds: int, deleted: str | None
) -> None:
    theirs = datetime.now(UTC) + ahead
    since = rfc3339(theirs - timedelta(seconds=unready_seconds))
    pod = {
        "metadata": {
            "name": "carts-0",
            "uid": "2",
            "creationTimestamp": since,
            "ownerReferences": [{"uid": "1", "controller": True}],
        },
        "status": {"conditions": [{"type": "Ready", "status": "False"}]},
    }
    date = {"Date": format_datetime(theirs, usegmt=True)}
    peer.answer(json={"metadata": {}, "items": [pod]}, headers=date)
    peer.answer(json={}, headers=date)
    workload = Workload(Ref(STATEFUL_SET, "shop", "carts"), SET)
    assert await stateful.delete_stuck(api, workload) == deleted

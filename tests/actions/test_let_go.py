"""How our entries leave `managedFields`; tests/cluster shows what the API server makes of it."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from keptn_remedy.testing import HttpPeer, http_peer
from keptn_remedy_actions.cluster import DEPLOYMENT, Ref
from keptn_remedy_actions.scale import Scale
from tests.actions.driving import driven
from tests.actions.test_cluster_api import kubeconfig

CARTS = Ref(DEPLOYMENT, "shop", "carts")
REPLICAS: Any = {"f:spec": {"f:replicas": {}}}
LABELS: Any = {"f:metadata": {"f:labels": {}}}
# As releases since 1.22 note a write through the scale subresource.
OURS = {"manager": "keptn-remedy", "subresource": "scale", "fieldsV1": REPLICAS}
OF_OTHERS = {"manager": "helm", "operation": "Apply", "fieldsV1": REPLICAS}
OURS_ELSEWHERE = {"manager": "keptn-remedy", "fieldsV1": LABELS}


@pytest.fixture
async def peer() -> AsyncIterator[HttpPeer]:
    async with http_peer() as peer:
        yield peer


def live(*entries: Any) -> Any:
    return {"metadata": {"name": "carts", "managedFields": entries}}


async def let_go(peer: HttpPeer, folder: Path) -> str:
    """What is logged about it."""
    action = Scale(Scale.Settings(kubeconfig=kubeconfig(folder, peer.url)))
    async with driven(action) as drive:
        await action.let_go(drive.context, CARTS, "/spec/replicas")
    await action.close()
    return str(drive.logged.calls)


@pytest.mark.parametrize(
    ("entries", "removed"),
    [
        ((OF_OTHERS, OURS, OURS_ELSEWHERE), {"op": "remove", "path": "/metadata/managedFields/1"}),
        ((OURS,), {"op": "replace", "path": "/metadata/managedFields", "value": [{}]}),
    ],
)
async def test_only_our_entries_about_the_fields_go(
    peer: HttpPeer, tmp_path: Path, entries: Any, removed: Any
) -> None:
    peer.answer(json=live(*entries))
    peer.answer(json={})
    await let_go(peer, tmp_path)
    number = entries.index(OURS)
    tested = {"op": "test", "path": f"/metadata/managedFields/{number}", "value": OURS}
    assert peer.requests[1].json == [tested, removed]


async def test_nothing_is_written_where_we_own_nothing(peer: HttpPeer, tmp_path: Path) -> None:
    peer.answer(json=live(OF_OTHERS, OURS_ELSEWHERE))
    await let_go(peer, tmp_path)
    assert [request.method for request in peer.requests] == ["GET"]


async def test_entries_that_moved_are_looked_up_again(peer: HttpPeer, tmp_path: Path) -> None:
    peer.answer(json=live(OURS, OF_OTHERS))
    peer.answer(422, json={"message": "the test failed"})
    peer.answer(json=live(OF_OTHERS, OURS))
    peer.answer(json={})
    await let_go(peer, tmp_path)
    assert peer.requests[3].json[-1]["path"] == "/metadata/managedFields/1"


async def test_a_missing_right_is_logged_and_no_failure(peer: HttpPeer, tmp_path: Path) -> None:
    peer.answer(json=live(OURS))
    peer.answer(403, json={"message": "deployments is forbidden: User cannot patch"})
    assert "our entry stays in managedFields" in await let_go(peer, tmp_path)

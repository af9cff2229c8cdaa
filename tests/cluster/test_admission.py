"""Admission that changes or denies what the actions write; a gateway stands in for its webhooks."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from keptn_remedy import Denied, PermanentError
from keptn_remedy_actions.cluster.action import ClusterAction
from keptn_remedy_actions.cluster.compare_and_set import Altered
from keptn_remedy_actions.restart import Restart
from keptn_remedy_actions.rollback import Rollback
from keptn_remedy_actions.scale import Scale
from tests.cluster.driving import acting
from tests.cluster.gateway import Denial, Gateway
from tests.cluster.namespace import IMAGES, Namespace
from tests.cluster.updates import rolled_back, updated_twice

STAMP = "policy.example.com/admitted"
ACTIONS: list[tuple[type[ClusterAction], Any]] = [
    (Scale, "+1"),
    (Rollback, {}),
    (Restart, {}),
]


@pytest.fixture
async def gateway(cluster_kubeconfig: Path, tmp_path: Path) -> AsyncIterator[Gateway]:
    async with Gateway.before(cluster_kubeconfig, tmp_path) as gateway:
        yield gateway


class Stamps:
    """Stamps each new pod template with a number, like policies that note who or when."""

    def __init__(self) -> None:
        self.count = 0

    def __call__(self, request: web.BaseRequest, patch: Any) -> Any:
        if not isinstance(patch, list) or not any("template" in str(it["path"]) for it in patch):
            return patch
        self.count += 1
        path = "/spec/template/metadata/annotations"
        return [*patch, {"op": "add", "path": path, "value": {STAMP: str(self.count)}}]


def capping(most: int) -> Any:
    """A policy that caps what is written through the scale subresource."""

    def admit(request: web.BaseRequest, patch: Any) -> Any:
        if not request.path.endswith("/scale"):
            return patch
        return [
            {**it, "value": min(it["value"], most)} if it["op"] == "add" else it for it in patch
        ]

    return admit


@pytest.mark.parametrize("kind", ["deployment", "stateful_set", "daemon_set"])
async def test_a_template_that_a_policy_stamps_is_still_ours(
    namespace: Namespace, gateway: Gateway, kind: str
) -> None:
    carts = await updated_twice(namespace, kind)
    gateway.admit = Stamps()
    async with acting(Rollback, namespace, gateway.kubeconfig) as drive:
        plan = await drive.plan({})
        await drive.apply(plan)
        await drive.apply(plan)  # as after a crash
        note = {"metadata": {"annotations": {STAMP: "by somebody's update"}}}
        await carts.patch({"spec": {"template": note}})
        outcome = await drive.verify(plan)
        assert outcome.result == "pass", outcome
        assert await carts.image() == IMAGES[1]
        assert await drive.undo(plan) == "undone"
        assert await carts.image() == IMAGES[2]
        assert await drive.undo(plan) == "it is as it was before"


async def test_a_cap_on_the_scale_subresource_is_planned(
    namespace: Namespace, gateway: Gateway
) -> None:
    carts = await namespace.deployment(replicas=1)
    gateway.admit = capping(3)
    async with acting(Scale, namespace, gateway.kubeconfig) as drive:
        outcome = await drive.run(9)
    assert outcome.result == "warning"
    assert "1 -> 3, all ready" in outcome.message
    assert "asked for 9 replicas, but the cluster's admission makes it 3" in outcome.message
    assert await carts.ready() == 3


async def test_a_cap_that_takes_no_part_in_dry_runs_is_named(
    namespace: Namespace, gateway: Gateway
) -> None:
    await namespace.deployment(replicas=1)
    async with acting(Scale, namespace, gateway.kubeconfig) as drive:
        plan = await drive.plan(4)
        gateway.admit = capping(2)
        with pytest.raises(Altered, match="was set to 4, and the cluster's admission made it 2"):
            await drive.apply(plan)


async def test_a_policy_that_removes_the_order_to_restart_is_found_at_planning(
    namespace: Namespace, gateway: Gateway
) -> None:
    await namespace.deployment()
    gateway.admit = lambda _, __: {}
    async with acting(Restart, namespace, gateway.kubeconfig) as drive:
        with pytest.raises(Denied, match="admission would remove the restart of Deployment carts"):
            await drive.plan({})


@pytest.mark.parametrize(("action", "value"), ACTIONS)
async def test_a_denial_is_known_at_planning_and_nothing_is_written(
    namespace: Namespace, gateway: Gateway, action: type[ClusterAction], value: Any
) -> None:
    await updated_twice(namespace)
    text = 'admission webhook "no.example.com" denied the request: ' + "not on a Friday, " * 90
    gateway.admit = lambda _, __: Denial(400, {"kind": "Status", "message": text, "code": 400})
    async with acting(action, namespace, gateway.kubeconfig) as drive:
        with pytest.raises(PermanentError, match=r"denied the request: not on a Friday, .*…$"):
            await drive.plan(value)
    assert gateway.changes == 0


@pytest.mark.parametrize(("action", "value"), ACTIONS)
async def test_a_conflict_without_a_change_is_a_refusal(
    namespace: Namespace, gateway: Gateway, action: type[ClusterAction], value: Any
) -> None:
    await updated_twice(namespace)
    calls = []

    def deny(request: web.BaseRequest, _: Any) -> Denial:
        calls.append(request.path)
        return Denial(409, {"kind": "Status", "message": "no", "code": 409})

    async with acting(action, namespace, gateway.kubeconfig) as drive:
        plan = await drive.plan(value)
        gateway.admit = deny
        with pytest.raises(PermanentError, match="refused, as nobody changed it meanwhile: "):
            await drive.apply(plan)
        assert len(calls) <= 2
        with pytest.raises(PermanentError, match="refused, as nobody changed it meanwhile: "):
            await drive.plan(value)


async def test_the_new_number_of_a_revision_is_told(namespace: Namespace) -> None:
    await updated_twice(namespace)
    async with acting(Rollback, namespace) as drive:
        outcome = await rolled_back(drive)
        assert outcome.message.endswith("which is revision 4 now")
        said = "revision 2 became live again since, and is now revision 4"
        with pytest.raises(PermanentError, match=said):
            await drive.plan({"revision": 2})

"""The helpers of the tests on a cluster do what they say."""

import asyncio
from pathlib import Path

import aiohttp
import pytest

from tests.cluster.access import grant, kubeconfig_of, may, rights, service_account
from tests.cluster.client import ApiError, Cluster
from tests.cluster.control_plane import PrivateControlPlane
from tests.cluster.cutting_proxy import CuttingProxy
from tests.cluster.namespace import BROKEN_IMAGE, IMAGES, Namespace
from tests.cluster.reduced_crds import register_reduced_crds
from tests.cluster.workload import Workload, is_rolled_out, revision

READ_PODS = {"apiGroups": [""], "resources": ["pods"], "verbs": ["get", "list"]}


async def test_a_deployment_rolls_out_and_its_history_grows(namespace: Namespace) -> None:
    carts = await namespace.deployment(replicas=2)
    await carts.update(IMAGES[1])
    assert (await carts.ordered(), await carts.ready()) == (2, 2)
    assert await carts.image() == IMAGES[1]
    assert [revision(one) for one in await carts.history()] == [1, 2]


@pytest.mark.parametrize("kind", ["stateful_set", "daemon_set"])
async def test_the_other_kinds_roll_out_too(namespace: Namespace, kind: str) -> None:
    carts: Workload = await getattr(namespace, kind)()
    await carts.update(IMAGES[1])
    await carts.update(IMAGES[2])
    assert [revision(one) for one in await carts.history()] == [1, 2, 3]
    assert {pod["spec"]["containers"][0]["image"] for pod in await carts.pods()} == {IMAGES[2]}


async def test_a_broken_image_does_not_become_ready(namespace: Namespace) -> None:
    carts = await namespace.deployment(image=BROKEN_IMAGE, ready=False)

    async def why() -> set[str]:
        statuses = [pod["status"].get("containerStatuses", []) for pod in await carts.pods()]
        return {one["state"]["waiting"]["reason"] for every in statuses for one in every}

    await namespace.cluster.until(
        namespace.path("pods"), lambda it: "ImagePullBackOff" in str(it), within_seconds=60
    )
    assert await why() == {"ImagePullBackOff"}
    assert not is_rolled_out(await carts.live())


async def test_an_autoscaler_raises_the_replicas(namespace: Namespace) -> None:
    carts = await namespace.deployment()
    await namespace.autoscaler(carts, 3, 5)
    await carts.until(lambda it: it["spec"]["replicas"] == 3)


async def test_a_quota_holds_pods_back(namespace: Namespace) -> None:
    carts = await namespace.deployment()
    await namespace.quota(pods="1")
    await carts.scale(2)
    live = await carts.until(lambda it: "exceeded quota" in str(it["status"]["conditions"]))
    assert not is_rolled_out(live)


async def test_custom_resources_can_be_registered_twice_at_once(namespace: Namespace) -> None:
    cluster = namespace.cluster
    await asyncio.gather(register_reduced_crds(cluster), register_reduced_crds(cluster))
    carts = await namespace.rollout(replicas=2)
    await carts.scale(3)
    await carts.set_status({"HPAReplicas": 3, "readyReplicas": 3})
    await namespace.scaled_object(carts, 1, 5, paused="true")
    assert (await carts.ordered(), await carts.ready()) == (3, 3)


async def test_a_token_has_its_rights_and_no_others(namespace: Namespace, tmp_path: Path) -> None:
    account = await service_account(namespace, [READ_PODS])
    kubeconfig = await kubeconfig_of(namespace, account, tmp_path)
    async with Cluster.connected(kubeconfig) as as_account:
        assert await as_account.items(namespace.path("pods")) == []
        with pytest.raises(ApiError, match=r"403: deployments\.apps is forbidden"):
            await as_account.items(namespace.path("deployments"))
        assert {"get pods", "list pods"} <= await rights(as_account, namespace.name)
    assert await may(namespace, account, "get", "pods")
    assert not await may(namespace, account, "delete", "pods")


async def test_each_right_is_named(namespace: Namespace, tmp_path: Path) -> None:
    account = await service_account(namespace)
    scale = {"apiGroups": ["apps"], "resources": ["deployments/scale"], "verbs": ["patch"]}
    async with Cluster.connected(await kubeconfig_of(namespace, account, tmp_path)) as as_account:
        everybodys = await rights(as_account, namespace.name)
        await grant(namespace, account, [scale, {**READ_PODS, "resourceNames": ["carts"]}])
        granted = await rights(as_account, namespace.name) - everybodys
    assert granted == {"patch deployments.apps/scale", "get pods (carts)", "list pods (carts)"}


async def test_objects_outlive_a_kill_of_the_api_server(
    private_control_plane: PrivateControlPlane,
) -> None:
    async with Cluster.connected(private_control_plane.kubeconfig) as cluster:
        namespace = await Namespace.made(cluster)
        carts = await namespace.deployment(replicas=2)
        await private_control_plane.kill_api_server()
        with pytest.raises(aiohttp.ClientError):
            await carts.live()
        await private_control_plane.start()
        assert await carts.ready() == 2
        await carts.update(IMAGES[1])


async def test_a_cut_connection_breaks_until_it_is_mended(
    namespace: Namespace, tmp_path: Path
) -> None:
    before = namespace.cluster.kubeconfig
    async with (
        CuttingProxy.before(before, tmp_path) as proxy,
        Cluster.connected(proxy.kubeconfig) as cluster,
    ):
        assert await cluster.items(namespace.path("pods")) == []
        proxy.cut()
        with pytest.raises(aiohttp.ClientError):
            await cluster.items(namespace.path("pods"))
        proxy.mend()
        assert await cluster.items(namespace.path("pods")) == []


@pytest.mark.parametrize("connected_before", [True, False])
async def test_a_request_takes_effect_though_its_answer_is_lost(
    namespace: Namespace, tmp_path: Path, connected_before: bool
) -> None:
    carts = await namespace.deployment()
    async with (
        CuttingProxy.before(namespace.cluster.kubeconfig, tmp_path) as proxy,
        Cluster.connected(proxy.kubeconfig) as cluster,
    ):
        if connected_before:
            await cluster.get("/version")
        proxy.lose_answers()
        order = {"spec": {"replicas": 3}}
        path = namespace.path("deployments", "carts", "scale")
        scaling = asyncio.create_task(cluster.patch(path, order))
        await carts.until(lambda it: it["spec"]["replicas"] == 3)
        assert not scaling.done()
        proxy.cut()
        with pytest.raises(aiohttp.ClientError):
            await scaling

"""From a pod's point of view: the mounted token and certificate, and no kubeconfig."""

import base64
from pathlib import Path
from urllib.parse import urlsplit

import certifi
import pytest
import yaml

from keptn_remedy import PermanentError, TemporaryError
from keptn_remedy_actions.cluster import DEPLOYMENT, Ref
from keptn_remedy_actions.cluster.api import ClusterApi, Unreachable
from keptn_remedy_actions.cluster.settings import KubernetesSettings
from tests.cluster.access import kubeconfig_of, service_account
from tests.cluster.namespace import Namespace

WORLD_OUTSIDE = Path(certifi.where()).read_text()
READ = [{"apiGroups": ["apps"], "resources": ["deployments"], "verbs": ["get"]}]


async def mount(namespace: Namespace, folder: Path) -> None:
    """What the kubelet mounts into the pods of a service account."""
    config = yaml.safe_load((await kubeconfig_of(namespace, "remedy", folder)).read_text())
    authority = config["clusters"][0]["cluster"]["certificate-authority-data"]
    (folder / "ca.crt").write_bytes(base64.b64decode(authority))
    (folder / "token").write_text(config["users"][0]["user"]["token"])


def in_pod(namespace: Namespace, folder: Path) -> ClusterApi:
    server = urlsplit(namespace.cluster.server)
    settings = KubernetesSettings(service_host=str(server.hostname), service_port=str(server.port))
    return ClusterApi(settings, account=folder)


async def test_a_pod_reaches_its_cluster_past_any_proxy(
    namespace: Namespace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await service_account(namespace, READ)
    await namespace.deployment(ready=False)
    await mount(namespace, tmp_path)
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:9")
    api = in_pod(namespace, tmp_path)
    try:
        live = await api.get(Ref(DEPLOYMENT, namespace.name, "carts"))
    finally:
        await api.close()
        monkeypatch.undo()
    assert live["spec"]["replicas"] == 1


async def test_a_token_that_was_exchanged_is_used_at_the_next_attempt(
    namespace: Namespace, tmp_path: Path
) -> None:
    await service_account(namespace, READ)
    await namespace.deployment(ready=False)
    await mount(namespace, tmp_path)
    api, carts = in_pod(namespace, tmp_path), Ref(DEPLOYMENT, namespace.name, "carts")
    good = (tmp_path / "token").read_text()
    (tmp_path / "token").write_text("expired")
    try:
        with pytest.raises(TemporaryError):
            await api.get(carts)
        (tmp_path / "token").write_text(good)
        assert await api.get(carts)
    finally:
        await api.close()


async def test_a_cluster_that_is_not_the_mounted_one_is_not_trusted(
    namespace: Namespace, tmp_path: Path
) -> None:
    await service_account(namespace, READ)
    await mount(namespace, tmp_path)
    api, carts = in_pod(namespace, tmp_path), Ref(DEPLOYMENT, namespace.name, "carts")
    (tmp_path / "ca.crt").write_text("no certificate")
    with pytest.raises(PermanentError, match="can't connect to the cluster"):
        await api.get(carts)
    (tmp_path / "ca.crt").write_text(WORLD_OUTSIDE)
    with pytest.raises(Unreachable, match="its certificate isn't trusted"):
        await api.get(carts)
    await mount(namespace, tmp_path)  # the cluster's were replaced: no restart is needed
    with pytest.raises(TemporaryError, match="a moment ago"):
        await api.get(carts)
    await api.close()

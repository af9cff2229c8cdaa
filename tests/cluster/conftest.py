"""Fixtures for tests on a real API server; without one these are skipped."""

import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from tests.cluster.client import Cluster
from tests.cluster.control_plane import PrivateControlPlane
from tests.cluster.namespace import Namespace
from tests.cluster.reduced_crds import register_reduced_crds

NO_CLUSTER = "no cluster: run `make test-cluster`, or set CLUSTER_KUBECONFIG"
NO_CONTROL_PLANE = "no control plane to start and kill: set CLUSTER_CONTROL_PLANE"


@pytest.hookimpl(tryfirst=True)  # xdist reads its marks in the same hook
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    here = [item for item in items if item.path.is_relative_to(Path(__file__).parent)]
    for item in here:
        if "private_control_plane" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.xdist_group("private control plane"))
        if reason := _why_not():
            item.add_marker(pytest.mark.skip(reason))


def _why_not() -> str | None:
    if os.environ.get("WITHOUT_CLUSTER") == "1":
        return "no cluster, which WITHOUT_CLUSTER=1 permits"
    return None if os.environ.get("CLUSTER_KUBECONFIG") else NO_CLUSTER


@pytest.fixture(scope="session")
def cluster_kubeconfig() -> Path:
    """The kubeconfig of an administrator of the cluster."""
    return Path(os.environ["CLUSTER_KUBECONFIG"]).absolute()


@pytest_asyncio.fixture
async def cluster(cluster_kubeconfig: Path) -> AsyncIterator[Cluster]:
    """The cluster that CLUSTER_KUBECONFIG names, as its administrator."""
    async with Cluster.connected(cluster_kubeconfig) as cluster:
        yield cluster


@pytest_asyncio.fixture
async def namespace(cluster: Cluster) -> AsyncIterator[Namespace]:
    """A namespace for this test alone."""
    namespace = await Namespace.made(cluster)
    yield namespace
    await namespace.leave()


@pytest_asyncio.fixture
async def reduced_crds(cluster: Cluster) -> None:
    """Rollouts, Applications and ScaledObjects exist as kinds; no controller acts on them."""
    await register_reduced_crds(cluster)


@pytest_asyncio.fixture
async def private_control_plane(tmp_path: Path) -> AsyncIterator[PrivateControlPlane]:
    """A control plane to kill and start again; tests that have one share a worker."""
    scripts = os.environ.get("CLUSTER_CONTROL_PLANE")
    if not scripts:
        pytest.skip(NO_CONTROL_PLANE)
    async with PrivateControlPlane(Path(scripts), tmp_path) as plane:
        yield plane

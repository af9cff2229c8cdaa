"""Say which cluster `make test-cluster` is about to use, before anything on it is touched."""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path

import aiohttp
import yaml
from kubernetes.aio.config import ConfigException

from tests.cluster.client import ApiError, Cluster


def named() -> Path:
    """The file that KUBECONFIG names."""
    name = os.environ.get("KUBECONFIG")
    if not name:
        sys.exit("make test-cluster needs KUBECONFIG: the file that names the cluster to test on")
    path = Path(name)
    if not path.is_file():
        sys.exit(f"make test-cluster needs KUBECONFIG to name one file; there is no file {name}")
    return path


async def told(kubeconfig: Path, context: str) -> None:
    """Print which cluster it is, or exit if it doesn't answer."""
    async with Cluster.connected(kubeconfig) as cluster:
        sys.stdout.write(f"Testing on the cluster of context {context} at {cluster.server}\n")
        sys.stdout.flush()
        try:
            version = await cluster.get("/version")
        except (ApiError, aiohttp.ClientError, TimeoutError) as error:
            sys.exit(f"It does not answer: {error!r}")
    sys.stdout.write(f"It is Kubernetes {version['gitVersion']}\n")


def main() -> None:
    kubeconfig = named()
    try:
        context = yaml.safe_load(kubeconfig.read_text())["current-context"]
        asyncio.run(told(kubeconfig, context))
    except (ConfigException, yaml.YAMLError, TypeError, KeyError) as error:
        sys.exit(f"{kubeconfig} is no usable kubeconfig: {error}")


if __name__ == "__main__":
    main()

"""Actions on a test's namespace."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from keptn_remedy_actions.cluster.action import ClusterAction
from keptn_remedy_actions.cluster.settings import KubernetesSettings
from tests.actions.driving import Driven, driven
from tests.cluster.namespace import Namespace


def settings_for(
    namespace: Namespace, kubeconfig: Path | None = None, **others: Any
) -> KubernetesSettings:
    """Whatever the stage, this namespace is meant."""
    given = {"settle_seconds": 0.3, "namespace_template": namespace.name, **others}
    return KubernetesSettings(kubeconfig=str(kubeconfig or namespace.cluster.kubeconfig), **given)


@asynccontextmanager
async def acting(
    action: type[ClusterAction],
    namespace: Namespace,
    kubeconfig: Path | None = None,
    *,
    seconds: float = 60,
    **settings: Any,
) -> AsyncIterator[Driven]:
    """An action on the workloads of this namespace, as this user; its trigger means `carts`."""
    made = action(settings_for(namespace, kubeconfig, **settings))
    async with driven(made, seconds=seconds) as drive:
        try:
            yield drive
        finally:
            await made.close()

"""What scale, rollback and restart have in common: a cluster, patience, and time to look."""

from __future__ import annotations

import asyncio
import time
from abc import ABC
from collections.abc import AsyncIterator
from typing import Any, ClassVar

from keptn_remedy import Context, PlannedAction, Retry
from keptn_remedy_actions.cluster.api import ClusterApi
from keptn_remedy_actions.cluster.settings import KubernetesSettings

# Seconds between looks: soon at first, and no burden for the API server when it takes long.
FIRST_LOOK_SECONDS, LONGEST_LOOK_SECONDS, LOOK_GROWTH = 0.25, 3.0, 1.2
# Left of an execution's time when looking ends, so that what was seen can still be told.
_TO_TELL_SECONDS = 5.0


class ClusterAction(PlannedAction, ABC):
    """A planned action on a workload of a Kubernetes cluster."""

    env_prefix = "KUBERNETES_"
    # An API server that is being replaced is back within minutes; `deadline` is the real limit.
    retry = Retry(attempts=100, first=0.5, longest=10)

    Settings: ClassVar[Any] = KubernetesSettings

    settings: KubernetesSettings

    def __init__(self, settings: KubernetesSettings) -> None:
        super().__init__(settings)
        self.api = ClusterApi(settings)

    async def close(self) -> None:
        await self.api.close()


async def looks(context: Context) -> AsyncIterator[None]:
    """Again and again, at once for the first time, until it is time to tell what was seen."""
    pause = FIRST_LOOK_SECONDS
    while True:
        yield
        if time.time() + pause > context.deadline - _TO_TELL_SECONDS:
            return
        await asyncio.sleep(pause)
        pause = min(pause * LOOK_GROWTH, LONGEST_LOOK_SECONDS)

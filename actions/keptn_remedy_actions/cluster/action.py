"""What scale, rollback and restart have in common: a cluster, patience, and time to look."""

from __future__ import annotations

import asyncio
import time
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator
from typing import Any, ClassVar

from pydantic import BaseModel

from keptn_remedy import Context, Denied, Plan, PlannedAction, Retry
from keptn_remedy_actions.cluster import Object, Ref, events, meta_of
from keptn_remedy_actions.cluster.api import ClusterApi, NotFound
from keptn_remedy_actions.cluster.settings import KubernetesSettings

# Seconds between looks: soon at first, and no burden for the API server when it takes long.
FIRST_LOOK_SECONDS, LONGEST_LOOK_SECONDS, LOOK_GROWTH = 0.25, 3.0, 1.2
# Left of an execution's time when looking ends, so that what was seen can still be told.
_TO_TELL_SECONDS = 5.0

AS_BEFORE = "it is as it was before"


class Target(BaseModel):
    """What the memo of every plan holds: the workload; those of old plans lack its uid."""

    workload: Ref
    uid: str = ""


class ClusterAction(PlannedAction, ABC):
    """A planned action on a workload of a Kubernetes cluster; its memo extends `Target`."""

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

    async def undo(self, context: Context, plan: Plan) -> str | None:
        if not plan.changes:
            return "there was nothing to undo"
        target = Target.model_validate(plan.memo)
        live = await self.there(target.workload)
        try:
            check_same(target.workload, live, target.uid)
            is_put_back = await self.put_back(context, plan, live)
        except Denied as error:
            told = f"not undone: {error}"
            await events.warn(self.api, context, target.workload, live, "RemedyUndoRefused", told)
            raise
        # Also where it was put back before a crash, which may have left that untold.
        told = f"undone: {'; '.join(map(str, plan.changes))}" if is_put_back else AS_BEFORE
        await events.tell(self.api, context, target.workload, live, "RemedyUndone", told)
        return None if is_put_back else AS_BEFORE

    @abstractmethod
    async def put_back(self, context: Context, plan: Plan, live: Object) -> bool:
        """Undo, by compare-and-set, what was done to the live workload; False when it is so.

        Raises:
            Denied: it isn't as the plan left it, and was left alone.
        """

    async def there(self, ref: Ref) -> Object:
        """The object.

        Raises:
            Denied: there is none any more.
        """
        try:
            return await self.api.get(ref)
        except NotFound:
            raise Denied(f"{ref} is gone") from None


def check_same(ref: Ref, live: Object, uid: str) -> None:
    """Refuse a namesake that came after what was planned for."""
    if uid and meta_of(live).get("uid") != uid:
        raise Denied(f"{ref} was deleted and made anew since, so it is left alone")


async def looks(context: Context) -> AsyncIterator[None]:
    """Again and again, at once for the first time, until it is time to tell what was seen."""
    pause = FIRST_LOOK_SECONDS
    while True:
        yield
        if time.time() + pause > context.deadline - _TO_TELL_SECONDS:
            return
        await asyncio.sleep(pause)
        pause = min(pause * LOOK_GROWTH, LONGEST_LOOK_SECONDS)

"""The base of scale, rollback and restart: the connection, the retries, undo, and polling."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Sequence
from typing import Any, ClassVar

from aiohttp import ClientSession
from pydantic import BaseModel

from keptn_remedy import Context, Denied, Finding, Plan, PlannedAction, Retry
from keptn_remedy_actions.cluster import Object, Ref, kube_events, managers, meta_of, rights
from keptn_remedy_actions.cluster.api import FAILURES, ClusterApi, NotFound
from keptn_remedy_actions.cluster.settings import KubernetesSettings

# Seconds between looks: short at first, longer later to spare the API server.
FIRST_LOOK_SECONDS, LONGEST_LOOK_SECONDS, LOOK_GROWTH = 0.25, 3.0, 1.2
# Looking ends this long before the deadline, so that its result can still be reported.
_REPORT_SECONDS = 5.0

AS_BEFORE = "it is as it was before"


class Target(BaseModel):
    """What the memo of every plan has: the workload. Old plans lack its uid."""

    workload: Ref
    uid: str = ""


class ClusterAction(PlannedAction, ABC):
    """A planned action on a workload of a Kubernetes cluster; its memo extends `Target`."""

    env_prefix = "KUBERNETES_"
    # A step has some reads and two writes, each of which may wait for webhooks.
    timeout = 150.0
    # An API server that is being replaced is back within minutes; `deadline` is the real limit.
    retry = Retry(attempts=100, first=0.5, longest=10)

    Settings: ClassVar[Any] = KubernetesSettings

    settings: KubernetesSettings

    def __init__(self, settings: KubernetesSettings) -> None:
        super().__init__(settings)
        self.api = ClusterApi(settings)

    async def close(self) -> None:
        await self.api.close()

    async def diagnose(self, http: ClientSession, namespaces: Sequence[str]) -> Sequence[Finding]:
        template = self.settings.namespace_template
        return await rights.of_action(self.api, self.name, namespaces, template)

    async def undo(self, context: Context, plan: Plan) -> str | None:
        if not plan.changes:
            return "there was nothing to undo"
        target = Target.model_validate(plan.memo)
        live = await self.there(target.workload)
        try:
            check_same(target.workload, live, target.uid)
            is_put_back = await self.put_back(context, plan, live)
        except Denied as error:
            why = f"not undone: {error}"
            await kube_events.warn(
                self.api, context, target.workload, live, "RemedyUndoRefused", why
            )
            raise
        # Also where it was as before already: a crash may have come between the undo and its Event.
        message = f"undone: {'; '.join(map(str, plan.changes))}" if is_put_back else AS_BEFORE
        message = is_put_back if isinstance(is_put_back, str) else message
        await kube_events.record(self.api, context, target.workload, live, "RemedyUndone", message)
        return None if is_put_back is True else message

    def ownership_notes(self, ref: Ref, live: Object, *pointers: str) -> tuple[str, ...]:
        """A note where somebody's next server-side apply will conflict with what we change."""
        appliers = {managers.appliers_of(live, pointer) for pointer in pointers} - {""}
        if not appliers or self.settings.release_fields:
            return ()
        fields = ", ".join(pointer.rpartition("/")[2] for pointer in pointers)
        note = (
            f"until it is undone, keptn-remedy owns {fields} of {ref}; the next server-side apply"
            f" by {', '.join(sorted(appliers))} conflicts: take it back with --force-conflicts"
        )
        return (note,)

    async def let_go(self, context: Context, ref: Ref, *pointers: str) -> None:
        """Give up our ownership of fields; a failure is only logged."""
        try:
            await managers.let_go(self.api, ref, pointers)
        except FAILURES as error:
            context.log.info("our entry stays in managedFields", of=str(ref), error=str(error))

    @abstractmethod
    async def put_back(self, context: Context, plan: Plan, live: Object) -> bool | str:
        """Undo the plan by compare-and-set; False where the workload is as before already, a
        message where "undone" would not be the whole truth.

        Raises:
            Denied: it isn't as the plan left it, so it was left alone.
        """

    async def there(self, ref: Ref) -> Object:
        """The object.

        Raises:
            Denied: it is gone.
        """
        try:
            return await self.api.get(ref)
        except NotFound:
            raise Denied(f"{ref} is gone") from None


def check_same(ref: Ref, live: Object, uid: str) -> None:
    """Refuse another object of the same name.

    Raises:
        Denied: the object was deleted and recreated since the plan.
    """
    if uid and meta_of(live).get("uid") != uid:
        raise Denied(f"{ref} was deleted and recreated since, so it is left alone")


async def looks(context: Context) -> AsyncIterator[None]:
    """Yields when it is time to look: immediately, then at intervals until near the deadline."""
    pause = FIRST_LOOK_SECONDS
    while True:
        yield
        if pause > context.seconds_left - _REPORT_SECONDS:
            return
        await asyncio.sleep(pause)
        pause = min(pause * LOOK_GROWTH, LONGEST_LOOK_SECONDS)

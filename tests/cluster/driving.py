"""Actions on a test's namespace."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, TypeVar

from keptn_remedy import Plan, TemporaryError
from keptn_remedy_actions.cluster.action import ClusterAction
from keptn_remedy_actions.cluster.settings import KubernetesSettings
from tests.actions.driving import Driven, driven
from tests.cluster.namespace import Namespace

T = TypeVar("T")
HEALS_WITHIN_SECONDS = 20
LOOK_SECONDS = 0.05


class Patient(Driven):
    """Repeats steps after temporary errors, as the runner would: controllers need time."""

    async def plan(self, value: Any) -> Plan:
        planned = super().plan
        return await _healed(lambda: planned(value))

    async def apply(self, plan: Plan) -> None:
        applied = super().apply
        await _healed(lambda: applied(plan))

    async def undo(self, plan: Plan) -> str:
        undone = super().undo
        return await _healed(lambda: undone(plan))


async def _healed(step: Callable[[], Awaitable[T]]) -> T:
    async with asyncio.timeout(HEALS_WITHIN_SECONDS):
        while True:
            try:
                return await step()
            except TemporaryError:
                await asyncio.sleep(LOOK_SECONDS)


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
            yield Patient(drive.action, drive.event, drive.context, drive.logged)
        finally:
            await made.close()

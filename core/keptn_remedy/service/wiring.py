"""Running a provider: what is opened, in which order it begins, and what runs in it."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncGenerator, Callable, Coroutine
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

from keptn_remedy.events import Report
from keptn_remedy.guardrails.defaults import ReplicaSettings
from keptn_remedy.registry import Registry
from keptn_remedy.service.foundation import opened
from keptn_remedy.service.provider import Service
from keptn_remedy.service.tracing import receiving
from keptn_remedy.settings import KeptnSettings, Settings
from keptn_remedy.support import logs, output
from keptn_remedy.support.clock import Clock
from keptn_remedy.support.masking import Mask


@asynccontextmanager
async def running(
    config: Settings,
    actions: Registry,
    *,
    keptn: KeptnSettings | None = None,
    replicas: ReplicaSettings | None = None,
    clock: Clock | None = None,
    mask: Mask | None = None,
    show: Callable[[Report], None] | None = None,
    reload: asyncio.Event | None = None,
) -> AsyncGenerator[Service]:
    """A provider that serves until the context is left; what isn't drained by then is cancelled.

    In local mode `show` is called with each report. Setting `reload` has the policy file read at
    once.

    Raises:
        PolicyError: the policy is invalid, and the journal holds no earlier one.
        SourcesError: sources.yaml is invalid, in standalone mode.
        SettingsError: the operator token can't be read, or is too short or too long; or Keptn's
            API can't be called with these settings.
        JournalError, JournalUnusable: the journal can't be used.
        OSError: a port can't be bound (in use, or not permitted).
    """
    async with AsyncExitStack() as stack:
        base = await stack.enter_async_context(
            opened(
                config,
                actions,
                keptn=keptn or KeptnSettings(),
                replicas=replicas or ReplicaSettings(),
                clock=clock or Clock(),
                mask=mask or Mask(),
                show=show,
                reload=reload or asyncio.Event(),
            )
        )
        service = Service(base)
        stack.push_async_callback(service.sender.close)
        await service.pauses.refresh()  # before anything may act
        await service.pauses.look()
        await stack.enter_async_context(service.ops.serve())
        if base.peer.uniform:
            await base.peer.uniform.begin()
        if service.standalone:
            await stack.enter_async_context(service.standalone.listening())
        # Before anything else that may fail: what meets a closed port is lost (docs/keptn.md#k2).
        accept = receiving(service.intake.accept, base.traces)
        await stack.enter_async_context(base.peer.transport.receive(accept))
        stack.push_async_callback(service.outbox.close)
        stack.push_async_callback(service.engine.drain, 0)
        await stack.enter_async_context(_tasks(*service.loops()))
        yield service


@asynccontextmanager
async def _tasks(*loops: Coroutine[Any, Any, None]) -> AsyncGenerator[None]:
    """Run the loops until the context is left. One that fails ends the process."""
    tasks = [asyncio.create_task(loop) for loop in loops]
    for task in tasks:
        task.add_done_callback(_exit_when_dead)
    try:
        yield
    finally:
        for task in tasks:
            task.remove_done_callback(_exit_when_dead)
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def _exit_when_dead(task: asyncio.Task[None]) -> None:
    # Only the code of an action cancels a loop while it runs.
    if error := asyncio.CancelledError() if task.cancelled() else task.exception():
        # Kubernetes restarts us, and the journal holds everything that was accepted.
        logs.logger().critical("a loop of the service died", exc_info=error)
        output.flush()
        os._exit(1)

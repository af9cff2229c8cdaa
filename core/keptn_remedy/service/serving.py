"""The serving process: from reading its settings to the drain after a signal."""

from __future__ import annotations

import asyncio
import gc
import linecache
import os
import signal
from collections.abc import Callable, Coroutine, Mapping
from types import FrameType
from typing import Any

from keptn_remedy import registry, settings, settings_file
from keptn_remedy.events import Report
from keptn_remedy.guardrails.defaults import replica_settings
from keptn_remedy.http_server.limits import raise_descriptors
from keptn_remedy.journal import place_of
from keptn_remedy.service.foundation import installed_version, secrets_in
from keptn_remedy.service.provider import Service
from keptn_remedy.service.wiring import running
from keptn_remedy.settings import KeptnSettings, Settings
from keptn_remedy.support import logs, output, variables
from keptn_remedy.support.masking import Mask


async def serve(
    environ: Mapping[str, str],
    *,
    config: Settings | None = None,
    found: Mapping[str, str] | None = None,
    show: Callable[[Report], None] | None = None,
    ready: Callable[[Service], Coroutine[Any, Any, None]] | None = None,
) -> None:
    """Serve until SIGTERM or SIGINT, then drain. A second signal exits immediately, also while an
    action blocks the event loop; this is safe, because every commit is already on disk.

    `ready` is started once the service runs, and cancelled when it leaves.

    Raises:
        SettingsError, RegistryError: with one line per mistake.
        PolicyError, JournalError, JournalUnusable, OSError: as `running`.
    """
    raise_descriptors()
    found = found or variables.read(environ)
    with output.unblocked():
        await _serve(found, config or settings.load(environ), show, ready)


async def _serve(
    found: Mapping[str, str],
    config: Settings,
    show: Callable[[Report], None] | None,
    ready: Callable[[Service], Coroutine[Any, Any, None]] | None,
) -> None:
    reload = _on_hangup()
    keptn = variables.build(KeptnSettings, "", found)
    actions = registry.configured(found, config)
    settings_file.check(found, actions)
    mask = Mask(secrets_in(actions, keptn, config))
    logs.configure(config.log_level, config.log_format, config.source, mask)
    stopping = _on_signals()
    async with running(
        config,
        actions,
        keptn=keptn,
        replicas=replica_settings(found),
        mask=mask,
        show=show,
        reload=reload,
    ) as service:
        _log_start(service)
        _spare_the_collector()
        extra = asyncio.create_task(ready(service)) if ready else None
        with service.blocked_loop().watched():
            await stopping.wait()
            logs.logger().info("leaving", running=service.engine.dispatcher.running)
            if extra:
                extra.cancel()
            await service.drain()
    logs.logger().info("left")


def _on_signals() -> asyncio.Event:
    stopping, loop = asyncio.Event(), asyncio.get_running_loop()
    is_first = True

    def stop(number: int, frame: FrameType | None) -> None:
        nonlocal is_first
        if not is_first:
            os._exit(1)
        is_first = False
        loop.call_soon_threadsafe(stopping.set)

    # Not by the loop's own handlers: those run in the loop, which an action may block.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, stop)
    return stopping


def _on_hangup() -> asyncio.Event:
    reload = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, reload.set)
    return reload


def _spare_the_collector() -> None:
    """Keep objects of the start out of collections, and make those rarer: executions that run are
    many objects, and none of them garbage.
    """
    linecache.clearcache()  # holds the sources of which fields' descriptions were read
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 50)


def _log_start(service: Service) -> None:
    on = [entry.name for entry in service.registry.entries if entry.action]
    for entry in service.registry.entries:
        if entry.off:
            logs.logger().info("action is off", action=entry.name, reason=entry.off)
    for broken in service.registry.broken:
        logs.logger().error("an action can't be used", origin=broken.origin, reason=broken.why)
    logs.logger().info(
        "serving",
        version=installed_version(),
        event_port=service.event_port,
        **({"intake_port": service.standalone.listener.port} if service.standalone else {}),
        ops_port=service.ops_port,
        transport=service.settings.transport,
        journal=str(place_of(service.settings)),
        actions=on,
        dry_run=service.settings.dry_run,
        **service.policy.in_force,
    )

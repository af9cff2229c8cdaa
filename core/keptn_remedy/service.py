"""The composition root: the only module that knows all the others, and the service's life."""

from __future__ import annotations

import asyncio
import gc
import os
import signal
from collections.abc import AsyncGenerator, Callable, Coroutine, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from keptn_remedy import logs, registry, settings, upkeep, variables
from keptn_remedy.action import Outcome
from keptn_remedy.client import lent_session
from keptn_remedy.clock import Clock
from keptn_remedy.control_plane import ControlPlane
from keptn_remedy.dispatcher import CANCEL_SECONDS, Dispatcher
from keptn_remedy.events import ActionTriggered, Replies, Report
from keptn_remedy.intake import Intake
from keptn_remedy.journal import JournalError, insist
from keptn_remedy.journal.sqlite import SqliteJournal
from keptn_remedy.masking import Mask, secrets_of
from keptn_remedy.means import Means
from keptn_remedy.metrics import Metrics
from keptn_remedy.outbox import GRACE_SECONDS, Outbox
from keptn_remedy.registry import Registry
from keptn_remedy.runner import Runner
from keptn_remedy.settings import KeptnSettings, Settings
from keptn_remedy.targets import Targets
from keptn_remedy.transports.distributor import Distributor
from keptn_remedy.transports.http_receiver import HttpReceiver
from keptn_remedy.transports.local import Local
from keptn_remedy.web.models import Readiness
from keptn_remedy.web.ops import OpsPort

# Kept back of the drain for cancelling executions and for sending what they leave.
LEAVE_SECONDS = 5.0
FLUSH_SECONDS = 3.0
# For closing connections and actions, which have time-outs of their own.
CLOSE_SECONDS = 2.0


def installed_version() -> str:
    """The version of the installed distribution; `0` in a tree that isn't installed."""
    try:
        return version("keptn-remedy")
    except PackageNotFoundError:
        return "0"


@dataclass(slots=True)
class Service:
    """A running provider. `event_port` and `ops_port` are the ports it really listens on."""

    settings: Settings
    registry: Registry
    journal: SqliteJournal
    transport: Distributor | Local
    receiver: HttpReceiver
    dispatcher: Dispatcher
    outbox: Outbox
    ops: OpsPort
    runner: Runner
    starting: bool = True
    leaving: bool = False

    @property
    def event_port(self) -> int:
        return self.receiver.port

    @property
    def ops_port(self) -> int:
        return self.ops.port

    async def take_over(self, clock: Clock) -> None:
        """Take up what the last process left, then start executions and send reports, for ever."""
        await insist(lambda: self.journal.recover(GRACE_SECONDS), clock.sleep)
        await insist(self.runner.reserve_targets, clock.sleep)
        self.dispatcher.recover()
        self.starting = False
        # Not before: what starts now finds the targets of cut-off plans reserved.
        await asyncio.gather(self.outbox.run(), self.dispatcher.run())

    async def readiness(self) -> Readiness:
        """Whether we have started and can store events, and what someone should look at.

        Keptn is not asked: what it can't be told yet is kept, and ages in a metric of its own.
        """
        # The ops port opens first, to tell how the start goes.
        reasons = ["starting"] if self.starting else []
        reasons += ["leaving"] if self.leaving else []
        degraded: list[str] = []
        if failure := self.journal.failure:
            reasons.append(f"the journal can't be written: {failure}")
        try:
            parked = (await self.journal.backlog()).parked
        except JournalError as error:
            reasons.append(f"the journal can't be read: {error}")
        else:
            if parked:
                degraded.append(f"reports refused by Keptn for good: {parked}")
        return Readiness(ready=not reasons, reasons=reasons, degraded=degraded)

    async def drain(self) -> None:
        """Start nothing new, but store what arrives; let what runs end, and tell Keptn."""
        self.leaving = self.receiver.leaving = True
        self.dispatcher.stop_starting()
        seconds = self.settings.drain_seconds
        try:
            async with asyncio.timeout(seconds - min(CLOSE_SECONDS, seconds / 3)):
                await self.dispatcher.drain(
                    max(seconds - LEAVE_SECONDS, seconds / 3), min(CANCEL_SECONDS, seconds / 6)
                )
                # A Keptn that can't be reached is no reason to stay for the whole drain.
                async with asyncio.timeout(FLUSH_SECONDS):
                    await self.outbox.flush()
        except (TimeoutError, JournalError):
            logs.logger().warning("left before every report was sent; the next process sends them")


@asynccontextmanager
async def running(
    config: Settings,
    actions: Registry,
    *,
    keptn: KeptnSettings | None = None,
    clock: Clock | None = None,
    mask: Mask | None = None,
    show: Callable[[Report], None] = lambda report: None,
) -> AsyncGenerator[Service]:
    """A provider that serves until the context is left; leaving it drops what isn't drained.

    Raises:
        JournalUnusable: the journal can't be opened.
        OSError: a port is not to be had.
    """
    keptn, clock, mask = keptn or KeptnSettings(), clock or Clock(), mask or Mask()
    async with AsyncExitStack() as stack:
        metrics = Metrics(installed_version())
        journal = SqliteJournal.open(config.journal, now=clock.now, on_commit=metrics.note_commit)
        stack.push_async_callback(journal.close)
        stack.push_async_callback(actions.close)
        means = Means(
            journal=journal,
            http=await stack.enter_async_context(lent_session()),
            metrics=metrics,
            clock=clock,
            mask=mask,
            targets=Targets(),
            dry_run=config.dry_run,
        )
        receiver = HttpReceiver(config.host, config.port, metrics)
        transport = _transport(config, keptn, receiver, show)
        stack.push_async_callback(transport.close)
        control_plane = _control_plane(config, keptn)
        stack.push_async_callback(control_plane.close)
        service = _assembled(config, actions, journal, means, receiver, transport, control_plane)
        await stack.enter_async_context(service.ops.serve())
        # Before anything else that may fail: what meets a closed port is lost (contract §9.1).
        intake = Intake(actions, journal, service.dispatcher.offer)
        await stack.enter_async_context(transport.receive(intake.accept))
        stack.push_async_callback(service.outbox.close)
        stack.push_async_callback(service.dispatcher.drain, 0)
        await stack.enter_async_context(_tasks(*_loops(service, clock)))
        yield service


def _assembled(
    config: Settings,
    actions: Registry,
    journal: SqliteJournal,
    means: Means,
    receiver: HttpReceiver,
    transport: Distributor | Local,
    control_plane: ControlPlane,
) -> Service:
    clock, metrics = means.clock, means.metrics
    replies = Replies(config.source, config.mirror_outcome)
    outbox = Outbox(
        journal,
        transport.send,
        control_plane.counted,
        replies=replies,
        clock=clock,
        metrics=metrics,
    )
    runner = Runner(means, actions, replies, outbox.offer, config.error_log)
    dispatcher = Dispatcher(
        journal,
        runner.run,
        runner.announce,
        max_concurrent=config.max_concurrent,
        clock=clock,
        metrics=metrics,
    )
    ops = OpsPort(
        config.ops_host,
        config.ops_port,
        journal=journal,
        registry=actions,
        metrics=metrics,
        readiness=lambda: service.readiness(),  # noqa: PLW0108  made just below
        version=installed_version(),
    )
    service = Service(
        config, actions, journal, transport, receiver, dispatcher, outbox, ops, runner
    )
    return service


def _loops(service: Service, clock: Clock) -> list[Coroutine[Any, Any, None]]:
    """What goes on for as long as the service lives."""
    journal, outbox, dispatcher = service.journal, service.outbox, service.dispatcher
    days = service.settings.retention_days
    return [
        service.take_over(clock),
        dispatcher.announce_late_ones(),
        upkeep.watch(journal, clock, service.runner.replies, outbox.offer, dispatcher.recover),
        upkeep.prune(journal, clock, days),
    ]


async def serve(
    environ: Mapping[str, str],
    *,
    config: Settings | None = None,
    found: Mapping[str, str] | None = None,
    show: Callable[[Report], None] = lambda report: None,
    ready: Callable[[Service], Coroutine[Any, Any, None]] | None = None,
) -> None:
    """Serve until SIGTERM or SIGINT, then drain; a second signal exits at once.

    Raises:
        SettingsError, RegistryError: with one line per mistake.
        JournalUnusable, OSError: as `running`.
    """
    found = found or variables.read(environ)
    config = config or settings.load(environ)
    keptn = variables.build(KeptnSettings, "", found)
    actions = registry.discover(found, switched_on=config.actions, folder=config.actions_dir)
    mask = Mask(_secrets(actions, keptn))
    logs.configure(config.log_level, config.log_format, config.source, mask)
    stopping = _on_signals()
    async with running(config, actions, keptn=keptn, mask=mask, show=show) as service:
        _tell_start(service)
        _spare_the_collector()
        extra = asyncio.create_task(ready(service)) if ready else None
        await stopping.wait()
        logs.logger().info("leaving", running=service.dispatcher.running)
        if extra:
            extra.cancel()
        await service.drain()
    logs.logger().info("left")


async def run_once(
    actions: Registry, event: ActionTriggered, *, dry_run: bool, clock: Clock | None = None
) -> Outcome:
    """Run one trigger's action without Keptn, with a journal that is thrown away.

    Raises:
        LookupError: no switched-on action has that name.
    """
    entry = actions.find(event.action)
    if entry is None:
        raise LookupError(f"no action {event.action!r} is switched on")
    clock = clock or Clock()
    with TemporaryDirectory(prefix="keptn-remedy-") as folder:
        journal = SqliteJournal.open(Path(folder) / "journal.db", now=clock.now)
        try:
            async with lent_session() as http:
                means = Means(
                    journal=journal,
                    http=http,
                    metrics=Metrics(installed_version()),
                    clock=clock,
                    mask=Mask(_secrets(actions, KeptnSettings())),
                    targets=Targets(),
                    dry_run=dry_run,
                )
                runner = Runner(means, actions, Replies("keptn-remedy"), tell=lambda unsent: None)
                execution = await journal.accept(event, entry.name)
                if execution is None:
                    raise LookupError("an empty journal knows the trigger")
                return await runner.run(execution)
        finally:
            await journal.close()


def _secrets(actions: Registry, keptn: KeptnSettings) -> list[str]:
    holders = [entry.action.settings for entry in actions.entries if entry.action]
    return [secret for holder in (*holders, keptn) for secret in secrets_of(holder)]


def _transport(
    config: Settings,
    keptn: KeptnSettings,
    receiver: HttpReceiver,
    show: Callable[[Report], None],
) -> Distributor | Local:
    if config.transport == "local":
        return Local(receiver, show)
    return Distributor(receiver, str(config.event_url), _token(keptn))


def _control_plane(config: Settings, keptn: KeptnSettings) -> ControlPlane:
    return ControlPlane(config.control_plane_url, config.source, _token(keptn))


def _token(keptn: KeptnSettings) -> str | None:
    return keptn.keptn_api_token.get_secret_value() if keptn.keptn_api_token else None


@asynccontextmanager
async def _tasks(*loops: Coroutine[Any, Any, None]) -> AsyncGenerator[None]:
    """Run the loops until the context is left; one that dies takes the process along."""
    tasks = [asyncio.create_task(loop) for loop in loops]
    for task in tasks:
        task.add_done_callback(_exit_when_dead)
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def _exit_when_dead(task: asyncio.Task[None]) -> None:
    if not task.cancelled() and (error := task.exception()):
        # Kubernetes restarts us, and the journal knows where we were.
        logs.logger().critical("a loop of the service died", exc_info=error)
        os._exit(1)


def _on_signals() -> asyncio.Event:
    stopping = asyncio.Event()

    def stop() -> None:
        if stopping.is_set():
            os._exit(1)  # every commit is on disk already
        stopping.set()

    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop)
    return stopping


def _spare_the_collector() -> None:
    """What lives since start-up lives for good, and a wave of executions is no garbage."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 50)


def _tell_start(service: Service) -> None:
    on = [entry.name for entry in service.registry.entries if entry.action]
    for entry in service.registry.entries:
        if entry.off:
            logs.logger().info("action is off", action=entry.name, reason=entry.off)
    logs.logger().info(
        "serving",
        version=installed_version(),
        event_port=service.event_port,
        ops_port=service.ops_port,
        transport=service.settings.transport,
        journal=str(service.settings.journal),
        actions=on,
        dry_run=service.settings.dry_run,
    )

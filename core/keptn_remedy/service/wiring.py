"""The composition root: the only module that knows all the others."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncGenerator, Awaitable, Callable, Coroutine
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from aiohttp import ClientSession

from keptn_remedy.engine.reporting import Reporting
from keptn_remedy.engine.runtime import Runtime
from keptn_remedy.engine.value import Values
from keptn_remedy.events import Replies, Report
from keptn_remedy.guardrails import watching
from keptn_remedy.guardrails.defaults import ReplicaSettings
from keptn_remedy.guardrails.guard import Guard
from keptn_remedy.guardrails.matching import Rules
from keptn_remedy.guardrails.pauses import Pauses
from keptn_remedy.guardrails.policy_file import PolicyFile
from keptn_remedy.guardrails.stages import StageSizes
from keptn_remedy.http_client import lent_session
from keptn_remedy.journal import maintenance
from keptn_remedy.journal.sqlite import SqliteJournal
from keptn_remedy.keptn.aborted_tasks import AbortedTasks
from keptn_remedy.keptn.control_plane import ControlPlane
from keptn_remedy.keptn.intake import Intake
from keptn_remedy.keptn.missed_triggers import Filters, MissedTriggers
from keptn_remedy.keptn.outbox import Outbox
from keptn_remedy.keptn.transports.distributor import Distributor
from keptn_remedy.keptn.transports.http_receiver import HttpReceiver
from keptn_remedy.keptn.transports.local import Local
from keptn_remedy.ops.models import Readiness
from keptn_remedy.ops.operator_api import OperatorApi
from keptn_remedy.ops.operator_token import OperatorToken
from keptn_remedy.ops.port import OpsPort
from keptn_remedy.registry import Registry
from keptn_remedy.remediation.entry import value_of
from keptn_remedy.service.engine import Engine
from keptn_remedy.service.provider import Service
from keptn_remedy.settings import KeptnSettings, Settings
from keptn_remedy.support import logs
from keptn_remedy.support.clock import Clock
from keptn_remedy.support.masking import Mask, secrets_of
from keptn_remedy.support.metrics import Metrics


def installed_version() -> str:
    """The version of the installed distribution; `0` in a tree that isn't installed."""
    try:
        return version("keptn-remedy")
    except PackageNotFoundError:
        return "0"


@asynccontextmanager
async def running(
    config: Settings,
    actions: Registry,
    *,
    keptn: KeptnSettings | None = None,
    replicas: ReplicaSettings | None = None,
    clock: Clock | None = None,
    mask: Mask | None = None,
    show: Callable[[Report], None] = lambda report: None,
    reload: asyncio.Event | None = None,
) -> AsyncGenerator[Service]:
    """A provider that serves until the context is left; leaving it drops what isn't drained.

    Whoever sets `reload` has the policy file read at once.

    Raises:
        PolicyError: the policy is no good, and no earlier one is known.
        SettingsError: the operator token is no good.
        JournalError, JournalUnusable: the journal can't be used.
        OSError: a port is not to be had.
    """
    keptn, clock, mask = keptn or KeptnSettings(), clock or Clock(), mask or Mask()
    replicas = replicas or ReplicaSettings()
    async with AsyncExitStack() as stack:
        metrics = Metrics(installed_version())
        journal = SqliteJournal.open(config.journal, now=clock.now, on_commit=metrics.note_commit)
        stack.push_async_callback(journal.close)
        stack.push_async_callback(actions.close)
        control_plane = ControlPlane(config.control_plane_url, config.source, _token(keptn))
        stack.push_async_callback(control_plane.close)
        policy = PolicyFile(config.policy, journal, partial(replicas.rules, names=actions.names))
        await policy.begin()
        receiver = HttpReceiver(config.host, config.port, metrics)
        transport = _transport(config, keptn, receiver, show)
        stack.push_async_callback(transport.close)
        http = await stack.enter_async_context(lent_session())
        base = _Base(
            config=config,
            keptn=keptn,
            actions=actions,
            journal=journal,
            control_plane=control_plane,
            policy=policy,
            pauses=Pauses(journal, config.pause_file),
            receiver=receiver,
            transport=transport,
            clock=clock,
            metrics=metrics,
            mask=mask,
            reload=reload or asyncio.Event(),
            operator_token=await _operator_token(config, mask),
        )
        service = _assembled(base, http)
        await service.pauses.refresh()  # before anything may act
        await service.pauses.look()
        await stack.enter_async_context(service.ops.serve())
        # Before anything else that may fail: what meets a closed port is lost (contract §9.1).
        await stack.enter_async_context(transport.receive(service.intake.accept))
        stack.push_async_callback(service.outbox.close)
        stack.push_async_callback(service.engine.dispatcher.drain, 0)
        await stack.enter_async_context(_tasks(*_loops(service, clock)))
        yield service


@dataclass(frozen=True, slots=True, kw_only=True)
class _Base:
    """What the parts of the service stand on."""

    config: Settings
    keptn: KeptnSettings
    actions: Registry
    journal: SqliteJournal
    control_plane: ControlPlane
    policy: PolicyFile
    pauses: Pauses
    receiver: HttpReceiver
    transport: Distributor | Local
    clock: Clock
    metrics: Metrics
    mask: Mask
    reload: asyncio.Event
    operator_token: OperatorToken | None

    def rules(self) -> Rules:
        return self.policy.rules

    def engine(self, http: ClientSession, reporting: Reporting) -> Engine:
        fetch = self.control_plane.resource
        from_file = self.config.value_source == "remediation.yaml"
        runtime = Runtime(
            journal=self.journal,
            http=http,
            metrics=self.metrics,
            clock=self.clock,
            mask=self.mask,
            dry_run=self.config.dry_run,
        )
        return Engine.build(
            runtime,
            self.actions,
            self.guard(),
            Values(runtime, partial(value_of, fetch=fetch) if from_file else None),
            reporting,
            self.pauses,
            max_concurrent=self.config.max_concurrent,
        )

    def guard(self) -> Guard:
        return Guard(
            journal=self.journal,
            clock=self.clock,
            rules=self.rules,
            pause=self.pauses.current,
            services=StageSizes(self.control_plane.services, self.clock).of,
        )

    def outbox(self, replies: Replies) -> Outbox:
        return Outbox(
            self.journal,
            self.transport.send,
            self.control_plane.counted,
            replies=replies,
            clock=self.clock,
            metrics=self.metrics,
        )

    def sweep(self, replies: Replies, intake: Intake, outbox: Outbox) -> MissedTriggers:
        keptn = self.keptn
        return MissedTriggers(
            self.journal,
            self.control_plane,
            self.actions,
            self.clock,
            replies,
            filters=Filters(keptn.project_filter, keptn.stage_filter, keptn.service_filter),
            rules=self.rules,
            accept=intake.accept if self.config.sweep else None,
            tell=outbox.offer if self.config.answer_lost else None,
        )

    def ops(self, engine: Engine, readiness: Callable[[], Awaitable[Readiness]]) -> OpsPort:
        return OpsPort(
            self.config.ops_host,
            self.config.ops_port,
            journal=self.journal,
            registry=self.actions,
            metrics=self.metrics,
            readiness=readiness,
            pauses=self.pauses,
            mask=self.mask,
            version=installed_version(),
            operator_api=self._operator_api(engine),
        )

    def _operator_api(self, engine: Engine) -> OperatorApi | None:
        if (token := self.operator_token) is None:
            return None
        return OperatorApi(self.journal, token, self.pauses, engine.look, self.mask)


def _assembled(base: _Base, http: ClientSession) -> Service:
    config = base.config
    replies = Replies(config.source, config.mirror_outcome)
    outbox = base.outbox(replies)
    engine = base.engine(
        http,
        Reporting(replies, base.clock, outbox.offer, config.error_log, config.answer_aborted),
    )
    aborts = AbortedTasks(
        base.journal,
        base.control_plane,
        base.clock,
        engine.runner.abort,
        period_seconds=config.watch_seconds,
    )
    intake = Intake(
        base.actions, base.journal, base.rules, engine.dispatcher.offer, aborts.aborted_by
    )
    service = Service(
        settings=config,
        registry=base.actions,
        journal=base.journal,
        policy=base.policy,
        pauses=base.pauses,
        transport=base.transport,
        receiver=base.receiver,
        outbox=outbox,
        engine=engine,
        replies=replies,
        aborts=aborts,
        intake=intake,
        sweep=base.sweep(replies, intake, outbox),
        reload=base.reload,
        ops=base.ops(engine, lambda: service.readiness()),  # noqa: PLW0108  made just here
    )
    return service


def _loops(service: Service, clock: Clock) -> list[Coroutine[Any, Any, None]]:
    """What goes on for as long as the service lives."""
    journal, outbox, engine = service.journal, service.outbox, service.engine
    replies, metrics = service.replies, engine.runtime.metrics
    loops: list[Coroutine[Any, Any, None]] = [
        service.take_over(clock),
        *engine.loops(),
        watching.watch_pause_file(service.pauses, clock),
        maintenance.watch(journal, clock, replies, outbox.offer, engine.dispatcher.recover),
        watching.watch_policy(
            service.policy, journal, clock, replies, outbox.offer, metrics, service.reload
        ),
        maintenance.prune(journal, clock, service.settings.retention_days),
    ]
    if service.settings.transport != "local":  # else there is no Keptn to ask
        loops += [service.aborts.run(), service.sweep.run()]
    return loops


def secrets_in(actions: Registry, keptn: KeptnSettings) -> list[str]:
    """What must never be shown."""
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


async def _operator_token(config: Settings, mask: Mask) -> OperatorToken | None:
    if config.operator_token_file is None:
        return None
    token = OperatorToken(config.operator_token_file, mask)
    await token.begin()
    return token


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

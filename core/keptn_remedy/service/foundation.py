"""What every part of the service stands on, opened in order and closed in reverse."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass
from functools import partial
from importlib.metadata import PackageNotFoundError, version

from aiohttp import ClientSession

from keptn_remedy.events import Report
from keptn_remedy.guardrails.defaults import ReplicaSettings
from keptn_remedy.guardrails.matching import Rules
from keptn_remedy.guardrails.pauses import Pauses
from keptn_remedy.guardrails.policy import Policy
from keptn_remedy.guardrails.policy_file import PolicyFile
from keptn_remedy.http_client import lent_session
from keptn_remedy.journal import (
    Browsing,
    Journal,
    JournalError,
    maintenance,
    open_browsing,
    open_journal,
    place_of,
)
from keptn_remedy.keptn.peer import Peer, peer_of
from keptn_remedy.notifications.set_up import SetUp, read_channels
from keptn_remedy.ops.operator_token import OF_AGENTS, OperatorToken
from keptn_remedy.ops.operators import Operators
from keptn_remedy.registry import Registry
from keptn_remedy.service.otlp import otlp_traces
from keptn_remedy.settings import KeptnSettings, Settings
from keptn_remedy.support import logs
from keptn_remedy.support.clock import Clock, SteadyClock
from keptn_remedy.support.masking import Mask, secrets_of
from keptn_remedy.support.metrics import Metrics
from keptn_remedy.support.traces import Traces
from keptn_remedy.support.variables import SettingsError


@dataclass(frozen=True, slots=True, kw_only=True)
class Foundation:
    """What is opened before any part of the service is built."""

    settings: Settings
    keptn: KeptnSettings
    registry: Registry
    journal: Journal
    policy: PolicyFile
    channels: SetUp
    pauses: Pauses
    peer: Peer
    http: ClientSession
    operator_token: OperatorToken | None
    agent_token: OperatorToken | None
    operators: Operators | None
    browsing: Browsing
    clock: SteadyClock
    metrics: Metrics
    mask: Mask
    reload: asyncio.Event
    traces: Traces | None


@asynccontextmanager
async def opened(
    settings: Settings,
    registry: Registry,
    *,
    keptn: KeptnSettings,
    replicas: ReplicaSettings,
    clock: Clock,
    mask: Mask,
    show: Callable[[Report], None] | None,
    reload: asyncio.Event,
) -> AsyncGenerator[Foundation]:
    """The foundation, until the context is left. Raises as `wiring.running`."""
    async with AsyncExitStack() as stack:
        metrics, steady = Metrics(installed_version()), SteadyClock(clock)
        channels = read_channels(settings)
        journal = open_journal(
            place_of(settings),
            now=steady.now,
            on_commit=metrics.note_commit,
            is_told=bool(channels.entries),
            lease_seconds=settings.lease,
        )
        stack.push_async_callback(journal.close)
        browsing = open_browsing(place_of(settings), steady.now)
        stack.push_async_callback(browsing.close)
        steady.go_ahead(journal.clock_ahead)
        with suppress(JournalError):  # it is tried again before anything acts
            await maintenance.take_over(journal, steady, metrics.note_clock_step)
        stack.push_async_callback(registry.close)
        make = partial(_rules, replicas, channels, registry.names)
        policy = PolicyFile(settings.policy, journal, make)
        await policy.begin()
        wanted = registry.triggers, registry.subscriptions
        version = installed_version()
        traces = otlp_traces(settings.source, version) if settings.traces else None
        if traces:
            stack.push_async_callback(asyncio.to_thread, traces.close)
        peer = peer_of(settings, keptn, metrics, clock, show, mask, *wanted, version)
        stack.push_async_callback(peer.close)
        yield Foundation(
            settings=settings,
            keptn=keptn,
            registry=registry,
            journal=journal,
            policy=policy,
            channels=channels,
            pauses=Pauses(journal, settings.pause_file),
            peer=peer,
            http=await stack.enter_async_context(lent_session()),
            operator_token=await _operator_token(settings, mask),
            agent_token=await _agent_token(settings, mask),
            operators=await _operators(settings, steady),
            browsing=browsing,
            clock=steady,
            metrics=metrics,
            mask=mask,
            reload=reload,
            traces=traces,
        )


def _rules(
    replicas: ReplicaSettings,
    channels: SetUp,
    names: Mapping[str, tuple[str, ...]],
    policy: Policy | None,
) -> Rules:
    if policy and channels.entries:
        channels.routes.check(policy)
    elif policy and any(rule.notify for rule in policy.rules):
        logs.logger().warning("nobody is told, as REMEDY_CHANNELS is not set; rules say notify")
    return replicas.rules(policy, names=names)


async def _operator_token(settings: Settings, mask: Mask) -> OperatorToken | None:
    if settings.operator_token_file is None:
        return None
    token = OperatorToken(settings.operator_token_file, mask)
    await token.begin()
    return token


async def _agent_token(settings: Settings, mask: Mask) -> OperatorToken | None:
    if settings.agent_token_file is None:
        return None
    token = OperatorToken(settings.agent_token_file, mask, OF_AGENTS)
    if settings.operator_token_file:
        operators = OperatorToken(settings.operator_token_file, mask)
        if await token.read() == await operators.read():
            raise SettingsError([f"{OF_AGENTS}: agents must not have the operators' token"])
    await token.begin()
    return token


async def _operators(settings: Settings, clock: Clock) -> Operators | None:
    if settings.operators_file is None:
        return None
    operators = Operators(settings.operators_file, clock.monotonic)
    await operators.begin()
    return operators


def installed_version() -> str:
    """The version of the installed distribution; `0` in a tree that isn't installed."""
    try:
        return version("keptn-remedy")
    except PackageNotFoundError:
        return "0"


def secrets_in(registry: Registry, *settings: Settings | KeptnSettings) -> list[str]:
    """Every secret in the settings of the actions that are on, and in these."""
    holders = [entry.action.settings for entry in registry.entries if entry.action]
    return [secret for holder in (*holders, *settings) for secret in secrets_of(holder)]

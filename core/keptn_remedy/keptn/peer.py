"""Keptn as the service sees it: where events come from and reports go, and what can be asked."""

from __future__ import annotations

import socket
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

from keptn_remedy.events import TRIGGERED, Report, task_of
from keptn_remedy.keptn.api import ApiClient
from keptn_remedy.keptn.api.of_settings import api_of
from keptn_remedy.keptn.control_plane import ControlPlane
from keptn_remedy.keptn.control_plane.absent import NoControlPlane
from keptn_remedy.keptn.control_plane.error_log import ErrorLog
from keptn_remedy.keptn.control_plane.files import DIRECT, Files
from keptn_remedy.keptn.control_plane.over_http import HttpControlPlane
from keptn_remedy.keptn.dispatched import Dispatched
from keptn_remedy.keptn.subscriptions import Filters, Subscription
from keptn_remedy.keptn.transports import Transport
from keptn_remedy.keptn.transports.distributor import Distributor
from keptn_remedy.keptn.transports.http_receiver import HttpReceiver
from keptn_remedy.keptn.transports.inward import Inward
from keptn_remedy.keptn.transports.local import Local
from keptn_remedy.keptn.transports.poller import Poller
from keptn_remedy.keptn.transports.polling import Polling
from keptn_remedy.keptn.uniform import Integration, Uniform
from keptn_remedy.settings import KeptnSettings, Settings
from keptn_remedy.support.clock import Clock
from keptn_remedy.support.masking import Mask
from keptn_remedy.support.metrics import Metrics


@dataclass(frozen=True, slots=True)
class Peer:
    """A transport and a control plane that belong together, the API that both use, if any, and our
    registration, where no distributor takes care of that.
    """

    transport: Transport
    control_plane: ControlPlane
    api: ApiClient | None = None
    uniform: Uniform | None = None

    async def close(self) -> None:
        """Close the connections of both."""
        try:
            await self.transport.close()
        finally:
            await self.control_plane.close()


def peer_of(
    settings: Settings,
    keptn: KeptnSettings,
    metrics: Metrics,
    clock: Clock,
    show: Callable[[Report], None] | None,
    mask: Mask | None = None,
    types: Sequence[str] = (TRIGGERED,),
    others: Sequence[str] = (),
    version: str = "0",
) -> Peer:
    """The peer that `REMEDY_TRANSPORT` names, for triggers of these `types`, and for `others` that
    nobody answers. In local and standalone mode `show` is called with each report. `mask` hides
    what replaces a secret meanwhile.

    Raises:
        SettingsError: Keptn's API or NATS can't be called with these settings.
    """
    if settings.transport == "standalone":
        return Peer(Inward(show), NoControlPlane(settings.resources_dir))
    receiver = HttpReceiver(settings.host, settings.port, metrics, names=settings.host_names)
    if settings.transport == "local":
        return Peer(Local(receiver, show), NoControlPlane(settings.resources_dir))
    api = api_of(settings, keptn, clock, mask or Mask())
    control_plane = HttpControlPlane(
        api, settings.source, _files(keptn), types, exists=settings.keptn_dialect != "0.7"
    )
    if settings.transport in ("nats", "polling"):
        triggers = (*types, *(each for each in others if task_of(each) and each not in types))
        uniform = _uniform(settings, keptn, clock, api, triggers, version)
        error_log = ErrorLog(api, lambda: uniform.id)
        if settings.transport == "nats":
            direct = _direct_nats(settings, keptn, metrics, clock, error_log, types, others)
            return Peer(direct, control_plane, api, uniform)
        is_dispatched = Dispatched(control_plane, settings.source).has
        poller = Poller(
            api,
            lambda: uniform.subscriptions,
            is_dispatched,
            clock,
            metrics,
            interval_seconds=keptn.http_polling_interval,
        )
        polling = Polling(api, poller, error_log, is_verified=keptn.http_ssl_verify)
        return Peer(polling, control_plane, api, uniform)
    distributor = Distributor(receiver, str(settings.event_url), api.credentials)
    return Peer(distributor, control_plane, api)


def _files(keptn: KeptnSettings) -> Files | None:
    at = keptn.resource_service
    return Files(ApiClient(str(at)), DIRECT) if at else None


def _uniform(
    settings: Settings,
    keptn: KeptnSettings,
    clock: Clock,
    api: ApiClient,
    types: Sequence[str],
    version: str,
) -> Uniform:
    is_remote = settings.transport == "polling"
    integration = Integration(
        name=keptn.k8s_deployment_name or settings.source,
        namespace=keptn.k8s_namespace,
        hostname=keptn.k8s_node_name or socket.gethostname(),
        pod=keptn.k8s_pod_name,
        version=version,
        location=keptn.location or ("remote-execution-plane" if is_remote else "control-plane"),
    )
    filters = Filters.of(keptn)
    ours = [Subscription(each, filters) for each in types]
    return Uniform(api, integration, ours, clock, filters)


def _direct_nats(
    settings: Settings,
    keptn: KeptnSettings,
    metrics: Metrics,
    clock: Clock,
    error_log: ErrorLog,
    types: Sequence[str],
    others: Sequence[str],
) -> Transport:
    # Imported only where it is used: it takes 0.1 s and 27 MB.
    from keptn_remedy.keptn.transports.direct_nats import DirectNats
    from keptn_remedy.keptn.transports.nats_access import options_of
    from keptn_remedy.keptn.transports.nats_connection import NatsConnection
    from keptn_remedy.keptn.transports.nats_intake import NatsIntake

    options = partial(options_of, settings, keptn.pubsub_url)
    options()  # whatever is wrong with them now ends the start
    return DirectNats(
        NatsConnection(options, clock),
        NatsIntake(settings.nats_queue_name, settings.nats_stream, clock, metrics, types, others),
        error_log,
        settings.nats_stream,
    )

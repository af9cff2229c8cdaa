"""Keptn as the service sees it: where events come from and reports go, and what can be asked."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

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
from keptn_remedy.keptn.transports.local import Local
from keptn_remedy.keptn.transports.poller import Poller
from keptn_remedy.keptn.transports.polling import Polling
from keptn_remedy.settings import KeptnSettings, Settings
from keptn_remedy.support.clock import Clock
from keptn_remedy.support.masking import Mask
from keptn_remedy.support.metrics import Metrics


@dataclass(frozen=True, slots=True)
class Peer:
    """A transport and a control plane that belong together, and the API that both use, if any."""

    transport: Transport
    control_plane: ControlPlane
    api: ApiClient | None = None

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
) -> Peer:
    """The peer that `REMEDY_TRANSPORT` names, for triggers of these `types`, and for `others` that
    nobody answers. In local mode `show` is called with each report. `mask` hides what replaces a
    secret meanwhile.

    Raises:
        SettingsError: Keptn's API can't be called with these settings.
    """
    receiver = HttpReceiver(settings.host, settings.port, metrics, names=settings.host_names)
    if settings.transport == "local":
        return Peer(Local(receiver, show), NoControlPlane(settings.resources_dir))
    api = api_of(settings, keptn, clock, mask or Mask())
    control_plane = HttpControlPlane(
        api, settings.source, _files(keptn), types, exists=settings.keptn_dialect != "0.7"
    )
    if settings.transport == "nats":
        events = types, others
        return Peer(_direct_nats(settings, keptn, metrics, clock, api, *events), control_plane, api)
    if settings.transport == "polling":
        polled = (*types, *(each for each in others if task_of(each) and each not in types))
        return Peer(
            _polling(settings, keptn, metrics, clock, control_plane, api, polled),
            control_plane,
            api,
        )
    token = keptn.keptn_api_token.get_secret_value() if keptn.keptn_api_token else None
    distributor = Distributor(receiver, str(settings.event_url), token)
    return Peer(distributor, control_plane, api)


def _files(keptn: KeptnSettings) -> Files | None:
    at = keptn.resource_service
    return Files(ApiClient(str(at)), DIRECT) if at else None


def _direct_nats(
    settings: Settings,
    keptn: KeptnSettings,
    metrics: Metrics,
    clock: Clock,
    api: ApiClient,
    types: Sequence[str],
    others: Sequence[str],
) -> Transport:
    # Imported only where it is used: it takes 0.1 s and 27 MB.
    from keptn_remedy.keptn.transports.direct_nats import DirectNats
    from keptn_remedy.keptn.transports.nats_connection import NatsConnection, options_of
    from keptn_remedy.keptn.transports.nats_intake import NatsIntake

    return DirectNats(
        NatsConnection(options_of(settings, keptn.pubsub_url), clock),
        NatsIntake(settings.nats_queue_name, settings.nats_stream, clock, metrics, types, others),
        ErrorLog(api),
        settings.nats_stream,
    )


def _polling(
    settings: Settings,
    keptn: KeptnSettings,
    metrics: Metrics,
    clock: Clock,
    control_plane: ControlPlane,
    api: ApiClient,
    types: Sequence[str],
) -> Transport:
    filters = Filters(keptn.project_filter, keptn.stage_filter, keptn.service_filter)
    subscriptions = tuple(Subscription(each, filters) for each in types)
    poller = Poller(
        api,
        lambda: subscriptions,
        Dispatched(control_plane, settings.source).has,
        clock,
        metrics,
        interval_seconds=keptn.http_polling_interval,
    )
    return Polling(api, poller, is_verified=keptn.http_ssl_verify)

"""The notifier's parts, put together."""

from __future__ import annotations

from keptn_remedy.notifications.composing import Composer
from keptn_remedy.notifications.courier import Courier
from keptn_remedy.notifications.notifier import Notifier
from keptn_remedy.notifications.pace import Pace
from keptn_remedy.notifications.sender import Sender
from keptn_remedy.notifications.set_up import channel_of
from keptn_remedy.service.foundation import Foundation


def build_notifier(base: Foundation, sender: Sender) -> Notifier:
    """What tells people, on the channels of the settings."""
    page_url = str(base.settings.page_url) if base.settings.page_url else None
    couriers = [
        Courier(
            name,
            channel_of(entry, base.mask, base.settings.source, base.clock.now),
            Pace(entry.at_most),
            base.journal,
            sender,
            base.clock,
            base.metrics,
            page_url,
        )
        for name, entry in base.channels.entries.items()
    ]
    return Notifier(
        base.journal,
        base.journal.record,
        couriers,
        routes=base.channels.routes,
        policy=base.policy,
        pauses=base.pauses,
        composer=Composer(page_url),
        clock=base.clock,
        mask=base.mask,
        metrics=base.metrics,
    )

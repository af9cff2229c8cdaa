"""A harmless notification, by which a channel is tried."""

from __future__ import annotations

import time

from keptn_remedy.notifications.notification import Notification
from keptn_remedy.settings import Settings


def trial(config: Settings) -> Notification:
    """One that says that nothing has happened."""
    return Notification(
        key=f"trial {time.time()}",
        kind="trial",
        severity="info",
        title=f"Trial by {config.source}: nothing has happened",
        text="Sent by remedy notify test.",
        at=time.time(),
        link=str(config.page_url) if config.page_url else None,
    )

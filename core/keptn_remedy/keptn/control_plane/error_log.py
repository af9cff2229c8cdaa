"""Keptn's error log, for transports on which nobody stores an entry that is sent as an event."""

from __future__ import annotations

from collections.abc import Callable

import orjson

from keptn_remedy.events import Report
from keptn_remedy.keptn.api import ApiClient
from keptn_remedy.keptn.transports import Undelivered
from keptn_remedy.keptn.transports.answers import failure

PATH = "controlPlane/v1/log"
_OF_EVENT = ("shkeptncontext", "triggeredid", "gitcommitid", "time")
_OF_DATA = ("message", "task")


class ErrorLog:
    """Adds entries by `POST /controlPlane/v1/log` (docs/keptn.md#k26). `integration` tells the id
    of our registration, under which the Bridge shows them.
    """

    def __init__(
        self, api: ApiClient, integration: Callable[[], str | None] = lambda: None
    ) -> None:
        self._api = api
        self._integration = integration

    async def add(self, report: Report) -> None:
        """Store a `log.error` as an entry.

        Raises:
            Undelivered: it may be sent again. Blocked: so may every other one.
            Rejected: Keptn refuses it.
        """
        event = orjson.loads(report.body)
        entry = {name: event[name] for name in _OF_EVENT if name in event}
        entry |= {name: event["data"][name] for name in _OF_DATA if name in event["data"]}
        if integration := self._integration():
            entry["integrationid"] = integration
        reply = await self._api.post(PATH, orjson.dumps({"logs": [entry]}))
        reason = f"Keptn's error log {reply.reason}"
        if reply.status is None:
            raise Undelivered(reason, doubtful=reply.doubtful, retry_after=reply.retry_after)
        if not 200 <= reply.status < 300:
            raise failure(reply.status, reason, reply.retry_after)

    async def close(self) -> None:
        await self._api.close()

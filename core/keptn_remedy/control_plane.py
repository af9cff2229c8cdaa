"""Asking Keptn what it counted, through the API that the distributor's sidecar proxies."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import orjson
from aiohttp import ClientError, ClientSession, ClientTimeout, DummyCookieJar
from yarl import URL

from keptn_remedy.events import TRIGGERED, Report

ASK_SECONDS = 5.0
MAX_PAGES = 20
_LAST_PAGES = ("", "0", 0, None)


class ControlPlane:
    """Keptn's control plane as seen by an action provider that sends as `source`."""

    def __init__(self, api_url: str, source: str, token: str | None = None) -> None:
        self._api = URL(api_url)
        self._source = source
        self._headers = {"x-token": token} if token else {}
        self._session: ClientSession | None = None

    async def counted(self, report: Report) -> bool:
        """Whether Keptn has the report, or its task has ended; False where that can't be learnt.

        Keptn counts a report twice when it is sent twice (contract §4.2), so this is asked before
        a report is repeated whose delivery is in doubt.
        """
        event = orjson.loads(report.body)
        triggered_id, data = event.get("triggeredid"), event["data"]
        query = {"project": data["project"], "keptnContext": event["shkeptncontext"]}
        sequences = await self._pages(
            "controlPlane/v1/sequence-execution", query, "sequenceExecutions"
        )
        if sequences is not None:
            return any(self._has(s.get("status"), triggered_id, report) for s in sequences)
        if report.kind != "finished":
            return False
        query = {"project": data["project"], "stage": data["stage"], "eventID": triggered_id}
        listed = await self._pages(f"controlPlane/v1/event/triggered/{TRIGGERED}", query, "events")
        return listed is not None and not any(e.get("id") == triggered_id for e in listed)

    async def close(self) -> None:
        """Close the connections."""
        if self._session:
            await self._session.close()

    def _has(self, status: Any, triggered_id: str, report: Report) -> bool:
        status = status or {}
        if any(t.get("triggeredID") == triggered_id for t in status.get("previousTasks") or ()):
            return True
        current = status.get("currentTask") or {}
        return current.get("triggeredID") == triggered_id and any(
            e.get("source") == self._source and e.get("eventType") == report.type
            for e in current.get("events") or ()
        )

    async def _pages(
        self, path: str, query: Mapping[str, str], items: str
    ) -> list[dict[str, Any]] | None:
        """All items of a paged list; None unless every page was answered with 200."""
        found: list[dict[str, Any]] = []
        page: dict[str, str] = {}
        for _ in range(MAX_PAGES):
            answer = await self._get(path, {**query, **page})
            if answer is None:
                return None
            found += answer.get(items) or []
            if (key := answer.get("nextPageKey")) in _LAST_PAGES:
                return found
            page = {"nextPageKey": str(key)}
        return None

    async def _get(self, path: str, query: Mapping[str, str]) -> dict[str, Any] | None:
        if self._session is None:
            self._session = ClientSession(
                timeout=ClientTimeout(total=ASK_SECONDS), cookie_jar=DummyCookieJar()
            )
        url = (self._api / path).with_query(query)
        try:
            async with self._session.get(
                url, headers=self._headers, allow_redirects=False
            ) as answer:
                if answer.status != 200:
                    return None
                content = orjson.loads(await answer.read())
        except (ClientError, TimeoutError, OSError, ValueError):
            return None
        return content if isinstance(content, dict) else None

"""Telling a person: an alert of our own, which existing routes bring to whoever is on call."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final

from keptn_remedy.journal import Episode, Rung
from keptn_remedy.standalone.configuration import Configuration
from keptn_remedy.standalone.mapping import SELF
from keptn_remedy.support import logs
from keptn_remedy.support.clock import Clock
from keptn_remedy.support.metrics import Metrics

ALERT: Final = "RemedyGaveUp"
_MOST_CHARACTERS = 2_000


class Escalation:
    """Posts the alert to every Alertmanager of the episode's source. It ends by itself five minutes
    after the last post, so it is posted again each minute.
    """

    def __init__(self, configuration: Configuration, clock: Clock, metrics: Metrics) -> None:
        self._configuration = configuration
        self._clock = clock
        self._metrics = metrics

    async def tell(self, episode: Episode, rungs: Sequence[Rung]) -> bool:
        """Tell a person; False where nobody took it, and it must be tried again."""
        alert = _alert(episode, rungs)
        is_told = await self._post(episode, alert)
        self._metrics.escalations("told" if is_told else "failed").inc()
        if not is_told:
            logs.logger().error("nobody could be told", episode=episode.id, reason=episode.reason)
        return is_told

    async def end(self, episode: Episode) -> None:
        """End the alert, as the episode is closed."""
        ends_at: datetime = self._clock.utc()
        await self._post(episode, {**_alert(episode, ()), "endsAt": ends_at.isoformat()})

    async def _post(self, episode: Episode, alert: dict[str, Any]) -> bool:
        source = self._configuration.sources.get(episode.source)
        if source is None or source.alertmanagers is None:
            return False
        return await source.alertmanagers.post([alert])


def _alert(episode: Episode, rungs: Sequence[Rung]) -> dict[str, Any]:
    """The alert; its labels never change while the episode lasts."""
    tried = "\n".join(map(_line, rungs)) or "nothing was tried"
    return {
        "labels": {
            "alertname": ALERT,
            "project": episode.project,
            "stage": episode.stage,
            "service": episode.service,
            "episode": episode.id,
            SELF: "true",
        },
        "annotations": {
            "summary": f"{episode.name} of {episode.service}: {episode.reason}"[:_MOST_CHARACTERS],
            "description": tried[:_MOST_CHARACTERS],
        },
        "generatorURL": episode.url if episode.url.startswith(("http://", "https://")) else "",
    }


def _line(rung: Rung) -> str:
    verdict = f"{rung.verdict}: {rung.reason}" if rung.verdict else "not judged"
    return f"{rung.index + 1}. {rung.action}: {rung.message or 'no outcome'}; {verdict}"

"""Telling a person: by an alert of our own, which existing routes bring to whoever is on call, and
on channels.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import asdict, replace
from typing import Any, cast
from urllib.parse import quote

from keptn_remedy.action import JSON
from keptn_remedy.journal import Episode, Notice, Rung
from keptn_remedy.notifications.notification import Notification
from keptn_remedy.standalone.alertmanager import Alertmanagers
from keptn_remedy.standalone.configuration import Configuration
from keptn_remedy.standalone.sources import ALERTMANAGERS
from keptn_remedy.support import logs
from keptn_remedy.support.clock import Clock
from keptn_remedy.support.metrics import Metrics

MOST_TRIES = 12


class Escalation:
    """Tells a person of an episode, once. `page_url` is where the ops port is reached.

    On channels it is told by a notice, which is stored with the change that made it so. The alert
    is posted to every Alertmanager of the episode's source: it ends by itself five minutes after
    the last post, so it is posted again each minute.
    """

    def __init__(
        self, configuration: Configuration, clock: Clock, metrics: Metrics, page_url: str | None
    ) -> None:
        self._configuration = configuration
        self._clock = clock
        self._metrics = metrics
        self._page_url = page_url.rstrip("/") if page_url else None

    def notice(self, episode: Episode, rungs: Sequence[Rung], why: str) -> Notice | None:
        """What tells the channels that a person is needed; None where there are none."""
        told = self._worded(episode, rungs, why, self._clock.now())
        return _notice(f"escalated {episode.id}", told, self._channels)

    def over(self, episode: Episode, why: str) -> Notice | None:
        """What tells them that the episode is closed; None where there are none."""
        first = self._worded(episode, (), why, self._clock.now())
        told = replace(first, title=f"Closed: {episode.name} of {episode.service}", text=why)
        over = replace(told, stands=False, is_over=True)
        return _notice(f"escalated {episode.id} over", over, self._channels)

    async def tell(self, episode: Episode, rungs: Sequence[Rung]) -> bool:
        """Post the alert; False where nobody took it, and it must be tried again."""
        at = episode.escalated_at or self._clock.now()
        return await self._tell(episode, self._worded(episode, rungs, episode.reason or "", at))

    async def end(self, episode: Episode) -> None:
        """End the alert, as the episode is closed."""
        at = episode.escalated_at or self._clock.now()
        told = self._worded(episode, (), episode.reason or "", at)
        await self._post(episode, replace(told, stands=False, is_over=True))

    def left(self, episode: Episode, rungs: Sequence[Rung], why: str) -> Notice | None:
        """What tells channels of tries that were not undone; None where there are none."""
        return _notice(
            f"unverified {episode.id}", self._of_left(episode, rungs, why), self._channels
        )

    async def tell_left(self, episode: Episode, rungs: Sequence[Rung], why: str) -> bool:
        """Post an alert of the same, which ends by itself; False where nobody took it, and it must
        be tried again.
        """
        is_told = await self._tell(episode, self._of_left(episode, rungs, why))
        return is_told or self._alertmanagers(episode) is None

    def _of_left(self, episode: Episode, rungs: Sequence[Rung], why: str) -> Notification:
        told = self._worded(episode, rungs, why, self._clock.now())
        commands = [f"remedy undo {each.execution}" for each in rungs]
        return replace(
            told,
            key=f"unverified {episode.id}",
            kind="unverified",
            severity="warning",
            text="\n".join([told.text, *commands]) if len(commands) > 1 else told.text,
            stands=False,
            command=commands[-1],
        )

    async def _tell(self, episode: Episode, told: Notification) -> bool:
        is_told = await self._post(episode, told)
        self._metrics.escalations("told" if is_told else "failed").inc()
        if not is_told:
            logs.logger().error("nobody could be told", episode=episode.id, reason=told.title)
        return is_told

    async def _post(self, episode: Episode, told: Notification) -> bool:
        """True where it is told, or brought by channels alone."""
        alertmanagers = self._alertmanagers(episode)
        return bool(self._channels) if alertmanagers is None else await alertmanagers.tell(told)

    def _alertmanagers(self, episode: Episode) -> Alertmanagers | None:
        """Those of its source, where they are told."""
        source = self._configuration.sources.get(episode.source)
        is_told = source and ALERTMANAGERS in self._configuration.escalate_to
        return source.alertmanagers if source and is_told else None

    @property
    def _channels(self) -> list[str]:
        return [each for each in self._configuration.escalate_to if each != ALERTMANAGERS]

    def _worded(self, episode: Episode, rungs: Sequence[Rung], why: str, at: float) -> Notification:
        latest = rungs[-MOST_TRIES:]
        left_out = len(rungs) - len(latest)
        earlier = [f"({left_out} earlier tries)"] if left_out else []
        tried = [*earlier, *map(_line, latest)] or ["Nothing was tried."]
        page = self._page_url
        link = f"{page}/problems/{quote(episode.id, safe='')}" if page else None
        own = episode.url if episode.url.startswith(("http://", "https://")) else None
        return Notification(
            # Nothing in it changes while the episode lasts: by it the end is known.
            key=f"escalation {episode.id}",
            kind="escalation",
            severity="critical",
            title=f"{episode.name} of {episode.service}: {why}",
            text="\n".join([*tried, *([f"Alert: {own}"] if own and page else [])]),
            facts={
                "project": episode.project,
                "stage": episode.stage,
                "service": episode.service,
                "problem": episode.name,
                "source": episode.source,
                "episode": episode.id,
            },
            at=at,
            stands=True,
            link=link or own,
            command=f"remedy episodes show {episode.id}",
        )


def _notice(key: str, told: Notification, channels: Collection[str]) -> Notice | None:
    if not channels:
        return None
    about = {"notification": asdict(told), "channels": list(channels)}
    return Notice(key, "ready", None, told.at, cast("dict[str, JSON]", about))


def _line(rung: Rung) -> str:
    verdict = f"{rung.verdict}: {rung.reason}" if rung.verdict else "not judged"
    said = f"{rung.index + 1}. {rung.action}: {rung.message or 'no outcome'}; {verdict}"
    return f"{said}{_numbers(rung)}"


def _numbers(rung: Rung) -> str:
    """What the verdict rests on."""
    found: dict[str, Any] = dict(rung.numbers or {})
    looks = ", ".join(
        f"{name} {found[name]}" for name in ("good", "bad", "unknown") if name in found
    )
    before = "" if rung.start_value is None else f"{rung.start_value:.6g} before"
    said = "; ".join(filter(None, (before, f"looks: {looks}" if looks else "")))
    return f" ({said})" if said else ""

"""Episodes for commands: from the journal, or from a running service over HTTP."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from typing import Any, Protocol

from keptn_remedy.cli.remote_values import checked
from keptn_remedy.cli.server import RemoteService, ServerError, segment
from keptn_remedy.journal import MOST_IGNORED, Episodes
from keptn_remedy.ops.episode_models import (
    EpisodeDetail,
    EpisodeInfo,
    EpisodesPage,
    IgnoredInfo,
    IgnoredPage,
    ScoreInfo,
    Scores,
)

DAY_SECONDS = 86_400.0
PAGE = 500


class EpisodeDesk(Protocol):
    """What commands read of episodes."""

    async def episodes(self, *, is_open: bool, limit: int) -> list[EpisodeInfo]:
        """The newest first; with `is_open` only those that are open."""
        ...

    async def episode(self, episode_id: str) -> EpisodeDetail | None:
        """One, whole, by its id or an unambiguous beginning of it."""
        ...

    async def ignored(self, limit: int) -> list[IgnoredInfo]:
        """Alerts that opened no episode, the newest first."""
        ...

    async def scores(self, days: int) -> list[ScoreInfo]:
        """What became of the tries of so many days."""
        ...

    async def close(self) -> None: ...


class JournalEpisodes:
    """The episodes of a journal."""

    def __init__(self, journal: Episodes, close: Callable[[], Awaitable[None]]) -> None:
        self._journal = journal
        self._close = close

    async def episodes(self, *, is_open: bool, limit: int) -> list[EpisodeInfo]:
        found = await self._journal.episodes(is_open=is_open or None, limit=limit)
        return list(map(EpisodeInfo.of, found))

    async def episode(self, episode_id: str) -> EpisodeDetail | None:
        found = await self._journal.whole_episode(episode_id)
        return EpisodeDetail.of_whole(found) if found else None

    async def ignored(self, limit: int) -> list[IgnoredInfo]:
        return list(map(IgnoredInfo.of, await self._journal.ignored(limit)))

    async def scores(self, days: int) -> list[ScoreInfo]:
        return list(map(ScoreInfo.of, await self._journal.scores(time.time() - days * DAY_SECONDS)))

    async def close(self) -> None:
        await self._close()


class RemoteEpisodes:
    """The episodes of a running service. Every method raises `ServerError` where it can't be asked,
    or runs beside Keptn and has none.
    """

    def __init__(self, server: RemoteService) -> None:
        self._server = server

    async def episodes(self, *, is_open: bool, limit: int) -> list[EpisodeInfo]:
        state = "open" if is_open else None
        found, before = list[EpisodeInfo](), None
        while len(found) < limit:
            size = min(PAGE, limit - len(found))
            said = await self._get("/api/episodes", state=state, limit=size, before=before)
            page = self._server.understood(lambda answer: checked(EpisodesPage, answer), said)
            found += page.episodes
            if (before := page.next) is None:
                break
        return found

    async def episode(self, episode_id: str) -> EpisodeDetail | None:
        try:
            said = await self._server.get(f"/api/episodes/{segment(episode_id)}")
        except ServerError as error:
            if error.status != 404:
                raise
            await self._get("/api/episodes", limit=1)
            return None
        return self._server.understood(lambda answer: checked(EpisodeDetail, answer), said)

    async def ignored(self, limit: int) -> list[IgnoredInfo]:
        said = await self._get("/api/ignored-alerts", limit=min(limit, MOST_IGNORED))
        return self._server.understood(lambda answer: checked(IgnoredPage, answer), said).ignored

    async def scores(self, days: int) -> list[ScoreInfo]:
        said = await self._get("/api/scores", days=days)
        return self._server.understood(lambda answer: checked(Scores, answer), said).scores

    async def close(self) -> None:
        await self._server.close()

    async def _get(self, path: str, **query: object) -> Any:
        try:
            return await self._server.get(path, **query)
        except ServerError as error:
            if error.status != 404:
                raise
            why = "has no episodes: it does not run with --standalone, or is of an older release"
            raise ServerError(f"{self._server.url} {why}", 404) from None

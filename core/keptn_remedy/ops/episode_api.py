"""The part of the ops port that shows episodes, in standalone mode."""

from __future__ import annotations

import asyncio
import time

from aiohttp import web

from keptn_remedy.journal import MOST_IGNORED, Episodes
from keptn_remedy.ops.answers import HttpError, json_answer
from keptn_remedy.ops.episode_models import (
    MOST_DAYS,
    USUAL_DAYS,
    EpisodeDetail,
    EpisodeInfo,
    EpisodesPage,
    IgnoredInfo,
    IgnoredPage,
    ScoreInfo,
    Scores,
)
from keptn_remedy.support.masking import Mask

MOST, USUAL = 500, 100
DAY_SECONDS = 86_400.0


class EpisodeApi:
    """Answers `/api/episodes`, `/api/episodes/{id}`, `/api/ignored-alerts` and `/api/scores`."""

    def __init__(self, journal: Episodes, mask: Mask) -> None:
        self._journal = journal
        self._mask = mask

    def add_to(self, router: web.UrlDispatcher) -> None:
        """Add the routes."""
        router.add_get("/api/episodes", self._episodes)
        router.add_get("/api/episodes/{id:[^/]+}", self._episode)
        router.add_get("/api/ignored-alerts", self._ignored)
        router.add_get("/api/scores", self._scores)

    async def _episodes(self, request: web.Request) -> web.Response:
        state = request.query.get("state")
        if state not in (None, "open", "closed"):
            raise HttpError(400, "state must be open or closed")
        limit = _number(request, "limit", MOST) or USUAL
        found = await self._journal.episodes(
            is_open=None if state is None else state == "open",
            before=_number(request, "before", 2**53),
            limit=limit,
        )
        page = EpisodesPage(
            episodes=[EpisodeInfo.of(each) for each in found],
            next=found[-1].handle if len(found) == limit else None,
        )
        return await asyncio.to_thread(lambda: json_answer(page, self._mask))

    async def _episode(self, request: web.Request) -> web.Response:
        found = await self._journal.whole_episode(request.match_info["id"])
        if found is None:
            raise HttpError(404, "there is no such episode")
        return await asyncio.to_thread(
            lambda: json_answer(EpisodeDetail.of_whole(found), self._mask)
        )

    async def _ignored(self, request: web.Request) -> web.Response:
        found = await self._journal.ignored(_number(request, "limit", MOST_IGNORED) or USUAL)
        page = IgnoredPage(ignored=list(map(IgnoredInfo.of, found)))
        return await asyncio.to_thread(lambda: json_answer(page, self._mask))

    async def _scores(self, request: web.Request) -> web.Response:
        days = _number(request, "days", MOST_DAYS) or USUAL_DAYS
        found = await self._journal.scores(time.time() - days * DAY_SECONDS)
        scores = Scores(scores=list(map(ScoreInfo.of, found)))
        return await asyncio.to_thread(lambda: json_answer(scores, self._mask))


def _number(request: web.Request, name: str, most: int) -> int | None:
    text = request.query.get(name)
    if text is None:
        return None
    if not (text.isascii() and text.isdigit() and len(text) < 20 and 1 <= int(text) <= most):
        raise HttpError(400, f"{name} must be a whole number from 1 to {most}")
    return int(text)

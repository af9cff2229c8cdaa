"""The routes that read executions, what they wait for, and the reports that Keptn is owed."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import datetime
from typing import get_args

from aiohttp import web
from pydantic import BaseModel

from keptn_remedy.journal import Criteria, Cursor, Record, Records, State
from keptn_remedy.ops import models, open_models
from keptn_remedy.ops.answers import HttpError, json_answer
from keptn_remedy.support.masking import Mask

MAX_PAGE, DEFAULT_PAGE = 500, 100
_TEXTS = ("project", "stage", "service", "action", "result", "context")


class ExecutionsApi:
    """Reads the journal for the ops port. Large answers are made and sent a few at a time, away
    from the event loop, for which `large` counts.
    """

    def __init__(self, journal: Records, mask: Mask, large: asyncio.Semaphore) -> None:
        self._journal = journal
        self._mask = mask
        self._large = large

    def add_to(self, router: web.UrlDispatcher) -> None:
        """Add the routes."""
        router.add_get("/api/executions", self._executions)
        router.add_get("/api/executions/{id:[^/]+}", self._execution)
        router.add_get("/api/feed", self._feed)
        router.add_get("/api/ids", self._ids)
        router.add_get("/api/waiting", self._waiting)
        router.add_get("/api/reports", self._reports)

    async def _executions(self, request: web.Request) -> web.StreamResponse:
        criteria, limit = _criteria(request), _limit(request)
        before = _number(request, "before", 0, 2**53)
        async with self._large:
            cursor = None if before is None else Cursor(before)
            found = await self._journal.search(criteria, before=cursor, limit=limit)
            return await self._send_page(request, found, limit)

    async def _feed(self, request: web.Request) -> web.StreamResponse:
        after, limit = _number(request, "after", 0, 2**53), _limit(request)
        async with self._large:
            found = await self._journal.records_after(Cursor(after or 0), limit)
            return await self._send_page(request, found, limit)

    async def _send_page(
        self, request: web.Request, found: Sequence[Record], limit: int
    ) -> web.StreamResponse:
        asking = await self._journal.asking(found)
        types = await self._journal.event_types([record.id for record in found])

        def page() -> models.Executions:
            listed = [
                models.Execution.of(r, asks=r.id in asking, event_type=types.get(r.id))
                for r in found
            ]
            following = found[-1].cursor if len(found) == limit else None
            return models.Executions(executions=listed, next=following)

        return await self._sent(request, page)

    async def _execution(self, request: web.Request) -> web.StreamResponse:
        async with self._large:
            record = await self._journal.record(request.match_info["id"])
            if record is None:
                raise HttpError(404, "there is no such execution")
            return await self._sent(request, lambda: models.ExecutionDetail.of(record))

    async def _ids(self, request: web.Request) -> web.Response:
        found = await self._journal.ids_from(request.query.get("prefix", ""), _limit(request))
        return json_answer(open_models.Ids(ids=found))

    async def _waiting(self, request: web.Request) -> web.StreamResponse:
        async with self._large:
            waiting = await self._journal.waiting()
            return await self._sent(request, lambda: open_models.Waiting.of(waiting))

    async def _reports(self, request: web.Request) -> web.StreamResponse:
        async with self._large:
            owed = await self._journal.owed_reports(_limit(request))

            def reports() -> open_models.Reports:
                return open_models.Reports(reports=list(map(open_models.OwedReport.of, owed)))

            return await self._sent(request, reports)

    async def _sent(
        self, request: web.Request, made: Callable[[], BaseModel]
    ) -> web.StreamResponse:
        answer = await asyncio.to_thread(lambda: json_answer(made(), self._mask))
        return await sent(request, answer)


async def sent(request: web.Request, answer: web.Response) -> web.Response:
    """The answer, once the client has taken it."""
    with suppress(ConnectionError):
        await answer.prepare(request)
        await answer.write_eof()
    return answer


def _criteria(request: web.Request) -> Criteria:
    query = request.query
    state: State | None = None
    if (given := query.get("state")) is not None:
        known: tuple[State, ...] = get_args(State)
        state = next((each for each in known if each == given), None)
        if state is None:
            raise HttpError(400, f"state must be one of {', '.join(known)}")
    if query.get("waiting", "approval") != "approval":
        raise HttpError(400, "waiting must be approval")
    texts = {name: query.get(name) for name in _TEXTS}
    return Criteria(state=state, asking="waiting" in query, since=_since(request), **texts)


def _since(request: web.Request) -> float | None:
    text = request.query.get("since")
    if text is None:
        return None
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        moment = None
    if moment is None or moment.tzinfo is None:
        raise HttpError(400, "since must be a time with its zone, such as 2026-03-02T14:00:00Z")
    return moment.timestamp()


def _limit(request: web.Request) -> int:
    return _number(request, "limit", 1, MAX_PAGE) or DEFAULT_PAGE


def _number(request: web.Request, name: str, least: int, most: int) -> int | None:
    text = request.query.get(name)
    if text is None:
        return None
    if not (text.isascii() and text.isdigit() and len(text) < 20 and least <= int(text) <= most):
        raise HttpError(400, f"{name} must be a whole number from {least} to {most}")
    return int(text)

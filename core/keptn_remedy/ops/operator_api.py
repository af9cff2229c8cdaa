"""The routes that order: approve, deny, undo, pause, resume. Each order is logged, also refused."""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial
from typing import NoReturn

import orjson
from aiohttp import web
from pydantic import ValidationError

from keptn_remedy.guardrails.pauses import Pauses, still_paused_words, unapprovable_words
from keptn_remedy.journal import Journal, JournalError, Verdict, WholeRecord
from keptn_remedy.ops import models
from keptn_remedy.ops.answers import Handler, Mistake, json_answer
from keptn_remedy.ops.operator_token import OperatorToken
from keptn_remedy.support import logs, validation
from keptn_remedy.support.masking import Mask
from keptn_remedy.support.variables import SettingsError

MAX_BODY_BYTES = 16 * 1024
MOST, WITHIN_SECONDS = 5, 10.0
MAX_LOGGED_CHARACTERS = 200
EXECUTION = "/api/executions/{id:[^/]+}"
_WANTED = {"WWW-Authenticate": "Bearer"}
_TAKEN = "the order was taken, but the execution can't be read now: look at it later"


@dataclass(frozen=True, slots=True)
class Asked:
    """One order: its name, the execution it is about, and who gives it from where."""

    order: str
    execution: str
    peer: str
    reason: str = ""
    asked_at: datetime | None = None

    @property
    def by(self) -> str:
        return f"operator API from {self.peer}"


CarryOut = Callable[[Asked], Awaitable[None]]
Tell = Callable[[Asked], Awaitable[web.Response]]


class OperatorApi:
    """`heard` is called when something may have been ordered: the service need not poll for it."""

    def __init__(
        self,
        journal: Journal,
        token: OperatorToken,
        pauses: Pauses,
        heard: Callable[[], None],
        mask: Mask,
        *,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._journal = journal
        self._token = token
        self._pauses = pauses
        self._heard = heard
        self._mask = mask
        self._wrong_tokens, self._lines = _Limit(monotonic), _Limit(monotonic)
        self._unlogged = 0

    def add_to(self, router: web.UrlDispatcher) -> None:
        """Open the routes."""
        told, to_be_done = self._tell_execution, partial(self._tell_execution, status=202)
        approve = self._order("approve", self._approve, told, models.AnswerOrder)
        deny = self._order("deny", self._deny, told, models.AnswerOrder)
        pause = self._order("pause", self._pause, self._tell_pause, models.PauseOrder)
        router.add_post(f"{EXECUTION}/approve", approve)
        router.add_post(f"{EXECUTION}/deny", deny)
        router.add_post(f"{EXECUTION}/undo", self._order("undo", self._undo, to_be_done))
        router.add_post("/api/pause", pause)
        router.add_post("/api/resume", self._order("resume", self._resume, self._tell_pause))

    def _order(
        self,
        name: str,
        carry_out: CarryOut,
        tell: Tell,
        model: type[models.AnyOrder] = models.Order,
    ) -> Handler:
        async def handle(request: web.Request) -> web.Response:
            asked = Asked(name, request.match_info.get("id", ""), request.remote or "unknown")
            try:
                await self._authorize(request)
                order = await _read(request, model)
                asked = replace(
                    asked,
                    reason=self._mask.text(order.reason),
                    asked_at=getattr(order, "asked_at", None),
                )
                await self._carried_out(asked, carry_out)
            except Mistake as mistake:
                self._log_refused(asked, mistake)
                raise
            logs.logger().info("operator order", **_fields(asked), result="taken")
            return await tell(asked)

        return handle

    async def _authorize(self, request: web.Request) -> None:
        given = _bearer(request)
        if not given:
            raise _Stranger(401, "an order needs the operator token", _WANTED)
        if await self._is_right(given):
            return
        if seconds := self._wrong_tokens.pause_seconds():
            retry = {"Retry-After": str(math.ceil(seconds))}
            raise _Stranger(429, "there were too many wrong operator tokens", retry)
        self._wrong_tokens.note()
        raise _Stranger(401, "this is not the operator token", _WANTED)

    async def _is_right(self, given: str) -> bool:
        try:
            return await self._token.is_right(given)
        except SettingsError as error:
            if not self._lines.pause_seconds():
                logs.logger().error("no order can be taken", reason=str(error))
            raise _Stranger(503, "the provider's operator token can't be read") from None

    async def _carried_out(self, asked: Asked, carry_out: CarryOut) -> None:
        try:
            await carry_out(asked)
        except JournalError as error:
            raise Mistake(503, "the journal can't be used now; try again") from error
        finally:
            self._heard()

    def _log_refused(self, asked: Asked, mistake: Mistake) -> None:
        if isinstance(mistake, _Stranger):  # a flood of them must not flood the log
            if self._lines.pause_seconds():
                self._unlogged += 1
                return
            self._lines.note()
        unlogged, self._unlogged = self._unlogged, 0
        problem = mistake.problem
        result = {"result": problem.title, "status": problem.status, "unlogged": unlogged}
        logs.logger().warning("operator refused", **_fields(asked), **result)

    async def _approve(self, asked: Asked) -> None:
        await self._pauses.look()
        if by_file := self._pauses.by_file:
            await self._refuse(asked, self._mask.text(unapprovable_words(by_file)))
        await self._answer(asked, "approved")

    async def _deny(self, asked: Asked) -> None:
        await self._answer(asked, "denied")

    async def _answer(self, asked: Asked, verdict: Verdict) -> None:
        why_not = await self._journal.answer(
            asked.execution,
            verdict,
            asked.by,
            asked.reason,
            asked_at=asked.asked_at.timestamp() if asked.asked_at else None,
        )
        if why_not:
            await self._refuse(asked, why_not)

    async def _undo(self, asked: Asked) -> None:
        why_not = await self._journal.want_undo(asked.execution, "an order", asked.by, asked.reason)
        if why_not:
            await self._refuse(asked, why_not)

    async def _refuse(self, asked: Asked, why_not: str) -> NoReturn:
        await self._record(asked)
        raise Mistake(409, why_not)

    async def _tell_execution(self, asked: Asked, *, status: int = 200) -> web.Response:
        try:
            record = await self._record(asked)
        except JournalError:
            raise Mistake(503, _TAKEN) from None
        return json_answer(models.ExecutionDetail.of(record), self._mask, status=status)

    async def _record(self, asked: Asked) -> WholeRecord:
        record = await self._journal.record(asked.execution)
        if record is None:
            raise Mistake(404, "there is no such execution")
        return record

    async def _pause(self, asked: Asked) -> None:
        await self._pauses.pause(asked.by, asked.reason)

    async def _resume(self, _: Asked) -> None:
        ended = await self._pauses.resume()
        await self._pauses.look()
        if by_file := self._pauses.by_file:
            raise Mistake(409, self._mask.text(still_paused_words(by_file, ended)))

    async def _tell_pause(self, _: Asked) -> web.Response:
        return json_answer(models.Pause.of(self._pauses.current()), self._mask)


class _Stranger(Mistake):
    """Somebody without the token."""


class _Limit:
    """So many within a while."""

    def __init__(self, monotonic: Callable[[], float]) -> None:
        self._monotonic = monotonic
        self._times: deque[float] = deque(maxlen=MOST)

    def note(self) -> None:
        self._times.append(self._monotonic())

    def pause_seconds(self) -> float:
        """How long until the next one may be."""
        if len(self._times) < MOST:
            return 0.0
        return max(0.0, self._times[0] + WITHIN_SECONDS - self._monotonic())


def _bearer(request: web.Request) -> str:
    scheme, _, token = request.headers.get("Authorization", "").partition(" ")
    return token.strip() if scheme.lower() == "bearer" else ""


async def _read(request: web.Request, model: type[models.AnyOrder]) -> models.AnyOrder:
    # A form of another site can send neither this type nor the token.
    if request.content_type != "application/json":
        raise Mistake(415, "an order is application/json")
    try:
        return model.model_validate(orjson.loads(await request.read()))
    except web.HTTPRequestEntityTooLarge:
        raise Mistake(413, f"an order has at most {MAX_BODY_BYTES} bytes") from None
    except ValidationError as error:
        raise Mistake(400, _explained(error)) from None
    except orjson.JSONDecodeError:
        raise Mistake(400, "the order is no JSON") from None
    except (web.RequestPayloadError, ConnectionError):
        raise Mistake(400, "the order can't be read") from None


def _explained(error: ValidationError) -> str:
    first = error.errors()[0]
    place = ".".join(map(str, first["loc"]))
    return _short(f"{place}: {validation.told(first)}") if place else "an order is a JSON object"


def _fields(asked: Asked) -> dict[str, str]:
    return {
        "order": asked.order,
        "subject": _short(asked.execution) or "everything",
        "reason": asked.reason,
        "peer": asked.peer,
    }


def _short(text: str) -> str:
    return models.one_line(text)[:MAX_LOGGED_CHARACTERS]

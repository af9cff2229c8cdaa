"""The routes for orders: approve, deny, undo, pause, resume, send again. Every order is logged, and
every refused one.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial
from typing import Any, NoReturn

import orjson
from aiohttp import web
from pydantic import BaseModel, ValidationError

from keptn_remedy.guardrails.pauses import Pauses, still_paused_words, unapprovable_words
from keptn_remedy.http_server import TooSlow
from keptn_remedy.journal import Journal, JournalError, Verdict, WholeRecord
from keptn_remedy.ops import models, open_models
from keptn_remedy.ops.answers import Handler, HttpError, json_answer
from keptn_remedy.ops.guesses import RateLimit
from keptn_remedy.ops.operator_token import OperatorToken
from keptn_remedy.ops.token_check import TokenCheck, Unauthorized
from keptn_remedy.support import logs, validation
from keptn_remedy.support.masking import Mask
from keptn_remedy.support.metrics import Metrics
from keptn_remedy.support.near_names import near

MAX_BODY_BYTES = 16 * 1024
MAX_LOGGED_CHARACTERS = 200
EXECUTION = "/api/executions/{id:[^/]+}"
_STORED = "the order was stored, but the execution can't be read now; read it again later"


@dataclass(frozen=True, slots=True)
class OrderRequest:
    """One order: its name, the execution or target it is about ("" for all), and its sender."""

    name: str
    execution: str
    peer: str
    reason: str = ""
    asked_at: datetime | None = None

    @property
    def by(self) -> str:
        return f"operator API from {self.peer}"


CarryOut = Callable[[OrderRequest], Awaitable[BaseModel | None]]
Show = Callable[[OrderRequest], Awaitable[web.Response]]


class OperatorApi:
    """Takes orders from whoever has the token. `look` is called after each order that may have been
    stored, so that the service acts on it at once.
    """

    def __init__(
        self,
        journal: Journal,
        token: OperatorToken,
        pauses: Pauses,
        look: Callable[[], None],
        mask: Mask,
        metrics: Metrics,
        *,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._journal = journal
        self._pauses = pauses
        self._look = look
        self._mask = mask
        self._check = TokenCheck(token, "operator token", metrics, monotonic)
        self._lines = RateLimit(monotonic)
        self._unlogged = 0

    def add_to(self, router: web.UrlDispatcher) -> None:
        """Add the routes."""
        execution, accepted = self._show_execution, partial(self._show_execution, status=202)
        approve = self._order("approve", self._approve, execution, models.AnswerOrder)
        deny = self._order("deny", self._deny, execution, models.AnswerOrder)
        pause = self._order("pause", self._pause, self._show_pause, models.PauseOrder)
        router.add_post(f"{EXECUTION}/approve", approve)
        router.add_post(f"{EXECUTION}/deny", deny)
        router.add_post(f"{EXECUTION}/undo", self._order("undo", self._undo, accepted))
        router.add_post("/api/pause", pause)
        router.add_post("/api/resume", self._order("resume", self._resume, self._show_pause))
        targets = self._order(
            "resume targets", self._resume_targets, _no_content, models.TargetsOrder
        )
        resend = self._order("resend reports", self._resend, _no_content, models.ResendOrder)
        router.add_post("/api/targets/resume", targets)
        router.add_post("/api/reports/resend", resend)

    def _order(
        self,
        name: str,
        carry_out: CarryOut,
        show: Show,
        model: type[models.AnyOrder] = models.Order,
    ) -> Handler:
        async def handle(request: web.Request) -> web.Response:
            order = OrderRequest(
                name, request.match_info.get("id", ""), request.remote or "unknown"
            )
            try:
                await self._check.authorize(request)
                body = await _read(request, model)
                order = replace(
                    order,
                    execution=order.execution or _subject(body),
                    reason=self._mask.text(body.reason),
                    asked_at=getattr(body, "asked_at", None),
                )
                done = await self._carry_out(order, carry_out)
            except HttpError as error:
                self._log_refused(order, error)
                raise
            logs.logger().info("operator order", **_fields(order), result="taken")
            return json_answer(done, self._mask) if done else await show(order)

        return handle

    async def _carry_out(self, order: OrderRequest, carry_out: CarryOut) -> BaseModel | None:
        try:
            return await carry_out(order)
        except JournalError as error:
            raise HttpError(503, "the journal can't be used now; try again") from error
        finally:
            self._look()

    def _log_refused(self, order: OrderRequest, error: HttpError) -> None:
        if isinstance(error, Unauthorized):  # requests without the token must not flood the log
            if self._lines.pause_seconds():
                self._unlogged += 1
                return
            self._lines.note()
        unlogged, self._unlogged = self._unlogged, 0
        problem = error.problem
        result = {"result": problem.title, "status": problem.status, "unlogged": unlogged}
        logs.logger().warning("operator refused", **_fields(order), **result)

    async def _approve(self, order: OrderRequest) -> None:
        await self._pauses.look()
        if by_file := self._pauses.by_file:
            await self._refuse(order, self._mask.text(unapprovable_words(by_file)))
        await self._answer(order, "approved")

    async def _deny(self, order: OrderRequest) -> None:
        await self._answer(order, "denied")

    async def _answer(self, order: OrderRequest, verdict: Verdict) -> None:
        why_not = await self._journal.answer(
            order.execution,
            verdict,
            order.by,
            order.reason,
            asked_at=order.asked_at.timestamp() if order.asked_at else None,
        )
        if why_not:
            await self._refuse(order, why_not)

    async def _undo(self, order: OrderRequest) -> None:
        why_not = await self._journal.want_undo(order.execution, "an order", order.by, order.reason)
        if why_not:
            await self._refuse(order, why_not)

    async def _refuse(self, order: OrderRequest, why_not: str) -> NoReturn:
        """Raise 409, or 404 where there is no such execution."""
        await self._record(order)
        raise HttpError(409, why_not)

    async def _show_execution(self, order: OrderRequest, *, status: int = 200) -> web.Response:
        try:
            record = await self._record(order)
        except JournalError:
            raise HttpError(503, _STORED) from None
        return json_answer(models.ExecutionDetail.of(record), self._mask, status=status)

    async def _record(self, order: OrderRequest) -> WholeRecord:
        record = await self._journal.record(order.execution)
        if record is None:
            raise HttpError(404, "there is no such execution")
        return record

    async def _pause(self, order: OrderRequest) -> None:
        await self._pauses.pause(order.by, order.reason)

    async def _resume(self, order: OrderRequest) -> None:
        ended = await self._pauses.resume(order.by)
        await self._pauses.look()
        if by_file := self._pauses.by_file:
            raise HttpError(409, self._mask.text(still_paused_words(by_file, ended)))

    async def _resume_targets(self, order: OrderRequest) -> open_models.Resumed:
        return open_models.Resumed(
            targets=await self._journal.forgive(order.execution or None, order.by)
        )

    async def _resend(self, order: OrderRequest) -> open_models.Resent:
        return open_models.Resent(handles=await self._journal.resend(order.execution or None))

    async def _show_pause(self, _: OrderRequest) -> web.Response:
        return json_answer(models.Pause.of(self._pauses.current), self._mask)


async def _no_content(_: OrderRequest) -> web.Response:
    return web.Response(status=204)


def _subject(body: models.AnyOrder) -> str:
    match body:
        case models.ResendOrder():
            return body.execution or ""
        case models.TargetsOrder():
            return body.target or ""
        case _:
            return ""


async def _read(request: web.Request, model: type[models.AnyOrder]) -> models.AnyOrder:
    # A form on another site can send neither this type nor the token.
    if request.content_type != "application/json":
        raise HttpError(415, "the Content-Type of an order must be application/json")
    sent: Any = None
    try:
        sent = orjson.loads(await request.read())
        return model.model_validate(sent)
    except web.HTTPRequestEntityTooLarge:
        raise HttpError(
            413, f"the body of an order must not be over {MAX_BODY_BYTES} bytes"
        ) from None
    except ValidationError as error:
        raise HttpError(400, _explained(error, sent, model)) from None
    except orjson.JSONDecodeError:
        raise HttpError(400, "the body is not JSON") from None
    except TooSlow as error:
        raise HttpError(408, str(error)) from None
    except (web.RequestPayloadError, ConnectionError):
        raise HttpError(400, "the body can't be read") from None


def _explained(error: ValidationError, sent: Any, model: type[models.AnyOrder]) -> str:
    first = error.errors()[0]
    place = ".".join(validation.place(first, sent))
    if not place:
        return "the body must be a JSON object"
    is_unknown = first["type"] == "extra_forbidden"
    hint = near(place, model.model_fields) if is_unknown else ""
    return _short(f"{place}: {validation.in_words(first)}{hint}")


def _fields(order: OrderRequest) -> dict[str, str]:
    return {
        "order": order.name,
        "subject": _short(order.execution) or "everything",
        "reason": order.reason,
        "peer": order.peer,
    }


def _short(text: str) -> str:
    return models.one_line(text)[:MAX_LOGGED_CHARACTERS]

"""Orders given on the page. Each is bound to what its sender saw, may be sent twice, and is logged
by name. None is given by a GET.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from typing import NamedTuple
from urllib.parse import unquote

from aiohttp import web

from keptn_remedy.guardrails.pauses import Pauses, still_paused_words, unapprovable_words
from keptn_remedy.journal import Journal, JournalError, Verdict, WholeRecord
from keptn_remedy.ops.answers import HttpError
from keptn_remedy.ops.asked_undos import AskedUndos
from keptn_remedy.ops.digests import digest
from keptn_remedy.ops.guesses import RateLimit
from keptn_remedy.ops.models import MAX_REASON_CHARACTERS, one_line
from keptn_remedy.ops.operators import Role
from keptn_remedy.ops.page.address import Address, local
from keptn_remedy.ops.page.gate import FORM_TOKEN, Visitor, require_form
from keptn_remedy.ops.page.routes import PageRoutes, read_form, see
from keptn_remedy.ops.page.screens import Told
from keptn_remedy.support import logs
from keptn_remedy.support.masking import Mask
from keptn_remedy.support.page_paths import id_of, path_of

_EXECUTION = "/executions/{id:[^/]+}"
_CHANGED = (
    "Not approved: the plan has changed since you opened this page. Below is the plan that would be"
    " carried out now. Read it, then decide again."
)
_MOST_LOGGED = 200


class PageOrder(NamedTuple):
    """An order, who gives it, and what the form said."""

    name: str
    execution: str
    by: str
    reason: str
    form: dict[str, str]


class Refusing(Exception):
    """An order is not carried out; the text says why."""


CarryOut = Callable[[PageOrder], Awaitable[str]]


class PageOrders:
    """Carries out what people order on the page. `look` has the service act on it at once."""

    def __init__(
        self,
        page: PageRoutes,
        journal: Journal,
        pauses: Pauses,
        asked_undos: AskedUndos,
        look: Callable[[], None],
        mask: Mask,
    ) -> None:
        self._page = page
        self._asked_undos = asked_undos
        self._journal = journal
        self._pauses = pauses
        self._look = look
        self._mask = mask
        self._lines = RateLimit(time.monotonic)

    def add_to(self, router: web.UrlDispatcher) -> None:
        """Add the routes."""
        of_one = {
            "approve": self._approve,
            "deny": self._deny,
            "undo": self._undo,
            "deny-undo": self._deny_undo,
        }
        for name, carry_out in of_one.items():
            role: Role = "operator" if name.endswith("undo") else "approver"
            router.add_post(f"{_EXECUTION}/{name}", self._handler(name, role, carry_out))
            # A link to an order leads to the execution, and does nothing.
            router.add_get(f"{_EXECUTION}/{name}", self._page.caught(_to_execution))
        of_all = {"pause": self._pause, "resume": self._resume}
        for name, carry_out in of_all.items():
            router.add_post(f"/{name}", self._handler(name, "operator", carry_out))
            router.add_get(f"/{name}", self._page.caught(_to_now))

    def _handler(
        self, name: str, role: Role, carry_out: CarryOut
    ) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
        async def handle(request: web.Request, visitor: Visitor) -> web.StreamResponse:
            form = await read_form(request)
            order = PageOrder(
                name,
                id_of(request.match_info.get("id", "")),
                visitor.name,
                self._reason(form),
                form,
            )
            try:
                require_form(request, visitor, form.get(FORM_TOKEN, ""))
                _require(role, visitor)
                words = await self._carried_out(order, carry_out)
            except (HttpError, Refusing) as error:
                if self._is_logged(visitor):
                    self._log_refused(order, request, str(error))
                if isinstance(error, HttpError):
                    raise
                return await self._refused(order, visitor, str(error))
            logs.logger().info(
                "operator order", **_fields(order, request), role=visitor.role, result=words
            )
            return see(_after(order))

        return self._page.seen(handle)

    async def _carried_out(self, order: PageOrder, carry_out: CarryOut) -> str:
        try:
            return await carry_out(order)
        except JournalError as error:
            raise HttpError(503, "The journal can't be used now. Try again.") from error
        finally:
            self._look()

    async def _refused(self, order: PageOrder, visitor: Visitor, words: str) -> web.Response:
        if order.execution:
            address = Address(path_of(order.execution), {})
            return await self._page.shown(address, visitor, status=409, told=Told(words, "bad"))
        raise HttpError(409, words)

    def _is_logged(self, visitor: Visitor) -> bool:
        """Whether a refusal is logged: those who have not signed in must not flood the log."""
        if visitor.operator is None:
            if self._lines.pause_seconds():
                return False
            self._lines.note()
        return True

    def _log_refused(self, order: PageOrder, request: web.Request, why: str) -> None:
        logs.logger().warning("operator refused", **_fields(order, request), result=why)

    def _reason(self, form: dict[str, str]) -> str:
        return self._mask.text(one_line(form.get("reason", ""))[:MAX_REASON_CHARACTERS])

    async def _approve(self, order: PageOrder) -> str:
        await self._pauses.look()
        if by_file := self._pauses.by_file:
            raise Refusing(f"Not approved: {self._mask.text(unapprovable_words(by_file))}.")
        return await self._answer(order, "approved")

    async def _deny(self, order: PageOrder) -> str:
        return await self._answer(order, "denied")

    async def _answer(self, order: PageOrder, verdict: Verdict) -> str:
        record = await self._record(order)
        question = record.question
        if question and question.verdict is None:
            if verdict == "approved" and digest(question.plan) != order.form.get("digest"):
                raise Refusing(_CHANGED)
            why_not = await self._journal.answer(
                order.execution, verdict, order.by, order.reason, asked_at=question.asked_at
            )
            if why_not is None:
                return "taken"
            record = await self._record(order)
        return _as_before(record, verdict)

    async def _undo(self, order: PageOrder) -> str:
        record = await self._record(order)
        if record.undo and record.undo.state in ("wanted", "running", "done"):
            return f"it was ordered before, by {record.undo.by or 'itself'}"
        why_not = await self._journal.want_undo(order.execution, "an order", order.by, order.reason)
        if why_not:
            raise Refusing(f"Not undone: {why_not}.")
        return "taken"

    async def _deny_undo(self, order: PageOrder) -> str:
        asked_at = order.form.get("asked", "")
        if not await self._asked_undos.deny(order.execution, order.by, order.reason, asked_at):
            raise Refusing("Not denied: nobody asks for this undo any more, or asked again since.")
        return "taken"

    async def _pause(self, order: PageOrder) -> str:
        if not order.reason:
            raise HttpError(400, "A pause needs a reason: each refused execution shows it.")
        current = self._pauses.current
        if current and (current.by, current.reason) == (order.by, order.reason):
            return "it is paused already"
        await self._pauses.pause(order.by, order.reason)
        return "taken"

    async def _resume(self, order: PageOrder) -> str:
        if target := order.form.get("target"):
            await self._journal.forgive(target, order.by)
            return f"resumed {target}"[:_MOST_LOGGED]
        ended = await self._pauses.resume(order.by)
        await self._pauses.look()
        if by_file := self._pauses.by_file:
            raise Refusing(self._mask.text(still_paused_words(by_file, ended)))
        return "taken"

    async def _record(self, order: PageOrder) -> WholeRecord:
        record = await self._journal.record(order.execution)
        if record is None:
            raise HttpError(404, "There is no such execution. It may have been pruned.")
        return record


def _require(role: Role, visitor: Visitor) -> None:
    if not visitor.may(role):
        raise HttpError(403, f"Only {_whom(role)} may do this; your role is {visitor.role}.")


def _as_before(record: WholeRecord, verdict: Verdict) -> str:
    """What an answer comes to that is not taken: nothing, if the same was given before."""
    question = record.question
    given = question.verdict if question else None
    by = question.by if question else None
    if given is None and isinstance(approved_by := record.details.get("approved_by"), str):
        given, by = "approved", approved_by
    if given == verdict:
        return f"it was {verdict} before, by {by or 'silence'}"
    undone = "Not approved" if verdict == "approved" else "Not denied"
    if given:
        raise Refusing(f"{undone}: it was {given} by {by or 'silence'} before.")
    if record.state == "finished":
        raise Refusing(f"{undone}: it has ended: {record.message or record.status}.")
    raise Refusing(f"{undone}: it does not wait for an answer any more.")


async def _to_execution(request: web.Request) -> web.StreamResponse:
    return see(request.rel_url.raw_path.rpartition("/")[0])


async def _to_now(_: web.Request) -> web.StreamResponse:
    return see("/")


def _after(order: PageOrder) -> str:
    """Where the browser goes once an order is carried out."""
    if order.execution:
        return f"{path_of(order.execution)}?told={order.name}"
    return local(order.form.get("next", "/"))


def _whom(role: Role) -> str:
    return {"viewer": "those signed in", "approver": "approvers and operators"}.get(
        role, "operators"
    )


def _fields(order: PageOrder, request: web.Request) -> dict[str, object]:
    subject = unquote(order.execution) or order.form.get("target") or "everything"
    return {
        "order": order.name,
        "subject": one_line(subject)[:_MOST_LOGGED],
        "by": order.by,
        "reason": order.reason,
        "peer": request.remote or "unknown",
    }

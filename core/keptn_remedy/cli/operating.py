"""`remedy pause`, `resume`, `approve`, `deny`, `undo`: orders that a running service hears of by
the journal.
"""

from __future__ import annotations

import asyncio
import getpass
import os
import socket
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from keptn_remedy.cli.looking import journal_path, with_journal
from keptn_remedy.cli.terminal import (
    FAILED,
    GOOD,
    WRONG_USAGE,
    complain,
    is_terminal,
    printable,
    say,
    say_json,
)
from keptn_remedy.cli.waiting import when
from keptn_remedy.guardrails.pauses import PauseFile, still_paused_words, unapprovable_words
from keptn_remedy.guardrails.units import counted
from keptn_remedy.journal import Pause, Verdict, WholeRecord
from keptn_remedy.journal.sqlite import SqliteJournal, is_served
from keptn_remedy.ops import models
from keptn_remedy.settings import load
from keptn_remedy.support import validation

LOOK_SECONDS = 0.1
HEARD_SECONDS = 10.0
_LIST = "remedy journal list shows how they stand"


@dataclass(frozen=True, slots=True)
class Order:
    """By which journal something is ordered, by whom and why."""

    journal: SqliteJournal
    path: Path
    by: str
    reason: str
    as_json: bool

    @property
    def is_heard(self) -> bool:
        """Whether a service runs."""
        return is_served(self.path)

    @property
    def unheard(self) -> str:
        return f"no service runs from {self.path}"


CarryOut = Callable[[Order], Awaitable[int]]


def pause(reason: str, *, as_json: bool) -> int:
    """Refuse to act until resumed; returns the exit code."""

    async def carry_out(order: Order) -> int:
        replaced = await order.journal.paused()
        paused = await order.journal.pause(order.by, order.reason)
        if order.as_json:
            say_json(models.Pause.of(paused).model_dump())
            return GOOD
        say("paused: executions are refused, and told why, until remedy resume")
        if replaced:
            say(_told_replaced(replaced))
        going_on = "what is being carried out now goes on to its end"
        say(going_on if order.is_heard else f"{order.unheard}: the next one starts paused")
        return GOOD

    return _ordered(carry_out, reason, models.PauseOrder, as_json=as_json)


def resume(*, as_json: bool) -> int:
    """End the pause; returns the exit code."""

    async def carry_out(order: Order) -> int:
        ended = await order.journal.resume()
        by_file = await _paused_by_file()
        if order.as_json:
            say_json(models.Pause.of(by_file).model_dump())
        elif by_file is None:
            say(_told_resumed(ended))
        if by_file is None:
            return GOOD
        complain([still_paused_words(by_file, ended)])
        return FAILED

    return _ordered(carry_out, as_json=as_json)


def resume_targets(target: str | None, *, as_json: bool) -> int:
    """End the suspension of a target, or of all; returns the exit code."""

    async def carry_out(order: Order) -> int:
        count = await order.journal.forgive(target, order.by)
        if target is not None and not count:
            complain([f"nothing failed on {target!r}; remedy journal show ID names its targets"])
            return FAILED
        if order.as_json:
            say_json({"targets": count})
        elif count:
            say(f"resumed: what did not help on {counted(count, 'target')} counts no more")
        else:
            say("no target was suspended")
        return GOOD

    return _ordered(carry_out, as_json=as_json)


def answer(execution_id: str, verdict: Verdict, reason: str, *, as_json: bool) -> int:
    """Approve or deny an execution that asks; returns the exit code."""

    async def carry_out(order: Order) -> int:
        # Answered is what is shown here; meanwhile it may ask about another plan.
        asking = await order.journal.record(execution_id)
        question = asking.question if asking else None
        if question and not question.verdict and question.plan and is_terminal() and not as_json:
            say(f"it would do: {printable(str(question.plan))}")
        why_not = await _why_unapprovable(verdict) or await order.journal.answer(
            execution_id,
            verdict,
            order.by,
            order.reason,
            asked_at=question.asked_at if question else None,
        )
        told = verdict if why_not is None else await _told_before(order, execution_id, verdict)
        if told is None:
            where = _show(execution_id) if asking else _LIST
            complain([f"{execution_id!r} is not {verdict}: {why_not}; {where}"])
            return FAILED
        record = await _taken_up(order, execution_id, verdict)
        if record is None:
            complain([f"{verdict}, but the service has not gone on with it yet; look at its log"])
            return FAILED
        return _told_answer(order, record, verdict, told)

    return _ordered(carry_out, reason, as_json=as_json)


def undo(execution_id: str, reason: str, *, as_json: bool) -> int:
    """Have a finished execution undone, and wait for it; returns the exit code."""

    async def carry_out(order: Order) -> int:
        if not order.is_heard:
            complain([f"not undone: {order.unheard}, which has to do it; start it first"])
            return FAILED
        why_not = await order.journal.want_undo(execution_id, "an order", order.by, order.reason)
        if why_not:
            complain([f"{execution_id!r} is not undone: {why_not}; {_LIST}"])
            return FAILED
        if is_terminal() and not order.as_json:
            say("waiting for the service to undo it; after Ctrl-C it goes on without you")
        return _told_undo(order, await _undo_ended(order, execution_id))

    return _ordered(carry_out, reason, as_json=as_json)


def _ordered(
    carry_out: CarryOut,
    reason: str = "",
    model: type[models.AnyOrder] = models.Order,
    *,
    as_json: bool,
) -> int:
    try:
        why = model(reason=reason).reason
    except ValidationError as error:
        complain([f"--reason: {validation.told(error.errors()[0])}"])
        return WRONG_USAGE

    async def use(journal: SqliteJournal) -> int:
        return await carry_out(Order(journal, journal_path(), _who(), why, as_json))

    return with_journal(use, SqliteJournal.beside)


def _told_replaced(pause: Pause) -> str:
    told = f'it was paused already by {pause.by} since {when(pause.since)}: "{pause.reason}"'
    return printable(f"{told}; that is replaced")


def _told_resumed(ended: Pause | None) -> str:
    if ended is None:
        return "it was not paused"
    told = f"resumed; it was paused since {when(ended.since)} by {ended.by}: {ended.reason}"
    return f"{printable(told)}\nexecutions that were refused meanwhile stay refused"


async def _paused_by_file() -> Pause | None:
    return await PauseFile(load(os.environ).pause_file).look()


async def _why_unapprovable(verdict: Verdict) -> str | None:
    by_file = await _paused_by_file() if verdict == "approved" else None
    return unapprovable_words(by_file) if by_file else None


async def _told_before(order: Order, execution_id: str, verdict: Verdict) -> str | None:
    """Who gave the same answer before; None if nobody did."""
    record = await order.journal.record(execution_id)
    question = record.question if record else None
    if question is None or question.verdict != verdict or not question.by:
        return None
    return f"{verdict} by {question.by} already"


async def _taken_up(order: Order, execution_id: str, verdict: Verdict) -> WholeRecord | None:
    """The execution once a running service went on with it, or as it is where none runs; None if
    the service has not gone on in time.
    """
    try:
        async with asyncio.timeout(HEARD_SECONDS):
            while True:
                heard = order.is_heard
                record = await order.journal.record(execution_id)
                if record is None or not (heard and _still_has(record, verdict)):
                    return record
                await asyncio.sleep(LOOK_SECONDS)
    except TimeoutError:
        return None


def _still_has(record: WholeRecord, verdict: Verdict) -> bool:
    question = record.question
    if record.state == "finished" or question is None:
        return False
    return question.verdict == verdict and not question.heeded


def _told_answer(order: Order, record: WholeRecord, verdict: Verdict, told: str) -> int:
    if order.as_json:
        _say_whole(record)
    if record.state != "finished" and record.question and record.question.verdict is None:
        complain([f"{verdict}, but the plan has changed: it asks again; {_show(record.id)}"])
        return FAILED
    if not order.as_json:
        say(printable(f"{told}: {_how_it_stands(order, record, verdict)}"))
    return GOOD


def _how_it_stands(order: Order, record: WholeRecord, verdict: Verdict) -> str:
    if record.state == "finished":
        return f"it ended {record.status}/{record.result}: {record.message}"
    if _still_has(record, verdict):
        return f"{order.unheard}: the next one goes on with it"
    return f"it goes on; {_show(record.id)}"


async def _undo_ended(order: Order, execution_id: str) -> WholeRecord | None:
    """The execution once its undo has ended, or no service is there to end it."""
    while True:
        heard = order.is_heard  # before looking: it may end the undo, and then stop
        record = await order.journal.record(execution_id)
        if record is None or record.undo is None or not heard:
            return record
        if record.undo.state not in ("wanted", "running"):
            return record
        await asyncio.sleep(LOOK_SECONDS)


def _told_undo(order: Order, record: WholeRecord | None) -> int:
    if record is None or record.undo is None:
        complain(["not undone: the journal knows it no more"])
        return FAILED
    if order.as_json:
        _say_whole(record)
    undone = record.undo
    if undone.state != "done":
        complain(_why_not_undone(record.id, undone.state, undone.message or ""))
        return FAILED
    if not order.as_json:
        message = (undone.message or "").removeprefix("undone: ")
        say(printable(f"undone: {message or 'all is as it was before'}"))
    return GOOD


def _why_not_undone(execution_id: str, state: str, message: str) -> list[str]:
    if state == "refused":
        return [f"not undone, and nothing was changed: {message}"]
    if state == "failed":
        return [f"the undo failed: {message}", f"look at its targets: {_show(execution_id)}"]
    return ["not undone yet: the service stopped; the next one does it"]


def _say_whole(record: WholeRecord) -> None:
    say_json(models.ExecutionDetail.of(record).model_dump())


def _show(execution_id: str) -> str:
    return f"look at it with remedy journal show {execution_id}"


def _who() -> str:
    try:
        user = getpass.getuser()
    except (KeyError, OSError):  # the user of a container has no name
        user = f"uid {os.getuid()}"
    return models.one_line(f"{user}@{socket.gethostname()}")

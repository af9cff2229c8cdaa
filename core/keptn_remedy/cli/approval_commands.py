"""`remedy approve` and `remedy deny`: answer an execution that is waiting for approval."""

from __future__ import annotations

import asyncio

from keptn_remedy.cli.execution_ids import LIST_HINT, resolved
from keptn_remedy.cli.order import (
    HEARD_SECONDS,
    LOOK_SECONDS,
    Order,
    ordered,
    paused_by_file,
    say_execution,
    show_hint,
)
from keptn_remedy.cli.terminal import FAILED, GOOD, complain, is_terminal, say_folded
from keptn_remedy.guardrails.pauses import unapprovable_words
from keptn_remedy.journal import Verdict, WholeRecord


def answer(named: str, verdict: Verdict, reason: str, *, as_json: bool) -> int:
    """Approve or deny an execution, and wait until the service continues; returns the exit code."""

    async def carry_out(order: Order) -> int:
        execution_id = await resolved(order.journal, named)
        # The answer is for the plan that is shown here: meanwhile the plan may change.
        asking = await order.journal.record(execution_id)
        question = asking.question if asking else None
        if question and not question.verdict and question.plan and is_terminal() and not as_json:
            say_folded(f"plan: {question.plan}", rest="      ")
        why_not = await _why_unapprovable(verdict) or await order.journal.answer(
            execution_id,
            verdict,
            order.by,
            order.reason,
            asked_at=question.asked_at if question else None,
        )
        given = verdict if why_not is None else await _given_before(order, execution_id, verdict)
        if given is None:
            where = show_hint(execution_id) if asking else LIST_HINT
            complain([f"{execution_id!r} is not {verdict}: {why_not}; {where}"])
            return FAILED
        record = await _taken_up(order, execution_id, verdict)
        if record is None:
            late = f"the service has not continued it within {HEARD_SECONDS:g} s"
            complain([f"{verdict}, but {late}; read the log of the service"])
            return FAILED
        return _show_answer(order, record, verdict, given)

    return ordered(carry_out, reason, as_json=as_json)


async def _why_unapprovable(verdict: Verdict) -> str | None:
    by_file = await paused_by_file() if verdict == "approved" else None
    return unapprovable_words(by_file) if by_file else None


async def _given_before(order: Order, execution_id: str, verdict: Verdict) -> str | None:
    """Who gave the same answer before; None if nobody did."""
    record = await order.journal.record(execution_id)
    question = record.question if record else None
    if question is None or question.verdict != verdict or not question.by:
        return None
    return f"already {verdict} by {question.by}"


async def _taken_up(order: Order, execution_id: str, verdict: Verdict) -> WholeRecord | None:
    """The execution, once a running service continues it or if no service is running. None if the
    service has not continued it within `HEARD_SECONDS`.
    """
    try:
        async with asyncio.timeout(HEARD_SECONDS):
            while True:
                heard = order.is_heard
                record = await order.journal.record(execution_id)
                if record is None or not (heard and _is_still_answered(record, verdict)):
                    return record
                await asyncio.sleep(LOOK_SECONDS)
    except TimeoutError:
        return None


def _is_still_answered(record: WholeRecord, verdict: Verdict) -> bool:
    """Whether the answer is stored, and the service has not acted on it yet."""
    question = record.question
    if record.state == "finished" or question is None:
        return False
    return question.verdict == verdict and not question.heeded


def _show_answer(order: Order, record: WholeRecord, verdict: Verdict, given: str) -> int:
    if order.as_json:
        say_execution(record)
    if record.state != "finished" and record.question and record.question.verdict is None:
        changed = "the plan has changed, so it asks again"
        complain([f"{verdict}, but {changed}; {show_hint(record.id)}"])
        return FAILED
    if record.status == "aborted":
        complain([f"{verdict}, but the execution was aborted: {record.message}"])
        return FAILED
    if not order.as_json:
        say_folded(f"{given}: {_what_follows(order, record, verdict)}")
    return GOOD


def _what_follows(order: Order, record: WholeRecord, verdict: Verdict) -> str:
    if record.state == "finished":
        return f"the execution ended as {record.status}/{record.result}: {record.message}"
    if _is_still_answered(record, verdict):
        return f"{order.unheard}; the next one to start continues the execution"
    return f"the execution continues; {show_hint(record.id)}"

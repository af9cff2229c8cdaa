"""`remedy undo`: has the running service put back what a finished execution changed."""

from __future__ import annotations

import asyncio

from keptn_remedy.cli.execution_ids import LIST_HINT, resolved
from keptn_remedy.cli.order import (
    LOOK_SECONDS,
    Order,
    ordered,
    say_execution,
)
from keptn_remedy.cli.terminal import FAILED, GOOD, complain, is_terminal, say_folded
from keptn_remedy.journal import WholeRecord


def undo(named: str, reason: str, *, as_json: bool) -> int:
    """Order an undo and wait until it has ended; returns the exit code."""

    async def carry_out(order: Order) -> int:
        if not order.is_heard:
            complain([f"not undone: {order.unheard}; start it with remedy serve, then try again"])
            return FAILED
        execution_id = await resolved(order.journal, named)
        why_not = await order.journal.want_undo(execution_id, "an order", order.by, order.reason)
        if why_not:
            is_known = await order.journal.record(execution_id) is not None
            hint = f"see remedy journal show {execution_id}" if is_known else LIST_HINT
            complain([f"{execution_id!r} is not undone: {why_not}; {hint}"])
            return FAILED
        if is_terminal() and not order.as_json:
            say_folded("waiting for the service to undo it; Ctrl-C stops the waiting, not the undo")
        return _show_undo(order, await _undo_ended(order, execution_id))

    return ordered(carry_out, reason, as_json=as_json)


async def _undo_ended(order: Order, execution_id: str) -> WholeRecord | None:
    """The execution, once its undo has ended or no service is running any more."""
    while True:
        heard = order.is_heard  # before the journal is read: the service may end it, then stop
        record = await order.journal.record(execution_id)
        if record is None or record.undo is None or not heard:
            return record
        if record.undo.state not in ("wanted", "running"):
            return record
        await asyncio.sleep(LOOK_SECONDS)


def _show_undo(order: Order, record: WholeRecord | None) -> int:
    if record is None or record.undo is None:
        complain([f"the undo is no longer in the journal; {LIST_HINT}"])
        return FAILED
    if order.as_json:
        say_execution(record)
    undone = record.undo
    if undone.state != "done":
        complain(_why_not_undone(record.id, undone.state, undone.message or ""))
        return FAILED
    if not order.as_json:
        message = (undone.message or "").removeprefix("undone: ")
        say_folded(f"undone: {message or 'everything is as it was before'}")
    return GOOD


def _why_not_undone(execution_id: str, state: str, message: str) -> list[str]:
    if state == "refused":
        return [f"not undone, and nothing was changed: {message}"]
    if state == "failed":
        look = f"check its targets, which remedy journal show {execution_id} lists"
        return [f"the undo failed: {message}", look]
    return ["not undone yet: the service stopped; the next one to start will undo it"]

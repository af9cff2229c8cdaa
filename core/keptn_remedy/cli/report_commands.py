"""`remedy reports`: lists what Keptn has not acknowledged, and has parked reports sent again."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Sequence

from keptn_remedy.cli.desk import Desk
from keptn_remedy.cli.execution_ids import resolved
from keptn_remedy.cli.opened_journal import with_desk
from keptn_remedy.cli.order import HEARD_SECONDS, LOOK_SECONDS, Order, ordered
from keptn_remedy.cli.terminal import (
    FAILED,
    GOOD,
    ago,
    complain,
    is_terminal,
    paragraphs,
    say,
    say_folded,
    say_json,
    table,
    when,
)
from keptn_remedy.journal import OwedReport

ALL = 1_000_000
_COLUMNS = ("SINCE", "REPORT", "STATE", "EXECUTION", "REASON")


def list_reports(limit: int, *, as_json: bool) -> int:
    """Show the reports that Keptn has not acknowledged; returns the exit code."""

    async def show(journal: Desk) -> int:
        owed = await journal.owed_reports(limit)
        if as_json:
            for report in owed:
                say_json(_fields(report))
        elif owed and is_terminal():
            paragraphs(("EXECUTION", "REPORT", "STATE", "SINCE"), map(_paragraph, owed))
        elif not is_terminal():
            table(_COLUMNS, [_row(report) for report in owed])
        else:
            say("Every report is acknowledged.")
        return GOOD

    return with_desk(show)


def resend(named: str | None, *, as_json: bool) -> int:
    """Send parked reports again, and wait for the outcome; returns the exit code."""

    async def carry_out(order: Order) -> int:
        execution_id = await resolved(order.journal, named) if named else None
        handles = await order.journal.resend(execution_id)
        if not handles and execution_id is not None:
            hint = "remedy reports list shows what is"
            complain([f"no report of execution {execution_id!r} is parked; {hint}"])
            return FAILED
        left = await _left(order, handles)
        sent = len(handles) - len(left)
        if as_json:
            say_json({"resent": len(handles), "sent": sent, "left": [_fields(r) for r in left]})
        return _show_outcome(order, sent, left, as_json=as_json)

    return ordered(carry_out, as_json=as_json)


async def _left(order: Order, handles: Collection[int]) -> list[OwedReport]:
    """Those of the reports that Keptn has not taken, once the service has tried all of them, has
    not done so within `HEARD_SECONDS`, or none is running.
    """
    left: list[OwedReport] = []
    looks = int(HEARD_SECONDS / LOOK_SECONDS)
    for _ in range(looks if handles else 0):
        owed = await order.journal.owed_reports(ALL)
        left = [report for report in owed if report.handle in handles]
        if not order.is_heard or all(report.attempts for report in left):
            break
        await asyncio.sleep(LOOK_SECONDS)
    return left


def _show_outcome(order: Order, sent: int, left: list[OwedReport], *, as_json: bool) -> int:
    if not order.is_heard and left:
        if not as_json:
            say_folded(f"{order.unheard}; the next one to start sends {_reports(len(left))}")
        return GOOD
    for report in left:
        about = f" of execution {report.execution}" if report.execution else ""
        complain([f"the {report.kind}{about} was not taken: {report.reason or 'not tried yet'}"])
    if not as_json and sent:
        say(f"sent: {_reports(sent)}")
    elif not as_json and not left:
        say("no report is parked")
    return FAILED if left else GOOD


def _row(report: OwedReport) -> tuple[object, ...]:
    about = (report.execution, report.reason)
    return (when(report.created_at), report.kind, _state(report), *about)


def _paragraph(report: OwedReport) -> tuple[Sequence[object], Sequence[str | None]]:
    cells = (report.execution or "-", report.kind, _state(report), ago(report.created_at))
    return cells, (report.reason,)


def _state(report: OwedReport) -> str:
    return "blocked" if report.is_blocked else report.state


def _fields(report: OwedReport) -> dict[str, object]:
    return {
        "execution": report.execution,
        "kind": report.kind,
        "state": report.state,
        "blocked": report.is_blocked,
        "attempts": report.attempts,
        "created_at": report.created_at,
        "due_at": report.due_at,
        "reason": report.reason,
    }


def _reports(count: int) -> str:
    return "1 report" if count == 1 else f"{count} reports"

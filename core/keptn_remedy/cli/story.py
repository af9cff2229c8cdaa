"""The story that `make run` tells: what the demonstration did, step by step."""

from __future__ import annotations

import textwrap
import time
from collections.abc import Iterator

import orjson

from keptn_remedy.events import stored_trigger
from keptn_remedy.guardrails.forecast import forecast
from keptn_remedy.guardrails.guard import scope_of
from keptn_remedy.guardrails.matching import Rules
from keptn_remedy.journal import WholeRecord

_TITLE_WIDTH = len("Rails asked")
WIDTH = 80


def of(record: WholeRecord, rules: Rules) -> list[str]:
    """The steps of an execution, in lines of 80 columns."""
    return [line for title, text in _steps(record, rules) for line in _folded(title, text)]


def refused(record: WholeRecord) -> list[str]:
    """How a refusal looks."""
    return [
        *_folded("Refused", (record.message or "").removeprefix("refused ")),
        *_folded("Answered", "all the same: started, then finished with this reason"),
    ]


def undone(message: str) -> list[str]:
    """How an undo looks."""
    said = message.removeprefix("undone: ")
    return _folded("Undone", said or "everything is as it was before")


def _steps(record: WholeRecord, rules: Rules) -> Iterator[tuple[str, str]]:
    trigger = stored_trigger(record.event)
    scope = f"{record.project}/{record.stage}/{record.service}"
    yield "Problem", f"{trigger.problem.title or 'a problem'} in {scope}"
    yield "Keptn asks", f"{record.action} {orjson.dumps(trigger.value).decode()}"
    changes = record.plan.changes if record.plan else ()
    yield "Plan", "; ".join(map(str, changes)) or "nothing to change"
    yield "Rails asked", _rails(record, rules)
    yield "Applied", "once the plan was stored, so that a crash repeats nothing"
    yield "Verified", record.message or ""
    yield "Answered", f"started, then finished: {record.status}/{record.result}"


def _rails(record: WholeRecord, rules: Rules) -> str:
    trigger = stored_trigger(record.event)
    targets = tuple(change.target for change in record.plan.changes) if record.plan else ()
    scope = scope_of(trigger, record.action, rules.label_names, planned=record.plan is not None)
    foreseen = forecast(rules, scope, time.time(), targets)
    limits = ", ".join(foreseen.counted)
    return f"{foreseen.why}; it counts against {limits}" if limits else foreseen.why


def _folded(title: str, text: str) -> list[str]:
    return textwrap.wrap(
        text,
        WIDTH,
        initial_indent=f"  {title:<{_TITLE_WIDTH}}  ",
        subsequent_indent=" " * (_TITLE_WIDTH + 4),
        break_long_words=False,
        break_on_hyphens=False,
    )

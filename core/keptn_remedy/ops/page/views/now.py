"""The screen Now: what runs, what waits, what was refused."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime

from keptn_remedy.journal import Backlog, Hour, Record, Refused
from keptn_remedy.ops.page.views.shown import Row, row
from keptn_remedy.ops.page.views.why_not import free_again

SHOWN = 20
"""The most rows of a list."""


@dataclass(frozen=True, slots=True)
class RefusedRow:
    """An execution that was refused, by which rail and rule, and until when."""

    row: Row
    rail: str
    rule: str
    free_at: datetime | None


@dataclass(frozen=True, slots=True)
class NowView:
    """`trouble` is what an operator should look at; `open` counts all, listed or not."""

    running: Sequence[Row]
    asking: Sequence[Row]
    queued: Sequence[Row]
    refused: Sequence[RefusedRow]
    recent: Sequence[Row]
    hours: Sequence[Hour]
    backlog: Backlog
    trouble: Sequence[str]

    @property
    def refused_count(self) -> int:
        return sum(hour.ended.get("refused", 0) for hour in self.hours)

    @property
    def is_quiet(self) -> bool:
        return not (self.running or self.asking or self.queued)


def now_view(
    opened: Sequence[Record],
    asking: Sequence[Record],
    recent: Sequence[Record],
    refused: Sequence[Refused],
    hours: Sequence[Hour],
    backlog: Backlog,
    trouble: Sequence[str],
) -> NowView:
    """What the screen shows of these records; `opened` and `asking` may share some."""
    ids = {record.id for record in asking}
    return NowView(
        running=_rows([r for r in opened if r.state == "started" and r.id not in ids], ()),
        asking=_rows(asking, ids),
        queued=_rows([r for r in opened if r.state == "accepted"], ()),
        refused=[refused_row(each) for each in refused[:SHOWN]],
        recent=_rows(recent, ids),
        hours=hours,
        backlog=backlog,
        trouble=trouble,
    )


def refused_row(refused: Refused) -> RefusedRow:
    """An execution that was refused, in a list."""
    record = refused.record
    free_at = free_again(record.message or "", record.finished_at, {})
    return RefusedRow(row(record), refused.rail, refused.rule, free_at)


def _rows(records: Sequence[Record], asking: Collection[str]) -> list[Row]:
    return [row(record, is_asking=record.id in asking) for record in records[:SHOWN]]

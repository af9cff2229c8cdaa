"""The screens Problems and Problem: episodes, each with its ladder, curves and one time line."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from urllib.parse import quote

from keptn_remedy.journal import (
    Episode,
    EpisodeState,
    Ignored,
    Member,
    Note,
    WholeEpisode,
    WholeRecord,
)
from keptn_remedy.ops.page.curves import Curve, curves
from keptn_remedy.ops.page.views.execution import (
    Milestone,
    question_steps,
    sorted_steps,
    undo_steps,
)
from keptn_remedy.ops.page.views.ladder import (
    LadderStep,
    LadderTimes,
    Next,
    following,
    state_of,
    steps,
)
from keptn_remedy.ops.page.views.shown import Badge, moment

_TONES: Mapping[EpisodeState, str] = {
    "open": "warn",
    "helped": "good",
    "held": "warn",
    "escalated": "bad",
}


@dataclass(frozen=True, slots=True)
class ProblemRow:
    """One episode in a list."""

    id: str
    address: str
    name: str
    badge: Badge
    scope: str
    opened_at: datetime
    closed_at: datetime | None
    steps: Sequence[LadderStep]
    next: Next
    reason: str


@dataclass(frozen=True, slots=True)
class IgnoredRow:
    """Alerts that opened no episode, and why."""

    source: str
    name: str
    reason: str
    times: int
    seen_at: datetime


@dataclass(frozen=True, slots=True)
class ProblemView:
    """One episode, whole. `url` leads to the source's own page of it, "" for none."""

    row: ProblemRow
    url: str
    is_firing: bool
    curves: Sequence[Curve]
    timeline: Sequence[Milestone]
    labels: Sequence[tuple[str, str]]
    annotations: Sequence[tuple[str, str]]
    entry: str


def problem_row(episode: Episode, times: LadderTimes) -> ProblemRow:
    """An episode in a list: without its tries, so each passed rung is only that."""
    return _row(WholeEpisode(episode=episode, members=(), rungs=(), notes=()), times)


def problem_view(
    whole: WholeEpisode, records: Sequence[WholeRecord], times: LadderTimes
) -> ProblemView:
    """What the screen shows of an episode; `records` are the executions of its tries."""
    episode = whole.episode
    row = _row(whole, times)
    if asked := [it.question for it in records if it.question and not it.question.verdict]:
        row = replace(row, next=Next("A person decides in the inbox", moment(asked[-1].expires_at)))
    is_web = episode.url.startswith(("http://", "https://"))
    entry = (episode.remedy or {}).get("problem_type")
    return ProblemView(
        row=row,
        url=episode.url if is_web else "",
        is_firing=episode.is_firing and episode.closed_at is None,
        curves=curves(episode, whole.rungs),
        timeline=_timeline(whole, records),
        labels=sorted(episode.labels.items()),
        annotations=sorted(episode.annotations.items()),
        entry=f"{entry} of remediation.yaml, SHA-256 {episode.digest}" if entry else "",
    )


def ignored_row(found: tuple[Ignored, int, float]) -> IgnoredRow:
    """Ignored alerts in a list."""
    what, times, seen_at = found
    return IgnoredRow(what.source, what.name, what.reason, times, moment(seen_at))


def problem_address(episode_id: str) -> str:
    """The page of an episode."""
    return f"/problems/{quote(episode_id, safe='')}"


def _row(whole: WholeEpisode, times: LadderTimes) -> ProblemRow:
    episode = whole.episode
    return ProblemRow(
        id=episode.id,
        address=problem_address(episode.id),
        name=episode.name or "a problem without a name",
        badge=state_of(episode),
        scope=f"{episode.project} / {episode.stage} / {episode.service}",
        opened_at=moment(episode.opened_at),
        closed_at=None if episode.closed_at is None else moment(episode.closed_at),
        steps=steps(episode, whole.rungs),
        next=following(episode, whole.rungs, times),
        reason=episode.reason or "",
    )


def _timeline(whole: WholeEpisode, records: Sequence[WholeRecord]) -> list[Milestone]:
    """Alert, plan, rails, effect, verdict, undo and people, in the order of time."""
    found = [*map(_alert, whole.members), *map(_noted, whole.notes)]
    for record in records:
        found += _of_execution(record)
    return sorted_steps(found)


def _alert(member: Member) -> Milestone:
    began = f"It began {member.starts_at}." if member.starts_at else ""
    what = "fires" if member.is_firing else "ended"
    labels = ", ".join(f"{name}={value}" for name, value in sorted(member.labels.items()))
    tone = "warn" if member.is_firing else "off"
    lines = [line for line in (began, labels) if line]
    return Milestone(moment(member.seen_at), f"The alert {what}, as last told", tone, lines)


def _noted(note: Note) -> Milestone:
    tone = _TONES.get(note.state, "off" if note.state in ("closed", "waiting") else "busy")
    return Milestone(moment(note.at), note.text, tone)


def _of_execution(record: WholeRecord) -> Iterator[Milestone]:
    yield from question_steps(record)
    if record.plan and record.state == "finished":
        changes = [str(each) for each in record.plan.changes]
        yield Milestone(record.finished_at, f"{record.action} acted", "good", changes)
    yield from undo_steps(record)

"""Episodes in the API's JSON."""

from __future__ import annotations

from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any, Literal

from pydantic import BaseModel, Field

from keptn_remedy import journal
from keptn_remedy.journal import WholeEpisode


class EpisodeInfo(BaseModel):
    """One problem that came without Keptn, in short."""

    id: str
    state: journal.EpisodeState
    problem: str = Field(description="What it is called.")
    source: str = Field(description="The source of sources.yaml that told it.")
    project: str
    stage: str
    service: str
    opened_at: datetime
    due_at: datetime | None = Field(description="When it is looked at next.")
    closed_at: datetime | None
    closing: journal.Closing | None = Field(description="How it was closed.")
    reason: str | None = Field(description="Why it is held, escalated or closed.")
    rung: int = Field(description="The rung that is next or under way, from 1.")
    rungs: int = Field(description="How many rungs its remedy has.")
    firing: bool

    @classmethod
    def of(cls, episode: journal.Episode) -> EpisodeInfo:
        return cls.model_validate(_short(episode))


def _short(episode: journal.Episode) -> dict[str, Any]:
    is_open = episode.closed_at is None
    return {
        "id": episode.id,
        "state": episode.state,
        "problem": episode.name,
        "source": episode.source,
        "project": episode.project,
        "stage": episode.stage,
        "service": episode.service,
        "opened_at": _moment(episode.opened_at),
        "due_at": _moment(episode.due_at) if is_open else None,
        "closed_at": _moment(episode.closed_at),
        "closing": episode.closing,
        "reason": episode.reason,
        "rung": episode.index + 1,
        "rungs": len((episode.remedy or {}).get("rungs", [])),
        "firing": is_open and episode.is_firing,
    }


class EpisodesPage(BaseModel):
    """A page of episodes, newest first, and how to get the next one."""

    episodes: list[EpisodeInfo]
    next: int | None


class RungInfo(BaseModel):
    """One try of a remedy."""

    number: int
    rung: int
    execution: str
    action: str
    began_at: datetime
    ended_at: datetime | None
    status: str | None
    result: str | None
    message: str | None
    acted: bool = Field(description="False for a dry run.")
    settled_at: datetime | None
    window_ends_at: datetime | None
    start_value: float | None
    verdict: journal.VerdictOfJudge | None
    reason: str | None = Field(description="What the verdict rests on.")
    numbers: dict[str, Any] = Field(
        description="How often the judge looked, what it saw last, the bound, and the curve: pairs"
        " of seconds since the try began and the value."
    )
    judged_at: datetime | None


class MemberInfo(BaseModel):
    """One alert of an episode."""

    fingerprint: str
    firing: bool
    starts_at: str
    seen_at: datetime
    labels: dict[str, str]


class NoteInfo(BaseModel):
    """One line of an episode's history."""

    at: datetime
    state: str
    text: str


class EpisodeDetail(EpisodeInfo):
    """One episode, whole."""

    labels: dict[str, str]
    annotations: dict[str, str]
    remedy: dict[str, Any] | None = Field(description="The entry as it was at the start.")
    digest: str | None = Field(description="The beginning of its file's SHA-256.")
    tries: list[RungInfo]
    alerts: list[MemberInfo]
    history: list[NoteInfo]

    @classmethod
    def of_whole(cls, whole: WholeEpisode) -> EpisodeDetail:
        episode = whole.episode
        return cls.model_validate(
            {
                **_short(episode),
                "labels": episode.labels,
                "annotations": episode.annotations,
                "remedy": episode.remedy,
                "digest": episode.digest,
                "tries": [_rung(each) for each in whole.rungs],
                "alerts": [
                    MemberInfo(
                        fingerprint=each.fingerprint,
                        firing=each.is_firing,
                        starts_at=each.starts_at,
                        seen_at=_moment(each.seen_at),
                        labels=dict(each.labels),
                    )
                    for each in whole.members
                ],
                "history": [
                    NoteInfo(at=_moment(each.at), state=each.state, text=each.text)
                    for each in whole.notes
                ],
            }
        )


class IgnoredInfo(BaseModel):
    """Alerts that opened no episode, and why."""

    source: str
    alert: str
    reason: str
    times: int
    seen_at: datetime

    @classmethod
    def of(cls, found: tuple[journal.Ignored, int, float]) -> IgnoredInfo:
        what, times, seen_at = found
        return cls(
            source=what.source,
            alert=what.name,
            reason=what.reason,
            times=times,
            seen_at=_moment(seen_at),
        )


class IgnoredPage(BaseModel):
    """The alerts that opened no episode, the newest first."""

    ignored: list[IgnoredInfo]


MOST_DAYS, USUAL_DAYS = 3650, 30
"""For how many days scores may be asked for, and are if nobody says."""


class ScoreInfo(BaseModel):
    """What became of the tries of one action for one service."""

    project: str
    stage: str
    service: str
    action: str
    acted: int = Field(description="How often it acted.")
    helped: int
    failed: int
    worse: int
    unknown: int = Field(description="How often the judge could not tell.")
    would_have_acted: int = Field(description="How often it ran dry.")
    gone: int = Field(description="Dry runs whose problem went away by itself.")

    @classmethod
    def of(cls, score: journal.Score) -> ScoreInfo:
        return cls.model_validate(asdict(score))


class Scores(BaseModel):
    """What remedies were worth, by service and action."""

    scores: list[ScoreInfo]


def _rung(rung: journal.Rung) -> RungInfo:
    return RungInfo(
        number=rung.number,
        rung=rung.index + 1,
        execution=rung.execution,
        action=rung.action,
        began_at=_moment(rung.began_at),
        ended_at=_moment(rung.ended_at),
        status=rung.status,
        result=rung.result,
        message=rung.message,
        acted=rung.acted,
        settled_at=_moment(rung.settled_at),
        window_ends_at=_moment(rung.window_ends_at),
        start_value=rung.start_value,
        verdict=rung.verdict,
        reason=rung.reason,
        numbers=dict(rung.numbers or {}),
        judged_at=_moment(rung.judged_at),
    )


OpenOrClosed = Literal["open", "closed"]


def _moment(at: float | None) -> Any:
    return None if at is None else datetime.fromtimestamp(at, UTC)
